"""What a network is asked about digits, found out in this process as a worker would."""

from dataclasses import replace

import numpy as np
import pytest

from core.data import datasets
from core.data.splits import held_out_count, held_out_images
from core.errors import RunDamaged, RunNotFound
from core.evaluation import rejection, robustness
from core.evaluation.questions import AnswerHeldOut, AnswerTest, BreakIt, Predict, ReadDrawings, TraceDigit
from core.model import ledger
from core.model.specs import Experiment, Flatten, Training, replaced
from core.runs import loaded, registry
from core.runs.contents import Readings
from core.runs.network import Network
from core.runs.question import KEPT, untold
from core.runs.run import Run
from tests.networks import made, probabilities


class Still:
    """A network that has learned one digit and says nothing else."""

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        assert images.shape[1:] == (28, 28, 1)
        return np.tile(np.eye(10, dtype=np.float32)[7], (len(images), 1))


@pytest.fixture(autouse=True)
def _few_digits(monkeypatch, dataset) -> None:
    monkeypatch.setattr(datasets, "_loaded", dataset)


@pytest.fixture
def still(monkeypatch) -> None:
    """Every run's network is one that says nothing but 7."""
    monkeypatch.setattr(loaded, "keras_network", lambda network: Still())


@pytest.fixture
def run(tiny, still) -> Run:
    return registry.create(tiny, "A run")


def test_the_whole_test_set_is_answered(run, dataset):
    assert AnswerTest(Network(run, 8)).work(untold) is KEPT

    kept = Network(run, 8).evaluation()

    np.testing.assert_array_equal(kept.y_true, dataset.y_test, strict=True)
    assert (kept.probabilities.argmax(axis=1) == 7).all()


def test_the_held_out_are_those_that_the_training_held_out(run, dataset):
    training = run.experiment().training
    trained_on, held_out = datasets.split(
        dataset.y_train, training.train_size, training.validation_split, training.seed
    )

    assert AnswerHeldOut(Network(run, 8)).work(untold) is KEPT
    assert held_out_count(run, len(dataset.y_train)) == 100

    kept = Network(run, 8).validation()

    assert len(kept.y_true) == 100
    np.testing.assert_array_equal(kept.indices, held_out, strict=True)
    np.testing.assert_array_equal(kept.y_true, dataset.y_train[held_out], strict=True)
    assert not set(kept.indices.tolist()) & set(trained_on.tolist())


def test_what_was_read_in_all_digits_is_not_asked_again_of_those_held_out(run, dataset, monkeypatch):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(10), len(dataset.y_train)).astype(np.float32)
    features = np.zeros((len(probabilities), 1), np.float32)
    Network(run, 8).keep_readings(Readings(8, probabilities, features, dataset.y_train))
    monkeypatch.delattr(loaded, "keras_network")

    AnswerHeldOut(Network(run, 8)).work(untold)

    held_out = held_out_images(run, dataset.y_train)
    np.testing.assert_array_equal(Network(run, 8).validation().probabilities, probabilities[held_out], strict=True)


def test_what_was_read_in_other_digits_counts_for_nothing(run, dataset):
    probabilities = np.full((len(dataset.y_train), 10), 0.1, np.float32)
    features = np.zeros((len(probabilities), 1), np.float32)
    Network(run, 8).keep_readings(Readings(8, probabilities, features, dataset.y_train[::-1].copy()))

    AnswerHeldOut(Network(run, 8)).work(untold)

    assert (Network(run, 8).validation().probabilities.argmax(axis=1) == 7).all()


def test_drawings_are_answered_as_draw_answers(run, monkeypatch):
    drawings, told = np.zeros((450, 28, 28), np.uint8), []
    drawings[:, 0, 0] = np.arange(450) % 10

    def read(network, images):
        assert network == Network(run, 8)
        return [rejection.Reading(np.eye(10, dtype=np.float32)[one[0, 0]], 0.0, True, "") for one in images]

    monkeypatch.setattr(rejection, "read", read)

    probabilities = ReadDrawings(Network(run, 8), drawings.tobytes()).work(told.append)

    np.testing.assert_array_equal(probabilities, np.eye(10, dtype=np.float32)[np.arange(450) % 10], strict=True)
    assert told == sorted(told)
    assert len(told) > 1


