"""The parts of the Explain page: which digit, which moment of the network, and three ways to look at both."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure

from core import anatomy, arithmetic, charts, drawing, engine, exhibits, pictures, runs, sheets
from core.arithmetic import Form, Layer
from core.data import Dataset
from core.errors import DigitLabError, EngineNotReady, NotExplainable
from core.explainer import Tour
from core.persuasion import Norm
from core.specs import CLASSES, Training
from ui import browser, messages, navigation, state, uploads
from ui.feature_map import Span, feature_map
from ui.number_field import number_field

POLL_SECONDS = 0.3
OUTPUT = "probabilities"  # the last layer's name in every network
SOURCES = {
    "validation": "Validation",
    "train": "Training",
    "test": "Test",
    "drawing": "Drawing",
    "upload": "Picture",
}
LAYERS, WHY, MIND = "Layer by layer", "Why this digit", "What would change its mind"
VIEWS = (LAYERS, WHY, MIND)
LAYERS_KEY = "explain-layers"
SHEET_HEIGHT = (
    640  # CSS pixels, in which it is scrolled: what is chosen in it is looked at beside it, on a phone below it
)
NORMS = {Norm.L2: "smallest in all (L2)", Norm.LINF: "smallest on every pixel (L∞)"}


# --- what is looked at --------------------------------------------------------------------------------------------------


def choose_source(dataset: Dataset, run: runs.Run) -> str:
    """Where the digit comes from, one of `SOURCES`: as it was asked for, but of the training file the split that this run has
    the digit in."""
    source, index = state.explained()
    if source in ("train", "validation"):
        source = _split_of(dataset, run.experiment().training, source, index)
    st.pills(
        "Digit from",
        SOURCES,
        format_func=SOURCES.get,
        default=source,
        required=True,
        **state.showing("explain-source", source, state.explain_digit),
    )
    return source


def choose_digit(dataset: Dataset, run: runs.Run, source: str) -> tuple[np.ndarray, str]:
    """The digit to explain, (28, 28) uint8, and what to call it; the page stops here where there is none yet."""
    if source == "drawing":
        return _drawing(), "your drawing"
    if source == "upload":
        return _upload(), "your picture"
    return _of_data(dataset, run.experiment().training, source)


def choose_step(run: runs.Run, step: int) -> int:
    """After how many batches the network is meant: any that was kept, first the one in use."""
    steps = run.steps()
    if len(steps) < 2:
        return step
    per_epoch = max(run.record().steps_per_epoch, 1)
    return st.select_slider(
        "The network after",
        steps,
        value=step,
        format_func=lambda step: _moment(step, per_epoch),
        key=f"explain-step-{run.id}-{step}",
        help="Any moment of its training that was kept. The menu on the left chooses the one that all pages use.",
    )


def tour(run: runs.Run, step: int, image: np.ndarray) -> Tour:
    """What every layer makes of the digit; the page stops here while the engine starts, and goes on by itself."""
    try:
        return _tour(run.id, run.root, step, image.tobytes())
    except EngineNotReady as error:
        _wait_for_engine(str(error))
        st.stop()


def answer(image: np.ndarray, said: str, step: int, probabilities: np.ndarray) -> int:
    """The digit and how it is read, in a column; the class to explain."""
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
    """Which of the three ways to look; the others cost nothing meanwhile."""
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


def _split_of(dataset: Dataset, training: Training, asked: str, index: int | None) -> str:
    """Which split holds an image of the training file, "train" or "validation": the one that was asked for, unless the image is
    the other's or there is none in it."""
    other = "train" if asked == "validation" else "validation"
    own, others = (browser.split_of(dataset, training, SOURCES[source])[2] for source in (asked, other))
    return other if not len(own) or (index is not None and index in others) else asked


def _of_data(dataset: Dataset, training: Training, source: str) -> tuple[np.ndarray, str]:
    images, labels, indices = browser.split_of(dataset, training, SOURCES[source])
    asked, index = state.explained()
    if index is None or index >= len(labels):  # of another data set
        index = int(indices[0])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        number_field(
            "Image number",
            index,
            0,
            len(labels) - 1,
            f"explain-index-{source}",
            lambda asked: state.explain_digit(source, asked),
            width=170,
        )
        st.button(
            "Another",
            icon=":material/casino:",
            on_click=lambda: state.explain_digit(source, np.random.default_rng().choice(indices)),
        )
    if index not in indices:
        st.info(f"This run neither was trained on image number {index:,} nor held it out.", icon=":material/info:")
        st.stop()
    if source != asked:
        st.caption(_why_moved(source, index, training))
    return images[index], f"a {labels[index]}"


