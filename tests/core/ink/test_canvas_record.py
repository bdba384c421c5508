"""What the canvas and the pad send is read, or refused with a sentence before anything is made of it."""

from __future__ import annotations

import pytest

from core.errors import DrawingError
from core.ink import canvas_record
from core.ink.canvas_record import MOST_LENGTH, MOST_POINTS, MOST_STROKES, Drawn
from core.ink.strokes import Sheet, Stroke

NAN, HUGE = float("nan"), 10**400


def sent(**changes) -> dict:
    """A stroke as the canvas' pen sends it."""
    return {"number": 7.0, "order": 2, "width": 30, "erases": False, "points": [[1, 2], [3.5, 4]], **changes}


def zigzag(count: int) -> list[list[float]]:
    return [[k % 2 * 400, 0] for k in range(count)]


def test_strokes_of_the_canvas_come_with_their_pen_and_the_order_they_were_begun_under():
    found = canvas_record.drawn([sent(), sent(number=8, erases=True, points=[[9, 9]])], 400)

    assert found == [
        Drawn(7.0, 2.0, Stroke(((1, 2), (3.5, 4)), 30), False),
        Drawn(8.0, 2.0, Stroke(((9, 9),), 30), True),
    ]


def test_strokes_are_kept_within_the_pad():
    assert canvas_record.strokes([[[0.5, 0.25], [2, -1]], []], 400, 30) == (Stroke(((200, 100), (400, 0)), 30),)


NO_LINES = [
    None,
    "strokes",
    7,
    {},
    True,
    [None],
    ["line"],
    [{}],
    [7],
    [[7]],
    [["ab"]],
    [[{}]],
    [[None]],
    [[[1]]],
    [[[1, 2, 3]]],
    [[["1", 2]]],
    [[[None, 2]]],
    [[[NAN, 0]]],
    [[[float("inf"), 0]]],
    [[[HUGE, 0]]],
    [[[[1, 2], 3]]],
]


@pytest.mark.parametrize("lines", NO_LINES, ids=repr)
def test_something_other_than_strokes_is_refused_by_the_pad(lines):
    with pytest.raises(DrawingError, match="something other than strokes"):
        canvas_record.strokes(lines, 400, 30)


@pytest.mark.parametrize(
    "strokes",
    [
        *(lines for lines in NO_LINES if not isinstance(lines, list)),
        *([sent(points=line)] for lines in NO_LINES if isinstance(lines, list) for line in lines),
        [sent(points=[])],
        [sent(), None],
        *([sent(**{field: value})] for field in ("number", "order", "width") for value in (None, "1", NAN, HUGE, [1])),
        *([sent(width=value)] for value in (0, -1, 1e6)),
    ],
    ids=repr,
)
def test_something_other_than_strokes_is_refused_by_the_canvas(strokes):
    with pytest.raises(DrawingError, match="something other than strokes"):
        canvas_record.drawn(strokes, 400)


class Untouchable(list):
    """A stroke that may be counted and nothing else."""

    def __iter__(self):
        raise AssertionError("it was looked into")

    __getitem__ = __iter__


@pytest.mark.parametrize(
    "lines",
    [
        [Untouchable([[0, 0]])] * 1_000_000,
        [Untouchable([[0, 0]] * (MOST_POINTS + 1))],
        [Untouchable([[0, 0]] * MOST_POINTS)] * MOST_STROKES,
    ],
)
def test_too_much_is_refused_before_it_is_looked_into(lines):
    with pytest.raises(DrawingError, match=r"at most 200 strokes, 8,000 points"):
        canvas_record.strokes(lines, 400, 30)
    with pytest.raises(DrawingError, match=r"at most 200 strokes, 8,000 points"):
        canvas_record.drawn([sent(points=line) for line in lines[:1000]], 400)


def test_lines_far_longer_than_a_sheet_are_refused():
    canvas_record.drawn([sent(points=zigzag(MOST_LENGTH))], 400)

    with pytest.raises(DrawingError, match="64 times as long as the sheet"):
        canvas_record.drawn([sent(points=zigzag(MOST_LENGTH + 2))], 400)
    with pytest.raises(DrawingError, match="64 times as long as the sheet"):
        canvas_record.drawn([sent(points=[[0, 0], [1e14, 0]])], 400)


def test_a_sheet_has_room_for_so_much_in_all():
    stroke = Stroke(((0, 0), (10, 0)), 30)
    canvas_record.require_room(Sheet((stroke,) * MOST_STROKES, 400, 400))

    with pytest.raises(DrawingError, match="Clear it and draw again"):
        canvas_record.require_room(Sheet((stroke,) * (MOST_STROKES + 1), 400, 400))
    with pytest.raises(DrawingError, match="Clear it and draw again"):
        canvas_record.require_room(Sheet((Stroke(tuple(map(tuple, zigzag(100))), 30),), 400, 400))


def test_the_canvas_is_told_lines_as_wide_as_their_pens():
    record = canvas_record.shown([Stroke(((1, 2), (3, 4)), 30), Stroke(((5, 6),), 14)], 3)

    assert record["order"] == 3
    assert [(one["path"], one["strokeWidth"], one["stroke"]) for one in record["objects"]] == [
        ([["M", 1, 2], ["L", 3, 4]], 30, canvas_record.INK),
        ([["M", 5, 6], ["L", 5.01, 6]], 14, canvas_record.INK),
    ]
