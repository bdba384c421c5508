"""Drawings are kept with their label, seen in Data, measured, and a network goes on from them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.data.handwriting import Handwriting
from core.data.splits import held_out_images
from core.runs import registry
from core.runs.contents import Checkpoint, Evaluation
from core.runs.network import Network
from core.runs.progress import EpochEnded, Progress, State
from core.runs.run import Run
from core.training import fine_tuning
from tests.page_fields import held_by_widgets, part
from ui.state.drawing_in_use import DrawingInUse
from ui.state.own_handwriting import OwnHandwriting
from ui.state.runs import Runs
from ui.state.session import Conversation

SEVEN = np.float32([0.01] * 7 + [0.91] + [0.01] * 2)
KEEP = """
import numpy as np
from ui.widgets import keep_drawing
image = np.zeros((28, 28), np.uint8)
image[4:24, 13:15] = 255
keep_drawing.keep_form(image, {guess})
"""
ANOTHER = """
import streamlit as st
if st.checkbox("Another"):
    keep_drawing.keep_form(image.T.copy(), None)
"""
SECTION = """
from core.runs import registry
from core.runs.network import Network
from ui.state import runs
from ui.draw import handwriting
runs.use_run(registry.find({run_id!r}))
handwriting.section(Network(registry.find({run_id!r}), {step}))
"""


@pytest.fixture
def hand(digits) -> Handwriting:
    """Four sevens and one that every network here takes for one."""
    sevens = np.flatnonzero(digits.y_test == 7)[:4]
    three = np.flatnonzero(digits.y_test == 3)[:1]
    chosen = np.concatenate([sevens, three])
    return Handwriting(digits.x_test[chosen].copy(), digits.y_test[chosen].copy())


@pytest.fixture
def script(components):
    """A function of a part's source: that part as drawn, in a session of its own."""

    def script(source: str) -> AppTest:
        at = AppTest.from_string(source, default_timeout=60)
        at._bidi_component_manager = components
        return at.run()

    return script


@pytest.fixture
def read(still_engine, hand):
    """Every network reads each of the drawings as a seven."""
    still_engine.answers["ReadDrawings"] = np.tile(SEVEN, (len(hand), 1))
    return still_engine


@pytest.fixture
def section(script, finished_run, hand):
    """A function of a run and a step: the part of the Draw page about one's own hand, with the five drawings kept."""

    def section(run=finished_run, step=8, kept=hand):
        at = script(SECTION.format(run_id=run.id, step=step))
        part(at, OwnHandwriting).handwriting = kept
        return at.run()

    return section


def kept(at) -> Handwriting:
    return part(at, OwnHandwriting).handwriting


def texts(at) -> str:
    return "\n".join(one.value for one in [*at.caption, *at.markdown, *at.info, *at.subheader])


def pictures(at) -> str:
    return "".join(html.proto.body for html in at.get("html"))


def button(at, label: str):
    return next(one for one in at.button if one.label == label)


class TestKeeping:
    def test_the_guess_is_kept_in_one_click_and_taken_back_in_another(self, script):
        at = script(KEEP.format(guess=1))

        button(at, "Keep it as a 1").click().run()
        assert kept(at).labels.tolist() == [1]
        assert at.pills[0].value == 1

        button(at, "Undo keeping").click().run()
        assert len(kept(at)) == 0
        assert at.pills[0].value is None

    @pytest.mark.parametrize("order", ["Keep it as a 1", "Undo keeping"])
    def test_a_clock_that_has_not_heard_of_it_yet_changes_nothing(self, script, order):
        at = script(KEEP.format(guess=1))
        if order == "Undo keeping":
            button(at, "Keep it as a 1").click().run()
        before = held_by_widgets(at)

        button(at, order).click().run()
        ordered = kept(at).labels.tolist()
        at._run(before)
        assert not at.exception

        assert kept(at).labels.tolist() == ordered == ([1] if order == "Keep it as a 1" else [])
        assert at.pills[0].value == (1 if ordered else None)

    def test_another_label_is_one_click_too_and_can_be_corrected(self, script):
        at = script(KEEP.format(guess=1))

        at.pills[0].set_value(7).run()
        assert kept(at).labels.tolist() == [7]
        at.pills[0].set_value(4).run()
        assert kept(at).labels.tolist() == [4]
        button(at, "Undo keeping").click().run()
        assert kept(at).labels.tolist() == [7]
        at.pills[0].set_value(None).run()

        assert len(kept(at)) == 0
        assert not at.exception

    def test_what_is_no_digit_to_the_network_can_be_kept_all_the_same(self, script):
        at = script(KEEP.format(guess=None))

        assert [one.label for one in at.button] == []
        at.pills[0].set_value(9).run()

        assert kept(at).labels.tolist() == [9]

    def test_what_was_kept_is_taken_back_where_it_is_shown_alone(self, script):
        at = script(KEEP.format(guess=1) + ANOTHER)
        button(at, "Keep it as a 1").click().run()

        at.checkbox[0].check().run()

        assert not at.exception
        assert [one.label for one in at.button] == ["Undo keeping"]

    def test_on_one_s_own_machine_it_outlasts_the_tab(self, script, monkeypatch):
        monkeypatch.setenv("DIGITLAB_LOCAL", "1")
        button(script(KEEP.format(guess=1)), "Keep it as a 1").click().run()

        at = script(KEEP.format(guess=1))

        assert "1 kept, this as a 1" in texts(at)
        assert at.pills[0].value == 1

    def test_a_file_that_can_t_be_read_is_said_and_left_alone(self, script, monkeypatch, runs_root):
        monkeypatch.setenv("DIGITLAB_LOCAL", "1")
        runs_root.mkdir()
        (runs_root / "handwriting.npz").write_bytes(b"no drawings")

        at = script(KEEP.format(guess=1))

        assert not at.exception
        assert "Move the file away to begin anew." in texts(at)
        assert (runs_root / "handwriting.npz").read_bytes() == b"no drawings"