def _why_moved(source: str, index: int, training: Training) -> str:
    """Why another split of the training file is shown than the one that was asked for."""
    if source == "validation":
        return f"This run held image number {index:,} out of its training."
    if not training.validation_split:
        return "This run held no images out to check on: these are those that it was trained on."
    return f"This run was trained on image number {index:,}."


def _drawing() -> np.ndarray:
    """The one that was chosen, else the newest."""
    (_, number), made = state.explained(), browser.drawings()
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
            state.keep_upload(drawing.to_mnist(drawing.ink_from_picture(given.getvalue())))
    image = state.upload()
    if image is None:
        st.caption("It is cropped, scaled and centred as MNIST's digits were.")
        st.stop()
    return image


# --- layer by layer -----------------------------------------------------------------------------------------------------


@st.fragment(key=LAYERS_KEY)
def layers(run: runs.Run, step: int, image: np.ndarray, tour: Tour) -> None:
    """Every layer's maps with their kernels; one of their numbers worked out."""
    name, place = _unit_in_use(tour)
    sheet, unit = st.columns(2, gap="medium")
    # The inner container keeps the chart from being squeezed into the height of the outer one.
    with sheet, st.container(height=SHEET_HEIGHT, border=False), st.container():
        st.caption("Ochre is above zero, blue below; kernels stand under the maps they make. Click one.")
        key = f"explain-sheet-{run.id}"
        st.plotly_chart(
            _sheet(run.id, run.root, step, image.tobytes(), name, place[-1]),
            key=key,
            on_select=lambda: _take_cell(key, place),
            selection_mode="points",
            config={"displayModeBar": False},
            alt=_in_words(tour),
        )
    state.point_at_unit(None)
    with unit:
        st.subheader(f"{anatomy.layer_name(name)}, {_one(name, place)}", anchor=False)
        _choose_unit(run, tour, name, place)
        _worked_out_unit(run, step, image, tour, name, place)


@st.fragment
def _worked_out_unit(
    run: runs.Run, step: int, image: np.ndarray, tour: Tour, name: str, chosen: tuple[int, ...]
) -> None:
    """The chosen number's map, and the number that is pointed at, else the chosen one, worked out. A fragment of its own, so
    that nothing else is drawn anew as this slides with the pointer."""
    place = state.pointed_unit() or chosen
    if len(place) == 3:
        _map(run, image, tour, name, chosen, place)
    elif tour.layers[name].form is Form.WEIGHTS:
        st.caption("It takes everything the layer before gives out, and so sees all of the digit.")
        st.html(pictures.digit(image, 154, "the digit, all of which it sees"))
    with messages.shown():
        st.markdown(f"**How {_place(name, place)} comes about: {tour.layers[name].form}**")
        st.html(exhibits.arithmetic(_worked_out(run.id, run.root, step, image.tobytes(), name, place)))


def _choose_on_map(name: str, place: tuple[int, ...]) -> None:
    """Callback of the map, whose fragment is a part of what is to be drawn anew."""
    state.explain_unit(name, place)
    st.rerun(LAYERS_KEY)


def _place(name: str, place: tuple[int, ...]) -> str:
    one = f"{_one(name, place)} of {anatomy.layer_name(name)}"
    return one if len(place) == 1 else f"row {place[0]}, column {place[1]} of {one}"


def _one(name: str, place: tuple[int, ...]) -> str:
    """A map or a unit, counted from one; the last units are digits."""
    if name == OUTPUT:
        return f"digit {place[0]}"
    return f"{'map' if len(place) == 3 else 'unit'} {place[-1] + 1}"


