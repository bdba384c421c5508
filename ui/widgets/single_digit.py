"""The prediction for a drawing by the network in use, and how it came about: the first part of the Draw page."""

from __future__ import annotations

from functools import partial

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.data.questions import NearestInside, ReadAll
from core.engine import engine
from core.errors import DigitLabError, EngineNotReady
from core.evaluation import rejection
from core.evaluation.rejection import Reading
from core.explain.attribution import Method
from core.explain.questions import Explain
from core.ink import photo as scan
from core.ink import preparation
from core.ink.preparation import Ink, Prepared
from core.runs.network import Network
from core.views import explanation_html, pictures
from ui import cached, digits, messages
from ui.state import drawing_in_use, drawings, photos, session, surfaces
from ui.widgets import canvas, given_pictures, keep_drawing, live_pad, picture_strip, reading, spoken, waiting

WIDTH = 320
LOOK_SECONDS = 0.5
REST_SECONDS = 0.4  # after a drawing's last change, before it is looked into
NEAREST = 3
BLOWN_UP = (
    "This network's answers are not numbers any more (NaN): its weights blew up in training. Choose an earlier moment."
)
MAP_SIZE = 168
SWITCHES = {
    "light": "Even light",
    "lines": "No ruled lines",
    "specks": "No specks",
    "strokes": "Even strokes",
    "crop": "Crop and scale",
    "centre": "Centre by mass",
}
SURFACES = {
    "Canvas": lambda: canvas.sheet(canvas.DIGIT),
    "Picture": given_pictures.files,
    "Camera": given_pictures.camera,
}


def choose_source() -> None:
    """Let the visitor choose what to draw on."""
    st.pills(
        "Draw on",
        drawings.DRAW_SOURCES,
        default=surfaces.draw_source(),
        required=True,
        label_visibility="collapsed",
        **session.showing("draw-source", surfaces.draw_source(), surfaces.choose_draw_source),
    )


def use_canvas() -> None:
    """Draw on the standard canvas, whatever was chosen on the Draw page."""
    if surfaces.draw_source() != "Canvas":
        surfaces.choose_draw_source("Canvas")


def draw_and_read(network: Network) -> None:
    """Show the drawing surface, with the network's ten probabilities beside it, new after every stroke."""
    waiting.once_ready(_draw_and_read, network)


def _draw_and_read(network: Network, was_waiting: bool) -> None:
    source = surfaces.draw_source()
    with st.container(horizontal=True, gap="large"):
        surface, answer = st.container(width=canvas.SIZES[canvas.DIGIT][0] + 4), st.container(width=WIDTH, key="answer")
    below = st.container()
    with surface:
        ink = surfaces.pad_sheet() if source == "Live pad" else SURFACES[source]()
    said = ""
    with answer, messages.shown():
        said = _answer(network, ink, was_waiting, below)
    with surface:
        (live_pad.pad if source == "Live pad" else spoken.answer)(said)


def _answer(network: Network, ink: Ink | None, was_waiting: bool, below: DeltaGenerator) -> str:
    """Show the answer to a drawing, with its preparation below; return the answer in a sentence."""
    if ink is None or not ink.any():
        return _invitation()
    is_open = drawing_in_use.is_preparation_shown()
    photo = drawing_in_use.photo() if is_open else None
    found = () if photo is None else scan.steps(photo, **drawing_in_use.preparation().of_photo)
    prepared = preparation.prepare(ink, drawing_in_use.preparation(), found) if is_open else None
    image = prepared.image if prepared else preparation.to_mnist(ink, drawing_in_use.preparation())
    images = [stage.image for stage in prepared.stages] if prepared else []
    unread = [given for given in photos.unread_pictures() if given[0] != drawing_in_use.drawing_number()]
    others_given = [(*given, preparation.to_mnist(given[-1])) for given in unread]
    try:
        questions = np.stack([image, *images, *(picture for *_, picture in others_given)])
        first, *others = reading.read(network, questions)
    except EngineNotReady:
        st.markdown("#### One moment …")
        _said("TensorFlow is being loaded. Your drawing is read as soon as it is there.")
        st.html(pictures.probability_bars(None))
        if not was_waiting:
            waiting.come_back()
        return "One moment."
    if was_waiting:
        st.rerun()
    for given, found in zip(others_given, others[len(images) :], strict=True):
        drawings.keep_drawn(*given, _digit(found))
    answer = rejection.of_drawing(preparation.seen(ink), first)
    said = _reading(answer)
    with st.container():  # its place is kept, or what follows would stand there twice while the button comes or goes
        if answer.count > 1:
            st.button("Read it as a whole number", icon=":material/pin:", on_click=_read_as_number, args=(ink,))
    drawing_in_use.keep_reading(image, _digit(answer))
    with st.container(horizontal=True, vertical_alignment="top"):
        st.html(pictures.digit(image, 112, "The drawing as 28 by 28 pixels."), width=112)
        st.html(
            '<div style="font-size:.875rem;opacity:.75">What the network sees: your drawing, made the way MNIST\'s digits '
            "were.</div>",
            width=WIDTH - 112 - 24,
        )
    keep_drawing.keep_form(image, _digit(answer))
    with below:
        _preparation(prepared, others[: len(images)])
    return said


