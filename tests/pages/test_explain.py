"""The Explain page: any digit, any moment, three ways to look, and a sentence wherever one doesn't apply."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.data import datasets
from core.data.splits import Split
from core.engine.cluster import Phase
from core.errors import NotExplainable
from core.explain import attribution
from core.explain.adversarial import Change, Norm
from core.explain.attribution import Curves, Explanation, Method
from core.explain.questions import Forgotten
from core.model.specs import replaced
from core.runs.progress import State
from core.views import explanation_html, network_html
from tests.page_fields import fill, held
from ui.explain import explain

MAP = np.random.default_rng(0).normal(size=(28, 28)).astype(np.float32)
CURVES = Curves(np.linspace(1, 0, 29, dtype=np.float32), np.linspace(0, 1, 29, dtype=np.float32))
EXPLANATION = Explanation(
    digit=7,
    probabilities=np.full(10, 0.1, np.float32),
    maps={method: MAP for method in Method if method is not Method.GRAD_CAM},
    missing={Method.GRAD_CAM: "This network has no convolution, so there are no feature maps to weigh."},
    attributed=4.0,
    difference=4.01,
    curves={method: CURVES for method in Method if method is not Method.GRAD_CAM},
    chance=CURVES,
)
FORGOTTEN = Forgotten(("probabilities",), 1, EXPLANATION.maps)
CHANGE = Change(4, Norm.L2, np.zeros((28, 28), np.uint8), np.eye(10, dtype=np.float32)[4], 1.25, 0.5, True)


@pytest.fixture
def at(visit, finished_run):
    return visit("explain", finished_run)


@pytest.fixture
def splits(finished_run, digits) -> dict[str, np.ndarray]:
    """Which images of the training file the run was trained on, and which it held out."""
    training = finished_run.experiment().training
    split = datasets.split(digits.y_train, training.train_size, training.validation_split, training.seed)
    return dict(zip((Split.TRAINING, Split.VALIDATION), split, strict=True))


def show(at, view: str):
    """Another of the three ways to look."""
    next(control for control in at.segmented_control if control.key == "explain-view").set_value(view)
    return at.run()


def html(at) -> str:
    return " ".join(element.proto.body for element in at.get("html"))


def texts(elements) -> list[str]:
    return [element.value for element in elements]


def feature_map(at) -> dict:
    """What the component that shows a map was given."""
    return json.loads(at.get("bidi_component")[0].proto.json)


def chosen_source(at) -> str:
    return next(group for group in at.pills if group.label == "Digit from").value


def source(at, name: str):
    next(group for group in at.pills if group.label == "Digit from").set_value(name)
    return at.run()


# --- what is looked at --------------------------------------------------------------------------------------------------


def test_it_begins_with_a_digit_that_was_held_out_and_its_reading(at, splits):
    assert not at.exception
    assert chosen_source(at) == Split.VALIDATION
    assert held(at.text_input[0]) == splits[Split.VALIDATION][0]
    assert "The network reads 7, at 91.0 %." in html(at)


def test_where_nothing_is_held_out_it_begins_with_one_that_was_trained_on(visit, make_run, tiny):
    run = make_run(State.FINISHED, epochs=2)
    all_of_them = replaced(tiny, training=replaced(tiny.training, validation_split=0.0))
    Path(run.root, run.id, "spec.json").write_text(all_of_them.model_dump_json())

    at = visit("explain", run)

    assert not at.exception
    assert chosen_source(at) == Split.TRAINING
    assert "This run held no images out to check on" in " ".join(texts(at.caption))
    assert "The network reads 7" in html(at)


def test_another_digit_is_chosen_by_its_number(at, digits, splits):
    number = int(splits[Split.VALIDATION][3])
    fill(at.text_input[0], number).run()

    assert not at.exception
    assert f'alt="a {digits.y_train[number]}"' in html(at)


@pytest.mark.parametrize("name", [Split.TRAINING, Split.VALIDATION, Split.TEST])
def test_another_is_one_of_the_same_source(at, digits, splits, name):
    source(at, name)
    for _ in range(5):
        next(button for button in at.button if button.label == "Another").click().run()

        assert not at.exception
        assert chosen_source(at) == name
        assert held(at.text_input[0]) in splits.get(name, range(len(digits.y_test)))


@pytest.mark.parametrize(
    ("asked", "holds", "said"),
    [
        (Split.VALIDATION, Split.TRAINING, "was trained on image number"),
        (Split.TRAINING, Split.VALIDATION, "held image number"),
    ],
)
def test_a_digit_of_the_other_split_is_shown_as_one_of_that(at, digits, splits, asked, holds, said):
    source(at, asked)
    number = int(splits[holds][5])
    fill(at.text_input[0], number).run()

    assert not at.exception
    assert chosen_source(at) == holds
    assert held(at.text_input[0]) == number
    assert f"This run {said} {number:,}" in " ".join(texts(at.caption))
    assert f'alt="a {digits.y_train[number]}"' in html(at)


def test_a_digit_of_neither_split_is_said_to_be_so(at, digits, splits):
    number = int(np.setdiff1d(np.arange(len(digits.y_train)), np.concatenate([*splits.values()]))[7])
    fill(at.text_input[0], number).run()

    assert not at.exception
    assert texts(at.info) == [f"This run neither was trained on image number {number:,} nor held it out."]
    assert held(at.text_input[0]) == number


def test_other_pages_lead_to_a_digit():
    def lead() -> None:
        import streamlit as st

        from core.data.splits import Split
        from ui.state import exploring

        st.button("Why?", on_click=exploring.explain_digit, args=(Split.VALIDATION, 5))
        st.markdown(str(exploring.explained()))

    at = AppTest.from_function(lead).run()
    at.button[0].click().run()

    assert not at.exception
    assert texts(at.markdown) == ["(<Split.VALIDATION: 'Validation'>, 5)"]


@pytest.mark.parametrize("name", [Split.TRAINING, Split.VALIDATION])
def test_the_training_file_is_split_as_the_run_split_it(at, splits, name):
    source(at, name)

    assert not at.exception
    assert held(at.text_input[0]) == splits[name][0]


def test_without_a_drawing_it_shows_where_to_draw_one(at):
    source(at, Split.DRAWN)

    assert not at.exception
    assert texts(at.info) == ["There is no drawing yet."]


def test_a_picture_can_be_uploaded(at, digits):
    source(at, Split.PICTURE)
    before = html(at)
    at.file_uploader[0].set_value(("seven.png", picture(digits.x_test[0]), "image/png")).run()

    assert not at.exception
    assert "your picture" not in before
    assert 'alt="your picture"' in html(at)


def test_a_file_that_is_no_picture_is_told_in_a_sentence(at):
    source(at, Split.PICTURE)
    at.file_uploader[0].set_value(("seven.png", b"nothing of the kind", "image/png")).run()

    assert not at.exception
    assert "expected a PNG, JPEG" in texts(at.error)[0]


def test_a_digit_has_to_come_from_somewhere():
    from ui.state import exploring

    with pytest.raises(ValueError, match="Expected a source among"):
        exploring.explain_digit("elsewhere", 0)


def test_any_kept_moment_of_the_network_can_be_looked_at(at, finished_run):
    slider = at.select_slider[0]

    assert list(slider.options) == ["epoch 1", "epoch 2"]
    assert not slider.set_value(4).run().exception


def test_the_page_waits_for_the_engine(visit, finished_run, still_engine):
    still_engine.be(Phase.WARMING)
    at = visit("explain", finished_run)

    assert not at.exception
    assert "TensorFlow is being loaded" in texts(at.info)[0]


def test_a_network_of_nan_says_so(visit, finished_run, still_engine):
    still_engine.reads_numbers = False
    at = visit("explain", finished_run)

    assert not at.exception
    assert "not numbers any more" in texts(at.warning)[0]


# --- layer by layer -----------------------------------------------------------------------------------------------------


def test_every_map_and_unit_can_be_clicked(at):
    cells = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][0]["customdata"]

    assert cells == [["rescaling", 0], ["01_conv2d", 0], ["01_conv2d", 1], *(["probabilities", k] for k in range(10))]


def test_one_number_is_worked_out_and_keras_is_asked(at):
    assert "How row " in " ".join(texts(at.markdown))
    assert "Keras says" in html(at)
    assert "adds up to" in html(at)


def test_the_map_stands_beside_the_digit_and_says_every_number_in_four_digits(at, digits, splits):
    shown, image = feature_map(at), digits.x_train[splits[Split.VALIDATION][0]]
    ink = image[1:-1, 1:-1] / np.float32(255)  # which is what the invented layer gives out

    assert not at.exception
    assert pixels(shown["digit"]) == image.tolist()
    assert pixels(shown["map"]) == network_html.signed(ink).tolist()
    assert shown["values"] == [[f"{value:.4g}" for value in row] for row in ink]
    assert shown["said"] == "Map 1 of 1 conv2d, 26 by 26."


def test_every_row_and_column_of_the_map_has_its_window(at):
    shown = feature_map(at)

    assert shown["rows"] == [[k, k + 3, f"rows {k} to {k + 2}"] for k in range(26)]
    assert shown["columns"] == [[k, k + 3, f"columns {k} to {k + 2}"] for k in range(26)]


def test_the_window_slides_with_the_sliders(at):
    for label, value in (("Row", 3), ("Column", 8)):
        next(slider for slider in at.slider if slider.label == label).set_value(value).run()
    shown = feature_map(at)

    assert not at.exception
    assert "How row 3, column 8" in " ".join(texts(at.markdown))
    assert shown["chosen"] == [3, 8]
    assert shown["seen"] == "The chosen unit sees rows 3 to 5 and columns 8 to 10 of the digit."


def test_any_layer_and_map_is_chosen_by_keyboard_too(at):
    layer = at.selectbox(key=next(box.key for box in at.selectbox if box.label == "Layer"))
    options = list(layer.options)
    layer.set_value("01_conv2d").run()
    fill(next(box for box in at.text_input if box.label == "Map"), 2).run()
    second = texts(at.subheader)
    at.selectbox(key=layer.key).set_value("probabilities").run()
    read = texts(at.subheader)
    fill(next(box for box in at.text_input if box.label == "Digit"), 0).run()

    assert not at.exception
    assert options == ["rescaling", "1 conv2d", "output"]
    assert second == ["1 conv2d, map 2"]
    assert read == ["output, digit 7"]
    assert texts(at.subheader) == ["output, digit 0"]
    assert "How digit 0 of output comes about" in " ".join(texts(at.markdown))


def test_another_digit_and_another_unit_are_put_into_the_map_that_stands_there(at, splits):
    def identity() -> str:
        return at.get("bidi_component")[0].proto.id

    before, digit = identity(), feature_map(at)["digit"]
    fill(at.text_input[0], int(splits[Split.VALIDATION][3])).run()
    next(slider for slider in at.slider if slider.label == "Row").set_value(3).run()

    assert not at.exception
    assert identity() == before
    assert feature_map(at)["digit"] != digit


def test_what_is_not_a_number_is_said_to_be_none(components):
    def show() -> None:
        import numpy as np

        from ui.explain.feature_map import feature_map

        values = np.float32([[np.nan, np.inf], [-0.0, -1.23456]])
        digit = np.zeros((28, 28), np.uint8)
        feature_map(
            digit,
            values,
            [(0, 1), (0, 28)],
            [(0, 2), (1, 3)],
            (0, 0),
            (0, 0),
            "A map.",
            on_chosen=print,
            on_pointed=print,
        )

    at = AppTest.from_function(show)
    at._bidi_component_manager = components
    at.run()
    shown = feature_map(at)

    assert not at.exception
    assert shown["values"] == [["not a number", "not a number"], ["0", "−1.235"]]
    assert shown["seen"] == "The chosen unit sees row 0 and columns 0 to 1 of the digit."


# --- why this digit -----------------------------------------------------------------------------------------------------


def test_it_shows_its_progress_while_it_asks(at, still_engine):
    show(at, explain.WHY)

    assert not at.exception
    assert "Explain" in still_engine.asked
    assert "Asking five ways" in str(at.get("progress")[0].proto)


def test_the_maps_stand_side_by_side_with_what_holds_them(at, still_engine):
    still_engine.answers |= {"Explain": EXPLANATION, "ExplainRandomised": FORGOTTEN}
    show(at, explain.WHY)
    shown = html(at)

    assert not at.exception
    assert all(method in shown for method in Method)
    assert "no convolution" in shown
    assert "They differ by 0.25 %." in " ".join(texts(at.caption))
    assert "taken away: area 0.50 (chance 0.50)" in shown
    assert "Much the same map with nothing learned" in shown


def test_a_flat_map_gets_no_verdict(at, still_engine):
    flat = replace(EXPLANATION, maps={**EXPLANATION.maps, Method.SALIENCY: np.zeros((28, 28), np.float32)})
    forgotten = replace(FORGOTTEN, maps=flat.maps)
    still_engine.answers |= {"Explain": flat, "ExplainRandomised": forgotten}
    show(at, explain.WHY)
    shown = html(at)

    assert not at.exception
    assert shown.count("This map is flat: it points nowhere.") == 1
    assert shown.count("with nothing learned") == shown.count("taken away: area") == len(flat.maps) - 1


@pytest.mark.parametrize(
    ("deletion", "insertion", "said"),
    [
        (0.4, 0.6, "Both better than chance."),
        (0.4, 0.5, "Taken away better than chance, put back no better."),
        (0.6, 0.6, "Put back better than chance, taken away no better."),
        (0.5, 0.4, "No better than pixels by chance."),
    ],
)
def test_the_curves_are_told_one_by_one(deletion, insertion, said):
    curves = Curves(np.full(29, deletion, np.float32), np.full(29, insertion, np.float32))
    chance = Curves(np.full(29, 0.5, np.float32), np.full(29, 0.5, np.float32))
    explanation = replace(EXPLANATION, curves=dict.fromkeys(EXPLANATION.maps, curves), chance=chance)

    assert explanation_html.beliefs(np.zeros((28, 28), np.uint8), explanation, []).count(said) == len(explanation.maps)


def test_what_can_not_be_explained_is_said(at, still_engine):
    still_engine.answers["Explain"] = NotExplainable("Its weights are not numbers.")
    show(at, explain.WHY)

    assert not at.exception
    assert "Its weights are not numbers." in texts(at.info)


# --- what would change its mind -----------------------------------------------------------------------------------------


def test_the_smallest_change_is_shown_with_its_size(at, still_engine):
    still_engine.answers |= {
        "FindSmallestChange": CHANGE,
        "MaximiseDigits": (np.zeros((10, 28, 28), np.float32), np.eye(10, dtype=np.float32)),
    }
    show(at, explain.MIND)

    assert not at.exception
    assert any("Its length is **1.25**" in text for text in texts(at.markdown))
    assert "read as a 4" in html(at)
    assert "3, 100.0%" in html(at)


# --- uploaded pictures --------------------------------------------------------------------------------------------------


def picture(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def pixels(url: str) -> list:
    """Of a picture that is held in a URL."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))).tolist()


def test_the_verdict_follows_the_correlation():
    other = np.random.default_rng(1).normal(size=(28, 28))

    assert attribution.is_learned(MAP, other)
    assert attribution.is_learned(MAP, np.zeros((28, 28)))
    assert not attribution.is_learned(MAP, MAP + 0.1 * other)
