"""What a visitor leaves behind is there when they come again, and nobody else's."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from core.errors import DataError
from core.ink.strokes import Sheet, Stroke
from core.model import draft as drafts
from core.model.presets import FIRST_CNN, PRESETS
from core.model.specs import Dropout
from core.runs import visits
from core.runs.visits import Edits, Surface, Visit

ME, ANOTHER = visits.visitor("a token"), visits.visitor("another")
DRAWN = Surface(Sheet((Stroke(((1.5, 2.0), (3.0, 4.0)), 30.0),), 400, 400), heard=7.0)
BARE = Surface(Sheet((), 640, 280))


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path):
    """A place for runs: a folder of this machine, and a file system without folders."""
    if request.param == "folder":
        yield str(tmp_path / "runs")
    else:
        yield "memory://runs"
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]


def recalled(root: str, visitor: str = ME) -> Visit:
    """As `visits.recall`, without the day."""
    return replace(visits.recall(root, visitor), day=0)


def test_who_was_never_here_left_nothing(root):
    assert visits.recall(root, ME) == Visit()


def test_what_is_kept_comes_back_to_its_visitor_alone(root):
    visits.keep(root, ME, runs=("a" * 26,), run="a" * 26, surfaces={"digit": DRAWN, "pad": BARE})

    assert recalled(root) == Visit(runs=("a" * 26,), run="a" * 26, surfaces={"digit": DRAWN, "pad": BARE})
    assert visits.recall(root, ANOTHER) == Visit()
    assert visits.fault(root, ME) is None


def test_each_session_changes_what_it_changed_itself(root):
    visits.keep(root, ME, runs=("a" * 26,), surfaces={"digit": DRAWN})
    visits.recall(root, ME)
    visits.keep(root, ME, runs=("b" * 26,), run="b" * 26, surfaces={"number": DRAWN})
    visits.keep(root, ME, surfaces={"number": BARE})

    assert recalled(root) == Visit(runs=("b" * 26, "a" * 26), run="b" * 26, surfaces={"digit": DRAWN, "number": BARE})


@pytest.mark.parametrize("preset", PRESETS)
def test_a_draft_comes_back_with_its_layers_names_apart_from_all_others(root, preset):
    first = drafts.of_preset(preset)
    second = first.with_added(Dropout(rate=0.25)).with_switched(first.layer_ids[0])
    third = second.cleared()
    visits.keep(root, ME, edits=Edits(second, (first,), (third,)))

    kept = visits.recall(root, ME).edits

    drafts_ = [*kept.undo, kept.draft, *kept.redo]
    assert [draft.experiment for draft in drafts_] == [draft.experiment for draft in (first, second, third)]
    assert [draft.differences.count for draft in drafts_] == [
        draft.differences.count for draft in (first, second, third)
    ]
    assert kept.undo[0].layer_ids == kept.draft.layer_ids[:-1]
    assert not set(kept.draft.layer_ids) & set(second.layer_ids)


def test_its_folder_is_named_by_what_lets_nobody_in(tmp_path):
    root = str(tmp_path / "runs")
    visits.keep(root, ME, run="a" * 26)
    visits.recall(root, ME)

    (written,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written.relative_to(root).parts == ("visits", ME, "visit.json")
    assert "a token" not in str(written) + written.read_text()
    assert written.stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_dir()} == {0o700}


DRAFT = {"layers": [], "layer_ids": [], "training": {}, "preset": FIRST_CNN.name, "preset_ids": []}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"run": 7}', '{"edits": {"draft": {"preset": "?"}}}', '{"edits": {"draft": %s}}']
)
def test_what_is_damaged_is_said_and_written_anew(tmp_path, content):
    root, file = str(tmp_path), tmp_path / "visits" / ME / "visit.json"
    file.parent.mkdir(parents=True)
    file.write_text(content.replace("%s", str(DRAFT).replace("'", '"')))

    with pytest.raises(DataError, match="can't be read any more, so you begin anew"):
        visits.recall(root, ME)
    visits.keep(root, ME, run="a" * 26, edits=None)

    assert recalled(root) == Visit(run="a" * 26)


def test_where_it_can_t_be_written_one_is_told(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    root = str(tmp_path / "file")

    assert visits.recall(root, ME) == Visit()
    assert "What you draw and build can't be read" in str(visits.fault(root, ME))

    visits.keep(root, ME, run="a" * 26)
    visits._write(root, ME)
    assert "What you draw and build (0.0 MB) can't be written" in str(visits.fault(root, ME))


def test_no_more_is_written_than_may_be(root):
    visits.keep(root, ME, run="a" * 26)
    visits.recall(root, ME)
    visits.keep(
        root, ME, surfaces={"digit": Surface(Sheet((Stroke(((1.0, 2.0),) * visits.MOST_BYTES, 1.0),), 400, 400))}
    )

    assert recalled(root) == Visit(run="a" * 26)
    assert "more than 2 MB" in str(visits.fault(root, ME))


def test_who_stays_away_is_forgotten_and_who_comes_is_not(tmp_path):
    root = str(tmp_path)
    for one in (ME, ANOTHER):
        visits.keep(root, one, run="a" * 26)
        visits.recall(root, one)
    away = time.time() - 31 * visits.DAY_SECONDS
    os.utime(tmp_path / "visits" / ANOTHER / "visit.json", (away, away))

    visits.forget(root)

    assert [path.name for path in (tmp_path / "visits").iterdir()] == [ME]


def test_there_are_no_more_of_them_than_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(visits, "MOST_VISITORS", 1)
    root = str(tmp_path)
    for age, one in enumerate((ME, ANOTHER)):
        visits.keep(root, one, run="a" * 26)
        visits.recall(root, one)
        os.utime(tmp_path / "visits" / one / "visit.json", (time.time() - age, time.time() - age))

    visits.forget(root)

    assert [path.name for path in (tmp_path / "visits").iterdir()] == [ME]