def test_where_none_are_held_out_there_are_no_answers(tiny, dataset, still):
    experiment = Experiment(layers=(Flatten(),), training=Training(train_size=200, validation_split=0.0))
    run = registry.create(replaced(tiny, training=experiment.training), "All of them")

    assert AnswerHeldOut(Network(run, 8)).work(untold) is KEPT
    assert Network(run, 8).validation().probabilities.shape == (0, 10)
    assert len(held_out_images(run, dataset.y_train)) == held_out_count(run, len(dataset.y_train)) == 0


def test_breaking_it_keeps_what_was_read(run, dataset):
    shares = []

    assert BreakIt(Network(run, 8)).work(shares.append) is KEPT

    kept = Network(run, 8).robustness()

    assert kept.images == len(dataset.y_test)
    assert robustness.score(kept) == pytest.approx(float(np.mean(dataset.y_test == 7)))
    assert shares == sorted(shares)
    assert len(shares) == 45


@pytest.mark.parametrize("kind", [AnswerTest, AnswerHeldOut, BreakIt])
def test_what_is_kept_counts_for_the_images_that_it_is_of(run, dataset, kind, monkeypatch):
    trial = kind(Network(run, 8))
    assert trial.kept() is None

    trial.work(untold)
    assert trial.kept() is not None

    turned = replace(dataset, **{name: getattr(dataset, name)[::-1] for name in datasets.ARRAYS})
    fewer = replace(dataset, **{name: getattr(dataset, name)[:50] for name in datasets.ARRAYS})
    redrawn = replace(dataset, x_train=255 - dataset.x_train, x_test=255 - dataset.x_test)  # with the same labels
    for other in (turned, fewer, redrawn):
        monkeypatch.setattr(datasets, "_loaded", other)
        assert trial.kept() is None


@pytest.mark.parametrize("trial", [AnswerTest, AnswerHeldOut, BreakIt])
def test_a_run_deleted_meanwhile_stays_deleted(run, trial, monkeypatch):
    folder = run.root

    def delete_and_answer(*arguments):
        if Run(run.id, folder).exists():
            run.delete()
        return np.tile(np.eye(10, dtype=np.float32)[7], (len(arguments[1]), 1))

    monkeypatch.setattr(loaded, "probabilities", delete_and_answer)

    with pytest.raises(RunNotFound):
        trial(Network(run, 8)).work(untold)
    assert not run.exists()


class TestProbabilities:
    def test_are_those_of_the_network_at_that_step(self, tiny, dataset):
        run, images = made(tiny, 1, 2), dataset.x_test[:5]

        asked = {step: Predict(Network(run, step), images).work(untold) for step in (1, 2)}

        for step, answer in asked.items():
            np.testing.assert_allclose(answer, probabilities(tiny, step, images), rtol=1e-5)

    def test_of_a_step_that_was_not_kept_are_refused(self, tiny, dataset):
        run = made(tiny, 1, 4)

        with pytest.raises(RunDamaged, match=rf"^Run {run.id} has no checkpoint after 3 batches; it has \[1, 4\]\.$"):
            Predict(Network(run, 3), dataset.x_test[:1]).work(untold)


class TestTraceDigit:
    def test_is_answered_by_the_network_at_each_step(self, tiny, dataset):
        run, image = made(tiny, 1, 2), dataset.x_test[3]

        found = TraceDigit(run, (2, 1), image.tobytes()).work(untold)

        expected = np.concatenate([probabilities(tiny, step, image[None]) for step in (2, 1)])
        np.testing.assert_allclose(found, expected, rtol=1e-5, strict=True)

    def test_through_a_step_that_was_not_kept_is_refused(self, tiny, dataset):
        with pytest.raises(RunDamaged, match=r"has no checkpoints/00000003\.npz"):
            TraceDigit(made(tiny, 1), (1, 3), dataset.x_test[0].tobytes()).work(untold)


class TestEvaluate:
    @pytest.mark.parametrize("batch", [500, 64])
    def test_leaves_the_answers_for_the_test_set_in_the_folder(self, tiny, dataset, monkeypatch, batch):
        cost = ledger.read(tiny.layers)
        monkeypatch.setattr(type(cost), "evaluation_batch", batch)
        run = made(tiny, 1)

        AnswerTest(Network(run, 1)).work(untold)

        evaluation = Network(run, 1).evaluation()
        np.testing.assert_allclose(evaluation.probabilities, probabilities(tiny, 1, dataset.x_test), rtol=1e-4)
        np.testing.assert_array_equal(evaluation.y_true, dataset.y_test)
