"""Questions to workers that the test itself plays."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.data import datasets
from core.engine import worker
from core.engine.cluster import Phase
from core.errors import EngineError, EngineNotReady, NotExplainable, RunDamaged, SpecError, WorkerLost
from core.model.specs import Augmentation, Experiment
from core.runs import registry
from core.runs.progress import State, StateChanged, to_wire
from core.runs.question import KEPT, Kept, Question, Tell
from core.runs.run import Run
from core.training.questions import Augment, FindRange, TimeEpoch
from tests.core.engine.engines import LONG, PATIENCE, SMALL, blank, predict, until


def test_predicting_before_the_engine_is_ready_is_refused_with_a_reason(offline, root):
    with pytest.raises(EngineNotReady, match="TensorFlow"):
        predict(offline, Run("a" * 16, root), 1, blank())


class TestAnswers:
    """Questions to workers that the test itself plays."""

    @pytest.fixture
    def submitted(self, offline):
        """The futures of what was asked, in order; the engine is ready."""
        futures = []

        def submit(*task, **options):
            future = SimpleNamespace(status="pending", done=lambda: future.status != "pending", result=None)
            futures.append(future)
            return future

        offline.cluster.client = SimpleNamespace(
            submit=submit, subscribe_topic=lambda *topic: None, close=lambda timeout: None
        )
        offline.cluster.phase = Phase.READY
        return futures

    @staticmethod
    def end(future, status, answer=None):
        future.status, future.result = status, lambda: answer

    def test_are_computed_once_for_equal_questions(self, offline, submitted):
        ask = lambda: offline.ask(TimeEpoch(Experiment.model_validate(SMALL.model_dump())))  # noqa: E731

        assert [ask(), ask(), ask()] == [None] * 3
        self.end(submitted[0], "finished", 2.5)
        assert [ask(), ask()] == [2.5, 2.5]
        assert offline.ask(TimeEpoch(LONG)) is None
        assert len(submitted) == 2

    def test_are_begun_anew_after_they_failed(self, offline, submitted):
        assert offline.ask(FindRange(SMALL)) is None
        self.end(submitted[0], "finished", worker.Failure(SpecError("It can't be built.")))
        with pytest.raises(SpecError, match=r"It can't be built\."):
            offline.ask(FindRange(SMALL))
        assert offline.ask(FindRange(SMALL)) is None
        self.end(submitted[1], "error")
        with pytest.raises(WorkerLost):
            offline.ask(FindRange(SMALL))
        assert offline.ask(FindRange(SMALL)) is None
        self.end(submitted[2], "finished", "a range")
        assert offline.ask(FindRange(SMALL)) == "a range"

    def test_only_the_last_ones_are_kept(self, offline, submitted, monkeypatch):
        monkeypatch.setattr(offline.questions._answers, "most", 2)
        for seed in range(3):
            offline.ask(Augment(Augmentation(), (0,), (seed,)))
            self.end(submitted[seed], "finished", f"images {seed}")
            offline.ask(Augment(Augmentation(), (0,), (seed,)))

        assert [offline.ask(Augment(Augmentation(), (0,), (seed,))) for seed in (1, 2, 0)] == [
            "images 1",
            "images 2",
            None,
        ]

    def test_one_that_is_forgotten_while_it_is_asked_for_is_found_again(self, offline, submitted):
        class Forgetful(dict):
            def __contains__(self, key):
                is_known = super().__contains__(key)
                self.pop(key, None)
                return is_known

        first, second = FindRange(SMALL), TimeEpoch(SMALL)
        offline.questions._answers = Forgetful({first: "answers", second: "lines"})

        assert offline.ask(first) == "answers"
        assert offline.ask(second) == "lines"

    def test_nothing_is_timed_while_something_trains(self, offline, submitted, root):
        run = registry.create(SMALL, "test", root)
        offline.trainings._progress[run.id] = run.progress()
        offline.trainings._heard(run.id, to_wire(StateChanged(State.RUNNING)))

        with pytest.raises(EngineNotReady, match="as soon as nothing trains"):
            offline.ask(TimeEpoch(SMALL))
        assert submitted == []


class PlayedWorker:
    """A Dask client whose one worker is this process: it works on what was submitted when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple] = []
        self.begun: list[Question] = []
        self.listeners: dict[str, Callable] = {}

    def submit(self, function: Callable, *task: Any, actor: bool = False, **options: Any) -> SimpleNamespace:
        if actor:
            return SimpleNamespace(result=lambda timeout: self)
        future = SimpleNamespace(status="pending", done=lambda: future.status != "pending")
        self.waiting.append((future, function, task))
        self.begun += [part for part in task if isinstance(part, Question)]
        return future

    def answer(self, dataset: datasets.DatasetId | None, question: Question) -> SimpleNamespace:
        found = worker.Actor().answer(dataset, question)
        return SimpleNamespace(result=lambda timeout: found)

    def work(self) -> None:
        """Do what has waited longest."""
        future, function, task = self.waiting.pop(0)
        found = function(*task)
        future.result, future.status = lambda: found, "finished"

    def run(self, function: Callable, *arguments: Any, on_error: str) -> dict:
        return {"here": function(*arguments)}

    def log_event(self, topic: str, message: Any) -> None:
        if topic in self.listeners:
            self.listeners[topic]((0.0, message))

    def subscribe_topic(self, topic: str, listener: Callable) -> None:
        self.listeners[topic] = listener

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def played(offline, monkeypatch) -> PlayedWorker:
    """The worker of the engine that never gets to one."""
    made = PlayedWorker()
    monkeypatch.setattr("distributed.get_worker", lambda: made)
    monkeypatch.setattr(worker, "warm_up", lambda: None)
    monkeypatch.setattr(worker, "_commands", {})
    offline.cluster.client, offline.cluster.phase = made, Phase.READY
    return made


