"""Strokes: lines with the width of the pen that drew them, and pictures computed from each pixel's distance to them.

Nothing here uses pixels that a browser painted, and nothing is thinned: a thick pen's line is the same line as a thin
one's. Points are x to the right and y down, in the sheet's own units; a pixel of `Sheet.ink` is one unit wide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import hypot

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float]

SUPERSAMPLING = 4
GRAIN = 1.0  # units of the sheet: precision with which lines are cut
SPACING = 0.5  # pixels between a fitted line's points; closer ones only take time
RIM = 1.3  # pixels from a line's full ink to none: leaves MNIST's mean grey, 174 of 255 where there is ink at all
BLOT = 0.5  # of the drawing's longer side: a wider pen has left no line, but a blot
AT_ONCE = 512  # pieces of line whose distances are computed together, which bounds the memory


@dataclass(frozen=True)
class Stroke:
    """A line that a round pen has drawn.

    Attributes:
        points: where the pen was, one at least; one alone is a dot.
        width: the pen's diameter.
    """

    points: tuple[Point, ...]
    width: float


@dataclass(frozen=True)
class Sheet:
    """A sheet, `width` by `height`, with the strokes on it."""

    strokes: tuple[Stroke, ...]
    width: int
    height: int

    @cached_property
    def ink(self) -> np.ndarray:
        """Visible ink of the strokes, (height, width) float32 in [0, 1]."""
        return inked(self.strokes, self.width, self.height)

    def any(self) -> bool:
        """Return whether there is ink on it, as `ndarray.any` does for an array of ink."""
        return bool(self.strokes)

    def drawn(self, stroke: Stroke) -> Sheet:
        """Return the sheet with one more stroke; what lies beyond the edges is cut off."""
        size = self.width, self.height
        return self._of(
            [*self.strokes, *_kept(stroke, lambda points: np.all((points >= 0) & (points <= size), axis=1))]
        )

    def erased(self, eraser: Stroke) -> Sheet:
        """Return the sheet without the lines that lie under an eraser's stroke."""
        bare = inked([eraser], self.width, self.height, supersampling=1) == 0
        last = np.array([self.width, self.height]) - 1

        def is_left(points: np.ndarray) -> np.ndarray:
            x, y = np.clip(points.astype(int), 0, last).T
            return bare[y, x]

        return self._of(part for stroke in self.strokes for part in _kept(stroke, is_left))

    def shared_out(self, owners: np.ndarray, count: int) -> list[Sheet]:
        """Return a sheet for each owner with the strokes on its ink; a line is cut where it goes on into another
        owner's ink.

        Args:
            owners: (height, width) int, the owner of each pixel, 0 to count - 1; any other number is nobody.
            count: number of owners.
        """
        last = np.array([self.width, self.height]) - 1

        def is_of(owner: int) -> Callable[[np.ndarray], np.ndarray]:
            return lambda points: owners[tuple(np.clip(points.astype(int), 0, last).T[::-1])] == owner

        return [
            self._of(part for stroke in self.strokes for part in _kept(stroke, is_of(owner))) for owner in range(count)
        ]

    def _of(self, strokes: Iterable[Stroke]) -> Sheet:
        return replace(self, strokes=tuple(strokes))


def length(line: Sequence[Point]) -> float:
    """Return the length of a line through points, in their unit."""
    return sum(hypot(x - u, y - v) for (u, v), (x, y) in pairwise(line))


def inked(strokes: Sequence[Stroke], width: int, height: int, supersampling: int = SUPERSAMPLING) -> np.ndarray:
    """Return the ink of strokes on a sheet, anti-aliased, with round caps and joins: (height, width) float32 in [0, 1].

    Args:
        strokes: in the sheet's units.
        width, height: of the sheet, in pixels.
        supersampling: number of samples per pixel and direction; 1 draws without anti-aliasing.
    """
    sheet = Image.new("L", (width * supersampling, height * supersampling))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        diameter = max(1, round(stroke.width * supersampling))
        points, radius = [(x * supersampling, y * supersampling) for x, y in stroke.points], diameter / 2
        if len(points) > 1:
            pen.line(points, fill=255, width=diameter)
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(sheet.reduce(supersampling), dtype=np.float32) / 255


