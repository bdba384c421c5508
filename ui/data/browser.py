"""Browsing the digits: the choice of a split and an order, the digits in sheets, and one of them large."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import streamlit as st

from core.data import measures
from core.data.datasets import Dataset
from core.data.measures import Neighbours, Traits
from core.data.questions import NearestInside, ReadAll
from core.data.splits import Split
from core.engine import engine
from core.errors import DigitLabError, EngineNotReady
from core.evaluation import metrics
from core.evaluation.questions import Predict, ReadDrawings
from core.model.specs import CLASSES, Training
from core.runs.network import Network
from core.views import charts, digit_sheet, pictures
from ui import cached, digits, late_requests, messages, navigation
from ui.state import drawing_in_use, editing, exploring, numbers, own_handwriting, runs, session
from ui.widgets import waiting
from ui.widgets.number_field import number_field

SPLITS = (Split.TRAINING, Split.VALIDATION, Split.TEST, Split.DRAWN, Split.MINE)
READ = ("All", "Read right", "Read wrong")
GRIDS = {"Few": (8, 5), "Some": (12, 8), "Many": (18, 12)}  # columns and rows


class Order(StrEnum):
    """The property that digits are sorted by."""

    NUMBER = "Number"
    INK = "Ink"
    SLANT = "Slant"
    STROKE_WIDTH = "Stroke width"
    HARDEST = "Hardest first"
    SUSPECT = "Suspected label errors"


@dataclass(frozen=True, eq=False)
class Selection:
    """The images that are looked at.

    Attributes:
        name: tells orders apart.
        images, labels: (m, 28, 28) uint8 and (m,) integers, -1 where there is no label.
        indices: (n,), into the images, in their order.
        grid: columns and rows of a sheet.
        is_wrong: (m,) bool, those known to be misclassified, or None.
    """

    split: Split
    name: str
    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    grid: tuple[int, int] = (12, 8)
    is_wrong: np.ndarray | None = None


def training_in_use(network: Network | None) -> Training:
    """Return the training whose splits are looked at: that of the network in use, or else the one that is being
    prepared.
    """
    return editing.training() if network is None else network.run.experiment().training


def choose(dataset: Dataset, training: Training, network: Network | None) -> Selection | None:
    """Draw the controls of the selection and return it; None if it is empty or something has to be done first, which is
    shown."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = st.segmented_control(
            "Split",
            SPLITS,
            default=Split.TRAINING,
            required=True,
            key="split",
            bind="query-params",
            wrap=True,
            help="Training and validation as the network in use was trained; before there is one, as Train's form says.",
        )
        split = Split(split or Split.TRAINING)  # an address may say `?split=`
        digit = st.pills(
            "Digit", range(CLASSES), key="digit", bind="query-params", disabled=split is Split.DRAWN, wrap=True
        )
        orders = [order for order in Order if _is_offered(order, split, network)]
        order = st.selectbox(
            "Sorted by",
            orders,
            key=f"order-{len(orders)}",
            width=210,
            help=None if network else "With a trained network also by how hard it finds them.",
        )
        is_reversed = st.toggle("Reversed", key="reversed")
        grid = st.segmented_control("Grid", list(GRIDS), default="Some", required=True, key="grid", bind="query-params")
    grid = GRIDS[grid or "Some"]
    if split is Split.DRAWN:
        return _drawn(order, is_reversed, grid, network)
    if split is Split.MINE:
        return _own(digit, order, is_reversed, grid, network)
    images, labels, indices = cached.split_of(dataset, training, split)
    if not len(indices):
        st.info(
            "There are no validation images here: nothing is held out of the training. Train's form says how many the next one holds "
            "out."
        )
        return None
    indices = _sorted(dataset, split, labels, indices, order, network)
    if indices is None:
        return None
    if digit is not None:
        indices = indices[labels[indices] == digit]
    name = f"{split}-{digit}-{order}-{is_reversed}"
    if order in (Order.HARDEST, Order.SUSPECT):
        name = f"{name}-{network.run.id}-{network.step}"
    return Selection(split, name, images, labels, indices[::-1] if is_reversed else indices, grid)