class TestMeasuring:
    def test_nothing_kept_is_an_invitation(self, section):
        at = section(kept=Handwriting())

        assert not at.exception
        assert "Nothing is kept yet." in texts(at)

    def test_the_count_stands_with_its_interval_and_the_wrong_ones(self, section, read):
        at = section()

        assert not at.exception
        assert (at.metric[0].value, at.metric[0].delta) == ("4 of 5", "38% to 96%")
        assert "With so few it says little." in texts(at)
        assert "3 read as 7, 91%" in pictures(at)

    def test_other_networks_are_counted_on_the_same(self, section, read, make_run):
        other = make_run(State.FINISHED, epochs=1, name="Another")
        at = section()
        part(at, Runs).own_runs.append(other.id)

        at.run().multiselect[0].set_value([other.id]).run()

        assert not at.exception
        assert at.dataframe[0].value[["Right", "95 %"]].to_numpy().tolist() == [["4 of 5", "38% to 96%"]]

    def test_while_it_is_read_one_waits(self, section):
        at = section()

        assert not at.exception
        assert not at.metric

    def test_answers_that_are_no_numbers_are_said(self, section, still_engine):
        still_engine.answers["ReadDrawings"] = np.full((5, 10), np.nan, np.float32)

        at = section()

        assert not at.exception
        assert "no numbers any more" in texts(at)


class TestLearning:
    def test_a_run_begins_with_the_network_in_use(self, section, read, finished_run, hand):
        at = section()

        at.slider(key="hand-epochs").set_value(2)
        at.toggle(key="hand-moved").set_value(False)
        button(at, "Fine-tune").click().run()

        run = registry.find(read.trained[-1])
        assert run.experiment().fine_tuning.run_id == finished_run.id
        assert run.experiment().fine_tuning.step == 8
        assert run.experiment().training.epochs == 2
        assert not run.experiment().training.augmentation.is_active
        assert np.array_equal(run.drawings().images, hand.images)
        assert run.record().name == "A run, my hand"

    def test_a_network_that_was_taken_away_is_said(self, section, read, finished_run, runs_root):
        at = section()
        (runs_root / finished_run.id / "checkpoints" / "00000008.npz").unlink()

        button(at, "Fine-tune").click().run()

        assert not at.exception
        assert "it was never written, or someone removed it" in at.error[0].value

    def test_before_and_after_stand_beside_each_other(self, section, read, finished_run, hand, digits, still_engine):
        run = tuned(finished_run, hand, digits)

        at = section(run, 4)

        assert not at.exception
        assert "it was trained on these: none were held out" in texts(at)
        before, after = [(one.value, one.delta) for one in at.metric[1:3]]
        assert before == after == ("4 of 5", "38% to 96%")
        assert "7: right as before" in pictures(at)
        assert "3: as 7 as before" in pictures(at)
        assert "digits that neither network was trained on" in texts(at)


def tuned(source, hand, digits) -> Run:
    """A fine-tuning that is done, and that took MNIST's digits as before."""
    run = fine_tuning.create(Network(source, 8), hand, source.experiment().training, 50, 0.25, "A run, my hand")
    weights = run.weights(0)
    held_out = held_out_images(run, digits.y_train)
    y = digits.y_train[held_out]
    answers = np.eye(10, dtype=np.float32)[y]
    row = EpochEnded(1, 0.5, 0.9, 0.4, 0.9, 0.001, 1.0)
    run.write_epoch(Progress(steps_per_epoch=4, history=[row], is_fine_tuning=True), Checkpoint(4, weights, []))
    for step in (0, 4):
        Network(run, step).keep_validation(Evaluation(step, answers, y, held_out))
    run.write_state(State.FINISHED, steps_per_epoch=4)
    return run


