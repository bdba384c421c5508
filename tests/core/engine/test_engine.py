"""The engine, embedded and on a cluster that was there before: the same tests for both."""

import datetime
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fsspec.implementations.local import LocalFileSystem

from core.data import datasets
from core.data.handwriting import Handwriting
from core.engine import cluster as cluster_module
from core.engine import orders, trainings, worker
from core.engine import questions as questions_module
from core.engine.cluster import Phase
from core.engine.engine import Engine
from core.errors import (
    DataError,
    EngineError,
    EngineNotReady,
    RunDamaged,
    RunNotFound,
    SpecError,
    StorageFull,
    WorkerLost,
)
from core.evaluation.questions import AnswerTest, Predict, Read
from core.evaluation.rejection import FitRejection
from core.explain.questions import VisitMoment
from core.model.specs import (
    SGD,
    Augmentation,
    Conv2D,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    MaxPooling2D,
    Training,
    replaced,
)
from core.runs import checkpoints, progress, registry
from core.runs.network import Network
from core.runs.progress import (
    Advanced,
    Command,
    EpochEnded,
    HyperparameterChanged,
    Progress,
    Snapshot,
    Started,
    State,
    StateChanged,
    to_wire,
)
from core.runs.run import Run
from core.training import fine_tuning
from core.training.questions import Augment, FindRange, TimeEpoch
from core.training.range_test import RangeTest

ROOT = Path(__file__).parents[3]
PATIENCE = 90.0
SMALL = Experiment(
    layers=(Conv2D(filters=4), MaxPooling2D(pool_size=4), Flatten(), Dense(units=16)),
    training=Training(epochs=2, batch_size=32, train_size=640),
)
LONG = Experiment(layers=SMALL.layers, training=Training(epochs=100, batch_size=8, train_size=1200))


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def engine(request, tmp_path_factory):
    with ExitStack() as stack:
        scheduler = None
        if request.param == "cluster":
            scheduler = _cluster(stack, tmp_path_factory.mktemp("cluster"))
        made = Engine(scheduler)
        stack.callback(made.close)
        made.start()
        _until(lambda: made.status().phase is Phase.READY)
        yield made


@pytest.fixture(scope="module")
def finished(engine, tmp_path_factory):
    """A run of 36 batches, to be looked at only."""
    return _trained(engine, str(tmp_path_factory.mktemp("finished")))


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


def test_a_worker_of_its_own_puts_what_it_generates_into_the_engines_folder_and_hears_no_ctrl_c(engine):
    if engine.cluster.local is None:
        pytest.skip("a cluster's workers are not the engine's")

    folders = set(engine.cluster.client.run(tempfile.gettempdir).values())
    blocked = set.intersection(
        *engine.cluster.client.run(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [])).values()
    )

    assert folders == {str(engine.cluster.scratch.path)}
    assert signal.SIGINT in blocked


def test_a_fine_tuning_is_a_run_that_goes_on_where_another_was(engine, finished, dataset):
    hand = Handwriting(dataset.x_test[:3].copy(), dataset.y_test[:3].copy())
    training = fine_tuning.usual_training(finished.experiment())
    run = fine_tuning.create(Network(finished, 36), hand, replaced(training, epochs=1), 64, 0.25, "My hand")

    engine.train(run)
    _until(lambda: engine.progress(run).state.is_over)

    assert engine.progress(run).state is State.FINISHED, engine.progress(run).message
    assert run.steps() == [0, 1, 2, 3]
    began, before = run.weights(0), finished.weights(36)
    assert all(np.array_equal(began[name], before[name]) for name in before)


@pytest.fixture
def stopped_worker(engine):
    """A run that trains in a worker that doesn't answer until the function is called that comes with it."""
    pids = _worker_pids(engine)
    stack = ExitStack()

    def stop() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)

    yield stop, stack.close
    stack.close()


def test_orders_to_a_worker_that_does_not_answer_block_nobody_and_are_obeyed_when_it_does(engine, root, stopped_worker):
    stop, go_on = stopped_worker
    run = registry.create(LONG, "Hung", root)
    engine.train(run)
    _until(lambda: engine.progress(run).step > 0)
    stop()
    began = time.monotonic()

    engine.command(run.id, is_paused=True)
    engine.command(run.id, learning_rate=0.125)

    assert time.monotonic() - began < cluster_module.CONNECT_SECONDS / 6
    assert engine.is_unanswered(run.id)
    assert engine.progress(run).state is State.RUNNING
    go_on()
    _until(lambda: engine.progress(run).state is State.PAUSED and not engine.is_unanswered(run.id))
    engine.command(run.id, is_paused=False)
    _until(lambda: engine.progress(run).live_hyperparameters.get("learning_rate") == 0.125)
    engine.command(run.id, is_stopping=True)
    _until(lambda: engine.progress(run).state is State.STOPPED)
    assert not engine.is_unanswered(run.id)


def test_a_sleep_of_any_length_loses_no_worker(engine):
    if engine.cluster.local is None:
        pytest.skip("a scheduler of another's has a configuration of its own")

    assert engine.cluster.local.scheduler.worker_ttl is None


def test_a_digit_s_readings_are_traced_through_the_kept_networks(engine, finished, dataset):
    image = dataset.x_test[0]

    _until(lambda: len(engine.trace(finished, image)) == len(finished.steps()))

    trace = engine.trace(finished, image)
    assert list(trace) == finished.steps()
    for step in (0, 36):
        assert np.allclose(trace[step], _predict(engine, finished, step, image[None], timeout=30)[0], atol=1e-6)


def test_a_digit_is_watched_while_a_run_trains(engine, root, dataset):
    image = dataset.x_test[1]
    run = registry.create(LONG, "Watched", root)
    engine.train(run)

    def is_watched() -> bool:
        engine.watch(run.id, 7, image)
        return bool(engine.trace(run, image).keys() - set(run.steps()))

    _until(is_watched)
    engine.command(run.id, is_stopping=True)
    _until(lambda: engine.progress(run).state.is_over)

    trace = engine.trace(run, image)
    assert list(trace) == sorted(trace)
    assert all(np.isclose(reading.sum(), 1, atol=1e-5) for reading in trace.values())


def test_a_run_trains_to_its_end_and_leaves_a_whole_folder(engine, root):
    run = _trained(engine, root)

    assert engine.progress(run).state is State.FINISHED
    assert [row.epoch for row in engine.progress(run).history] == [1, 2]
    assert run.steps() == [0, 1, 2, 4, 8, 16, 18, 36]
    assert run.last_checkpoint().step == 36
    assert run.has_keras_file()


