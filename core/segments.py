"""A number cut into its digits: pieces of ink put together that are one digit, and cut apart where two touch.

It looks at shapes alone and asks no network, so that a single digit stays whole whatever it looks like, unless it is far wider
than high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.components import components
from core.drawing import EDGE

SPECK = 0.1  # of the tallest piece's height: smaller both ways is a speck
PART = 0.6  # of the tallest: less high is a digit's part, if it lies above, below or close beside one
OVERLAP = 0.5  # of the narrower piece's width, at which two pieces above each other are one digit
PART_OVERLAP = 0.2  # the same where one of them is only a part
NEAR = 0.08  # of the tallest piece's height: a part this close beside a digit belongs to it
NARROW, WIDE = 0.6, 1.25  # times its height: a narrower piece is one digit, a wider one probably several
CUT_WIDTHS, MOST_STROKES = (
    (1.0, WIDE, 1.4),
    (1.2, 2.0, 3.0),
)  # the most strokes that a cut goes through, by width over height
LEAST_HEIGHT, LEAST_HEIGHT_WIDE = 0.75, 0.5  # of its height, that is left on both sides of a cut
FINE = 48  # pixels of height in which cuts are looked for
WINDOWS = 12  # places where one is looked for
OFF_CENTRE = 0.5  # strokes that a cut at the very side costs more than one in the middle
SLANT_COST = 0.02  # of a pixel of ink, per pixel that a cut goes sideways: straight where nothing else decides


@dataclass(frozen=True, eq=False)
class Segment:
    """One digit of a number.

    Attributes:
        ink: (bottom - top, right - left) float32 in [0, 1], this digit's alone.
        left, top, right, bottom: where it is on the sheet, in pixels; right and bottom are the first beyond it.
    """

    ink: np.ndarray
    left: int
    top: int
    right: int
    bottom: int


def segments(ink: np.ndarray) -> list[Segment]:
    """The digits of a number, left to right.

    Args:
        ink: (h, w) float32 in [0, 1]; none gives no segments.
    """
    if not ink.any():
        return []
    mask = ink >= EDGE * ink.max()
    pieces = [part for group in _groups(mask) for part in _cut(group)]
    return sorted((_segment(ink, piece) for piece in pieces), key=lambda segment: segment.left + segment.right)


def count_apart(ink: np.ndarray) -> int:
    """How many digits stand apart on a sheet, none of them cut off another, and none of them so low that it may be a part.

    Args:
        ink: (h, w) float32 in [0, 1], not empty.
    """
    boxes = [_box(mask) for mask in _groups(ink >= EDGE * ink.max())]
    heights = np.array([bottom - top for _, top, _, bottom in boxes])
    return int((heights >= PART * heights.max()).sum())


def _segment(ink: np.ndarray, mask: np.ndarray) -> Segment:
    left, top, right, bottom = _box(mask)
    own = np.where(mask, ink, np.float32(0))[top:bottom, left:right]
    return Segment(own, left, top, right, bottom)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# --- pieces that are one digit ----------------------------------------------------------------------------------------


def _groups(mask: np.ndarray) -> list[np.ndarray]:
    """The mask of each digit, or of digits that touch: pieces put together, specks left out."""
    found = components(mask)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    height = sides.max()
    kept = np.flatnonzero(sides.max(axis=1) >= SPECK * height)
    # The largest first: parts come to the digits they belong to.
    groups: list[tuple[list[int], np.ndarray]] = []
    for piece in kept[np.argsort(-sides[kept, 1])]:
        box = found.boxes[piece]
        closeness = [_belonging(box, other, PART * height) for _, other in groups]
        if closeness and max(closeness) > 0:
            members, other = groups[int(np.argmax(closeness))]
            members.append(piece)
            other[:2], other[2:] = np.minimum(other[:2], box[:2]), np.maximum(other[2:], box[2:])
        else:
            groups.append(([piece], box.copy()))
    return [np.isin(found.labels, np.array(members) + 1) for members, _ in groups]


def _belonging(box: np.ndarray, other: np.ndarray, height: float) -> float:
    """How surely a piece belongs to a higher one, more than 0 if it does; less than `height` high, it is a part."""
    shared = min(box[2], other[2]) - max(box[0], other[0])
    share = shared / min(box[2] - box[0], other[2] - other[0])
    if box[3] - box[1] >= height:
        return max(share - OVERLAP, 0)
    if share < 0:
        return max(NEAR + shared * PART / height, 0)
    return max(share - PART_OVERLAP, 0) + NEAR


# --- digits that touch ------------------------------------------------------------------------------------------------


def _cut(mask: np.ndarray) -> list[np.ndarray]:
    """One digit's mask, or those of the digits that touch in it, each cut as the whole is."""
    left, top, right, bottom = _box(mask)
    grain = max(1, (bottom - top) // FINE)
    own = mask[top:bottom:grain, left:right:grain]
    path = _best_cut(own)
    if path is None:
        return [mask]
    columns = left + grain * np.repeat(path, grain)[: bottom - top]
    is_left = np.zeros_like(mask)
    is_left[top:bottom] = np.arange(mask.shape[1]) < columns[:, None]
    return [part for side in (mask & is_left, mask & ~is_left) for part in _cut(side)]


def _best_cut(mask: np.ndarray) -> np.ndarray | None:
    """The column in each row (h,) int64 where a digit's own crop is best cut in two; None where it is one digit.

    What is cut apart must be about as high as before on both sides, which no part of a digit is, except in a 4 that is open
    above: there the left part is not.
    """
    height, width = mask.shape
    stroke = _stroke_width(mask)
    is_wide = width > WIDE * height
    most = np.interp(width / height, CUT_WIDTHS, MOST_STROKES)
    least = LEAST_HEIGHT_WIDE if is_wide else LEAST_HEIGHT
    if width <= NARROW * height or height < 3 * stroke:
        return None
    best, lowest = None, most
    for path in _seams(mask):
        crossed = np.flatnonzero(mask[np.arange(height), path])
        is_at_an_end = len(crossed) and (crossed[0] >= height - 1.5 * stroke or crossed[-1] < 1.5 * stroke)
        if is_at_an_end and not is_wide:
            continue
        strokes = len(crossed) / stroke + OFF_CENTRE * abs(2 * path.mean() / width - 1)
        is_left = np.arange(width) < path[:, None]
        heights = [side.any(axis=1).sum() for side in (mask & is_left, mask & ~is_left)]
        if strokes < lowest and min(heights) >= least * height:
            best, lowest = path, strokes
    return best


def _seams(mask: np.ndarray) -> np.ndarray:
    """Ways from top to bottom through the least ink, in windows side by side.

    Source: J. Wang, J. Jean, "Segmentation of merged characters by neural networks and shortest path", Pattern Recognition
    27(5), 1994: the shortest path, where a pixel of ink is long.

    Returns:
        The column in each row, (WINDOWS, h) int64.
    """
    height, width = mask.shape
    centres = np.linspace(0, width - 1, WINDOWS + 2)[1:-1]
    reach = max(2.0, width / WINDOWS)
    walls = np.where(np.abs(np.arange(width) - centres[:, None]) <= reach, 0.0, np.inf)
    cost, steps = mask[0] + walls, np.zeros((height, WINDOWS, width), np.int8)
    for row in range(1, height):
        above = np.pad(cost, ((0, 0), (1, 1)), constant_values=np.inf)
        ways = np.stack([above[:, 1:-1], above[:, :-2] + SLANT_COST, above[:, 2:] + SLANT_COST])
        steps[row] = np.array([0, -1, 1], np.int8)[ways.argmin(axis=0)]
        cost = ways.min(axis=0) + mask[row] + walls
    paths, windows = np.empty((WINDOWS, height), np.int64), np.arange(WINDOWS)
    paths[:, -1] = cost.argmin(axis=1)
    for row in range(height - 1, 0, -1):
        paths[:, row - 1] = paths[:, row] + steps[row, windows, paths[:, row]]
    return paths


def _stroke_width(mask: np.ndarray) -> float:
    """In pixels: twice the area over the outline's length, as of a long stroke. See `atlas.traits`."""
    corners = np.pad(mask, 1).astype(np.float32)
    falling = corners[1:, 1:] - corners[:-1, :-1]
    rising = corners[1:, :-1] - corners[:-1, 1:]
    return 2 * float(mask.sum()) / float(np.sqrt((falling * falling + rising * rising) / 2).sum())
