"""What a network reads in all digits, and maps of them: by the jobs as a worker does them, against Keras and brute force."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from core.data import datasets, measures, questions
from core.data.measures import Layout
from core.data.questions import PIXELS, DrawMap, NearDuplicates, NearestInside, ReadAll
from core.errors import NotExplainable, RunDamaged
from core.model import keras_model
from core.model.specs import Conv2D, Dense, Experiment, Flatten
from core.runs import registry
from core.runs.contents import Checkpoint
from core.runs.network import Network
from core.runs.question import untold
from core.runs.run import Run

NARROW = Experiment(layers=(Flatten(), Dense(units=12)))
WIDE = Experiment(layers=(Conv2D(filters=2), Flatten()))


@pytest.fixture(autouse=True)
def digits(dataset, monkeypatch):
    monkeypatch.setattr(datasets, "_loaded", dataset)
    return dataset


@pytest.fixture(params=[NARROW, WIDE], ids=["of twelve features", "of many features"])
def run(request, runs_root: Path) -> Run:
    """A run whose network has its initial weights."""
    run = registry.create(request.param, "A run")
    run.write_weights(Checkpoint(0, keras_model.variables(keras_model.build(request.param))[0], None))
    return run


def heard(job) -> list[float]:
    told: list[float] = []
    job.work(told.append)
    return told


def penultimate(run: Run, images: np.ndarray) -> np.ndarray:
    network = keras_model.build(run.experiment())
    return keras.Model(network.input, network.layers[-1].input).predict_on_batch(images[..., None])


def test_it_reads_what_keras_reads_and_keeps_it_beside_the_run(run, digits):
    told = heard(ReadAll(Network(run, 0)))

    kept = Network(run, 0).readings()
    expected = keras_model.build(run.experiment()).predict_on_batch(digits.x_train[..., None])
    np.testing.assert_allclose(kept.probabilities, expected, atol=1e-4)
    assert kept.y_true.tolist() == digits.y_train.tolist()
    assert told == sorted(told)
    assert all(0 <= share <= 1 for share in told)


def test_neighbours_by_features_are_those_of_brute_force(run, digits):
    ReadAll(Network(run, 0)).work(untold)

    found = NearestInside(Network(run, 0), digits.x_train[5].tobytes(), but=5).work(untold)

    features = penultimate(run, digits.x_train)
    distances = np.linalg.norm(features - features[5], axis=1)
    expected = np.argsort(distances)[1:6]
    assert found.indices.tolist() == expected.tolist()
    np.testing.assert_allclose(found.distances, distances[expected], rtol=1e-3)


def test_without_having_read_it_knows_no_neighbours(run, digits):
    with pytest.raises(RunDamaged, match="read all digits first"):
        NearestInside(Network(run, 0), digits.x_test[0].tobytes()).work(untold)


@pytest.mark.parametrize("layer", questions.layers(NARROW))
def test_a_map_of_a_layer_is_that_of_its_outputs(layer, digits, runs_root):
    run = registry.create(NARROW, "A run")
    run.write_weights(Checkpoint(0, keras_model.variables(keras_model.build(NARROW))[0], None))

    plane = DrawMap(300, Layout.PCA, layer, Network(run, 0)).work(untold)

    network = keras_model.build(NARROW)
    chosen = digits.x_train[measures.sample(np.arange(len(digits.x_train)), 300)]
    outputs = keras.Model(network.input, network.get_layer(layer).output).predict_on_batch(chosen[..., None])
    expected = measures.layout(outputs, Layout.PCA)
    for axis in range(2):
        assert abs(np.corrcoef(plane[:, axis], expected[:, axis])[0, 1]) > 0.99


def test_a_map_of_pixels_needs_no_run_and_tells_how_far_it_is(digits):
    told = heard(DrawMap(200, Layout.TSNE, PIXELS))

    assert told[-1] == 1
    assert len(told) > 20


def test_a_layer_that_is_not_there_is_named(run):
    with pytest.raises(RunDamaged, match="no layer 'attic'"):
        DrawMap(50, Layout.PCA, "attic", Network(run, 0)).work(untold)


@pytest.mark.parametrize(
    "job",
    [lambda run: ReadAll(Network(run, 0)), lambda run: DrawMap(50, Layout.TSNE, "02_dense", Network(run, 0))],
    ids=["reading", "a map"],
)
def test_a_network_whose_weights_are_no_numbers_is_told_of(job, runs_root):
    experiment = Experiment(layers=(Flatten(), Dense(units=100)))
    run = registry.create(experiment, "A run")
    weights = keras_model.variables(keras_model.build(experiment))[0]
    run.write_weights(Checkpoint(0, {name: np.full_like(values, np.nan) for name, values in weights.items()}, None))

    with pytest.raises(NotExplainable, match="not numbers"):
        job(run).work(untold)


def test_near_duplicates_are_sought_in_both_files(digits):
    pairs = NearDuplicates(within=30).work(untold)

    assert pairs.indices.max() >= len(digits.x_train)
    labels = np.concatenate([digits.y_train, digits.y_test])
    assert (labels[pairs.indices[:, 0]] == labels[pairs.indices[:, 1]]).all()


def test_layers_are_called_as_in_the_network():
    names = questions.layers(WIDE)

    assert names == [layer.name for layer in keras_model.build(WIDE).layers[2:]]
