"""The report says what the answers say, keeps the test set closed until it is asked for, and comes as soon as they are there."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from core.data.splits import Split, held_out_images
from core.engine.cluster import Phase
from core.evaluation import robustness
from core.evaluation.robustness import DAMAGES
from core.model.specs import replaced
from core.runs.contents import Evaluation
from core.runs.network import Network
from core.runs.progress import State
from core.runs.question import KEPT
from tests.page_fields import part
from ui.state.exploring import Exploring
from ui.state.runs import Runs

CONSTANT = np.eye(10, dtype=np.float32)


@pytest.fixture
def at(visit, finished_run):
    return visit("evaluate", finished_run)


@pytest.fixture
def held_out(digits, finished_run) -> np.ndarray:
    """What the held-out images show."""
    return digits.y_train[held_out_images(finished_run, digits.y_train)]


def texts(elements) -> list[str]:
    return [element.value for element in elements]


def figures(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def charts(at) -> list:
    return at.get("plotly_chart")


def captions(at) -> str:
    return " ".join(texts(at.caption))


def button(at, label: str):
    return next(button for button in at.button if button.label == label)


def ask_about(at, source: str):
    return at.segmented_control(key="asked-about").set_value(source).run()


def write_validation(run, digits, probabilities, step: int = 8) -> None:
    held_out = held_out_images(run, digits.y_train)
    Network(run, step).keep_validation(Evaluation(step, probabilities, digits.y_train[held_out], held_out))


class TestFigures:
    def test_they_are_those_of_the_held_out_digits(self, at, held_out):
        images = len(held_out)
        loss = (-np.log(0.01) * 2 - np.log(0.91) * (images - 2)) / images

        assert figures(at) == {
            "Accuracy": f"{1 - 2 / images:.2%}",
            "Mistakes": "2",
            "Top two": f"{1 - 2 / images:.2%}",
            "Loss": f"{loss:.4f}",
            "Miscalibrated": f"{abs(1 - 2 / images - 0.91):.2%}",
        }
        assert at.metric[0].delta == "93.0% to 99.4%"
        assert "Most often, a **4** is read as a **9**: 2 times." in texts(at.markdown)

    def test_all_of_them_can_be_taken_home(self, at):
        assert "All figures (CSV)" in [button.proto.label for button in at.get("download_button")]

    def test_a_network_that_always_says_one_digit_can_be_shown(self, visit, make_run, digits):
        run = make_run(State.FINISHED, epochs=2)
        write_validation(run, digits, CONSTANT[np.zeros(100, int)])

        at = visit("evaluate", run)

        assert not at.exception
        assert any(text.startswith("It never reads a digit as 1 or 2") for text in texts(at.markdown))
        scores = next(chart.proto.alt for chart in charts(at) if "precision" in chart.proto.alt)
        assert scores.startswith("0: precision 10.0% (5.5% to 17.4%), recall 100.0% (")
        assert "; 1: precision not defined, recall 0.0% (" in scores
        assert any(chart.proto.alt.startswith("Accuracy over coverage.") for chart in charts(at))

    def test_a_network_without_a_mistake_can_be_shown(self, visit, make_run, digits):
        run = make_run(State.FINISHED, epochs=2)
        write_validation(run, digits, CONSTANT[digits.y_train[held_out_images(run, digits.y_train)]])

        at = visit("evaluate", run)

        assert not at.exception
        assert "None." in texts(at.markdown)
        assert not any(text.startswith("Most often") for text in texts(at.markdown))

    def test_weights_that_are_no_numbers_are_told(self, visit, make_run, digits):
        run = make_run(State.FINISHED, epochs=2)
        write_validation(run, digits, np.full((100, 10), np.nan, np.float32))

        at = visit("evaluate", run)

        assert not at.exception
        assert not at.metric
        assert "NaN or infinite" in at.main.markdown[-1].value

    def test_a_run_that_held_nothing_out_is_told_so(self, visit, make_run, tiny, monkeypatch):
        run = make_run(State.FINISHED, epochs=2)
        all_of_them = replaced(tiny, training=replaced(tiny.training, validation_split=0.0))
        Path(run.root, run.id, "spec.json").write_text(all_of_them.model_dump_json())

        at = visit("evaluate", run)

        assert not at.exception
        assert not at.metric
        assert at.main.markdown[-1].value.startswith("This run held no images out")


class TestMatrix:
    def test_it_is_said_in_words_too(self, at, held_out):
        fours = int((held_out == 4).sum())

        assert f"4: {fours - 2} of {fours} right" in charts(at)[0].proto.alt

    def test_every_cell_says_which_it_is_when_clicked(self, at):
        cells = json.loads(charts(at)[0].proto.spec)["data"][1]["customdata"]

        assert [cell[:2] for cell in cells] == [[true, predicted] for true in range(10) for predicted in range(10)]

    def test_cells_are_counts_or_shares(self, at, held_out):
        fours = int((held_out == 4).sum())
        counts = charts(at)[0].proto.spec

        at.segmented_control(key="matrix-unit").set_value("Shares").run()

        assert not at.exception
        assert f'"{fours - 2:,}"' in counts
        assert f'"{(fours - 2) / fours:.1%}"' in charts(at)[0].proto.spec

    def test_the_diagonal_can_be_dimmed(self, at):
        def largest_off_diagonal(at) -> float:
            z = json.loads(charts(at)[0].proto.spec)["data"][0]["z"]
            values = np.frombuffer(base64.b64decode(z["bdata"]), z["dtype"]).reshape(10, 10)
            return values[4, 9] / values.max()

        before = largest_off_diagonal(at)
        at.toggle(key="dim-diagonal").set_value(True).run()

        assert before < 1
        assert largest_off_diagonal(at) == 1


class TestGallery:
    def test_it_begins_with_the_surest_mistakes_and_their_two_leading_classes(self, at):
        assert "Surest mistakes" in texts(at.subheader)
        assert charts(at)[1].proto.alt.count("a 4, read as 9 at 91%, then 0 at 1%") == 2

    def test_every_cell_that_holds_digits_can_be_chosen_by_keyboard_too(self, at):
        shown = at.selectbox(key=next(box.key for box in at.selectbox if box.label == "Show"))

        shown.set_value("4 read as 9").run()

        assert "4 read as 9" in texts(at.subheader)
        assert shown.options[:4] == ["Surest mistakes", "Least sure", "Suspected label errors", "4 read as 9 · 2"]
        right = [option.partition(" · ") for option in shown.options[4:]]
        assert [name for name, _, _ in right] == [f"{digit} read right" for digit in range(10)]
        assert sum(int(count) for _, _, count in right) == 100 - 2

    def test_one_leafs_through_the_digits_by_keyboard_too(self, at):
        next(box for box in at.selectbox if box.label == "Show").set_value("Least sure").run()
        names = charts(at)[1].proto.alt.split("; ")
        is_first = button(at, "Back").disabled

        button(at, "On").click().run()

        assert not at.exception
        assert is_first
        assert not button(at, "Back").disabled
        assert names[1].partition(":")[0] in captions(at)

        for _ in range(19):
            button(at, "On").click().run()
        second_sheet = charts(at)[1].proto.alt.split("; ")

        assert set(second_sheet).isdisjoint(names)
        assert second_sheet[0].partition(":")[0] in captions(at)

    def test_suspected_label_errors_are_those_of_confident_learning(self, at):
        next(box for box in at.selectbox if box.label == "Show").set_value("Suspected label errors").run()

        assert charts(at)[1].proto.alt.count("a 4, read as 9") == 2

    def test_the_least_sure_may_be_right(self, at):
        next(box for box in at.selectbox if box.label == "Show").set_value("Least sure").run()

        assert charts(at)[1].proto.alt.count("; ") == 19
        assert "100 digits." in captions(at)

    def test_one_leads_to_where_it_is_explained(self, at, digits, finished_run):
        held_out = held_out_images(finished_run, digits.y_train)
        first = int(held_out[np.flatnonzero(digits.y_train[held_out] == 4)[0]])

        at.button(key="explain").click().run()

        assert at.title[0].value == "Explain"
        assert part(at, Exploring).explained == (Split.VALIDATION, first)


class TestTestSet:
    def test_it_is_closed_until_it_is_opened(self, at, finished_run):
        ask_about(at, "Test")

        assert not at.exception
        assert not at.metric
        assert "The test set was never opened for this run." in captions(at)
        assert finished_run.test_openings() == []

    def test_opened_it_says_how_often(self, at, finished_run, digits):
        ask_about(at, "Test")
        at.button(key="open-test").click().run()

        assert figures(at)["Accuracy"] == f"{1 - 2 / len(digits.y_test):.2%}"
        assert "The test set was opened once for this run" in captions(at)
        assert [opening.step for opening in finished_run.test_openings()] == [8]

    def test_in_a_session_it_stays_open(self, at, finished_run):
        ask_about(at, "Test")
        at.button(key="open-test").click().run()
        ask_about(ask_about(at, "Validation"), "Test")

        assert at.metric
        assert len(finished_run.test_openings()) == 1

    def test_another_visit_is_another_opening(self, at, visit, finished_run):
        ask_about(at, "Test")
        at.button(key="open-test").click().run()
        other = ask_about(visit("evaluate", finished_run), "Test")

        assert not other.metric
        assert "opened once for this run" in captions(other)

        other.button(key="open-test").click().run()

        assert "opened twice for this run" in captions(other)

    def test_a_count_that_can_not_be_read_is_told(self, at, finished_run):
        Path(finished_run.root, finished_run.id, "openings.json").write_text("[{")

        ask_about(at, "Test")

        assert not at.exception
        assert "openings.json" in at.error[0].value


class TestAnswersToCome:
    """A run that was never asked, or whose answers are of an earlier epoch."""

    @pytest.fixture
    def unasked(self, make_run):
        return make_run(State.FINISHED, epochs=2)

    def test_the_page_says_that_they_are_under_way(self, visit, unasked):
        at = visit("evaluate", unasked)

        assert not at.exception
        assert at.progress[0].proto.text == "The network reads digits it has never seen …"
        assert not at.metric

    def test_it_waits_for_the_engine(self, visit, unasked, still_engine):
        still_engine.be(Phase.WARMING)

        at = visit("evaluate", unasked)

        assert at.get("progress")[0].proto.text == "The engine is still warming up: TensorFlow is being loaded."

    def test_an_engine_out_of_order_is_told(self, visit, unasked, still_engine):
        still_engine.be(Phase.FAILED, "The engine did not start: no route to host")

        at = visit("evaluate", unasked)

        assert not at.exception
        assert texts(at.error) == ["The engine did not start: no route to host"]

    def test_they_come_by_themselves(self, visit, unasked, digits):
        at = visit("evaluate", unasked)
        write_validation(unasked, digits, CONSTANT[digits.y_train[held_out_images(unasked, digits.y_train)]])

        at.run()

        assert not at.exception
        assert at.metric[0].value == "100.00%"

    def test_those_of_an_earlier_epoch_are_not_shown(self, visit, unasked, digits):
        write_validation(unasked, digits, CONSTANT[np.zeros(100, int)], step=4)

        at = visit("evaluate", unasked)

        assert not at.metric

    @pytest.mark.parametrize("images", [100, 300])
    def test_those_of_another_data_set_are_computed_again(self, visit, unasked, digits, still_engine, images):
        indices = np.arange(60_000 - images, 60_000)
        Network(unasked, 8).keep_validation(
            Evaluation(8, CONSTANT[np.zeros(images, int)], np.zeros(images, np.uint8), indices)
        )

        at = visit("evaluate", unasked)

        assert not at.exception
        assert not at.metric
        assert "AnswerHeldOut" in still_engine.asked

        write_validation(unasked, digits, CONSTANT[digits.y_train[held_out_images(unasked, digits.y_train)]])
        at.run()

        assert at.metric[0].value == "100.00%"

    def test_a_worker_that_has_another_data_set_is_told(self, visit, unasked, still_engine):
        still_engine.answers["AnswerHeldOut"] = KEPT  # and nothing of these images is there

        at = visit("evaluate", unasked)

        assert not at.exception
        assert "The worker answered for other images" in at.error[0].value

    def test_of_the_test_set_too(self, visit, unasked, digits, still_engine):
        Network(unasked, 8).keep_evaluation(Evaluation(8, CONSTANT[np.zeros(600, int)], np.zeros(600, np.uint8)))
        at = ask_about(visit("evaluate", unasked), "Test")

        at.button(key="open-test").click().run()

        assert not at.exception
        assert not at.metric
        assert "AnswerTest" in still_engine.asked

    def test_damaged_ones_are_computed_again(self, visit, finished_run):
        file = Path(finished_run.root, finished_run.id, "validations/00000008.npz")
        file.write_bytes(file.read_bytes()[:100])

        at = visit("evaluate", finished_run)

        assert not at.exception
        assert not at.error
        assert not at.metric


class TestBesideAnother:
    @pytest.fixture
    def other(self, make_run, digits):
        """One that is right on all of the digits."""
        run = make_run(State.FINISHED, epochs=2, name="Another")
        write_validation(run, digits, CONSTANT[digits.y_train[held_out_images(run, digits.y_train)]])
        Network(run, 8).keep_evaluation(Evaluation(8, CONSTANT[digits.y_test], digits.y_test))
        return run

    @pytest.fixture
    def at(self, visit, finished_run, other):
        return visit("evaluate", finished_run, visit("evaluate", other))

    @staticmethod
    def compare(at, run):
        box = next(box for box in at.selectbox if box.label == "Compare with")
        return box.set_value(run.id).run()

    def test_alone_there_is_nothing_to_compare_with(self, visit, finished_run):
        assert "As soon as you have trained a second network" in captions(visit("evaluate", finished_run))

    def test_a_difference_of_two_digits_is_within_chance(self, at, other):
        self.compare(at, other)

        said = next(text for text in texts(at.markdown) if "McNemar" in text)
        assert "On 100 digits that both held out of their training" in said
        assert "**The difference is within chance**" in said
        assert "50% of such comparisons" in said

    def test_what_the_other_said_of_another_data_set_does_not_count(self, visit, finished_run, other, still_engine):
        Network(other, 8).keep_validation(
            Evaluation(8, CONSTANT[np.zeros(100, int)], np.zeros(100, np.uint8), np.arange(100))
        )

        at = self.compare(visit("evaluate", finished_run, visit("evaluate", other)), other)

        assert not at.exception
        assert not any("McNemar" in text for text in texts(at.markdown))
        assert "AnswerHeldOut" in still_engine.asked

    def test_on_the_test_set_the_other_is_opened_too(self, at, other):
        ask_about(at, "Test")
        at.button(key="open-test").click().run()
        self.compare(at, other)

        assert not any("McNemar" in text for text in texts(at.markdown))

        at.button(key="open-test-other").click().run()

        assert any("test digits" in text and "McNemar" in text for text in texts(at.markdown))
        assert len(other.test_openings()) == 1

    def test_a_run_deleted_meanwhile_is_told(self, at, other):
        box = next(box for box in at.selectbox if box.label == "Compare with")
        other.delete()

        box.set_value(other.id).run()

        assert not at.exception


class TestBreakIt:
    @pytest.fixture
    def measured(self, dataset):
        """Of a network that reads every digit as a 1."""
        chosen = robustness.chosen(len(dataset.y_test))
        return robustness.measure(
            dataset.x_test[chosen], dataset.y_test[chosen], 8, lambda images: CONSTANT[np.ones(len(images), int)]
        )

    @staticmethod
    def opened(at, *those):
        """The page once the test set was opened for these runs."""
        part(at, Runs).open_tests.update(Network(run, 8) for run in those)
        return at.run()

    def test_it_begins_when_it_is_asked_to_and_counts_as_an_opening(self, at, finished_run, still_engine):
        assert "BreakIt" not in still_engine.asked

        at.button(key=f"break-{finished_run.id}").click().run()

        assert "BreakIt" in still_engine.asked
        assert "It reads damaged digits …" in [bar.proto.text for bar in at.progress]
        assert len(finished_run.test_openings()) == 1

    def test_it_can_be_cancelled(self, at, finished_run):
        at.button(key=f"break-{finished_run.id}").click().run()
        at.button(key=f"cancel-break-{finished_run.id}").click().run()

        assert not at.progress
        assert at.button(key=f"break-{finished_run.id}")

    def test_what_is_known_stays_closed_until_the_test_set_is_opened(self, visit, finished_run, measured, still_engine):
        Network(finished_run, measured.step).keep_robustness(measured)
        at = visit("evaluate", finished_run)
        assert "Robustness" not in figures(at)

        at.button(key=f"break-{finished_run.id}").click().run()

        assert figures(at)["Robustness"] == f"{measured.clean:.1%}"
        assert len(finished_run.test_openings()) == 1
        assert "BreakIt" not in still_engine.asked

    def test_what_is_known_of_another_data_set_does_not_count(self, visit, finished_run, digits, still_engine):
        Network(finished_run, 8).keep_robustness(
            robustness.measure(
                digits.x_train[:50], digits.y_train[:50], 8, lambda images: CONSTANT[digits.y_train[:50]]
            )
        )
        at = self.opened(visit("evaluate", finished_run), finished_run)
        assert "Robustness" not in figures(at)

        at.button(key=f"break-{finished_run.id}").click().run()

        assert "BreakIt" in still_engine.asked

    def test_with_the_test_set_open_what_is_known_is_shown_at_once(self, visit, finished_run, measured):
        Network(finished_run, measured.step).keep_robustness(measured)

        at = self.opened(visit("evaluate", finished_run), finished_run)

        assert not at.exception
        assert figures(at)["Robustness"] == figures(at)["As they are"] == f"{measured.clean:.1%}"
        assert len(json.loads(charts(at)[-1].proto.spec)["data"]) == len(DAMAGES)

    def test_digits_are_shown_at_each_severity(self, visit, finished_run, measured):
        Network(finished_run, measured.step).keep_robustness(measured)
        at = self.opened(visit("evaluate", finished_run), finished_run)

        at.pills(key=f"damage-{finished_run.id}-8").set_value("Blur").run()

        shown = at.main.get("html")[-1].proto.body
        assert [f"{pixels} px · " in shown for pixels in ("0.5", "1", "1.5", "2", "2.5")] == [True] * 5
        assert "a 0 as 1" in shown

    def test_two_runs_are_in_one_chart(self, visit, make_run, finished_run, measured):
        other = make_run(State.FINISHED, epochs=2, name="Another")
        Network(finished_run, measured.step).keep_robustness(measured)
        Network(other, measured.step).keep_robustness(measured)
        at = self.opened(visit("evaluate", finished_run, visit("evaluate", other)), finished_run, other)

        next(box for box in at.selectbox if box.label == "Compare with").set_value(other.id).run()

        assert not at.exception
        assert len(json.loads(charts(at)[-1].proto.spec)["data"]) == 2 * len(DAMAGES)
