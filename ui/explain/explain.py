"""The parts of the Explain page: the choice of a digit and of a moment of the network, and three views of both."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure

from core.data.datasets import Dataset
from core.data.splits import Split
from core.engine import engine
from core.engine.cluster import Phase
from core.errors import DigitLabError, EngineNotReady
from core.explain import arithmetic
from core.explain.adversarial import Norm
from core.explain.arithmetic import Form, Layer
from core.explain.questions import (
    Explain,
    ExplainRandomised,
    FindSmallestChange,
    FollowDigit,
    Forgotten,
    MaximiseDigits,
    Tour,
    WorkOut,
)
from core.ink import preparation
from core.model.specs import CLASSES, Training
from core.runs.network import Network
from core.runs.run import Run
from core.views import activation_sheet, explanation_html, network_html, pictures
from ui import cached, messages, navigation
from ui.explain.feature_map import Span, feature_map
from ui.state import drawing_in_use, exploring, session
from ui.widgets import uploads, waiting
from ui.widgets.number_field import number_field

POLL_SECONDS = 0.3
TOUR_SECONDS, UNIT_SECONDS = 10.0, 5.0  # of patience
OUTPUT = "probabilities"  # the last layer's name in every network
SOURCES = (Split.VALIDATION, Split.TRAINING, Split.TEST, Split.DRAWN, Split.PICTURE)
LAYERS, WHY, MIND = "Layer by layer", "Why this digit", "What would change its mind"
VIEWS = (LAYERS, WHY, MIND)
LAYERS_KEY = "explain-layers"
SHEET_HEIGHT = 640  # CSS pixels of the box in which it scrolls; the chosen unit is shown beside it, on a phone below it
NORMS = {Norm.L2: "smallest in all (L2)", Norm.LINF: "smallest on every pixel (L∞)"}


# --- what is looked at --------------------------------------------------------------------------------------------------


def choose_source(dataset: Dataset, run: Run) -> Split:
    """Let the visitor choose where the digit comes from, one of `SOURCES`.

    A digit of the training file is shown under the split that this run has it in.
    """
    source, index = exploring.explained()
    if source in (Split.TRAINING, Split.VALIDATION):
        source = _split_of(dataset, run.experiment().training, source, index)
    st.pills(
        "Digit from",
        SOURCES,
        default=source,
        required=True,
        **session.showing("explain-source", source, exploring.explain_digit, stays=True),
    )
    return source


def choose_digit(dataset: Dataset, run: Run, source: Split) -> tuple[np.ndarray, str]:
    """Return the digit to explain, (28, 28) uint8, and its name; the page stops here if there is none yet."""
    if source is Split.DRAWN:
        return _drawing(), "your drawing"
    if source is Split.PICTURE:
        return _upload(), "your picture"
    return _of_data(dataset, run.experiment().training, source)


def choose_step(network: Network) -> Network:
    """Return which of the run's networks is meant: any that was kept, first the one in use."""
    run, step = network.run, network.step
    steps = run.steps()
    if len(steps) < 2:
        return network
    per_epoch = max(run.record().steps_per_epoch, 1)
    chosen = st.select_slider(
        "The network after",
        steps,
        value=step,
        format_func=lambda step: _moment(step, per_epoch),
        key=f"explain-step-{run.id}-{step}",
        help="Any moment of its training that was kept. The menu on the left chooses the one that all pages use.",
    )
    return Network(run, chosen)


def tour(network: Network, image: np.ndarray) -> Tour:
    """Return every layer's output for the digit; the page stops here while the engine starts, and goes on by itself."""
    try:
        return _tour(network, image.tobytes())
    except EngineNotReady as error:
        _wait_for_engine(str(error))
        st.stop()


