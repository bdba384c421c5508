"""Which images a run held out, and whether answers are to the images in use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.data import datasets, splits
from core.data.splits import Split
from core.model.specs import replaced
from core.runs import registry
from core.runs.contents import Evaluation, Readings
from core.runs.run import Run


@pytest.fixture
def run(tiny) -> Run:
    return registry.create(tiny, "A run")


class TestHeldOut:
    def test_images_are_those_that_the_training_leaves_out(self, run, dataset):
        held_out = splits.held_out_images(run, dataset.y_train)
        trained, left_out = datasets.split(dataset.y_train, 500, 0.2, seed=0)

        np.testing.assert_array_equal(held_out, left_out, strict=True)
        assert not set(held_out.tolist()) & set(trained.tolist())
        assert len(held_out) == splits.held_out_count(run, len(dataset.y_train)) == 100

    def test_of_a_smaller_file_the_share_is_of_what_there_is(self, run, dataset):
        few = dataset.y_train[:200]

        assert splits.held_out_count(run, 200) == len(splits.held_out_images(run, few)) == 40

    def test_are_none_where_nothing_is_held_out(self, tiny, dataset):
        run = registry.create(replaced(tiny, training=replaced(tiny.training, validation_split=0.0)), "All of them")

        assert splits.held_out_count(run, len(dataset.y_train)) == 0
        assert splits.held_out_images(run, dataset.y_train).shape == (0,)

    def test_are_others_for_another_seed(self, tiny, run, dataset):
        other = registry.create(replaced(tiny, training=replaced(tiny.training, seed=1)), "Another")

        first, second = (splits.held_out_images(one, dataset.y_train) for one in (run, other))

        assert not np.array_equal(first, second)


class TestWhoseAnswers:
    @pytest.fixture(params=["evaluation", "readings"])
    def found(self, request, dataset) -> Evaluation | Readings:
        probabilities = np.full((len(dataset.y_test), 10), 0.1, np.float32)
        if request.param == "evaluation":
            return Evaluation(4, probabilities, dataset.y_test, dataset=dataset.digest)
        return Readings(4, probabilities, probabilities, dataset.y_test, dataset.digest)

    def test_are_of_the_data_set_they_name(self, found, dataset):
        assert splits.is_of(found, dataset, dataset.y_test)

    def test_are_not_of_another_with_the_same_labels(self, found, dataset):
        assert not splits.is_of(found, replace(dataset, x_test=255 - dataset.x_test), dataset.y_test)

    def test_are_not_of_other_labels(self, found, dataset):
        assert not splits.is_of(found, dataset, dataset.y_test[::-1])
        assert not splits.is_of(found, dataset, dataset.y_test[:-1])

    def test_of_an_older_run_are_of_whatever_has_their_labels(self, found, dataset):
        older = replace(found, dataset="")

        assert splits.is_of(older, replace(dataset, x_test=255 - dataset.x_test), dataset.y_test)
        assert not splits.is_of(older, dataset, dataset.y_test[::-1])


def test_every_split_has_a_label_of_its_own():
    assert len({str(split) for split in Split}) == len(Split)
