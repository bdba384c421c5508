"""A drawing is read as soon as there is a network and an engine, and kept until it is cleared."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import drawing
from core.engine.cluster import Phase
from core.errors import DrawingError, WorkerLost
from core.evaluation.rejection import Reading
from core.ink import canvas_record
from core.ink.canvas_record import Drawn
from core.ink.preparation import Preparation, prepare, to_mnist
from core.ink.strokes import Sheet, Stroke
from core.runs.progress import State
from core.views.pictures import png
from tests.page_fields import held_by_widgets, in_session, part
from ui.state import drawing_in_use, own_handwriting, surfaces
from ui.state.drawing_in_use import DrawingInUse
from ui.state.drawings import DRAW_SOURCES, Drawings
from ui.state.photos import Photos
from ui.state.surfaces import Surfaces


@pytest.fixture
def stroke() -> Stroke:
    """An upright stroke on the canvas."""
    return Stroke(((200.0, 80.0), (200.0, 320.0)), 30)


@pytest.fixture
def across() -> Stroke:
    """A stroke on the canvas that crosses it."""
    return Stroke(((80.0, 200.0), (320.0, 200.0)), 30)


@pytest.fixture(params=["draw", "start"])
def page(request) -> str:
    """Both pages with a canvas."""
    return request.param


@pytest.fixture
def blown_up(still_engine, monkeypatch) -> None:
    """A network whose weights are no numbers any more."""
    reading = Reading(np.full(10, np.nan, np.float32), np.nan, False, "Its answers are not numbers any more (NaN).")
    monkeypatch.setattr(still_engine, "_Read", lambda question: [reading] * len(question.images))


def draw(at, *strokes: Stroke, order: int | None = None, is_erasing: bool = False):
    """What the canvas does after strokes, which an AppTest can't make; begun under an order, by default the last one."""
    held = canvas_of(at)
    order = held.orders if order is None else order
    drawn = [Drawn(held.heard + place, order, stroke, is_erasing) for place, stroke in enumerate(strokes, 1)]
    return do(at, lambda: surfaces.hear_canvas("digit", drawn))


def canvas_of(at, name: str = "digit"):
    """What the session remembers of a canvas."""
    return part(at, Surfaces).canvases[name]


def sheet(*strokes: Stroke) -> Sheet:
    return Sheet(strokes, 400, 400)


def draw_on_pad(at, *strokes: list):
    """What the live pad does after a stroke."""
    return do(at, lambda: surfaces.hear_pad(Sheet(canvas_record.strokes(list(strokes), 400, 30), 400, 400)))


def bring_back(at, number: int):
    """What a click on a small picture does, which an AppTest can't make."""
    return do(at, lambda: drawing_in_use.bring_back(number))


def do(at, change):
    """A change of a session's state, and the page after it."""
    with in_session(at):
        change()
    return at.run()


def drawn(at) -> list[tuple[int, str, bytes]]:
    """What the session has kept: number, source and picture of each."""
    return [(one.number, one.source, one.image.tobytes()) for one in part(at, Drawings).drawn]


def headings(at) -> list[str]:
    return [text.value for text in at.markdown if text.value.startswith("####")]


def pictures(at) -> str:
    return "".join(html.proto.body for html in at.get("html"))


def test_every_pen_is_one_that_the_network_was_made_for(visit, finished_run):
    visit("draw", finished_run)
    from ui.widgets import canvas  # whose component is declared by the page

    widths = [round(share * drawing.CANVAS) for share in canvas.PENS.values()]

    assert drawing.WIDTHS[0] <= min(widths) < max(widths) <= drawing.WIDTHS[-1]


def test_an_empty_canvas_asks_for_a_digit(visit, finished_run, page):
    at = visit(page, finished_run)

    assert not at.exception
    assert headings(at) == ["#### Draw a digit"]
    assert 'data-digit=""' in pictures(at)


def test_a_drawing_is_read(visit, finished_run, page, stroke):
    at = draw(visit(page, finished_run), stroke)

    assert not at.exception
    assert headings(at) == ["#### This is a 7"]
    assert 'data-digit="7"' in pictures(at)
    assert "The network reads 7, at 91.0 %." in pictures(at)
    assert "The drawing as 28 by 28 pixels." in pictures(at)


def test_what_is_no_digit_is_refused_with_the_reason(visit, finished_run, still_engine, page, stroke):
    still_engine.refuses = True

    at = draw(visit(page, finished_run), stroke)

    assert not at.exception
    assert headings(at) == ["#### I am not sure this is a digit"]
    assert "No digit comes near it." in pictures(at)
    assert 'data-digit=""' in pictures(at)


