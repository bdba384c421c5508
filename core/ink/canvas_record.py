"""The messages of the drawing surfaces: strokes as JSON, checked before they are used, and the record with which the
standard canvas shows strokes, in the format of Fabric.js."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.errors import DrawingError
from core.ink.strokes import Point, Sheet, Stroke, length

INK = "#5566F5"  # the theme's ultramarine, readable on paper and on blue-black
MOST_STROKES, MOST_POINTS = 200, 8000
MOST_LENGTH = 64  # length of all strokes together, in the sheet's longer sides
LARGEST, WIDEST = 1e15, 100  # of any number that is sent, such as a pen's width
SOMETHING_ELSE = "The page sent something other than strokes. Clear the sheet and draw again."


@dataclass(frozen=True)
class Drawn:
    """A stroke that was drawn on the canvas.

    Attributes:
        number: grows with every stroke of a visit.
        order: the number of the order that the canvas had obeyed when it was begun.
        stroke: in the sheet's units.
        is_erasing: whether it takes ink away.
    """

    number: float
    order: float
    stroke: Stroke
    is_erasing: bool


def drawn(sent: object, side: float) -> list[Drawn]:
    """Return what was drawn on the canvas, oldest first, from the JSON that its pen sent.

    Args:
        sent: the JSON value as it came.
        side: the longer side of the sheet, in its own units.

    Raises:
        DrawingError: if it holds something other than strokes, or too many.
    """
    if not isinstance(sent, list):
        raise DrawingError(SOMETHING_ELSE)
    if len(sent) > MOST_STROKES:
        raise _too_much()
    if not all(isinstance(one, dict) and one.get("points") for one in sent):
        raise DrawingError(SOMETHING_ELSE)
    lines = _lines([one["points"] for one in sent], side)
    return [
        Drawn(
            _number(one.get("number")),
            _number(one.get("order")),
            Stroke(line, _width(one.get("width"))),
            one.get("erases") is True,
        )
        for one, line in zip(sent, lines, strict=True)
    ]


def strokes(sent: object, side: float, width: float) -> tuple[Stroke, ...]:
    """Return the live pad's strokes.

    Args:
        sent: lists of points [x, y], as shares 0..1 of the pad's side.
        side: the pad's side, in the strokes' unit.
        width: the pen's diameter, in the same unit.

    Raises:
        DrawingError: if it holds something other than strokes, or too many.
    """
    return tuple(
        Stroke(tuple((side * min(max(x, 0.0), 1.0), side * min(max(y, 0.0), 1.0)) for x, y in line), width)
        for line in _lines(sent, 1)
    )


def require_room(sheet: Sheet) -> None:
    """Refuse more than a digit, or a number, can be.

    Raises:
        DrawingError: if there are too many strokes, points, or too long lines.
    """
    _bound([stroke.points for stroke in sheet.strokes], max(sheet.width, sheet.height))


def shown(strokes: Iterable[Stroke], order: int) -> dict:
    """Return the record that makes the canvas show strokes.

    Args:
        order: a new number makes the canvas draw them again, even if the strokes are those of an earlier record.
    """
    return {"objects": list(map(_path, strokes)), "order": order}


def _path(stroke: Stroke) -> dict:
    (x, y), *others = stroke.points
    others = others or [(x + 0.01, y)]  # a line without length would not be painted
    return {
        "type": "Path",
        "path": [["M", x, y], *(["L", *point] for point in others)],
        "fill": None,
        "stroke": INK,
        "strokeWidth": stroke.width,
        "strokeLineCap": "round",
        "strokeLineJoin": "round",
    }


def _lines(sent: object, side: float) -> list[tuple[Point, ...]]:
    """Return lists of points, counted before they are looked at, and checked before they are used; empty ones are left
    out."""
    if not isinstance(sent, list) or not all(isinstance(line, list) for line in sent[:MOST_STROKES]):
        raise DrawingError(SOMETHING_ELSE)
    if len(sent) > MOST_STROKES or sum(map(len, sent)) > MOST_POINTS:
        raise _too_much()
    if not all(isinstance(point, list) and len(point) == 2 for line in sent for point in line):
        raise DrawingError(SOMETHING_ELSE)
    lines = [tuple((_number(x), _number(y)) for x, y in line) for line in sent if line]
    _bound(lines, side)
    return lines


def _bound(lines: Sequence[Sequence[Point]], side: float) -> None:
    if len(lines) > MOST_STROKES or sum(map(len, lines)) > MOST_POINTS or sum(map(length, lines)) > MOST_LENGTH * side:
        raise _too_much()


def _number(sent: object) -> float:
    """Return a number as a float, if it isn't too large to calculate with."""
    if not (isinstance(sent, int | float) and abs(sent) <= LARGEST):  # NaN is not
        raise DrawingError(SOMETHING_ELSE)
    return float(sent)


def _width(sent: object) -> float:
    found = _number(sent)
    if not 0 < found <= WIDEST:
        raise DrawingError(SOMETHING_ELSE)
    return found


def _too_much() -> DrawingError:
    return DrawingError(
        f"There is more on the sheet than can be a drawing: expected at most {MOST_STROKES} strokes, {MOST_POINTS:,} points, and "
        f"lines {MOST_LENGTH} times as long as the sheet. Clear it and draw again."
    )