def test_what_the_events_said_is_what_the_folder_says(engine, root):
    run = _trained(engine, root)
    live = engine.trainings._progress[run.id]
    _until(lambda: live.state is State.FINISHED)
    recorded = run.progress()

    assert live.history == recorded.history
    assert list(live.loss) == list(recorded.loss)
    assert live.step == recorded.step


def test_probabilities_are_those_of_the_evaluation(engine, finished):
    from core.data import datasets

    evaluation = _until(lambda: engine.ask(AnswerTest(Network(finished, 36))))
    images = datasets.load().x_test[:3]
    probabilities = _until(lambda: _unless_not_ready(lambda: _predict(engine, finished, 36, images)))

    assert probabilities.shape == (3, 10)
    np.testing.assert_allclose(probabilities, evaluation.probabilities[:3], atol=1e-5)
    np.testing.assert_allclose(evaluation.probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_reading_is_the_network_s_answer_and_once_it_is_judged_a_judged_one(engine, finished):
    image, network = np.zeros((1, 28, 28), np.uint8), Network(finished, 36)
    probabilities = _until(lambda: _unless_not_ready(lambda: _predict(engine, finished, 36, image)))
    (first,) = _until(lambda: _unless_not_ready(lambda: engine.wait(Read(network, image))))

    assert first.is_digit
    assert np.isnan(first.ood_score)
    np.testing.assert_allclose(first.probabilities, probabilities[0], atol=1e-5)

    _until(lambda: engine.ask(FitRejection(network)), 2 * PATIENCE)  # it is half a minute's work for one core
    (reading,) = _until(lambda: _unless_not_ready(lambda: engine.wait(Read(network, image))))

    assert reading.is_digit is (reading.ood_score <= 0)
    assert reading.probabilities.argmax() == probabilities[0].argmax()
    assert network.rejection() is not None


def test_an_evaluation_is_computed_once(engine, finished):
    _until(lambda: engine.ask(AnswerTest(Network(finished, 36))))
    file = Path(finished.root, finished.id, "evaluations/00000036.npz")
    written = file.stat().st_mtime_ns

    assert engine.ask(AnswerTest(Network(finished, 36))) is not None
    assert file.stat().st_mtime_ns == written


def test_a_paused_run_stands_still_until_it_goes_on(engine, root):
    run = _started(engine, root, LONG)
    engine.command(run.id, is_paused=True)
    _until(lambda: engine.progress(run).state is State.PAUSED)
    step = engine.progress(run).step

    assert run.record().state is State.PAUSED
    assert engine.progress(run).step == step

    engine.command(run.id, is_paused=False)
    _until(lambda: engine.progress(run).step > step)
    _stop(engine, run)


def test_a_run_begun_paused_is_stepped_watched_and_turned(engine, root):
    run = registry.create(LONG, "test", root)
    engine.train(run, Command(is_paused=True))
    _until(lambda: engine.progress(run).state is State.PAUSED)

    assert engine.progress(run).step == 0

    engine.command(run.id, until_step=1)
    _until(lambda: engine.progress(run).state is State.PAUSED and engine.progress(run).step)
    snapshot = _until(lambda: (seen := engine.watch(run.id, digit=3)) and seen.step and seen)

    assert engine.progress(run).step == snapshot.step == 1
    assert snapshot.kernels.shape == (4, 3, 3)
    assert list(snapshot.gradient_norms) == ["01_conv2d", "04_dense", "probabilities"]
    np.testing.assert_array_equal(snapshot.kernels, run.weights(1)["01_conv2d.0.kernel"][:, :, 0].transpose(2, 0, 1))

    engine.command(run.id, is_paused=False, learning_rate=0.125)
    _until(lambda: engine.progress(run).history)
    _stop(engine, run)

    assert engine.progress(run).changes == run.progress().changes == [HyperparameterChanged(1, "learning_rate", 0.125)]
    assert run.progress().learning_rate == 0.125
    assert engine.watch(run.id, digit=3).step >= 1


def test_a_moment_is_what_predictions_and_checkpoints_say(engine, finished):
    from core.data import datasets

    image = datasets.load().x_test[0]
    for step in (1, 36):
        moment = _until(
            lambda step=step: _unless_not_ready(
                lambda: engine.wait(VisitMoment(Network(finished, step), (image).tobytes()), 10.0)
            )
        )
        probabilities = _until(
            lambda step=step: _unless_not_ready(lambda: _predict(engine, finished, step, image[None]))
        )

        np.testing.assert_allclose(moment.probabilities, probabilities[0], atol=1e-6)
        kernel = finished.weights(step)["01_conv2d.0.kernel"]
        np.testing.assert_array_equal(moment.kernels, kernel[:, :, 0].transpose(2, 0, 1))
        assert list(moment.maps) == ["01_conv2d", "02_maxpooling2d"]
        assert moment.confusion.sum() == 64

    assert tuple(moment.confusion.ravel()) == finished.progress().history[-1].confusion


def test_a_moment_that_was_not_kept_is_refused(engine, finished):
    with pytest.raises(RunDamaged, match=r"has no checkpoints/00000003\.npz"):
        _until(
            lambda: _unless_not_ready(
                lambda: engine.wait(VisitMoment(Network(finished, 3), (_blank()[0]).tobytes()), 10.0)
            )
        )


def test_a_damaged_evaluation_is_computed_again(engine, finished):
    whole = _until(lambda: engine.ask(AnswerTest(Network(finished, 18))))
    Path(finished.root, finished.id, "evaluations/00000018.npz").write_bytes(b"damaged")
    again = _until(lambda: engine.ask(AnswerTest(Network(finished, 18))))

    np.testing.assert_array_equal(again.probabilities, whole.probabilities)


def test_questions_are_answered_by_a_worker(engine):
    from core.training import augmentation as augment

    augmentation = Augmentation(rotation=20.0)
    found = _until(lambda: engine.ask(FindRange(SMALL)))
    seconds = _until(lambda: _unless_not_ready(lambda: engine.ask(TimeEpoch(SMALL))))
    moved = _until(lambda: engine.ask(Augment(augmentation, (5, 2), (7,))))

    assert type(found) is RangeTest
    assert 5 <= len(found.losses) == len(found.learning_rates) <= 100
    assert 0 < seconds < 60
    np.testing.assert_array_equal(moved[0], augment.preview(datasets.load().x_train[[5, 2]], augmentation, 7))
    assert engine.ask(FindRange(SMALL)) is found
    with pytest.raises(SpecError, match=r"^The output layer: "):
        _until(lambda: engine.ask(FindRange(Experiment(layers=()))))


class TestWhichDigits:
    """A worker, here or on a cluster, works with the digits that the server chose, or says that it hasn't got them."""

    @pytest.fixture
    def own(self, monkeypatch, dataset, tmp_path):
        """Digits that the server has in use, in a file that no worker would find by itself."""
        path = tmp_path / "own.npz"
        arrays = {name: getattr(dataset, name)[::-1][:300] for name in datasets.ARRAYS}
        np.savez(path, **arrays)
        own = datasets.Dataset(*arrays.values(), datasets.Source.FILE, str(path))
        monkeypatch.setattr(datasets, "_loaded", own)
        return own

    def test_it_answers_for_those_and_for_others_once_others_are_in_use(self, engine, own, monkeypatch, dataset):
        def ask():
            return _unless_not_ready(lambda: engine.ask(Augment(Augmentation(), (0, 1), (3,))))

        np.testing.assert_array_equal(_until(ask)[0], own.x_train[:2])

        monkeypatch.undo()
        monkeypatch.setattr(datasets, "_loaded", datasets.load())
        np.testing.assert_array_equal(_until(ask)[0], dataset.x_train[:2])

    def test_it_trains_on_those_and_the_run_remembers_them(self, engine, own, root, monkeypatch):
        once = replaced(SMALL.training, epochs=1, train_size=300)
        run = registry.create(Experiment(layers=SMALL.layers, training=once), "own digits", root)
        engine.train(run)
        _until(lambda: engine.progress(run).state.is_over)

        wrongest = engine.progress(run).history[-1].wrongest
        assert all(index < 300 for index, _, _ in wrongest)
        assert run.record().dataset == own.digest
        _until(lambda: engine.ask(AnswerTest(Network(run, run.steps()[-1]))))
        assert Network(run, run.steps()[-1]).evaluation().dataset == own.digest

        monkeypatch.setattr(datasets, "_loaded", replace(own, x_test=own.x_test[::-1]))
        with pytest.raises(DataError, match="trained on other digits than those in use now"):
            engine.train(run)

    def test_it_says_that_it_has_not_got_them(self, engine, own, root, monkeypatch):
        monkeypatch.setattr(datasets, "_loaded", replace(own, x_test=own.x_test[::-1]))  # which are in no file
        run = registry.create(SMALL, "gone", root)

        with pytest.raises(DataError, match="does not have the digits that this lab uses"):
            _until(lambda: engine.ask(Augment(Augmentation(), (0, 1), (3,))))
        engine.train(run)
        _until(lambda: engine.progress(run).state.is_over)

        assert engine.progress(run).state is State.FAILED
        assert "does not have the digits" in engine.progress(run).message

    def test_an_older_run_that_does_not_say_goes_on(self, offline, own, root):
        run = registry.create(SMALL, "older", root)
        Path(root, run.id, "history.json").write_text(
            '[{"epoch":1,"loss":1,"accuracy":1,"val_loss":1,"val_accuracy":1,"learning_rate":1,"seconds":1}]'
        )
        run.write_curve(Progress(loss=array("f", [1]), accuracy=array("f", [1])))
        run.write_state(State.STOPPED, steps_per_epoch=1)

        offline.train(run)

        assert run.record().dataset == ""


def test_a_stopped_run_keeps_its_last_epoch_and_can_go_on(engine, root):
    short = Experiment(layers=SMALL.layers, training=Training(epochs=30, batch_size=8, train_size=1200))
    run = _started(engine, root, short)
    _until(lambda: engine.progress(run).history)
    _stop(engine, run)
    kept = len(run.progress().history)

    assert engine.progress(run).state is State.STOPPED
    assert 1 <= kept < 30

    engine.train(run)
    _until(lambda: engine.progress(run).state is State.FINISHED)

    assert len(run.progress().history) == 30


def test_the_second_run_waits_for_a_free_worker_and_can_leave_the_queue(engine, root):
    workers = engine.status().workers
    busy = [_started(engine, root, LONG) for _ in range(workers)]
    waiting = registry.create(SMALL, "waits", root)
    engine.train(waiting)

    assert engine.progress(waiting).state is State.QUEUED
    assert waiting.id in engine.status().queued

    engine.command(waiting.id, is_stopping=True)

    assert engine.progress(waiting).state is State.STOPPED
    for run in busy:
        _stop(engine, run)


def test_a_loss_that_is_not_finite_ends_the_run_and_says_so(engine, root):
    training = Training(epochs=3, train_size=640, optimizer=SGD(momentum=0.99), learning_rate=10.0)
    wild = (Conv2D(filters=8, activation="linear"), Flatten(), Dense(units=64, activation="linear"))
    run = registry.create(Experiment(layers=wild, training=training), "wild", root)
    engine.train(run)
    _until(lambda: engine.progress(run).state.is_over)

    assert engine.progress(run).state is State.FAILED
    assert "Try a lower learning rate" in engine.progress(run).message
    assert len(_trained(engine, root).progress().history) == 2


def test_a_seed_gives_the_same_numbers_whatever_else_draws_in_the_worker(engine, root):
    """As Dask's event loop does, from the same `random` that Keras takes a layer's seed from."""
    if engine.cluster.local is None:
        pytest.skip("one worker draws as another does")
    layers = (*SMALL.layers, Dropout(rate=0.3))
    experiment = Experiment(layers=layers, training=Training(epochs=1, batch_size=32, train_size=320))

    def draw(dask_worker):
        import random
        import threading

        dask_worker.is_drawn = threading.Event()

        def go_on():
            while not dask_worker.is_drawn.is_set():
                random.random()  # noqa: S311  (what is shared is the point)

        threading.Thread(target=go_on, daemon=True).start()

    def build(times):
        import hashlib

        from core.model import keras_model

        networks = [keras_model.variables(keras_model.build(experiment))[0] for _ in range(times)]
        return [hashlib.sha256(b"".join(map(bytes, network.values()))).hexdigest() for network in networks]

    made = [registry.create(experiment, name, root) for name in "abc"]
    engine.cluster.client.run(draw)
    try:
        builds = [*build(2), *engine.cluster.client.submit(build, 20, pure=False).result(timeout=PATIENCE)]
        for run in made:
            engine.train(run)
        _until(lambda: all(engine.progress(run).state.is_over for run in made))
    finally:
        engine.cluster.client.run(lambda dask_worker: dask_worker.is_drawn.set())

    assert [engine.progress(run).state for run in made] == [State.FINISHED] * 3
    assert len(set(builds)) == 1
    first, *others = made
    for step in first.steps():
        for name, values in first.weights(step).items():
            assert all(np.array_equal(values, run.weights(step)[name]) for run in others), (step, name)
    assert len({run.progress().history[0].loss for run in made}) == 1


def test_a_killed_worker_interrupts_its_run_which_goes_on_from_its_last_epoch(engine, root):
    run = _started(engine, root, LONG)
    _until(lambda: engine.progress(run).history)
    _kill_worker_of(engine, run)
    _until(lambda: engine.progress(run).state is State.INTERRUPTED, patience=5)
    kept = len(run.progress().history)

    assert run.record().state is State.INTERRUPTED

    engine.train(run)
    _until(lambda: engine.progress(run).step > kept * engine.progress(run).steps_per_epoch)

    assert engine.progress(run).history[kept - 1].epoch == kept
    _stop(engine, run)


def test_a_run_that_only_waited_behind_a_killed_worker_keeps_its_place_and_its_command(engine, root):
    if engine.cluster.local is None:
        pytest.skip("which of several workers it waits behind is the scheduler's choice")
    busy = _started(engine, root, LONG)
    waiting = registry.create(SMALL, "waits", root)
    engine.train(waiting, Command(is_paused=True))
    _kill_worker_of(engine, busy)
    _until(lambda: engine.progress(busy).state is State.INTERRUPTED)
    _until(lambda: engine.progress(waiting).state is State.PAUSED)

    assert engine.progress(waiting).step == 0

    _stop(engine, waiting)


def test_predictions_come_back_after_the_worker_died(engine, root):
    run = _trained(engine, root)
    _until(lambda: _unless_not_ready(lambda: _predict(engine, run, 36, _blank())) is not None)
    for process in engine.cluster.client.run(os.getpid).values():
        os.kill(process, signal.SIGKILL)
    probabilities = _until(lambda: _unless_not_ready(lambda: _predict(engine, run, 36, _blank())))

    assert probabilities.shape == (1, 10)


def test_a_run_that_only_its_folder_calls_unfinished_is_interrupted(engine, root):
    run = registry.create(SMALL, "left behind", root)
    run.write_state(State.RUNNING)

    assert engine.progress(run).state is State.INTERRUPTED


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
        _until(lambda: not offline.is_unanswered(run.id))
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

        _until(lambda: not offline.is_unanswered(run.id))
        assert [order[1] for order in workers.took] == [Command(is_paused=True)]

    def test_are_given_up_with_their_run(self, offline, run, monkeypatch):
        monkeypatch.setattr(orders, "RETRY_SECONDS", 0.01)
        workers = offline.cluster.client = HungWorkers(failures=1 << 30)
        offline.command(run.id, is_paused=True)
        assert offline.is_unanswered(run.id)

        offline.trainings._heard(run.id, to_wire(StateChanged(State.FINISHED)))

        _until(lambda: not offline.is_unanswered(run.id))
        assert workers.took == []


def test_a_worker_without_a_sign_of_life_is_named_and_one_that_is_heard_of_is_not():
    now = time.time()

    assert cluster_module.silence({"w": {"last_seen": now - 40}}) == "The worker hasn't answered for 40 seconds."
    assert cluster_module.silence({"w": {"last_seen": now - 40}, "v": {"last_seen": now}}) == ""
    assert cluster_module.silence({}) == ""


class TestQueue:
    """Without workers: three runs of one network, told of by hand."""

    @pytest.fixture
    def waiting(self, offline, root):
        made = [registry.create(SMALL, name, root) for name in "abc"]
        for run in made:
            offline.train(run)
        return made

    @staticmethod
    def told(engine, run, seconds_left, images_per_second=1000.0):
        engine.trainings._heard(run.id, to_wire(StateChanged(State.RUNNING)))
        engine.trainings._heard(run.id, to_wire(Advanced(1, (2.3,), (0.1,), 0.001, images_per_second, seconds_left)))

    def test_nothing_is_known_before_anything_trains(self, offline, waiting):
        assert [offline.place_in_queue(run.id) for run in waiting] == [(1, None), (2, None), (3, None)]

    def test_nothing_is_known_before_the_first_run_knows_its_speed(self, offline, waiting):
        self.told(offline, waiting[0], seconds_left=0.0, images_per_second=0.0)

        assert offline.place_in_queue(waiting[1].id) == (1, None)

    def test_waits_for_what_trains_and_what_is_ahead(self, offline, waiting):
        self.told(offline, waiting[0], seconds_left=30.0)

        images = 2 * 640 * 0.9  # epochs, images used, less those held out
        assert offline.place_in_queue(waiting[0].id) == (0, None)
        assert offline.place_in_queue(waiting[1].id) == (1, 30.0)
        assert offline.place_in_queue(waiting[2].id) == (2, pytest.approx(30.0 + images / 1000))

    def test_nothing_is_known_while_the_run_ahead_is_paused_or_slow(self, offline, waiting, monkeypatch):
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: None)
        self.told(offline, waiting[0], seconds_left=30.0)

        offline.command(waiting[0].id, batches_per_second=3.0)
        assert offline.place_in_queue(waiting[1].id) == (1, None)
        offline.command(waiting[0].id, batches_per_second=None)
        assert offline.place_in_queue(waiting[1].id) == (1, 30.0)
        offline.trainings._heard(waiting[0].id, to_wire(StateChanged(State.PAUSED)))
        assert offline.place_in_queue(waiting[1].id) == (1, None)

    @pytest.mark.parametrize("held", ["paused", "slowed"])
    def test_a_run_that_was_held_and_left_goes_on_where_others_wait(self, offline, waiting, monkeypatch, held):
        now = [100.0]
        monkeypatch.setattr(trainings, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: None)
        first = waiting[0]
        offline.trainings._futures[first.id] = Future()
        self.told(offline, first, seconds_left=30.0)
        if held == "paused":
            offline.command(first.id, is_paused=True)
            offline.trainings._heard(first.id, to_wire(StateChanged(State.PAUSED)))
        else:
            offline.command(first.id, batches_per_second=3.0)
        asked = offline.commanded(first.id)
        offline.progress(first)

        now[0] += trainings.ABANDONED_SECONDS - 1
        offline.trainings.free_the_queue()
        assert offline.commanded(first.id) == asked
        offline.progress(first)  # somebody looks at it
        now[0] += trainings.ABANDONED_SECONDS - 1
        offline.trainings.free_the_queue()
        assert offline.commanded(first.id) == asked
        now[0] += 1
        offline.trainings.free_the_queue()

        assert offline.commanded(first.id) == Command()

    def test_a_run_that_was_paused_and_left_stays_so_where_nobody_waits(self, offline, root, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(trainings, "time", SimpleNamespace(monotonic=lambda: now[0]))
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: None)
        run = registry.create(SMALL, "alone", root)
        offline.train(run)
        offline.trainings._futures[run.id] = Future()
        offline.trainings._heard(run.id, to_wire(StateChanged(State.PAUSED)))
        offline.command(run.id, is_paused=True)
        offline.trainings.free_the_queue()

        now[0] += 10 * trainings.ABANDONED_SECONDS
        offline.trainings.free_the_queue()

        assert offline.commanded(run.id).is_paused

    def test_a_network_of_twice_the_work_takes_twice_as_long(self, offline, root):
        small, twice, last = (
            registry.create(
                replaced(SMALL, layers=(Conv2D(filters=filters, activation="relu"), *SMALL.layers[1:2], Flatten())),
                "",
                root,
            )
            for filters in (4, 8, 4)
        )
        for run in (small, twice, last):
            offline.train(run)
        self.told(offline, small, seconds_left=30.0)

        assert offline.place_in_queue(last.id) == (2, pytest.approx(30.0 + 2 * 2 * 640 * 0.9 / 1000))

    def test_two_workers_share_what_is_ahead(self, offline, waiting, root):
        last = registry.create(SMALL, "d", root)
        offline.train(last)
        self.told(offline, waiting[0], seconds_left=30.0)
        self.told(offline, waiting[1], seconds_left=20.0)

        assert offline.place_in_queue(last.id) == (2, pytest.approx(20.0 + 2 * 640 * 0.9 / 1000 / 2))

    def test_a_damaged_run_ahead_leaves_the_time_open(self, offline, waiting):
        self.told(offline, waiting[0], seconds_left=30.0)
        Path(waiting[1].root, waiting[1].id, "spec.json").unlink()

        assert offline.place_in_queue(waiting[2].id) == (2, None)

    def test_a_run_that_is_resumed_waits_behind_those_that_waited(self, offline, waiting):
        first, second, third = waiting
        offline.command(first.id, is_stopping=True)
        offline.train(first)

        assert offline.status().queued == (second.id, third.id, first.id)
        assert offline.place_in_queue(first.id) == (3, None)