STORE: dict[str, Any] = {}  # what questions keep


@dataclass(frozen=True)
class Stored(Question):
    """Keep a text, and find it again; an error that is kept is raised."""

    name: str
    found: Any = "an answer"

    def kept(self) -> Any:
        kept = STORE.get(self.name)
        if isinstance(kept, Exception):
            raise kept
        return kept

    def work(self, tell: Tell) -> Kept:
        STORE[self.name] = self.found
        return KEPT


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    STORE.clear()


class TestAnyQuestion:
    def test_that_is_new_is_asked_without_a_line_in_the_engine(self, offline, played):
        @dataclass(frozen=True)
        class Add(Question):
            """Add numbers, telling how far it is."""

            numbers: tuple[int, ...]

            def work(self, tell: Tell) -> int:
                for place, _ in enumerate(self.numbers):
                    tell(place / len(self.numbers))
                    shares.append(offline.share(self))
                return sum(self.numbers)

        shares: list[float] = []

        assert offline.ask(Add((1, 2, 3, 4))) is None
        assert offline.ask(Add((1, 2, 3, 4))) is None
        played.work()

        assert offline.ask(Add((1, 2, 3, 4))) == offline.ask(Add((1, 2, 3, 4))) == 10
        assert played.begun == [Add((1, 2, 3, 4))]
        assert shares == [0, 0.25, 0.5, 0.75]
        assert offline.share(Add((1, 2, 3, 4))) == 0
        assert offline.questions._shares == {}
        assert offline.wait(Add((5, 6))) == 11

    def test_that_is_cancelled_ends_at_its_next_word_and_can_be_asked_anew(self, offline, played):
        told: list[float] = []

        @dataclass(frozen=True)
        class Endless(Question):
            def work(self, tell: Tell) -> int:
                for share in np.linspace(0, 1, 5):
                    tell(share)
                    told.append(share)
                    if share == 0.25:
                        offline.cancel(self)
                return 1

        assert offline.ask(Endless()) is None
        played.work()

        assert told == [0, 0.25]
        assert worker._commands == {}
        assert offline.share(Endless()) == 0
        assert offline.ask(Endless()) is None
        assert played.begun == [Endless(), Endless()]

    def test_that_nobody_asked_is_not_cancelled(self, offline, played):
        offline.cancel(Stored("a"))

        assert worker._commands == {}

    def test_that_can_not_be_explained_is_asked_once(self, offline, played):
        @dataclass(frozen=True)
        class Hopeless(Question):
            def work(self, tell: Tell) -> int:
                raise NotExplainable("Nothing can be told about it.")

        assert offline.ask(Hopeless()) is None
        played.work()
        raised = []
        for _ in range(5):
            with pytest.raises(NotExplainable, match="Nothing can be told") as refusal:
                offline.ask(Hopeless())
            raised.append(len(refusal.traceback))

        assert len(set(raised)) == 1  # nothing of earlier pages hangs on it
        assert len(played.begun) == 1

    def test_that_two_threads_ask_is_begun_once_though_its_answer_takes_a_while_to_arrive(self, offline, played):
        arriving, may_arrive = threading.Event(), threading.Event()

        def arrive() -> int:
            arriving.set()
            assert may_arrive.wait(PATIENCE)
            return 7

        question = Stored("slow")
        assert offline.ask(question) is None
        future, *_ = played.waiting.pop()
        future.result, future.status = arrive, "finished"
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(offline.ask, question)
            assert arriving.wait(PATIENCE)
            second = threads.submit(offline.ask, question)
            until(lambda: second.running() or second.done())
            may_arrive.set()

            assert [first.result(PATIENCE), second.result(PATIENCE)] == [7, 7]
        assert played.begun == [question]

    def test_about_digits_that_are_no_longer_in_use_is_forgotten(self, offline, played, dataset, monkeypatch):
        monkeypatch.setattr(datasets, "_loaded", dataset)
        answered, under_way = FindRange(SMALL), FindRange(LONG)
        offline.questions._answers[answered] = "a range"
        assert offline.ask(answered) == "a range"
        assert offline.ask(under_way) is None

        other = replace(dataset, x_test=255 - dataset.x_test)
        monkeypatch.setattr(datasets, "_loaded", other)

        assert offline.ask(answered) is None
        assert offline.ask(under_way) is None
        assert played.begun == [under_way, answered, under_way]
        assert len(offline.questions._shares) == 2
        assert len(played.listeners) == 1


