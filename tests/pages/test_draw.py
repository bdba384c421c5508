"""A drawing is read as soon as there is a network and an engine, and kept until it is cleared."""

from __future__ import annotations

import numpy as np
import pytest

from core.engine import Phase
from core.errors import WorkerLost
from core.progress import State


@pytest.fixture
def stroke() -> np.ndarray:
    """Ink on the canvas: an upright stroke."""
    ink = np.zeros((320, 320), np.float32)
    ink[60:260, 150:174] = 1
    return ink


@pytest.fixture(params=["draw", "start"])
def page(request) -> str:
    """Both pages with a canvas."""
    return request.param


def draw(at, ink: np.ndarray):
    """What the canvas does after a stroke, which an AppTest can't make."""
    at.session_state["digitlab"].ink = ink
    return at.run()


def headings(at) -> list[str]:
    return [text.value for text in at.markdown if text.value.startswith("####")]


def pictures(at) -> str:
    return "".join(html.proto.body for html in at.get("html"))


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
    assert at.session_state["digitlab"].ink is stroke


def test_a_worker_lost_over_it_is_told(visit, finished_run, still_engine, monkeypatch, stroke):
    def lose(*arguments):
        raise WorkerLost("The worker was lost while it looked at the drawing. Try again.")

    monkeypatch.setattr(still_engine, "predict", lose)

    at = draw(visit("draw", finished_run), stroke)

    assert not at.exception
    assert [error.value for error in at.error] == ["The worker was lost while it looked at the drawing. Try again."]
