"""Orders to workers that don't answer: nobody waits for them, and they are taken in the end."""

import threading

import pytest

from core.engine import orders
from core.runs import registry
from core.runs.progress import Command, State, StateChanged, to_wire
from tests.core.engine.engines import PATIENCE, SMALL, until


class HungWorkers:
    """A Dask client whose workers take orders only once they `answer`; until then telling them waits, and fails as often as said."""

    def __init__(self, failures: int = 0) -> None:
        self.answer, self.failures, self.took = threading.Event(), failures, []

    def run(self, function, *order: object, on_error: str) -> dict:
        if self.failures:
            self.failures -= 1
            return {"worker": OSError("Timed out trying to connect")} if self.failures else {}
        self.answer.wait(PATIENCE)
        self.took.append(order)
        return {"worker": None}

    def close(self, timeout: float) -> None:
        self.answer.set()


class TestOrdersToWorkersThatDoNotAnswer:
    @pytest.fixture
    def run(self, offline, root):
        made = registry.create(SMALL, "a", root)
        offline.train(made)
        offline.trainings._heard(made.id, to_wire(StateChanged(State.RUNNING)))
        return made

    def test_are_remembered_and_go_together_once_they_do(self, offline, run):
        workers = offline.cluster.client = HungWorkers()

        offline.command(run.id, is_paused=True)
        offline.command(run.id, learning_rate=0.5)
        offline.command(run.id, is_stopping=True)

        assert offline.is_unanswered(run.id)
        assert workers.took == []
        workers.answer.set()
        until(lambda: not offline.is_unanswered(run.id))
        told = [(changes["is_paused"], changed) for changes, changed in _orders(workers)]
        assert told == [(True, ["is_paused"]), (True, ["is_paused", "is_stopping", "learning_rate"])]
        assert workers.took[-1][1] == Command(is_paused=True, learning_rate=0.5, is_stopping=True)

    def test_are_not_what_a_run_begins_with(self, offline, run):
        workers = offline.cluster.client = HungWorkers()

        offline.trainings.orders.tell(run.id, Command())

        assert not offline.is_unanswered(run.id)
        workers.answer.set()

    def test_are_told_again_where_they_could_not_be_told(self, offline, run, monkeypatch):
        monkeypatch.setattr(orders, "RETRY_SECONDS", 0.01)
        workers = offline.cluster.client = HungWorkers(failures=3)
        workers.answer.set()

        offline.command(run.id, is_paused=True)

        until(lambda: not offline.is_unanswered(run.id))
        assert [order[1] for order in workers.took] == [Command(is_paused=True)]

    def test_are_given_up_with_their_run(self, offline, run, monkeypatch):
        monkeypatch.setattr(orders, "RETRY_SECONDS", 0.01)
        workers = offline.cluster.client = HungWorkers(failures=1 << 30)
        offline.command(run.id, is_paused=True)
        assert offline.is_unanswered(run.id)

        offline.trainings._heard(run.id, to_wire(StateChanged(State.FINISHED)))

        until(lambda: not offline.is_unanswered(run.id))
        assert workers.took == []


def _orders(workers: HungWorkers) -> list[tuple[dict, list[str]]]:
    """Each order that was taken: its command's fields, and which of them are new."""
    return [(vars(command), sorted(changed)) for _, command, changed in workers.took]
