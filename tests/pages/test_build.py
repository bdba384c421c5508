"""The editor of a stack: what is set is what stands in the ledger at once, and what is done can be undone."""

from __future__ import annotations

import re

import pytest

from core.engine.cluster import Phase
from core.model import ledger, link, presets, specs
from core.model.presets import FAST_99, FIRST_CNN, LENET_5
from core.model.specs import Conv2D, Dropout, Experiment, Flatten, Training, replaced
from tests import strategies
from tests.page_fields import fill, held, held_by_widgets
from ui.build import stack as stack_

UNMEASURED = {"Parameters": "607,394", "Size": "2,430 kB", "Multiply-adds": "777,328", "Epoch here": "…"}


@pytest.fixture
def at(visit):
    return visit("build")


@pytest.fixture
def left_alone(monkeypatch) -> None:
    """As if every edit lay long back."""
    monkeypatch.setattr(stack_, "QUIET_SECONDS", 0)


# --- what stands on the page --------------------------------------------------------------------------------------------


def rows(at) -> list:
    """The layers' headings, which open and close them."""
    return [button for button in at.button if str(button.key).startswith("open-")]


def stack(at) -> list[str]:
    """The kinds of the layers on the page, in order."""
    return [re.sub(r"^\d+ ", "", row.label.split("**")[1]) for row in rows(at)]


def start_from(at):
    return next(field for field in at.selectbox if field.label == "Start from")


def name_of(at, place: int) -> str:
    return rows(at)[place].key.removeprefix("open-")


def opened(at, place: int):
    return rows(at)[place].click().run()


def fields(at, place: int) -> dict:
    """An open layer's fields by their labels."""
    of_layer = f"layer-{name_of(at, place)}."
    return {
        field.label: field
        for field in (*at.text_input, *at.slider, *at.selectbox, *at.toggle)
        if field.key.startswith(of_layer)
    }


def set_field(at, place: int, label: str, value: object):
    if not fields(at, place):
        opened(at, place)
    return fill(fields(at, place)[label], value).run()


def action(at, place: int, label: str):
    """A button of an open layer."""
    if not fields(at, place) and f"remove-{name_of(at, place)}" not in [button.key for button in at.button]:
        opened(at, place)
    return at.button(key=f"{label}-{name_of(at, place)}")


def do(at, place: int, label: str):
    return action(at, place, label).click().run()


def with_more_open(at, place: int):
    """What a click on More does: to open an expander has no test command of its own."""
    kind = rows(at)[place].label.split("**")[1].split()[-1]
    at.session_state[f"layer-{name_of(at, place)}.{kind}.more"] = True
    return at.run()


def pictures(at) -> list[str]:
    return [html.proto.body for html in at.get("html")]


def diagram(at) -> str:
    return pictures(at)[0]


def figures(at, place: int) -> str:
    """What a layer's row says in words of its pictures."""
    return re.search(r'aria-label="([^"]*)"', pictures(at)[1 + place])[1]


def kinds(preset: presets.Preset) -> list[str]:
    return [layer.kind for layer in preset.experiment.layers]


