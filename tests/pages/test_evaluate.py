"""The test report says what the answers say, and comes as soon as they are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.engine import Phase
from core.progress import State
from core.runs import Evaluation


@pytest.fixture
def at(visit, finished_run):
    return visit("evaluate", finished_run)


def texts(elements) -> list[str]:
    return [element.value for element in elements]


def test_the_figures_are_those_of_the_answers(at, digits):
    images = len(digits.y_test)
    wrong_loss = -np.log(0.01) * 2 / images
    right_loss = -np.log(0.91) * (images - 2) / images

    assert {metric.label: metric.value for metric in at.metric} == {
        "Test accuracy": f"{1 - 2 / images:.2%}",
        "Test loss": f"{wrong_loss + right_loss:.4f}",
        "Mistakes": f"2 of {images:,}",
        "Epochs learned": "2",
    }
    assert "Most often, a **4** is read as a **9**: 2 times." in texts(at.markdown)


def test_the_matrix_is_said_in_words_too(at, digits):
    fours = int((digits.y_test == 4).sum())

    assert f"4: {fours - 2} of {fours} right" in at.get("plotly_chart")[0].proto.alt


def test_every_cell_says_which_it_is_when_clicked(at):
    cells = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][1]["customdata"]

    assert [cell[:2] for cell in cells] == [[true, predicted] for true in range(10) for predicted in range(10)]


def test_cells_are_counts_or_shares(at, digits):
    fours = int((digits.y_test == 4).sum())
    counts = at.get("plotly_chart")[0].proto.spec

    at.segmented_control[0].set_value("Shares").run()

    assert not at.exception
    assert f'"{fours - 2:,}"' in counts
    assert f'"{(fours - 2) / fours:.1%}"' in at.get("plotly_chart")[0].proto.spec


def test_the_gallery_begins_with_the_mistakes(at):
    gallery = at.get("html")[0].proto.body

    assert "Surest mistakes" in texts(at.subheader)
    assert gallery.count("<figure") == 2
    assert gallery.count("4 → 9, 91%") >= 2


def test_every_digit_has_its_scores(at, digits):
    scores = at.dataframe[0].value
    fours = int((digits.y_test == 4).sum())

    assert list(scores.columns) == ["Digit", "Precision", "Recall", "F1", "Images"]
    assert list(scores["Digit"]) == list(range(10))
    assert scores["Recall"][4] == pytest.approx(1 - 2 / fours)
    assert scores["Precision"][4] == 1.0


def test_a_network_that_always_says_one_digit_can_be_shown(visit, make_run, digits):
    run, y_true = make_run(State.FINISHED, epochs=2), digits.y_test
    run.write_evaluation(Evaluation(2, np.eye(10, dtype=np.float32)[np.zeros(len(y_true), int)], y_true))

    at = visit("evaluate", run)

    assert not at.exception
    assert np.isnan(at.dataframe[0].value["Precision"][1])


def test_a_network_without_a_mistake_can_be_shown(visit, make_run, digits):
    run, y_true = make_run(State.FINISHED, epochs=2), digits.y_test
    run.write_evaluation(Evaluation(2, np.eye(10, dtype=np.float32)[y_true], y_true))

    at = visit("evaluate", run)

    assert not at.exception
    assert "None." in texts(at.markdown)
    assert not any(text.startswith("Most often") for text in texts(at.markdown))


class TestAnswersToCome:
    """A run that was never tested, or whose answers are of an earlier epoch."""

    @pytest.fixture
    def untested(self, make_run):
        return make_run(State.FINISHED, epochs=2)

    def test_the_page_says_that_they_are_under_way(self, visit, untested):
        at = visit("evaluate", untested)

        assert not at.exception
        assert at.progress[0].proto.text == "The network reads 10,000 digits it has never seen …"
        assert not at.metric

    def test_it_waits_for_the_engine(self, visit, untested, still_engine):
        still_engine.be(Phase.WARMING)

        at = visit("evaluate", untested)

        assert texts(at.info) == ["The engine is still warming up: TensorFlow is being loaded."]

    def test_an_engine_out_of_order_is_told(self, visit, untested, still_engine):
        still_engine.be(Phase.FAILED, "The engine did not start: no route to host")

        at = visit("evaluate", untested)

        assert not at.exception
        assert texts(at.error) == ["The engine did not start: no route to host"]

    def test_they_come_by_themselves(self, visit, untested, digits):
        at = visit("evaluate", untested)
        y_true = digits.y_test
        untested.write_evaluation(Evaluation(2, np.eye(10, dtype=np.float32)[y_true], y_true))

        at.run()

        assert not at.exception
        assert at.metric[0].value == "100.00%"

    def test_those_of_an_earlier_epoch_are_not_shown(self, visit, untested, digits):
        y_true = digits.y_test
        untested.write_evaluation(Evaluation(1, np.eye(10, dtype=np.float32)[y_true], y_true))

        at = visit("evaluate", untested)

        assert not at.metric


def test_damaged_answers_are_told(visit, finished_run):
    file = Path(finished_run.root, finished_run.id, "evaluation.npz")
    file.write_bytes(file.read_bytes()[:100])

    at = visit("evaluate", finished_run)

    assert not at.exception
    assert f"Run {finished_run.id}: evaluation.npz can't be read" in at.error[0].value
