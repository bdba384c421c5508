"""Every chart shows the numbers that it was given, in colours of the palette that stand out in both themes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from core.evaluation import metrics
from core.evaluation.robustness import DAMAGES, SEVERITIES
from core.explain.arithmetic import Form, Layer
from core.explain.questions import Tour
from core.runs.contents import Robustness
from core.runs.progress import Advanced, EpochEnded, HyperparameterChanged, Progress, Started
from core.training.range_test import RangeTest
from core.views import activation_sheet, charts, digit_sheet, pictures

ROOT = Path(__file__).parents[3]


RANDOM = np.random.default_rng(4)


PALETTE = {pictures.ULTRAMARINE, pictures.OCHRE, pictures.TEAL, pictures.STONE, pictures.RED}


NO_INK = {"rgba(0,0,0,0)", "#000", "#fff"}  # nothing at all, and the paper and ink of a digit


IMAGES = RANDOM.integers(0, 256, (5, 28, 28), np.uint8)


Y_TRUE = RANDOM.integers(0, 10, 600)


PROBABILITIES = RANDOM.dirichlet(np.full(10, 0.3), 600)


MATRIX = metrics.confusion_matrix(Y_TRUE, PROBABILITIES.argmax(axis=1))


SCORES, INTERVALS = metrics.class_scores(MATRIX), metrics.class_intervals(MATRIX)


RATES = RangeTest(np.geomspace(1e-5, 1, 40).astype(np.float32), np.linspace(2.3, 0.4, 40, dtype=np.float32))


ROBUSTNESS = Robustness(
    step=8,
    clean=0.97,
    accuracy=RANDOM.random((len(DAMAGES), SEVERITIES)),
    images=100,
    samples=np.zeros((len(DAMAGES), SEVERITIES + 1, 1, 28, 28), np.uint8),
    labels=np.zeros(1, np.uint8),
    readings=np.zeros((len(DAMAGES), SEVERITIES + 1, 1), np.uint8),
)


def tour() -> Tour:
    layers = {
        "01_conv2d": Layer("01_conv2d", Form.WINDOW, (), (26, 26, 3)),
        "probabilities": Layer("probabilities", Form.SUM, ("01_conv2d",), (10,)),
    }
    outputs = {name: RANDOM.normal(size=layer.shape).astype(np.float32) for name, layer in layers.items()}
    kernels = {"01_conv2d": RANDOM.normal(size=(3, 3, 3, 1)).astype(np.float32)}
    return Tour(layers, outputs, kernels, outputs["probabilities"])


def progress(batches: int = 20) -> Progress:
    """Two epochs of ten batches, the learning rate changed in the second."""
    made = Progress.of([Started(10, 2, 32, 0)])
    loss, accuracy = np.linspace(2.3, 0.3, batches), np.linspace(0.1, 0.95, batches)
    for end in range(10, batches + 1, 10):
        made.apply(Advanced(end, tuple(loss[end - 10 : end]), tuple(accuracy[end - 10 : end]), 0.01, 1000.0, 1.0))
        made.apply(EpochEnded(end // 10, float(loss[end - 1]), 0.9, 0.5 / (end // 10), 0.8 + end / 200, 0.01, 1.0))
    made.apply(HyperparameterChanged(15, "learning_rate", 0.005))
    return made


FIGURES = {
    "loss": charts.loss_curve(progress()),
    "loss, logarithmic": charts.loss_curve(progress(), is_log=True),
    "loss of nothing": charts.loss_curve(Progress()),
    "accuracy": charts.accuracy_curve(progress()),
    "accuracy of nothing": charts.accuracy_curve(Progress()),
    "range test": charts.range_test(RATES, 0.02),
    "confusion matrix": charts.confusion_matrix(MATRIX, as_shares=False),
    "confusion matrix of mistakes": charts.confusion_matrix(MATRIX, as_shares=True, is_diagonal_dim=True),
    "captioned sheet": digit_sheet.captioned(IMAGES, [("a", "b")] * 5, list("uvwxy"), 3, 2, 4),
    "digit sheet": digit_sheet.sheet(IMAGES, list("uvwxy"), 3, chosen=4, marked=(1,)),
    "digit values": charts.digit_values(IMAGES[0]),
    "class balance": charts.class_balance(np.arange(10), chosen=3),
    "class scores": charts.class_scores(SCORES, INTERVALS),
    "reliability": charts.reliability(metrics.calibration(Y_TRUE, PROBABILITIES), np.zeros((15, 2))),
    "abstention": charts.abstention(metrics.abstention(Y_TRUE, PROBABILITIES)),
    "robustness": charts.robustness_curves([("one", ROBUSTNESS), ("another", ROBUSTNESS)]),
    "balances": charts.balances({"Training": np.arange(10), "Test": np.arange(10)[::-1]}, chosen=2),
    "pixels": charts.pixel_histogram(np.arange(256)),
    "distribution": charts.distribution(RANDOM.normal(size=500), "Ink", ".0%"),
    "network": activation_sheet.figure(tour(), ("01_conv2d", 1)),
}


def colours(part: Any) -> Iterator[str]:
    """Every colour that a figure names by itself; what it leaves to the theme is not among them."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "template":
                continue
            if name.endswith("color") or name in ("colorscale", "colorway"):
                yield from re.findall(r"#\w+|rgba?\([^)]*\)|[a-z]{3,}", str(value))
            else:
                yield from colours(value)
    elif isinstance(part, list | tuple):
        for one in part:
            yield from colours(one)