def totals(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def is_disabled(at, label: str) -> bool:
    return next(button.disabled for button in at.button if button.label == label)


def captions(at) -> list[str]:
    return [caption.value for caption in at.caption]


# --- tests --------------------------------------------------------------------------------------------------------------


def test_it_begins_with_the_first_cnn_and_what_it_costs(at):
    assert stack(at) == kinds(FIRST_CNN)
    assert totals(at) == UNMEASURED
    assert "then Conv2D 26 × 26 × 28, then MaxPooling2D 13 × 13 × 28, then Flatten 4732" in diagram(at)
    assert [is_disabled(at, label) for label in ("Reset", "Undo", "Redo", "Clear")] == [True, True, True, False]


def test_a_row_tells_in_pictures_and_in_words_what_its_layer_makes_and_costs(at):
    assert figures(at, 0) == (
        "Makes 26 × 26 × 28. 280 parameters, under 0.1 % of all. 170,352 multiply-adds, 21.9 % of all. "
        "One output sees 3 × 3 pixels."
    )
    assert figures(at, 3) == (
        "Makes 128. 605,824 parameters, 99.7 % of all. 605,696 multiply-adds, 77.9 % of all. "
        "One output sees all of the digit."
    )
    assert figures(at, 5).startswith("Makes 10. 1,290 parameters, 0.212 % of all.")


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_replaces_the_stack(at, choose, name):
    choose(at, "Start from", name)

    preset = presets.PRESETS[name]
    assert not at.exception
    assert stack(at) == kinds(preset)
    assert totals(at)["Parameters"] == f"{ledger.read(preset.experiment.layers).parameters:,}"
    assert at.caption[0].value == f"{preset.about} Source: {preset.source}"


class TestArguments:
    def test_they_are_drawn_only_where_a_layer_is_open(self, at):
        assert fields(at, 0) == {}

        opened(at, 0)
        assert set(fields(at, 0)) == {"Filters", "Kernel size", "Strides", "Padding", "Activation", "Bias"}

        opened(at, 0)
        assert fields(at, 0) == {}

    def test_the_ledger_follows_at_once(self, at):
        set_field(at, 0, "Filters", 14)

        assert totals(at)["Parameters"] == f"{14 * 10 + (13 * 13 * 14 + 1) * 128 + 129 * 10:,}"
        assert figures(at, 0).startswith("Makes 26 × 26 × 14. 140 parameters")
        assert "Conv2D 26 × 26 × 14" in diagram(at)

    def test_each_of_them_is_kept_when_another_is_set(self, at):
        set_field(at, 0, "Filters", 8)
        set_field(at, 0, "Kernel size", 5)
        set_field(at, 0, "Strides", 2)
        set_field(at, 0, "Padding", "same")
        set_field(at, 0, "Activation", "tanh")
        set_field(at, 0, "Bias", False)

        assert rows(at)[0].label.startswith("**1 Conv2D** 8 filters 5×5, strides 2, same, tanh")
        assert figures(at, 0).startswith("Makes 14 × 14 × 8. 200 parameters")

    def test_two_that_are_set_at_once_are_both_kept(self, at):
        """As by someone quicker than the page."""
        opened(at, 0)
        fill(fields(at, 0)["Filters"], 8)
        fill(fields(at, 0)["Kernel size"], 5)

        at.run()

        assert rows(at)[0].label.startswith("**1 Conv2D** 8 filters 5×5")

    @pytest.mark.parametrize("kind", specs.LAYER_KINDS)
    def test_every_kind_of_layer_can_be_added_and_shows_its_own_the_rare_ones_behind_more(self, at, press, kind):
        press(at, kind)
        place = len(rows(at)) - 1
        described = {
            field.title: bool((field.json_schema_extra or {}).get("is_rare"))
            for name, field in specs.LAYER_KINDS[kind].model_fields.items()
            if name != "kind"
        }
        at_once = set(fields(at, place))

        with_more_open(at, place)

        assert not at.exception
        assert stack(at) == [*kinds(FIRST_CNN), kind]
        assert at_once == {title for title, is_rare in described.items() if not is_rare}
        assert set(fields(at, place)) == set(described)

    def test_rare_ones_are_set_like_others(self, at):
        opened(at, 3)
        with_more_open(at, 3)

        set_field(at, 3, "Initializer", "he_normal")
        set_field(at, 3, "L2 penalty", 0.001)

        assert at.expander[0].label == "More"
        assert held(fields(at, 3)["Initializer"]) == "he_normal"
        assert held(fields(at, 3)["L2 penalty"]) == 0.001

    def test_they_stay_with_their_layer_when_it_moves(self, at):
        set_field(at, 3, "Units", 77)

        do(at, 3, "down")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense"]
        assert rows(at)[4].label.startswith("**5 Dense** 77 units, relu")
        assert held(fields(at, 4)["Units"]) == 77

    def test_they_are_there_after_a_visit_to_another_page(self, at, visit):
        set_field(at, 0, "Filters", 14)

        visit("train", session=at)
        visit("build", session=at)

        assert held(fields(at, 0)["Filters"]) == 14
        assert rows(at)[0].label.startswith("**1 Conv2D** 14 filters")

    @pytest.mark.parametrize("is_highest", [False, True], ids=["lowest", "highest"])
    def test_every_kind_shows_the_numbers_it_may_have_at_its_bounds(self, visit, is_highest):
        layers = tuple(strategies.extreme(kind, is_highest) for kind in specs.LAYER_KINDS.values())
        at = visit("start")
        at.query_params["net"] = link.link_text(replaced(FIRST_CNN.experiment, layers=layers))
        visit("build", session=at)
        for heading in rows(at):
            heading.click()
        at.run()
        for heading, layer in zip(rows(at), layers, strict=True):
            at.session_state[f"{heading.key.replace('open', 'layer')}.{layer.kind}.more"] = True
        at.run()

        assert not at.exception
        for place, layer in enumerate(layers):
            titles = {name: field.title for name, field in type(layer).model_fields.items() if name != "kind"}
            assert {name: held(fields(at, place)[title]) for name, title in titles.items()} == layer.model_dump(
                exclude={"kind"}
            )


class TestStack:
    def test_a_layer_that_is_removed_with_a_field_just_changed_is_gone(self, at):
        """A field that loses the keyboard by the very click on Remove changes at the same moment."""
        opened(at, 0)
        fill(fields(at, 0)["Filters"], 8)
        action(at, 0, "remove").click()

        at.run()

        assert not at.exception
        assert stack(at) == ["MaxPooling2D", "Flatten", "Dense", "Dropout"]

    def test_a_layer_is_removed(self, at):
        do(at, 4, "remove")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]

    def test_layers_change_places(self, at):
        do(at, 1, "up")

        assert stack(at) == ["MaxPooling2D", "Conv2D", "Flatten", "Dense", "Dropout"]

    def test_its_ends_are_the_ends(self, at):
        assert [action(at, 0, label).disabled for label in ("up", "down")] == [True, False]
        assert [action(at, 4, label).disabled for label in ("up", "down")] == [False, True]

    def test_a_layer_is_doubled_with_its_arguments(self, at):
        set_field(at, 3, "Units", 77)

        do(at, 3, "duplicate")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense", "Dropout"]
        assert rows(at)[4].label.startswith("**5 Dense** 77 units, relu")

        set_field(at, 4, "Units", 5)

        assert rows(at)[3].label.startswith("**4 Dense** 77 units, relu")

    def test_a_layer_is_switched_off_and_on_again(self, at):
        do(at, 4, "switch")

        assert stack(at) == kinds(FIRST_CNN)
        assert rows(at)[4].label == "**Dropout** 0.2"
        assert "Switched off" in pictures(at)[5]
        assert "Dropout" not in diagram(at)

        do(at, 4, "switch")

        assert rows(at)[4].label == "**5 Dropout** 0.2"
        assert is_disabled(at, "Reset")

    def test_what_is_off_is_not_counted(self, at):
        do(at, 1, "switch")

        assert rows(at)[2].label == "**2 Flatten**"
        assert figures(at, 2).startswith("Makes 18928. ")

    def test_the_output_layer_stays_when_all_others_go(self, at, press):
        press(at, "Clear")

        assert not at.exception
        assert stack(at) == []
        assert is_disabled(at, "Clear")
        assert any(text.value == ":material/lock: **Output** 10 units, softmax" for text in at.markdown)
        assert at.error[0].value == (
            "The output layer: Dense needs a flat vector, but what reaches it is an image: 28 × 28 × 1."
        )

        press(at, "Undo")

        assert stack(at) == kinds(FIRST_CNN)

    def test_it_holds_so_many_layers_and_no_more(self, visit, press):
        at = visit("start")
        almost = (Flatten(), *[Dropout()] * (specs.MAX_LAYERS - 2))
        at.query_params["net"] = link.link_text(replaced(LENET_5.experiment, layers=almost))
        at = visit("build", session=at)
        assert not is_disabled(at, "Dropout")

        press(at, "Dropout")

        assert not at.exception
        assert f"A stack holds at most {specs.MAX_LAYERS} layers." in captions(at)
        assert all(is_disabled(at, kind) for kind in specs.LAYER_KINDS)
        assert action(at, 0, "duplicate").disabled


