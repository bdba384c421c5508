"""The arithmetic is Keras', the five methods are what their papers say, and what is made to change a mind does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from core.explain import adversarial, arithmetic, attribution, inspection
from core.explain.adversarial import Norm
from core.explain.arithmetic import Form
from core.explain.attribution import Method
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
    Training,
    replaced,
)
from core.training import loop

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
SMALL = Experiment(
    layers=(Conv2D(filters=6, kernel_size=5, activation="relu"), MaxPooling2D(pool_size=2), Flatten(), Dense(units=24)),
    training=Training(learning_rate=0.003, seed=1),  # seed 0's network reads a 2 in what it thinks a 1 should look like
)


class Linear:
    """A network whose scores are weighted sums of the pixels."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights  # (10, 28, 28)

    def scores(self, images: np.ndarray) -> np.ndarray:
        return np.einsum("nhw,khw->nk", images, self.weights).astype(np.float32)

    def gradients(self, images: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.scores(images), np.einsum("nk,khw->nhw", weights, self.weights).astype(np.float32)

    def last_maps(self, image: np.ndarray, digit: int) -> None:
        return None


@pytest.fixture(scope="module")
def linear() -> Linear:
    return Linear(np.random.default_rng(3).normal(size=(10, 28, 28)))


@pytest.fixture(scope="module")
def image(dataset) -> np.ndarray:
    return dataset.x_test[0]


@pytest.fixture(scope="module")
def ink(image) -> np.ndarray:
    return (image / 255).astype(np.float32)


@pytest.fixture(scope="module")
def learned(dataset) -> keras.Model:
    """A small network that has seen 2,000 digits three times."""
    recipe = replaced(SMALL.training, epochs=3, batch_size=32, train_size=2000, validation_split=0.0)
    network, _ = loop.train(replaced(SMALL, training=recipe), dataset, lambda event: None)
    return network


@pytest.fixture(scope="module")
def reader(learned) -> inspection.Reader:
    return inspection.Reader(learned)


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


# --- the arithmetic ----------------------------------------------------------------------------------------------------


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


# --- receptive fields --------------------------------------------------------------------------------------------------


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


# --- a network as a reader ---------------------------------------------------------------------------------------------


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


# --- why this digit ----------------------------------------------------------------------------------------------------


def test_of_a_linear_network_every_method_finds_the_weights(linear, ink):
    weights = linear.weights[4].astype(np.float32)

    np.testing.assert_allclose(attribution.saliency(linear, ink, 4), np.abs(weights), atol=1e-5)
    np.testing.assert_allclose(attribution.smooth_grad(linear, ink, 4), np.abs(weights), atol=1e-5)
    np.testing.assert_allclose(attribution.integrated_gradients(linear, ink, 4), weights * ink, atol=1e-5)


def test_occlusion_of_a_linear_network_is_the_weighted_ink_under_the_square(linear, ink):
    score = linear.weights[4] * ink
    corner = score[:4, :4].sum()
    found = attribution.occlusion(linear, ink, 4)

    assert found[0, 0] == pytest.approx(corner, abs=1e-4)
    assert found[13, 13] == pytest.approx(
        np.mean([score[t : t + 4, u : u + 4].sum() for t in (10, 12) for u in (10, 12)]), abs=1e-4
    )


@pytest.mark.parametrize("digit", [0, 4, 7])
def test_integrated_gradients_are_complete_within_a_per_cent(reader, dataset, digit):
    for index in range(3):
        found = attribution.explain(reader, (dataset.x_test[index] / 255).astype(np.float32), digit)

        assert found.gap <= 0.01
        assert found.attributed == pytest.approx(found.difference, rel=0.01, abs=0.01)


def test_grad_cam_weighs_the_last_maps_by_their_mean_gradient(reader, learned, ink):
    maps, gradients = reader.last_maps(ink, 7)
    after = keras.Model(learned.get_layer("02_maxpooling2d").input, learned.layers[-1].input)
    last = learned.layers[-1]
    features = after.predict_on_batch(maps[None])[0]

    assert maps.shape == gradients.shape == (24, 24, 6)
    np.testing.assert_allclose(
        features @ last.kernel.numpy() + last.bias.numpy(), reader.scores(ink[None])[0], atol=1e-3
    )
    heat = np.maximum((maps * gradients.mean(axis=(0, 1))).sum(axis=-1), 0)
    found = attribution.grad_cam(reader, ink, 7)
    assert found.shape == (28, 28)
    assert found.min() >= 0
    assert found.max() <= heat.max() + 1e-4


def test_grad_cam_looks_behind_the_normalisation_and_activation_of_the_last_convolution():
    network = keras_model.build(Experiment(layers=(Residual(filters=4), MaxPooling2D(pool_size=2), Flatten())))

    assert inspection.last_convolution(network).name == "01_residual_1_activation"


def test_without_a_convolution_there_is_no_grad_cam_and_it_says_so(ink):
    found = attribution.explain(inspection.Reader(keras_model.build(presets.MLP.experiment)), ink, 3)

    assert set(found.maps) == set(Method) - {Method.GRAD_CAM}
    assert found.missing == {Method.GRAD_CAM: "This network has no convolution, so there are no feature maps to weigh."}


# --- should one believe it ---------------------------------------------------------------------------------------------


def test_ranks_are_correlated_as_in_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (28, 28)), rng.integers(0, 5, (28, 28)) + rng.normal(size=(28, 28)).round(0)

    assert attribution.rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert attribution.rank_correlation(a, a) == pytest.approx(1)
    assert np.isnan(attribution.rank_correlation(a, np.zeros((28, 28))))