def _choose_unit(run: runs.Run, tour: Tour, name: str, place: tuple[int, ...]) -> None:
    """What a click on the sheet chooses, by its name and number."""
    layer_key, number_key = f"explain-layer-{run.id}", f"explain-number-{name}"
    label = _one(name, place).partition(" ")[0].capitalize()
    first, count = int(name != OUTPUT), tour.outputs[name].shape[-1]

    def another_layer(chosen: str) -> None:
        state.explain_unit(chosen, place if len(tour.layers[chosen].shape) == 3 else ())

    def another_number(asked: int) -> None:
        state.explain_unit(name, (*place[:-1], asked - first))

    with st.container(horizontal=True):
        names = [each for each, layer in tour.layers.items() if layer.form not in sheets.LEFT_OUT]
        st.selectbox(
            "Layer",
            names,
            names.index(name),
            format_func=anatomy.layer_name,
            **state.showing(layer_key, name, another_layer),
            width=200,
        )
        number_field(label, place[-1] + first, first, first + count - 1, number_key, another_number, width=130)
    with st.container(horizontal=True):
        for axis, label in enumerate(("Row", "Column")[: len(place) - 1]):
            if tour.outputs[name].shape[axis] > 1:
                _slider(label, axis, name, place, tour.outputs[name].shape[axis])


def _map(
    run: runs.Run, image: np.ndarray, tour: Tour, name: str, chosen: tuple[int, ...], place: tuple[int, ...]
) -> None:
    channel = chosen[2]
    values = tour.outputs[name][..., channel]
    feature_map(
        image,
        values,
        *_windows(run.id, name, tour.layers),
        chosen[:2],
        place[:2],
        f"Map {channel + 1} of {anatomy.layer_name(name)}, {values.shape[0]} by {values.shape[1]}.",
        on_chosen=lambda row, column: _choose_on_map(name, (row, column, channel)),
        on_pointed=lambda row, column: state.point_at_unit((row, column, channel)),
    )
    st.caption("Red: the chosen unit. Point at others to compare; click one to choose it.")


def _slider(label: str, axis: int, name: str, place: tuple[int, ...], side: int) -> None:
    def moved(to: int) -> None:
        state.explain_unit(name, (*place[:axis], to, *place[axis + 1 :]))

    shown = state.showing(f"explain-{label}-{side}", place[axis], moved)
    st.slider(label, 0, side - 1, place[axis], **shown)


def _take_cell(key: str, place: tuple[int, ...]) -> None:
    """Callback: the map or unit that was clicked; a map at the place that was looked at before."""
    points = state.widget_value(key)["selection"]["points"]
    if points:
        name, index = points[0]["customdata"]
        state.explain_unit(name, (*place[:-1], int(index)))


def _unit_in_use(tour: Tour) -> tuple[str, tuple[int, ...]]:
    """The number that was chosen, where this network has it; else the strongest of the first convolution or of the output."""
    name, place = state.explained_unit()
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
        f"{anatomy.layer_name(name)} {' by '.join(map(str, layer.shape))}"
        for name, layer in tour.layers.items()
        if layer.form is not Form.INPUT
    )
    return "What every layer makes of the digit: " + ", ".join(said) + "."


# --- why this digit -----------------------------------------------------------------------------------------------------


def why(run: runs.Run, step: int, image: np.ndarray, digit: int) -> None:
    """Five maps of what speaks for a digit, and how far to believe each."""
    lab = engine.shared()
    explanation = _answered(lambda: lab.explanation(run, step, image, digit), "Asking five ways …")
    if explanation is None:
        return
    st.subheader(f"What speaks for a {digit}", anchor=False)
    st.html(exhibits.attributions(image, explanation))
    st.caption(exhibits.completeness(explanation))
    st.subheader("Should one believe it?", anchor=False)
    st.caption(
        f"The curves: how likely a {digit} becomes as pixels are taken away (red, should fall fast) or put on an empty sheet "
        "(green, should rise fast), the map's most important first; dashed for pixels in random order. The small maps: the "
        "network forgets what it learned, layer by layer from its end; the number is how alike the map still is (rank "
        "correlation, 1 is the same). A map that stays alike shows the digit, not the network."
    )
    forgotten = []
    while not forgotten or len(forgotten) < forgotten[0].levels:
        found = lab.forgetting(run, step, image, digit, len(forgotten))
        if found is None:
            break
        forgotten.append(found)
    st.html(exhibits.beliefs(image, explanation, forgotten))
    if not forgotten or len(forgotten) < forgotten[0].levels:
        level, levels = len(forgotten), forgotten[0].levels if forgotten else 1
        _answered(
            lambda: lab.forgetting(run, step, image, digit, level), "It forgets, layer by layer …", level / levels
        )


