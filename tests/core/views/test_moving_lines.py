"""Charts as HTML: where their lines go, what they say, and that a browser can read them."""

import base64
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from core.runs.progress import HyperparameterChanged, Progress
from core.views import moving_lines

STEPS_PER_EPOCH = 10


def picture(shown: str) -> ElementTree.Element:
    source = ElementTree.fromstring(shown).find(".//img").get("src")  # noqa: S314 (our own)
    return ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))  # noqa: S314


def widths(shown: str) -> list[str]:
    return [line.get("stroke-width") for line in picture(shown)]


def lines(shown: str) -> list[np.ndarray]:
    """The points of each line, (n, 2), in shares of the chart's width and height, from its lower left."""
    points = [
        np.array([place.split(",") for place in one.get("points").split()], float).reshape(-1, 2)
        for one in picture(shown)
    ]
    return [np.stack([one[:, 0], 100 - one[:, 1]], axis=1) / 100 for one in points]


def names(shown: str) -> list[str]:
    return [one.text for one in ElementTree.fromstring(shown).iter("span") if one.text]  # noqa: S314 (our own)


def said(shown: str) -> str:
    return ElementTree.fromstring(shown).get("aria-label")  # noqa: S314 (our own)


class TestLearningRate:
    @pytest.fixture
    def progress(self) -> Progress:
        return Progress(steps_per_epoch=STEPS_PER_EPOCH, epochs=2, step=5)

    def test_what_is_done_is_the_beginning_of_the_whole(self, progress):
        rates = np.linspace(0.1, 0, 2 * STEPS_PER_EPOCH).astype(np.float32)

        whole, done = lines(moving_lines.learning_rate(progress, rates))

        assert len(whole) == 2 * STEPS_PER_EPOCH
        assert (done == whole[: progress.step + 1]).all()
        assert whole[:, 0] == pytest.approx(np.linspace(0, 1, len(rates)), abs=1e-3)
        assert whole[:, 1] / whole[0, 1] == pytest.approx(rates / 0.1, abs=1e-3)

    def test_it_says_the_highest_and_the_present_one(self, progress):
        rates = np.linspace(0.1, 0, 2 * STEPS_PER_EPOCH).astype(np.float32)

        shown = moving_lines.learning_rate(progress, rates)

        assert said(shown) == f"Learning rate by epochs, at most 0.1. Now {rates[5]:.3g}."
        assert names(shown) == ["0", "0.1", "0", "1", "2", "Epoch"]

    def test_a_turn_is_marked_where_it_was(self, progress):
        progress.changes.append(HyperparameterChanged(5, "learning_rate", 0.05))

        shown = moving_lines.learning_rate(progress, np.full(2 * STEPS_PER_EPOCH, 0.1, np.float32))

        assert "left:25.0%;top:0;bottom:0" in shown

    def test_before_anything_is_known_it_is_empty(self):
        shown = moving_lines.learning_rate(Progress(), np.zeros(0, np.float32))

        assert [len(line) for line in lines(shown)] == [0, 0]

    @pytest.mark.parametrize("epochs", [1, 7, 10, 11, 99, 1000])
    def test_ten_epochs_at_most_are_named(self, epochs):
        progress = Progress(steps_per_epoch=1, epochs=epochs)

        shown = moving_lines.learning_rate(progress, np.ones(epochs, np.float32))

        named = [int(name) for name in names(shown)[2:-1]]
        assert named[0] == 0
        assert 2 <= len(named) <= 11
        assert len(set(np.diff(named))) == 1


class TestReadings:
    STEPS = np.array([0, 1, 10, 100])

    @pytest.fixture
    def probabilities(self) -> np.ndarray:
        probabilities = np.full((4, 10), 0.02)
        probabilities[:2, 3] = 0.82
        probabilities[2:, 7] = 0.82
        return probabilities

    def test_there_is_a_line_for_each_digit_on_a_scale_of_powers_of_ten(self, probabilities):
        drawn = lines(moving_lines.readings(self.STEPS, probabilities, ""))

        assert len(drawn) == 10
        for digit, line in enumerate(drawn):
            assert line[:, 1] == pytest.approx(probabilities[:, digit], abs=1e-4)
            x = line[:, 0]
            assert (x[0], x[-1]) == (0, 1)
            assert x[2] - x[1] == pytest.approx(x[3] - x[2], abs=1e-3)

    def test_the_leading_one_is_labelled_at_its_end_and_drawn_thick(self, probabilities):
        shown = moving_lines.readings(self.STEPS, probabilities, "It read a 7.")

        assert re.findall(r">(\d)</b>", shown) == ["7"]
        assert widths(shown) == ["1.5"] * 7 + ["3.5"] + ["1.5"] * 2
        assert said(shown) == "Ten probabilities over 4 moments of the training. It read a 7."

    def test_at_a_marked_place_the_one_that_led_there_is_thick(self, probabilities):
        shown = moving_lines.readings(self.STEPS, probabilities, "", place=1)

        assert widths(shown).index("3.5") == 3
        assert "border-left:2px dashed" in shown

    def test_labels_that_would_cover_each_other_are_moved_apart(self):
        probabilities = np.zeros((1, 10))
        probabilities[0, :4] = 0.25

        shown = moving_lines.readings(np.array([1]), probabilities, "")

        tops = [float(top) for top in re.findall(r"<b style=\"position:absolute;left:[\d.]+%;top:([\d.-]+)%", shown)]
        assert (np.diff(sorted(tops)) >= 10).all()

    def test_one_moment_is_a_dot_and_none_is_an_empty_chart(self):
        (dot, *_) = lines(moving_lines.readings(np.array([5]), np.full((1, 10), 0.1), ""))
        assert (dot[0] == dot[1]).all()

        empty = lines(moving_lines.readings(np.zeros(0, int), np.zeros((0, 10)), "", place=3))
        assert [len(line) for line in empty] == [0] * 10