def sheet(selection: Selection) -> int | None:
    """Draw one sheet of digits with its paging and its keys; return the index of the chosen digit."""
    if not len(selection.indices):
        st.info(_nothing(selection))
        return None
    columns, rows = selection.grid
    size, total, name = columns * rows, len(selection.indices), selection.name
    place = min(exploring.place(name), total - 1)
    page, pages = place // size, -(-total // size)
    shown = selection.indices[page * size : (page + 1) * size]
    chart_key, page_key = f"sheet-{name}-{size}-{page}", f"page-{name}-{size}-{page}"

    def clicked() -> None:
        points = session.widget_value(chart_key)["selection"]["points"]
        exploring.click_place(name, page * size + int(points[0]["customdata"]) if points else None)

    def turned() -> None:
        exploring.go_to_place(name, (session.widget_value(page_key) - 1) * size)

    st.plotly_chart(
        digit_sheet.sheet(
            selection.images[shown], _names(selection, shown), columns, place % size, _wrong_ones(selection, shown)
        ),
        key=chart_key,
        on_select=clicked,
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"{len(shown)} handwritten digits, sheet {page + 1} of {pages}.{_marked(selection, shown)}",
    )
    st.markdown(f":small[{total:,} {'digit' if total == 1 else 'digits'}, sheet {page + 1} of {pages:,}]")
    st.pagination(pages, default=page + 1, key=page_key, on_change=turned)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        _search(selection)
        for label, by, keys in (
            ("Back", -1, "Left"),
            ("On", 1, "Right"),
            ("Sheet back", -size, "Shift+Left"),
            ("Sheet on", size, "Shift+Right"),
        ):
            st.button(
                label,
                on_click=exploring.go_to_place,
                args=(name, min(max(place + by, 0), total - 1)),
                disabled=not 0 <= place + np.sign(by) < total,
                shortcut=keys,
                type="tertiary",
            )
    return int(selection.indices[place])


def large(selection: Selection, index: int | None) -> None:
    """Show one digit with the values of its pixels."""
    if index is None:
        return
    image, label = selection.images[index], selection.labels[index]
    st.subheader(f"A {label}" if label >= 0 else "Your drawing", anchor=False)
    st.caption(
        f"{_numbered(selection, index)}, 28 × 28 pixels from 0 (black) to 255 (white). {_measured(image)} "
        "Click another digit, or use the arrow keys."
    )
    st.plotly_chart(
        charts.digit_values(image),
        key="large",
        config={"displayModeBar": False},
        alt=f"A handwritten {label}, large." if label >= 0 else "A drawing, large.",
    )