class TestDeletion:
    """Without workers."""

    def test_a_run_that_is_over_is_gone_and_forgotten(self, offline, root):
        run = registry.create(SMALL, "test", root)
        run.write_state(State.STOPPED)
        offline.trainings._progress[run.id] = Progress.of([StateChanged(State.STOPPED)])

        offline.delete(run)

        assert not run.exists()
        assert offline.status().training == offline.status().queued == ()
        assert run.id not in offline.trainings._progress

    @pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.PAUSED, State.STOPPING])
    def test_a_run_under_way_stays(self, offline, root, state):
        run = registry.create(SMALL, "test", root)
        offline.trainings._progress[run.id] = Progress.of([StateChanged(state)])

        with pytest.raises(EngineError, match=r"under way\. Stop it first"):
            offline.delete(run)

        assert run.exists()

    def test_old_runs_make_room_but_none_that_waits(self, offline, runs_root, monkeypatch):
        monkeypatch.setenv("DIGITLAB_RUNS_GB", "1e-9")
        monkeypatch.delenv("DIGITLAB_LOCAL", raising=False)
        old, waiting = (registry.create(SMALL, name) for name in ("old", "waiting"))
        old.write_state(State.FINISHED)
        offline.train(waiting)

        offline._keep_within_allowance()

        assert list(registry.all_runs()) == [waiting]
        assert offline.allowance.is_exceeded


