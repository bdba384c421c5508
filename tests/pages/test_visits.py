"""What a visitor makes outlasts their session: a break, a page that is loaded again, a server that is started again."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from streamlit.testing.v1 import AppTest

from core.ink.strokes import Sheet, Stroke
from core.model import link
from core.model.presets import FIRST_CNN
from core.model.specs import replaced
from core.runs import visits
from core.runs.progress import State
from tests.page_fields import held, part
from tests.pages.test_handwriting import KEEP
from ui.state.photos import Photos
from ui.state.runs import Runs
from ui.state.session import Conversation
from ui.state.surfaces import Surfaces

SHEET = Sheet((Stroke(((100.0, 100.0), (200.0, 300.0)), 30.0),), 400, 400)
WIDE = replace(SHEET, width=640, height=280)
ONLY_THIS_TAB = "lasts only as long as this tab is open"


@pytest.fixture(autouse=True)
def known_again(monkeypatch, visitor) -> None:
    """The browser has a cookie, so that its sessions are one visitor's."""
    monkeypatch.setattr("ui.state.session._visitor", lambda: (visitor, True))


@pytest.fixture
def keep_form(components):
    """A function that draws the form to keep a drawing, in a session of its own."""

    def keep_form() -> AppTest:
        at = AppTest.from_string(KEEP.format(guess=1), default_timeout=60)
        at._bidi_component_manager = components
        return at.run()

    return keep_form


@pytest.fixture
def full_disk(monkeypatch) -> None:
    def fail(self, path, value, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "pipe_file", fail)


def field(at, label: str):
    return held(next(one for one in [*at.text_input, *at.selectbox] if one.label == label))


def warnings(at) -> str:
    return " ".join(one.value for one in at.warning)


def test_the_draft_comes_back_with_its_undo(visit, choose, press):
    at = visit("train")
    choose(at, "Epochs", 3)
    choose(at, "Epochs", 4)

    later = visit("train")

    assert field(later, "Epochs") == 4
    assert field(press(later, "Undo"), "Epochs") == 3
    assert field(press(later, "Undo"), "Epochs") == 10
    assert field(press(later, "Redo"), "Epochs") == 3
    assert not later.warning


def test_runs_and_the_one_in_use_come_back_and_one_that_is_gone_does_not(visit, make_run):
    gone, opened, last = (make_run(State.FINISHED, name=name) for name in ("Gone", "Opened", "Last"))
    for run in (gone, opened, last):
        visit("start", run)
    gone.delete()

    later = visit("train")

    assert later.query_params["run"] == last.id
    assert part(later, Runs).own_runs == [last.id, opened.id]


def test_what_is_on_every_sheet_comes_back(visit, finished_run):
    at = visit("draw", finished_run)
    surfaces = part(at, Surfaces)
    surfaces.canvases["digit"].sheet = SHEET
    surfaces.canvases["number"].sheet = WIDE
    surfaces.pad.sheet = SHEET
    surfaces.draw_source = "Live pad"
    at.run()

    later = part(visit("draw", finished_run), Surfaces)

    assert (later.canvases["digit"].sheet, later.canvases["number"].sheet) == (SHEET, WIDE)
    assert later.pad.sheet == SHEET
    assert later.draw_source == "Live pad"
    assert len({later.canvases["digit"].number, later.canvases["number"].number, later.pad.number, 0}) == 4


def test_a_picture_does_not_come_back_which_is_said(visit, finished_run):
    at = visit("draw", finished_run)
    part(at, Surfaces).draw_source = "Picture"
    part(at, Photos).ink = np.ones((28, 28), np.float32)
    at.run()

    later = visit("draw", finished_run)

    assert "Choose it again" in warnings(later)
    assert warnings(later.run()) == ""


def test_handwriting_comes_back_and_is_one_in_all_tabs(keep_form):
    one, other = keep_form(), keep_form()
    next(button for button in one.button if button.label == "Keep it as a 1").click().run()

    assert other.run().pills[0].value == 1
    assert keep_form().pills[0].value == 1


def test_each_session_keeps_its_own_and_the_next_has_what_was_changed_last(visit, choose):
    one, other = visit("train"), visit("train")
    choose(one, "Epochs", 3)
    choose(other, "Batch size", 64)
    part(one, Surfaces).canvases["digit"].sheet = SHEET
    one.run()
    other.run()

    assert (field(one, "Epochs"), field(one, "Batch size")) == (3, 32)
    assert (field(other, "Epochs"), field(other, "Batch size")) == (10, 64)
    later = visit("train")
    assert (field(later, "Epochs"), field(later, "Batch size")) == (10, 64)
    assert part(later, Surfaces).canvases["digit"].sheet == SHEET


def test_nothing_is_written_where_nothing_changed(visit, choose, monkeypatch, runs_root, visitor):
    at = visit("train")
    choose(at, "Epochs", 3)
    visits.recall(str(runs_root), visitor)
    written = []
    monkeypatch.setattr(visits, "keep", lambda *_, **changes: written.append(changes))

    at.run()
    visit("train").run()
    AppTest.from_string("from ui.state import visit; visit.begin(); visit.keep_visit()").run()

    assert written == []


def test_a_link_s_network_is_taken_up_once_and_what_became_of_it_comes_back(visit, choose):
    linked = replaced(FIRST_CNN.experiment, training=replaced(FIRST_CNN.experiment.training, epochs=7))
    at = visit("train")
    at.query_params["net"] = link.link_text(linked)
    at.run()
    assert field(at, "Epochs") == 7
    assert "net" not in at.query_params

    choose(at, "Epochs", 8)

    assert field(visit("train"), "Epochs") == 8


def test_a_full_disk_is_said_once_and_the_lab_goes_on(visit, choose, full_disk, runs_root, visitor):
    at = visit("train")
    choose(at, "Epochs", 3)
    visits.recall(str(runs_root), visitor)

    assert ONLY_THIS_TAB in warnings(at.run())
    assert warnings(choose(at, "Epochs", 4)) == ""
    assert not at.exception


def test_handwriting_is_kept_in_the_tab_where_the_disk_is_full(keep_form, full_disk):
    at = keep_form()

    next(button for button in at.button if button.label == "Keep it as a 1").click().run()

    assert at.pills[0].value == 1
    assert ONLY_THIS_TAB in part(at, Conversation).messages[0]


def test_what_is_damaged_is_said_and_takes_no_page_away(visit, runs_root, visitor):
    file = runs_root / "visits" / visitor / "visit.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")

    at = visit("train")

    assert not at.exception
    assert "can't be read any more, so you begin anew" in warnings(at)
