"""What outlasts a session."""

from __future__ import annotations

import pytest

from core.ink.strokes import Sheet, Stroke
from core.model.specs import replaced
from core.runs import registry, visits
from ui.state import editing, runs, session, surfaces, visit
from ui.state.surfaces import Surfaces

SHEET = Sheet((Stroke(((100.0, 100.0), (200.0, 300.0)), 30.0),), 400, 400)


@pytest.fixture
def come_again(parts):
    """A function that lets the session go, and begins another one of the same visitor."""

    def come_again() -> None:
        parts.clear()
        visit.begin()

    return come_again


def epochs(count: int) -> None:
    editing.edit_training(replaced(editing.training(), epochs=count))


def test_what_was_kept_is_there_when_the_visitor_comes_again(known_again, come_again, tiny):
    run = registry.create(tiny, "A run")
    visit.begin()
    epochs(3)
    runs.use_run(run)
    surfaces.choose_draw_source("Live pad")
    surfaces.hear_pad(SHEET)
    visit.keep_visit()

    come_again()

    assert editing.training().epochs == 3
    assert editing.can_undo()
    assert runs.chosen_run() == run
    assert (surfaces.draw_source(), surfaces.pad_sheet()) == ("Live pad", SHEET)


def test_a_visitor_who_is_not_known_again_begins_anew(come_again):
    visit.begin()
    epochs(3)
    visit.keep_visit()

    come_again()

    assert editing.training().epochs != 3


def test_a_session_begins_once(known_again):
    visit.begin()
    epochs(3)
    visit.begin()

    assert editing.training().epochs == 3


def test_only_so_much_undo_outlasts_the_session(known_again, come_again):
    visit.begin()
    for count in range(2 * visit.MOST_UNDO_KEPT):
        epochs(1 + count % 2)
    visit.keep_visit()

    come_again()

    undone = 0
    while editing.can_undo():
        editing.undo()
        undone += 1
    assert undone == visit.MOST_UNDO_KEPT


def test_nothing_is_kept_where_nothing_was_changed(known_again, monkeypatch):
    kept = []
    monkeypatch.setattr(visits, "keep", lambda *_, **changes: kept.append(changes))
    visit.begin()
    visit.keep_visit()
    assert kept == []

    epochs(3)
    visit.keep_visit()
    visit.keep_visit()

    assert [set(changes) for changes in kept] == [{"edits", "surfaces"}]
    assert kept[0]["surfaces"] == {}


def test_a_sheet_of_another_size_is_left_where_it_is(known_again):
    small = Sheet(SHEET.strokes, 300, 300)
    visits.keep(registry.root(), known_again, surfaces={"digit": visits.Surface(small)}, drawn_on=("Gone", "Canvas"))

    visit.begin()

    assert session.part(Surfaces) == Surfaces()


def test_what_can_t_be_read_is_said(known_again, runs_root):
    file = runs_root / "visits" / known_again / "visit.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")

    visit.begin()

    assert "begin anew" in session.take_messages()[0]