def reading(selection: Selection, index: int | None, network: Network | None) -> None:
    """Show the prediction for one digit by the network in use, and the way to Explain."""
    if index is None:
        return
    if network is None:
        st.caption("What a network reads here stands here as soon as you have trained one.")
        return
    try:
        probabilities = engine.shared().wait(Predict(network, selection.images[index][None]))[0]
    except EngineNotReady:
        st.caption("What the network in use reads stands here as soon as TensorFlow is loaded.")
        return
    except DigitLabError as error:
        st.caption(messages.plain(str(error)))
        return
    if not np.isfinite(probabilities).all():
        st.caption(
            "This network's weights are not numbers any more (NaN), so it reads nothing. Choose an earlier epoch of it."
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{messages.name(network.run.record().name)}** reads a **{probabilities.argmax()}**")
        if st.button("Explain", icon=":material/psychology:", help="Why it reads that."):
            split = selection.split
            if split is Split.MINE:  # there, a picture that was given
                exploring.keep_upload(selection.images[index])
                split = Split.PICTURE
            exploring.explain_digit(split, list(drawing_in_use.drawings())[index] if split is Split.DRAWN else index)
            late_requests.switch_page(navigation.EXPLAIN)
    st.html(pictures.probability_bars(probabilities))


def neighbours(dataset: Dataset, selection: Selection, index: int | None, network: Network | None) -> None:
    """Show the digits of the training file that are nearest to one, by pixels and by the network's features."""
    if index is None:
        return
    image = selection.images[index]
    but = index if selection.images is dataset.x_train else None
    st.markdown("**Nearest by pixels**")
    _row(dataset, cached.nearest_by_pixels(dataset, image, but), "by pixels")
    st.markdown("**Nearest to the network**")
    _neighbours_by_features(dataset, image, but, network)


def _neighbours_by_features(dataset: Dataset, image: np.ndarray, but: int | None, network: Network | None) -> None:
    if network is None:
        st.caption("A trained network has its own opinion of what looks alike. Train one, and it stands here.")
        return
    if cached.readings(dataset, network) is None:
        found = waiting.result(
            ReadAll(network),
            "neighbours",
            "The network reads the training digits",
            "Have it read all digits",
            is_begun=False,
        )
        if found is not None:
            st.caption("What the network read can't be found in the run's folder any more.")
        return
    question = NearestInside(network, image.tobytes(), but)
    found = waiting.result(question, "nearest", "Looking", "Look for the nearest digits")
    if found is not None:
        _row(dataset, found, "by what the network's last layer sees")


def _is_offered(order: Order, split: Split, network: Network | None) -> bool:
    if order is Order.SUSPECT:
        return network is not None and split not in (Split.DRAWN, Split.MINE)
    return order is not Order.HARDEST or network is not None


def _sorted(
    dataset: Dataset, split: Split, labels: np.ndarray, indices: np.ndarray, order: Order, network: Network | None
) -> np.ndarray | None:
    """Return a split's indices in an order; None if a network's predictions have to be found first, which is shown."""
    if order in (Order.INK, Order.SLANT, Order.STROKE_WIDTH):
        survey, test_traits = digits.survey(dataset)
        return indices[_by_trait(test_traits if split is Split.TEST else survey.traits, order, indices)]
    if order is Order.NUMBER or network is None:
        return indices
    probabilities = _probabilities(dataset, split, network)
    if probabilities is None or _says_nothing(probabilities[indices]):
        return None
    if order is Order.HARDEST:
        return indices[np.argsort(-measures.losses(labels[indices], probabilities[indices]), kind="stable")]
    if split is Split.TRAINING:
        st.caption("These it was trained on, so it has learned wrong labels too. Validation shows more of them.")
    return indices[metrics.suspected_label_errors(labels[indices], probabilities[indices])]


def _probabilities(dataset: Dataset, split: Split, network: Network) -> np.ndarray | None:
    """Return the network's answers (m, 10) to all images of a split's file; None if they have to be found first, which
    is shown."""
    if split is Split.TEST:
        answers = cached.answers(network, Split.TEST) if runs.is_test_open(network) else None
        if answers is None:
            st.info(
                "This network hasn't been tested yet in this visit. Evaluate opens the test set; afterwards its digits can be "
                "sorted here."
            )
            st.page_link(navigation.EVALUATE, label="Evaluate", icon=":material/arrow_forward:")
            return None
        return answers.probabilities
    found = cached.readings(dataset, network)
    if found is None:
        said = f"The network reads {len(dataset.x_train):,} digits"
        if waiting.result(ReadAll(network), "order", said, "Have the network read all digits") is not None:
            found = cached.readings(dataset, network)
            if found is None:
                st.error("What the network read can't be found in the run's folder any more.")
    return None if found is None else found.probabilities


def _says_nothing(probabilities: np.ndarray) -> bool:
    """Return whether answers are NaN or infinite, and show that."""
    if not metrics.without_answer(probabilities):
        return False
    st.info(
        "This network's answers are no numbers any more (NaN), so it reads nothing and finds nothing hard. Choose an earlier epoch "
        "of it in the sidebar."
    )
    return True


def _by_trait(traits: Traits, order: Order, indices: np.ndarray) -> np.ndarray:
    values = {Order.INK: traits.ink, Order.SLANT: traits.slant, Order.STROKE_WIDTH: traits.stroke_width}[order]
    return np.argsort(values[indices], kind="stable")


def _drawn(order: Order, is_reversed: bool, grid: tuple[int, int], network: Network | None) -> Selection | None:
    """Return this visitor's own drawings, prepared the way MNIST's digits were."""
    made = list(drawing_in_use.drawings().values())
    images = np.stack(made) if made else np.zeros((0, 28, 28), np.uint8)
    labels, read = np.full(len(images), -1), None
    if order is Order.HARDEST and len(images):
        read = _read(images, network)
        if read is None:
            return None
    indices = _drawings_sorted(images, labels, np.arange(len(images)), order, read)
    name = f"Drawn-{order}-{is_reversed}"
    return Selection(Split.DRAWN, name, images, labels, indices[::-1] if is_reversed else indices, grid)


def _own(
    digit: int | None, order: Order, is_reversed: bool, grid: tuple[int, int], network: Network | None
) -> Selection:
    """Return the drawings that were kept with their labels, with those that the network in use is known to misclassify."""
    handwriting = own_handwriting.handwriting()
    images, labels, indices = handwriting.images, handwriting.labels, np.arange(len(handwriting))
    read = _read(images, network) if network is not None and len(handwriting) else None
    is_wrong = None if read is None else read.argmax(axis=1) != labels
    chosen = st.segmented_control(
        "By what is read", READ, default=READ[0], required=True, disabled=is_wrong is None, key="own-read"
    )
    if is_wrong is not None and chosen != READ[0]:
        indices = indices[is_wrong if chosen == READ[2] else ~is_wrong]
    if digit is not None:
        indices = indices[labels[indices] == digit]
    indices = _drawings_sorted(images, labels, indices, order, read)
    name = f"{Split.MINE}-{digit}-{order}-{is_reversed}-{chosen}"
    return Selection(Split.MINE, name, images, labels, indices[::-1] if is_reversed else indices, grid, is_wrong)


def _read(images: np.ndarray, network: Network) -> np.ndarray | None:
    """Return the network's probabilities for drawings, (n, 10); None while they are unknown, or are NaN, which is
    shown.
    """
    question = ReadDrawings(network, images.tobytes())
    found = waiting.result(question, "own-hand", "The network reads your drawings", "Have the network read them")
    return None if found is None or _says_nothing(found) else found


def _drawings_sorted(
    images: np.ndarray, labels: np.ndarray, indices: np.ndarray, order: Order, read: np.ndarray | None
) -> np.ndarray:
    """Return drawings in an order; in their own order if it needs predictions that are unknown."""
    if order is Order.NUMBER or not len(indices) or (order is Order.HARDEST and read is None):
        return indices
    if order is Order.HARDEST:
        return indices[np.argsort(-measures.losses(labels[indices], read[indices]), kind="stable")]
    return indices[_by_trait(measures.traits(images), order, indices)]


def _search(selection: Selection) -> None:
    """Draw a field that leads to the image of a number, or tells why it isn't here."""
    key = f"search-{selection.split}"

    def searched(wanted: int | None) -> None:
        numbers.set_number(key, wanted)
        if wanted is None:
            return
        found = np.flatnonzero(selection.indices == wanted)
        if len(found):
            exploring.go_to_place(selection.name, int(found[0]))
        elif wanted >= len(selection.images):
            session.say(f"There is no image number {wanted:,}: here they go from 0 to {len(selection.images) - 1:,}.")
        else:
            what = f"is a {selection.labels[wanted]} and " if selection.labels[wanted] >= 0 else ""
            session.say(f"Image number {wanted:,} {what}isn't among those chosen here. Choose another split or digit.")

    asked = numbers.number(key, None)
    number_field("Go to number", asked, 0, None, key, searched, may_be_empty=True, placeholder="0", width=150)


def _wrong_ones(selection: Selection, shown: np.ndarray) -> list[int]:
    return [] if selection.is_wrong is None else np.flatnonzero(selection.is_wrong[shown]).tolist()


def _marked(selection: Selection, shown: np.ndarray) -> str:
    wrong = len(_wrong_ones(selection, shown))
    return f" {wrong} of them, underlined, are read wrong." if wrong else ""


def _names(selection: Selection, shown: np.ndarray) -> list[str]:
    return [f"{selection.labels[i]} · number {i:,}" if selection.labels[i] >= 0 else "Your drawing" for i in shown]


def _numbered(selection: Selection, index: int) -> str:
    if selection.split is Split.MINE:
        return f"Your drawing number {index:,}"
    return (
        "Made the way MNIST's digits were"
        if selection.split is Split.DRAWN
        else f"{selection.split} image number {index:,}"
    )


def _measured(image: np.ndarray) -> str:
    traits = measures.traits(image[None])
    slant = float(traits.slant[0])
    leaning = "Upright" if abs(slant) < 1 else f"Leaning {abs(slant):.0f}° to the {'right' if slant > 0 else 'left'}"
    return f"{leaning}, strokes {traits.stroke_width[0]:.1f} pixels wide, ink {traits.ink[0]:.0%}."


def _nothing(selection: Selection) -> str:
    if selection.split is Split.DRAWN:
        return "You haven't drawn anything yet. What you draw on the page Draw stands here."
    if selection.split is Split.MINE:
        if len(selection.images):
            return "None of the drawings that are kept is one of these. Choose another digit, or All."
        return "No drawing of your own is kept here. Draw a digit on the page Draw, and keep it with its label."
    if Order.SUSPECT in selection.name:
        return "None of these labels looks wrong to the network."
    return f"There are no {selection.split.lower()} images here. Choose another digit."


def _row(dataset: Dataset, found: Neighbours, by: str) -> None:
    captions = [f"{dataset.y_train[i]} · {i:,}" for i in found.indices]
    st.html(pictures.captioned_digits(dataset.x_train[found.indices], captions, f"Training digits nearest {by}"))
