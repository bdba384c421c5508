"""Orders to the workers: pause, step, go on, stop. The caller waits a moment at most; a worker that doesn't answer yet
gets the order again in the background until it has taken it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from core.engine import worker
from core.engine.cluster import Cluster
from core.errors import EngineNotReady
from core.runs.progress import Command

TELL_SECONDS = 0.5  # that whoever gives an order waits for a worker to take it
RETRY_SECONDS = 1.0  # until an order that no worker took is told again


class Orders:
    """The sender of orders to all workers, by run or question, in the order in which they are given."""

    def __init__(self, cluster: Cluster, is_over: Callable[[str], bool]) -> None:
        self._cluster, self._is_over = cluster, is_over
        # An order that some worker hasn't taken yet, with the fields it changes, none for all.
        self._untold: dict[str, tuple[Command, tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def is_untold(self, name: str) -> bool:
        """Return whether some worker hasn't taken yet what was changed last; what a run begins with goes with the run itself, too."""
        return bool(self._untold.get(name, (None, ()))[1])

    def tell(self, name: str, command: Command, changed: tuple[str, ...] = ()) -> None:
        """Send an order to all workers.

        A worker that hasn't taken it after a moment gets it again in the background, together with what is ordered
        meanwhile.

        Args:
            name: of the run or question.
            command: the order.
            changed: names of the fields that it changes; all if empty.

        Raises:
            EngineNotReady: if there is no connection to the workers yet.
        """
        if self._cluster.client is None:
            raise EngineNotReady("There is no connection to the workers yet.")
        with self._lock:
            is_being_told = name in self._untold
            _, untold = self._untold.get(name, (command, changed))
            self._untold[name] = command, tuple({*untold, *changed}) if untold and changed else ()
        if not is_being_told:
            # A daemon: one that waits for a worker must not keep the server from ending.
            telling = threading.Thread(target=self._tell_until_taken, args=(name,), name="engine-tell", daemon=True)
            telling.start()
            telling.join(TELL_SECONDS)

    def _tell_until_taken(self, name: str) -> None:
        while not self._cluster.is_closing:
            order = self._untold[name]
            is_taken = self._is_taken(name, *order)
            with self._lock:
                if self._untold[name] is order and (is_taken or self._is_over(name)):
                    del self._untold[name]
                    return
            if not is_taken:
                time.sleep(RETRY_SECONDS)

    def _is_taken(self, name: str, command: Command, changed: tuple[str, ...]) -> bool:
        """Return whether all workers, and at least one, took an order; waits as long as one takes to answer, or to be given up."""
        client = self._cluster.client
        if client is None:
            return False
        with suppress(OSError, TimeoutError, RuntimeError):  # the connection is away, or closed for good
            # A coroutine in an asynchronous client alone.
            answers = cast(dict, client.run(worker.set_command, name, command, changed, on_error="return"))
            return bool(answers) and not any(isinstance(answer, Exception) for answer in answers.values())
        return False