class TestData:
    @pytest.fixture
    def at(self, visit, hand):
        at = visit("data")
        part(at, OwnHandwriting).handwriting = hand
        return next(one for one in at.segmented_control if one.label == "Split").set_value("My hand").run()

    def test_one_s_own_drawings_are_a_split(self, at):
        assert not at.exception
        assert at.subheader[0].value == "A 7"
        assert "5 drawings of your own hand" in texts(at)
        assert "They are kept while this tab is open" in texts(at)

    def test_a_digit_is_picked_out(self, at):
        next(one for one in at.pills if one.label == "Digit").set_value(3).run()

        assert at.subheader[0].value == "A 3"

    def test_a_label_is_corrected_and_a_drawing_removed(self, at):
        next(one for one in at.pills if one.label == "It is a").set_value(1).run()
        assert kept(at).labels.tolist() == [1, 7, 7, 7, 3]

        before = held_by_widgets(at)
        button(at, "Remove it").click().run()

        assert kept(at).labels.tolist() == [7, 7, 7, 3]
        assert not at.exception

        at._run(before)  # a clock that has not heard of it yet brings no drawing back

        assert kept(at).labels.tolist() == [7, 7, 7, 3]
        assert not at.exception

    def test_those_read_wrong_are_marked_and_picked_out(self, visit, finished_run, hand, read):
        at = visit("data", finished_run)
        part(at, OwnHandwriting).handwriting = hand
        next(one for one in at.segmented_control if one.label == "Split").set_value("My hand").run()
        assert at.get("plotly_chart")[0].proto.alt.endswith("1 of them, underlined, are read wrong.")

        next(one for one in at.segmented_control if one.label == "By what is read").set_value("Read wrong").run()

        assert not at.exception
        assert at.subheader[0].value == "A 3"

    def test_they_are_sorted_by_how_hard_the_network_finds_them(self, visit, finished_run, hand, read):
        at = visit("data", finished_run)
        part(at, OwnHandwriting).handwriting = hand
        next(one for one in at.segmented_control if one.label == "Split").set_value("My hand").run()

        next(one for one in at.selectbox if one.label == "Sorted by").set_value("Hardest first").run()

        assert not at.exception
        assert at.subheader[0].value == "A 3"

    def test_answers_that_are_no_numbers_mark_none_of_them(self, visit, finished_run, hand, still_engine):
        still_engine.answers["ReadDrawings"] = np.full((len(hand), 10), np.nan, np.float32)
        at = visit("data", finished_run)
        part(at, OwnHandwriting).handwriting = hand
        next(one for one in at.segmented_control if one.label == "Split").set_value("My hand").run()

        assert not at.exception
        assert "no numbers any more (NaN)" in at.info[0].value
        assert "read wrong" not in at.get("plotly_chart")[0].proto.alt

    def test_where_none_of_them_is_chosen_it_says_so(self, at):
        next(one for one in at.pills if one.label == "Digit").set_value(5).run()

        assert not at.exception
        assert "None of the drawings that are kept is one of these." in texts(at)

    def test_without_drawings_one_is_told_how(self, visit):
        at = visit("data")
        next(one for one in at.segmented_control if one.label == "Split").set_value("My hand").run()

        assert not at.exception
        assert "No drawing of your own is kept here." in texts(at)


class TestWatching:
    def chosen(self, at):
        views = next(one for one in at.pills if one.label == "Look inside")
        return views.set_value(["My digit"]).run()

    def test_without_a_drawing_it_invites(self, visit, finished_run):
        at = self.chosen(visit("train", finished_run))

        assert not at.exception
        assert "Draw a digit, and what this network says to it stands here" in texts(at)

    def test_the_ten_lines_are_drawn_as_far_as_known(self, visit, finished_run, still_engine, hand):
        still_engine.answers["TraceDigit"] = np.stack([np.full(10, 0.1, np.float32), SEVEN])
        at = visit("train", finished_run)
        part(at, DrawingInUse).last_read = hand.images[0], 7
        at = self.chosen(at.run())

        assert not at.exception
        (said,) = [one.proto.body for one in at.get("html") if "Ten probabilities" in one.proto.body]
        assert (
            "Ten probabilities over 2 moments of the training. At last it read a 7, 91% sure. It has done so since batch 8; "
            "before that it read a 0."
        ) in said
        assert "not calibrated" in next(one.proto.help for one in at.caption if "At last it read" in one.value)


class TestAFile:
    def give(self, at: AppTest, **arrays: np.ndarray) -> AppTest:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return at.file_uploader[0].set_value(("drawings.npz", buffer.getvalue(), "application/zip")).run()

    def test_drawings_in_another_usual_form_are_added_and_inverted(self, section, hand):
        at = self.give(section(kept=Handwriting()), x=1 - hand.images.reshape(-1, 784) / 255, y=np.eye(10)[hand.labels])

        assert not at.exception
        kept = part(at, OwnHandwriting).handwriting
        assert np.array_equal(kept.images, hand.images)
        assert part(at, Conversation).messages == ["5 drawings added. 5 came dark on light and were inverted."]

    def test_a_file_that_a_line_mends_is_answered_with_that_line_to_copy(self, section, hand):
        at = self.give(section(kept=Handwriting()), x=hand.images / 127.5 - 1, y=hand.labels)

        assert [code.value for code in at.code] == ["x = (x + 1) * 127.5"]
        assert "received -1 to 1. A line of NumPy mends the file." in at.error[0].value