class TestCommands:
    """Without workers."""

    @pytest.fixture
    def sent(self, offline, monkeypatch):
        """What the workers are told, in order."""
        sent = []
        monkeypatch.setattr(offline.trainings.orders, "tell", lambda *told: sent.append(told[1:]))
        return sent

    def test_of_a_run_that_another_server_paused_leave_it_paused(self, offline, root, sent):
        run = registry.create(SMALL, "test", root)
        offline.trainings._progress[run.id] = Progress.of(
            [HyperparameterChanged(0, "dropout", 0.0), StateChanged(State.PAUSED)]
        )

        offline.command(run.id, until_step=1)
        offline.command(run.id, learning_rate=0.5)

        paused = Command(is_paused=True, dropout=0.0, until_step=1)
        assert sent == [(paused, ("until_step",)), (replace(paused, learning_rate=0.5), ("learning_rate",))]

    def test_change_in_the_worker_what_was_changed_alone(self, monkeypatch):
        """As where another server has paused it since."""
        monkeypatch.setattr(worker, "_commands", {})
        worker.set_command("run", Command())
        worker.set_command("run", Command(is_paused=True), ("is_paused",))
        worker.set_command("run", Command(learning_rate=0.5), ("learning_rate",))

        assert worker._commands == {"run": Command(is_paused=True, learning_rate=0.5)}

    def test_turn_the_knobs_of_a_resumed_run_to_where_they_were(self, offline, root):
        run = registry.create(SMALL, "test", root)
        changes = [
            HyperparameterChanged(1, "learning_rate", 0.5),
            HyperparameterChanged(5, "dropout", 0.0),
            HyperparameterChanged(9, "learning_rate", 0.25),
        ]
        run.write_changes(Progress(changes=changes))

        offline.train(run, Command(is_paused=True))

        assert offline.commanded(run.id) == Command(is_paused=True, learning_rate=0.25, dropout=0.0)