# --- what would change its mind -----------------------------------------------------------------------------------------


def mind(run: runs.Run, step: int, image: np.ndarray, probabilities: np.ndarray) -> None:
    """The smallest change that makes it another digit, and what the network likes best."""
    lab, best = engine.shared(), int(probabilities.argmax())
    others = [digit for digit in range(CLASSES) if digit != best]
    st.subheader("The smallest change", anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        nearest = max(others, key=lambda digit: probabilities[digit])
        target = st.pills(
            "Make it read a",
            others,
            default=nearest,
            required=True,
            key=f"explain-target-{zlib.crc32(image.tobytes())}-{step}-{best}",
            wrap=True,
        )
        norm = st.segmented_control(
            "Change", NORMS, format_func=NORMS.get, default=Norm.L2, required=True, key="explain-norm"
        )
    change = _answered(lambda: lab.smallest_change(run, step, image, target, norm), "Looking for the smallest change …")
    if change is not None:
        st.html(exhibits.changed_digit(image, change))
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
    perfect = _answered(lambda: lab.perfect_digits(run, step), "Growing ten pictures …")
    if perfect is not None:
        st.html(exhibits.perfect_digits(*perfect))


# --- asking the engine --------------------------------------------------------------------------------------------------


def _answered(ask: Callable[[], object], said: str, share: float = 0.0):
    """What the engine answers; None while it is at it, with its progress in place, after which the page is drawn again."""
    try:
        found = ask()
    except NotExplainable as error:
        st.info(messages.plain(str(error)), icon=":material/info:")
        return None
    except EngineNotReady:
        found = None
    if found is None:
        st.fragment(_wait, run_every=POLL_SECONDS)(ask, said, share, [])
    return found


def _wait(ask: Callable[[], object], said: str, share: float, failures: list[str]) -> None:
    """Ask until there is an answer, or once it failed: `failures` is the same list at every call."""
    if failures:
        st.error(f"{failures[0]} Open the page again to try once more.", icon=":material/error:")
        return
    try:
        is_there = ask() is not None
    except NotExplainable:
        is_there = True
    except EngineNotReady:
        is_there = False
    except DigitLabError as error:
        failures.append(messages.plain(str(error)))
        st.rerun(scope="fragment")
    if is_there:
        st.rerun()
    st.progress(share, said)


@st.fragment(run_every=POLL_SECONDS)
def _wait_for_engine(said: str) -> None:
    st.info(messages.plain(said), icon=":material/hourglass_top:")
    if engine.shared().status().phase is engine.Phase.READY:
        st.rerun()


def _moment(step: int, per_epoch: int) -> str:
    if step == 0:
        return "nothing"
    epoch, rest = divmod(step, per_epoch)
    return f"batch {step}" if rest else f"epoch {epoch}"


@st.cache_data(max_entries=20, show_spinner=False)
def _tour(run_id: str, root: str, step: int, image: bytes) -> Tour:
    return engine.shared().tour(runs.Run(run_id, root), step, _image(image))


@st.cache_data(max_entries=40, show_spinner=False)
def _sheet(run_id: str, root: str, step: int, image: bytes, name: str, index: int) -> Figure:
    return charts.network_sheet(_tour(run_id, root, step, image), (name, index))


@st.cache_data(max_entries=200, show_spinner=False)
def _worked_out(run_id: str, root: str, step: int, image: bytes, name: str, place: tuple[int, ...]) -> arithmetic.Unit:
    return engine.shared().unit(runs.Run(run_id, root), step, _image(image), name, place)


@st.cache_data(max_entries=40, show_spinner=False)
def _windows(run_id: str, name: str, _layers: Mapping[str, Layer]) -> tuple[list[Span], list[Span]]:
    """Of every row and column of a layer's maps, the first pixel of the digit it sees and the one after the last; kept, since
    they follow from the network's shape."""
    height, width, _ = _layers[name].shape
    middle = height // 2, width // 2
    rows = [arithmetic.receptive_field(_layers, name, (row, middle[1], 0))[::2] for row in range(height)]
    columns = [arithmetic.receptive_field(_layers, name, (middle[0], column, 0))[1::2] for column in range(width)]
    return rows, columns


def _image(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8).reshape(28, 28)
