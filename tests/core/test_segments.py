"""A number falls into its digits: spaced, touching, in broken strokes, with specks."""

import json
import os

import numpy as np
import pytest

from core.drawing import ink_from_strokes
from core.segments import segments

STROKES = os.environ.get("DIGITLAB_STROKES")
needs_strokes = pytest.mark.skipif(not STROKES, reason="DIGITLAB_STROKES names no file")

ONE = [[[0, 0], [0, 100]]]
RING = [[[30 + 30 * np.cos(a), 50 + 50 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 40)]]
FOUR = [[[40, 0], [0, 60], [70, 60]], [[50, 30], [50, 100]]]
FIVE = [[[10, 8], [5, 45], [45, 50], [50, 80], [5, 100]], [[12, 0], [60, 0]]]
NINE = [[*RING[0][:1], [55, 40], [30, 0], [5, 20], [30, 45], [58, 25]], [[58, 20], [55, 100]]]
EIGHT = [[[30 + 28 * np.sin(2 * a), 50 - 50 * np.cos(a)] for a in np.linspace(0, 2 * np.pi, 60)]]


def sheet(*digits: tuple[list, float], width: float = 9) -> np.ndarray:
    """Digits, each with the place of its left side, on a sheet of 640x256: float32."""
    strokes = [[[x + left, y + 78] for x, y in stroke] for digit, left in digits for stroke in digit]
    return ink_from_strokes(strokes, (640, 640), 640, width)[:256]


def extents(ink: np.ndarray) -> list[tuple[int, int]]:
    return [(segment.left, segment.right) for segment in segments(ink)]


def test_no_ink_has_no_segments():
    assert segments(np.zeros((256, 640), np.float32)) == []


def test_digits_come_from_left_to_right_each_with_its_own_ink():
    ink = sheet((FOUR, 300), (ONE, 60), (RING, 170))

    found = segments(ink)

    assert [segment.left for segment in found] == sorted(segment.left for segment in found)
    assert len(found) == 3
    for segment in found:
        box = ink[segment.top : segment.bottom, segment.left : segment.right]
        np.testing.assert_array_equal(segment.ink, np.where(box >= 0.25, box, 0))
    assert sum(segment.ink.sum() for segment in found) == pytest.approx(ink.sum(), rel=0.02)


def test_1984_is_four_digits():
    assert len(segments(sheet((ONE, 60), (NINE, 110), (EIGHT, 220), (FOUR, 320)))) == 4


@pytest.mark.parametrize("digit", [ONE, RING, FOUR, FIVE, NINE, EIGHT])
@pytest.mark.parametrize("width", [5, 9, 16])
def test_one_digit_stays_whole(digit, width):
    assert len(segments(sheet((digit, 200), width=width))) == 1


def test_a_bar_above_belongs_to_the_digit_below():
    (only,) = segments(sheet((FIVE, 200)))

    assert only.bottom - only.top > 100


def test_specks_are_left_out():
    assert len(segments(sheet((RING, 100), (RING, 200), ([[[0, 100]]], 320), width=6))) == 2


def test_touching_digits_are_cut_where_they_touch():
    (first, second) = segments(sheet((RING, 100), (RING, 168)))

    assert first.right == pytest.approx(165, abs=14)
    assert second.left == pytest.approx(163, abs=14)


def test_a_dash_stays_whole():
    assert len(segments(sheet(([[[0, 50], [300, 50]]], 100)))) == 1


def test_three_in_a_row_are_cut_twice():
    assert len(segments(sheet((RING, 100), (RING, 168), (RING, 236)))) == 3


@needs_strokes
def test_the_digits_of_strangers_are_single():
    with open(STROKES, encoding="utf-8") as file:
        digits = json.load(file)[::5]

    counts = [len(segments(ink_from_strokes(digit["strokes"], digit["box"], 200, 10))) for digit in digits]

    assert np.mean(np.array(counts) == 1) >= 0.98


@needs_strokes
def test_the_numbers_of_strangers_have_as_many_digits_as_were_written():
    with open(STROKES, encoding="utf-8") as file:
        digits = json.load(file)
    rng, right = np.random.default_rng(0), []
    for _ in range(60):
        inks = [
            ink_from_strokes(digits[i]["strokes"], digits[i]["box"], 160, 8)
            for i in rng.choice(len(digits), rng.integers(2, 5))
        ]
        cropped = [np.pad(ink[:, ink.any(axis=0)], ((0, 0), (6, 6))) for ink in inks]

        right.append(len(segments(np.concatenate(cropped, axis=1))) == len(inks))

    assert np.mean(right) >= 0.95