def test_every_step_of_the_preparation_is_read_in_one_question(visit, finished_run, still_engine, stroke):
    at = draw(visit("draw", finished_run), stroke)
    still_engine.read_at_once.clear()

    at.toggle(key="preparation-shown").set_value(True).run()

    assert not at.exception
    assert still_engine.read_at_once == [1 + len(prepare(sheet(stroke)).stages)]
    assert "How the drawing was prepared" in pictures(at)


def test_a_step_that_leaves_no_digit_is_not_called_one(visit, finished_run, still_engine, stroke):
    still_engine.refuses = True
    at = draw(visit("draw", finished_run), stroke)

    at.toggle(key="preparation-shown").set_value(True).run()

    assert not at.exception
    shown = next(html.proto.body for html in at.get("html") if "How the drawing was prepared" in html.proto.body)
    assert shown.count("no digit") == 2 * len(prepare(sheet(stroke)).stages)
    assert "91%" not in shown


def test_answers_that_are_no_numbers_name_no_digit(visit, finished_run, blown_up, stroke):
    at = draw(visit("draw", finished_run), stroke)
    at.toggle(key="preparation-shown").set_value(True).run()

    assert not at.exception
    assert headings(at) == ["#### It can't say"]
    assert "nan" not in pictures(at)
    assert not [button.label for button in at.button if button.label.startswith("Keep it")]
    assert part(at, Drawings).drawn[-1].digit is None

    at.button_group(key="draw-part").set_value("A whole number").run()
    canvas_of(at, "number").sheet = Sheet((stroke,), 640, 280)
    at.run()

    assert not at.exception
    assert headings(at) == ["#### It can't say"]
    assert "nan" not in pictures(at)


def test_a_step_of_the_preparation_can_be_switched_off(visit, finished_run, stroke):
    at = draw(visit("draw", finished_run), stroke)
    at.toggle(key="preparation-shown").set_value(True).run()

    at.checkbox(key="prepare-centre").set_value(False).run()

    assert not at.exception
    held = part(at, DrawingInUse)
    assert held.preparation == Preparation(centre=False)
    np.testing.assert_array_equal(held.last_read[0], to_mnist(sheet(stroke), Preparation(centre=False)))


def test_a_photo_shows_how_its_ink_was_found_and_each_step_can_be_switched_off(visit, finished_run):
    at = visit("draw", finished_run)
    at.button_group(key="draw-source").set_value("Picture").run()
    picture = np.full((120, 120), 235, np.uint8)
    picture[::17] = 60
    picture[20:100, 56:66] = 20
    at.file_uploader(key="picture-files").set_value([("ruled.png", png(picture), "image/png")]).run()
    at.toggle(key="preparation-shown").set_value(True).run()
    shown = pictures(at)

    for step in ("The picture", "Paper taken away", "Ruled lines taken away", "Specks and rim taken away"):
        assert step in shown
    before = part(at, Photos).ink

    at.checkbox(key="prepare-lines").set_value(False).run()

    assert not at.exception
    assert "Ruled lines taken away" not in pictures(at)
    assert part(at, Photos).ink.sum() > 1.2 * before.sum()


def test_what_was_drawn_has_no_steps_of_a_photo(visit, finished_run, stroke):
    at = draw(visit("draw", finished_run), stroke)
    at.toggle(key="preparation-shown").set_value(True).run()

    assert [box.key for box in at.checkbox] == ["prepare-strokes", "prepare-crop", "prepare-centre"]


def test_drawings_of_the_session_are_kept_and_come_back(visit, finished_run, press, stroke, across):
    at = draw(visit("draw", finished_run), stroke)
    held = part(at, Drawings)
    first = held.drawn[-1]
    press(at, "Clear")
    draw(at, across)
    assert [one.number for one in held.drawn] == [first.number, first.number + 1]

    bring_back(at, first.number)

    assert canvas_of(at).sheet == sheet(stroke)
    np.testing.assert_array_equal(part(at, DrawingInUse).last_read[0], to_mnist(sheet(stroke)))
    assert held.drawn[-1].number == first.number
    assert len(held.drawn) == 2


