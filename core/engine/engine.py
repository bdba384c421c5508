"""Where work runs: Dask workers, embedded in this process' reach or on a cluster. One path for both.

Embedded (the default) is a local cluster of one worker process with two threads, on loopback with TLS. With
`DIGITLAB_SCHEDULER=tls://host:8786` the same code uses a cluster that is there already. Training takes the worker
resource `train: 1`, so one run trains per worker and others wait; evaluations share the worker's other thread, and
predictions go through an actor beside both.

This module is imported by the Streamlit process, the scheduler and the workers, so it must not import TensorFlow or Keras
at its top, and nothing of theirs, exceptions included, crosses back: see `_in_worker`.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from core.data import datasets, questions
from core.engine import predictor
from core.engine.hidden_modules import hidden
from core.engine.scratch import Scratch
from core.errors import (
    DataError,
    DigitLabError,
    EngineError,
    EngineNotReady,
    NotExplainable,
    RunDamaged,
    RunError,
    StorageFull,
    WorkerLost,
)
from core.evaluation.questions import AnswerHeldOut, AnswerTest, BreakIt, Trial
from core.model import ledger, specs
from core.runs import allowance, progress, registry, storage
from core.runs.allowance import Allowance
from core.runs.contents import Checkpoint, Evaluation, Robustness
from core.runs.progress import Command, EpochEnded, Event, Progress, Snapshot, State, StateChanged, Turned
from core.runs.run import Run
from core.training.range_test import RangeTest

if TYPE_CHECKING:
    from distributed import Client

    from core.data.measures import Neighbours
    from core.engine.predictor import Moment
    from core.evaluation.rejection import Reading
    from core.explain.adversarial import Change, Norm
    from core.explain.arithmetic import Unit
    from core.explain.attribution import Explanation
    from core.explain.questions import Forgotten, Tour

logger = logging.getLogger("digitlab.engine")

THREADS_PER_WORKER = 2
MEMORY_SHARE = 0.65  # of what this machine or container has, for the embedded worker
RECYCLE_ABOVE_BYTES = (
    1_300_000_000  # Keras leaks some 14 MB a run; a worker this large is restarted where it has nothing to do
)
QUIET_SECONDS = 60.0  # since anybody asked, until a restart, which takes ten, is in nobody's way
CROWDED = 0.85  # of the memory that a worker is killed beyond: it is restarted in the next gap between two questions
CONNECT_SECONDS = 30
COMMAND_SECONDS = 10
TELL_SECONDS = (
    0.5  # that whoever gives an order waits for a worker to take it; after them, it is told in the background
)
RETRY_SECONDS = 1.0  # until an order that no worker took is told again
SILENT_SECONDS = 15.0  # without a sign of life, after which a worker is said to be silent
WATCH_SECONDS = 2.0
FULL_SPEED = Command()
MOST_ANSWERS = 300
MOST_TRACES = 20
MOST_LOOKS = 50
ABANDONED_SECONDS = 600.0  # that a paused or slowed run, which nobody looks at, keeps others waiting
ROOM_SECONDS = 600.0  # between two looks at the room that all runs take
GONE_SECONDS = 2.0  # between two looks, from a training, for whether its run is still there
WATCHED_SECONDS = 5.0  # that looks inside a network go on after someone asked for one

_DASK_CONFIG = {
    # A task whose worker died is lost at once: never begun again from its start in silence.
    "distributed.scheduler.allowed-failures": 0,
    # By the wall clock, five minutes of a laptop's sleep are five minutes unheard of: the worker would be restarted on waking, in
    # the middle of its run. One that died is noticed by its closed connection.
    "distributed.scheduler.worker-ttl": None,
    # The cluster gives up on a worker that restarts while another restart is under way; it always comes back here.
    "distributed.deploy.lost-worker-timeout": "365d",
    # The statistical profiler costs a second of TensorFlow's start and 130 MB.
    "distributed.worker.profile.enabled": False,
    # Pausing would make new tasks wait in silence; over its limit the worker is killed instead, and said so.
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # Dask opens an HTTP port in any case; embedded, it is on loopback and serves nothing.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class Phase(StrEnum):
    """How far the engine is."""

    OFF = "off"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Status:
    """The engine at a glance. `memory` is the workers' resident memory in bytes."""

    phase: Phase
    message: str = ""
    workers: int = 0
    memory: int = 0
    loop: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()


class Job(Protocol):
    """A long piece of work: a small frozen value that crosses to a worker and works there. See `core.data.questions`."""

    def work(self, tell: Callable[[float], None]) -> Any:
        """Do it, telling the share that is done, 0..1; where that raises, the job is to end."""


