"""The editor of a stack: what is set is what stands in the ledger at once, and what is done can be undone."""

from __future__ import annotations

import pytest

from core import ledger, presets, specs
from core.presets import FAST_99, FIRST_CNN, LENET_5


@pytest.fixture
def at(visit):
    return visit("build")


def stack(at) -> list[str]:
    """The kinds of the layers on the page, in order."""
    return [expander.label.split("**")[1].split(" ", 1)[1] for expander in at.expander]


def kinds(preset: presets.Preset) -> list[str]:
    return [layer.kind for layer in preset.experiment.layers]


def totals(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def diagram(at) -> str:
    return at.get("html")[0].proto.body


def is_disabled(at, label: str) -> bool:
    return next(button.disabled for button in at.button if button.label == label)


def test_it_begins_with_the_first_cnn_and_what_it_costs(at):
    assert stack(at) == kinds(FIRST_CNN)
    assert totals(at) == {
        "Parameters": "607,394",
        "Size": "2,430 kB",
        "Multiply-adds": "777,328",
        "Receptive field": "4 px",
    }
    assert "then Conv2D 26 × 26 × 28, then MaxPooling2D 13 × 13 × 28, then Flatten 4732" in diagram(at)
    assert [is_disabled(at, label) for label in ("Reset", "Undo", "Redo")] == [True, True, True]


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_replaces_the_stack(at, choose, name):
    choose(at, "Start from", name)

    preset = presets.PRESETS[name]
    assert not at.exception
    assert stack(at) == kinds(preset)
    assert totals(at)["Parameters"] == f"{ledger.read(preset.experiment.layers).parameters:,}"
    assert at.caption[0].value == f"{preset.about} Source: {preset.source}"


class TestArguments:
    def test_the_ledger_follows_at_once(self, at, choose):
        choose(at.expander[0], "Filters", 14)

        assert totals(at)["Parameters"] == f"{14 * 10 + (13 * 13 * 14 + 1) * 128 + 129 * 10:,}"
        assert "26 × 26 × 14 · 140 parameters" in at.expander[0].label
        assert "Conv2D 26 × 26 × 14" in diagram(at)

    def test_each_of_them_is_kept_when_another_is_set(self, at, choose):
        choose(at.expander[0], "Filters", 8)
        choose(at.expander[0], "Kernel size", 5)
        choose(at.expander[0], "Strides", 2)
        choose(at.expander[0], "Padding", "same")
        choose(at.expander[0], "Activation", "tanh")
        choose(at.expander[0], "Bias", False)

        assert at.expander[0].label == (
            "**1 Conv2D** 8 filters 5×5, strides 2, same, tanh :gray[→ 14 × 14 × 8 · 200 parameters]"
        )

    def test_two_that_are_set_at_once_are_both_kept(self, at):
        """As by someone quicker than the page."""
        filters, _, kernel_size = at.expander[0].number_input
        filters.set_value(8)
        kernel_size.set_value(5)

        at.run()

        assert at.expander[0].label.startswith("**1 Conv2D** 8 filters 5×5")

    @pytest.mark.parametrize("kind", specs.LAYER_KINDS)
    def test_every_kind_of_layer_can_be_added_and_shows_its_own(self, at, press, kind):
        press(at, kind)

        added, fields = at.expander[-1], specs.LAYER_KINDS[kind].model_fields
        shown = [field.label for field in (*added.number_input, *added.slider, *added.selectbox, *added.toggle)]
        assert not at.exception
        assert stack(at) == [*kinds(FIRST_CNN), kind]
        assert sorted(shown) == sorted(field.title for name, field in fields.items() if name != "kind")

    def test_they_stay_with_their_layer_when_it_moves(self, at, press, choose):
        choose(at.expander[3], "Units", 77)

        press(at.expander[3], "Down")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense"]
        assert at.expander[4].label.startswith("**5 Dense** 77 units, relu")
        assert at.expander[4].number_input[0].value == 77

    def test_they_are_there_after_a_visit_to_another_page(self, at, choose, visit):
        choose(at.expander[0], "Filters", 14)

        visit("train", session=at)
        visit("build", session=at)

        assert at.expander[0].number_input[0].value == 14
        assert at.expander[0].label.startswith("**1 Conv2D** 14 filters")


class TestStack:
    def test_a_layer_that_is_removed_with_a_field_just_changed_is_gone(self, at):
        """A field that loses the keyboard by the very click on Remove changes at the same moment."""
        at.expander[0].number_input[0].set_value(8)
        next(button for button in at.expander[0].button if button.label == "Remove").click()

        at.run()

        assert not at.exception
        assert stack(at) == ["MaxPooling2D", "Flatten", "Dense", "Dropout"]

    def test_a_layer_is_removed(self, at, press):
        press(at.expander[4], "Remove")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]

    def test_layers_change_places(self, at, press):
        press(at.expander[1], "Up")

        assert stack(at) == ["MaxPooling2D", "Conv2D", "Flatten", "Dense", "Dropout"]

    def test_its_ends_are_the_ends(self, at):
        assert [button.disabled for button in at.expander[0].button] == [True, False, False]
        assert [button.disabled for button in at.expander[-1].button] == [False, True, False]

    def test_the_output_layer_stays_when_all_others_go(self, at, press):
        while at.expander:
            press(at.expander[0], "Remove")

        assert not at.exception
        assert any(text.value.startswith(":material/lock: **Output** 10 units, softmax") for text in at.markdown)
        assert "Remove" not in [button.label for button in at.button]
        assert at.error[0].value == (
            "The output layer: Dense needs a flat vector, but what reaches it is an image: 28 × 28 × 1."
        )

    def test_it_holds_so_many_layers_and_no_more(self, at, press):
        while len(at.expander) < specs.MAX_LAYERS:
            press(at, "Dropout")

        assert not at.exception
        assert f"A stack holds at most {specs.MAX_LAYERS} layers." in [caption.value for caption in at.caption]
        assert all(is_disabled(at, kind) for kind in specs.LAYER_KINDS)