class TestUndo:
    def test_it_takes_back_and_redo_brings_back(self, at, press):
        set_field(at, 0, "Filters", 14)
        do(at, 4, "remove")

        press(at, "Undo")
        assert stack(at) == kinds(FIRST_CNN)
        assert held(fields(at, 0)["Filters"]) == 14
        press(at, "Undo")
        assert held(fields(at, 0)["Filters"]) == 28
        assert totals(at)["Parameters"] == "607,394"
        assert is_disabled(at, "Undo")
        press(at, "Redo")
        press(at, "Redo")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Flatten", "Dense"]
        assert held(fields(at, 0)["Filters"]) == 14
        assert is_disabled(at, "Redo")

    def test_layers_stay_what_they_are_on_the_page(self, at, press):
        """So that nothing on it is closed or made anew."""
        set_field(at, 0, "Filters", 14)
        names = [row.key for row in rows(at)]

        press(at, "Undo")
        press(at, "Redo")

        assert [row.key for row in rows(at)] == names
        assert held(fields(at, 0)["Filters"]) == 14

    def test_every_kind_of_field_goes_back(self, at, press):
        set_field(at, 0, "Padding", "same")
        set_field(at, 0, "Bias", False)
        set_field(at, 1, "Strides", 1)
        set_field(at, 4, "Rate", 0.5)

        for _ in range(4):
            press(at, "Undo")

        assert [held(fields(at, 0)[label]) for label in ("Padding", "Bias")] == ["valid", True]
        assert held(fields(at, 1)["Strides"]) is None
        assert held(fields(at, 4)["Rate"]) == 0.2

    def test_a_change_after_it_ends_what_could_be_redone(self, at, press):
        do(at, 4, "remove")
        press(at, "Undo")

        press(at, "Flatten")

        assert is_disabled(at, "Redo")
        assert not is_disabled(at, "Undo")

    def test_it_brings_back_the_preset_before(self, at, press, choose):
        choose(at, "Start from", LENET_5.name)

        press(at, "Undo")

        assert stack(at) == kinds(FIRST_CNN)
        assert start_from(at).value == FIRST_CNN.name

    @pytest.mark.parametrize(
        ("place", "label", "value"),
        [(0, "Filters", 5), (0, "Padding", "same"), (0, "Bias", False), (0, "Activation", "tanh"), (4, "Rate", 0.5)],
    )
    def test_a_request_that_has_not_heard_of_it_yet_does_not_do_again_what_was_taken_back(
        self, at, press, place, label, value
    ):
        was = held({**fields(opened(at, place), place)}[label])
        set_field(at, place, label, value)
        before = held_by_widgets(at)

        press(at, "Undo")
        at._run(before)

        assert not at.exception
        assert held(fields(at, place)[label]) == was
        assert is_disabled(at, "Undo")
        assert not is_disabled(at, "Redo")

    def test_nor_brings_a_request_that_has_not_heard_of_it_the_preset_back(self, at, press, choose):
        choose(at, "Start from", LENET_5.name)
        before = held_by_widgets(at)

        press(at, "Undo")
        at._run(before)

        assert stack(at) == kinds(FIRST_CNN)
        assert is_disabled(at, "Undo")

    def test_it_takes_back_training_fields_too(self, at, press, choose, visit):
        visit("train", session=at)
        choose(at, "Epochs", 7)
        visit("build", session=at)

        press(at, "Undo")
        visit("train", session=at)

        assert next(held(field) for field in at.text_input if field.label == "Epochs") == 10

    def test_reset_is_the_way_back_to_the_preset(self, at, press):
        set_field(at, 0, "Filters", 14)
        do(at, 2, "remove")

        press(at, "Reset")

        assert stack(at) == kinds(FIRST_CNN)
        assert totals(at)["Parameters"] == "607,394"
        assert is_disabled(at, "Reset")
        assert not is_disabled(at, "Undo")