def _read_as_number(ink: Ink) -> None:
    surfaces.read_as_number(ink)
    st.rerun()  # the whole page is another part of Draw, not only the fragment with the button


def _invitation() -> str:
    st.markdown("#### Draw a digit")
    _said("Any size, anywhere on the sheet. The answer moves with every stroke.")
    st.html(pictures.probability_bars(None))
    return "Draw a digit."


def _reading(reading: Reading) -> str:
    """Show the answer in words and bars; return the words."""
    if not np.isfinite(reading.probabilities).all():
        st.markdown("#### It can't say")
        _said(BLOWN_UP)
        st.html(pictures.probability_bars(None))
        return f"It can't say. {BLOWN_UP}"
    first, second = np.argsort(-reading.probabilities)[:2]
    if not reading.is_digit:
        heading, why = "I am not sure this is a digit", reading.reason
    else:
        heading = f"This is a {first}"
        why = f"{_sureness(reading.probabilities[first])} Next likeliest is a {second}."
    st.markdown(f"#### {heading}")
    _said(why)
    st.html(pictures.probability_bars(reading.probabilities, reading.is_digit))
    return f"{heading}. {why}"


def _sureness(probability: float) -> str:
    for least, said in ((0.99, "No doubt about it."), (0.9, "Fairly sure."), (0.6, "More likely than not.")):
        if probability >= least:
            return said
    return "A guess."


def _digit(reading: Reading) -> int | None:
    return int(reading.probabilities.argmax()) if reading.is_digit else None


def _said(text: str) -> None:
    """Show a sentence with room for three lines, so that nothing below it moves."""
    st.html(f'<div style="font-size:.875rem;line-height:1.4;min-height:4.2em;opacity:.8">{text}</div>')


# --- how it was prepared ------------------------------------------------------------------------------------------------


def _preparation(prepared: Prepared | None, readings: list[Reading]) -> None:
    """Show a switch for each step of the preparation, and the drawing and the prediction after each."""
    st.toggle(
        "Step by step",
        value=drawing_in_use.is_preparation_shown(),
        key="preparation-shown",
        on_change=lambda: drawing_in_use.show_preparation(session.widget_value("preparation-shown")),
        help="How your drawing became what the network sees, with what it would read after each step.",
    )
    if prepared is None:
        return
    answers = [
        f"{one.probabilities.argmax()}, {one.probabilities.max():.0%}" if one.is_digit else "no digit"
        for one in readings
    ]
    stages = prepared.stages
    st.html(pictures.preparation([stage.picture for stage in stages], [stage.name for stage in stages], answers))
    with st.container(horizontal=True):
        is_drawn = drawing_in_use.photo() is None
        for field, label in SWITCHES.items():
            if is_drawn and field in preparation.OF_PHOTO:
                continue
            is_on = getattr(drawing_in_use.preparation(), field)
            st.checkbox(label, is_on, **session.showing(f"prepare-{field}", is_on, partial(_switch, field)))


def _switch(field: str, is_on: bool) -> None:
    drawing_in_use.prepare_by(field, is_on)
    photo = drawing_in_use.photo()
    if field in preparation.OF_PHOTO and photo is not None:
        with messages.kept():
            photos.find_ink_anew(scan.ink_on_paper(photo, **drawing_in_use.preparation().of_photo))