def luminance(colour: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


class TestEveryChart:
    @pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
    def test_names_colours_of_the_palette_alone(self, figure):
        named = set(colours(figure.to_plotly_json()))

        assert named <= PALETTE | NO_INK

    @pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
    def test_keeps_its_height_so_that_nothing_jumps(self, figure):
        assert figure.layout.height > 0

    @pytest.mark.parametrize("theme", ["light", "dark"])
    @pytest.mark.parametrize("colour", sorted(PALETTE))
    def test_has_colours_that_stand_out_from_the_page_in_both_themes(self, theme, colour):
        settings = tomllib.loads((ROOT / ".streamlit/config.toml").read_text())
        page = luminance(settings["theme"][theme]["backgroundColor"])
        lighter, darker = sorted((luminance(colour), page), reverse=True)

        assert (lighter + 0.05) / (darker + 0.05) >= 3  # WCAG 2.2, 1.4.11, of what isn't text


class TestCurves:
    def test_validation_is_drawn_at_each_epochs_end(self):
        loss, accuracy = (chart(progress()).data[2] for chart in (charts.loss_curve, charts.accuracy_curve))

        assert list(loss.x) == list(accuracy.x) == [1, 2]
        assert list(loss.y) == [0.5, 0.25]
        assert list(accuracy.y) == pytest.approx([0.85, 0.9])

    def test_every_batch_is_drawn_at_its_middle(self):
        made = progress()
        by_batch = charts.loss_curve(made).data[0]

        np.testing.assert_allclose(by_batch.x, (np.arange(20) + 0.5) / 10)
        np.testing.assert_allclose(by_batch.y, made.loss)

    def test_a_level_loss_is_smoothed_to_itself(self):
        level = Progress.of([Started(100, 1, 32, 0), Advanced(100, (0.5,) * 100, (1.0,) * 100, 0.01, 1.0, 0.0)])

        np.testing.assert_allclose(charts.loss_curve(level).data[1].y, 0.5)

    def test_a_change_of_the_learning_rate_is_marked_where_it_was_made(self):
        figure = charts.loss_curve(progress())

        assert [(line.x0, line.x1) for line in figure.layout.shapes] == [(1.5, 1.5)]
        assert figure.layout.annotations[0].text == "learning rate 0.005"

    def test_a_reader_s_zoom_outlasts_new_values(self):
        first, later = charts.loss_curve(progress(10)), charts.loss_curve(progress(20))

        assert first.layout.uirevision == later.layout.uirevision
        assert first.layout.height == later.layout.height

    def test_without_batches_the_loss_reaches_to_that_of_a_guess(self):
        assert tuple(charts.loss_curve(Progress()).layout.yaxis.range) == pytest.approx((0, np.log(10)))


def test_a_range_test_is_drawn_as_it_was_and_the_suggested_rate_is_marked():
    figure = charts.range_test(RATES, 0.02)

    np.testing.assert_array_equal(figure.data[0].x, RATES.learning_rates)
    np.testing.assert_array_equal(figure.data[0].y, RATES.losses)
    assert [line.x0 for line in figure.layout.shapes] == [0.02]
    assert len(charts.range_test(RATES, None).layout.shapes) == 0


class TestConfusionMatrix:
    @pytest.fixture
    def matrix(self) -> np.ndarray:
        matrix = np.diag(np.full(10, 90))
        matrix[4, 9], matrix[7, 2] = 10, 30
        return matrix

    def test_each_cell_tells_its_digits_and_its_count(self, matrix):
        cells = charts.confusion_matrix(matrix, as_shares=False).data[1]

        found = {(true, read): count for true, read, count in cells.customdata}
        assert found == {(true, read): matrix[true, read] for true, read in np.ndindex(10, 10)}
        assert (cells.x[49], cells.y[49]) == ("9", "4")

    @pytest.mark.parametrize(("as_shares", "written"), [(False, "30"), (True, "25.0%")])
    def test_counts_or_shares_of_the_row_are_written_where_there_are_any(self, matrix, as_shares, written):
        text = charts.confusion_matrix(matrix, as_shares).data[0].text

        assert text[7][2] == written
        assert text[2][7] == ""

    def test_colours_are_the_roots_of_the_rows_shares(self, matrix):
        whole, dimmed = (charts.confusion_matrix(matrix, False, is_dim).data[0].z for is_dim in (False, True))

        assert whole[4][9] == dimmed[4][9] == pytest.approx(np.sqrt(0.1))
        assert whole[4][4] == pytest.approx(np.sqrt(0.9))
        assert np.diag(dimmed).max() == 0

    def test_a_digit_that_never_occurs_has_an_empty_row(self):
        figure = charts.confusion_matrix(np.zeros((10, 10), int), as_shares=True)

        assert np.isfinite(figure.data[0].z).all()

    def test_it_prints_as_a_pdf_whatever_its_title_holds(self, matrix):
        assert charts.printed_confusion_matrix(matrix, "$\\frac{ of a run").startswith(b"%PDF-")


def test_a_digit_s_values_are_written_where_there_is_ink():
    heat = charts.digit_values(np.diag(np.arange(28, dtype=np.uint8))).data[0]

    assert heat.z[27][27] == 27
    assert heat.text[27][27] == "27"
    assert heat.text[0][0] == heat.text[3][4] == ""
    assert (heat.zmin, heat.zmax) == (0, 255)


class TestCounts:
    def test_a_bar_is_as_high_as_its_count_and_the_chosen_one_stands_out(self):
        counts = np.arange(10) * 7
        (bars,) = charts.class_balance(counts, chosen=3).data

        np.testing.assert_array_equal(bars.y, counts)
        assert [digit for digit, opacity in zip(bars.x, bars.marker.opacity, strict=True) if opacity == 1] == ["3"]
        assert set(charts.class_balance(counts).data[0].marker.opacity) == {1.0}

    def test_sets_of_any_size_stand_side_by_side_as_shares(self):
        few, many = np.arange(10), np.arange(10) * 100
        first, second = charts.balances({"Test": few, "Training": many}).data

        np.testing.assert_allclose(first.y, second.y)
        assert first.y.sum() == pytest.approx(1)
        np.testing.assert_array_equal(second.customdata, many)

    def test_an_empty_set_has_no_shares(self):
        np.testing.assert_array_equal(charts.balances({"Mine": np.zeros(10, int)}).data[0].y, 0)

    def test_each_grey_value_has_its_bar(self):
        counts = RANDOM.integers(0, 999, 256)
        (bars,) = charts.pixel_histogram(counts).data

        np.testing.assert_array_equal(bars.x, np.arange(256))
        np.testing.assert_array_equal(bars.y, counts)

    def test_a_distribution_counts_all_but_the_extremes_and_marks_the_median(self):
        values = np.concatenate([RANDOM.normal(size=10_000), [1e6]])
        figure = charts.distribution(values, "Ink", ".1f")
        low, high = np.quantile(values, [0.001, 0.999])

        assert figure.data[0].y.sum() == ((values >= low) & (values <= high)).sum()
        assert figure.layout.shapes[0].x0 == np.median(values)

    def test_a_trait_that_all_share_has_one_bar(self):
        bars = charts.distribution(np.ones(50), "Holes", ".0f").data[0]

        assert sorted(bars.y)[-2:] == [0, 50]


class TestScores:
    def test_points_are_those_of_scikit_learn_and_bars_reach_to_the_intervals(self):
        precision, recall, f1, _ = precision_recall_fscore_support(Y_TRUE, PROBABILITIES.argmax(axis=1))
        drawn = charts.class_scores(SCORES, INTERVALS).data

        assert [series.name for series in drawn] == ["Precision", "Recall", "F1"]
        for series, expected, interval in zip(drawn, (precision, recall, f1), vars(INTERVALS).values(), strict=True):
            np.testing.assert_allclose(series.y, expected)
            np.testing.assert_allclose(series.y + series.error_y.array, interval[:, 1])
            np.testing.assert_allclose(series.y - series.error_y.arrayminus, interval[:, 0])

    def test_reliability_has_a_point_for_each_bin_that_holds_anything(self):
        bins = metrics.calibration(np.array([3, 3, 3, 1]), np.eye(10)[[3, 3, 5, 1]] * 0.9 + 0.01)
        _, drawn = charts.reliability(
            bins, metrics.wilson(np.nan_to_num(bins.accuracy) * bins.counts, bins.counts)
        ).data

        np.testing.assert_allclose(drawn.x, [0.91])
        np.testing.assert_allclose(drawn.y, [0.75])
        np.testing.assert_array_equal(drawn.customdata, [4])

    def test_abstention_goes_from_the_surest_images_to_all(self):
        found = metrics.abstention(Y_TRUE, PROBABILITIES)
        (line,) = charts.abstention(found).data

        assert line.x[-1] == 1
        assert line.y[-1] == pytest.approx(np.mean(PROBABILITIES.argmax(axis=1) == Y_TRUE))
        assert set(line.y) <= set(found.accuracy)

    def test_robustness_begins_where_nothing_is_damaged_and_tells_runs_apart_by_more_than_colour(self):
        figure = charts.robustness_curves([("one", ROBUSTNESS), ("<b>", ROBUSTNESS)])

        assert len(figure.data) == 2 * len(DAMAGES)
        for kind, line in enumerate(figure.data[: len(DAMAGES)]):
            assert list(line.y) == [ROBUSTNESS.clean, *ROBUSTNESS.accuracy[kind]]
        assert {(line.name, line.line.dash) for line in figure.data} == {("one", "solid"), ("&lt;b&gt;", "dash")}
        assert [line.showlegend for line in figure.data].count(True) == 2