class Engine:
    """A handle on the workers. Its methods may be called from any thread and return at once unless they say otherwise."""

    def __init__(self, scheduler: str | None = None) -> None:
        self._scheduler = scheduler
        self._lock = threading.RLock()
        self._phase, self._message = Phase.OFF, ""
        self._client: Client | None = None
        self._cluster = None
        self._scratch: Scratch | None = None  # the embedded worker's
        self._actor = None
        self._futures: dict[str, Any] = {}  # run id -> its training's Dask future
        self._progress: dict[str, Progress] = {}  # run id -> what its events said
        self._roots: dict[str, str] = {}
        self._commands: dict[str, Command] = {}
        self._datasets: dict[str, datasets.DatasetId] = {}  # run id -> what it is trained on
        self._answered_for: datasets.DatasetId | None = None  # of which digits the answers below are
        self._seen_at: dict[str, float] = {}  # run id -> when anybody last asked how far it is
        self._watchers, self._watching = ThreadPoolExecutor(1, thread_name_prefix="engine-watcher"), None
        self._looks: dict[tuple[str, int, bytes], Snapshot] = {}  # by run, digit and drawing
        self._traces: dict[tuple[str, bytes], dict[int, np.ndarray]] = {}  # by run and drawing
        self._asked: dict[tuple, Any] = {}  # questions under way, as futures
        self._asking = 0  # those that somebody waits for
        self._answers: dict[tuple, Any] = {}
        self._tickets: dict[Job, str] = {}  # long jobs under way, with the topic that they tell their share in
        self._shares: dict[str, float] = {}  # by ticket
        self._asked_at = time.monotonic()  # when anybody last wanted something of a worker
        self._workers: dict[str, dict] = {}  # what the scheduler last said of them
        self._warm_workers: set[str] = set()
        self._futures_of_warming: set[Any] = set()
        self._allowance: Allowance | None = None
        self._checked_room_at = -math.inf
        self._wake, self._is_closing = threading.Event(), False
        # By run or job: an order that some worker hasn't taken yet, with the fields it changes, none for all. See `_tell_workers`.
        self._untold: dict[str, tuple[Command, tuple[str, ...]]] = {}
        self._untold_lock = threading.Lock()

    # -- life ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to start, in the background; does nothing where that is under way."""
        with self._lock:
            if self._phase in (Phase.OFF, Phase.FAILED):
                self._phase, self._message = Phase.STARTING, ""
                threading.Thread(target=self._start, name="engine-start", daemon=True).start()

    def close(self) -> None:
        """Let go of the client and, if embedded, end the worker. Waits for it."""
        self._is_closing = True
        self._wake.set()
        with self._lock:
            client, cluster, self._client, self._cluster = self._client, self._cluster, None, None
            scratch, self._scratch, self._phase = self._scratch, None, Phase.OFF
        if client is not None:
            client.close(timeout=5)
        if cluster is not None:
            cluster.close(timeout=10)
        self._watchers.shutdown(wait=False, cancel_futures=True)
        if scratch is not None:
            scratch.close()

    def status(self) -> Status:
        """How it is, without asking anyone: from what the scheduler last heard."""
        workers = self._workers
        live = {run_id: p.state for run_id, p in self._progress.copy().items() if not p.state.is_over}
        return Status(
            self._phase,
            _warning(workers)
            or (_silence(workers) if self._cluster and self._phase is Phase.READY else "")
            or self._message,
            workers=len(workers),
            memory=sum(worker.get("metrics", {}).get("memory", 0) for worker in workers.values()),
            training=tuple(run_id for run_id, state in live.items() if state is not State.QUEUED),
            queued=tuple(run_id for run_id, state in live.items() if state is State.QUEUED),
        )

    # -- training --------------------------------------------------------------------------------------------------------

    def train(self, run: Run, command: Command = FULL_SPEED) -> None:
        """Queue a run, new or to be resumed from its last epoch, with its knobs as they were turned last. Starts the engine if need
        be; the run waits for it. Waits for the data set where that is still being fetched.

        Args:
            command: what it is to do from its first batch on, as to wait before it.

        Raises:
            DataError: if there is no data set, or the run's epochs so far were trained on another one.
        """
        dataset = datasets.load().id
        with self._lock:
            if run.id in self._futures or run.id in self._waiting():
                return
            run.write_state(State.QUEUED, dataset=_trained_on(run, dataset))
            self._datasets[run.id] = dataset
            others = {run_id: progress_ for run_id, progress_ in self._progress.items() if run_id != run.id}
            queued = run.progress()
            self._progress = {**others, run.id: queued}  # in the order of the queue
            # A knob turned in an epoch that wasn't finished is turned again, for the batches that are taken anew.
            self._roots[run.id], self._commands[run.id] = run.root, replace(command, **queued.turned)
        self.start()
        self._wake.set()

    def delete(self, run: Run) -> None:
        """Delete a run that is over, and forget it.

        Raises:
            EngineError: if it is under way.
            StorageFull: if its folder can't be removed.
        """
        with self._lock:
            if self._is_known_to_scheduler(run.id) or run.id in self._waiting():
                raise EngineError("This run is under way. Stop it first; then it can be deleted.")
            run.delete()
            for known in (self._progress, self._commands, self._roots, self._datasets, self._seen_at):
                known.pop(run.id, None)
        self._checked_room_at = -math.inf

    @property
    def allowance(self) -> Allowance | None:
        """What runs take and may take in all, as of some minutes ago at most; None before that was looked at."""
        return self._allowance

    def commanded(self, run_id: str) -> Command:
        """What a run was last asked to do: by this server, else as far as its progress tells."""
        command, live = self._commands.get(run_id), self._progress.get(run_id)
        if command is None and live is not None:
            return Command(is_paused=live.state is State.PAUSED, **live.turned)
        return command or Command()

    def is_unanswered(self, run_id: str) -> bool:
        """Whether some worker hasn't taken yet what a run was last asked to do after it had begun: it will once it answers."""
        return bool(self._untold.get(run_id, (FULL_SPEED, ()))[1])  # what it begins with goes with the run itself, too

    def command(self, run_id: str, **changes: Any) -> None:
        """Pause, step, go on, turn a knob or stop: change these fields of what a run is asked to do. The rest stays as it was,
        whichever server asked for it. A queued run that is stopped leaves the queue. Waits TELL_SECONDS at most: a worker that
        doesn't answer yet obeys when it does, see `is_unanswered`.

        Raises:
            EngineNotReady: if there is no connection to the workers yet.
        """
        with self._lock:
            command = replace(self.commanded(run_id), **changes)
            progress_, future = self._progress.get(run_id), self._futures.get(run_id)
            if command.is_stopping and progress_ is not None and progress_.state is State.QUEUED:
                self._futures.pop(run_id, None)
                self._end(run_id, State.STOPPED, "Taken out of the queue before it began.")
                if future is not None:
                    self._tell_workers(run_id, command)
                    future.cancel()
                return
            self._commands[run_id] = command
        self._tell_workers(run_id, command, tuple(changes))

    def watch(self, run_id: str, digit: int, drawing: np.ndarray | None = None) -> Snapshot | None:
        """The last look inside a network that trains; asking is what keeps looks coming, for some seconds. Does not wait: what
        is asked for now is there at the next call, and until then the last one of whatever digit. None before the first, and
        where nothing trains.

        Args:
            digit: of which a held-out image's feature maps are wanted.
            drawing: (28, 28) uint8 of which `trace` is to know more.
        """
        look = run_id, digit, drawing.tobytes() if drawing is not None else b""
        with self._lock:
            live = self._progress.get(run_id)
            if live is None:
                return None
            is_away = live.state.is_over or live.state is State.QUEUED or self._client is None
            if not is_away and (self._watching is None or self._watching.done()):
                self._watching = self._watchers.submit(self._fetch_snapshot, live, *look)
            return self._looks.get(look, live.snapshot)

    def trace(self, run: Run, image: np.ndarray) -> dict[int, np.ndarray]:
        """What a run's network said to a digit, (28, 28) uint8, by the number of batches: (10,) float32 each, after those of which
        a checkpoint was kept and those that were watched. Does not wait: what isn't known yet is asked for, and there at a
        later call.

        Raises:
            EngineNotReady: while the engine starts and nothing is known yet.
            EngineError, RunError: if it can't be found out.
        """
        with self._lock:
            known = self._traces.setdefault((run.id, image.tobytes()), {})
            while len(self._traces) > MOST_TRACES:
                del self._traces[next(iter(self._traces))]
        missing = tuple(step for step in run.steps() if step not in known)
        if missing:
            key = ("trace", run.id, missing, image.tobytes())
            try:
                found = self._answer(key, _trace, run.id, run.root, missing, image)
            except EngineNotReady:
                if not known:
                    raise
                found = None
            if found is not None:
                known.update(zip(missing, found, strict=True))
                self._answers.pop(key, None)
        return {step: known[step] for step in sorted(known.copy())}

    def place_in_queue(self, run_id: str) -> tuple[int, float | None]:
        """A queued run's place, 1 for the next to begin, 0 for one that isn't queued; and in how many seconds it should begin:
        from what the running ones still need and, by their speed, those before it in the queue. None where that can't be known:
        nothing trains at a speed yet, or one is paused or in slow motion."""
        status = self.status()
        if run_id not in status.queued:
            return 0, None
        place = status.queued.index(run_id) + 1
        running = [self._progress[id_] for id_ in status.training]
        if any(map(self.is_held, status.training)) or not running or not all(_is_at_speed(p) for p in running):
            return place, None
        try:
            speed = running[0].images_per_second * _macs(self._run(status.training[0]))
            waits = [_whole_work(self._run(id_)) / speed for id_ in status.queued[: place - 1]]
        except RunDamaged:
            return place, None
        return place, min(p.seconds_left for p in running) + sum(waits) / len(running)

    def is_held(self, run_id: str) -> bool:
        """Whether a run that is under way is paused or in slow motion, and keeps others waiting for nobody knows how long."""
        is_paused = self._progress[run_id].state is State.PAUSED
        return is_paused or self.commanded(run_id).batches_per_second is not None

    def progress(self, run: Run) -> Progress:
        """How far a run is: live where it is under way, else as its folder says.

        A run that its folder calls unfinished but that no scheduler knows is INTERRUPTED.

        Raises:
            RunDamaged: if its folder can't be read.
        """
        live = self._progress.get(run.id)
        if live is not None and not live.state.is_over:
            self._seen_at[run.id] = time.monotonic()
            return live
        recorded = run.progress()
        if not recorded.state.is_over:
            if live is not None:  # its end was heard of but could not be written
                return live
            if self._is_known_to_scheduler(run.id):
                self._attach(run, recorded)
                return self._progress[run.id]
            recorded.state = State.INTERRUPTED
            recorded.message = "Its worker or server went away before it was done."
        return recorded

    # -- answers ---------------------------------------------------------------------------------------------------------

    def predict(self, run: Run, step: int, images: np.ndarray, timeout: float = 2.0) -> np.ndarray:
        """Probabilities (n, 10) float32 of a run's network after so many batches for images (n, 28, 28) uint8. Waits, up to
        `timeout` seconds.

        Raises:
            EngineNotReady: while TensorFlow loads, or where the answer takes longer.
            WorkerLost: if the worker died over it.
            RunDamaged: if the checkpoint can't be used.
        """
        return self._ask_actor("probabilities", run, step, images, timeout)

    def read(self, run: Run, step: int, images: np.ndarray, timeout: float = 2.0) -> list[Reading]:
        """What a run's network after so many batches reads in images (n, 28, 28) uint8, and whether they are digits at all. Waits,
        and raises, as `predict`.

        The first time it also has the network judged, if its training is over, which takes a few seconds in the background; until
        then probabilities are not calibrated, and everything is a digit.
        """
        found = self._ask_actor("readings", run, step, images, timeout)
        if found and math.isnan(found[0].strangeness):
            self._have_judged(run, step)
        return found

    def _have_judged(self, run: Run, step: int) -> None:
        from core.evaluation.rejection import Judge

        with suppress(EngineError, RunError):  # its answers go on as they are; the next one asks again
            if self.progress(run).state.is_over:
                self.work_on(Judge(run.id, run.root, step))

    def moment(self, run: Run, step: int, image: np.ndarray, timeout: float = 10.0) -> Moment:
        """What the time machine shows of a run's network after so many batches. Waits, up to `timeout` seconds.

        Args:
            image: the digit to look at, (28, 28) uint8.

        Raises:
            As `predict`.
        """
        return self._ask_actor("moment", run, step, image, timeout)

    def _ask_actor(self, question: str, run: Run, step: int, content: np.ndarray, timeout: float) -> Any:
        from distributed.scheduler import KilledWorker

        with self._lock:
            self._require_ready()
            if self._actor is None:
                self._actor = self._client.submit(_Actor, actor=True, key=f"predictor-{time.time_ns()}")
            actor = self._actor
            self._asking += 1
        try:
            asked = actor.result(timeout=timeout).answer(datasets.chosen(), question, run.id, run.root, step, content)
            answer = asked.result(timeout=timeout)
        except TimeoutError:
            raise EngineNotReady("The network is still being loaded.") from None
        except (OSError, ValueError, RuntimeError, KilledWorker) as error:  # how an actor's lost worker shows itself
            with self._lock:
                if self._actor is actor:
                    self._actor = None
            raise WorkerLost(f"The worker was lost while it looked at the drawing ({error}). Try again.") from None
        finally:
            with self._lock:
                self._asking -= 1
        return _unwrapped(answer)

    def evaluation(self, run: Run, step: int) -> Evaluation | None:
        """The test set's answers of a run's network; None while they are being computed, which the first call begins.

        Raises:
            EngineNotReady: while the engine starts and there is nothing to show yet.
            EngineError: if computing them failed.
        """
        return self._beside_run(AnswerTest(run.id, run.root, step))

    def validation(self, run: Run, step: int) -> Evaluation | None:
        """The answers of a run's network for the images that were held out; else as `evaluation`."""
        return self._beside_run(AnswerHeldOut(run.id, run.root, step))

    def robustness(self, run: Run, step: int) -> Robustness | None:
        """What a run's network reads in damaged test images; else as `evaluation`. It takes a while: `share` and `cancel` take
        the same job, `trials.BreakIt`."""
        return self._beside_run(BreakIt(run.id, run.root, step))

    def _beside_run(self, trial: Trial) -> Any:
        with suppress(RunDamaged):  # what can't be read is computed again
            found = trial.kept()
            if found is not None:
                return found
        if self.work_on(trial) is None:
            return None
        self._answers.pop((type(trial).__name__, trial), None)  # the folder has it now, as long as it can be read
        with suppress(RunDamaged):
            found = trial.kept()
            if found is None:
                raise EngineError(
                    "The worker answered for other images than those that are loaded here. Let DIGITLAB_MNIST name the same file "
                    "for both, and start them again."
                )
            return found
        return None

    # What follows is computed once for equal arguments, the last few hundred answers being kept, and without waiting: None
    # means that it is under way, as the first call makes it be. All raise EngineNotReady while the engine starts, WorkerLost
    # or EngineError where it failed; the next call then begins anew.

    def seconds_per_epoch(self, experiment: specs.Experiment) -> float | None:
        """How long an epoch of this takes on a worker, validation included: an estimate from a short trial.

        Raises:
            EngineNotReady: also while runs train, which would make it slower than it is.
            SpecError: if it can't be built.
        """
        key = ("seconds", experiment.model_dump_json())
        if key not in self._answers and self.status().training:
            raise EngineNotReady("Measured as soon as nothing trains.")
        return self._answer(key, _seconds_per_epoch, experiment)

    def range_test(self, experiment: specs.Experiment) -> RangeTest | None:
        """How the loss goes as the learning rate rises, over a hundred batches.

        Raises:
            SpecError: if it can't be built.
        """
        return self._answer(("range", experiment.model_dump_json()), _range_test, experiment)

    def augmented(self, augmentation: specs.Augmentation, indices: tuple[int, ...], seed: int) -> np.ndarray | None:
        """Training images as the training would see them, (n, 28, 28) uint8; another `seed`, other changes."""
        key = ("augmented", augmentation.model_dump_json(), indices, seed)
        return self._answer(key, _augmented, augmentation, indices, seed)

    def tour(self, run: Run, step: int, image: np.ndarray, timeout: float = 10.0) -> Tour:
        """What every layer of a run's network makes of a digit, (28, 28) uint8. Waits, and raises, as `predict`."""
        return self._ask_actor("tour", run, step, image, timeout)

    def unit(
        self, run: Run, step: int, image: np.ndarray, layer: str, place: tuple[int, ...], timeout: float = 5.0
    ) -> Unit:
        """How one number of a layer comes about. Waits, and raises, as `predict`.

        Raises:
            NotExplainable: if there is no such number.
        """
        return self._ask_actor("unit", run, step, (image, layer, place), timeout)

    def explanation(self, run: Run, step: int, image: np.ndarray, digit: int) -> Explanation | None:
        """Why a run's network says a digit of an image, (28, 28) uint8, or doesn't.

        Raises:
            NotExplainable: if the network's weights are not numbers.
        """
        return self._explain("explanation", run, step, image, digit)

    def forgetting(self, run: Run, step: int, image: np.ndarray, digit: int, level: int) -> Forgotten | None:
        """The maps of `explanation` once some layers have forgotten what they learned: at level 0 the last, then more."""
        return self._explain("forgetting", run, step, image, digit, level)

    def smallest_change(self, run: Run, step: int, image: np.ndarray, target: int, norm: Norm) -> Change | None:
        """The smallest change of a digit found that makes a run's network read another."""
        return self._explain("smallest_change", run, step, image, target, norm)

    def perfect_digits(self, run: Run, step: int) -> tuple[np.ndarray, np.ndarray] | None:
        """What a run's network thinks each digit should look like, (10, 28, 28) float32 ink, and how it reads that, (10, 10)."""
        return self._explained(("perfect_digits", run.id, step), "perfect_digits", run.id, run.root, step)

    def _explain(self, question: str, run: Run, step: int, image: np.ndarray, *arguments: Any) -> Any:
        key = (question, run.id, step, image.tobytes(), *arguments)
        return self._explained(key, question, run.id, run.root, step, image, *arguments)

    def _explained(self, key: tuple, *question: Any) -> Any:
        found = self._answer(key, _explain, *question)
        if isinstance(found, NotExplainable):
            raise found
        return found

    def neighbours(self, run: Run, step: int, image: np.ndarray, but: int | None = None) -> Neighbours | None:
        """The training digits that a run's network finds most like an image, (28, 28) uint8; `but` an index to leave out.

        Raises:
            RunDamaged: if the network hasn't read all training digits yet.
        """
        key = ("neighbours", run.id, step, image.tobytes(), but)
        return self._answer(key, questions.neighbours, run.id, run.root, step, image, but)

    def work_on(self, job: Job) -> Any:
        """What a long job finds, which is never None; None while it is under way. `share` says how far it is, `cancel` ends it."""
        key = (type(job).__name__, job)
        self._forget_other_digits()
        known = self._answers.get(key)
        if known is not None:
            return known
        self._require_ready()
        with self._lock:
            if job not in self._tickets:
                self._tickets[job] = self._listen(f"digitlab-job-{time.time_ns()}")
            try:
                answer = self._answer(key, _work, job, self._tickets[job])
            except EngineError:
                self._forget_job(job)
                raise
            if answer is not None:
                self._forget_job(job)
            return answer

    def share(self, job: Job) -> float:
        """How much of a long job is done, 0..1."""
        return self._shares.get(self._tickets.get(job, ""), 0.0)

    def cancel(self, job: Job) -> None:
        """End a long job, whoever asked for it; nothing where it isn't under way. To ask for it again is to begin anew."""
        with self._lock:
            ticket = self._tickets.get(job)
            if ticket is None:
                return
            self._asked.pop((type(job).__name__, job), None)
            self._forget_job(job)
        self._tell_workers(ticket, Command(is_stopping=True))

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _listen(self, ticket: str) -> str:
        if self._client is not None:
            self._client.subscribe_topic(ticket, lambda message: self._shares.update({ticket: message[1]}))
        return ticket

    def _forget_job(self, job: Job) -> None:
        ticket = self._tickets.pop(job, "")
        self._shares.pop(ticket, None)
        if self._client is not None and ticket:
            self._client.unsubscribe_topic(ticket)

    def _answer(self, key: tuple, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function says in a worker, which is never None; None while it is at it, which the first call makes it be."""
        self._forget_other_digits()
        known = self._answers.get(key)
        if known is not None:
            return known
        with self._lock:
            self._require_ready()
            future = self._asked.get(key)
            if future is None:
                task = (_about, datasets.chosen(), function, *arguments)
                self._asked[key] = self._client.submit(_in_worker, *task, pure=False)
                return None
            if not future.done():
                return None
            del self._asked[key]
        if future.status != "finished":
            raise WorkerLost("The worker was lost over it. Try again.")
        answer = _unwrapped(future.result())
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]
        return answer

    def _forget_other_digits(self) -> None:
        """Let go of answers to the images of a data set that is no longer the one in use, and of questions about them."""
        with self._lock:
            before, self._answered_for = self._answered_for, datasets.chosen()
            if before not in (None, self._answered_for):
                self._answers.clear()
                self._asked.clear()

    def _start(self) -> None:
        try:
            client, cluster = self._connect()
        except Exception as error:  # whatever it is, it belongs on the page, not in a dead thread
            if self._is_closing:
                return
            logger.exception("the engine did not start")
            self._phase, self._message = Phase.FAILED, f"The engine did not start: {error}"
            return
        with self._lock:
            self._client, self._cluster, self._phase = client, cluster, Phase.WARMING
            if self._is_closing:  # it was closed before there was anything to close
                self.close()
                return
        threading.Thread(target=self._watch, name="engine-watch", daemon=True).start()
        with suppress(DataError):  # the pages that need it say so
            datasets.load()  # what questions are about

    def _connect(self):
        import dask
        from distributed import Client, LocalCluster

        dask.config.set(_DASK_CONFIG)
        if self._scheduler:
            return Client(self._scheduler, timeout=CONNECT_SECONDS, name="digitlab"), None
        self._scratch = self._scratch or Scratch()
        dask.config.set({"temporary-directory": str(self._scratch.path)})  # the scheduler's, and the worker's
        _keep_interrupts_here()
        cluster = LocalCluster(
            n_workers=1,
            threads_per_worker=THREADS_PER_WORKER,
            processes=True,
            host="127.0.0.1",
            protocol="tls://",
            security=True,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            worker_dashboard_address=None,
            memory_limit=_memory_limit(),
            resources={"train": 1},
            env={"TMPDIR": str(self._scratch.path)},
            silence_logs=logging.ERROR,
        )
        return Client(cluster), cluster

    def _warm_up(self, worker: str) -> None:
        """Have a worker load TensorFlow; the engine is ready when the first has."""
        future = self._client.submit(
            _in_worker, _warm_up, workers=[worker], allow_other_workers=False, pure=False, priority=-10
        )

        def is_warm(done) -> None:
            with self._lock:
                self._futures_of_warming.discard(done)
                if done.status == "finished" and self._client is not None:
                    self._warm_workers.add(worker)
                    self._phase, self._message = Phase.READY, ""

        self._futures_of_warming.add(future)  # a future nobody holds is forgotten by the scheduler
        future.add_done_callback(is_warm)

    def _require_ready(self) -> None:
        self._asked_at = time.monotonic()
        self.start()
        if self._phase is Phase.FAILED:
            raise EngineError(self._message)
        if self._phase is not Phase.READY:
            raise EngineNotReady("The engine is still warming up: TensorFlow is being loaded.")

    def _waiting(self) -> list[str]:
        """Runs that are queued and not yet given to the scheduler, in order."""
        return [
            run_id
            for run_id, progress_ in self._progress.items()
            if progress_.state is State.QUEUED and run_id not in self._futures
        ]

    def _give_next(self) -> None:
        """Give the scheduler the runs that wait; to an embedded worker one after the other, so that there is time between two. A
        cluster's scheduler keeps the queue for all its servers."""
        with self._lock:
            for run_id in self._waiting():
                if self._is_closing or (self._cluster is not None and self._futures):
                    return
                self._submit_training(run_id)

    def _submit_training(self, run_id: str) -> None:
        from distributed import fire_and_forget

        self._tell_workers(run_id, self.commanded(run_id))
        self._client.subscribe_topic(_topic(run_id), lambda message: self._heard(run_id, message[1]))
        task = (_about, self._datasets[run_id], _train, run_id, self._roots[run_id], self.commanded(run_id))
        future = self._client.submit(_in_worker, *task, key=_task(run_id), resources={"train": 1}, pure=False)
        fire_and_forget(future)
        self._futures[run_id] = future
        future.add_done_callback(lambda done: self._done(run_id, done))

    def _attach(self, run: Run, recorded: Progress) -> None:
        """Follow a run that another process of ours gave to the scheduler."""
        with self._lock:
            self._commands.pop(run.id, None)  # was for an earlier part of its training
            self._progress[run.id], self._roots[run.id] = recorded, run.root
            for _, message in self._client.get_events(_topic(run.id)):
                event = progress.from_wire(message)
                if not _is_in(recorded, event):
                    recorded.apply(event)
            self._client.subscribe_topic(_topic(run.id), lambda message: self._heard(run.id, message[1]))

    def _run(self, run_id: str) -> Run:
        return Run(run_id, self._roots[run_id])

    def _fetch_snapshot(self, live: Progress, run_id: str, digit: int, drawing: bytes) -> None:
        with suppress(
            OSError, TimeoutError, RuntimeError
        ):  # the worker is away: a later look finds it, or the run has ended
            answers = self._client.run(_look, run_id, digit, drawing, on_error="ignore").values()
            look = next((answer for answer in answers if answer is not None), None)
            if look is None:
                return
            self._looks.pop((run_id, digit, drawing), None)  # or the oldest would be one that is still asked for
            live.snapshot = self._looks[run_id, digit, drawing] = look
            while len(self._looks) > MOST_LOOKS:
                del self._looks[next(iter(self._looks))]
            if look.reading is not None and (run_id, look.drawing) in self._traces:
                self._traces[run_id, look.drawing][look.step] = look.reading

    def _heard(self, run_id: str, message: dict) -> None:
        self._progress[run_id].apply(progress.from_wire(message))

    def _done(self, run_id: str, future) -> None:
        """A training's task has ended, in order or not. Runs on Dask's own thread."""
        with self._lock:
            if self._futures.get(run_id) is not future:
                return
            del self._futures[run_id]
            self._asked_at = time.monotonic()  # whoever waited for it goes on from here
            self._checked_room_at = -math.inf
            if future.status == "finished" or self._progress[run_id].state.is_over:
                return
            if self._is_closing and self._scheduler:
                return  # this server lets go of it, and it goes on
            if not self._is_closing and self._only_waited(run_id, future):
                future.release()  # or its key would still be taken when it is given again
            else:
                self._end(run_id, State.INTERRUPTED, "Its worker was lost in the middle: killed, or out of memory.")
        self._wake.set()

    def _only_waited(self, run_id: str, future) -> bool:
        """Whether a training's task was lost with a worker that hadn't begun it."""
        from distributed.scheduler import KilledWorker

        with suppress(RunDamaged):
            is_queued = self._run(run_id).record().state is State.QUEUED
            return is_queued and isinstance(future.exception(timeout=COMMAND_SECONDS), KilledWorker)
        return False

    def _end(self, run_id: str, state: State, message: str) -> None:
        with suppress(RunError):  # shown all the same; the folder says later that it was never finished
            Run(run_id, self._roots[run_id]).write_state(state, message)
        self._progress[run_id].apply(StateChanged(state, message))

    def _tell_workers(self, run_id: str, command: Command, changed: tuple[str, ...] = ()) -> None:
        """Have all workers take an order. One that hasn't after a moment is told on in the background, until it has: what is ordered
        meanwhile goes with it.

        Raises:
            EngineNotReady: if there is no connection to the workers yet.
        """
        if self._client is None:
            raise EngineNotReady("There is no connection to the workers yet.")
        with self._untold_lock:
            is_being_told = run_id in self._untold
            _, untold = self._untold.get(run_id, (command, changed))
            self._untold[run_id] = command, tuple({*untold, *changed}) if untold and changed else ()
        if not is_being_told:
            # A daemon: one that waits for a worker must not keep the server from ending.
            telling = threading.Thread(target=self._tell, args=(run_id,), name="engine-tell", daemon=True)
            telling.start()
            telling.join(TELL_SECONDS)

    def _tell(self, run_id: str) -> None:
        """Tell all workers the order for a run, until they have taken it or it is over."""
        while not self._is_closing:
            order = self._untold[run_id]
            has_arrived = self._has_arrived(run_id, *order)
            live = self._progress.get(run_id)
            with self._untold_lock:
                if self._untold[run_id] is order and (has_arrived or live is None or live.state.is_over):
                    del self._untold[run_id]
                    return
            if not has_arrived:
                time.sleep(RETRY_SECONDS)

    def _has_arrived(self, run_id: str, command: Command, changed: tuple[str, ...]) -> bool:
        """Whether all workers, and at least one, took an order; waits as long as one takes to answer, or to be given up."""
        client = self._client
        if client is None:
            return False
        with suppress(OSError, TimeoutError, RuntimeError):  # the connection is away, or closed for good
            answers = client.run(_set_command, run_id, command, changed, on_error="return")
            return bool(answers) and not any(isinstance(answer, Exception) for answer in answers.values())
        return False

    def _is_known_to_scheduler(self, run_id: str) -> bool:
        if run_id in self._futures or (run_id in self._progress and not self._progress[run_id].state.is_over):
            return True
        if self._client is None or not self._scheduler:
            return False
        return self._client.run_on_scheduler(_knows_task, key=_task(run_id))

    def _watch(self) -> None:
        from distributed.client import ClosedClientError
        from distributed.comm import CommClosedError

        while not self._is_closing:
            self._wake.clear()
            client = self._client
            try:
                if client is not None and client.status == "running":
                    # It says nothing at all while the connection is being closed or has been lost.
                    self._look_after(client, client.scheduler_info(n_workers=-1).get("workers", {}))
                    self._free_the_queue()
            except (
                ClosedClientError,
                CommClosedError,
                TimeoutError,
                RuntimeError,
            ) as error:  # the scheduler is away: look again later
                self._message = f"The scheduler doesn't answer: {error}"
            self._keep_within_allowance()
            self._wake.wait(WATCH_SECONDS)

    def _keep_within_allowance(self) -> None:
        """Have the oldest runs make room for others, from time to time and once one has ended."""
        if time.monotonic() - self._checked_room_at < ROOM_SECONDS:
            return
        self._checked_room_at = time.monotonic()
        status = self.status()
        self._allowance = allowance.keep_within(registry.root(), {*status.training, *status.queued})

    def _look_after(self, client: Client, workers: dict[str, dict]) -> None:
        """Warm workers that are new, notice when none is left, restart an idle one that has grown, and have the next run begin."""
        for worker in workers.keys() - self._workers.keys():
            self._warm_up(worker)
        with self._lock:
            self._workers = workers
            self._warm_workers &= workers.keys()
            if self._phase is Phase.READY and not self._warm_workers:
                self._actor, self._phase, self._message = None, Phase.WARMING, "The worker is being restarted."
            memory = max((worker.get("metrics", {}).get("memory", 0) for worker in workers.values()), default=0)
            is_asked = self._asking > 0 or any(not future.done() for future in self._asked.values())
            is_idle = self._cluster is not None and not self._futures and self._phase is Phase.READY
            is_time = is_idle and self._is_time_to_restart(memory)
            if is_time and not is_asked:
                self._actor, self._phase, self._message = None, Phase.WARMING, "The worker is being restarted."
                self._warm_workers.clear()
        if is_time and not is_asked:
            client.restart_workers(list(workers), raise_for_error=False)
        elif is_time and _is_crowded(memory):
            return  # the next run, which could be killed for its size, waits until the questions under way are answered
        self._give_next()

    def _free_the_queue(self) -> None:
        """Where others wait, have what was paused or slowed and then left go on at full speed, to its end."""
        status = self.status()
        if not status.queued:
            return
        for run_id in set(status.training) & self._futures.keys():  # another server's runs are looked at there
            is_left = time.monotonic() - self._seen_at.setdefault(run_id, time.monotonic()) >= ABANDONED_SECONDS
            if is_left and self.is_held(run_id):
                with suppress(EngineNotReady):
                    self.command(run_id, is_paused=False, until_step=0, batches_per_second=None)

    def _is_time_to_restart(self, memory: int) -> bool:
        """Whether an idle worker of so many bytes has grown so much that it should begin anew: between two runs of the queue, when
        nobody has asked anything for a while, or before it is killed."""
        if memory <= RECYCLE_ABOVE_BYTES:
            return False
        is_quiet = time.monotonic() - self._asked_at >= QUIET_SECONDS
        return bool(self._waiting()) or is_quiet or _is_crowded(memory)


def _is_crowded(memory: int) -> bool:
    return memory > CROWDED * _memory_limit()


def _memory_limit() -> int:
    """Bytes that the embedded worker may take before it is killed."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT * MEMORY_SHARE)


_engine: Engine | None = None
_engine_lock = threading.Lock()


def shared() -> Engine:
    """This process' engine, made at the first call and not yet started."""
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


# --- what runs in the workers -------------------------------------------------------------------------------------------
# Functions of a module, so that Dask sends them by name.

_commands: dict[str, Command] = {}
# By run: what visitors want to see of it, a digit and a drawing, until when (monotonic); and what was seen last.
_watched: dict[str, dict[tuple[int, bytes], float]] = {}
_snapshots: dict[str, dict[tuple[int, bytes], Snapshot]] = {}


@dataclass(frozen=True)
class _Failure:
    """An exception that may cross to a process without TensorFlow."""

    error: DigitLabError


def _in_worker(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and turn what it raises into a `_Failure`: TensorFlow's own exceptions would import it over there."""
    try:
        return function(*arguments)
    except DigitLabError as error:
        return _Failure(error)
    except Exception as error:  # of any library; its text crosses, it itself can't
        logger.exception("%s failed", function.__name__)
        return _Failure(EngineError(f"{type(error).__name__}: {str(error)[:500]}"))


def _about(dataset: datasets.DatasetId | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that finds this data set as the one in use; None for a server that doesn't know its own yet."""
    with datasets.using(dataset):
        return function(*arguments)


def _unwrapped(answer: Any) -> Any:
    if isinstance(answer, _Failure):
        raise answer.error
    return answer


def _topic(run_id: str) -> str:
    return f"digitlab-{run_id}"


def _task(run_id: str) -> str:
    return f"train-{run_id}"


def _knows_task(dask_scheduler=None, key: str = "") -> bool:
    task = dask_scheduler.tasks.get(key)
    return task is not None and task.state not in ("erred", "forgotten", "released", "memory")


def _warning(workers: dict[str, dict]) -> str:
    """What is wrong with a cluster's workers, in a sentence; empty where nothing is."""
    if workers and not any("train" in worker.get("resources", {}) for worker in workers.values()):
        return "No worker takes trainings: start one with --resources train=1."
    return ""


def _silence(workers: dict[str, dict]) -> str:
    """That the workers on this machine, whose clock the scheduler has too, give no sign of life, in a sentence; else empty."""
    silent = time.time() - max((worker.get("last_seen", math.inf) for worker in workers.values()), default=math.inf)
    return f"The worker hasn't answered for {silent:.0f} seconds." if silent > SILENT_SECONDS else ""


def _is_in(recorded: Progress, event: Event) -> bool:
    """Whether a run's folder holds an event already."""
    match event:
        case progress.Advanced():
            return event.step <= recorded.step
        case EpochEnded():
            return event.epoch <= len(recorded.history)
        case Turned():
            return event in recorded.turns
    return False


def _trained_on(run: Run, dataset: datasets.DatasetId) -> str:
    """The digest of what a run is trained on if it goes on with this data set; empty where nobody wrote down what it began with.

    Raises:
        DataError: if it began with another one.
    """
    if not run.progress().history:
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
    """Multiply-adds for all images of all epochs."""
    experiment = run.experiment()
    return _macs(run) * experiment.images_per_epoch * experiment.training.epochs


def _set_command(run_id: str, command: Command, changed: tuple[str, ...] = ()) -> None:
    """Take a command; only the fields that were `changed`, where the rest is known here: another server may have set it."""
    known = _commands.get(run_id)
    if known is not None and changed:
        command = replace(known, **{name: getattr(command, name) for name in changed})
    _commands[run_id] = command


def _look(run_id: str, digit: int, drawing: bytes = b"") -> Snapshot | None:
    """Ask for looks inside a run that may train here; the last one of this digit and drawing."""
    _watched.setdefault(run_id, {})[digit, drawing] = time.monotonic() + WATCHED_SECONDS
    return _snapshots.get(run_id, {}).get((digit, drawing))


def _keep_look(run_id: str, snapshot: Snapshot) -> None:
    """Have a look inside a run at hand for those who asked for it, and no longer those that nobody asks for."""
    wanted = _wanted(run_id)
    kept = {key: look for key, look in _snapshots.get(run_id, {}).items() if key in wanted}
    _snapshots[run_id] = {**kept, (snapshot.digit, snapshot.drawing): snapshot}


def _wanted(run_id: str) -> list[tuple[int, bytes]]:
    now = time.monotonic()
    return [key for key, until in _watched.get(run_id, {}).copy().items() if now < until]


def _read_command(run_id: str) -> Command:
    """What a run is asked to do, by those who drive it and those who watch."""
    wanted, command = _wanted(run_id), _commands.get(run_id, Command())
    if not wanted:
        return command
    looks = _snapshots.get(run_id, {})
    # Of several visitors', what was seen longest ago.
    digit, drawing = min(wanted, key=lambda key: looks[key].step if key in looks else -1)
    return replace(command, is_watched=True, digit=digit, drawing=drawing)


@cache
def _keep_interrupts_here() -> None:
    """Have processes that this thread starts from now on, and threads that it starts, not hear of Ctrl+C, which a terminal sends to all
    of a family: a worker would answer with a traceback, though it is about to be ended."""
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # else it is started with the first worker, and its start unblocks the signal again
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _warm_up() -> None:
    # Keras tries to import these where they are installed, for adapters that nothing here uses: hidden while it loads,
    # they don't cost a third of its start and 130 MB. They import as usual afterwards, and in the worker's other threads.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with hidden("sklearn", "pandas", "matplotlib"):
        import keras  # noqa: F401  (loaded for what follows)
    # Each run compiles functions of its own, which TensorFlow takes for one function compiled too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from core.explain import inspection
    from core.model import keras_model

    keras_model.warm_up()
    inspection.warm_up()


class _Actor:
    """The predictor behind `_in_worker`: one prediction at a time, beside the worker's tasks."""

    def __init__(self) -> None:
        from core.engine.predictor import Predictor

        self._predictor = Predictor()

    def answer(self, dataset: datasets.DatasetId | None, question: str, *arguments: Any) -> Any:
        return _in_worker(_about, dataset, getattr(self._predictor, question), *arguments)


def _explain(question: str, *arguments: Any) -> Any:
    _warm_up()
    from core.explain import questions

    try:
        return getattr(questions, question)(*arguments)
    except NotExplainable as error:  # an answer like others: kept, and not looked for again
        return error


def _work(job: Job, ticket: str) -> Any:
    """Work on a job in this worker, telling its share to whoever listens, until it is done or cancelled."""
    from distributed import get_worker

    _warm_up()
    worker = get_worker()

    def tell(share: float) -> None:
        if _commands.get(ticket, FULL_SPEED).is_stopping:
            raise EngineError("It was cancelled.")
        worker.log_event(ticket, share)

    try:
        return job.work(tell)
    finally:
        _commands.pop(ticket, None)


def _trace(run_id: str, root: str, steps: tuple[int, ...], image: np.ndarray) -> np.ndarray:
    _warm_up()
    return predictor.trace(run_id, root, steps, image)


def _seconds_per_epoch(experiment: specs.Experiment) -> float:
    _warm_up()
    from core.training import loop

    return loop.seconds_per_epoch(experiment, datasets.load())


def _range_test(experiment: specs.Experiment) -> RangeTest:
    _warm_up()
    from core.training import loop

    return loop.find_range(experiment, datasets.load())


def _augmented(augmentation: specs.Augmentation, indices: tuple[int, ...], seed: int) -> np.ndarray:
    _warm_up()
    from core.training import augmentation as augment

    return augment.preview(datasets.load().x_train[list(indices)], augmentation, seed)


def _unfinished(record: Progress) -> str:
    """What is kept of an epoch in whose midst a run was stopped, in words; empty where it wasn't."""
    if record.step % record.steps_per_epoch == 0:
        return ""
    whole = len(record.history)
    return (
        f"Stopped in epoch {record.epoch}, after {record.step:,} batches. The time machine keeps that network. "
        "Evaluate and Draw take one after a whole epoch, and going on begins "
        f"{f'after epoch {whole}' if whole else 'with the first batch'}."
    )


_KEPT = "What was trained until the last whole epoch is kept, to go on from once there is room."


def _keras_file(network: Any) -> bytes:
    """A network as a .keras file.

    Raises:
        StorageFull: if there is no room to make one.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            network.save(Path(folder, "model.keras"))
            return Path(folder, "model.keras").read_bytes()
    except OSError as error:
        raise StorageFull(f"The .keras file can't be made on this machine: {storage.reason(error)}.") from None


def _train(run_id: str, root: str, command: Command = FULL_SPEED) -> None:
    """Train a run to its end in this worker, sending its events and keeping its folder. The command is for a worker that was
    told of none."""
    from distributed import get_worker

    worker, topic, run = get_worker(), _topic(run_id), Run(run_id, root)

    def send(event: Event) -> None:
        worker.log_event(topic, progress.to_wire(event))

    try:
        record = run.progress()
    except RunDamaged as error:  # or deleted, while it waited
        send(StateChanged(State.FAILED, str(error)))
        return
    turns, looked_at = tuple(record.turns), time.monotonic()

    def read_command() -> Command:
        nonlocal looked_at
        if time.monotonic() - looked_at >= GONE_SECONDS:
            looked_at, _ = time.monotonic(), registry.find(run_id, root)
        return _read_command(run_id)

    def keep(checkpoint: Checkpoint) -> None:
        if checkpoint.optimizer is None:
            run.write_weights(checkpoint)
            run.thin(record)
            return
        run.write_epoch(record, checkpoint)
        send(record.history[-1])

    def tell(event: Event) -> None:
        record.apply(event)
        if isinstance(event, EpochEnded):
            return  # it is sent when its checkpoint can be read: whoever hears of it may ask for its network
        try:
            match event:
                case StateChanged():
                    if event.state.is_over and record.step != record.step_of(len(record.history)):
                        with suppress(RunError):  # how it ended has to be written all the same
                            run.write_curve(record)
                    run.write_state(event.state, event.message)
                case progress.Started():
                    run.write_state(State.RUNNING, steps_per_epoch=event.steps_per_epoch)
                    run.forget_unfinished(record)
                    if tuple(record.turns) != turns:  # the batches of later ones are taken anew
                        run.write_turns(record)
                case Turned():
                    run.write_turns(record)
        finally:  # a full disk must not keep the screen from hearing of it
            send(event)

    _commands.setdefault(run_id, command)
    try:
        tell(StateChanged(State.RUNNING))
        _warm_up()
        from core.model import keras_model
        from core.training import fine_tuning, loop

        network, state = loop.train(
            run.experiment(),
            datasets.load(),
            tell,
            read_command=read_command,
            on_checkpoint=keep,
            on_snapshot=lambda snapshot: _keep_look(run_id, snapshot),
            resume_from=run.last_checkpoint(),
            history=tuple(record.history),
            turns=turns,
            start=fine_tuning.start_of(run),
        )
        if record.best is not None:
            keras_model.set_variables(network, run.weights(record.step_of(record.best.epoch)))
            run.write_keras_file(_keras_file(network))
        tell(StateChanged(state, _unfinished(record) if state is State.STOPPED else ""))
    except DigitLabError as error:
        if not run.exists():  # to write how it ended would bring its folder back
            send(StateChanged(State.STOPPED, f"Run {run_id} was deleted."))
        elif isinstance(error, StorageFull):
            tell(StateChanged(State.INTERRUPTED, f"{error} {_KEPT}"))
        else:
            tell(StateChanged(State.FAILED, str(error)))
        raise
    except Exception as error:  # whatever it is, the run has ended, and its page and folder have to say so
        tell(StateChanged(State.FAILED, f"{type(error).__name__}: {str(error)[:500]}"))
        raise
    finally:
        for kept in (_commands, _watched, _snapshots):
            kept.pop(run_id, None)
