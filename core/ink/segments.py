"""Segmentation of a number into its digits: pieces of ink are joined to digits, and digits that touch are cut apart.

Only shapes decide, and no network is asked, so that a single digit stays whole whatever it looks like, unless it is far
wider than high.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from core.errors import DrawingError
from core.ink.components import components
from core.ink.preparation import EDGE, Ink
from core.ink.strokes import Sheet

SPECK = 0.1  # of the tallest piece's height: a piece smaller than this in both directions is a speck
PART = 0.6  # of the tallest: a lower piece above, below or close beside a digit is a part of it
OVERLAP = 0.5  # of the narrower piece's width: two pieces that overlap this far are one digit
PART_OVERLAP = 0.2  # the same if one of them is only a part
GAP = 0.15  # of the height of all ink: two pieces this close are one stroke with a break in it
DOT = 0.25  # of the height of all ink: if no piece is higher, strokes are dotted
BESIDE = 0.05  # of the lower one's height: two pieces that share so many rows stand beside each other
MOST_PIECES, MOST_DIGITS = 300, 40  # more are refused
NEAR = 0.08  # of the tallest piece's height: a part this close beside a digit belongs to it
NARROW, WIDE = 0.6, 1.25  # times its height: a narrower piece is one digit, a wider one probably several
CUT_WIDTHS, MOST_STROKES = (
    (1.0, WIDE, 1.4),
    (1.2, 2.0, 3.0),
)  # the most strokes that a cut goes through, by width over height
LEAST_HEIGHT, LEAST_HEIGHT_WIDE = 0.75, 0.5  # of its height: both sides of a cut are at least this high
FINE = 48  # pixels: height of the shrunk digit in which cuts are searched
WINDOWS = 12  # in which a cut is searched
OFF_CENTRE = 0.5  # strokes: extra cost of a cut at the very side, compared with one in the middle
SLANT_COST = (
    0.02  # pixels of ink: cost per pixel that a cut moves sideways, so that it is straight if nothing else decides
)


@dataclass(frozen=True, eq=False)
class Segment:
    """A digit of a number.

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
    """Return the digits of a number, left to right.

    Args:
        ink: (h, w) float32 in [0, 1]; bare paper gives no segments.

    Raises:
        DrawingError: if the ink is in more than MOST_PIECES pieces, or more than MOST_DIGITS digits.
    """
    if not ink.any():
        return []
    found = []
    for group in _groups(ink):
        for piece in _cut(group.part):
            found.append(_segment(ink, piece))
            if len(found) > MOST_DIGITS:
                raise DrawingError(f"There seem to be more than {MOST_DIGITS} digits: write a shorter number.")
    return sorted(found, key=lambda segment: segment.left + segment.right)


def shared_out(ink: Ink, found: Sequence[Segment]) -> list[Ink]:
    """Return the drawing of each digit of a number.

    Where strokes are known it is the digit's strokes, cut where a line goes on into another digit; otherwise, or if no
    line's middle lies in the digit, it is the digit's ink.

    Args:
        found: as `segments` finds them in the ink.
    """
    if not isinstance(ink, Sheet):
        return [segment.ink for segment in found]
    owners = np.full((ink.height, ink.width), -1)
    for place, segment in enumerate(found):
        owners[segment.top : segment.bottom, segment.left : segment.right][segment.ink > 0] = place
    sheets = ink.shared_out(owners, len(found))
    return [own if own.any() else segment.ink for own, segment in zip(sheets, found, strict=True)]


def count_apart(ink: np.ndarray) -> int:
    """Return how many separate digits stand on a sheet, without cutting any apart and without counting low pieces that
    may be parts.

    Args:
        ink: (h, w) float32 in [0, 1], not empty.

    Raises:
        DrawingError: if it is in more than MOST_PIECES pieces.
    """
    groups = list(_groups(ink))
    top = min(group.part.top for group in groups)
    bottom = max(group.part.top + len(group.part.mask) for group in groups)
    return max(1, sum(group.height >= PART * (bottom - top) for group in groups))


