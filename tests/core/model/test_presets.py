"""Every named network is whole: it can be said, built and trained, and begins by knowing nothing."""

import math

import numpy as np
import pytest

from core.model import ledger, presets
from core.model.specs import parse_experiment

ALL = pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=lambda preset: preset.name)


@ALL
def test_survives_the_way_through_a_link(preset):
    assert parse_experiment(preset.experiment.model_dump_json()) == preset.experiment


@ALL
def test_says_why_one_would_take_it_and_where_it_comes_from(preset):
    assert preset.about.endswith(".")
    assert preset.source.endswith(".")


def test_parameters_are_those_of_the_sources():
    parameters = {name: ledger.check(preset.experiment).parameters for name, preset in presets.PRESETS.items()}

    assert parameters == {
        "First CNN": (3 * 3 * 1 + 1) * 28 + (13 * 13 * 28 + 1) * 128 + (128 + 1) * 10,
        "Fast 99": (5 * 5 * 1 + 1) * 16
        + 4 * 16
        + (3 * 3 * 16 + 1) * 32
        + 4 * 32
        + (5 * 5 * 32 + 1) * 64
        + (64 + 1) * 10,
        "LeNet-5": 61_706,
        "Keras convnet": 34_826,  # as printed by summary() on the page of the example
        "MLP 784-128-10": (784 + 1) * 128 + (128 + 1) * 10,
    }


@ALL
def test_loss_at_initialisation_is_about_that_of_guessing(preset, dataset):
    from core.model import keras_model

    network = keras_model.build(preset.experiment)
    probabilities = network.predict_on_batch(dataset.x_train[:500, ..., None])

    loss = -np.log(probabilities[np.arange(500), dataset.y_train[:500]]).mean()

    assert network.count_params() == ledger.read(preset.experiment.layers).parameters
    assert loss == pytest.approx(math.log(10), abs=0.25)
