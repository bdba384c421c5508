"""What explains a network is drawn from the values it was found with, and the words under it say the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.explain import arithmetic, attribution
from core.explain.adversarial import Change, Norm
from core.explain.arithmetic import Form, Layer, Unit
from core.explain.attribution import Curves, Explanation, Method
from core.explain.questions import Forgotten
from core.views import explanation_html, network_html
from core.views.explanation_html import OUTLINE, ZOOM
from tests.fragments import Fragment

RANDOM = np.random.default_rng(6)
LEVEL = Curves(np.full(29, 0.5, np.float32), np.full(29, 0.5, np.float32))
BETTER = Curves(np.full(29, 0.25, np.float32), np.full(29, 0.75, np.float32))
BLANK = np.zeros((28, 28), np.uint8)
SQUARE = np.pad(np.full((10, 10), 255, np.uint8), 9)
FALLING = np.linspace(1, -1, 784, dtype=np.float32).reshape(28, 28)


def convolution(channels: int = 1, activation: str = "linear") -> tuple[Unit, np.ndarray, np.ndarray]:
    """The upper left number of a padded 3 × 3 convolution, its input and its kernel."""
    image = RANDOM.normal(size=(6, 6, channels)).astype(np.float32)
    kernel = RANDOM.normal(size=(3, 3, channels, 2)).astype(np.float32)
    layer = Layer(
        "01_conv2d",
        Form.WINDOW,
        ("rescaling",),
        (6, 6, 2),
        (3, 3),
        before=(1, 1),
        activation=activation,
        weights={"kernel": kernel, "bias": np.float32([0, 0.5])},
    )
    return arithmetic.unit(layer, (image,), np.zeros((6, 6, 2), np.float32), (0, 0, 1)), image, kernel


def explanation(**changes) -> Explanation:
    maps = {str(method): RANDOM.normal(size=(28, 28)).astype(np.float32) for method in Method}
    whole = Explanation(
        digit=3,
        probabilities=np.eye(10, dtype=np.float32)[3],
        maps=maps,
        missing={},
        attributed=1.5,
        difference=1.25,
        curves=dict.fromkeys(maps, BETTER),
        chance=LEVEL,
    )
    return replace(whole, **changes)


class TestMapOverADigit:
    def test_has_the_maps_colours_each_pixel_enlarged(self):
        found = explanation_html.over_digit(FALLING, BLANK)

        assert found.shape == (28 * ZOOM, 28 * ZOOM, 3)
        np.testing.assert_array_equal(found[::ZOOM, ::ZOOM], network_html.signed(FALLING))

    def test_has_the_ink_s_outline_and_nothing_else_changed(self):
        found = explanation_html.over_digit(FALLING, SQUARE)
        is_outline = (found == OUTLINE).all(axis=2)
        rows, columns = (np.flatnonzero(is_outline.any(axis=axis)) for axis in (1, 0))

        assert (rows[0], rows[-1], columns[0], columns[-1]) == (9 * ZOOM, 19 * ZOOM, 9 * ZOOM, 19 * ZOOM)
        assert is_outline.sum() == pytest.approx(4 * 10 * ZOOM, abs=2)
        np.testing.assert_array_equal(found[~is_outline], explanation_html.over_digit(FALLING, BLANK)[~is_outline])


class TestArithmetic:
    def test_of_a_window_adds_up_what_it_reads_times_the_kernel(self):
        unit, image, kernel = convolution()
        sums = float((image[:2, :2, 0] * kernel[1:, 1:, 0, 1]).sum(dtype=np.float64))

        text = Fragment(explanation_html.arithmetic(unit)).text

        assert f"channel 1 adds up to {written(sums)}" in text
        assert f"{written(sums)} + 0.5 (bias) = {written(sums + 0.5)}" in text
        assert text.endswith("Keras says 0.")

    def test_says_every_number_it_shows_and_nought_outside_the_image(self):
        unit, image, _ = convolution()
        patch, *_ = Fragment(explanation_html.arithmetic(unit)).said

        inside = [", ".join(["0", *map(written, row)]) for row in image[:2, :2, 0]]
        assert patch == "; ".join(["0, 0, 0", *inside])

    def test_of_many_channels_shows_the_three_that_count_most_and_adds_the_others(self):
        unit, _, _ = convolution(channels=6)
        sums = unit.products.sum(axis=(0, 1), dtype=np.float64)
        first = np.argsort(-np.abs(sums))[:3]

        text = Fragment(explanation_html.arithmetic(unit)).text

        for channel in first:
            assert f"channel {channel + 1} adds up to {written(sums[channel])}" in text
        assert f"The other 3 channels add {written(sums.sum() - sums[first].sum())}." in text

    @pytest.mark.parametrize("activation", ["relu", "tanh"])
    def test_names_the_function_and_what_it_makes_of_the_sum(self, activation):
        unit, _, _ = convolution(activation=activation)

        text = Fragment(explanation_html.arithmetic(unit)).text

        assert f"; {activation} makes it {written(arithmetic.activated(activation, unit.total))}" in text

    def test_of_weights_shows_the_largest_terms_and_adds_the_others(self):
        values, kernel = RANDOM.normal(size=20).astype(np.float32), RANDOM.normal(size=(20, 10)).astype(np.float32)
        weights = {"kernel": kernel, "bias": np.zeros(10, np.float32)}
        layer = Layer("probabilities", dense_form(), ("01_dense",), (10,), activation="softmax", weights=weights)
        unit = arithmetic.unit(layer, (values,), np.full(10, 0.1, np.float32), (4,))
        terms = values * kernel[:, 4]
        first = np.argsort(-np.abs(terms))[:8]

        text = Fragment(explanation_html.arithmetic(unit)).text

        assert [f"unit {k + 1}" in text for k in first] == [True] * 8
        assert f"The other 12 add {written(float(terms.sum(dtype=float) - terms[first].sum(dtype=float)))}." in text
        scores = (values @ kernel).astype(np.float64)
        share = np.exp(scores[4]) / np.exp(scores).sum()
        assert f"divided by the sum of all 10 = {written(share)}" in text
        assert text.endswith("Keras says 0.1.")


def dense_form() -> Form:
    """How a dense layer gets its numbers, whatever it is called."""
    return next(form for form in Form if form.value.startswith("everything"))


def written(value: float) -> str:
    """As the lab writes a number: three digits that count, and a true minus."""
    return f"{float(value) + 0.0:.3g}".replace("-", "−")


class TestAttributions:
    def test_every_method_has_its_map_over_the_digit(self):
        found = explanation()
        shown = Fragment(explanation_html.attributions(SQUARE, found))

        assert shown.alts == [f"{method} for a 3" for method in Method]
        for image, method in zip(shown.images, Method, strict=True):
            np.testing.assert_array_equal(image, explanation_html.over_digit(found.maps[method], SQUARE))

    def test_where_there_is_none_it_says_why(self):
        maps = {name: values for name, values in explanation().maps.items() if name != Method.GRAD_CAM}
        found = explanation(maps=maps, missing={Method.GRAD_CAM: "No <convolution>."})
        shown = Fragment(explanation_html.attributions(SQUARE, found))

        assert "No <convolution>." in shown.text
        assert len(shown.images) == len(Method) - 1

    def test_what_they_add_up_to_stands_beside_what_they_should(self):
        said = explanation_html.completeness(explanation())

        assert "**1.5** of score" in said
        assert "is **1.25**" in said
        assert "differ by 20 %" in said


class TestBeliefs:
    @pytest.mark.parametrize(
        ("deletion", "insertion", "verdict"),
        [
            (0.25, 0.75, "Both better than chance."),
            (0.25, 0.5, "Taken away better than chance, put back no better."),
            (0.5, 0.75, "Put back better than chance, taken away no better."),
            (0.75, 0.25, "No better than pixels by chance."),
        ],
    )
    def test_the_areas_and_what_follows_from_them(self, deletion, insertion, verdict):
        curves = Curves(np.full(29, deletion, np.float32), np.full(29, insertion, np.float32))
        found = explanation(maps={"Gradient": FALLING}, curves={"Gradient": curves})
        shown = Fragment(explanation_html.beliefs(SQUARE, found, []))

        assert f"area {deletion:.2f} (chance 0.50)" in shown.text
        assert f"area {insertion:.2f} (chance 0.50)" in shown.text
        assert shown.text.endswith(verdict)

    def test_a_flat_map_points_nowhere(self):
        found = explanation(maps={"Gradient": np.zeros((28, 28), np.float32)}, curves={"Gradient": LEVEL})

        assert "points nowhere" in Fragment(explanation_html.beliefs(SQUARE, found, [])).text

    @pytest.mark.parametrize(
        ("after", "verdict"),
        [(FALLING, "it says little about this network"), (FALLING.T, "it shows something that was learned")],
    )
    def test_what_becomes_of_a_map_is_judged_once_all_is_forgotten(self, after, verdict):
        found = explanation(maps={"Gradient": FALLING}, curves={"Gradient": BETTER})
        forgotten = [
            Forgotten(("probabilities",), 2, {"Gradient": FALLING}),
            Forgotten(("01_conv2d", "probabilities"), 2, {"Gradient": after}),
        ]
        half, whole = (Fragment(explanation_html.beliefs(SQUARE, found, forgotten[:count])) for count in (1, 2))

        assert verdict in whole.text
        assert verdict not in half.text
        assert whole.alts[-1] == "Gradient once 1 conv2d to output forgot"
        assert written(round(attribution.rank_correlation(FALLING, after), 2)) in whole.text


class TestChangedDigit:
    def test_is_the_digit_and_the_change_and_what_came_of_it(self):
        changed = SQUARE.copy()
        changed[0, 0], changed[12, 12] = 100, 205
        change = Change(7, Norm.L2, changed, np.eye(10, dtype=np.float32)[7], 0.4, 0.39, True)
        shown = Fragment(explanation_html.changed_digit(SQUARE, change))

        first, by, third = shown.images
        np.testing.assert_array_equal(first, SQUARE)
        np.testing.assert_array_equal(by, network_html.signed(changed.astype(np.float32) - SQUARE))
        np.testing.assert_array_equal(third, changed)
        assert "100 of 255 levels at most" in shown.text
        assert shown.text.endswith("read as a 7")

    def test_where_none_was_found_it_says_what_it_is_still_read_as(self):
        change = Change(7, Norm.L2, SQUARE, np.eye(10, dtype=np.float32)[1], 0, 0, False)

        assert Fragment(explanation_html.changed_digit(SQUARE, change)).text.endswith("still read as a 1")


def test_perfect_digits_say_how_sure_the_network_is_of_each():
    images = RANDOM.random((10, 28, 28), np.float32)
    probabilities = np.full((10, 10), 0.05) + np.eye(10) * 0.5
    shown = Fragment(explanation_html.perfect_digits(images, probabilities))

    assert shown.alts == [f"{digit}, 55.0%" for digit in range(10)]
    for found, ink in zip(shown.images, images, strict=True):
        np.testing.assert_array_equal(found, np.rint(255 * ink).astype(np.uint8))