class TestDifferences:
    def test_are_counted_and_marked_at_layer_and_field(self, at, press):
        set_field(at, 0, "Filters", 14)
        press(at, "Dropout")

        assert at.caption[0].value.startswith(":orange[2 differences since.] ")
        assert ":orange[changed]" in rows(at)[0].label
        assert ":orange[added]" in rows(at)[5].label
        assert [text for text in captions(at) if "was" in text] == [":orange[was 28]"]
        assert ":orange" not in rows(at)[1].label

    def test_one_that_is_taken_back_by_hand_is_none(self, at):
        set_field(at, 0, "Filters", 14)
        set_field(at, 0, "Filters", 28)

        assert is_disabled(at, "Reset")
        assert not any(":orange" in text for text in captions(at))


class TestImpossibleStack:
    def test_it_says_which_layer_and_why_and_repairs_it(self, at, press):
        do(at, 2, "remove")

        assert at.error[0].value == (
            "Layer 3, Dense: Dense needs a flat vector, but what reaches it is an image: 13 × 13 × 28."
        )
        assert totals(at) == {}
        assert "doesn&#x27;t fit" in diagram(at) or "doesn't fit" in diagram(at)
        assert "Does not fit." in pictures(at)[3]
        assert "Waits for the layer before it." in pictures(at)[4]

        press(at, "Add a Flatten before it (4732 values)")

        assert not at.error
        assert stack(at) == kinds(FIRST_CNN)
        assert totals(at) == UNMEASURED

    def test_a_repair_can_be_undone_and_leaves_the_others_what_they_are(self, at, press):
        do(at, 2, "remove")
        names = {row.key for row in rows(at)}

        press(at, "Add a Flatten before it (4732 values)")
        assert names < {row.key for row in rows(at)}
        press(at, "Undo")

        assert stack(at) == ["Conv2D", "MaxPooling2D", "Dense", "Dropout"]
        assert at.error

    def test_a_repair_leaves_what_is_off_where_it_is(self, at, press):
        do(at, 4, "switch")
        do(at, 2, "remove")

        press(at, "Add a Flatten before it (4732 values)")

        assert stack(at) == kinds(FIRST_CNN)
        assert rows(at)[4].label == "**Dropout** 0.2"

    def test_flatten_twice_is_told_and_repaired(self, at, press):
        press(at, "Flatten")

        assert at.error[0].value.startswith("Layer 6, Flatten: Flatten needs an image")

        press(at, "Remove it: what reaches it is flat already")

        assert stack(at) == kinds(FIRST_CNN)

    def test_a_window_larger_than_its_image_is_told(self, at, press, choose):
        choose(at, "Start from", LENET_5.name)
        set_field(at, 3, "Pool size", 20)

        assert (
            at.error[0].value
            == "Layer 4, AveragePooling2D: a 20 × 20 window doesn't fit into an image of 10 × 10 pixels."
        )

        press(at, "Set its padding to 'same'")

        assert not at.error
        assert held(fields(at, 3)["Padding"]) == "same"

    def test_one_that_is_too_large_names_its_heaviest_layer_and_is_repaired(self, at, press):
        set_field(at, 3, "Units", 4096)

        assert at.error[0].value == (
            "This network would have 19,427,618 parameters; at most 5,000,000 are allowed. "
            "Most of them stand in layer 4, Dense."
        )

        press(at, "Add a 2×2 MaxPooling2D before the Flatten")

        assert not at.error
        assert stack(at) == ["Conv2D", "MaxPooling2D", "MaxPooling2D", "Flatten", "Dense", "Dropout"]

    def test_it_can_not_be_trained_but_repaired_where_one_would_train_it(self, at, visit, press):
        do(at, 2, "remove")

        visit("train", session=at)

        assert is_disabled(at, "Start training")

        press(at, "Add a Flatten before it (4732 values)")

        assert not is_disabled(at, "Start training")
        assert not at.error

    def test_a_batch_that_fits_no_memory_is_told_before_anything_is_trained_and_repaired(
        self, visit, press, left_alone, still_engine
    ):
        at = visit("start")
        wide = Experiment(layers=(Conv2D(filters=256, padding="same"), Flatten()), training=Training(batch_size=1024))
        at.query_params["net"] = link.link_text(wide)
        visit("build", session=at)

        assert at.error[0].value == ledger.refusal(wide)
        assert totals(at)["Parameters"] == f"{ledger.read(wide.layers).parameters:,}"
        assert totals(at)["Epoch here"] == "–"
        assert still_engine.asked == []

        largest = ledger.read(wide.layers).largest_batch
        press(at, f"Batch size {largest}")

        assert not at.error
        assert totals(at)["Epoch here"] == "…"
        visit("train", session=at)
        assert next(held(field) for field in at.text_input if field.label == "Batch size") == largest


