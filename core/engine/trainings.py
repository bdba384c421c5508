"""Runs under way: the queue, the commands, how far each is, and looks inside."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import numpy as np

from core.data import datasets
from core.engine import worker
from core.engine.cluster import Cluster
from core.engine.newest import Newest
from core.engine.orders import Orders
from core.engine.worker import FULL_SPEED
from core.errors import DataError, EngineError, EngineNotReady, RunDamaged, RunError
from core.model import ledger
from core.runs import progress
from core.runs.progress import (
    Command,
    EpochEnded,
    Event,
    HyperparameterChanged,
    Progress,
    Snapshot,
    State,
    StateChanged,
)
from core.runs.run import Run

COMMAND_SECONDS = 10
MOST_LOOKS, MOST_TRACES = 50, 20
ABANDONED_SECONDS = 600.0  # for which a paused or slowed run that nobody looks at may keep others waiting


class Trainings:
    """The runs that train, wait or have ended since this process began. Its methods may be called from any thread."""

    def __init__(self, cluster: Cluster, lock: threading.RLock) -> None:
        self._cluster, self._lock = cluster, lock
        self.orders = Orders(cluster, self._is_over)
        self._runs: dict[str, Run] = {}
        self._futures: dict[str, Any] = {}  # run id -> its training's Dask future
        self._progress: dict[str, Progress] = {}  # run id -> the record of its events, in the order of the queue
        self._commands: dict[str, Command] = {}
        self._datasets: dict[str, datasets.DatasetId] = {}  # run id -> what it is trained on
        self._seen_at: dict[str, float] = {}  # run id -> when anybody last asked how far it is
        self._watchers, self._watching = ThreadPoolExecutor(1, thread_name_prefix="engine-watcher"), None
        self._looks: Newest[tuple[str, int, bytes], Snapshot] = Newest(MOST_LOOKS)  # by run, digit and drawing
        # By run and drawing: see `Engine.trace`.
        self.traces: Newest[tuple[str, bytes], dict[int, np.ndarray]] = Newest(MOST_TRACES)
        self.ended_at = time.monotonic()  # when a run last ended or was deleted

    def close(self) -> None:
        """Look inside runs no more."""
        self._watchers.shutdown(wait=False, cancel_futures=True)

    # -- the queue -------------------------------------------------------------------------------------------------------

    def train(self, run: Run, command: Command = FULL_SPEED) -> None:
        """Queue a run, as `Engine.train`."""
        dataset = datasets.load().id
        with self._lock:
            if run.id in self._futures or run.id in self.waiting():
                return
            queued = run.progress()
            run.write_state(State.QUEUED, dataset=_trained_on(run, queued, dataset))
            queued.state, queued.message = State.QUEUED, ""
            self._datasets[run.id] = dataset
            others = {run_id: other for run_id, other in self._progress.items() if run_id != run.id}
            self._progress = {**others, run.id: queued}
            # Changes made in an epoch that wasn't finished are made again, for the batches that are repeated.
            self._runs[run.id], self._commands[run.id] = run, replace(command, **queued.live_hyperparameters)

    def delete(self, run: Run) -> None:
        """Delete a run that is over, and forget it, as `Engine.delete`."""
        with self._lock:
            if self._is_known_to_scheduler(run.id) or run.id in self.waiting():
                raise EngineError("This run is under way. Stop it first; then it can be deleted.")
            run.delete()
            for known in (self._progress, self._commands, self._runs, self._datasets, self._seen_at):
                known.pop(run.id, None)
        self.ended_at = time.monotonic()

    def in_state(self, *, is_queued: bool) -> tuple[str, ...]:
        """Return the ids of the runs that are queued, or else of those that train, in order."""
        states = {run_id: live.state for run_id, live in self._progress.copy().items() if not live.state.is_over}
        return tuple(run_id for run_id, state in states.items() if (state is State.QUEUED) is is_queued)

    def waiting(self) -> list[str]:
        """Return the ids of the runs that are queued and not yet given to the scheduler, in order."""
        queued = [run_id for run_id, live in self._progress.items() if live.state is State.QUEUED]
        return [run_id for run_id in queued if run_id not in self._futures]

    @property
    def are_given(self) -> bool:
        """True if this process gave the scheduler a run that has not ended."""
        return bool(self._futures)

    def give_next(self) -> None:
        """Give the scheduler the runs that wait; to an embedded worker one after the other, so that there is time between two. A
        cluster's scheduler keeps the queue for all its servers."""
        with self._lock:
            for run_id in self.waiting():
                if self._cluster.is_closing or (self._cluster.is_own and self._futures):
                    return
                self._submit(run_id)

    def free_the_queue(self) -> None:
        """Let runs that were left paused or slowed go on at full speed to their end, if others wait."""
        if not self.in_state(is_queued=True):
            return
        for run_id in (
            set(self.in_state(is_queued=False)) & self._futures.keys()
        ):  # another server's are looked at there
            is_left = time.monotonic() - self._seen_at.setdefault(run_id, time.monotonic()) >= ABANDONED_SECONDS
            if is_left and self.is_held(run_id):
                with suppress(EngineNotReady):
                    self.command(run_id, is_paused=False, until_step=0, batches_per_second=None)

    def place_in_queue(self, run_id: str) -> tuple[int, float | None]:
        """Return a queued run's place and in how many seconds it should begin, as `Engine.place_in_queue`."""
        queued, training = self.in_state(is_queued=True), self.in_state(is_queued=False)
        if run_id not in queued:
            return 0, None
        place = queued.index(run_id) + 1
        running = [self._progress[id_] for id_ in training]
        if any(map(self.is_held, training)) or not running or not all(_is_at_speed(p) for p in running):
            return place, None
        try:
            speed = running[0].images_per_second * _macs(self._runs[training[0]])
            waits = [_whole_work(self._runs[id_]) / speed for id_ in queued[: place - 1]]
        except RunDamaged:
            return place, None
        return place, min(p.seconds_left for p in running if p.seconds_left is not None) + sum(waits) / len(running)

    # -- commands --------------------------------------------------------------------------------------------------------

    def commanded(self, run_id: str) -> Command:
        """Return what a run was last asked to do: by this server, else as far as its progress tells."""
        command, live = self._commands.get(run_id), self._progress.get(run_id)
        if command is None and live is not None:
            return replace(Command(is_paused=live.state is State.PAUSED), **live.live_hyperparameters)
        return command or Command()

    def command(self, run_id: str, **changes: Any) -> None:
        """Change these fields of what a run is asked to do, as `Engine.command`."""
        with self._lock:
            command = replace(self.commanded(run_id), **changes)
            live, future = self._progress.get(run_id), self._futures.get(run_id)
            if command.is_stopping and live is not None and live.state is State.QUEUED:
                self._futures.pop(run_id, None)
                self._end(run_id, State.STOPPED, "Taken out of the queue before it began.")
                if future is not None:
                    self.orders.tell(run_id, command)
                    future.cancel()
                return
            self._commands[run_id] = command
        self.orders.tell(run_id, command, tuple(changes))

    def is_held(self, run_id: str) -> bool:
        """Return whether a run that is under way is paused or in slow motion, and keeps others waiting for nobody knows how long."""
        is_paused = self._progress[run_id].state is State.PAUSED
        return is_paused or self.commanded(run_id).batches_per_second is not None

    # -- progress and looks ----------------------------------------------------------------------------------------------

    def progress(self, run: Run) -> Progress:
        """Return how far a run is, as `Engine.progress`."""
        live = self._progress.get(run.id)
        if live is not None and not live.state.is_over:
            self._seen_at[run.id] = time.monotonic()
            return live
        recorded = run.progress()
        if not recorded.state.is_over:
            if live is not None:  # its end was reported but could not be written
                return live
            if self._is_known_to_scheduler(run.id):
                self._attach(run, recorded)
                return self._progress[run.id]
            recorded.state = State.INTERRUPTED
            recorded.message = "Its worker or server went away before it was done."
        return recorded

    def watch(self, run_id: str, digit: int, drawing: bytes) -> Snapshot | None:
        """Return the last look inside a network that trains, as `Engine.watch`."""
        look = run_id, digit, drawing
        with self._lock:
            live = self._progress.get(run_id)
            if live is None:
                return None
            is_away = live.state.is_over or live.state is State.QUEUED or self._cluster.client is None
            if not is_away and (self._watching is None or self._watching.done()):
                self._watching = self._watchers.submit(self._fetch_snapshot, live, *look)
            return self._looks.get(look, live.snapshot)

    def _fetch_snapshot(self, live: Progress, run_id: str, digit: int, drawing: bytes) -> None:
        with suppress(
            OSError, TimeoutError, RuntimeError
        ):  # the worker is away: a later look finds it, or the run has ended
            client = self._cluster.connection
            # A coroutine in an asynchronous client alone.
            answers = cast(dict, client.run(worker.look, run_id, digit, drawing, on_error="ignore"))
            look = next((answer for answer in answers.values() if answer is not None), None)
            if look is None:
                return
            live.snapshot = self._looks[run_id, digit, drawing] = look
            trace = self.traces.get((run_id, look.drawing))
            if look.reading is not None and trace is not None:
                trace[look.step] = look.reading

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _submit(self, run_id: str) -> None:
        from distributed import fire_and_forget  # takes a second to load, for which the first page need not wait

        client, command = self._cluster.connection, self.commanded(run_id)
        self.orders.tell(run_id, command)  # earlier orders, even to stop, no longer hold
        client.subscribe_topic(worker.topic(run_id), lambda message: self._heard(run_id, message[1]))
        task = (self._datasets[run_id], worker.train, self._runs[run_id], command)
        future = client.submit(worker.in_worker, *task, key=f"train-{run_id}", resources={"train": 1}, pure=False)
        fire_and_forget(future)
        self._futures[run_id] = future
        future.add_done_callback(lambda done: self._done(run_id, done))

    def _attach(self, run: Run, recorded: Progress) -> None:
        """Follow a run that another process of ours gave to the scheduler."""
        with self._lock:
            self._commands.pop(run.id, None)  # was for an earlier part of its training
            self._progress[run.id], self._runs[run.id] = recorded, run
            client, topic = self._cluster.connection, worker.topic(run.id)
            for _, message in cast(tuple, client.get_events(topic)):  # a coroutine in an asynchronous client alone
                event = progress.from_wire(message)
                if not _is_in(recorded, event):
                    recorded.apply(event)
            client.subscribe_topic(topic, lambda message: self._heard(run.id, message[1]))

    def _heard(self, run_id: str, message: dict) -> None:
        self._progress[run_id].apply(progress.from_wire(message))

    def _done(self, run_id: str, future: Any) -> None:
        """Note that a training's task has ended, in order or not. Runs on Dask's own thread."""
        with self._lock:
            if self._futures.get(run_id) is not future:
                return
            del self._futures[run_id]
            self._cluster.asked_at = self.ended_at = time.monotonic()  # whoever waited for it goes on from here
            if future.status == "finished" or self._progress[run_id].state.is_over:
                return
            if self._cluster.is_closing and self._cluster.is_foreign:
                return  # this server lets go of it, and it goes on
            if not self._cluster.is_closing and self._only_waited(run_id, future):
                future.release()  # or its key would still be taken when it is given again
            else:
                self._end(run_id, State.INTERRUPTED, "Its worker was lost in the middle: killed, or out of memory.")
        self._cluster.wake()

    def _only_waited(self, run_id: str, future: Any) -> bool:
        """Return whether a training's task was lost with a worker that hadn't begun it."""
        from distributed.scheduler import KilledWorker  # takes a second to load, for which the first page need not wait

        with suppress(RunDamaged):
            is_queued = self._runs[run_id].record().state is State.QUEUED
            return is_queued and isinstance(future.exception(timeout=COMMAND_SECONDS), KilledWorker)
        return False

    def _end(self, run_id: str, state: State, message: str) -> None:
        with suppress(RunError):  # shown all the same; the folder says later that it was never finished
            self._runs[run_id].write_state(state, message)
        self._progress[run_id].apply(StateChanged(state, message))

    def _is_over(self, run_id: str) -> bool:
        live = self._progress.get(run_id)
        return live is None or live.state.is_over

    def _is_known_to_scheduler(self, run_id: str) -> bool:
        if run_id in self._futures or not self._is_over(run_id):
            return True
        if self._cluster.client is None or not self._cluster.is_foreign:
            return False
        return bool(self._cluster.client.run_on_scheduler(_knows_task, key=f"train-{run_id}"))


