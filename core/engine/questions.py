"""Questions to the workers: asked once, waited for, shared, cancelled. Each is defined in the room it belongs to, see
`core.runs.question`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from core.data import datasets
from core.engine import worker
from core.engine.cluster import Cluster
from core.engine.newest import Newest
from core.errors import EngineError, EngineNotReady, NotExplainable, RunDamaged, WorkerLost
from core.runs.question import KEPT, Question

MOST_ANSWERS = 300


class Questions:
    """The questions under way, and the last answers. Its methods may be called from any thread."""

    def __init__(
        self, cluster: Cluster, lock: threading.RLock, tell: Callable[[str], None], is_busy: Callable[[], bool]
    ) -> None:
        self._cluster, self._lock, self._tell, self._is_busy = cluster, lock, tell, is_busy
        self._futures: dict[Question, Any] = {}
        self._answers: Newest[Question, Any] = Newest(MOST_ANSWERS)
        self._tickets: dict[Question, str] = {}  # of those under way
        self._shares: dict[str, float] = {}  # by ticket
        # Where workers tell the shares. One for all of them: the scheduler never forgets a topic.
        self._topic, self._is_listening = f"digitlab-questions-{time.time_ns()}", False
        self._waiting = 0  # for the actor
        self._dataset: datasets.DatasetId | None = None  # the data set that the answers are about

    @property
    def are_under_way(self) -> bool:
        """True if a question is under way."""
        return self._waiting > 0 or any(not future.done() for future in self._futures.values())

    def ask(self, question: Question) -> Any:
        """Return the answer; None while it is being found, which the first call begins."""
        self._forget_other_digits()
        answer, is_under_way = self._answers.get(question), question in self._futures
        if answer is None and not is_under_way:
            answer = self._kept(question)
        if answer is None:
            answer = self._found(question, is_under_way)
        if answer is KEPT:
            return self._just_kept(question)
        if isinstance(answer, NotExplainable):
            raise answer.with_traceback(None)  # or it would hold on to every page that it was raised on
        return answer

    def wait(self, question: Question, timeout: float) -> Any:
        """Return the answer of the actor, which takes one question after the other."""
        from distributed.scheduler import KilledWorker  # takes a second to load, for which the first page need not wait

        with self._lock:
            self._cluster.require_ready()
            actor = self._cluster.actor()
            self._waiting += 1
        try:
            asked = actor.result(timeout=timeout).answer(datasets.chosen(), question)
            answer = asked.result(timeout=timeout)
        except TimeoutError:
            raise EngineNotReady("The network is still being loaded.") from None
        except (OSError, ValueError, RuntimeError, KilledWorker) as error:  # raised when an actor's worker is lost
            self._cluster.forget_actor(actor)
            raise WorkerLost(f"The worker was lost while it looked at the drawing ({error}). Try again.") from None
        finally:
            with self._lock:
                self._waiting -= 1
        return worker.unwrapped(answer)

    def share(self, question: Question) -> float:
        """Return how much of a question is done, 0..1."""
        return self._shares.get(self._tickets.get(question, ""), 0.0)

    def cancel(self, question: Question) -> None:
        """End a question, whoever asked it; nothing where it isn't under way. To ask it again is to begin anew."""
        with self._lock:
            ticket = self._tickets.get(question)
            if ticket is None:
                return
            self._futures.pop(question, None)
            self._forget(question)
        self._tell(ticket)

    def forget(self, question: Question) -> None:
        """Let go of an answer: it is of use no more."""
        self._answers.pop(question, None)

    def _kept(self, question: Question) -> Any:
        with suppress(RunDamaged):  # what can't be read is found again
            return question.kept()
        return None

    def _just_kept(self, question: Question) -> Any:
        """Return the answer that a worker says it has kept; None where it can't be read, so that it is found again."""
        with suppress(RunDamaged):
            answer = question.kept()
            if answer is None:
                raise EngineError(
                    "The worker answered for other images than those that are loaded here. Let DIGITLAB_MNIST name the same file "
                    "for both, and start them again."
                )
            return answer
        return None

    def _found(self, question: Question, was_under_way: bool) -> Any:
        """Return what was found out in a worker; None while it is at it, which the first call makes it be."""
        with self._lock:
            self._cluster.require_ready()
            future = self._futures.get(question)
            if future is None:
                answer = self._answers.get(question)
                if answer is None and not was_under_way:  # else another thread has just ended it
                    self._begin(question)
                return answer
        if not future.done():
            return None
        answer = None
        try:  # it stays under way until its answer is here: who asks meanwhile doesn't begin it again
            answer = _answer_of(future)
        finally:
            self._end(question, future, answer)
        return answer

    def _begin(self, question: Question) -> None:
        if question.needs_quiet and self._is_busy():
            raise EngineNotReady("Measured as soon as nothing trains.")
        client, ticket = self._cluster.connection, f"{self._topic}-{time.time_ns()}"
        if not self._is_listening:
            client.subscribe_topic(self._topic, self._hear)
            self._is_listening = True
        self._tickets[question], self._shares[ticket] = ticket, 0.0
        task = (datasets.chosen(), worker.work, question, self._topic, ticket)
        self._futures[question] = client.submit(worker.in_worker, *task, pure=False)

    def _hear(self, event: tuple[float, tuple[str, float]]) -> None:
        """Take a share that a worker tells. Runs on Dask's own thread, which must not wait for a lock."""
        _, (ticket, share) = event
        if ticket in self._shares:  # else the question was cancelled
            self._shares[ticket] = share

    def _end(self, question: Question, future: Any, answer: Any) -> None:
        """Let go of a question that is no longer under way, and remember its answer, unless that is None or kept elsewhere."""
        with self._lock:
            if self._futures.get(question) is not future:  # cancelled, of other digits, or ended by another thread
                return
            del self._futures[question]
            self._forget(question)
            if answer is None or answer is KEPT:
                return
            self._answers[question] = answer

    def _forget(self, question: Question) -> None:
        self._shares.pop(self._tickets.pop(question, ""), None)

    def _forget_other_digits(self) -> None:
        """Let go of answers to the images of a data set that is no longer the one in use, and of questions about them."""
        with self._lock:
            before, self._dataset = self._dataset, datasets.chosen()
            if before not in (None, self._dataset):
                self._answers.clear()
                self._futures.clear()
                for question in tuple(self._tickets):
                    self._forget(question)


def _answer_of(future: Any) -> Any:
    """Return what a question that is done found, or that it can't be explained, which is an answer like others: not looked for
    again.

    Raises:
        WorkerLost: if its worker was.
        DigitLabError: whatever else it raised.
    """
    if future.status != "finished":
        raise WorkerLost("The worker was lost over it. Try again.")
    try:
        return worker.unwrapped(future.result())
    except NotExplainable as error:
        return error