def test_deletion_begins_with_the_digit_and_ends_with_an_empty_sheet(reader, ink):
    found = attribution.curves(reader, ink, 7, attribution.order(ink))
    whole, empty = attribution.probabilities(reader.scores(np.stack([ink, np.zeros_like(ink)])))[:, 7]

    assert found.deletion[[0, -1]] == pytest.approx([whole, empty], abs=1e-5)
    assert found.insertion[[0, -1]] == pytest.approx([empty, whole], abs=1e-5)


def test_a_curves_area_is_that_of_its_trapezoids():
    found = attribution.Curves(np.float32([1, 0.5, 0]), np.float32([0, 1, 1]))

    assert (found.deletion_area, found.insertion_area) == (0.5, 0.75)


def test_the_pixels_that_matter_go_first():
    weights = np.zeros((10, 28, 28))
    weights[4, 10:14, 10:17] = 2.0  # 28 pixels
    linear, image = Linear(weights), np.ones((28, 28), np.float32)
    found = attribution.curves(linear, image, 4, attribution.order(attribution.saliency(linear, image, 4)))

    assert found.deletion == pytest.approx([1.0] + [0.1] * 28)
    assert found.insertion == pytest.approx([0.1] + [1.0] * 28)


def test_maps_of_a_learned_network_beat_chance(reader, dataset):
    image = (dataset.x_test[0] / 255).astype(np.float32)
    found = attribution.explain(reader, image, int(dataset.y_test[0]))
    best = found.curves[Method.INTEGRATED]

    assert best.deletion_area < found.chance.deletion_area
    assert best.insertion_area > found.chance.insertion_area


def test_weights_are_made_random_again_from_the_last_layer_back(learned):
    random = keras_model.variables(keras_model.build(SMALL))[0]
    learned_weights = keras_model.variables(learned)[0]
    mixed = attribution.randomised(learned_weights, random, ["probabilities", "04_dense"])
    changed = {name for name in mixed if mixed[name] is random[name]}

    assert changed == {name for name in mixed if name.startswith(("probabilities", "04_dense"))}


def test_a_network_with_random_weights_fails_the_sanity_check(ink):
    network = keras_model.build(SMALL)
    reader, weights = inspection.Reader(network), keras_model.variables(network)[0]
    before, _ = attribution.maps(reader, ink, 7)
    keras_model.set_variables(network, attribution.randomised(weights, weights, attribution.levels(weights)[-1]))
    after, _ = attribution.maps(reader, ink, 7)

    for method in before:
        assert attribution.rank_correlation(before[method], after[method]) == pytest.approx(1)
        assert not attribution.is_learned(before[method], after[method])


def test_a_learned_network_passes_it(learned, ink):
    weights, scratch = keras_model.variables(learned)[0], keras_model.build(SMALL)
    initial = keras_model.variables(scratch)[0]
    reader = inspection.Reader(scratch)
    keras_model.set_variables(scratch, weights)
    before, _ = attribution.maps(reader, ink, 7)
    keras_model.set_variables(scratch, initial)
    after, _ = attribution.maps(reader, ink, 7)

    for method in (Method.SMOOTH_GRAD, Method.INTEGRATED):
        assert attribution.is_learned(before[method], after[method])


# --- what would change its mind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", Norm)
def test_a_small_change_makes_it_another_digit(reader, learned, image, norm):
    found = adversarial.smallest_change(reader, image, 3, norm)
    by = (found.image.astype(float) - image) / 255

    assert found.is_reached
    assert learned.predict_on_batch(found.image[None, ..., None])[0].argmax() == 3
    assert (found.l2, found.linf) == pytest.approx((np.sqrt((by**2).sum()), np.abs(by).max()))
    assert (found.l2 if norm is Norm.L2 else found.linf) < adversarial.LARGEST[norm] / 2


def test_of_a_linear_network_the_change_is_nearly_the_smallest_there_is():
    rng = np.random.default_rng(0)
    weights = np.zeros((10, 28, 28))
    weights[2], weights[5] = rng.normal(size=(2, 28, 28)) / 28
    image = np.full((28, 28), 128, np.uint8)
    linear = Linear(weights)
    scores = linear.scores((image / 255).astype(np.float32)[None])[0]
    a, b = (2, 5) if scores[2] > scores[5] else (5, 2)
    for k in set(range(10)) - {a, b}:
        linear.weights[k] = -1.0
    apart, way = float(scores[a] - scores[b]), weights[b] - weights[a]

    assert adversarial.smallest_change(linear, image, b, Norm.L2).l2 == pytest.approx(
        apart / np.linalg.norm(way), rel=0.1, abs=0.02
    )
    assert adversarial.smallest_change(linear, image, b, Norm.LINF).linf == pytest.approx(
        apart / np.abs(way).sum(), abs=1.5 / 255
    )


def test_a_digit_that_is_read_so_already_needs_no_change(reader, image):
    read = int(reader.scores((image / 255).astype(np.float32)[None]).argmax())
    found = adversarial.smallest_change(reader, image, read, Norm.L2)

    assert (found.l2, found.linf, found.is_reached) == (0, 0, True)
    assert (found.image == image).all()


def test_what_no_change_within_the_bounds_reaches_is_said_to_be_so():
    weights = np.zeros((10, 28, 28))
    weights[4] = 1.0
    found = adversarial.smallest_change(Linear(weights - 5 * (np.arange(10) == 2)[:, None, None]),
                                       np.full((28, 28), 100, np.uint8), 2, Norm.LINF)  # fmt: skip

    assert not found.is_reached
    assert found.linf <= adversarial.LARGEST[Norm.LINF] + 1 / 255


def test_the_network_reads_its_perfect_digits_as_meant(reader):
    images, probabilities = adversarial.perfect_digits(reader)

    assert images.shape == (10, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1
    assert probabilities.argmax(axis=1).tolist() == list(range(10))
    assert np.diag(probabilities).min() > 0.5