def answer(image: np.ndarray, said: str, step: int, probabilities: np.ndarray) -> int:
    """Show the digit and the prediction in a column; return the class to explain."""
    is_read = bool(np.isfinite(probabilities).all())
    with st.container(horizontal=True, vertical_alignment="top"):
        st.html(pictures.digit(image, 112, said), width=112)
        with st.container(width=224):
            missing = "No probabilities: the network's answers are not numbers any more."
            st.html(pictures.probability_bars(probabilities if is_read else None, missing=missing))
    if not is_read:
        st.warning(
            "This network's answers are not numbers any more (NaN): its weights blew up in training. Choose an earlier moment.",
            icon=":material/error:",
        )
    best = int(probabilities.argmax()) if is_read else 0
    chosen = st.pills(
        "Explain what speaks for a",
        range(CLASSES),
        default=best,
        required=True,
        key=f"explain-class-{zlib.crc32(image.tobytes())}-{step}",
        wrap=True,
    )
    return best if chosen is None else chosen


def choose_view() -> str:
    """Let the visitor choose one of the three views; the others cost nothing meanwhile."""
    chosen = st.segmented_control(
        "Show",
        VIEWS,
        default=LAYERS,
        required=True,
        key="explain-view",
        bind="query-params",
        label_visibility="collapsed",
    )
    return chosen or LAYERS  # an address may say nothing


def _split_of(dataset: Dataset, training: Training, asked: Split, index: int | None) -> Split:
    """Return which split holds an image of the training file: the one that was asked for, unless the image is the
    other's or there is none in it."""
    other = Split.TRAINING if asked is Split.VALIDATION else Split.VALIDATION
    own, others = (cached.split_of(dataset, training, source)[2] for source in (asked, other))
    return other if not len(own) or (index is not None and index in others) else asked


