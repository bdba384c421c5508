"""A number falls into its digits: spaced, touching, in broken strokes, with specks."""

import json
import os
import tracemalloc

import numpy as np
import pytest

from core.errors import DrawingError
from core.ink.preparation import ink_from_strokes
from core.ink.segments import MOST_PIECES, count_apart, segments

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


# --- broken strokes -----------------------------------------------------------------------------------------------------


def dotted(digit: list, step: float) -> list:
    """A digit of dots, one every `step` of its 100 units."""
    dots = []
    for stroke in digit:
        points = np.array(stroke, float)
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        at = np.arange(0, along[-1], step)
        dots += [
            [[x, y]]
            for x, y in zip(np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1]), strict=True)
        ]
    return dots


SEVEN = [[[0, 0], [60, 0], [20, 100]]]
BROKEN = {
    "a one, interrupted": [[[0, 0], [0, 45]], [[0, 60], [0, 100]]],
    "a one, interrupted twice": [[[0, 0], [0, 25]], [[0, 38], [0, 62]], [[0, 75], [0, 100]]],
    "a slanted one, interrupted": [[[40, 0], [24, 40]], [[19, 53], [0, 100]]],
    "a one of two dashes beside its axis": [[[0, 0], [3, 44]], [[14, 52], [17, 100]]],
    "a seven, its stem interrupted": [[[0, 0], [60, 0], [44, 40]], [[38, 55], [20, 100]]],
    "a seven, its corner missing": [[[0, 0], [46, 0]], [[56, 10], [20, 100]]],
    "a five without its bar's joint": [FIVE[0], [[24, 0], [64, 0]]],
    "a five, its bar high and to the right": [FIVE[0], [[30, -8], [70, -10]]],
    "a five of three pieces": [[[10, 8], [5, 40]], [[14, 48], [45, 50], [50, 74]], [[44, 88], [5, 100]], FIVE[1]],
    "a two, its foot torn off": [[[0, 20], [25, 0], [50, 20], [8, 84]], [[0, 100], [60, 100]]],
    "a three, torn in the middle": [[[0, 0], [50, 4], [42, 40]], [[28, 52], [55, 60], [45, 96], [0, 100]]],
}


@pytest.mark.parametrize("width", [5, 9])
@pytest.mark.parametrize("digit", BROKEN.values(), ids=BROKEN)
def test_a_digit_with_a_broken_stroke_is_one(digit, width):
    ink = sheet((digit, 200), width=width)

    assert (count_apart(ink), len(segments(ink))) == (1, 1)


@pytest.mark.parametrize("step", [11, 14, 18])
@pytest.mark.parametrize("digit", [ONE, RING, SEVEN, FIVE], ids=["1", "0", "7", "5"])
def test_a_dotted_digit_is_one(digit, step):
    ink = sheet((dotted(digit, step), 200), width=6)

    assert (count_apart(ink), len(segments(ink))) == (1, 1)


def test_two_digits_stay_two_though_their_strokes_are_broken():
    ink = sheet((BROKEN["a seven, its stem interrupted"], 100), (dotted(RING, 20), 220), (ONE, 330), width=12)

    assert (count_apart(ink), len(segments(ink))) == (3, 3)


def test_scattered_specks_below_a_digit_are_no_second_one():
    crumbs = [[[170, y]] for y in (30, 65, 100)]

    assert count_apart(sheet((FIVE, 200), (crumbs, 130), width=14)) == 1


@needs_strokes
def test_the_digits_of_strangers_stay_one_where_a_stroke_is_broken():
    with open(STROKES, encoding="utf-8") as file:
        digits = json.load(file)[::5]
    rng, counts = np.random.default_rng(0), []
    for digit in digits:
        strokes, side = [np.array(stroke, float) for stroke in digit["strokes"]], max(digit["box"])
        longest = max(range(len(strokes)), key=lambda k: len(strokes[k]))
        points = strokes.pop(longest)
        at = rng.integers(1, len(points) - 1) if len(points) > 2 else 0
        is_gone = np.hypot(*(points - points[at]).T) < 0.07 * side
        pieces = np.split(np.arange(len(points)), np.flatnonzero(np.diff(is_gone)) + 1)
        broken = [*strokes, *(points[piece] for piece in pieces if not is_gone[piece[0]])]

        counts.append(count_apart(ink_from_strokes([s.tolist() for s in broken if len(s)], digit["box"], 280, 10)))

    assert np.mean(np.array(counts) == 1) >= 0.98


# --- bounds -------------------------------------------------------------------------------------------------------------


def scattered() -> dict[str, np.ndarray]:
    """Sheets of 640x280 that would be costly, if what is kept grew with the pieces."""
    bare = np.zeros((280, 640), bool)
    dots, lines, comb, rings = bare.copy(), bare.copy(), bare.copy(), bare.copy()
    dots[::4, ::4] = lines[:, ::3] = comb[:, ::3] = comb[0] = True
    for k in range(0, 136, 4):
        rings[k : 280 - k, [k, 639 - k]] = rings[[k, 279 - k], k : 640 - k] = True
    noise = {f"noise of {p:.0%}": np.random.default_rng(0).random(bare.shape) < p for p in (0.02, 0.1, 0.3, 0.5)}
    return {"dots": dots, "lines": lines, "comb": comb, "low comb": comb[:9], "rings": rings, **noise}


@pytest.mark.parametrize("mask", scattered().values(), ids=scattered())
def test_whatever_is_on_a_sheet_costs_a_bounded_amount(mask):
    segments(sheet((ONE, 60)))  # what is loaded once doesn't count
    tracemalloc.start()
    for ask in (segments, count_apart):
        try:
            found = ask(mask.astype(np.float32))
        except DrawingError:
            continue
        assert (found if isinstance(found, int) else len(found)) <= MOST_PIECES
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 200 * mask.size + 1e6


def test_more_pieces_than_digits_have_are_refused_in_a_sentence():
    dots = np.zeros((280, 640), np.float32)
    dots[::4, ::4] = 1

    with pytest.raises(DrawingError, match=r"^The ink is in 11,200 pieces: expected digits, of at most 300 in all"):
        segments(dots)


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