# --- looked into --------------------------------------------------------------------------------------------------------


@st.fragment(run_every=LOOK_SECONDS)
def look_into(network: Network) -> None:
    """Show the nearest training digits, the pixels that mattered, and earlier drawings; they may come later than the
    bars.
    """
    image, ink = drawing_in_use.last_drawing(), drawing_in_use.ink()
    is_there = image is not None and ink is not None and bool(ink.any())
    is_resting = drawing_in_use.seconds_since_reading() > REST_SECONDS
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Nearest training digits**")
        with st.container(height=124, border=False), messages.caption():
            if is_there:
                _nearest(network, image, is_resting)
            else:
                st.caption("Draw something, and the training digits most like it stand here.")
    with right:
        is_wanted = st.toggle("Which pixels mattered", key="saliency")
        with st.container(height=MAP_SIZE + 16, border=False), messages.caption():
            if is_wanted and is_there:
                _pixels(network, image, is_resting)
    _session(is_there)


def _nearest(network: Network, image: np.ndarray, is_resting: bool) -> None:
    """Show the three nearest training digits, by the network's features if it has classified all of them, else by
    pixels.
    """
    dataset = digits.dataset()
    has_read = cached.readings(dataset, network) is not None
    key = (network, has_read, image.tobytes())
    found = session.looked_up("nearest", key)
    if found is None and is_resting:
        inside = NearestInside(network, image.tobytes())
        found = engine.shared().ask(inside) if has_read else cached.nearest_by_pixels(dataset, image, None)
        session.keep_looked_up("nearest", key, found)
    found = found or session.looked_up_last("nearest")
    if found is not None:
        shown = found.indices[:NEAREST]
        captions = [f"{dataset.y_train[i]} · {i:,}" for i in shown]
        by = "to the network" if has_read else "by pixels"
        st.html(pictures.captioned_digits(dataset.x_train[shown], captions, f"Training digits nearest {by}"))
    if not has_read:
        _have_read(ReadAll(network))


def _have_read(question: ReadAll) -> None:
    if not session.is_wanted(question, False):
        st.button(
            "By pixels. Have the network compare them", on_click=session.want, args=(question, True), type="tertiary"
        )
        return
    try:
        engine.shared().ask(question)
    except EngineNotReady:
        pass
    except DigitLabError:
        session.want(question, False)
        raise
    st.caption(f"The network reads the training digits: {engine.shared().share(question):.0%}")


def _pixels(network: Network, image: np.ndarray, is_resting: bool) -> None:
    digit = drawing_in_use.last_digit()
    if digit is None:
        st.caption("There is no digit whose pixels could have mattered.")
        return
    key = (network, image.tobytes(), digit)
    found = session.looked_up("pixels", key)
    if found is None and is_resting:
        explanation = engine.shared().ask(Explain(network, image.tobytes(), digit))
        if explanation is not None:
            shown = explanation_html.over_digit(explanation.maps[Method.INTEGRATED], image)
            found = pictures.digit(shown, MAP_SIZE, f"Which pixels spoke for a {digit}, over the drawing.")
            session.keep_looked_up("pixels", key, found)
    said = found or session.looked_up_last("pixels")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(said or pictures.digit(image, MAP_SIZE, "The drawing."), width=MAP_SIZE)
        st.caption(f"Ochre speaks for a {digit}, blue against it." if found else "Looking …", width=140)


def _session(is_there: bool) -> None:
    """Show earlier drawings; a click brings one back."""
    drawn = drawings.drawn()[: -1 if is_there else None][::-1]
    st.markdown("**Drawn in this session**")
    if not drawn:
        st.caption("What you drew before stands here. A click brings it back.")
        return
    chosen = picture_strip.strip(
        [one.image for one in drawn],
        [one.number for one in drawn],
        ["no digit" if one.digit is None else str(one.digit) for one in drawn],
        "Drawn in this session",
        "Bring back, read as",
        "drawn",
    )
    if chosen is not None:
        drawing_in_use.bring_back(chosen)
        st.rerun()
