"""The engine, embedded and on a cluster that was there before: the same tests for both."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from core.data import datasets
from core.data.handwriting import Handwriting
from core.engine import cluster as cluster_module
from core.engine.cluster import Phase
from core.engine.engine import Engine
from core.errors import DataError, RunDamaged, SpecError
from core.evaluation.questions import AnswerTest, Read
from core.evaluation.rejection import FitRejection
from core.explain.questions import VisitMoment
from core.model.specs import SGD, Augmentation, Conv2D, Dense, Dropout, Experiment, Flatten, Training, replaced
from core.runs import registry
from core.runs.network import Network
from core.runs.progress import Command, HyperparameterChanged, Progress, State
from core.runs.question import Question, Tell
from core.training import fine_tuning
from core.training.questions import Augment, FindRange, TimeEpoch
from core.training.range_test import RangeTest
from tests.core.engine.engines import (
    LONG,
    PATIENCE,
    ROOT,
    SMALL,
    blank,
    predict,
    started,
    stop,
    trained,
    unless_not_ready,
    until,
)


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
    until(lambda: engine.progress(run).state.is_over)

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
    until(lambda: engine.progress(run).step > 0)
    stop()
    began = time.monotonic()

    engine.command(run.id, is_paused=True)
    engine.command(run.id, learning_rate=0.125)

    assert time.monotonic() - began < cluster_module.CONNECT_SECONDS / 6
    assert engine.is_unanswered(run.id)
    assert engine.progress(run).state is State.RUNNING
    go_on()
    until(lambda: engine.progress(run).state is State.PAUSED and not engine.is_unanswered(run.id))
    engine.command(run.id, is_paused=False)
    until(lambda: engine.progress(run).live_hyperparameters.get("learning_rate") == 0.125)
    engine.command(run.id, is_stopping=True)
    until(lambda: engine.progress(run).state is State.STOPPED)
    assert not engine.is_unanswered(run.id)


def test_a_sleep_of_any_length_loses_no_worker(engine):
    if engine.cluster.local is None:
        pytest.skip("a scheduler of another's has a configuration of its own")

    assert engine.cluster.local.scheduler.worker_ttl is None


def test_a_digit_s_readings_are_traced_through_the_kept_networks(engine, finished, dataset):
    image = dataset.x_test[0]

    until(lambda: len(engine.trace(finished, image)) == len(finished.steps()))

    trace = engine.trace(finished, image)
    assert list(trace) == finished.steps()
    for step in (0, 36):
        assert np.allclose(trace[step], predict(engine, finished, step, image[None], timeout=30)[0], atol=1e-6)


def test_a_digit_is_watched_while_a_run_trains(engine, root, dataset):
    image = dataset.x_test[1]
    run = registry.create(LONG, "Watched", root)
    engine.train(run)

    def is_watched() -> bool:
        engine.watch(run.id, 7, image)
        return bool(engine.trace(run, image).keys() - set(run.steps()))

    until(is_watched)
    engine.command(run.id, is_stopping=True)
    until(lambda: engine.progress(run).state.is_over)

    trace = engine.trace(run, image)
    assert list(trace) == sorted(trace)
    assert all(np.isclose(reading.sum(), 1, atol=1e-5) for reading in trace.values())


def test_a_run_trains_to_its_end_and_leaves_a_whole_folder(engine, root):
    run = trained(engine, root)

    assert engine.progress(run).state is State.FINISHED
    assert [row.epoch for row in engine.progress(run).history] == [1, 2]
    assert run.steps() == [0, 1, 2, 4, 8, 16, 18, 36]
    assert run.last_checkpoint().step == 36
    assert run.has_keras_file()


def test_what_the_events_said_is_what_the_folder_says(engine, root):
    run = trained(engine, root)
    live = engine.trainings._progress[run.id]
    until(lambda: live.state is State.FINISHED)
    recorded = run.progress()

    assert live.history == recorded.history
    assert list(live.loss) == list(recorded.loss)
    assert live.step == recorded.step


def test_probabilities_are_those_of_the_evaluation(engine, finished):
    from core.data import datasets

    evaluation = until(lambda: engine.ask(AnswerTest(Network(finished, 36))))
    images = datasets.load().x_test[:3]
    probabilities = until(lambda: unless_not_ready(lambda: predict(engine, finished, 36, images)))

    assert probabilities.shape == (3, 10)
    np.testing.assert_allclose(probabilities, evaluation.probabilities[:3], atol=1e-5)
    np.testing.assert_allclose(evaluation.probabilities.sum(axis=1), 1, atol=1e-5)


def test_a_reading_is_the_network_s_answer_and_once_it_is_judged_a_judged_one(engine, finished):
    image, network = np.zeros((1, 28, 28), np.uint8), Network(finished, 36)
    probabilities = until(lambda: unless_not_ready(lambda: predict(engine, finished, 36, image)))
    (first,) = until(lambda: unless_not_ready(lambda: engine.wait(Read(network, image))))

    assert first.is_digit
    assert np.isnan(first.ood_score)
    np.testing.assert_allclose(first.probabilities, probabilities[0], atol=1e-5)

    until(lambda: engine.ask(FitRejection(network, images=300)))
    (reading,) = until(lambda: unless_not_ready(lambda: engine.wait(Read(network, image))))

    assert reading.is_digit is (reading.ood_score <= 0)
    assert reading.probabilities.argmax() == probabilities[0].argmax()
    assert network.rejection() is not None


def test_an_evaluation_is_computed_once(engine, finished):
    until(lambda: engine.ask(AnswerTest(Network(finished, 36))))
    file = Path(finished.root, finished.id, "evaluations/00000036.npz")
    written = file.stat().st_mtime_ns

    assert engine.ask(AnswerTest(Network(finished, 36))) is not None
    assert file.stat().st_mtime_ns == written


def test_a_paused_run_stands_still_until_it_goes_on(engine, root):
    run = started(engine, root, LONG)
    engine.command(run.id, is_paused=True)
    until(lambda: engine.progress(run).state is State.PAUSED)
    step = engine.progress(run).step

    assert run.record().state is State.PAUSED
    assert engine.progress(run).step == step

    engine.command(run.id, is_paused=False)
    until(lambda: engine.progress(run).step > step)
    stop(engine, run)


def test_a_run_begun_paused_is_stepped_watched_and_turned(engine, root):
    run = registry.create(LONG, "test", root)
    engine.train(run, Command(is_paused=True))
    until(lambda: engine.progress(run).state is State.PAUSED)

    assert engine.progress(run).step == 0

    engine.command(run.id, until_step=1)
    until(lambda: engine.progress(run).state is State.PAUSED and engine.progress(run).step)
    snapshot = until(lambda: (seen := engine.watch(run.id, digit=3)) and seen.step and seen)

    assert engine.progress(run).step == snapshot.step == 1
    assert snapshot.kernels.shape == (4, 3, 3)
    assert list(snapshot.gradient_norms) == ["01_conv2d", "04_dense", "probabilities"]
    np.testing.assert_array_equal(snapshot.kernels, run.weights(1)["01_conv2d.0.kernel"][:, :, 0].transpose(2, 0, 1))

    engine.command(run.id, is_paused=False, learning_rate=0.125)
    until(lambda: engine.progress(run).history)
    stop(engine, run)

    assert engine.progress(run).changes == run.progress().changes == [HyperparameterChanged(1, "learning_rate", 0.125)]
    assert run.progress().learning_rate == 0.125
    assert engine.watch(run.id, digit=3).step >= 1


def test_a_moment_is_what_predictions_and_checkpoints_say(engine, finished):
    from core.data import datasets

    image = datasets.load().x_test[0]
    for step in (1, 36):
        moment = until(
            lambda step=step: unless_not_ready(
                lambda: engine.wait(VisitMoment(Network(finished, step), (image).tobytes()), 10.0)
            )
        )
        probabilities = until(lambda step=step: unless_not_ready(lambda: predict(engine, finished, step, image[None])))

        np.testing.assert_allclose(moment.probabilities, probabilities[0], atol=1e-6)
        kernel = finished.weights(step)["01_conv2d.0.kernel"]
        np.testing.assert_array_equal(moment.kernels, kernel[:, :, 0].transpose(2, 0, 1))
        assert list(moment.maps) == ["01_conv2d", "02_maxpooling2d"]
        assert moment.confusion.sum() == 64

    assert tuple(moment.confusion.ravel()) == finished.progress().history[-1].confusion


def test_a_moment_that_was_not_kept_is_refused(engine, finished):
    with pytest.raises(RunDamaged, match=r"has no checkpoints/00000003\.npz"):
        until(
            lambda: unless_not_ready(
                lambda: engine.wait(VisitMoment(Network(finished, 3), (blank()[0]).tobytes()), 10.0)
            )
        )


def test_a_damaged_evaluation_is_computed_again(engine, finished):
    whole = until(lambda: engine.ask(AnswerTest(Network(finished, 18))))
    Path(finished.root, finished.id, "evaluations/00000018.npz").write_bytes(b"damaged")
    again = until(lambda: engine.ask(AnswerTest(Network(finished, 18))))

    np.testing.assert_array_equal(again.probabilities, whole.probabilities)


def test_questions_are_answered_by_a_worker(engine):
    from core.training import augmentation as augment

    augmentation = Augmentation(rotation=20.0)
    found = until(lambda: engine.ask(FindRange(SMALL)))
    seconds = until(lambda: unless_not_ready(lambda: engine.ask(TimeEpoch(SMALL))))
    moved = until(lambda: engine.ask(Augment(augmentation, (5, 2), (7,))))

    assert type(found) is RangeTest
    assert 5 <= len(found.losses) == len(found.learning_rates) <= 100
    assert 0 < seconds < 60
    np.testing.assert_array_equal(moved[0], augment.preview(datasets.load().x_train[[5, 2]], augmentation, 7))
    assert engine.ask(FindRange(SMALL)) is found
    with pytest.raises(SpecError, match=r"^The output layer: "):
        until(lambda: engine.ask(FindRange(Experiment(layers=()))))


def test_a_question_that_is_new_is_answered_by_a_worker(engine):
    @dataclass(frozen=True)
    class WhoWorks(Question):
        numbers: tuple[int, ...]

        def work(self, tell: Tell) -> tuple[int, int]:
            tell(0.5)
            return os.getpid(), sum(self.numbers)

    asked, waited = until(lambda: engine.ask(WhoWorks((1, 2)))), engine.wait(WhoWorks((3, 4)), PATIENCE)

    assert {asked[0], waited[0]} <= set(_worker_pids(engine))
    assert (asked[1], waited[1]) == (3, 7)
    assert engine.ask(WhoWorks((1, 2))) is asked


def test_a_question_tells_its_share_and_ends_where_it_is_cancelled(engine, tmp_path):
    @dataclass(frozen=True)
    class Endless(Question):
        end: str

        def work(self, tell: Tell) -> int:
            try:
                while True:
                    tell(0.5)
                    time.sleep(0.01)  # between two words
            finally:
                Path(self.end).touch()

    question = Endless(str(tmp_path / "ended"))
    assert engine.ask(question) is None
    until(lambda: engine.share(question) == 0.5)
    assert engine.ask(question) is None

    engine.cancel(question)

    until(Path(question.end).exists)
    assert engine.share(question) == 0


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
            return unless_not_ready(lambda: engine.ask(Augment(Augmentation(), (0, 1), (3,))))

        np.testing.assert_array_equal(until(ask)[0], own.x_train[:2])

        monkeypatch.undo()
        monkeypatch.setattr(datasets, "_loaded", datasets.load())
        np.testing.assert_array_equal(until(ask)[0], dataset.x_train[:2])

    def test_it_trains_on_those_and_the_run_remembers_them(self, engine, own, root, monkeypatch):
        once = replaced(SMALL.training, epochs=1, train_size=300)
        run = registry.create(Experiment(layers=SMALL.layers, training=once), "own digits", root)
        engine.train(run)
        until(lambda: engine.progress(run).state.is_over)

        wrongest = engine.progress(run).history[-1].wrongest
        assert all(index < 300 for index, _, _ in wrongest)
        assert run.record().dataset == own.digest
        until(lambda: engine.ask(AnswerTest(Network(run, run.steps()[-1]))))
        assert Network(run, run.steps()[-1]).evaluation().dataset == own.digest

        monkeypatch.setattr(datasets, "_loaded", replace(own, x_test=own.x_test[::-1]))
        with pytest.raises(DataError, match="trained on other digits than those in use now"):
            engine.train(run)

    def test_it_says_that_it_has_not_got_them(self, engine, own, root, monkeypatch):
        monkeypatch.setattr(datasets, "_loaded", replace(own, x_test=own.x_test[::-1]))  # which are in no file
        run = registry.create(SMALL, "gone", root)

        with pytest.raises(DataError, match="does not have the digits that this lab uses"):
            until(lambda: engine.ask(Augment(Augmentation(), (0, 1), (3,))))
        engine.train(run)
        until(lambda: engine.progress(run).state.is_over)

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
    short = Experiment(layers=SMALL.layers, training=Training(epochs=10, batch_size=8, train_size=1200))
    run = started(engine, root, short)
    until(lambda: engine.progress(run).history)
    stop(engine, run)
    kept = len(run.progress().history)

    assert engine.progress(run).state is State.STOPPED
    assert 1 <= kept < 10

    engine.train(run)
    until(lambda: engine.progress(run).state is State.FINISHED)

    assert len(run.progress().history) == 10


def test_the_second_run_waits_for_a_free_worker_and_can_leave_the_queue(engine, root):
    workers = engine.status().workers
    busy = [started(engine, root, LONG) for _ in range(workers)]
    waiting = registry.create(SMALL, "waits", root)
    engine.train(waiting)

    assert engine.progress(waiting).state is State.QUEUED
    assert waiting.id in engine.status().queued

    engine.command(waiting.id, is_stopping=True)

    assert engine.progress(waiting).state is State.STOPPED
    for run in busy:
        stop(engine, run)


def test_a_loss_that_is_not_finite_ends_the_run_and_says_so(engine, root):
    training = Training(epochs=3, train_size=640, optimizer=SGD(momentum=0.99), learning_rate=10.0)
    wild = (Conv2D(filters=8, activation="linear"), Flatten(), Dense(units=64, activation="linear"))
    run = registry.create(Experiment(layers=wild, training=training), "wild", root)
    engine.train(run)
    until(lambda: engine.progress(run).state.is_over)

    assert engine.progress(run).state is State.FAILED
    assert "Try a lower learning rate" in engine.progress(run).message
    assert len(trained(engine, root).progress().history) == 2


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
        until(lambda: all(engine.progress(run).state.is_over for run in made))
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
    run = started(engine, root, LONG)
    until(lambda: engine.progress(run).history)
    _kill_worker_of(engine, run)
    until(lambda: engine.progress(run).state is State.INTERRUPTED, patience=5)
    kept = len(run.progress().history)

    assert run.record().state is State.INTERRUPTED

    engine.train(run)
    until(lambda: engine.progress(run).step > kept * engine.progress(run).steps_per_epoch)

    assert engine.progress(run).history[kept - 1].epoch == kept
    stop(engine, run)


def test_a_run_that_only_waited_behind_a_killed_worker_keeps_its_place_and_its_command(engine, root):
    if engine.cluster.local is None:
        pytest.skip("which of several workers it waits behind is the scheduler's choice")
    busy = started(engine, root, LONG)
    waiting = registry.create(SMALL, "waits", root)
    engine.train(waiting, Command(is_paused=True))
    _kill_worker_of(engine, busy)
    until(lambda: engine.progress(busy).state is State.INTERRUPTED)
    until(lambda: engine.progress(waiting).state is State.PAUSED)

    assert engine.progress(waiting).step == 0

    stop(engine, waiting)


def test_predictions_come_back_after_the_worker_died(engine, root):
    run = trained(engine, root)
    until(lambda: unless_not_ready(lambda: predict(engine, run, 36, blank())) is not None)
    for process in engine.cluster.client.run(os.getpid).values():
        os.kill(process, signal.SIGKILL)
    probabilities = until(lambda: unless_not_ready(lambda: predict(engine, run, 36, blank())))

    assert probabilities.shape == (1, 10)


def test_a_run_that_only_its_folder_calls_unfinished_is_interrupted(engine, root):
    run = registry.create(SMALL, "left behind", root)
    run.write_state(State.RUNNING)

    assert engine.progress(run).state is State.INTERRUPTED


def test_an_engines_folder_is_gone_after_it_is_closed():
    made = Engine()
    made.start()
    until(lambda: made.cluster.client is not None)
    folder = made.cluster.scratch.path

    assert folder.is_dir()

    made.close()

    assert not folder.exists()


def test_another_server_on_the_same_scheduler_finds_the_run_going_on(engine, root):
    if engine.cluster.local is not None:
        pytest.skip("an embedded cluster has one server")
    run = started(engine, root, LONG)
    until(lambda: engine.progress(run).history)
    other = Engine(engine.cluster._scheduler)
    other.start()
    until(lambda: other.status().phase is Phase.READY)
    step = other.progress(run).step

    assert other.progress(run).state is State.RUNNING
    until(lambda: other.progress(run).step > step)
    other.close()
    stop(engine, run)


def test_a_server_that_is_closed_leaves_its_run_to_go_on(engine, root):
    if engine.cluster.local is not None:
        pytest.skip("an embedded worker ends with its server")
    other = Engine(engine.cluster._scheduler)
    other.start()
    until(lambda: other.status().phase is Phase.READY)
    run = started(other, root, LONG)
    other.close()
    epochs = len(until(lambda: engine.progress(run).history))
    until(lambda: len(engine.progress(run).history) > epochs)

    assert engine.progress(run).state is run.record().state is State.RUNNING

    stop(engine, run)


def test_an_idle_worker_that_has_grown_is_restarted(engine, monkeypatch):
    if engine.cluster.local is None:
        pytest.skip("a cluster's workers are not ours to restart")
    before = set(engine.cluster.client.run(os.getpid).values())
    monkeypatch.setattr(cluster_module, "RESTART_ABOVE_BYTES", 0)
    monkeypatch.setattr(cluster_module, "QUIET_SECONDS", 0)
    until(lambda: engine.status().phase is Phase.WARMING)
    monkeypatch.undo()
    until(lambda: engine.status().phase is Phase.READY)

    assert before.isdisjoint(engine.cluster.client.run(os.getpid).values())


def test_a_worker_that_has_grown_is_restarted_between_two_runs_of_the_queue(engine, root, monkeypatch):
    if engine.cluster.local is None:
        pytest.skip("a cluster's workers are not ours to restart")
    before = set(engine.cluster.client.run(os.getpid).values())
    busy = started(engine, root, LONG)
    paused, last = (registry.create(SMALL, name, root) for name in ("begins paused", "comes last"))
    engine.train(paused, Command(is_paused=True))
    engine.train(last)
    monkeypatch.setattr(cluster_module, "RESTART_ABOVE_BYTES", 0)
    stop(engine, busy)
    until(lambda: engine.progress(paused).state is State.PAUSED)
    monkeypatch.undo()

    assert before.isdisjoint(engine.cluster.client.run(os.getpid).values())
    assert engine.progress(busy).state is State.STOPPED
    assert engine.progress(paused).step == 0
    assert engine.place_in_queue(last.id)[0] == 1

    engine.command(paused.id, is_paused=False)
    until(lambda: engine.progress(last).state is State.FINISHED)

    assert engine.progress(paused).state is State.FINISHED


def test_this_process_never_loads_tensorflow():
    code = (
        "import sys, time; from core.engine.cluster import Phase; from core.engine.engine import Engine\n"
        "def main():\n"
        "    e = Engine(); e.start()\n"
        "    while e.status().phase is not Phase.READY: time.sleep(0.05)\n"
        "    e.close(); print([m for m in ('tensorflow', 'keras') if m in sys.modules])\n"
        "if __name__ == '__main__': main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)

    assert done.stdout.strip() == "[]", done.stderr


def _kill_worker_of(engine, run):
    processing = engine.cluster.client.processing()
    address = next(address for address, tasks in processing.items() if f"train-{run.id}" in tasks)
    os.kill(engine.cluster.client.run(os.getpid, workers=[address])[address], signal.SIGKILL)


def _worker_pids(engine: Engine) -> list[int]:
    return list(engine.cluster.client.run(os.getpid).values())


def test_old_runs_make_room_but_none_that_waits(offline, runs_root, monkeypatch):
    monkeypatch.setenv("DIGITLAB_RUNS_GB", "1e-9")
    monkeypatch.delenv("DIGITLAB_LOCAL", raising=False)
    old, waiting = (registry.create(SMALL, name) for name in ("old", "waiting"))
    old.write_state(State.FINISHED)
    offline.train(waiting)

    offline._keep_within_allowance()

    assert list(registry.all_runs()) == [waiting]
    assert offline.allowance.is_exceeded
