"""Engines: a real one, embedded and on a cluster that was there before, and one that never gets to its workers."""

from contextlib import ExitStack

import pytest

from core.engine.cluster import Phase
from core.engine.engine import Engine
from tests.core.engine.engines import scheduler_of, trained, until


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def engine(request, tmp_path_factory):
    with ExitStack() as stack:
        scheduler = None
        if request.param == "cluster":
            scheduler = scheduler_of(stack, tmp_path_factory.mktemp("cluster"))
        made = Engine(scheduler)
        stack.callback(made.close)
        made.start()
        until(lambda: made.status().phase is Phase.READY)
        yield made


@pytest.fixture(scope="module")
def finished(engine, tmp_path_factory):
    """A run of 36 batches, to be looked at only."""
    return trained(engine, str(tmp_path_factory.mktemp("finished")))


@pytest.fixture
def offline(monkeypatch):
    """An engine that never gets to its workers."""
    made = Engine("tcp://127.0.0.1:1")
    monkeypatch.setattr(made.cluster, "start", lambda: None)
    yield made
    made.close()


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "runs")
