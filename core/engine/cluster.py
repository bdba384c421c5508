"""The life cycle of the workers: start, warm-up, watch, restart, end.

Embedded (the default) is a local cluster of one worker process with two threads, on loopback with TLS. With a
scheduler's address the same code uses a cluster that is there already.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from functools import cache
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from core.data import datasets
from core.engine import worker
from core.engine.scratch import Scratch
from core.errors import DataError, EngineError, EngineNotReady

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

logger = logging.getLogger("digitlab.engine")

THREADS_PER_WORKER = 2
MEMORY_SHARE = 0.65  # of what this machine or container has, for the embedded worker
RESTART_ABOVE_BYTES = (
    1_300_000_000  # Keras leaks some 14 MB a run; a worker this large is restarted where it has nothing to do
)
QUIET_SECONDS = 60.0  # since the last question; a restart, which takes ten seconds, disturbs nobody then
CROWDED = 0.85  # of the memory limit: beyond this a worker is restarted in the next gap between two questions
CONNECT_SECONDS = 30
SILENT_SECONDS = 15.0  # without a sign of life, after which a worker is said to be silent
WATCH_SECONDS = 2.0
RESTARTING = "The worker is being restarted."

_DASK_CONFIG = {
    # A task whose worker died fails at once; it is never restarted unnoticed.
    "distributed.scheduler.allowed-failures": 0,
    # By the wall clock, five minutes of a laptop's sleep are five minutes unheard of: the worker would be restarted on waking, in
    # the middle of its run. One that died is noticed by its closed connection.
    "distributed.scheduler.worker-ttl": None,
    # The cluster gives up on a worker that restarts while another restart is under way; it always comes back here.
    "distributed.deploy.lost-worker-timeout": "365d",
    # The statistical profiler costs a second of TensorFlow's start and 130 MB.
    "distributed.worker.profile.enabled": False,
    # Pausing would make new tasks wait without a message; over its limit the worker is killed instead, and the page says so.
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    # Dask opens an HTTP port in any case; embedded, it is on loopback and serves nothing.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class Phase(StrEnum):
    """The state of the engine."""

    OFF = "off"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    FAILED = "failed"


class Cluster:
    """The workers, from their start to their end. Its methods may be called from any thread."""

    def __init__(self, scheduler: str | None, lock: threading.RLock, on_watch: Callable[[], None]) -> None:
        self._scheduler, self._lock, self._on_watch = scheduler, lock, on_watch
        self.phase, self.message = Phase.OFF, ""
        self.client: Client | None = None
        self.local: LocalCluster | None = None
        self.workers: dict[str, dict] = {}
        self.asked_at = time.monotonic()
        self.is_closing = False
        self.scratch: Scratch | None = None  # the embedded worker's
        self._warm: set[str] = set()
        self._warming: set[Any] = set()  # a future nobody holds is forgotten by the scheduler
        self._actor = None
        self._wake = threading.Event()

    # -- start and end ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to start, in the background; does nothing where that is under way."""
        with self._lock:
            if self.phase in (Phase.OFF, Phase.FAILED):
                self.phase, self.message = Phase.STARTING, ""
                threading.Thread(target=self._start, name="engine-start", daemon=True).start()

    def close(self) -> None:
        """Let go of the client and, if embedded, end the worker. Waits for it."""
        self.is_closing = True
        self._wake.set()
        with self._lock:
            client, local, self.client, self.local = self.client, self.local, None, None
            scratch, self.scratch, self.phase = self.scratch, None, Phase.OFF
        if client is not None:
            client.close(timeout=5)
        if local is not None:
            local.close(timeout=10)
        if scratch is not None:
            scratch.close()

    def wake(self) -> None:
        """Make the watching thread look at once."""
        self._wake.set()

    @property
    def is_own(self) -> bool:
        """True if its worker is this process' own, to which nobody else gives work."""
        return self.local is not None

    @property
    def is_foreign(self) -> bool:
        """True if it is a cluster that other servers use as well."""
        return bool(self._scheduler)

    @property
    def memory(self) -> int:
        """Resident memory of all workers, bytes."""
        return sum(self._memory_of_each())

    def _memory_of_each(self) -> list[int]:
        return [one.get("metrics", {}).get("memory", 0) for one in self.workers.values()]

    def complaint(self) -> str:
        """Return what is wrong, in a sentence; empty where nothing is."""
        if self.workers and not any("train" in one.get("resources", {}) for one in self.workers.values()):
            return "No worker takes trainings: start one with --resources train=1."
        return (silence(self.workers) if self.is_own and self.phase is Phase.READY else "") or self.message

    def require_ready(self) -> None:
        """Note that something is wanted of a worker, and begin to start where that is needed.

        Raises:
            EngineNotReady: while it starts.
            EngineError: if it did not start.
        """
        self.asked_at = time.monotonic()
        self.start()
        if self.phase is Phase.FAILED:
            raise EngineError(self.message)
        if self.phase is not Phase.READY:
            raise EngineNotReady("The engine is still warming up: TensorFlow is being loaded.")

    @property
    def connection(self) -> Client:
        """Return the connection to the scheduler.

        Raises:
            EngineNotReady: where there is none, yet or any more.
        """
        if self.client is None:
            raise EngineNotReady("There is no connection to the workers.")
        return self.client

    # -- the actor -------------------------------------------------------------------------------------------------------

    def actor(self) -> Any:
        """Return the future of the actor that answers quick questions, which is made where there is none."""
        with self._lock:
            if self._actor is None:
                self._actor = self.connection.submit(worker.Actor, actor=True, key=f"predictor-{time.time_ns()}")
            return self._actor

    def forget_actor(self, actor: Any) -> None:
        """Forget an actor that is lost, so that another one is made."""
        with self._lock:
            if self._actor is actor:
                self._actor = None

    # -- watching --------------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Take the scheduler's list of workers, and warm new ones; return False while the connection is being closed or has been
        lost, when it says nothing at all.

        Raises:
            What `unreachable` returns: if the scheduler is away.
        """
        client = self.client
        if client is None or client.status != "running":
            return False
        self.take(client.scheduler_info(n_workers=-1).get("workers", {}))
        return True

    def take(self, workers: dict[str, dict]) -> None:
        """Warm workers that are new, and notice when none is left."""
        for address in workers.keys() - self.workers.keys():
            self._warm_up(address)
        with self._lock:
            self.workers = workers
            self._warm &= workers.keys()
            if self.phase is Phase.READY and not self._warm:
                self._actor, self.phase, self.message = None, Phase.WARMING, RESTARTING

    def is_time_to_restart(self, is_awaited: bool) -> bool:
        """Return whether an idle worker has grown so much that it should begin anew: between two runs of the queue, when nobody has
        asked anything for a while, or before it is killed.

        Args:
            is_awaited: whether a run waits for it.
        """
        if not self.is_own or self.phase is not Phase.READY:
            return False
        memory = max(self._memory_of_each(), default=0)
        is_quiet = time.monotonic() - self.asked_at >= QUIET_SECONDS
        return memory > RESTART_ABOVE_BYTES and (is_awaited or is_quiet or self.is_crowded)

    @property
    def is_crowded(self) -> bool:
        """Return whether a worker will soon be killed for its size."""
        return max(self._memory_of_each(), default=0) > CROWDED * _memory_limit()

    def begin_restart(self) -> None:
        """Stop asking the workers anything until they have restarted, see `restart`."""
        with self._lock:
            self._actor, self.phase, self.message = None, Phase.WARMING, RESTARTING
            self._warm.clear()

    def restart(self) -> None:
        """Restart the workers."""
        if (client := self.client) is not None:  # it may be closed at any moment
            client.restart_workers(list(self.workers), raise_for_error=False)

    def _watch(self) -> None:
        while not self.is_closing:
            self._wake.clear()
            self._on_watch()
            self._wake.wait(WATCH_SECONDS)

    def _start(self) -> None:
        try:
            client, local = self._connect()
        except Exception as error:  # whatever it is, it belongs on the page, not in a dead thread
            if self.is_closing:
                return
            logger.exception("the engine did not start")
            self.phase, self.message = Phase.FAILED, f"The engine did not start: {error}"
            return
        with self._lock:
            self.client, self.local, self.phase = client, local, Phase.WARMING
            if self.is_closing:  # it was closed before there was anything to close
                self.close()
                return
        threading.Thread(target=self._watch, name="engine-watch", daemon=True).start()
        with suppress(DataError):  # the pages that need it say so
            datasets.load()  # what questions are about

    def _connect(self) -> tuple[Client, LocalCluster | None]:
        import dask.config  # takes a second to load, for which the first page need not wait
        from distributed import Client, LocalCluster  # takes a second to load, for which the first page need not wait

        dask.config.set(_DASK_CONFIG)
        if self._scheduler:
            return Client(self._scheduler, timeout=CONNECT_SECONDS, name="digitlab"), None
        self.scratch = self.scratch or Scratch()
        dask.config.set({"temporary-directory": str(self.scratch.path)})  # the scheduler's, and the worker's
        _keep_interrupts_here()
        local = LocalCluster(
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
            env={"TMPDIR": str(self.scratch.path)},
            preload=["core.engine.worker_log"],
            silence_logs=logging.ERROR,
        )
        return Client(local), local

    def _warm_up(self, address: str) -> None:
        """Let a worker load TensorFlow; the engine is ready when the first has."""
        if (client := self.client) is None:
            return
        future = client.submit(
            worker.in_worker,
            None,
            worker.warm_up,
            workers=[address],
            allow_other_workers=False,
            pure=False,
            priority=-10,
        )

        def is_warm(done: Any) -> None:
            with self._lock:
                self._warming.discard(done)
                if done.status == "finished" and self.client is not None:
                    self._warm.add(address)
                    self.phase, self.message = Phase.READY, ""

        self._warming.add(future)
        future.add_done_callback(is_warm)


def unreachable() -> tuple[type[Exception], ...]:
    """Return what is raised where the scheduler is away."""
    from distributed.client import ClosedClientError  # takes a second to load, for which the first page need not wait
    from distributed.comm.core import CommClosedError  # takes a second to load, for which the first page need not wait

    return ClosedClientError, CommClosedError, TimeoutError, RuntimeError


def silence(workers: dict[str, dict]) -> str:
    """Say that the workers on this machine, whose clock the scheduler has too, give no sign of life; nothing where they do."""
    silent = time.time() - max((one.get("last_seen", math.inf) for one in workers.values()), default=math.inf)
    return f"The worker hasn't answered for {silent:.0f} seconds." if silent > SILENT_SECONDS else ""


def _memory_limit() -> int:
    """Return the bytes that the embedded worker may take before it is killed."""
    from distributed.system import MEMORY_LIMIT  # takes a second to load, for which the first page need not wait

    return int(MEMORY_LIMIT * MEMORY_SHARE)


@cache
def _keep_interrupts_here() -> None:
    """Block Ctrl+C for processes and threads that this thread starts from now on.

    A terminal sends it to a whole process group: a worker would answer with a traceback, though it is about to be
    ended.
    """
    if hasattr(signal, "pthread_sigmask"):
        resource_tracker.ensure_running()  # else it is started with the first worker, and its start unblocks the signal again
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
