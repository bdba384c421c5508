"""The queue, commands and looks, without workers: what is told of runs is told by hand."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.engine import trainings, worker
from core.errors import EngineError
from core.model.specs import Conv2D, Flatten, replaced
from core.runs import registry
from core.runs.progress import (
    Advanced,
    Command,
    HyperparameterChanged,
    Progress,
    Snapshot,
    State,
    StateChanged,
    to_wire,
)
from tests.core.engine.engines import PATIENCE, SMALL, until

SNAPSHOT = Snapshot(5, {}, {}, np.zeros((0, 0, 0)), np.zeros((28, 28)), {})


class TestQueue:
    """Without workers: three runs of one network, told of by hand."""

    @pytest.fixture
    def waiting(self, offline, root):
        made = [registry.create(SMALL, name, root) for name in "abc"]
        for run in made:
            offline.train(run)
        return made

    @staticmethod
    def told(engine, run, seconds_left, images_per_second=1000.0):
        engine.trainings._heard(run.id, to_wire(StateChanged(State.RUNNING)))
        engine.trainings._heard(run.id, to_wire(Advanced(1, (2.3,), (0.1,), 0.001, images_per_second, seconds_left)))

    def test_nothing_is_known_before_anything_trains(self, offline, waiting):
        assert [offline.place_in_queue(run.id) for run in waiting] == [(1, None), (2, None), (3, None)]

    def test_nothing_is_known_before_the_first_run_knows_its_speed(self, offline, waiting):
        self.told(offline, waiting[0], seconds_left=0.0, images_per_second=0.0)

        assert offline.place_in_queue(waiting[1].id) == (1, None)

    def test_waits_for_what_trains_and_what_is_ahead(self, offline, waiting):
        self.told(offline, waiting[0], seconds_left=30.0)

        images = 2 * 640 * 0.9  # epochs, images used, less those held out
        assert offline.place_in_queue(waiting[0].id) == (0, None)
        assert offline.place_in_queue(waiting[1].id) == (1, 30.0)
        assert offline.place_in_queue(waiting[2].id) == (2, pytest.approx(30.0 + images / 1000))

    def test_nothing_is_known_while_the_run_ahead_is_paused_or_slow(self, offline, waiting, monkeypatch):
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: None)
        self.told(offline, waiting[0], seconds_left=30.0)

        offline.command(waiting[0].id, batches_per_second=3.0)
        assert offline.place_in_queue(waiting[1].id) == (1, None)
        offline.command(waiting[0].id, batches_per_second=None)
        assert offline.place_in_queue(waiting[1].id) == (1, 30.0)
        offline.trainings._heard(waiting[0].id, to_wire(StateChanged(State.PAUSED)))
        assert offline.place_in_queue(waiting[1].id) == (1, None)

    @pytest.mark.parametrize("held", ["paused", "slowed"])
    def test_a_run_that_was_held_and_left_goes_on_where_others_wait(self, offline, waiting, monkeypatch, held):
        now = [100.0]
        monkeypatch.setattr(trainings, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: None)
        first = waiting[0]
        offline.trainings._futures[first.id] = Future()
        self.told(offline, first, seconds_left=30.0)
        if held == "paused":
            offline.command(first.id, is_paused=True)
            offline.trainings._heard(first.id, to_wire(StateChanged(State.PAUSED)))
        else:
            offline.command(first.id, batches_per_second=3.0)
        asked = offline.commanded(first.id)
        offline.progress(first)

        now[0] += trainings.ABANDONED_SECONDS - 1
        offline.trainings.free_the_queue()
        assert offline.commanded(first.id) == asked
        offline.progress(first)  # somebody looks at it
        now[0] += trainings.ABANDONED_SECONDS - 1
        offline.trainings.free_the_queue()
        assert offline.commanded(first.id) == asked
        now[0] += 1
        offline.trainings.free_the_queue()

        assert offline.commanded(first.id) == Command()

    def test_a_run_that_was_paused_and_left_stays_so_where_nobody_waits(self, offline, root, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(trainings, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: None)
        run = registry.create(SMALL, "alone", root)
        offline.train(run)
        offline.trainings._futures[run.id] = Future()
        offline.trainings._heard(run.id, to_wire(StateChanged(State.PAUSED)))
        offline.command(run.id, is_paused=True)
        offline.trainings.free_the_queue()

        now[0] += 10 * trainings.ABANDONED_SECONDS
        offline.trainings.free_the_queue()

        assert offline.commanded(run.id).is_paused

    def test_a_network_of_twice_the_work_takes_twice_as_long(self, offline, root):
        small, twice, last = (
            registry.create(
                replaced(SMALL, layers=(Conv2D(filters=filters, activation="relu"), *SMALL.layers[1:2], Flatten())),
                "",
                root,
            )
            for filters in (4, 8, 4)
        )
        for run in (small, twice, last):
            offline.train(run)
        self.told(offline, small, seconds_left=30.0)

        assert offline.place_in_queue(last.id) == (2, pytest.approx(30.0 + 2 * 2 * 640 * 0.9 / 1000))

    def test_two_workers_share_what_is_ahead(self, offline, waiting, root):
        last = registry.create(SMALL, "d", root)
        offline.train(last)
        self.told(offline, waiting[0], seconds_left=30.0)
        self.told(offline, waiting[1], seconds_left=20.0)

        assert offline.place_in_queue(last.id) == (2, pytest.approx(20.0 + 2 * 640 * 0.9 / 1000 / 2))

    def test_a_damaged_run_ahead_leaves_the_time_open(self, offline, waiting):
        self.told(offline, waiting[0], seconds_left=30.0)
        Path(waiting[1].root, waiting[1].id, "spec.json").unlink()

        assert offline.place_in_queue(waiting[2].id) == (2, None)

    def test_a_run_that_is_resumed_waits_behind_those_that_waited(self, offline, waiting):
        first, second, third = waiting
        offline.command(first.id, is_stopping=True)
        offline.train(first)

        assert offline.status().queued == (second.id, third.id, first.id)
        assert offline.place_in_queue(first.id) == (3, None)


class TestDeletion:
    """Without workers."""

    def test_a_run_that_is_over_is_gone_and_forgotten(self, offline, root):
        run = registry.create(SMALL, "test", root)
        run.write_state(State.STOPPED)
        offline.trainings._progress[run.id] = Progress.of([StateChanged(State.STOPPED)])

        offline.delete(run)

        assert not run.exists()
        assert offline.status().training == offline.status().queued == ()
        assert run.id not in offline.trainings._progress

    @pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.PAUSED, State.STOPPING])
    def test_a_run_under_way_stays(self, offline, root, state):
        run = registry.create(SMALL, "test", root)
        offline.trainings._progress[run.id] = Progress.of([StateChanged(state)])

        with pytest.raises(EngineError, match=r"under way\. Stop it first"):
            offline.delete(run)

        assert run.exists()


class TestCommands:
    """Without workers."""

    @pytest.fixture
    def sent(self, offline, monkeypatch):
        """What the workers are told, in order."""
        sent = []
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: sent.append(told[1:]))
        return sent

    def test_of_a_run_that_another_server_paused_leave_it_paused(self, offline, root, sent):
        run = registry.create(SMALL, "test", root)
        offline.trainings._progress[run.id] = Progress.of(
            [HyperparameterChanged(0, "dropout", 0.0), StateChanged(State.PAUSED)]
        )

        offline.command(run.id, until_step=1)
        offline.command(run.id, learning_rate=0.5)

        paused = Command(is_paused=True, dropout=0.0, until_step=1)
        assert sent == [(paused, ("until_step",)), (replace(paused, learning_rate=0.5), ("learning_rate",))]

    def test_turn_the_knobs_of_a_resumed_run_to_where_they_were(self, offline, root):
        run = registry.create(SMALL, "test", root)
        changes = [
            HyperparameterChanged(1, "learning_rate", 0.5),
            HyperparameterChanged(5, "dropout", 0.0),
            HyperparameterChanged(9, "learning_rate", 0.25),
        ]
        run.write_changes(Progress(changes=changes))

        offline.train(run, Command(is_paused=True))

        assert offline.commanded(run.id) == Command(is_paused=True, learning_rate=0.25, dropout=0.0)

    def test_of_a_run_that_is_begun_replace_earlier_ones_in_the_workers_and_go_with_its_task(
        self, offline, root, monkeypatch
    ):
        """Else an order to stop an earlier part would stop it again; and a worker that joins later would know of none."""
        run, tasks = registry.create(SMALL, "test", root), []
        monkeypatch.setattr(worker, "_commands", {run.id: Command(is_stopping=True, learning_rate=0.5)})
        offline.cluster.client = SimpleNamespace(
            run=lambda function, *order, on_error: {"tls://here": function(*order)},
            subscribe_topic=lambda *subscription: None,
            submit=lambda *task, **options: tasks.append(task) or Future(),
            close=lambda timeout: None,
        )
        offline.train(run, Command(is_paused=True))

        offline.trainings.give_next()

        assert worker._commands == {run.id: Command(is_paused=True)}
        assert [task[-3:] for task in tasks] == [(worker.train, run, Command(is_paused=True))]


class TestWatching:
    def test_does_not_wait_and_asks_once_at_a_time(self, offline, root):
        gate, asked = threading.Event(), []

        def answer(function, *arguments, on_error):
            asked.append((function, *arguments))
            gate.wait(PATIENCE)
            return {"tls://elsewhere": None, "tls://here": SNAPSHOT}

        run = registry.create(SMALL, "test", root)
        offline.train(run)
        assert offline.watch(run.id, digit=3) is None  # it is queued: nobody is asked

        offline.cluster.client = SimpleNamespace(run=answer, close=lambda timeout: None)
        offline.trainings._heard(run.id, to_wire(StateChanged(State.RUNNING)))
        assert [offline.watch(run.id, digit=3) for _ in range(5)] == [None] * 5
        until(lambda: asked)
        assert asked == [(worker.look, run.id, 3, b"")]

        gate.set()
        offline.trainings._watchers.shutdown(wait=True)  # once all that was asked for is answered
        assert len(asked) == 1
        assert offline.progress(run).snapshot is SNAPSHOT

    def test_shows_the_last_look_once_it_is_over_and_asks_no_more(self, offline, root):
        run = registry.create(SMALL, "test", root)
        offline.train(run)
        offline.cluster.client = SimpleNamespace(close=lambda timeout: None)
        offline.trainings._progress[run.id].snapshot = SNAPSHOT
        offline.trainings._heard(run.id, to_wire(StateChanged(State.FINISHED)))

        assert offline.watch(run.id, digit=3) is SNAPSHOT
        assert offline.watch("a" * 16, digit=3) is None

    def test_shows_each_visitor_what_that_one_asked_for(self, offline, root):
        run = registry.create(SMALL, "test", root)
        offline.train(run)
        looks = {digit: replace(SNAPSHOT, digit=digit) for digit in (3, 4)}
        offline.cluster.client = SimpleNamespace(
            run=lambda function, run_id, digit, *rest, on_error: {"tls://here": looks.get(digit)},
            close=lambda timeout: None,
        )
        offline.trainings._heard(run.id, to_wire(StateChanged(State.RUNNING)))

        for digit in (3, 4):
            until(lambda digit=digit: offline.watch(run.id, digit) is looks[digit])

        assert offline.watch(run.id, 3) is looks[3]
        assert offline.watch(run.id, 5) is not None  # another's, until there is one