def _of_data(dataset: Dataset, training: Training, source: Split) -> tuple[np.ndarray, str]:
    images, labels, indices = cached.split_of(dataset, training, source)
    asked, index = exploring.explained()
    if index is None or index >= len(labels):  # of another data set
        index = int(indices[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number_field(
            "Image number",
            index,
            0,
            len(labels) - 1,
            f"explain-index-{source}",
            lambda asked: exploring.explain_digit(source, asked),
            width=170,
        )
        st.button(
            "Another",
            icon=":material/casino:",
            on_click=lambda: exploring.explain_digit(source, np.random.default_rng().choice(indices)),
        )
    if index not in indices:
        st.info(f"This run neither was trained on image number {index:,} nor held it out.", icon=":material/info:")
        st.stop()
    if source != asked:
        st.caption(_why_moved(source, index, training))
    return images[index], f"a {labels[index]}"


def _why_moved(source: Split, index: int, training: Training) -> str:
    """Return why another split of the training file is shown than the one that was asked for."""
    if source is Split.VALIDATION:
        return f"This run held image number {index:,} out of its training."
    if not training.validation_split:
        return "This run held no images out to check on: these are those that it was trained on."
    return f"This run was trained on image number {index:,}."


def _drawing() -> np.ndarray:
    """Return the chosen drawing, or else the newest."""
    (_, number), made = exploring.explained(), drawing_in_use.drawings()
    if not made:
        st.info("There is no drawing yet.", icon=":material/draw:")
        st.page_link(navigation.DRAW, label="Draw one", icon=":material/arrow_forward:")
        st.stop()
    return made.get(number, next(iter(made.values())))


def _upload() -> np.ndarray:
    given = st.file_uploader(
        "A picture of one digit, dark on light or light on dark",
        max_upload_size=10,
        key="explain-upload",
    )
    uploads.failures()
    if given is not None:
        with messages.shown():
            exploring.keep_upload(preparation.to_mnist(preparation.ink_from_picture(given.getvalue())))
    image = exploring.upload()
    if image is None:
        st.caption("It is cropped, scaled and centred as MNIST's digits were.")
        st.stop()
    return image


# --- layer by layer -----------------------------------------------------------------------------------------------------


@st.fragment(key=LAYERS_KEY)
def layers(network: Network, image: np.ndarray, tour: Tour) -> None:
    """Show every layer's maps with their kernels, and the calculation of one of their numbers."""
    run, (name, place) = network.run, _unit_in_use(tour)
    sheet, unit = st.columns(2, gap="medium")
    # The inner container keeps the chart from being squeezed into the height of the outer one.
    with sheet, st.container(height=SHEET_HEIGHT, border=False), st.container():
        st.caption("Ochre is above zero, blue below; kernels stand under the maps they make. Click one.")
        key = f"explain-sheet-{run.id}"
        st.plotly_chart(
            _sheet(network, image.tobytes(), name, place[-1]),
            key=key,
            on_select=lambda: _take_cell(key, place),
            selection_mode="points",
            config={"displayModeBar": False},
            alt=_in_words(tour),
        )
    exploring.point_at_unit(None)
    with unit:
        st.subheader(f"{network_html.layer_name(name)}, {_one(name, place)}", anchor=False)
        _choose_unit(run, tour, name, place)
        _worked_out_unit(network, image, tour, name, place)


@st.fragment
def _worked_out_unit(network: Network, image: np.ndarray, tour: Tour, name: str, chosen: tuple[int, ...]) -> None:
    """Show the chosen number's map, and the calculation of the number under the pointer, or else of the chosen one.

    It is a fragment of its own, so that nothing else is drawn again as the pointer moves.
    """
    place = exploring.pointed_unit() or chosen
    if len(place) == 3:
        _map(network.run, image, tour, name, chosen, place)
    elif tour.layers[name].form is Form.DENSE:
        st.caption("It takes everything the layer before gives out, and so sees all of the digit.")
        st.html(pictures.digit(image, 154, "the digit, all of which it sees"))
    with messages.shown():
        st.markdown(f"**How {_place(name, place)} comes about: {tour.layers[name].form}**")
        st.html(explanation_html.arithmetic(_worked_out(network, image.tobytes(), name, place)))


def _choose_on_map(name: str, place: tuple[int, ...]) -> None:
    """Choose the number that was clicked on the map. A callback; the map's fragment is a part of what is to be drawn
    again.
    """
    exploring.explain_unit(name, place)
    st.rerun(LAYERS_KEY)


def _place(name: str, place: tuple[int, ...]) -> str:
    one = f"{_one(name, place)} of {network_html.layer_name(name)}"
    return one if len(place) == 1 else f"row {place[0]}, column {place[1]} of {one}"


def _one(name: str, place: tuple[int, ...]) -> str:
    """Return the name of a map or a unit, counted from one; the last units are digits."""
    if name == OUTPUT:
        return f"digit {place[0]}"
    return f"{'map' if len(place) == 3 else 'unit'} {place[-1] + 1}"


def _choose_unit(run: Run, tour: Tour, name: str, place: tuple[int, ...]) -> None:
    """Let the visitor choose by name and number what a click on the sheet chooses."""
    layer_key, number_key = f"explain-layer-{run.id}", f"explain-number-{name}"
    label = _one(name, place).partition(" ")[0].capitalize()
    first, count = int(name != OUTPUT), tour.outputs[name].shape[-1]

    def another_layer(chosen: str) -> None:
        exploring.explain_unit(chosen, place if len(tour.layers[chosen].shape) == 3 else ())

    def another_number(asked: int) -> None:
        exploring.explain_unit(name, (*place[:-1], asked - first))

    with st.container(horizontal=True):
        names = [each for each, layer in tour.layers.items() if layer.form not in activation_sheet.LEFT_OUT]
        st.selectbox(
            "Layer",
            names,
            names.index(name),
            format_func=network_html.layer_name,
            **session.showing(layer_key, name, another_layer, stays=True),
            width=200,
        )
        number_field(label, place[-1] + first, first, first + count - 1, number_key, another_number, width=130)
    with st.container(horizontal=True):
        for axis, label in enumerate(("Row", "Column")[: len(place) - 1]):
            if tour.outputs[name].shape[axis] > 1:
                _slider(label, axis, name, place, tour.outputs[name].shape[axis])


def _map(run: Run, image: np.ndarray, tour: Tour, name: str, chosen: tuple[int, ...], place: tuple[int, ...]) -> None:
    channel = chosen[2]
    values = tour.outputs[name][..., channel]
    feature_map(
        image,
        values,
        *_windows(run.id, name, tour.layers),
        chosen[:2],
        place[:2],
        f"Map {channel + 1} of {network_html.layer_name(name)}, {values.shape[0]} by {values.shape[1]}.",
        on_chosen=lambda row, column: _choose_on_map(name, (row, column, channel)),
        on_pointed=lambda row, column: exploring.point_at_unit((row, column, channel)),
    )
    st.caption("Red: the chosen unit. Point at others to compare; click one to choose it.")


def _slider(label: str, axis: int, name: str, place: tuple[int, ...], side: int) -> None:
    def moved(to: int) -> None:
        exploring.explain_unit(name, (*place[:axis], to, *place[axis + 1 :]))

    shown = session.showing(f"explain-{label}-{side}", place[axis], moved, stays=True)
    st.slider(label, 0, side - 1, place[axis], **shown)


def _take_cell(key: str, place: tuple[int, ...]) -> None:
    """Choose the map or unit that was clicked, a map at the place that was looked at before. A callback."""
    points = session.widget_value(key)["selection"]["points"]
    if points:
        name, index = points[0]["customdata"]
        exploring.explain_unit(name, (*place[:-1], int(index)))


def _unit_in_use(tour: Tour) -> tuple[str, tuple[int, ...]]:
    """Return the chosen number, if this network has it; else the strongest of the first convolution or of the output."""
    name, place = exploring.explained_unit()
    if name not in tour.outputs:
        name = next((n for n, layer in tour.layers.items() if layer.form is Form.WINDOW), next(reversed(tour.layers)))
        place = ()
    values = tour.outputs[name]
    index = place[-1] if place and place[-1] < values.shape[-1] else 0
    if values.ndim == 1:
        return name, (index if place else int(np.nan_to_num(values).argmax()),)
    if len(place) == 3 and place[0] < values.shape[0] and place[1] < values.shape[1]:
        return name, (place[0], place[1], index)
    strongest = np.unravel_index(np.abs(np.nan_to_num(values[..., index])).argmax(), values.shape[:2])
    return name, (int(strongest[0]), int(strongest[1]), index)


def _in_words(tour: Tour) -> str:
    said = (
        f"{network_html.layer_name(name)} {' by '.join(map(str, layer.shape))}"
        for name, layer in tour.layers.items()
        if layer.form is not Form.INPUT
    )
    return "What every layer makes of the digit: " + ", ".join(said) + "."


# --- why this digit -----------------------------------------------------------------------------------------------------


def why(network: Network, image: np.ndarray, digit: int) -> None:
    """Show five maps of what speaks for a digit, and how far each can be trusted."""
    pixels = image.tobytes()
    explanation = waiting.result(Explain(network, pixels, digit), "explanation", "Asking five ways", "Explain it")
    if explanation is None:
        return
    st.subheader(f"What speaks for a {digit}", anchor=False)
    st.html(explanation_html.attributions(image, explanation))
    st.caption(explanation_html.completeness(explanation))
    st.subheader("Should one believe it?", anchor=False)
    st.caption(
        f"The curves: how likely a {digit} becomes as pixels are taken away (red, should fall fast) or put on an empty sheet "
        "(green, should rise fast), the map's most important first; dashed for pixels in random order. The small maps: the "
        "network forgets what it learned, layer by layer from its end; the number is how alike the map still is (rank "
        "correlation, 1 is the same). A map that stays alike shows the digit, not the network."
    )
    cached.load_beside("scipy.stats")  # compares maps: a second, in which the worker makes the first of them
    forgotten = _forgotten(network, pixels, digit)
    st.html(explanation_html.beliefs(image, explanation, forgotten))
    level, levels = len(forgotten), forgotten[0].levels if forgotten else 1
    if level < levels:
        question = ExplainRandomised(network, pixels, digit, level)
        said = f"It forgets, layer by layer: {level} of {levels}" if level else "It forgets, layer by layer"
        waiting.result(question, "forgetting", said, "Go on forgetting")


def _forgotten(network: Network, pixels: bytes, digit: int) -> list[Forgotten]:
    """Return the maps of each level of forgetting that are known, from the first on."""
    found: list[Forgotten] = []
    while not found or len(found) < found[0].levels:
        with suppress(DigitLabError):  # the piece that waits for the answer shows the error
            one = engine.shared().ask(ExplainRandomised(network, pixels, digit, len(found)))
            if one is not None:
                found.append(one)
                continue
        break
    return found


# --- adversarial change ------------------------------------------------------------------------------------------------


def mind(network: Network, image: np.ndarray, probabilities: np.ndarray) -> None:
    """Show the smallest change that makes the network predict another digit, and the picture that each class responds
    to most."""
    pixels, best = image.tobytes(), int(probabilities.argmax())
    others = [digit for digit in range(CLASSES) if digit != best]
    st.subheader("The smallest change", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        nearest = max(others, key=lambda digit: probabilities[digit])
        target = st.pills(
            "Make it read a",
            others,
            default=nearest,
            required=True,
            key=f"explain-target-{zlib.crc32(pixels)}-{network.step}-{best}",
            wrap=True,
        )
        norm = st.segmented_control(
            "Change", NORMS, format_func=NORMS.get, default=Norm.L2, required=True, key="explain-norm"
        )
    question = FindSmallestChange(network, pixels, target, norm)
    change = waiting.result(question, "change", "Looking for the smallest change", "Look for the smallest change")
    if change is not None:
        st.html(explanation_html.changed_digit(image, change))
        size = f"Its length is **{change.l2:.2f}** (L2; full ink on one pixel is 1), its largest pixel **{change.linf:.3f}** (L∞)."
        if change.is_reached:
            st.markdown(f"Now it reads a **{target}**, at {change.probabilities[target]:.0%}. {size}")
        else:
            st.markdown(f"No change within the bounds makes it read a **{target}**. This is as far as they go. {size}")
    st.subheader("The perfect digit", anchor=False)
    st.caption(
        "What each digit should look like if you ask the network: pictures grown from grey until it is as sure as it can be, "
        "with as little ink as that takes."
    )
    perfect = waiting.result(MaximiseDigits(network), "perfect", "Growing ten pictures", "Grow ten pictures")
    if perfect is not None:
        st.html(explanation_html.perfect_digits(*perfect))


# --- asking the engine --------------------------------------------------------------------------------------------------


@st.fragment(run_every=POLL_SECONDS)
def _wait_for_engine(said: str) -> None:
    st.info(messages.plain(said), icon=":material/hourglass_top:")
    if engine.shared().status().phase is Phase.READY:
        st.rerun()


def _moment(step: int, per_epoch: int) -> str:
    if step == 0:
        return "nothing"
    epoch, rest = divmod(step, per_epoch)
    return f"batch {step}" if rest else f"epoch {epoch}"


@st.cache_data(max_entries=20, show_spinner=False)
def _tour(network: Network, pixels: bytes) -> Tour:
    return engine.shared().wait(FollowDigit(network, pixels), TOUR_SECONDS)


@st.cache_data(max_entries=40, show_spinner=False)
def _sheet(network: Network, pixels: bytes, name: str, index: int) -> Figure:
    return activation_sheet.figure(_tour(network, pixels), (name, index))


@st.cache_data(max_entries=200, show_spinner=False)
def _worked_out(network: Network, pixels: bytes, name: str, place: tuple[int, ...]) -> arithmetic.Unit:
    return engine.shared().wait(WorkOut(network, pixels, name, place), UNIT_SECONDS)


@st.cache_data(max_entries=40, show_spinner=False)
def _windows(run_id: str, name: str, _layers: Mapping[str, Layer]) -> tuple[list[Span], list[Span]]:
    """Return, for every row and column of a layer's maps, the first pixel of the digit that it depends on and the one
    after the last.

    They are cached, since they follow from the network's shape.
    """
    height, width, _ = _layers[name].shape
    middle = height // 2, width // 2
    rows = [arithmetic.receptive_field(_layers, name, (row, middle[1], 0))[::2] for row in range(height)]
    columns = [arithmetic.receptive_field(_layers, name, (middle[0], column, 0))[1::2] for column in range(width)]
    return rows, columns
