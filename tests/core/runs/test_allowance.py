"""Runs take no more room than they may: those that nobody has opened for longest make room for others."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from core.runs import allowance, registry
from core.runs.allowance import Allowance
from core.runs.contents import Record
from core.runs.progress import State
from core.runs.run import Run

DAY = 86_400.0


@pytest.fixture
def kept(tiny, runs_root, monkeypatch):
    """A function of a name, a state and days ago: a run of some 2,500 bytes that was last opened then."""
    monkeypatch.delenv("DIGITLAB_LOCAL", raising=False)

    def keep(name: str, state: State = State.FINISHED, days: float = 0.0, shipped: str = "") -> Run:
        run = registry.create(tiny, name)
        run.write_keras_file(bytes(2000 - run.folder.size() % 1000))
        run.write_record(Record(name, state, began=time.time() - 30 * DAY, shipped=shipped))
        Path(run.root, run.id, "opened.json").write_text(json.dumps(time.time() - days * DAY))
        return run

    return keep


def names() -> set[str]:
    return {run.record().name for run in registry.all_runs()}


def test_nothing_goes_as_long_as_there_is_room(kept, runs_root, monkeypatch):
    kept("one"), kept("two")
    monkeypatch.setenv("DIGITLAB_RUNS_GB", "1")

    taken = allowance.keep_within(str(runs_root))

    assert names() == {"one", "two"}
    assert taken == Allowance(sum(run.folder.size() for run in registry.all_runs()), 10**9)
    assert not taken.is_exceeded


def test_those_that_nobody_opened_for_longest_go_first(kept, runs_root, monkeypatch):
    made = [kept(name, days=days) for name, days in (("new", 0), ("oldest", 9), ("older", 6), ("old", 3))]
    monkeypatch.setenv("DIGITLAB_RUNS_GB", str((made[0].folder.size() + made[3].folder.size() + 10) / 1e9))

    taken = allowance.keep_within(str(runs_root))

    assert names() == {"new", "old"}
    assert taken.used == sum(run.folder.size() for run in registry.all_runs())
    assert not taken.is_exceeded


def test_none_goes_that_is_under_way_or_came_with_the_lab(kept, runs_root, monkeypatch):
    trains = kept("trains", State.RUNNING, days=8)
    kept("shipped", shipped="a version", days=20)
    kept("trains elsewhere", State.RUNNING, days=1)
    kept("left behind", State.QUEUED, days=8)
    damaged = kept("damaged", days=8)
    Path(damaged.root, damaged.id, "state.json").write_text("{")
    monkeypatch.setenv("DIGITLAB_RUNS_GB", "1e-9")

    taken = allowance.keep_within(str(runs_root), {trains.id})

    assert names() == {"trains", "trains elsewhere", "shipped"}
    assert taken.is_exceeded


def test_on_ones_own_machine_none_goes_by_itself(kept, runs_root, monkeypatch):
    kept("one")
    monkeypatch.setenv("DIGITLAB_RUNS_GB", "1e-9")
    monkeypatch.setenv("DIGITLAB_LOCAL", "1")

    assert allowance.keep_within(str(runs_root)).is_exceeded
    assert names() == {"one"}


@pytest.mark.parametrize("named", ["", "many", "-1", "0", "nan", "inf"])
def test_without_a_number_it_is_half_of_what_there_is(kept, runs_root, monkeypatch, named):
    kept("one")
    monkeypatch.setenv("DIGITLAB_RUNS_GB", named)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**9}))

    taken = allowance.keep_within(str(runs_root))

    assert taken.most == (10**9 + taken.used) // 2


@pytest.mark.parametrize("root", ["/proc/x", "a::b", "nonsense://runs", "s3://bucket", "memory://runs"])
def test_where_there_is_no_disk_of_this_machine_there_is_no_bound(root):
    assert allowance.keep_within(root) == Allowance(0, None)


def test_a_run_is_noted_as_opened_once_an_hour(tiny):
    run = registry.create(tiny, "A run")
    run.write_record(Record("A run", began=time.time() - DAY))

    run.note_opened()
    first = run.last_opened()
    run.note_opened()

    assert time.time() - first < 60
    assert run.last_opened() == first
