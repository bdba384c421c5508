"""What is no digit is drawn like one, by the same pens and the same preparation, and isn't one by chance."""

from __future__ import annotations

import string

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from core.data import non_digits
from core.data.non_digits import LETTERS
from core.ink import preparation

RANDOM = np.random.default_rng(8)


def centre(image: np.ndarray) -> tuple[float, float]:
    return tuple(np.average(np.arange(28) + 0.5, weights=image.sum(axis=axis)) for axis in (1, 0))


@pytest.fixture(scope="module")
def drawn(dataset) -> np.ndarray:
    return non_digits.draw(dataset.x_train, dataset.y_train, np.random.default_rng(0), 60)


class TestNonDigits:
    def test_are_pictures_as_a_drawing_is_prepared(self, drawn):
        assert drawn.shape == (60, 28, 28)
        assert drawn.dtype == np.uint8
        for image in drawn:
            rows, columns = (np.flatnonzero(image.max(axis=axis)) for axis in (1, 0))
            assert max(np.ptp(rows), np.ptp(columns)) < preparation.BOX
            np.testing.assert_allclose(centre(image), preparation.CENTRE, atol=1)

    def test_the_same_chance_draws_the_same(self, dataset, drawn):
        again = non_digits.draw(dataset.x_train, dataset.y_train, np.random.default_rng(0), 60)
        other = non_digits.draw(dataset.x_train, dataset.y_train, np.random.default_rng(1), 60)

        np.testing.assert_array_equal(again, drawn)
        assert not np.array_equal(other, drawn)

    def test_no_two_are_alike(self, drawn):
        assert len(np.unique(drawn.reshape(60, -1), axis=0)) == 60

    def test_digits_of_one_class_alone_leave_letters_and_scribbles(self, dataset):
        ones = dataset.x_train[dataset.y_train == 1]
        drawn = non_digits.draw(ones, np.ones(len(ones), np.uint8), np.random.default_rng(0), 10)

        assert (drawn.max(axis=(1, 2)) > 200).all()


class TestLetters:
    def test_are_none_that_many_hands_write_as_a_digit(self):
        assert {name[0] for name in LETTERS} <= set(string.ascii_letters) - set("OIlSsZzbqgoi")

    @pytest.mark.parametrize("name", LETTERS)
    def test_are_strokes_on_the_sheet(self, name):
        strokes = non_digits.strokes_of(LETTERS[name])

        assert len(strokes) == LETTERS[name].count("/") + 1
        for points in strokes:
            assert points.shape[1] == 2
            assert (points > -0.5).all()
            assert (points < 10.5).all()

    def test_straight_strokes_go_from_point_to_point(self):
        (first, second) = non_digits.strokes_of("00 90/40 49")

        np.testing.assert_array_equal(first, [[0.5, 0.5], [9.5, 0.5]])
        np.testing.assert_array_equal(second, [[4.5, 0.5], [4.5, 9.5]])

    def test_an_unsteady_hand_writes_the_same_letter_differently(self):
        strokes = non_digits.strokes_of(LETTERS["H"])
        first, again, other = (non_digits.unsteady(strokes, np.random.default_rng(seed)) for seed in (1, 1, 2))

        assert [len(points) > 1 for points in first] == [True] * len(strokes)
        for one, same, another in zip(first, again, other, strict=True):
            np.testing.assert_array_equal(one, same)
            assert one.shape != another.shape or not np.allclose(one, another)


class TestCurve:
    def test_is_a_catmull_rom_spline(self):
        points = RANDOM.uniform(0, 10, (6, 2))
        knots = np.vstack([points[0], points, points[-1]])
        spline = CubicHermiteSpline(np.arange(6), points, (knots[2:] - knots[:-2]) / 2)

        found = non_digits.smooth(points, between=8)

        np.testing.assert_allclose(found, spline(np.arange(41) / 8), atol=1e-9)

    def test_that_ends_where_it_began_is_closed_without_a_corner(self):
        ring = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], float)
        found = non_digits.smooth(ring, between=1000)
        leaving, arriving = found[1] - found[0], found[-1] - found[-2]

        np.testing.assert_allclose(leaving / np.linalg.norm(leaving), arriving / np.linalg.norm(arriving), atol=0.01)


def test_things_that_are_no_digits_are_pictures_like_others(dataset):
    pictures = non_digits.draw(dataset.x_train, dataset.y_train, np.random.default_rng(0), 60)

    assert pictures.shape == (60, 28, 28)
    assert pictures.dtype == np.uint8
    assert (pictures.max(axis=(1, 2)) > 200).all()
