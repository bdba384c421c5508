"""A drawing is its lines: their picture follows from the distance to them, an eraser takes line from line, digits share them out."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from core.data.measures import traits
from core.ink import segments
from core.ink.components import components
from core.ink.preparation import Preparation, prepare, sheet_of_strokes, to_mnist
from core.ink.strokes import RIM, Sheet, Stroke, fitted, length

STROKES = os.environ.get("DIGITLAB_STROKES")
needs_strokes = pytest.mark.skipif(not STROKES, reason="DIGITLAB_STROKES names no file")

SEVEN = [[[60, 50], [140, 50], [90, 150]], [[80, 100], [130, 100]]]
NINE = [[[100 + 22 * np.cos(a), 70 + 22 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 40)], [[122, 70], [110, 150]]]
BARE = Sheet((), 400, 400)


def line(*points: tuple[float, float], width: float = 30) -> Stroke:
    return Stroke(tuple((float(x), float(y)) for x, y in points), width)


class TestFitted:
    def test_a_pixels_ink_follows_from_its_distance_to_the_nearest_line(self):
        strokes = [line((0, 0), (300, 0)), line((100, 0), (100, 200))]

        ink = fitted(strokes, 20, 2.5)

        scale = 17.5 / 300
        ends = [
            [((x - 150) * scale + 10, (y - 100) * scale + 10) for x, y in one.points] for one in strokes
        ]  # the longer side fills the box, the other lies in its middle
        middles = [(column + 0.5, row + 0.5) for row in range(20) for column in range(20)]
        expected = [
            min(max((1.25 - min(_distance(middle, *piece) for piece in ends)) / RIM + 0.5, 0), 1) for middle in middles
        ]
        np.testing.assert_allclose(ink.ravel(), expected, atol=1e-9)

    def test_a_long_line_is_worked_out_in_parts(self):
        zigzag = [(x % 7 * 60, x / 10) for x in range(4000)]

        ink = fitted([line(*zigzag)], 20, 2.5)

        np.testing.assert_allclose(
            ink, np.maximum(fitted([line(*zigzag[:2001]), line(*zigzag[2000:])], 20, 2.5), ink), atol=0
        )
        assert ink.max() == 1

    def test_a_dot_is_a_disc_and_what_is_shorter_than_its_pen_is_wide_stays_a_blot(self):
        dot, blot, dash = (fitted([line((50, 50), (50 + long, 50))], 20, 2.5) for long in (0, 20, 90))

        assert dot.sum() == pytest.approx(np.pi * 10**2, rel=0.05)
        assert 150 < blot.sum() < dot.sum()
        assert dash.sum() == pytest.approx(17.5 * 2.5 + np.pi * 1.25**2, rel=0.05)


def holes(picture: np.ndarray) -> int:
    """How often ink runs around bare pixels."""
    return len(components(np.pad(picture < 128, 1, constant_values=True)).areas) - 1


def _distance(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    (x, y), (x0, y0), (x1, y1) = point, start, end
    share = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
    share = min(max(share, 0), 1)
    return float(np.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0)))


class TestPicture:
    @pytest.mark.parametrize("width", [2, 14, 30])
    @pytest.mark.parametrize("size", [100, 280])
    def test_is_the_same_whatever_the_pen_and_the_size(self, width, size):
        picture = to_mnist(sheet_of_strokes(NINE, (200, 200), size, width * size / 280))

        np.testing.assert_allclose(picture.astype(int), to_mnist(sheet_of_strokes(NINE, (200, 200))), atol=8)
        assert traits(picture[None]).stroke_width[0] == pytest.approx(2.5, abs=0.35)

    def test_a_thick_pen_does_not_fill_a_small_loop(self):
        small = sheet_of_strokes([[[x / 3, y / 3] for x, y in stroke] for stroke in NINE], (200, 200), 280, 20)

        from_lines, from_paint = (prepare(one).stages[-2].picture for one in (small, small.ink))
        assert (holes(from_lines), holes(from_paint)) == (1, 0)

    @pytest.mark.parametrize("switch", ["strokes", "crop", "centre"])
    def test_every_step_shows_what_it_does_and_can_be_left_out(self, switch):
        sheet = sheet_of_strokes(SEVEN, (200, 200), 280, 30)
        preparation = Preparation(**{switch: False})

        prepared = prepare(sheet, preparation)

        np.testing.assert_array_equal(to_mnist(sheet, preparation), prepared.image, strict=True)
        np.testing.assert_array_equal(prepared.image, prepared.stages[-1].image, strict=True)
        np.testing.assert_array_equal(prepared.stages[0].picture, np.rint(sheet.ink * 255))
        assert len(prepared.stages) == 3

    def test_the_strokes_are_shown_as_wide_as_they_are_read(self):
        sheet = sheet_of_strokes(SEVEN, (200, 200), 280, 30)

        redrawn = prepare(sheet).stages[1].picture

        column = redrawn[:, 98]  # through the upper bar alone
        assert (column / 255).sum() == pytest.approx(2.5 / 17.5 * 140, abs=1)


class TestErasing:
    def test_takes_line_from_line(self):
        sheet = BARE.drawn(line((50, 200), (350, 200))).drawn(line((50, 350), (350, 350)))

        erased = sheet.erased(line((200, 100), (200, 300), width=40))

        left, right, other = erased.strokes
        np.testing.assert_allclose(left.points, [(50, 200), (179, 200)], atol=2)
        np.testing.assert_allclose(right.points, [(221, 200), (350, 200)], atol=2)
        assert other == sheet.strokes[1]

    def test_of_what_it_does_not_touch_nothing_changes(self):
        sheet = BARE.drawn(line((50, 200), (350, 200)))

        assert sheet.erased(line((50, 100), (350, 100), width=40)) == sheet

    def test_may_leave_nothing(self):
        assert not BARE.drawn(line((50, 200))).erased(line((40, 200), (60, 200))).any()

    def test_a_line_keeps_its_corners(self):
        corner = line((100, 100), (200, 100), (200, 200), (210, 290))

        assert BARE.drawn(corner).erased(line((100, 100), width=20)).strokes[0].points[1:] == corner.points[1:]


class TestDrawing:
    def test_what_lies_beyond_the_sheet_is_cut_off(self):
        out_and_in = line((300, 100), (500, 100), (500, 300), (300, 300))

        first, second = BARE.drawn(out_and_in).strokes

        np.testing.assert_allclose(first.points, [(300, 100), (400, 100)], atol=1)
        np.testing.assert_allclose(second.points, [(400, 300), (300, 300)], atol=1)

    def test_the_length_of_a_line(self):
        assert length([(0, 0), (3, 4), (3, 14)]) == 15
        assert length([(1, 1)]) == 0


class TestSharedOut:
    def test_each_digit_of_a_number_gets_its_own_lines(self):
        seven = sheet_of_strokes(SEVEN, (200, 200), 200, 12)
        moved = [Stroke(tuple((x + 300, y) for x, y in stroke.points), 12) for stroke in seven.strokes]
        number = Sheet((*seven.strokes, *moved), 640, 280)

        digits = segments.shared_out(number, segments.segments(number.ink))

        assert [digit.strokes for digit in digits] == [seven.strokes, tuple(moved)]

    def test_a_line_through_two_digits_is_cut_between_them(self):
        both = line((100, 50), (100, 220), (200, 220), (200, 50), width=10)
        owners = np.zeros((280, 640), int)
        owners[:, 150:] = 1

        left, right = Sheet((both,), 640, 280).shared_out(owners, 2)

        np.testing.assert_allclose(left.strokes[0].points, [(100, 50), (100, 220), (149, 220)], atol=2)
        np.testing.assert_allclose(right.strokes[0].points, [(150, 220), (200, 220), (200, 50)], atol=2)


@needs_strokes
def test_strangers_digits_have_as_much_ink_as_mnist_s():
    with open(STROKES, encoding="utf-8") as file:
        digits = json.load(file)[::5]

    pictures = np.stack([to_mnist(sheet_of_strokes(digit["strokes"], digit["box"], 320, 30)) for digit in digits])

    assert pictures.mean() == pytest.approx(33.3, abs=2)
    assert pictures[pictures > 0].mean() == pytest.approx(174.3, abs=6)