class TestWatching:
    SNAPSHOT = Snapshot(5, {}, {}, np.zeros((0, 0, 0)), np.zeros((28, 28)), {})

    def test_does_not_wait_and_asks_once_at_a_time(self, offline, root):
        gate, asked = threading.Event(), []

        def answer(function, *arguments, on_error):
            asked.append((function, *arguments))
            gate.wait(PATIENCE)
            return {"tls://elsewhere": None, "tls://here": self.SNAPSHOT}

        run = registry.create(SMALL, "test", root)
        offline.train(run)
        assert offline.watch(run.id, digit=3) is None  # it is queued: nobody is asked

        offline.cluster.client = SimpleNamespace(run=answer, close=lambda timeout: None)
        offline.trainings._heard(run.id, to_wire(StateChanged(State.RUNNING)))
        assert [offline.watch(run.id, digit=3) for _ in range(5)] == [None] * 5
        _until(lambda: asked)
        assert asked == [(worker.look, run.id, 3, b"")]

        gate.set()
        offline.trainings._watchers.shutdown(wait=True)  # once all that was asked for is answered
        assert len(asked) == 1
        assert offline.progress(run).snapshot is self.SNAPSHOT

    def test_shows_the_last_look_once_it_is_over_and_asks_no_more(self, offline, root):
        run = registry.create(SMALL, "test", root)
        offline.train(run)
        offline.cluster.client = SimpleNamespace(close=lambda timeout: None)
        offline.trainings._progress[run.id].snapshot = self.SNAPSHOT
        offline.trainings._heard(run.id, to_wire(StateChanged(State.FINISHED)))

        assert offline.watch(run.id, digit=3) is self.SNAPSHOT
        assert offline.watch("a" * 16, digit=3) is None

    def test_serves_each_visitor_with_a_look_at_what_that_one_asked_for(self, monkeypatch):
        for kept in ("_commands", "_watched", "_snapshots"):
            monkeypatch.setattr(worker, kept, {})
        visitors, drawing = [(3, b""), (7, b""), (7, b"a drawing")], b"a drawing"
        for digit, drawing in visitors:
            worker.look("run", digit, drawing)

        for step in range(1, 7):
            asked = worker.read_command("run")
            worker.keep_look("run", replace(self.SNAPSHOT, step=step, digit=asked.digit, drawing=asked.drawing))

        looks = [worker.look("run", *one) for one in visitors]
        assert [(look.digit, look.drawing) for look in looks] == visitors
        assert sorted(look.step for look in looks) == [4, 5, 6]

    def test_shows_each_visitor_what_that_one_asked_for(self, offline, root):
        run = registry.create(SMALL, "test", root)
        offline.train(run)
        looks = {digit: replace(self.SNAPSHOT, digit=digit) for digit in (3, 4)}
        offline.cluster.client = SimpleNamespace(
            run=lambda function, run_id, digit, *rest, on_error: {"tls://here": looks.get(digit)},
            close=lambda timeout: None,
        )
        offline.trainings._heard(run.id, to_wire(StateChanged(State.RUNNING)))

        for digit in (3, 4):
            _until(lambda digit=digit: offline.watch(run.id, digit) is looks[digit])

        assert offline.watch(run.id, 3) is looks[3]
        assert offline.watch(run.id, 5) is not None  # another's, until there is one

    def test_ends_soon_after_the_last_one_asked(self, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
        for kept in ("_commands", "_watched", "_snapshots"):
            monkeypatch.setattr(worker, kept, {})
        commanded = Command(is_paused=True, until_step=5, learning_rate=0.5)
        worker.set_command("run", commanded)
        worker.keep_look("run", replace(self.SNAPSHOT, digit=3))

        assert worker.read_command("run") == commanded
        assert worker.look("run", 3) == replace(self.SNAPSHOT, digit=3)
        assert worker.read_command("run") == replace(commanded, is_watched=True, digit=3)
        now[0] += worker.WATCHED_SECONDS - 1
        assert worker.look("run", 4) is None
        now[0] += worker.WATCHED_SECONDS - 1
        assert worker.read_command("run") == replace(commanded, is_watched=True, digit=4)
        now[0] += 1
        assert worker.read_command("run") == commanded
        assert worker.read_command("another") == Command()


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

        topics = {"subscribe_topic": lambda *topic: None, "unsubscribe_topic": lambda topic: None}
        offline.cluster.client = SimpleNamespace(submit=submit, close=lambda timeout: None, **topics)
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
        monkeypatch.setattr(questions_module, "MOST_ANSWERS", 2)
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


class TestTrainingInAWorker:
    """`_train` called here, on few images, in place of a worker."""

    @pytest.fixture
    def sent(self, monkeypatch, dataset):
        """The events sent, in order."""
        from core.data import datasets
        from core.training import loop

        events = []
        sending = SimpleNamespace(log_event=lambda topic, message: events.append(progress.from_wire(message)))
        monkeypatch.setattr("distributed.get_worker", lambda: sending)
        monkeypatch.setattr(worker, "warm_up", lambda: None)
        monkeypatch.setattr(datasets, "load", lambda: dataset)
        monkeypatch.setattr(loop, "FIRST_CHUNK_STEPS", 1)
        monkeypatch.setattr(loop, "MAX_CHUNK_STEPS", 1)
        return events

    @staticmethod
    def losses(sent):
        return [loss for event in sent if isinstance(event, Advanced) for loss in event.loss]

    def commanded(self, monkeypatch, sent, commands):
        """Have the last command obeyed whose batch has been reached."""

        def read_command(run_id):
            step = next(event.step for event in reversed(sent) if isinstance(event, Started | Advanced))
            return commands[max(first for first in commands if first <= step)]

        monkeypatch.setattr(worker, "read_command", read_command)

    def test_leaves_the_network_of_its_best_epoch_for_keras(self, monkeypatch, sent, tiny, root, tmp_path):
        import keras

        from core.training import loop

        val_accuracies, train = {1: 0.5, 2: 0.75, 3: 0.25}, loop.train

        def judged(experiment, dataset, on_event, **options):
            def tell(event):
                is_end = isinstance(event, EpochEnded)
                on_event(replace(event, val_accuracy=val_accuracies[event.epoch]) if is_end else event)

            return train(experiment, dataset, tell, **options)

        monkeypatch.setattr(loop, "train", judged)
        run = registry.create(replaced(tiny, training=replaced(tiny.training, epochs=3)), "test", root)

        worker.train(run)

        (tmp_path / "model.keras").write_bytes(run.keras_file())
        kernel = keras.saving.load_model(tmp_path / "model.keras").get_layer("01_conv2d").get_weights()[0]
        assert run.steps()[-3:] == [13, 26, 39]
        np.testing.assert_array_equal(kernel, run.weights(26)["01_conv2d.0.kernel"])
        assert not np.array_equal(kernel, run.weights(39)["01_conv2d.0.kernel"])

    def test_goes_on_with_the_knobs_turned_before_its_last_epochs_end_and_forgets_later_ones(
        self, monkeypatch, sent, tiny, root
    ):
        turned, again = (registry.create(tiny, name, root) for name in ("turned and stopped", "turned"))
        commands = {0: Command(), 5: Command(learning_rate=0.05)}
        self.commanded(monkeypatch, sent, {**commands, 16: Command(learning_rate=0.001), 18: Command(is_stopping=True)})

        worker.train(turned)

        assert turned.progress().changes == [
            HyperparameterChanged(5, "learning_rate", 0.05),
            HyperparameterChanged(16, "learning_rate", 0.001),
        ]

        sent.clear()
        self.commanded(monkeypatch, sent, {0: Command()})
        worker.train(turned)
        resumed = self.losses(sent)
        sent.clear()
        self.commanded(monkeypatch, sent, commands)
        worker.train(again)

        assert turned.progress().changes == [HyperparameterChanged(5, "learning_rate", 0.05)]
        assert resumed == self.losses(sent)[13:]
        assert turned.progress().loss == again.progress().loss

    def test_stopped_in_its_first_epoch_keeps_its_network_until_that_is_trained_anew(
        self, monkeypatch, sent, tiny, root
    ):
        stopped, never = (registry.create(tiny, name, root) for name in ("stopped", "never stopped"))
        self.commanded(monkeypatch, sent, {0: Command(), 5: Command(is_stopping=True)})

        worker.train(stopped)

        assert stopped.steps() == [0, 1, 2, 4, 5]
        assert list(stopped.progress().loss) == self.losses(sent)
        assert len(self.losses(sent)) == stopped.progress().step == 5
        assert stopped.last_checkpoint() is None
        assert stopped.record().state is State.STOPPED
        assert stopped.record().message.startswith("Stopped in epoch 1, after 5 batches. The time machine keeps")
        assert stopped.record().message.endswith("going on begins with the first batch.")

        sent.clear()
        self.commanded(monkeypatch, sent, {0: Command(), 18: Command(is_stopping=True)})
        worker.train(stopped)

        assert stopped.steps() == [0, 1, 2, 4, 8, 13, 18]
        assert stopped.last_checkpoint().step == 13
        assert stopped.record().message.endswith("going on begins after epoch 1.")

        for run in (stopped, never):
            sent.clear()
            self.commanded(monkeypatch, sent, {0: Command()})
            worker.train(run)

        assert stopped.steps() == never.steps() == [0, 1, 2, 4, 8, 13, 26]
        assert stopped.record().message == ""
        assert stopped.progress().loss == never.progress().loss

    def test_turns_a_knob_again_that_was_turned_in_an_unfinished_epoch(self, monkeypatch, sent, tiny, root, offline):
        run = registry.create(tiny, "turned and stopped", root)
        commands = {0: Command(), 16: Command(learning_rate=0.001), 18: Command(is_stopping=True)}
        self.commanded(monkeypatch, sent, commands)
        worker.train(run)
        sent.clear()

        offline.train(run)
        self.commanded(monkeypatch, sent, {0: offline.commanded(run.id)})
        worker.train(run)

        assert run.progress().changes == [HyperparameterChanged(13, "learning_rate", 0.001)]
        assert {event.learning_rate for event in sent if isinstance(event, Advanced)} == {float(np.float32(0.001))}

    def test_leaves_no_more_checkpoints_of_its_first_epoch_than_there_is_room_for(self, monkeypatch, sent, tiny, root):
        monkeypatch.setattr(checkpoints, "MAX_CHECKPOINT_BYTES", 0)
        run = registry.create(tiny, "test", root)
        self.commanded(monkeypatch, sent, {0: Command(), 9: Command(is_stopping=True)})

        worker.train(run)

        assert run.steps() == [0, 9]

    @pytest.mark.parametrize("is_state_written", [True, False])
    def test_a_full_disk_interrupts_it_and_it_goes_on_from_its_last_whole_epoch(
        self, monkeypatch, sent, tiny, root, is_state_written
    ):
        run, never = (registry.create(tiny, name, root) for name in ("interrupted", "never interrupted"))
        write = LocalFileSystem.pipe_file

        def full_after_one_epoch(self, path, value, **options):
            has_begun_second = any(isinstance(event, EpochEnded) for event in sent)
            if has_begun_second and not (is_state_written and "/state.json" in path):
                raise OSError(errno.ENOSPC, "No space left on device", path)
            write(self, path, value, **options)

        with monkeypatch.context() as full:
            full.setattr(LocalFileSystem, "pipe_file", full_after_one_epoch)
            with pytest.raises(StorageFull):
                worker.train(run)

        ended = sent[-1]
        assert ended.state is State.INTERRUPTED
        assert ended.state.is_resumable
        assert re.search(r"No space left on device.*Delete runs.*last whole epoch is kept", ended.message)
        assert root not in ended.message
        assert (run.record().state, run.record().message) == (
            (State.INTERRUPTED, ended.message) if is_state_written else (State.RUNNING, "")
        )
        assert run.last_checkpoint().step == 13

        for one in (run, never):
            sent.clear()
            worker.train(one)

        assert run.record().state is State.FINISHED
        assert run.progress().loss == never.progress().loss

    def test_a_full_disk_at_its_very_end_costs_no_epoch(self, monkeypatch, sent, tiny, root):
        run = registry.create(tiny, "test", root)

        def fail(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device", root)

        with monkeypatch.context() as full:
            full.setattr("keras.Model.save", fail)
            with pytest.raises(StorageFull):
                worker.train(run)
        interrupted, _ = run.record().state, sent.clear()
        worker.train(run)

        assert interrupted is State.INTERRUPTED
        assert run.record().state is State.FINISHED
        assert self.losses(sent) == []
        assert run.has_keras_file()

    @pytest.mark.parametrize("look_seconds", [0.0, 1e9], ids=["seen at once", "seen when it writes"])
    def test_stops_when_its_folder_is_deleted_and_writes_nothing_back(
        self, monkeypatch, sent, tiny, root, look_seconds
    ):
        monkeypatch.setattr(worker, "GONE_SECONDS", look_seconds)
        run = registry.create(tiny, "deleted", root)

        def read_command(run_id):
            if sum(isinstance(event, Advanced) for event in sent) == 9 and run.exists():
                run.delete()
            return Command()

        monkeypatch.setattr(worker, "read_command", read_command)
        with pytest.raises(RunNotFound):
            worker.train(run)

        assert sent[-1] == StateChanged(State.STOPPED, f"Run {run.id} was deleted.")
        assert len(self.losses(sent)) == (10 if look_seconds == 0 else 13)
        assert not Path(root, run.id).exists()

    def test_one_deleted_while_it_waited_is_over(self, sent, tiny, root):
        run = registry.create(tiny, "deleted", root)
        run.delete()

        worker.train(run)

        assert [event.state for event in sent] == [State.FAILED]
        assert not Path(root, run.id).exists()

    def test_leaves_nothing_in_the_worker(self, sent, tiny, root):
        run = registry.create(tiny, "test", root)
        worker.set_command(run.id, Command())
        worker.look(run.id, 3)

        worker.train(run)

        for kept in (worker._commands, worker._watched, worker._snapshots):
            assert run.id not in kept


def test_an_engines_folder_is_gone_after_it_is_closed():
    made = Engine()
    made.start()
    _until(lambda: made.cluster.client is not None)
    folder = made.cluster.scratch.path

    assert folder.is_dir()

    made.close()

    assert not folder.exists()


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
    _until(lambda: len(closed) == 3)

    assert closed == ["client", "cluster", "folder"]
    assert made.status().phase is Phase.OFF


def test_no_exception_of_another_library_leaves_the_worker():
    def explode():
        raise ZeroDivisionError("of a kind that must stay there")

    answer = worker.in_worker(explode)

    with pytest.raises(EngineError, match="ZeroDivisionError: of a kind that must stay there"):
        worker.unwrapped(answer)


def test_an_engine_that_cannot_reach_its_scheduler_says_so(monkeypatch, root):
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 1)
    alone = Engine("tcp://127.0.0.1:1")
    alone.start()
    _until(lambda: alone.status().phase is Phase.FAILED)

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
    _until(lambda: offline.status().workers == 1)
    offline.close()
    watching.join(PATIENCE)

    assert offline.status().memory == 5
    assert not watching.is_alive()


def test_predicting_before_the_engine_is_ready_is_refused_with_a_reason(offline, root):
    with pytest.raises(EngineNotReady, match="TensorFlow"):
        _predict(offline, Run("a" * 16, root), 1, _blank())


def test_another_server_on_the_same_scheduler_finds_the_run_going_on(engine, root):
    if engine.cluster.local is not None:
        pytest.skip("an embedded cluster has one server")
    run = _started(engine, root, LONG)
    _until(lambda: engine.progress(run).history)
    other = Engine(engine.cluster._scheduler)
    other.start()
    _until(lambda: other.status().phase is Phase.READY)
    step = other.progress(run).step

    assert other.progress(run).state is State.RUNNING
    _until(lambda: other.progress(run).step > step)
    other.close()
    _stop(engine, run)


def test_a_server_that_is_closed_leaves_its_run_to_go_on(engine, root):
    if engine.cluster.local is not None:
        pytest.skip("an embedded worker ends with its server")
    other = Engine(engine.cluster._scheduler)
    other.start()
    _until(lambda: other.status().phase is Phase.READY)
    run = _started(other, root, LONG)
    other.close()
    epochs = len(_until(lambda: engine.progress(run).history))
    _until(lambda: len(engine.progress(run).history) > epochs)

    assert engine.progress(run).state is run.record().state is State.RUNNING

    _stop(engine, run)


def test_an_idle_worker_that_has_grown_is_restarted(engine, monkeypatch):
    if engine.cluster.local is None:
        pytest.skip("a cluster's workers are not ours to restart")
    before = set(engine.cluster.client.run(os.getpid).values())
    monkeypatch.setattr(cluster_module, "RESTART_ABOVE_BYTES", 0)
    monkeypatch.setattr(cluster_module, "QUIET_SECONDS", 0)
    _until(lambda: engine.status().phase is Phase.WARMING)
    monkeypatch.undo()
    _until(lambda: engine.status().phase is Phase.READY)

    assert before.isdisjoint(engine.cluster.client.run(os.getpid).values())


def test_a_worker_that_has_grown_is_restarted_between_two_runs_of_the_queue(engine, root, monkeypatch):
    if engine.cluster.local is None:
        pytest.skip("a cluster's workers are not ours to restart")
    before = set(engine.cluster.client.run(os.getpid).values())
    busy = _started(engine, root, LONG)
    paused, last = (registry.create(SMALL, name, root) for name in ("begins paused", "comes last"))
    engine.train(paused, Command(is_paused=True))
    engine.train(last)
    monkeypatch.setattr(cluster_module, "RESTART_ABOVE_BYTES", 0)
    _stop(engine, busy)
    _until(lambda: engine.progress(paused).state is State.PAUSED)
    monkeypatch.undo()

    assert before.isdisjoint(engine.cluster.client.run(os.getpid).values())
    assert engine.progress(busy).state is State.STOPPED
    assert engine.progress(paused).step == 0
    assert engine.place_in_queue(last.id)[0] == 1

    engine.command(paused.id, is_paused=False)
    _until(lambda: engine.progress(last).state is State.FINISHED)

    assert engine.progress(paused).state is State.FINISHED


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


def test_this_process_never_loads_tensorflow():
    code = (
        "import sys; from core.engine.cluster import Phase; from core.engine.engine import Engine\n"
        "def main():\n"
        "    e = Engine(); e.start()\n"
        "    while e.status().phase is not Phase.READY: pass\n"
        "    e.close(); print([m for m in ('tensorflow', 'keras') if m in sys.modules])\n"
        "if __name__ == '__main__': main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)

    assert done.stdout.strip() == "[]", done.stderr


# --- the means ----------------------------------------------------------------------------------------------------------


def _until(condition, patience=PATIENCE):
    """What the condition gives as soon as it gives something true."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found is not None and found is not False and (isinstance(found, np.ndarray) or found):
            return found
        time.sleep(0.01)  # between two looks
    raise AssertionError(f"not within {patience} s")


def _predict(engine, run, step, images, timeout=2.0):
    return engine.wait(Predict(Network(run, step), images), timeout)


def _unless_not_ready(ask):
    try:
        return ask()
    except (EngineNotReady, WorkerLost):
        return None


def _blank():
    return np.zeros((1, 28, 28), np.uint8)


def _started(engine, root, experiment):
    run = registry.create(experiment, "test", root)
    engine.train(run)
    _until(lambda: engine.progress(run).step > 0 or engine.progress(run).state.is_over)
    return run


def _trained(engine, root):
    run = registry.create(SMALL, "test", root)
    engine.train(run)
    _until(lambda: engine.progress(run).state.is_over)
    assert engine.progress(run).state is State.FINISHED, engine.progress(run).message
    return run


def _stop(engine, run):
    engine.command(run.id, is_stopping=True)
    _until(lambda: engine.progress(run).state is State.STOPPED)
    _until(lambda: run.id not in engine.trainings._futures)


def _kill_worker_of(engine, run):
    processing = engine.cluster.client.processing()
    address = next(address for address, tasks in processing.items() if f"train-{run.id}" in tasks)
    os.kill(engine.cluster.client.run(os.getpid, workers=[address])[address], signal.SIGKILL)


def _cluster(stack, folder):
    """A `dask scheduler` and two `dask worker` processes on loopback, with TLS; the scheduler's address."""
    certificate, key = _certificate(folder)
    tls = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    stack.enter_context(dask.config.set({f"distributed.comm.tls.{name}": value for name, value in tls.items()}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tls://127.0.0.1:{port}"
    options = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    }
    commands = [
        ["scheduler", "--host", f"tls://127.0.0.1:{port}", "--no-dashboard"],
        *[["worker", address, "--nthreads", "2", "--resources", "train=1", "--no-dashboard"] for _ in range(2)],
    ]
    for command in commands:
        log = stack.enter_context((folder / "log.txt").open("a"))
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *command, *options], cwd=folder, env=environment, stdout=log, stderr=log
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
    return address


def _certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "digitlab-test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


def _orders(workers: HungWorkers) -> list[tuple[dict, list[str]]]:
    """Each order that was taken: its command's fields, and which of them are new."""
    return [(vars(command), sorted(changed)) for _, command, changed in workers.took]


def _worker_pids(engine: Engine) -> list[int]:
    return list(engine.cluster.client.run(os.getpid).values())
