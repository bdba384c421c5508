"""Canvases and the pad."""

from __future__ import annotations

import pytest

from core.errors import DrawingError
from core.ink.canvas_record import MOST_POINTS, Drawn
from core.ink.strokes import Sheet, Stroke
from ui.state import session, surfaces
from ui.state.photos import Photos
from ui.state.surfaces import Surfaces

STROKE = Stroke(((100.0, 100.0), (200.0, 300.0)), 30.0)


def hear(*numbers: float, stroke: Stroke = STROKE) -> None:
    order, _ = surfaces.canvas_order("digit")
    surfaces.hear_canvas("digit", [Drawn(number, order, stroke, False) for number in numbers])


def strokes() -> int:
    return len(surfaces.sheet("digit").strokes)


def test_strokes_are_taken_once_and_each_can_be_undone():
    hear(1, 2)
    hear(2, 3)
    assert strokes() == 3

    surfaces.undo_stroke("digit")
    assert strokes() == 2
    surfaces.redo_stroke("digit")
    assert strokes() == 3
    assert not surfaces.can_redo_stroke("digit")


def test_clearing_can_be_undone_and_gives_the_drawing_its_number_back():
    hear(1)
    canvas = session.part(Surfaces).canvases["digit"]
    number = canvas.number
    surfaces.clear_canvas()
    hear(2)
    assert canvas.number != number

    surfaces.undo_stroke("digit")
    surfaces.undo_stroke("digit")

    assert (strokes(), canvas.number) == (1, number)


def test_only_so_many_sheets_are_kept_for_undo():
    for _ in range(session.MAX_UNDO + 10):
        surfaces.clear_canvas()

    assert session.MAX_UNDO <= len(session.part(Surfaces).canvases["digit"].undo) <= session.MAX_UNDO + 1


def test_too_much_is_not_taken_and_the_canvas_is_told_what_it_held():
    hear(1)
    order, _ = surfaces.canvas_order("digit")
    endless = Stroke(tuple((float(x % 400), 200.0) for x in range(MOST_POINTS + 1)), 30.0)

    with pytest.raises(DrawingError):
        hear(2, stroke=endless)

    assert strokes() == 1
    assert surfaces.canvas_order("digit") == (order + 1, 2)


def test_a_newly_opened_page_has_new_surfaces_with_what_was_on_them():
    hear(1)
    surfaces.enter_page("draw")
    key, (orders, _) = surfaces.canvas_key("digit"), surfaces.told_pad()

    surfaces.enter_page("draw")
    assert surfaces.canvas_key("digit") == key
    surfaces.enter_page("start")

    assert surfaces.canvas_key("digit") != key
    assert surfaces.told_pad()[0] == orders + 1
    assert strokes() == 1


def test_another_source_forgets_what_was_wrong_with_files():
    session.part(Photos).faults = ["It is no picture."]

    surfaces.choose_draw_source("Picture")

    assert session.part(Photos).faults == []
    assert surfaces.draw_source() == "Picture"


def test_a_drawing_on_the_pad_has_one_number_until_it_is_cleared():
    pad = session.part(Surfaces).pad
    surfaces.hear_pad(Sheet((STROKE,), 400, 400))
    first = pad.number
    surfaces.hear_pad(Sheet((STROKE, STROKE), 400, 400))
    assert pad.number == first

    surfaces.hear_pad(surfaces.BARE["pad"])
    surfaces.hear_pad(Sheet((STROKE,), 400, 400))

    assert pad.number == first + 1


def test_what_is_read_as_a_number_stands_until_another_is_written():
    sheet = Sheet((STROKE,), 400, 400)

    surfaces.read_as_number(sheet)
    assert (surfaces.number_ink(), surfaces.draw_part()) == (sheet, "A whole number")
    surfaces.write_number()

    assert surfaces.number_ink() is None