class TestKeptAnswers:
    def test_are_given_without_asking_a_worker_or_waiting_for_one(self, offline, played):
        offline.cluster.phase = Phase.WARMING
        STORE["a"] = "kept"

        assert offline.ask(Stored("a")) == "kept"
        assert played.begun == []
        with pytest.raises(EngineNotReady):
            offline.ask(Stored("b"))

    def test_are_read_where_the_worker_left_them_and_not_held_here(self, offline, played):
        assert offline.ask(Stored("a")) is None
        played.work()
        assert offline.ask(Stored("a")) == "an answer"

        STORE["a"] = "another"
        assert offline.ask(Stored("a")) == "another"
        del STORE["a"]
        assert offline.ask(Stored("a")) is None
        assert len(played.begun) == 2

    @pytest.mark.parametrize("is_damaged_at_once", [True, False])
    def test_that_are_damaged_are_found_again(self, offline, played, is_damaged_at_once):
        assert offline.ask(Stored("a")) is None
        played.work()
        if not is_damaged_at_once:
            assert offline.ask(Stored("a")) == "an answer"
        STORE["a"] = RunDamaged("It can't be read.")
        while len(played.begun) < 2:
            assert offline.ask(Stored("a")) is None
        played.work()

        assert offline.ask(Stored("a")) == "an answer"

    def test_to_other_digits_than_those_here_are_said_to_be_so(self, offline, played):
        assert offline.ask(Stored("a", found=None)) is None
        played.work()

        with pytest.raises(EngineError, match="answered for other images than those that are loaded here"):
            offline.ask(Stored("a", found=None))

    def test_are_not_looked_for_while_they_are_being_found(self, offline, played):
        assert offline.ask(Stored("a")) is None
        STORE["a"] = AssertionError("looked for")

        assert offline.ask(Stored("a")) is None


class TestWaiting:
    @pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError])
    def test_for_a_worker_that_is_lost_says_so_and_the_next_one_is_asked(self, offline, played, monkeypatch, error):
        def fail(dataset: Any, question: Question) -> None:
            raise error("gone")

        actors = []
        monkeypatch.setattr(played, "answer", fail)
        submit = played.submit
        monkeypatch.setattr(
            played, "submit", lambda *task, **options: actors.append(task[0]) or submit(*task, **options)
        )

        for _ in range(2):
            with pytest.raises(WorkerLost, match="gone"):
                offline.wait(Stored("a"))

        assert actors == [worker.Actor] * 2
        assert not offline.questions.are_under_way

    def test_longer_than_it_may_leaves_the_worker_as_it_is(self, offline, played, monkeypatch):
        def late(dataset: Any, question: Question) -> None:
            raise TimeoutError

        monkeypatch.setattr(played, "answer", late)
        with pytest.raises(EngineNotReady, match="still being loaded"):
            offline.wait(Stored("a"))
        monkeypatch.undo()

        assert offline.cluster._actor is not None
        assert not offline.questions.are_under_way

    def test_raises_what_the_question_does(self, offline, played):
        class Refused(Question):
            def work(self, tell: Tell) -> None:
                raise SpecError("It can't be built.")

        with pytest.raises(SpecError, match="can't be built"):
            offline.wait(Refused())