def test_a_clock_that_has_not_heard_of_it_yet_takes_no_drawing_off_the_page_again(visit, finished_run, stroke):
    at = visit("draw", finished_run)
    at.button_group(key="draw-source").set_value("Live pad").run()
    draw_on_pad(at, [[0.5, 0.1], [0.5, 0.9]])
    at.button_group(key="draw-source").set_value("Canvas").run()
    draw(at, stroke)
    on_surfaces, before = part(at, Surfaces), held_by_widgets(at)

    bring_back(at, part(at, Drawings).drawn[0].number)
    at._run(before)
    assert on_surfaces.draw_source == "Live pad"
    assert not at.exception

    before = held_by_widgets(at)
    do(at, lambda: surfaces.read_as_number(sheet(stroke)))
    at._run(before)
    assert on_surfaces.draw_part == "A whole number"


def test_a_click_on_the_row_of_an_earlier_drawing_is_about_the_one_that_is_there(visit, finished_run, stroke, across):
    at = visit("draw", finished_run)
    draw(at, stroke)
    (row,) = [pills for pills in at.button_group if pills.key.startswith("keep-")]
    with in_session(at):  # on its way while the page still shows the row
        surfaces.clear_canvas()
        surfaces.hear_canvas("digit", [Drawn(canvas_of(at).heard + 1, canvas_of(at).orders, across, False)])

    row.set_value(4).run()

    with in_session(at):
        kept = own_handwriting.handwriting()
    assert kept.labels.tolist() == [4]
    np.testing.assert_array_equal(kept.images[0], to_mnist(sheet(across)))


def test_a_click_on_the_row_of_a_drawing_that_is_gone_keeps_nothing(visit, finished_run, stroke):
    at = visit("draw", finished_run)
    draw(at, stroke)
    (row,) = [pills for pills in at.button_group if pills.key.startswith("keep-")]
    with in_session(at):
        surfaces.clear_canvas()

    row.set_value(4).run()

    with in_session(at):
        assert len(own_handwriting.handwriting()) == 0


def test_a_drawing_is_kept_once_whatever_was_drawn_on_between(visit, finished_run, stroke):
    at = draw(visit("draw", finished_run), stroke)
    at.button_group(key="draw-source").set_value("Live pad").run()
    draw_on_pad(at, [[0.5, 0.1], [0.5, 0.9]])
    before = drawn(at)

    at.button_group(key="draw-source").set_value("Canvas").run()
    at.button_group(key="draw-source").set_value("Live pad").run()
    at.button_group(key="draw-source").set_value("Canvas").run()

    assert len(before) == 2
    assert sorted(drawn(at)) == sorted(before)


def test_to_clear_a_number_begins_no_digit(visit, finished_run, press, stroke):
    at = draw(visit("draw", finished_run), stroke)
    before = drawn(at)

    at.button_group(key="draw-part").set_value("A whole number").run()
    press(at, "Clear")
    at.button_group(key="draw-part").set_value("One digit").run()

    assert drawn(at) == before


def test_a_drawing_brought_back_is_left_as_it_is_by_undo(visit, finished_run, press, stroke, across):
    at = draw(visit("draw", finished_run), stroke)
    press(at, "Clear")
    draw(at, across)
    before = drawn(at)
    bring_back(at, before[0][0])

    press(at, "Undo")

    assert sorted(drawn(at)) == sorted(before)
    assert drawn(at)[-1] == before[1]


def test_clear_and_undo_keep_a_drawing_once(visit, finished_run, press, stroke):
    at = draw(visit("draw", finished_run), stroke)
    before = drawn(at)

    press(at, "Clear")
    press(at, "Undo")

    assert headings(at) == ["#### This is a 7"]
    assert drawn(at) == before


def test_what_the_pads_own_undo_puts_back_is_the_drawing_that_was_there(visit, finished_run):
    one, two, other = [[0.5, 0.1], [0.5, 0.9]], [[0.2, 0.5], [0.8, 0.5]], [[0.1, 0.1], [0.9, 0.9]]
    at = visit("draw", finished_run)
    at.button_group(key="draw-source").set_value("Live pad").run()
    for strokes in ([one], [one, two], [], [one, two], [], [one], [one, two]):
        draw_on_pad(at, *strokes)
    assert len(drawn(at)) == 1

    draw_on_pad(at)
    draw_on_pad(at, other)

    assert len(drawn(at)) == 2


