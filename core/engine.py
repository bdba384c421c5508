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
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core import progress, runs
from core.errors import DigitLabError, EngineError, EngineNotReady, RunError, WorkerLost
from core.progress import Command, EpochEnded, Event, Progress, State, StateChanged

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger("digitlab.engine")

THREADS_PER_WORKER = 2
MEMORY_SHARE = 0.65  # of what this machine or container has, for the embedded worker
RECYCLE_ABOVE_BYTES = 1_300_000_000  # Keras leaks about 11 MB a run; an idle worker this large is restarted
CONNECT_SECONDS = 30
COMMAND_SECONDS = 10
WATCH_SECONDS = 2.0

_DASK_CONFIG = {
    # A task whose worker died is lost at once: never begun again from its start in silence.
    "distributed.scheduler.allowed-failures": 0,
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
    training: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()


class Engine:
    """A handle on the workers. Its methods may be called from any thread and return at once unless they say otherwise."""

    def __init__(self, scheduler: str | None = None) -> None:
        self._scheduler = scheduler
        self._lock = threading.RLock()
        self._phase, self._message = Phase.OFF, ""
        self._client: Client | None = None
        self._cluster = None
        self._actor = None
        self._futures: dict[str, Any] = {}  # run id -> its training's Dask future
        self._progress: dict[str, Progress] = {}  # run id -> what its events said
        self._roots: dict[str, str] = {}
        self._evaluations: dict[tuple[str, int], Any] = {}
        self._workers: dict[str, dict] = {}  # what the scheduler last said of them
        self._warm_workers: set[str] = set()
        self._futures_of_warming: set[Any] = set()
        self._wake, self._is_closing = threading.Event(), False

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
            self._phase = Phase.OFF
        if client is not None:
            client.close(timeout=5)
        if cluster is not None:
            cluster.close(timeout=10)

    def status(self) -> Status:
        """How it is, without asking anyone: from what the scheduler last heard."""
        workers = self._workers
        live = {run_id: p.state for run_id, p in self._progress.copy().items() if not p.state.is_over}
        return Status(
            self._phase,
            _warning(workers) or self._message,
            workers=len(workers),
            memory=sum(worker.get("metrics", {}).get("memory", 0) for worker in workers.values()),
            training=tuple(run_id for run_id, state in live.items() if state is not State.QUEUED),
            queued=tuple(run_id for run_id, state in live.items() if state is State.QUEUED),
        )

    # -- training --------------------------------------------------------------------------------------------------------

    def train(self, run: runs.Run) -> None:
        """Queue a run, new or to be resumed from its last epoch. Starts the engine if need be; the run waits for it."""
        with self._lock:
            if run.id in self._futures or run.id in self._waiting():
                return
            run.write_state(State.QUEUED)
            self._progress[run.id] = run.progress()
            self._roots[run.id] = run.root
            if self._client is not None:
                self._submit_training(run.id)
        self.start()

    def command(self, run_id: str, command: Command) -> None:
        """Pause, go on or stop. A queued run that is stopped leaves the queue.

        Raises:
            EngineNotReady: if there is no connection to the workers yet.
        """
        with self._lock:
            progress_, future = self._progress.get(run_id), self._futures.get(run_id)
            if command.is_stopping and progress_ is not None and progress_.state is State.QUEUED:
                self._futures.pop(run_id, None)
                self._end(run_id, State.STOPPED, "Taken out of the queue before it began.")
                if future is not None:
                    self._tell_workers(run_id, command)
                    future.cancel()
                return
        self._tell_workers(run_id, command)

    def progress(self, run: runs.Run) -> Progress:
        """How far a run is: live where it is under way, else as its folder says.

        A run that its folder calls unfinished but that no scheduler knows is INTERRUPTED.

        Raises:
            RunDamaged: if its folder can't be read.
        """
        live = self._progress.get(run.id)
        if live is not None and not live.state.is_over:
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

    def predict(self, run: runs.Run, epoch: int, images: np.ndarray, timeout: float = 2.0) -> np.ndarray:
        """Probabilities (n, 10) float32 of a run's network for images (n, 28, 28) uint8. Waits, up to `timeout` seconds.

        Raises:
            EngineNotReady: while TensorFlow loads, or where the answer takes longer.
            WorkerLost: if the worker died over it.
            RunDamaged: if the checkpoint can't be used.
        """
        from distributed.scheduler import KilledWorker

        self._require_ready()
        with self._lock:
            if self._actor is None:
                self._actor = self._client.submit(_Actor, actor=True, key=f"predictor-{time.time_ns()}")
            actor = self._actor
        try:
            answer = actor.result(timeout=timeout).answer(run.id, run.root, epoch, images).result(timeout=timeout)
        except TimeoutError:
            raise EngineNotReady("The network is still being loaded.") from None
        except (OSError, ValueError, RuntimeError, KilledWorker) as error:  # how an actor's lost worker shows itself
            with self._lock:
                if self._actor is actor:
                    self._actor = None
            raise WorkerLost(f"The worker was lost while it looked at the drawing ({error}). Try again.") from None
        return _unwrapped(answer)

    def evaluation(self, run: runs.Run, epoch: int) -> runs.Evaluation | None:
        """The test set's answers of a run's network; None while they are being computed, which the first call begins.

        Raises:
            EngineNotReady: while the engine starts and there is nothing to show yet.
            EngineError: if computing them failed.
        """
        key = (run.id, epoch)
        found = run.evaluation(epoch)
        if found is not None:
            self._evaluations.pop(key, None)
            return found
        self._require_ready()
        with self._lock:
            future = self._evaluations.get(key)
            if future is None:
                self._evaluations[key] = self._client.submit(
                    _in_worker, _evaluate, run.id, run.root, epoch, key=f"evaluate-{run.id}-{epoch}-{time.time_ns()}"
                )
                return None
            if not future.done():
                return None
            del self._evaluations[key]
        if future.status != "finished":
            raise WorkerLost("The worker was lost while it answered for the test set. Open the page again.")
        _unwrapped(future.result())
        return run.evaluation(epoch)

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            client, cluster = self._connect()
        except Exception as error:  # whatever it is, it belongs on the page, not in a dead thread
            logger.exception("the engine did not start")
            self._phase, self._message = Phase.FAILED, f"The engine did not start: {error}"
            return
        with self._lock:
            self._client, self._cluster, self._phase = client, cluster, Phase.WARMING
            for run_id in self._waiting():
                self._submit_training(run_id)
        threading.Thread(target=self._watch, name="engine-watch", daemon=True).start()

    def _connect(self):
        import dask
        from distributed import Client, LocalCluster
        from distributed.system import MEMORY_LIMIT

        dask.config.set(_DASK_CONFIG)
        if self._scheduler:
            return Client(self._scheduler, timeout=CONNECT_SECONDS, name="digitlab"), None
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
            memory_limit=int(MEMORY_LIMIT * MEMORY_SHARE),
            resources={"train": 1},
            local_directory=tempfile.mkdtemp(prefix="digitlab-"),
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
        self.start()
        if self._phase is Phase.FAILED:
            raise EngineError(self._message)
        if self._phase is not Phase.READY:
            raise EngineNotReady("The engine is still warming up: TensorFlow is being loaded.")

    def _waiting(self) -> list[str]:
        """Runs that were queued before there was a client to give them to."""
        return [
            run_id
            for run_id, progress_ in self._progress.items()
            if progress_.state is State.QUEUED and run_id not in self._futures
        ]

    def _submit_training(self, run_id: str) -> None:
        from distributed import fire_and_forget

        self._tell_workers(run_id, Command())
        self._client.subscribe_topic(_topic(run_id), lambda message: self._heard(run_id, message[1]))
        future = self._client.submit(
            _in_worker, _train, run_id, self._roots[run_id], key=_task(run_id), resources={"train": 1}, pure=False
        )
        fire_and_forget(future)
        self._futures[run_id] = future
        future.add_done_callback(lambda done: self._done(run_id, done))

    def _attach(self, run: runs.Run, recorded: Progress) -> None:
        """Follow a run that another process of ours gave to the scheduler."""
        with self._lock:
            self._progress[run.id], self._roots[run.id] = recorded, run.root
            for _, message in self._client.get_events(_topic(run.id)):
                event = progress.from_wire(message)
                if not (isinstance(event, progress.Advanced) and event.step <= recorded.step) and not (
                    isinstance(event, EpochEnded) and event.epoch <= len(recorded.history)
                ):
                    recorded.apply(event)
            self._client.subscribe_topic(_topic(run.id), lambda message: self._heard(run.id, message[1]))

    def _heard(self, run_id: str, message: dict) -> None:
        self._progress[run_id].apply(progress.from_wire(message))

    def _done(self, run_id: str, future) -> None:
        """A training's task has ended, in order or not. Runs on Dask's own thread."""
        with self._lock:
            if self._futures.get(run_id) is not future:
                return
            del self._futures[run_id]
        if future.status != "finished" and not self._progress[run_id].state.is_over:
            self._end(run_id, State.INTERRUPTED, "Its worker was lost in the middle: killed, or out of memory.")
            self._wake.set()

    def _end(self, run_id: str, state: State, message: str) -> None:
        with suppress(RunError):  # shown all the same; the folder says later that it was never finished
            runs.Run(run_id, self._roots[run_id]).write_state(state, message)
        self._progress[run_id].apply(StateChanged(state, message))

    def _tell_workers(self, run_id: str, command: Command) -> None:
        if self._client is None:
            raise EngineNotReady("There is no connection to the workers yet.")
        self._client.run(_set_command, run_id, command, on_error="ignore", wait=True)

    def _is_known_to_scheduler(self, run_id: str) -> bool:
        if run_id in self._futures or (run_id in self._progress and not self._progress[run_id].state.is_over):
            return True
        if self._client is None or not self._scheduler:
            return False
        return self._client.run_on_scheduler(_knows_task, key=_task(run_id))

    def _watch(self) -> None:
        from distributed.comm import CommClosedError

        while not self._is_closing:
            self._wake.clear()
            client = self._client
            try:
                if client is not None and client.status == "running":
                    self._look_after(client, client.scheduler_info(n_workers=-1)["workers"])
            except (CommClosedError, TimeoutError, RuntimeError) as error:  # the scheduler is away: look again later
                self._message = f"The scheduler doesn't answer: {error}"
            self._wake.wait(WATCH_SECONDS)

    def _look_after(self, client: Client, workers: dict[str, dict]) -> None:
        """Warm workers that are new, notice when none is left, and restart an idle one that has grown."""
        for worker in workers.keys() - self._workers.keys():
            self._warm_up(worker)
        with self._lock:
            self._workers = workers
            self._warm_workers &= workers.keys()
            if self._phase is Phase.READY and not self._warm_workers:
                self._actor, self._phase, self._message = None, Phase.WARMING, "The worker is being restarted."
            is_evaluating = any(not future.done() for future in self._evaluations.values())
            is_idle = not self._futures and not is_evaluating and self._phase is Phase.READY
        memory = max((worker.get("metrics", {}).get("memory", 0) for worker in workers.values()), default=0)
        if self._cluster is not None and is_idle and memory > RECYCLE_ABOVE_BYTES:
            with self._lock:
                self._actor, self._phase, self._message = None, Phase.WARMING, "The worker is being restarted."
                self._warm_workers.clear()
            client.restart_workers(list(workers), raise_for_error=False)


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


def _set_command(run_id: str, command: Command) -> None:
    _commands[run_id] = command


def _warm_up() -> None:
    # Keras tries to import these where they are installed, for adapters that nothing here uses: hidden while it loads,
    # they don't cost a third of its start and 130 MB. They import as usual afterwards.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    hidden = [name for name in ("sklearn", "pandas", "matplotlib") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        import keras  # noqa: F401  (loaded for what follows)
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    # Each run compiles functions of its own, which TensorFlow takes for one function compiled too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from core import model

    model.warm_up()


class _Actor:
    """The predictor behind `_in_worker`: one prediction at a time, beside the worker's tasks."""

    def __init__(self) -> None:
        from core.predictor import Predictor

        self._predictor = Predictor()

    def answer(self, *arguments: Any) -> np.ndarray | _Failure:
        return _in_worker(self._predictor.probabilities, *arguments)


def _evaluate(run_id: str, root: str, epoch: int) -> None:
    from core import predictor

    predictor.evaluate(run_id, root, epoch)


def _train(run_id: str, root: str) -> None:
    """Train a run to its end in this worker, sending its events and keeping its folder."""
    from distributed import get_worker

    worker, topic, run = get_worker(), _topic(run_id), runs.Run(run_id, root)
    record = run.progress()

    def send(event: Event) -> None:
        worker.log_event(topic, progress.to_wire(event))

    def keep(checkpoint: runs.Checkpoint) -> None:
        run.write_epoch(record, checkpoint)
        send(record.history[-1])

    def tell(event: Event) -> None:
        record.apply(event)
        if isinstance(event, EpochEnded):
            return  # it is sent when its checkpoint can be read: whoever hears of it may ask for its network
        try:
            match event:
                case StateChanged():
                    run.write_state(event.state, event.message)
                case progress.Started():
                    run.write_state(State.RUNNING, steps_per_epoch=event.steps_per_epoch)
        finally:  # a full disk must not keep the screen from hearing of it
            send(event)

    try:
        tell(StateChanged(State.RUNNING))
        _warm_up()
        from core import data, training

        network, state = training.train(
            run.experiment(),
            data.load(),
            tell,
            read_command=lambda: _commands.get(run_id, Command()),
            on_checkpoint=keep,
            resume_from=run.last_checkpoint(),
            history=tuple(record.history),
        )
        if run.epochs():
            with tempfile.TemporaryDirectory() as folder:
                network.save(Path(folder, "model.keras"))
                run.write_keras_file(Path(folder, "model.keras").read_bytes())
        tell(StateChanged(state))
    except DigitLabError as error:
        tell(StateChanged(State.FAILED, str(error)))
        raise
    except Exception as error:
        tell(StateChanged(State.FAILED, f"{type(error).__name__}: {str(error)[:500]}"))
        raise
    finally:
        _commands.pop(run_id, None)