class TestHints:
    def test_are_shown_with_what_would_do_better_and_block_nothing(self, at, press):
        assert any(":material/lightbulb: Layer 1, Conv2D: it has no activation" in text for text in captions(at))
        assert ":material/lightbulb:" in rows(at)[0].label

        press(at, "Set its activation to relu")

        assert rows(at)[0].label.startswith("**1 Conv2D** 28 filters 3×3, relu")
        assert not any("it has no activation" in text for text in captions(at))

        press(at, "Undo")

        assert rows(at)[0].label.startswith("**1 Conv2D** 28 filters 3×3 ")

    def test_where_there_are_none_there_is_no_heading(self, at, choose):
        choose(at, "Start from", FAST_99.name)

        assert "Worth a thought" not in [heading.value for heading in at.subheader]


class TestEpoch:
    def test_is_measured_when_the_stack_is_left_alone(self, left_alone, visit, still_engine):
        at = visit("build")
        assert totals(at)["Epoch here"] == "…"
        assert "being trained to measure it" in at.metric[3].proto.help

        still_engine.answers["TimeEpoch"] = 12.34
        at.run()

        assert totals(at)["Epoch here"] == "≈ 12 s"
        assert at.metric[3].proto.help == (
            "About 12 s an epoch with 60,000 images in batches of 32: an estimate, "
            "measured on this machine with this stack."
        )

    def test_is_not_asked_for_right_after_an_edit(self, at, still_engine, monkeypatch):
        monkeypatch.setattr(stack_, "QUIET_SECONDS", 1000)

        set_field(at, 0, "Filters", 14)

        assert still_engine.asked == []

    def test_is_not_asked_for_what_can_not_be_built(self, at, still_engine, left_alone):
        do(at, 2, "remove")
        before = list(still_engine.asked)

        at.run()

        assert still_engine.asked == before

    def test_waits_for_the_engine(self, left_alone, visit, still_engine):
        still_engine.be(Phase.WARMING)

        at = visit("build")

        assert not at.exception
        assert totals(at)["Epoch here"] == "–"
        assert "TensorFlow is being loaded" in at.metric[3].proto.help