def test_pictures_given_while_the_engine_warms_up_are_kept_as_such(visit, finished_run, still_engine, stroke):
    still_engine.be(Phase.WARMING)
    at = draw(visit("draw", finished_run), stroke)
    at.button_group(key="draw-source").set_value("Picture").run()
    files = []
    for left in (20, 40):
        picture = np.full((60, 60), 255, np.uint8)
        picture[10:50, left : left + 6] = picture[30:36, left - 10 : left + 12] = 0
        files.append((f"{left}.png", png(picture), "image/png"))
    at.file_uploader(key="picture-files").set_value(files).run()

    still_engine.be(Phase.READY)
    at.button_group(key="draw-source").set_value("Canvas").run()

    kept = part(at, Drawings).drawn
    assert [one.source for one in kept] == ["Picture", "Picture", "Canvas"]
    assert [isinstance(one.ink, Sheet) for one in kept] == [False, False, True]
    assert len({one.number for one in kept}) == 3


@pytest.mark.parametrize("order", ["Undo", "Clear", "Bring back"])
def test_a_stroke_begun_before_an_order_reached_the_page_is_drawn(visit, finished_run, press, stroke, across, order):
    at = draw(visit("draw", finished_run), stroke)
    press(at, "Clear")
    at = draw(at, Stroke(((40.0, 40.0), (60.0, 300.0)), 30))
    held = canvas_of(at)
    begun_under = held.orders
    if order == "Bring back":
        bring_back(at, part(at, Drawings).drawn[0].number)
    else:
        press(at, order)
    before = held.sheet
    assert before == (sheet(stroke) if order == "Bring back" else sheet())

    draw(at, across, order=begun_under)

    assert held.sheet == sheet(*before.strokes, across)
    assert held.told == held.sheet
    assert held.orders == begun_under + 2
    press(at, "Undo")
    assert held.sheet == before


def test_a_stroke_that_arrives_again_is_drawn_once(visit, finished_run, stroke):
    at = draw(visit("draw", finished_run), stroke)
    held = canvas_of(at)

    do(at, lambda: surfaces.hear_canvas("digit", [Drawn(held.heard, 0, stroke, False)]))

    assert held.sheet == sheet(stroke)
    assert len(held.undo) == 1


def test_the_canvas_is_told_to_show_nothing_that_it_shows_already(visit, finished_run, stroke, across):
    at = visit("draw", finished_run)
    before = state_told(at)

    draw(at, stroke, across)

    assert state_told(at) == before


def test_an_eraser_takes_lines_away_and_can_be_undone(visit, finished_run, press, stroke, across):
    at = draw(visit("draw", finished_run), stroke, across)
    held = canvas_of(at)

    draw(at, Stroke(((200.0, 60.0), (200.0, 160.0)), 44), is_erasing=True)

    assert len(held.sheet.strokes) == 2
    assert held.sheet.strokes[0].points[0][1] == pytest.approx(182, abs=2)
    assert held.told == held.sheet
    press(at, "Undo")
    assert held.told == sheet(stroke, across)


def test_more_than_can_be_a_drawing_is_not_taken_and_said(visit, finished_run, stroke):
    at = visit("draw", finished_run)
    dots = [Stroke(((float(k), 200.0),), 5) for k in range(1, canvas_record.MOST_STROKES + 1)]
    draw(at, *dots)
    held = canvas_of(at)
    before = held.orders

    with pytest.raises(DrawingError, match="Clear it"):
        draw(at, stroke)

    assert held.sheet == sheet(*dots)
    assert held.orders == before + 1


def state_told(at) -> tuple:
    held = canvas_of(at)
    return held.told, held.orders


def test_undo_and_redo_tell_the_canvas_what_to_show(visit, finished_run, press, stroke, across):
    at = draw(draw(visit("draw", finished_run), stroke), across)
    held = canvas_of(at)

    press(at, "Undo")
    assert held.told == sheet(stroke)
    press(at, "Undo")
    assert held.told == sheet()
    press(at, "Redo")
    press(at, "Redo")

    assert held.told == sheet(stroke, across)
    assert [button.disabled for button in at.button if button.label in ("Undo", "Redo")] == [False, True]


def test_clear_keeps_the_canvas_and_can_be_undone(visit, finished_run, press, stroke):
    at = draw(visit("draw", finished_run), stroke)
    held = part(at, Surfaces)
    before = held.canvas_round

    press(at, "Clear")
    press(at, "Undo")

    assert held.canvas_round == before
    assert held.canvases["digit"].told == sheet(stroke)


@pytest.mark.parametrize("source", DRAW_SOURCES)
def test_it_is_drawn_on_every_surface(visit, finished_run, source):
    at = visit("draw", finished_run)

    at.button_group(key="draw-source").set_value(source).run()

    assert not at.exception
    assert headings(at) == ["#### Draw a digit"]


