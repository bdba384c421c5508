"""A run's network is loaded once and answers as Keras would, a batch at a time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from core.errors import RunDamaged, RunNotFound
from core.model import ledger, specs
from core.runs import loaded
from core.runs.network import Network
from tests.networks import made, probabilities

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 28, 28), np.uint8)


class Echo:
    """A network that says of an image what its first pixels hold, and remembers how many came at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        return images[:, 0, :10, 0].astype(np.float32)


class TestAnswers:
    def test_are_given_in_order_a_batch_at_a_time(self):
        model = Echo()

        found = loaded.answers(model, 4, IMAGES)

        assert model.batches == [4, 4, 2]
        np.testing.assert_array_equal(found, IMAGES[:, 0, :10].astype(np.float32), strict=True)

    def test_tell_which_share_is_done_before_each_batch(self):
        told: list[float] = []

        loaded.answers(Echo(), 4, IMAGES, told.append)

        assert told == [0, 0.4, 0.8]

    def test_end_where_telling_fails(self):
        model = Echo()

        def tell(share: float) -> None:
            if share > 0:
                raise RuntimeError("cancelled")

        with pytest.raises(RuntimeError, match="cancelled"):
            loaded.answers(model, 4, IMAGES, tell)
        assert model.batches == [4]

    def test_of_no_images_are_none(self):
        found = loaded.answers(Echo(), 4, IMAGES[:0])

        assert (found.shape, found.dtype) == ((0, 10), np.float32)


class TestKerasNetwork:
    def test_is_that_of_its_step_and_stays_loaded(self, tiny):
        run = made(tiny, 1, 2)

        first, second = (loaded.keras_network(Network(run, step)) for step in (1, 2))

        assert loaded.keras_network(Network(run, 1)) is first
        for step, network in ((1, first), (2, second)):
            expected = probabilities(tiny, step, IMAGES)
            np.testing.assert_allclose(network.predict_on_batch(IMAGES[..., None]), expected, rtol=1e-5)
            np.testing.assert_allclose(loaded.probabilities(Network(run, step), IMAGES), expected, rtol=1e-5)

    def test_of_a_step_that_was_not_kept_is_refused(self, tiny):
        run = made(tiny, 1, 4)

        with pytest.raises(RunDamaged, match=rf"^Run {run.id} has no checkpoint after 3 batches; it has \[1, 4\]\.$"):
            loaded.keras_network(Network(run, 3))

    def test_of_a_deleted_run_is_refused(self, tiny):
        run = made(tiny, 1)
        run.delete()

        with pytest.raises(RunNotFound):
            loaded.keras_network(Network(run, 1))
        with pytest.raises(RunNotFound):
            loaded.found(Network(run, 1))

    def test_bears_as_many_images_as_the_ledger_says(self, tiny):
        run = made(tiny)

        assert loaded.batch_size(Network(run, 0)) == ledger.read(tiny.layers).evaluation_batch


class TestTravellingNetwork:
    def test_is_the_run_s_at_each_step(self, tiny):
        other = specs.replaced(tiny, layers=(*tiny.layers, specs.Dense(units=8)))
        travelling, first, second = loaded.TravellingNetwork(), made(tiny, 1, 2), made(other, 1)

        for run, experiment, steps in ((first, tiny, (2, 1, 2)), (second, other, (1,)), (first, tiny, (1,))):
            with travelling.lent(run) as after:
                for step in steps:
                    found = after(step).predict_on_batch(IMAGES[..., None])
                    np.testing.assert_allclose(found, probabilities(experiment, step, IMAGES), rtol=1e-5)

    def test_is_built_once_for_all_steps_of_a_run(self, tiny):
        travelling, run = loaded.TravellingNetwork(), made(tiny, 1, 2)

        with travelling.lent(run) as after:
            models = [after(step) for step in (1, 2)]
        with travelling.lent(run) as after:
            assert after(1) is models[0] is models[1]

    def test_is_lent_again_after_a_step_that_was_not_kept(self, tiny):
        travelling, run = loaded.TravellingNetwork(), made(tiny, 1)

        with pytest.raises(RunDamaged, match=r"has no checkpoints/00000003\.npz"), travelling.lent(run) as after:
            after(3)
        with travelling.lent(run) as after:
            found = after(1).predict_on_batch(IMAGES[..., None])
        np.testing.assert_allclose(found, probabilities(tiny, 1, IMAGES), rtol=1e-5)

    def test_is_lent_to_one_caller_at_a_time_and_another_one_is_free_meanwhile(self, tiny):
        travelling, other, run, is_lent = loaded.TravellingNetwork(), loaded.TravellingNetwork(), made(tiny), []

        def borrow() -> None:
            with travelling.lent(run):
                is_lent.append(True)

        second = threading.Thread(target=borrow)
        with travelling.lent(run):
            second.start()
            with other.lent(run):
                assert not is_lent
        second.join()

        assert is_lent == [True]
