"""Pictures of a network's inside have the values' colours, and say in words what they show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.views import network_html
from tests.fragments import Fragment

WHITE, OCHRE, BLUE = (247, 245, 240), (203, 124, 2), (85, 102, 245)
RANDOM = np.random.default_rng(2)


class TestColours:
    def test_are_white_at_nought_and_full_at_the_largest(self):
        colours = network_html.signed(np.float32([0, 2, -2]))

        np.testing.assert_array_equal(colours, [WHITE, OCHRE, BLUE])

    def test_go_straight_from_white_to_full(self):
        (half,) = network_html.signed(np.float32([-1]), largest=2)

        np.testing.assert_allclose(half, (np.add(WHITE, BLUE)) / 2, atol=1)

    def test_are_white_where_there_is_no_number(self):
        np.testing.assert_array_equal(network_html.signed(np.float32([np.nan, 1]))[0], WHITE)
        np.testing.assert_array_equal(network_html.signed(np.float32([np.inf, 1]))[1], WHITE)
        np.testing.assert_array_equal(network_html.signed(np.zeros(3)), [WHITE] * 3)

    @given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(1e-3, 1e6))
    def test_are_never_stronger_than_full(self, values, largest):
        strengths = network_html.strengths(np.array(values), largest)

        np.testing.assert_array_equal(np.sign(strengths), np.sign(np.array(values) / largest))
        assert np.abs(strengths).max() <= 1


class TestKernels:
    def test_each_is_drawn_on_the_scale_of_all(self):
        values = RANDOM.normal(size=(3, 5, 5)).astype(np.float32)
        found = Fragment(network_html.kernels(values))

        assert found.said == ["The 3 kernels of the first convolution"]
        assert found.alts == ["kernel 1", "kernel 2", "kernel 3"]
        for image, kernel in zip(found.images, values, strict=True):
            np.testing.assert_array_equal(image, network_html.signed(kernel, float(np.abs(values).max())))

    def test_a_network_without_a_convolution_says_so(self):
        found = Fragment(network_html.kernels(np.zeros((0, 0, 0), np.float32)))

        assert "no convolution" in found.text
        assert found.images == []


class TestFeatureMaps:
    def test_are_the_digit_and_then_each_layers_maps(self):
        digit = RANDOM.integers(0, 256, (28, 28), np.uint8)
        maps = {
            "01_conv2d": RANDOM.integers(0, 256, (2, 26, 26), np.uint8),
            "02_maxpooling2d": RANDOM.integers(0, 256, (1, 6, 6), np.uint8),
        }
        found = Fragment(network_html.feature_maps(digit, maps))

        assert found.alts == ["the digit", "map 1", "map 2", "map 1"]
        for image, expected in zip(found.images, [digit, *maps["01_conv2d"], *maps["02_maxpooling2d"]], strict=True):
            np.testing.assert_array_equal(image, expected)
        assert found.text == "input1 conv2d2 maxpooling2d"

    def test_without_a_layer_that_gives_out_an_image_it_says_so(self):
        found = Fragment(network_html.feature_maps(np.zeros((28, 28), np.uint8), {}))

        assert found.text.endswith("No layer here gives out an image.")


class TestBars:
    def test_of_gradients_are_as_long_as_their_logarithm(self):
        norms = {"01_conv2d": 1e1, "02_dense": 10**-1.5, "03_dense": 1e-9, "probabilities": 0.0}
        found = Fragment(network_html.gradient_norms(norms))

        assert found.widths == pytest.approx([100, 50, 0, 0], abs=0.1)
        assert found.said == ["Gradient norm: 1 conv2d 10; 2 dense 0.032; 3 dense 1e-09; output 0"]

    @pytest.mark.parametrize("norm", [np.nan, np.inf, 1e9])
    def test_of_a_gradient_beyond_all_bounds_is_full(self, norm):
        assert Fragment(network_html.gradient_norms({"01_dense": norm})).widths == [100]

    def test_of_dead_units_are_their_share(self):
        found = Fragment(network_html.dead_shares({"01_conv2d": 0.25, "03_dense": 1.0}))

        assert found.widths == [25, 100]
        assert found.said == ["Dead ReLUs: 1 conv2d 25%; 3 dense 100%"]

    def test_without_a_relu_none_can_die(self):
        assert "none can die" in Fragment(network_html.dead_shares({})).text


class TestConfusion:
    def test_mistakes_are_written_and_every_cell_tells_its_count(self):
        counts = np.diag(np.full(10, 9))
        counts[4, 9] = 3
        html = network_html.confusion(counts)

        assert Fragment(html).said == ["Confusion matrix of held-out digits: 90 of 93 right."]
        for true, read in np.ndindex(10, 10):
            assert f'title="{counts[true, read]} × a {true} read as {read}"' in html
        assert html.count(">3</span>") == 1
        assert ">9</span>" not in html

    def test_of_no_digits_is_empty(self):
        assert Fragment(network_html.confusion(np.zeros((10, 10), int))).said == [
            "Confusion matrix of held-out digits: 0 of 0 right."
        ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01_conv2d", "1 conv2d"),
        ("12_residual_main_2_conv2d", "12 residual main 2 conv2d"),
        ("probabilities", "output"),
        ("rescaling", "rescaling"),
    ],
)
def test_a_layer_is_called_by_its_place_and_kind(name, said):
    assert network_html.layer_name(name) == said
