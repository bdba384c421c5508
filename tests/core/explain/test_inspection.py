"""What is seen inside a network is what Keras and NumPy find there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.explain import attribution, inspection
from core.model import keras_model
from core.model.specs import (
    Activation,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    GlobalAveragePooling2D,
    LayerSpec,
    MaxPooling2D,
    Residual,
    SeparableConv2D,
    SpatialDropout2D,
)

NETWORKS = {
    "plain": (Conv2D(filters=12), MaxPooling2D(pool_size=4), SpatialDropout2D(), Flatten(), Dense(units=16), Dropout()),
    "normalised": (Conv2D(filters=4, activation="tanh"), BatchNormalization(), Activation(), GlobalAveragePooling2D()),
    "residual": (MaxPooling2D(), Residual(filters=6, strides=2), Residual(filters=6), Flatten()),
    "separable": (SeparableConv2D(filters=5, depth_multiplier=3, strides=3), SeparableConv2D(filters=4), Flatten()),
    "no convolution": (Flatten(), Dense(units=16)),
    "nothing": (Flatten(),),
}
MAPS = {
    "plain": ["01_conv2d", "02_maxpooling2d"],
    "normalised": ["01_conv2d", "02_batchnormalization", "03_activation"],
    "residual": [
        "01_maxpooling2d",
        *[
            f"02_residual{part}"
            for part in (
                *("_main_1_conv2d", "_main_2_batchnormalization", "_main_3_activation", "_main_4_conv2d"),
                *("_main_5_batchnormalization", "_shortcut_1_conv2d", "_shortcut_2_batchnormalization"),
                *("", "_1_activation"),
            )
        ],
        *[
            f"03_residual{part}"
            for part in (
                *("_main_1_conv2d", "_main_2_batchnormalization", "_main_3_activation", "_main_4_conv2d"),
                *("_main_5_batchnormalization", "", "_1_activation"),
            )
        ],
    ],
    "separable": ["01_separableconv2d", "02_separableconv2d"],
    "no convolution": [],
    "nothing": [],
}


def built(*layers: LayerSpec) -> Any:
    from core.model import keras_model

    return keras_model.build(Experiment(layers=layers))


def inspector(network: Any) -> Any:
    from core.explain.inspection import Inspector

    return Inspector(network)


def look(network: Any, dataset, size: int = 48) -> Any:
    """A snapshot over the first images, with the maps of the first."""
    return inspector(network).snapshot(5, dataset.x_train[:size, ..., None], dataset.y_train[:size], dataset.x_train[0])


@pytest.fixture(scope="module", params=NETWORKS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(name) -> Any:
    return built(*NETWORKS[name])


@pytest.fixture(scope="module")
def snapshot(network, dataset) -> Any:
    return look(network, dataset)


class TestAnyNetwork:
    def test_gradient_norms_are_those_of_a_tape(self, network, snapshot, dataset):
        import tensorflow as tf

        kernels = {
            layer.name: layer.trainable_variables[0].value for layer in network.layers if layer.trainable_variables
        }
        with tf.GradientTape() as tape:
            probabilities = network(dataset.x_train[:48, ..., None].astype(np.float32), training=False)
            right = tf.gather(probabilities, dataset.y_train[:48].astype(np.int32), batch_dims=1)
            loss = -tf.reduce_mean(tf.math.log(right))
        gradients = tape.gradient(loss, kernels)

        expected = {name: float(np.linalg.norm(gradient.numpy().ravel())) for name, gradient in gradients.items()}
        assert snapshot.gradient_norms == pytest.approx(expected, rel=1e-4)
        assert list(snapshot.gradient_norms)[-1] == "probabilities"

    def test_feature_maps_are_what_the_layers_give_out(self, name, network, snapshot, dataset):
        import keras

        assert sorted(snapshot.maps) == sorted(MAPS[name])
        for layer, maps in snapshot.maps.items():
            part = keras.Model(network.input, network.get_layer(layer).output)
            sizes = np.abs(part(dataset.x_train[:1, ..., None], training=False).numpy()[0, :, :, :8]).transpose(2, 0, 1)

            assert maps.dtype == np.uint8
            np.testing.assert_allclose(maps, np.floor(255 * sizes / sizes.max()), atol=1, err_msg=layer)

    def test_dead_share_is_of_every_layer_with_relus(self, network, snapshot, dataset):
        import keras

        expected = {}
        for layer in network.layers:
            if layer.get_config().get("activation") == "relu":
                part = keras.Model(network.input, layer.output)
                answers = part(dataset.x_train[:48, ..., None], training=False).numpy()
                alive = [answers[..., channel].max() > 0 for channel in range(answers.shape[-1])]
                expected[layer.name] = alive.count(False) / len(alive)

        assert snapshot.dead == pytest.approx(expected)

    def test_says_when_and_of_what_it_is(self, snapshot, dataset):
        assert snapshot.step == 5
        np.testing.assert_array_equal(snapshot.image, dataset.x_train[0])

    def test_looking_changes_nothing(self, network, dataset):
        from core.model import keras_model

        before, _ = keras_model.variables(network)
        look(network, dataset)
        after, _ = keras_model.variables(network)

        for name, values in before.items():
            np.testing.assert_array_equal(after[name], values, err_msg=name)


class TestKernels:
    @pytest.mark.parametrize(
        ("layers", "layer", "count"),
        [
            ((Conv2D(filters=4, kernel_size=5), Conv2D(filters=8), Flatten()), "01_conv2d", 4),
            ((Conv2D(filters=40), Flatten()), "01_conv2d", 32),
            ((BatchNormalization(), MaxPooling2D(), Conv2D(filters=3), Flatten()), "03_conv2d", 3),
            ((SeparableConv2D(filters=8, depth_multiplier=2), Flatten()), "01_separableconv2d", 2),
            ((Residual(filters=4), Flatten()), "01_residual_main_1_conv2d", 4),
        ],
        ids=["plain", "many", "behind others", "separable", "residual"],
    )
    def test_are_the_weights_of_the_first_convolution(self, layers, layer, count):
        network = built(*layers)

        kernels = inspector(network).kernels()

        weights = network.get_layer(layer).get_weights()[0]
        assert kernels.shape == (count, *weights.shape[:2])
        for i, kernel in enumerate(kernels):
            np.testing.assert_array_equal(kernel, weights[:, :, 0, i], strict=True)

    def test_there_are_none_without_a_convolution(self):
        assert inspector(built(Flatten(), Dense(units=16))).kernels().shape == (0, 0, 0)

    def test_are_those_of_the_time_they_were_asked_for(self):
        network = built(Conv2D(filters=4), Flatten())
        looker = inspector(network)
        before = looker.kernels()
        copy = before.copy()
        layer = network.get_layer("01_conv2d")
        layer.set_weights([layer.get_weights()[0] + 1, layer.get_weights()[1]])

        np.testing.assert_array_equal(before, copy)
        np.testing.assert_allclose(looker.kernels(), before + 1, rtol=1e-5)


class TestDead:
    def test_units_are_those_that_numpy_finds(self, dataset):
        network = built(Flatten(), Dense(units=16))
        layer = network.get_layer("02_dense")
        kernel, bias = layer.get_weights()
        bias[[2, 3, 11]] = -1000
        layer.set_weights([kernel, bias])

        snapshot = look(network, dataset)

        answers = np.maximum(dataset.x_train[:48].reshape(48, 784) / 255 @ kernel + bias, 0)
        dead = (answers == 0).all(axis=0)
        assert dead[[2, 3, 11]].all()
        assert snapshot.dead == {"02_dense": dead.sum() / 16}

    def test_a_channel_is_dead_only_where_all_of_it_is(self, dataset):
        """Biases of 1000 keep the others alive, whatever they see."""
        network = built(Conv2D(filters=4, activation="linear"), Activation(), Flatten())
        layer = network.get_layer("01_conv2d")
        layer.set_weights([layer.get_weights()[0], np.float32([1000, -1000, 1000, 1000])])

        assert look(network, dataset).dead == {"02_activation": 1 / 4}

    def test_a_unit_that_answers_to_one_image_of_the_batch_is_alive(self, dataset):
        network = built(Flatten(), Dense(units=2))
        ink = dataset.x_train[:48].reshape(48, 784).sum(axis=1) / 255
        most, second = sorted(ink)[::-1][:2]
        network.get_layer("02_dense").set_weights([np.ones((784, 2)), -np.array([(most + second) / 2, most + 1])])

        assert look(network, dataset).dead == {"02_dense": 1 / 2}


class TestFeatureMaps:
    def test_what_is_all_zero_or_not_finite_is_black(self, dataset):
        network = built(Conv2D(filters=2, activation="linear"), Conv2D(filters=2, activation="linear"), Flatten())
        first, second = network.get_layer("01_conv2d"), network.get_layer("02_conv2d")
        first.set_weights([np.zeros((3, 3, 1, 2)), np.zeros(2)])
        second.set_weights([second.get_weights()[0], np.full(2, np.nan)])

        maps = inspector(network).feature_maps(dataset.x_train[0])

        assert {name: (m.shape, m.max()) for name, m in maps.items()} == {
            "01_conv2d": ((2, 26, 26), 0),
            "02_conv2d": ((2, 24, 24), 0),
        }

    def test_what_is_negative_shows_by_its_size(self, dataset):
        network = built(Conv2D(filters=2, kernel_size=1, activation="linear"), Flatten())
        network.get_layer("01_conv2d").set_weights([np.float32([1, -1]).reshape(1, 1, 1, 2), np.zeros(2)])
        image = dataset.x_train[0]

        maps = inspector(network).feature_maps(image)["01_conv2d"]

        np.testing.assert_array_equal(maps[0], maps[1])
        np.testing.assert_allclose(maps[0], 255.0 * image / image.max(), atol=1)


def test_scores_are_what_softmax_makes_the_probabilities_of(reader, learned, dataset):
    images = dataset.x_test[:300]
    scores = reader.scores((images / 255).astype(np.float32))

    np.testing.assert_allclose(
        attribution.probabilities(scores), learned.predict_on_batch(images[..., None]), atol=1e-5
    )


def test_gradients_are_differences_quotients(reader, ink):
    weights = attribution.one_hot(np.array([7]))
    _, gradients = reader.gradients(ink[None], weights)
    for row, column in [(8, 10), (14, 14), (20, 12)]:
        beside = np.repeat(ink[None], 2, axis=0)
        beside[0, row, column] -= 1e-3
        beside[1, row, column] += 1e-3
        scores = reader.scores(beside)[:, 7]

        assert gradients[0, row, column] == pytest.approx((scores[1] - scores[0]) / 2e-3, abs=0.05)


def test_grad_cam_looks_behind_the_normalisation_and_activation_of_the_last_convolution():
    network = keras_model.build(Experiment(layers=(Residual(filters=4), MaxPooling2D(pool_size=2), Flatten())))

    assert inspection.last_convolution(network).name == "01_residual_1_activation"