@dataclass(frozen=True, eq=False)
class _Part:
    """Some of a sheet's ink: `mask` (h, w) bool, no larger than it has to be, and where its first row and column are."""

    mask: np.ndarray
    top: int
    left: int

    def of(self, mask: np.ndarray) -> _Part:
        """Return the part of this one that lies in a mask of the same shape."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        own = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return _Part(own, self.top + int(rows[0]), self.left + int(columns[0]))


@dataclass(frozen=True, eq=False)
class _Group:
    """A digit, or digits that touch: its ink, and the height in pixels of the highest stroke in it, broken or not."""

    part: _Part
    height: int


def _segment(ink: np.ndarray, part: _Part) -> Segment:
    bottom, right = np.add((part.top, part.left), part.mask.shape).tolist()
    own = np.where(part.mask, ink[part.top : bottom, part.left : right], np.float32(0))
    return Segment(own, part.left, part.top, right, bottom)


# --- pieces that are one digit ----------------------------------------------------------------------------------------

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are the first beyond it


def _groups(ink: np.ndarray) -> Iterator[_Group]:
    """Yield each digit, or several that touch, joined from pieces of ink; specks are left out."""
    found = components(ink >= EDGE * ink.max())
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    is_kept = sides.max(axis=1) >= SPECK * sides.max()
    if is_kept.sum() > MOST_PIECES:
        raise DrawingError(
            f"The ink is in {is_kept.sum():,} pieces: expected digits, of at most {MOST_PIECES} in all. Clear the sheet, or take "
            "a picture without a pattern in it."
        )
    numbers = np.concatenate([[0], np.cumsum(is_kept) * is_kept])  # of the pieces that are kept, from 1 on
    labels, boxes = numbers[found.labels], [tuple(box) for box in found.boxes[is_kept].tolist()]
    strokes = _mended(labels, boxes) if len(boxes) > 1 else [[0]]
    for members in _together([_around([boxes[piece] for piece in stroke]) for stroke in strokes]):
        pieces = [piece for stroke in members for piece in strokes[stroke]]
        left, top, right, bottom = _around([boxes[piece] for piece in pieces])
        mask = np.isin(labels[top:bottom, left:right], np.array(pieces) + 1)
        heights = [_height(_around([boxes[piece] for piece in strokes[stroke]])) for stroke in members]
        yield _Group(_Part(mask, top, left), max(heights))


def _mended(labels: np.ndarray, boxes: list[Box]) -> list[list[int]]:
    """Return the pieces of each stroke, or of strokes that touch, joined across breaks no wider than GAP.

    The narrowest breaks come first. Two digits that stand beside each other are never joined.

    Args:
        labels: (h, w) integers, 0 where there is no ink, else the number of a piece from 1 on.
        boxes: the pieces' boxes.
    """
    extent, highest = _height(_around(boxes)), max(map(_height, boxes))
    dot = DOT * extent
    size = extent if highest < dot else min(extent, 2 * highest)  # of a digit whose halves are apart, at most

    def are_digits(box: Box, other: Box) -> bool:
        low = min(_height(box), _height(other))
        shared_rows = min(box[3], other[3]) - max(box[1], other[1])
        return low >= max(dot, PART * highest) and shared_rows >= BESIDE * low

    strokes, stroke_of = {piece: [piece] for piece in range(len(boxes))}, list(range(len(boxes)))
    for one, other, gap in _gaps(labels):
        if gap > GAP * size:
            break
        is_dotted = max(_height(boxes[one]), _height(boxes[other])) < dot
        if not is_dotted and -_shared(boxes[one], boxes[other]) > NEAR * size:
            continue
        first, second = stroke_of[one], stroke_of[other]
        if first == second or any(are_digits(boxes[a], boxes[b]) for a in strokes[first] for b in strokes[second]):
            continue
        for piece in strokes[second]:
            stroke_of[piece] = first
        strokes[first] += strokes.pop(second)
    return list(strokes.values())


def _gaps(labels: np.ndarray) -> list[tuple[int, int, float]]:
    """Return pairs of pieces between which nothing else lies, counted from 0, and their distance in pixels; the nearest
    first.

    Each pixel of the paper belongs to the piece nearest to it. Where the areas of two pieces meet, the distances to
    both are added.
    """
    from scipy import ndimage  # a quarter of a second, for which the first page need not wait

    # Given no arrays to write to, it returns both.
    distances, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    owners = labels[tuple(nearest)]
    meetings = []
    for here, there in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
        one, other, gap = owners[here], owners[there], distances[here] + distances[there]
        meet = one != other
        meetings.append(np.stack([np.minimum(one, other)[meet], np.maximum(one, other)[meet], gap[meet]]))
    ones, others, gaps = np.concatenate(meetings, axis=1)
    order = np.argsort(gaps, kind="stable")
    _, first = np.unique(np.stack([ones, others])[:, order], axis=1, return_index=True)
    nearest_first = order[np.sort(first)]
    return [(int(ones[k]) - 1, int(others[k]) - 1, float(gaps[k])) for k in nearest_first]


def _together(boxes: list[Box]) -> list[list[int]]:
    """Return which strokes form one digit, by their boxes: those above each other, and parts close beside one."""
    height = max(max(box[2] - box[0], _height(box)) for box in boxes)
    # The highest first, so that a part finds the digit it belongs to.
    groups: list[tuple[list[int], Box]] = []
    for stroke in sorted(range(len(boxes)), key=lambda k: -_height(boxes[k])):
        closeness = [_belonging(boxes[stroke], other, PART * height) for _, other in groups]
        if closeness and max(closeness) > 0:
            best = int(np.argmax(closeness))
            members, other = groups[best]
            groups[best] = [*members, stroke], _around([other, boxes[stroke]])
        else:
            groups.append(([stroke], boxes[stroke]))
    return [members for members, _ in groups]


def _belonging(box: Box, other: Box, height: float) -> float:
    """Return how surely a stroke belongs to a higher one: more than 0 if it does. A stroke lower than `height` is a
    part.
    """
    shared = _shared(box, other)
    share = shared / min(box[2] - box[0], other[2] - other[0])
    if _height(box) >= height:
        return max(share - OVERLAP, 0)
    if share < 0:
        return max(NEAR + shared * PART / height, 0)
    return max(share - PART_OVERLAP, 0) + NEAR


def _shared(box: Box, other: Box) -> int:
    """Return how many columns both boxes cover; a negative number counts the columns between them."""
    return min(box[2], other[2]) - max(box[0], other[0])


def _height(box: Box) -> int:
    return box[3] - box[1]


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


# --- digits that touch ------------------------------------------------------------------------------------------------


def _cut(whole: _Part) -> Iterator[_Part]:
    """Yield the digit, or the digits that touch in it, each of them cut again in the same way."""
    height, width = whole.mask.shape
    grain = max(1, height // FINE)
    path = _best_cut(whole.mask[::grain, ::grain])
    if path is None:
        yield whole
        return
    is_left = np.arange(width) < grain * np.repeat(path, grain)[:height, None]
    for side in (whole.mask & is_left, whole.mask & ~is_left):
        yield from _cut(whole.of(side))


def _best_cut(mask: np.ndarray) -> np.ndarray | None:
    """Return the column in each row (h,) int64 where the shape is best cut in two; None if it is one digit.

    Both sides of a cut must be about as high as the whole, which no part of a digit is, except in a 4 that is open
    above: there the left part is lower.
    """
    height, width = mask.shape
    if not mask.any():  # its lines are finer than the shrunk mask's pixels
        return None
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
    """Return paths from top to bottom through the least ink, in windows side by side.

    Source: J. Wang, J. Jean, "Segmentation of merged characters by neural networks and shortest path", Pattern
    Recognition 27(5), 1994: the shortest path, where a pixel of ink is long.

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
    """Return the stroke width in pixels: twice the area over the outline's length, as for a long stroke. See
    `measures.traits`.
    """
    corners = np.pad(mask, 1).astype(np.float32)
    falling = corners[1:, 1:] - corners[:-1, :-1]
    rising = corners[1:, :-1] - corners[:-1, 1:]
    return 2 * float(mask.sum()) / float(np.sqrt((falling * falling + rising * rising) / 2).sum())
