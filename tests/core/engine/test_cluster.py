"""The life of the workers, without any: how they are waited for, complained of and begun anew."""

import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from core.engine import cluster as cluster_module
from core.engine.cluster import Phase
from core.engine.engine import Engine
from core.errors import EngineNotReady
from core.runs import registry
from tests.core.engine.engines import PATIENCE, SMALL, until


def test_a_worker_without_a_sign_of_life_is_named_and_one_that_is_heard_of_is_not():
    now = time.time()

    assert cluster_module.silence({"w": {"last_seen": now - 40}}) == "The worker hasn't answered for 40 seconds."
    assert cluster_module.silence({"w": {"last_seen": now - 40}, "v": {"last_seen": now}}) == ""
    assert cluster_module.silence({}) == ""


def test_an_engine_closed_while_it_starts_leaves_nothing(monkeypatch):
    made, gate, closed = Engine(), threading.Event(), []
    client = SimpleNamespace(close=lambda timeout: closed.append("client"))
    cluster = SimpleNamespace(close=lambda timeout: closed.append("cluster"))

    def connect():
        gate.wait(PATIENCE)
        made.cluster.scratch = SimpleNamespace(close=lambda: closed.append("folder"))
        return client, cluster

    monkeypatch.setattr(made.cluster, "_connect", connect)
    made.start()
    made.close()
    gate.set()
    until(lambda: len(closed) == 3)

    assert closed == ["client", "cluster", "folder"]
    assert made.status().phase is Phase.OFF


def test_an_engine_that_cannot_reach_its_scheduler_says_so(monkeypatch, root):
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
    alone = Engine("tcp://127.0.0.1:1")
    alone.start()
    until(lambda: alone.status().phase is Phase.FAILED)

    assert "did not start" in alone.status().message
    alone.close()


def test_a_scheduler_that_says_nothing_is_asked_again(offline, monkeypatch):
    said = [{}, {}, {"workers": {"tls://a": {"metrics": {"memory": 5}}}}]
    offline.cluster.client = SimpleNamespace(
        status="running",
        scheduler_info=lambda n_workers: said.pop(0) if len(said) > 1 else said[0],
        submit=lambda *task, **options: Future(),
        close=lambda timeout: None,
    )
    monkeypatch.setattr(cluster_module, "WATCH_SECONDS", 0.01)
    watching = threading.Thread(target=offline.cluster._watch)
    watching.start()
    until(lambda: offline.status().workers == 1)
    offline.close()
    watching.join(PATIENCE)

    assert offline.status().memory == 5
    assert not watching.is_alive()


@pytest.mark.parametrize(
    ("gigabytes", "is_asked", "does"),
    [
        (1.0, False, ["begin"]),
        (2.0, False, ["restart", "begin"]),
        (2.0, True, ["begin"]),  # the next gap is soon enough
        (3.9, False, ["restart", "begin"]),
        (3.9, True, []),  # until it is answered
    ],
)
def test_the_next_run_begins_in_a_worker_with_room_for_it_and_no_question_is_lost(
    offline, root, monkeypatch, gigabytes, is_asked, does
):
    done = []
    monkeypatch.setattr(cluster_module, "_memory_limit", lambda: 4_000_000_000)
    monkeypatch.setattr(offline.cluster, "_warm_up", lambda worker: None)
    monkeypatch.setattr(offline.trainings, "_submit", lambda run_id: done.append("begin"))
    client = SimpleNamespace(
        status="running",
        scheduler_info=lambda n_workers: {"workers": {"tls://here": {"metrics": {"memory": int(gigabytes * 1e9)}}}},
        restart_workers=lambda workers, raise_for_error: done.append("restart"),
        close=lambda timeout: None,
    )
    offline.cluster.client, offline.cluster.local = client, SimpleNamespace(close=lambda timeout: None)
    offline.cluster.phase, offline.cluster._warm = Phase.READY, {"tls://here"}
    offline.questions._futures["a question"] = Future()
    if not is_asked:
        offline.questions._futures["a question"].set_result("an answer")
    offline.train(registry.create(SMALL, "next", root))

    offline._watch()

    assert done == does


def test_a_grown_worker_is_restarted_once_nobody_asks_or_before_it_is_killed(offline, monkeypatch):
    monkeypatch.setattr(cluster_module, "_memory_limit", lambda: 4 * cluster_module.RESTART_ABOVE_BYTES)
    grown, crowded = cluster_module.RESTART_ABOVE_BYTES + 1, int(3.5 * cluster_module.RESTART_ABOVE_BYTES)
    with pytest.raises(EngineNotReady):
        offline.cluster.require_ready()
    offline.cluster.local, offline.cluster.phase = SimpleNamespace(close=lambda timeout: None), Phase.READY

    def is_time(memory: int) -> bool:
        offline.cluster.workers = {"tls://here": {"metrics": {"memory": memory}}}
        return offline.cluster.is_time_to_restart(is_awaited=False)

    assert not is_time(grown)
    assert is_time(crowded)

    monkeypatch.setattr(cluster_module, "QUIET_SECONDS", 0)

    assert is_time(grown)
    assert not is_time(cluster_module.RESTART_ABOVE_BYTES)