def test_what_is_on_one_surface_waits_while_another_is_used(visit, finished_run, stroke):
    at = draw(visit("draw", finished_run), stroke)

    at.button_group(key="draw-source").set_value("Live pad").run()
    assert headings(at) == ["#### Draw a digit"]
    at.button_group(key="draw-source").set_value("Canvas").run()

    assert headings(at) == ["#### This is a 7"]


def test_a_number_is_read_digit_by_digit_in_one_question(visit, finished_run, still_engine):
    at = visit("draw", finished_run)
    strokes = tuple(Stroke(((left, 60.0), (left, 220.0)), 24) for left in (60.0, 220.0, 400.0))

    at.button_group(key="draw-part").set_value("A whole number").run()
    assert headings(at) == ["#### Write a number"]
    canvas_of(at, "number").sheet = Sheet(strokes, 640, 280)
    at.run()

    assert not at.exception
    assert headings(at) == ["#### This is 777"]
    assert 'data-number="777"' in pictures(at)
    assert still_engine.read_at_once == [3]


def test_a_part_of_a_number_that_is_no_digit_is_a_question_mark(visit, finished_run, still_engine, stroke):
    still_engine.refuses = True
    at = visit("draw", finished_run)
    at.button_group(key="draw-part").set_value("A whole number").run()
    canvas_of(at, "number").sheet = Sheet((stroke,), 640, 280)

    at.run()

    assert headings(at) == ["#### This is ?"]


def test_two_digits_on_a_sheet_are_read_as_a_number_at_a_click(visit, finished_run, press):
    at = visit("draw", finished_run)
    draw(at, *(Stroke(((x, 140.0), (x, 260.0)), 14) for x in (90.0, 290.0)))
    assert headings(at) == ["#### I am not sure this is a digit"]

    press(at, "Read it as a whole number")

    assert next(one for one in at.segmented_control if one.label == "What to draw").value == "A whole number"
    assert headings(at) == ["#### This is 77"]
    press(at, "Write another")
    assert headings(at) == ["#### Write a number"]


def test_pictures_that_cannot_be_read_are_told_one_by_one_and_the_good_one_is_read(visit, finished_run):
    at = visit("draw", finished_run)
    at.button_group(key="draw-source").set_value("Picture").run()
    picture = np.full((60, 60), 255, np.uint8)
    picture[10:50, 28:34] = 0
    files = [("no.png", b"no picture", "image/png"), ("seven.png", png(picture), "image/png")]

    at.file_uploader(key="picture-files").set_value(files).run()

    assert not at.exception
    assert len(at.error) == 1
    assert at.error[0].value.startswith("no.png: ")
    assert headings(at) == ["#### This is a 7"]


def test_a_network_that_still_learns_reads_already(visit, make_run, stroke):
    at = draw(visit("draw", make_run(State.RUNNING)), stroke)

    assert headings(at) == ["#### This is a 7"]


def test_clear_empties_the_canvas(visit, finished_run, press, page, stroke):
    at = draw(visit(page, finished_run), stroke)

    press(at, "Clear")

    assert headings(at) == ["#### Draw a digit"]


def test_a_drawing_outlasts_a_visit_to_another_page(visit, finished_run, stroke):
    at = draw(visit("draw", finished_run), stroke)

    visit("evaluate", session=at)
    visit("draw", session=at)

    assert headings(at) == ["#### This is a 7"]


def test_while_the_engine_warms_up_the_drawing_waits(visit, finished_run, still_engine, page, stroke):
    still_engine.be(Phase.WARMING)
    at = draw(visit(page, finished_run), stroke)
    assert headings(at) == ["#### One moment …"]

    still_engine.be(Phase.READY)
    at.run()

    assert headings(at) == ["#### This is a 7"]


def test_an_engine_out_of_order_is_told_and_the_drawing_stays(visit, finished_run, still_engine, page, stroke):
    still_engine.be(Phase.FAILED, "The engine did not start: no route to host")
    at = draw(visit(page, finished_run), stroke)

    assert not at.exception
    assert [error.value for error in at.error] == ["The engine did not start: no route to host"]
    assert canvas_of(at).sheet == sheet(stroke)


def test_a_worker_lost_over_it_is_told(visit, finished_run, still_engine, monkeypatch, stroke):
    still_engine.quick["Read"] = WorkerLost("The worker was lost while it looked at the drawing. Try again.")

    at = draw(visit("draw", finished_run), stroke)

    assert not at.exception
    assert [error.value for error in at.error] == ["The worker was lost while it looked at the drawing. Try again."]
