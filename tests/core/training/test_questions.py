"""What is asked about a training before it begins is what the training itself would do."""

from __future__ import annotations

import numpy as np
import pytest

from core.data import datasets
from core.errors import SpecError
from core.model.specs import Augmentation, Experiment
from core.runs.question import untold
from core.training import augmentation, loop
from core.training.questions import Augment, FindRange, TimeEpoch

TURNING = Augmentation(rotation=20.0, noise=0.1)


@pytest.fixture(autouse=True)
def few_images(monkeypatch, dataset) -> None:
    monkeypatch.setattr(datasets, "_loaded", dataset)


def test_an_epoch_is_timed_while_nothing_else_runs(tiny):
    assert TimeEpoch.needs_quiet
    assert 0 < TimeEpoch(tiny).work(untold) < 60


def test_a_range_test_is_that_of_the_training(tiny, dataset):
    found, expected = FindRange(tiny).work(untold), loop.find_range(tiny, dataset)

    np.testing.assert_array_equal(found.learning_rates, expected.learning_rates)
    np.testing.assert_array_equal(found.losses, expected.losses)
    assert not FindRange.needs_quiet


@pytest.mark.parametrize("kind", [TimeEpoch, FindRange])
def test_what_cannot_be_built_is_refused(kind):
    with pytest.raises(SpecError, match=r"^The output layer: "):
        kind(Experiment(layers=())).work(untold)


def test_images_are_changed_as_each_seed_has_it(dataset):
    found = Augment(TURNING, (5, 2), (7, 8, 7)).work(untold)

    assert (found.shape, found.dtype) == ((3, 2, 28, 28), np.uint8)
    np.testing.assert_array_equal(found[0], augmentation.preview(dataset.x_train[[5, 2]], TURNING, 7))
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])


def test_where_nothing_is_asked_for_images_stay_as_they_are(dataset):
    np.testing.assert_array_equal(Augment(Augmentation(), (5, 2), (1,)).work(untold)[0], dataset.x_train[[5, 2]])


def test_equal_experiments_are_one_question(tiny):
    again = Experiment.model_validate_json(tiny.model_dump_json())

    assert {TimeEpoch(tiny): "asked"}[TimeEpoch(again)] == "asked"
    assert TimeEpoch(tiny) != FindRange(tiny)
    assert Augment(TURNING, (1,), (2,)) == Augment(Augmentation.model_validate(TURNING.model_dump()), (1,), (2,))
