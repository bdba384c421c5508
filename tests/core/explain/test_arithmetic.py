"""Every number worked out by hand is Keras', and no more of the digit is read than is said."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from core.explain import arithmetic, inspection
from core.explain.arithmetic import Form
from core.model import keras_model, presets
from core.model.specs import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    Residual,
    SeparableConv2D,
    SpatialDropout2D,
)

OF_EVERY_KIND = Experiment(
    layers=(
        Conv2D(filters=4, kernel_size=4, padding="same", strides=2, activation="gelu"),
        SpatialDropout2D(rate=0.3),
        SeparableConv2D(filters=5, kernel_size=3, activation="leaky_relu"),
        MaxPooling2D(pool_size=3, strides=2, padding="same"),
        BatchNormalization(),
        Residual(filters=6, strides=1),
        Activation(activation="silu"),
        AveragePooling2D(pool_size=2, strides=1, padding="same"),
        Conv2D(filters=3, kernel_size=2, activation="elu"),
        Flatten(),
        Dense(units=7, activation="sigmoid"),
        Dropout(rate=0.5),
        Dense(units=6, activation="tanh"),
    )
)
POOLED_AWAY = Experiment(layers=(Conv2D(filters=4, activation="relu"), GlobalAveragePooling2D()))


def with_moving_statistics(network: keras.Model) -> keras.Model:
    """A network whose normalisations have seen something."""
    rng = np.random.default_rng(5)
    for layer in network.layers:
        if hasattr(layer, "moving_mean"):
            layer.moving_mean.assign(rng.normal(size=layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
            layer.gamma.assign(rng.uniform(0.5, 2, layer.gamma.shape))
    return network


def places_of(layer: arithmetic.Layer) -> list[tuple[int, ...]]:
    """The corners and some of the middle of a layer's output."""
    rng = np.random.default_rng(1)
    ends = [tuple(0 for _ in layer.shape), tuple(side - 1 for side in layer.shape)]
    return ends + [tuple(int(rng.integers(side)) for side in layer.shape) for _ in range(6)]


@pytest.mark.parametrize("experiment", [OF_EVERY_KIND, POOLED_AWAY, *(p.experiment for p in presets.PRESETS.values())])
def test_every_number_worked_out_by_hand_is_that_of_keras(experiment, image):
    network = with_moving_statistics(keras_model.build(experiment))
    layers, answers = inspection.layers(network), inspection.Inspector(network).answers(image)
    for layer in layers.values():
        for place in places_of(layer) if layer.inputs else []:
            found = arithmetic.unit(layer, tuple(answers[name] for name in layer.inputs), answers[layer.name], place)

            assert found.keras == answers[layer.name][place]
            assert found.result == pytest.approx(found.keras, abs=2e-5, rel=1e-4), (layer.name, place)


def test_every_kind_of_layer_has_its_form():
    forms = [layer.form for layer in inspection.layers(keras_model.build(OF_EVERY_KIND)).values()]
    of_pooled = [layer.form for layer in inspection.layers(keras_model.build(POOLED_AWAY)).values()]

    assert set(forms) | set(of_pooled) == set(Form)


@pytest.mark.parametrize(("padding", "strides", "kernel_size"), [("same", 1, 3), ("same", 3, 4), ("valid", 2, 5)])
def test_a_convolutions_sum_is_that_of_keras_ops(padding, strides, kernel_size):
    rng = np.random.default_rng(0)
    image = rng.normal(size=(11, 11, 3)).astype(np.float32)
    network = keras_model.build(
        Experiment(layers=(Conv2D(filters=4, kernel_size=kernel_size, padding=padding, strides=strides), Flatten()))
    )
    layer = inspection.layers(network)["01_conv2d"]
    kernel = rng.normal(size=(kernel_size, kernel_size, 3, 4)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(keras.ops.conv(image[None], kernel, strides, padding))[0]
    side = expected.shape[0]
    before = max((side - 1) * strides + kernel_size - 11, 0) // 2 if padding == "same" else 0
    layer = arithmetic.Layer(
        layer.name, layer.form, layer.inputs, expected.shape, layer.size, layer.strides, (before, before),
        weights={"kernel": kernel},
    )  # fmt: skip
    by_hand = [arithmetic.unit(layer, (image,), expected, place).total for place in np.ndindex(expected.shape)]

    np.testing.assert_allclose(np.reshape(by_hand, expected.shape), expected, atol=1e-4)


def test_what_lies_outside_the_image_counts_nothing(image):
    network = keras_model.build(Experiment(layers=(Conv2D(filters=2, padding="same"), Flatten())))
    answers = inspection.Inspector(network).answers(image)
    layer = inspection.layers(network)["01_conv2d"]
    corner = arithmetic.unit(layer, (answers["rescaling"],), answers[layer.name], (0, 0, 1))

    assert corner.corner == (-1, -1)
    assert corner.is_inside.tolist() == [[False] * 3, [False, True, True], [False, True, True]]
    assert not corner.patch[~corner.is_inside].any()


def test_the_contributions_add_up_to_the_sum(image):
    network = keras_model.build(presets.FIRST_CNN.experiment)
    answers = inspection.Inspector(network).answers(image)
    for name in ("01_conv2d", "04_dense", "probabilities"):
        layer = inspection.layers(network)[name]
        place = (9, 9, 3) if name == "01_conv2d" else (3,)
        found = arithmetic.unit(layer, tuple(answers[n] for n in layer.inputs), answers[name], place)

        assert found.products.shape == found.patch.shape
        assert found.products.sum(dtype=np.float64) + found.bias == pytest.approx(found.total, abs=1e-4)


@pytest.mark.parametrize("experiment", [OF_EVERY_KIND, presets.FAST_99.experiment, presets.LENET_5.experiment])
def test_nothing_outside_its_receptive_field_changes_a_unit(experiment, image):
    network = with_moving_statistics(keras_model.build(experiment))
    layers, inspector = inspection.layers(network), inspection.Inspector(network)
    before = inspector.answers(image)
    noise = np.random.default_rng(2).integers(0, 256, image.shape).astype(np.uint8)
    for layer in [layer for layer in layers.values() if len(layer.shape) == 3 and layer.inputs]:
        for place in places_of(layer):
            top, left, bottom, right = arithmetic.receptive_field(layers, layer.name, place)
            changed = noise.copy()
            changed[top:bottom, left:right] = image[top:bottom, left:right]

            assert inspector.answers(changed)[layer.name][place] == pytest.approx(before[layer.name][place], abs=1e-4)


def test_a_receptive_field_is_no_larger_than_it_is():
    network = keras_model.build(
        Experiment(layers=(Conv2D(filters=1), MaxPooling2D(pool_size=2), Conv2D(filters=1), Flatten()))
    )
    layers = inspection.layers(network)

    assert arithmetic.receptive_field(layers, "01_conv2d", (4, 7, 0)) == (4, 7, 7, 10)
    assert arithmetic.receptive_field(layers, "02_maxpooling2d", (4, 7, 0)) == (8, 14, 12, 18)
    assert arithmetic.receptive_field(layers, "03_conv2d", (0, 1, 0)) == (0, 2, 8, 10)
    assert arithmetic.receptive_field(layers, "04_flatten", (1,)) == (0, 2, 8, 10)
    assert arithmetic.receptive_field(layers, "probabilities", (3,)) == (0, 0, 28, 28)