class TestLink:
    OTHER = replaced(LENET_5.experiment, layers=(Conv2D(filters=3), Flatten()))

    def visited(self, visit, page: str, text: str):
        at = visit("start")
        at.query_params["net"] = text
        return visit(page, session=at)

    @pytest.mark.parametrize("page", ["start", "data", "build", "train", "evaluate", "draw"])
    def test_any_page_takes_up_the_network_in_its_address(self, visit, page):
        at = self.visited(visit, page, link.link_text(self.OTHER))

        visit("build", session=at)

        assert stack(at) == ["Conv2D", "Flatten"]
        assert not at.warning

    def test_undo_brings_back_what_was_there(self, visit, press):
        at = self.visited(visit, "build", link.link_text(self.OTHER))

        press(at, "Undo")

        assert stack(at) == kinds(FIRST_CNN)
        assert is_disabled(at, "Undo")

    def test_a_preset_is_known_again(self, visit):
        at = self.visited(visit, "build", link.link_text(LENET_5.experiment))

        assert start_from(at).value == LENET_5.name
        assert is_disabled(at, "Reset")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("rubbish", "lost or changed on its way"),
            (link.link_text(OTHER)[:-4], "Copy the whole link again"),
            ("x" * 100_000, "100,000 characters long"),
        ],
        ids=["rubbish", "cut short", "long"],
    )
    def test_a_bad_one_is_told_once_and_leaves_the_draft_alone(self, visit, text, said):
        at = self.visited(visit, "build", text)

        assert not at.exception
        assert [said in warning.value for warning in at.warning] == [True]
        assert stack(at) == kinds(FIRST_CNN)
        assert is_disabled(at, "Undo")

        at.run()

        assert not at.warning

    def test_the_one_that_is_offered_holds_what_is_built(self, at):
        set_field(at, 0, "Filters", 14)
        at.session_state["share"] = True
        at.run()

        address = next(code.value for code in at.code if "?net=" in code.value)
        experiment = link.experiment_of(address.partition("?net=")[2])

        first, *rest = FIRST_CNN.experiment.layers
        assert experiment == replaced(FIRST_CNN.experiment, layers=(replaced(first, filters=14), *rest))


def test_the_script_of_the_same_network_can_be_taken_along(at):
    at.session_state["code"] = True
    at.run()

    assert not at.exception
    assert "Conv2D" in at.code[0].value
    assert at.code[0].language == "python"
    assert any(text.startswith("It saves the network of the last epoch.") for text in captions(at))


def test_where_there_is_no_network_there_is_no_script_but_a_word_why(at, press):
    press(at, "Clear")
    at.session_state["code"] = True
    at.run()

    assert not at.exception
    assert len(at.error) == 2
    assert not at.code


def test_the_fast_one_is_what_the_start_page_offers(visit, press):
    at = press(visit("start"), "Train my first network")

    visit("build", session=at)

    assert stack(at) == kinds(FAST_99)
