"""A network at one time of its training is seen as Keras would show it, at every step that was kept."""

import numpy as np
import pytest

from core.data import datasets
from core.errors import RunDamaged
from core.explain import questions
from core.explain.questions import VisitMoment
from core.model import specs
from core.runs.network import Network
from core.runs.question import untold
from core.runs.run import Run
from tests.networks import made, network, probabilities


@pytest.fixture(autouse=True)
def few_images(monkeypatch, dataset) -> None:
    monkeypatch.setattr(datasets, "load", lambda: dataset)


def moment(run: Run, step: int, image: np.ndarray) -> questions.Moment:
    return VisitMoment(Network(run, step), image.tobytes()).work(untold)


class TestMoment:
    def test_is_of_the_network_at_that_step(self, tiny, dataset):
        from sklearn.metrics import confusion_matrix

        from core.explain.inspection import Inspector

        run, image = made(tiny, 1, 2), dataset.x_test[3]
        _, held_out = datasets.split(dataset.y_train, 500, 0.2, seed=0)
        for step in (2, 1, 2):  # back and forth, as one travels
            found = moment(run, step, image)

            read = probabilities(tiny, step, dataset.x_train[held_out]).argmax(axis=1)
            inspector = Inspector(network(tiny, step))
            np.testing.assert_allclose(found.probabilities, probabilities(tiny, step, image[None])[0], rtol=1e-5)
            np.testing.assert_array_equal(
                found.confusion, confusion_matrix(dataset.y_train[held_out], read, labels=range(10))
            )
            np.testing.assert_array_equal(found.kernels, inspector.kernels())
            np.testing.assert_array_equal(found.maps["01_conv2d"], inspector.feature_maps(image)["01_conv2d"])

    def test_counts_as_many_held_out_images_as_it_may(self, tiny, dataset, monkeypatch):
        monkeypatch.setattr(questions, "MOST_HELD_OUT", 30)
        run = made(tiny, 1)

        assert moment(run, 1, dataset.x_test[0]).confusion.sum() == 30

    def test_has_no_confusion_where_nothing_is_held_out(self, tiny, dataset):
        run = made(specs.replaced(tiny, training=specs.replaced(tiny.training, validation_split=0.0)), 1)

        assert moment(run, 1, dataset.x_test[0]).confusion is None

    def test_is_of_the_run_asked_about(self, tiny, dataset):
        other = specs.replaced(tiny, layers=(*tiny.layers, specs.Dense(units=8)))
        first, second, image = made(tiny, 1), made(other, 1), dataset.x_test[0]

        answers = [moment(run, 1, image).probabilities for run in (first, second, first)]

        np.testing.assert_array_equal(answers[0], answers[2])
        np.testing.assert_allclose(answers[1], probabilities(other, 1, image[None])[0], rtol=1e-5)

    def test_of_a_step_that_was_not_kept_is_refused_and_another_can_be_seen_after(self, tiny, dataset):
        run, image = made(tiny, 1), dataset.x_test[0]

        with pytest.raises(RunDamaged, match=r"has no checkpoints/00000003\.npz"):
            moment(run, 3, image)

        answer = moment(run, 1, image).probabilities
        np.testing.assert_allclose(answer, probabilities(tiny, 1, image[None])[0], rtol=1e-5)
