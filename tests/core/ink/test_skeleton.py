"""Thinned strokes have one pixel, and the ink's pieces and holes; depths are SciPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from core.ink.components import components
from core.ink.preparation import ink_from_strokes
from core.ink.skeleton import depths, inked, margin, skeleton

masks = arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))
EIGHT = np.ones((3, 3))


def test_a_line_is_thinned_to_its_middle():
    mask = ink_from_strokes([[[20, 50], [80, 50]]], (100, 100), size=100, width=13) > 0.5

    rows, columns = np.nonzero(skeleton(mask))

    assert set(np.abs(rows - 49.5)) == {0.5}
    assert len(rows) == len(set(columns))
    assert (columns.min(), columns.max()) == pytest.approx((20, 79), abs=4)


def test_a_ring_is_thinned_to_a_circle():
    y, x = np.indices((81, 81)) - 40
    mask = np.abs(np.hypot(x, y) - 28) <= 5

    lines = skeleton(mask)

    assert np.abs(np.hypot(x, y)[lines] - 28).max() <= 1.5
    assert ndimage.label(~lines)[1] == 2


@settings(deadline=None, max_examples=80)
@given(masks)
def test_thinning_takes_away_and_joins_no_piece(mask):
    lines = skeleton(mask)

    assert not (lines & ~mask).any()
    assert ndimage.label(lines, EIGHT)[1] == ndimage.label(mask, EIGHT)[1]


@settings(deadline=None, max_examples=80)
@given(masks)
def test_depths_are_distances_to_bare_paper(mask):
    expected = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]

    np.testing.assert_allclose(depths(mask), expected, atol=1e-4)


@pytest.mark.parametrize("radius", [0.5, 2.3, 5])
def test_a_pen_leaves_a_disc(radius):
    reach = margin(radius)

    ink = inked(np.ones((1, 1), bool), radius)

    y, x = np.indices(ink.shape) - reach
    np.testing.assert_allclose(ink, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1), atol=1e-5)
    assert not ink[0, 0]


@settings(deadline=None, max_examples=120)
@given(masks)
def test_pieces_touch_by_corners_and_have_their_areas_and_boxes(mask):
    found = components(mask)

    padded = np.pad(found.labels, 1)
    height, width = mask.shape
    for row, column in np.ndindex(3, 3):
        beside = padded[row : row + height, column : column + width]
        assert not ((beside != found.labels) & (beside > 0) & mask).any()
    assert np.array_equal(found.labels > 0, mask)
    for number, (area, box) in enumerate(zip(found.areas, found.boxes, strict=True), start=1):
        rows, columns = np.nonzero(found.labels == number)
        assert area == len(rows)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
