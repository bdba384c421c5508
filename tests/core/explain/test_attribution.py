"""The five methods are what their papers say, and what they show is put to the test."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.stats import spearmanr

from core.explain import attribution, inspection
from core.explain.attribution import Method
from core.model import keras_model, presets
from tests.core.explain.conftest import SMALL, Linear


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


def test_without_a_convolution_there_is_no_grad_cam_and_it_says_so(ink):
    found = attribution.explain(inspection.Reader(keras_model.build(presets.MLP.experiment)), ink, 3)

    assert set(found.maps) == set(Method) - {Method.GRAD_CAM}
    assert found.missing == {Method.GRAD_CAM: "This network has no convolution, so there are no feature maps to weigh."}


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
