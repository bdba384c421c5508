"""A network is built as its experiment says: the same for a seed, compiled with its recipe, and given its state back."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from core.errors import RunDamaged, SpecError
from core.model import keras_model, ledger, presets
from core.model.specs import (
    SGD,
    Adam,
    Conv2D,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    MaxPooling2D,
    SpatialDropout2D,
    Training,
    replaced,
)
from tests.randomness import drawing_random_numbers

SMALL = Experiment(
    layers=(
        Conv2D(filters=4, activation="relu"),
        MaxPooling2D(pool_size=4),
        SpatialDropout2D(rate=0.2),
        Flatten(),
        Dense(units=8, kernel_regularizer=0.01),
        Dropout(rate=0.3),
    ),
    training=Training(seed=3),
)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1), np.uint8)


def weights(experiment: Experiment) -> dict[str, np.ndarray]:
    return keras_model.variables(keras_model.build(experiment))[0]


def are_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first.keys() | second.keys())


class TestBuild:
    @pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=presets.PRESETS)
    def test_has_the_parameters_that_the_ledger_counts_and_says_probabilities(self, preset):
        network = keras_model.build(preset.experiment)
        found = network.predict_on_batch(IMAGES)

        assert network.count_params() == ledger.read(preset.experiment.layers).parameters
        assert (found.shape, found.dtype) == ((6, 10), np.float32)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)

    def test_begins_with_the_loss_of_a_guess(self, dataset):
        network = keras_model.build(replaced(presets.FIRST_CNN.experiment, training=Training()))
        loss, _ = network.evaluate(dataset.x_test[..., None], dataset.y_test, verbose=0)

        assert loss == pytest.approx(np.log(10), abs=0.2)

    def test_takes_pixels_of_any_number_type(self):
        network = keras_model.build(SMALL)

        np.testing.assert_allclose(
            network.predict_on_batch(IMAGES), network.predict_on_batch(IMAGES.astype(np.float32)), atol=1e-6
        )

    def test_is_the_same_for_a_seed_whatever_else_draws_random_numbers(self):
        with drawing_random_numbers():
            first, second = weights(SMALL), weights(SMALL)
        other = weights(replaced(SMALL, training=replaced(SMALL.training, seed=4)))

        assert are_same(first, second)
        assert not np.array_equal(first["01_conv2d.0.kernel"], other["01_conv2d.0.kernel"])

    @pytest.mark.parametrize("optimizer", [SGD(momentum=0.5), Adam()])
    def test_is_compiled_with_its_recipe(self, optimizer):
        training = Training(optimizer=optimizer, learning_rate=0.02, label_smoothing=0.1)
        network = keras_model.build(replaced(SMALL, training=training))

        assert type(network.optimizer).__name__ == optimizer.kind
        assert float(network.optimizer.learning_rate) == pytest.approx(0.02)
        assert network.loss.label_smoothing == 0.1
        assert type(keras_model.build(SMALL).loss) is keras.losses.SparseCategoricalCrossentropy

    def test_a_penalty_is_that_of_the_squared_weights(self):
        network = keras_model.build(SMALL)
        kernel = network.get_layer("05_dense").kernel.numpy()

        assert float(sum(network.losses)) == pytest.approx(0.01 * (kernel**2).sum(), rel=1e-5)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(SpecError, match=r"^The output layer: "):
            keras_model.build(Experiment(layers=()))


class TestState:
    @pytest.fixture
    def trained(self) -> keras.Model:
        """A network after one step, so that its optimizer has moments."""
        network = keras_model.build(SMALL)
        network.train_on_batch(IMAGES, np.arange(6))
        return network

    def test_comes_back_into_another_network_of_the_experiment(self, trained):
        found, optimizer = keras_model.variables(trained)
        other = keras_model.build(replaced(SMALL, training=replaced(SMALL.training, seed=9)))

        keras_model.set_variables(other, found, optimizer)

        again, moments = keras_model.variables(other)
        assert are_same(again, found)
        assert all(np.array_equal(one, same) for one, same in zip(moments, optimizer, strict=True))
        assert moments[0] == 1  # steps taken
        np.testing.assert_array_equal(other.predict_on_batch(IMAGES), trained.predict_on_batch(IMAGES))

    def test_is_a_copy(self, trained):
        found, _ = keras_model.variables(trained)
        before = found["01_conv2d.0.kernel"].copy()
        trained.train_on_batch(IMAGES, np.arange(6))

        np.testing.assert_array_equal(found["01_conv2d.0.kernel"], before)

    def test_has_names_that_stay_the_same_from_network_to_network(self, trained):
        assert list(keras_model.variables(trained)[0]) == list(weights(SMALL))

    @pytest.mark.parametrize("other", [(Flatten(),), (Conv2D(filters=5, activation="relu"), *SMALL.layers[1:])])
    def test_of_another_network_is_refused(self, trained, other):
        found, _ = keras_model.variables(trained)

        with pytest.raises(RunDamaged, match="another network's"):
            keras_model.set_variables(keras_model.build(Experiment(layers=other)), found)

    def test_of_another_optimizer_is_refused(self, trained):
        found, optimizer = keras_model.variables(trained)

        with pytest.raises(RunDamaged, match="another training's"):
            keras_model.set_variables(trained, found, optimizer[:-1])


class TestDropout:
    def test_changes_every_layer_that_drops_anything(self):
        network = keras_model.build(SMALL)

        assert keras_model.set_dropout(network, 0.75)
        assert [network.get_layer(name).rate for name in ("03_spatialdropout2d", "06_dropout")] == [0.75, 0.75]

    def test_there_is_nothing_to_change_where_nothing_is_dropped(self):
        assert not keras_model.set_dropout(keras_model.build(Experiment(layers=(Flatten(), Dropout(rate=0)))), 0.5)