class TestUndo:
    def test_it_takes_back_and_redo_brings_back(self, at, press, choose):
        choose(at.expander[0], "Filters", 14)
        press(at.expander[4], "Remove")

        press(at, "Undo")
        assert stack(at) == kinds(FIRST_CNN)
        assert at.expander[0].number_input[0].value == 14
        press(at, "Undo")
        assert at.expander[0].number_input[0].value == 28
        assert totals(at)["Parameters"] == "607,394"
        assert is_disabled(at, "Undo")
        press(at, "Redo")
        press(at, "Redo")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]
        assert at.expander[0].number_input[0].value == 14
        assert is_disabled(at, "Redo")

    def test_a_change_after_it_ends_what_could_be_redone(self, at, press):
        press(at.expander[4], "Remove")
        press(at, "Undo")

        press(at, "Flatten")

        assert is_disabled(at, "Redo")
        assert not is_disabled(at, "Undo")

    def test_it_brings_back_the_preset_before(self, at, press, choose):
        choose(at, "Start from", LENET_5.name)

        press(at, "Undo")

        assert stack(at) == kinds(FIRST_CNN)
        assert at.selectbox[0].value == FIRST_CNN.name

    def test_it_takes_back_training_fields_too(self, at, press, choose, visit):
        visit("train", session=at)
        choose(at, "Epochs", 7)
        visit("build", session=at)

        press(at, "Undo")
        visit("train", session=at)

        assert at.number_input[0].value == 10

    def test_reset_is_the_way_back_to_the_preset(self, at, press, choose):
        choose(at.expander[0], "Filters", 14)
        press(at.expander[2], "Remove")

        press(at, "Reset")

        assert stack(at) == kinds(FIRST_CNN)
        assert totals(at)["Parameters"] == "607,394"
        assert is_disabled(at, "Reset")
        assert not is_disabled(at, "Undo")


class TestImpossibleStack:
    def test_it_says_which_layer_and_why_and_repairs_it(self, at, press):
        press(at.expander[2], "Remove")

        assert at.error[0].value == (
            "Layer 3, Dense: Dense needs a flat vector, but what reaches it is an image: 13 × 13 × 28."
        )
        assert totals(at) == dict.fromkeys(("Parameters", "Size", "Multiply-adds", "Receptive field"), "–")
        assert "doesn&#x27;t fit" in diagram(at) or "doesn't fit" in diagram(at)

        press(at, "Add a Flatten before it (4732 values)")

        assert not at.error
        assert stack(at) == kinds(FIRST_CNN)
        assert totals(at)["Parameters"] == "607,394"

    def test_a_repair_can_be_undone(self, at, press):
        press(at.expander[2], "Remove")
        press(at, "Add a Flatten before it (4732 values)")

        press(at, "Undo")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Dense", "Dropout"]
        assert at.error

    def test_a_window_larger_than_its_image_is_told(self, at, press, choose):
        choose(at, "Start from", LENET_5.name)
        choose(at.expander[2], "Kernel size", 20)

        assert at.error[0].value == "Layer 3, Conv2D: a 20 × 20 window doesn't fit into an image of 14 × 14 pixels."

        press(at, "Set its padding to 'same'")

        assert not at.error

    def test_one_that_is_too_large_names_its_heaviest_layer(self, at, choose):
        choose(at.expander[3], "Units", 4096)

        assert at.error[0].value == (
            "This network would have 19,427,618 parameters; at most 5,000,000 are allowed. "
            "Most of them stand in layer 4, Dense."
        )

    def test_it_can_not_be_trained(self, at, press, visit):
        press(at.expander[2], "Remove")

        visit("train", session=at)

        assert is_disabled(at, "Start training")


def test_the_fast_one_is_what_the_start_page_offers(visit, press):
    at = press(visit("start"), "Train my first network")

    visit("build", session=at)

    assert stack(at) == kinds(FAST_99)
