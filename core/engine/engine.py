"""Where work runs: one handle on the workers, embedded in this process' reach or on a cluster.

Training takes the worker resource `train: 1`, so one run trains per worker and others wait; questions share the worker's other
thread, and quick ones go through an actor beside both. This room is imported by the Streamlit process, the scheduler and the
workers, so it must not import TensorFlow or Keras at its top, and nothing of theirs, exceptions included, crosses back.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.engine import cluster as clusters
from core.engine.cluster import Cluster, Phase
from core.engine.questions import Questions
from core.engine.trainings import Trainings
from core.engine.worker import FULL_SPEED
from core.errors import EngineNotReady
from core.evaluation.questions import TraceDigit
from core.runs import allowance, registry
from core.runs.allowance import Allowance
from core.runs.progress import Command, Progress, Snapshot
from core.runs.question import Question
from core.runs.run import Run

ROOM_SECONDS = 600.0  # between two looks at the room that all runs take


@dataclass(frozen=True)
class Status:
    """The engine at a glance. `memory` is the workers' resident memory in bytes."""

    phase: Phase
    message: str = ""
    workers: int = 0
    memory: int = 0
    training: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()


class Engine:
    """A handle on the workers. Its methods may be called from any thread and return at once unless they say otherwise.

    Args:
        scheduler: the address of another's cluster; None for a worker of its own.
    """

    def __init__(self, scheduler: str | None = None) -> None:
        lock = threading.RLock()
        self._lock = lock
        self.cluster = Cluster(scheduler, lock, self._watch)
        self.trainings = Trainings(self.cluster, lock)
        self.questions = Questions(self.cluster, lock, self._tell_cancelled, lambda: bool(self.status().training))
        self._allowance: Allowance | None = None
        self._checked_room_at = -math.inf

    # -- life ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to start, in the background; does nothing where that is under way."""
        self.cluster.start()

    def close(self) -> None:
        """Let go of the client and, if embedded, end the worker. Waits for it."""
        self.cluster.close()
        self.trainings.close()

    def status(self) -> Status:
        """Return how it is, without asking anyone: from what the scheduler last heard."""
        return Status(
            self.cluster.phase,
            self.cluster.complaint(),
            workers=len(self.cluster.workers),
            memory=self.cluster.memory,
            training=self.trainings.in_state(is_queued=False),
            queued=self.trainings.in_state(is_queued=True),
        )

    # -- trainings -------------------------------------------------------------------------------------------------------

    def train(self, run: Run, command: Command = FULL_SPEED) -> None:
        """Queue a run, new or to be resumed from its last epoch, with the live hyperparameters that it last had.

        Starts the engine if need be; the run waits for it. Waits for the data set if that is still being fetched.

        Args:
            run: the run.
            command: its orders from its first batch on, such as to wait before it.

        Raises:
            DataError: if there is no data set, or the run's epochs so far were trained on another one.
        """
        self.trainings.train(run, command)
        self.start()
        self.cluster.wake()

    def delete(self, run: Run) -> None:
        """Delete a run that is over, and forget it.

        Raises:
            EngineError: if it is under way.
            StorageFull: if its folder can't be removed.
        """
        self.trainings.delete(run)

    @property
    def allowance(self) -> Allowance | None:
        """Bytes that runs take and may take in all, at most some minutes old; None before that was first measured."""
        return self._allowance

    def commanded(self, run_id: str) -> Command:
        """Return what a run was last asked to do: by this server, else as far as its progress tells."""
        return self.trainings.commanded(run_id)

    def is_unanswered(self, run_id: str) -> bool:
        """Return whether some worker hasn't taken yet what a run was last asked to do after it had begun: it will once it answers."""
        return self.trainings.orders.is_untold(run_id)

    def command(self, run_id: str, **changes: Any) -> None:
        """Pause, step, go on, change a live hyperparameter or stop: change these fields of what a run is asked to do. The rest stays
        as it was, whichever server asked for it. A queued run that is stopped leaves the queue. Waits orders.TELL_SECONDS at most: a
        worker that doesn't answer yet obeys when it does, see `is_unanswered`.

        Raises:
            EngineNotReady: if there is no connection to the workers yet.
        """
        self.trainings.command(run_id, **changes)

    def place_in_queue(self, run_id: str) -> tuple[int, float | None]:
        """Return a queued run's place, 1 for the next to begin, 0 for one that isn't queued; and in how many seconds it should begin:
        from what the running ones still need and, by their speed, those before it in the queue. None where that can't be known:
        nothing trains at a speed yet, or one is paused or in slow motion."""
        return self.trainings.place_in_queue(run_id)

    def is_held(self, run_id: str) -> bool:
        """Return whether a run that is under way is paused or in slow motion, and keeps others waiting for nobody knows how long."""
        return self.trainings.is_held(run_id)

    def progress(self, run: Run) -> Progress:
        """Return a run's progress: live if it is under way, else from its folder.

        A run that its folder calls unfinished but that no scheduler knows is INTERRUPTED.

        Raises:
            RunDamaged: if its folder can't be read.
        """
        return self.trainings.progress(run)

    def watch(self, run_id: str, digit: int, drawing: np.ndarray | None = None) -> Snapshot | None:
        """Return the last look inside a network that trains; asking is what keeps looks coming, for some seconds. Does not wait: what
        is asked for now is there at the next call, and until then the last one of whatever digit. None before the first, and
        where nothing trains.

        Args:
            digit: of which a held-out image's feature maps are wanted.
            drawing: (28, 28) uint8 of which `trace` is to know more.
        """
        return self.trainings.watch(run_id, digit, drawing.tobytes() if drawing is not None else b"")

    def trace(self, run: Run, image: np.ndarray) -> dict[int, np.ndarray]:
        """Return a run's probabilities for a digit, (28, 28) uint8, by the number of batches: (10,) float32 each, after those of
        which a checkpoint was kept and those that were watched. Does not wait: what isn't known yet is asked for, and there at a
        later call.

        Raises:
            EngineNotReady: while the engine starts and nothing is known yet.
            EngineError, RunError: if it can't be found out.
        """
        traces = self.trainings.traces
        with self._lock:
            known = traces[run.id, image.tobytes()] = traces.get((run.id, image.tobytes()), {})
        missing = tuple(step for step in run.steps() if step not in known)
        if missing:
            question = TraceDigit(run, missing, image.tobytes())
            try:
                found = self.ask(question)
            except EngineNotReady:
                if not known:
                    raise
                found = None
            if found is not None:
                known.update(zip(missing, found, strict=True))
                self.questions.forget(question)
        return {step: known[step] for step in sorted(known.copy())}

    # -- questions -------------------------------------------------------------------------------------------------------

    def ask(self, question: Question) -> Any:
        """Return the answer to a question; None while it is being found, which the first call begins. Equal questions are asked once,
        and the last few hundred answers are kept.

        Raises:
            EngineNotReady: while the engine starts, or where it has to be quiet and isn't.
            WorkerLost: if the worker died over it; the next call begins anew.
            DigitLabError: whatever the question raises, when it works.
        """
        return self.questions.ask(question)

    def wait(self, question: Question, timeout: float = 2.0) -> Any:
        """Return the answer to a quick question, in the order in which they are asked. Waits, up to `timeout` seconds.

        Raises:
            EngineNotReady: while TensorFlow loads, or where the answer takes longer.
            WorkerLost: if the worker died over it.
            DigitLabError: whatever the question raises, when it works.
        """
        return self.questions.wait(question, timeout)

    def share(self, question: Question) -> float:
        """Return how much of a question that was asked is done, 0..1."""
        return self.questions.share(question)

    def cancel(self, question: Question) -> None:
        """End a question, whoever asked it; nothing where it isn't under way. To ask it again is to begin anew."""
        self.questions.cancel(question)

    def _tell_cancelled(self, ticket: str) -> None:
        self.trainings.orders.tell(ticket, Command(is_stopping=True))

    # -- watching --------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look after the workers, the queue and the room, every WATCH_SECONDS."""
        try:
            if self.cluster.look():
                self._go_on()
                self.trainings.free_the_queue()
        except clusters.unreachable() as error:  # look again later
            self.cluster.message = f"The scheduler doesn't answer: {error}"
        self._keep_within_allowance()

    def _go_on(self) -> None:
        """Restart an idle worker that has grown, and begin the next run."""
        with self._lock:
            is_awaited = bool(self.trainings.waiting())
            is_time = not self.trainings.are_given and self.cluster.is_time_to_restart(is_awaited)
            is_free = is_time and not self.questions.are_under_way
            if is_free:
                self.cluster.begin_restart()
        if is_free:
            self.cluster.restart()
        elif is_time and self.cluster.is_crowded:
            return  # the next run, which could be killed for its size, waits until the questions under way are answered
        self.trainings.give_next()

    def _keep_within_allowance(self) -> None:
        """Remove the oldest runs to make room for others, from time to time and when one has ended."""
        has_one_ended = self.trainings.ended_at > self._checked_room_at
        if not has_one_ended and time.monotonic() - self._checked_room_at < ROOM_SECONDS:
            return
        self._checked_room_at = time.monotonic()
        status = self.status()
        self._allowance = allowance.keep_within(registry.root(), {*status.training, *status.queued})


_engine: Engine | None = None
_engine_lock = threading.Lock()


def shared() -> Engine:
    """Return this process' engine, made at the first call and not yet started."""
    global _engine
    with _engine_lock:
        if _engine is None:
            _engine = Engine(os.environ.get("DIGITLAB_SCHEDULER"))
            atexit.register(_engine.close)
        return _engine


def close_shared() -> None:
    """End this process' engine if there is one. Waits for it."""
    if _engine is not None:
        _engine.close()
