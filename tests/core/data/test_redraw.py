"""MNIST's digits by other hands: the same digit, made as drawings are, with any pen."""

from __future__ import annotations

import numpy as np
import pytest

from core.data import datasets, measures, redraw
from core.ink import preparation, skeleton

CENTRE = preparation.CENTRE - 0.5  # of the pixels' middles, where MNIST's centres of mass lie


def line(length: int = 20) -> np.ndarray:
    """A one as a plain upright line, (28, 28) uint8."""
    image = np.zeros((28, 28), np.uint8)
    image[4 : 4 + length, 13:16] = 255
    return image


def pieces_and_holes(image: np.ndarray) -> tuple[int, int]:
    """How many pieces of ink there are, and how many of paper within them."""
    from scipy import ndimage

    inked = np.pad(image >= 64, 1)
    return ndimage.label(inked, np.ones((3, 3)))[1], ndimage.label(~inked)[1] - 1


class TestRedrawn:
    @pytest.mark.parametrize("is_thick", [False, True])
    def test_is_made_as_every_drawing_is(self, dataset, is_thick):
        rng = np.random.default_rng(0)
        for image, digit in zip(dataset.x_train[:60], dataset.y_train[:60], strict=True):
            drawn = redraw.redrawn(image, int(digit), rng, is_thick)
            rows, columns = (np.flatnonzero(drawn.max(axis=axis) > 0) for axis in (1, 0))
            y, x = (np.average(np.arange(28), weights=drawn.sum(axis=axis)) for axis in (1, 0))

            assert drawn.shape == (28, 28)
            assert drawn.dtype == np.uint8
            assert drawn.max() == 255
            assert max(np.ptp(rows), np.ptp(columns)) + 1 <= preparation.BOX
            assert abs(y - CENTRE) <= 1
            assert abs(x - CENTRE) <= 1

    def test_the_same_chance_gives_the_same_drawing(self, dataset):
        image, digit = dataset.x_train[3], int(dataset.y_train[3])

        first, second, other = (redraw.redrawn(image, digit, np.random.default_rng(seed)) for seed in (1, 1, 2))

        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)

    def test_a_ring_by_a_pen_that_leaves_it_open_stays_one_ring(self, dataset, monkeypatch):
        monkeypatch.setattr(redraw, "ANY_PEN", (0.06, 0.12))
        zeros = dataset.x_train[(dataset.y_train == 0)][:40]
        rings = [image for image in zeros if pieces_and_holes(image) == (1, 1)][:20]
        rng = np.random.default_rng(0)

        drawn = [pieces_and_holes(redraw.redrawn(image, 0, rng)) for image in rings]

        assert drawn.count((1, 1)) >= len(drawn) - 1

    def test_thin_pens_leave_mnist_s_width_and_thick_ones_no_less(self, dataset):
        rng = np.random.default_rng(0)
        images = dataset.x_train[:80]
        digits = [int(digit) for digit in dataset.y_train[:80]]

        thin, thick = (
            measures.traits(
                np.stack(
                    [redraw.redrawn(image, digit, rng, is_thick) for image, digit in zip(images, digits, strict=True)]
                )
            )
            for is_thick in (False, True)
        )

        assert np.median(thin.stroke_width) == pytest.approx(preparation.STROKE_WIDTH, abs=0.35)
        assert np.median(thick.stroke_width) >= np.median(thin.stroke_width)

    def test_some_ones_get_a_flag_and_some_a_foot_and_no_other_digit_does(self, monkeypatch):
        for name in ("TURN", "SLANT", "STRETCH"):
            monkeypatch.setattr(redraw, name, 0.0)
        monkeypatch.setattr(redraw, "ANY_PEN", (0.1, 0.12))
        rng = np.random.default_rng(0)

        widths = [np.ptp(np.flatnonzero(redraw.redrawn(line(), 1, rng).max(axis=0) > 64)) + 1 for _ in range(80)]
        others = [np.ptp(np.flatnonzero(redraw.redrawn(line(), 4, rng).max(axis=0) > 64)) + 1 for _ in range(20)]

        assert max(others) <= 4
        assert 0.35 <= np.mean([width > 4 for width in widths]) <= 0.8

    def test_a_flag_leaves_from_the_top_to_the_left(self):
        lines = redraw._with_habits(redraw.centre_lines(line()), 1, _certain(flagged=True))
        added = lines[lines[:, 0] < lines[0, 0] - 2]

        assert len(added)
        assert added[:, 1].max() < lines[:, 1].max() / 2


def _certain(flagged: bool):
    """Chance that gives a flag and no foot."""

    class Chance:
        draws = iter([0.0 if flagged else 1.0, 1.0])

        def random(self) -> float:
            return next(self.draws)

        def uniform(self, low: float, high: float) -> float:
            return (low + high) / 2

    return Chance()


@pytest.fixture(scope="module")
def small(dataset) -> datasets.Dataset:
    return datasets.Dataset(
        dataset.x_train[:30], dataset.y_train[:30], dataset.x_test[:5], dataset.y_test[:5], dataset.source
    )


@pytest.fixture(scope="module")
def enlarge(small):
    return redraw.enlarging(small, seed=0)


class TestEnlarging:
    def test_takes_each_twice_as_it_is_and_once_by_either_pen(self, small, enlarge):
        more, indices = enlarge(small, np.array([3, 7]))

        assert indices.tolist() == [3, 7, 3, 7, 33, 37, 63, 67]
        np.testing.assert_array_equal(more.y_train[indices], np.tile(small.y_train[[3, 7]], 4))
        np.testing.assert_array_equal(more.x_train[:30], small.x_train)
        assert len(more.x_train) == 90

    def test_leaves_what_is_held_out_alone(self, small, enlarge):
        more, indices = enlarge(small, np.arange(20))

        assert not set(indices % 30) & set(range(20, 30))
        np.testing.assert_array_equal(more.x_test, small.x_test)

    def test_each_image_has_a_chance_of_its_own(self, small, enlarge):
        more, _ = enlarge(small, np.arange(30))
        rng = np.random.default_rng((0, 11))
        image, digit = small.x_train[11], int(small.y_train[11])

        np.testing.assert_array_equal(more.x_train[41], redraw.redrawn(image, digit, rng))
        np.testing.assert_array_equal(more.x_train[71], redraw.redrawn(image, digit, rng, is_thick=True))


def test_a_digit_s_lines_are_as_long_as_they_should_be(dataset):
    lines = redraw.centre_lines(dataset.x_train[0])

    assert redraw.LINES * 0.8 <= np.ptp(lines, axis=0).max() <= redraw.LINES
    assert skeleton.skeleton(np.zeros((3, 3), bool)).sum() == 0