def _knows_task(dask_scheduler: Any = None, key: str = "") -> bool:
    task = dask_scheduler.tasks.get(key)
    return task is not None and task.state not in ("erred", "forgotten", "released", "memory")


def _is_in(recorded: Progress, event: Event) -> bool:
    """Return whether a run's folder holds an event already."""
    match event:
        case progress.Advanced():
            return event.step <= recorded.step
        case EpochEnded():
            return event.epoch <= len(recorded.history)
        case HyperparameterChanged():
            return event in recorded.changes
    return False


def _trained_on(run: Run, recorded: Progress, dataset: datasets.DatasetId) -> str:
    """Return the digest of what a run is trained on if it goes on with this data set; empty where nobody wrote down what it began
    with.

    Raises:
        DataError: if it began with another one.
    """
    if not recorded.history:
        return dataset.digest
    began = run.record().dataset
    if began not in ("", dataset.digest):
        raise DataError(
            "This run was trained on other digits than those in use now, so it can't go on with them. Press Again to train its "
            "network anew on these, or start the lab with the digits it began with."
        )
    return began


def _macs(run: Run) -> int:
    return ledger.read(run.experiment().layers).macs


def _is_at_speed(live: Progress) -> bool:
    return live.seconds_left is not None and live.images_per_second > 0


def _whole_work(run: Run) -> float:
    """Return the multiply-adds for all images of all epochs."""
    experiment = run.experiment()
    return _macs(run) * experiment.images_per_epoch * experiment.training.epochs
