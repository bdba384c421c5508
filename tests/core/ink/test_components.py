"""Pieces of ink are those that SciPy labels, and each has its area and its box."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.ink.components import components


def mask(text: str) -> np.ndarray:
    """`#` for ink, a line per row."""
    return np.array([[sign == "#" for sign in line] for line in text.split()])


def test_pieces_touch_by_an_edge_or_a_corner():
    found = components(
        mask("""
            #..##
            .#..#
            ....#
            ##...
        """)
    )

    np.testing.assert_array_equal(np.sort(found.areas), [2, 2, 4])
    assert found.labels[0, 0] == found.labels[1, 1]
    assert found.labels[0, 0] != found.labels[3, 0]


def test_a_box_ends_beyond_the_last_row_and_column():
    found = components(np.pad(np.ones((2, 3), bool), ((1, 4), (5, 2))))

    np.testing.assert_array_equal(found.boxes, [[5, 1, 8, 3]])


def test_of_a_bare_sheet_there_are_none():
    found = components(np.zeros((4, 6), bool))

    assert (found.areas.shape, found.boxes.shape) == ((0,), (0, 4))
    np.testing.assert_array_equal(found.mask(np.zeros(0, bool)), np.zeros((4, 6), bool))


def touching(inked: np.ndarray) -> list[set[tuple[int, int]]]:
    """The pieces, found by walking from pixel to pixel."""
    left, pieces = set(zip(*np.nonzero(inked), strict=True)), []
    while left:
        piece, edge = set(), {left.pop()}
        while edge:
            row, column = edge.pop()
            piece.add((row, column))
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            edge |= near
        pieces.append(piece)
    return pieces


@given(arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_any_sheet_has_the_pieces_that_a_walk_finds(inked):
    found, walked = components(inked), touching(inked)

    named = [set(zip(*np.nonzero(found.labels == number + 1), strict=True)) for number in range(len(found.areas))]
    assert sorted(map(sorted, named)) == sorted(map(sorted, walked))
    assert [len(piece) for piece in named] == found.areas.tolist()
    np.testing.assert_array_equal(found.mask(np.ones(len(walked), bool)), inked)
    for piece, (left, top, right, bottom) in zip(named, found.boxes, strict=True):
        rows, columns = zip(*piece, strict=True)
        assert (left, top, right, bottom) == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)


def test_a_mask_has_those_pieces_that_are_kept():
    found = components(mask("#.#.#"))

    np.testing.assert_array_equal(found.mask(np.array([True, False, True])), mask("#...#"))