def fitted(strokes: Sequence[Stroke], side: int, pen: float) -> np.ndarray:
    """Draw lines with one pen in a square, scaled so that their longer side, with the pen's width, fills it.

    A drawing whose pen is wider than half of it is a blot, and keeps that width.

    Args:
        strokes: at least one.
        side: of the square, in pixels.
        pen: the pen's diameter, in pixels of the square.

    Returns:
        (side, side) float64 in [0, 1], the ink of each pixel.
    """
    left, top, right, bottom = _bounds(strokes)
    diameter, scale = _fit(strokes, side, pen)
    x_middle, y_middle = (left + right) / 2, (top + bottom) / 2
    lines = [
        [((x - x_middle) * scale + side / 2, (y - y_middle) * scale + side / 2) for x, y in stroke.points]
        for stroke in strokes
    ]
    return np.clip((diameter / 2 - _distances(lines, side)) / RIM + 0.5, 0, 1)


def redrawn(sheet: Sheet, side: int, pen: float) -> np.ndarray:
    """Return a sheet's strokes drawn with the one pen of `fitted`, before they are fitted: (height, width) float32 in
    [0, 1].

    Args:
        sheet: with at least one stroke.
        side: of the square that they would be fitted to, in pixels.
        pen: the pen's diameter, in pixels of the square.
    """
    diameter, scale = _fit(sheet.strokes, side, pen)
    if not scale:
        return sheet.ink
    return inked([replace(stroke, width=diameter / scale) for stroke in sheet.strokes], sheet.width, sheet.height)


def _fit(strokes: Sequence[Stroke], side: int, pen: float) -> tuple[float, float]:
    """Return the pen's diameter in pixels of a square, and the scale from the sheet's units to these pixels."""
    left, top, right, bottom = _bounds(strokes)
    extent, widest = max(right - left, bottom - top), max(stroke.width for stroke in strokes)
    share = widest / (extent + widest)
    diameter = share * side if share > BLOT else pen
    return diameter, (side - diameter) / extent if extent else 0.0


def _bounds(strokes: Sequence[Stroke]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the lines."""
    xs, ys = zip(*(point for stroke in strokes for point in stroke.points), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _distances(lines: list[list[Point]], side: int) -> np.ndarray:
    """Return the distance of each pixel's middle from the nearest line, (side, side) float64."""
    pieces = [piece for line in map(_spaced, lines) for piece in zip(line, line[1:] or line, strict=False)]
    middles = np.arange(side) + 0.5
    nearest = np.full((side, side), np.inf)
    for first in range(0, len(pieces), AT_ONCE):
        (x0, y0), (x1, y1) = np.array(pieces[first : first + AT_ONCE]).transpose(1, 2, 0)[..., None, None]
        along_x, along_y = x1 - x0, y1 - y0
        from_x, from_y = middles - x0, middles[:, None] - y0
        squared = np.maximum(along_x**2 + along_y**2, 1e-12)  # a dot has no direction
        place = np.clip((from_x * along_x + from_y * along_y) / squared, 0, 1)
        far = (from_x - place * along_x) ** 2 + (from_y - place * along_y) ** 2
        nearest = np.minimum(nearest, far.min(axis=0))
    return np.sqrt(nearest)


def _spaced(line: list[Point]) -> list[Point]:
    """Return a line without points that are too close to the one before; its two ends stay."""
    kept = line[:1]
    for x, y in line[1:-1]:
        if hypot(x - kept[-1][0], y - kept[-1][1]) >= SPACING:
            kept.append((x, y))
    return kept + line[1:][-1:]


def _kept(stroke: Stroke, is_kept: Callable[[np.ndarray], np.ndarray]) -> list[Stroke]:
    """Return the parts of a stroke that are kept, as strokes of their own; the same stroke if all of it is kept.

    Args:
        is_kept: function of points (n, 2) float64 that returns whether each is kept, (n,) bool.
    """
    corners = np.array(stroke.points)
    steps = np.maximum(np.ceil(np.hypot(*np.diff(corners, axis=0).T) / GRAIN), 1).astype(int)
    at = np.concatenate([*(k + np.arange(count) / count for k, count in enumerate(steps)), [len(steps)]])
    points = np.column_stack([np.interp(at, np.arange(len(corners)), axis) for axis in corners.T])
    kept = is_kept(points)
    if kept.all():
        return [stroke]
    is_corner = at % 1 == 0
    parts = []
    for first, beyond in np.flatnonzero(np.diff(kept, prepend=False, append=False)).reshape(-1, 2):
        is_corner[[first, beyond - 1]] = True
        part = points[first:beyond][is_corner[first:beyond]]
        parts.append(replace(stroke, points=tuple(map(tuple, part.tolist()))))
    return parts
