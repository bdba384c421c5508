"""A whole number on a wide canvas: cut into digits, each classified. The second part of the Draw page."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.errors import EngineNotReady
from core.ink import preparation, segments
from core.ink.preparation import Ink
from core.runs.network import Network
from core.views import pictures
from ui import messages
from ui.state import surfaces
from ui.widgets import canvas, reading, single_digit, spoken, waiting

MOST_DIGITS = 12
SHOWN = 280  # pixels: side of a drawing that is classified as a whole number


def draw_and_read(network: Network) -> None:
    """Draw a wide canvas, and below it the network's prediction for the number, new after every stroke."""
    waiting.once_ready(_draw_and_read, network)


def _draw_and_read(network: Network, was_waiting: bool) -> None:
    taken = surfaces.number_ink()
    ink = canvas.sheet(canvas.NUMBER) if taken is None else _taken(taken)
    said = ""
    with st.container(key="number"), messages.shown():
        said = _answer(network, ink, was_waiting)
    spoken.answer(said)


def _taken(ink: Ink) -> Ink:
    """Show what was drawn as one digit in place of the canvas; return it."""
    st.html(
        pictures.digit(
            np.rint(preparation.seen(ink) * 255).astype(np.uint8), SHOWN, "What you drew, read as a whole number."
        )
    )
    st.button("Write another", icon=":material/edit:", on_click=surfaces.write_number)
    return ink


def _answer(network: Network, ink: Ink, was_waiting: bool) -> str:
    """Show the answer to the number; return it in a sentence."""
    parts = segments.segments(preparation.seen(ink))
    if not parts:
        return _said("Write a number", "Several digits side by side. They may touch.")
    digits = segments.shared_out(ink, parts[:MOST_DIGITS])
    images = np.stack([preparation.to_mnist(digit) for digit in digits])
    try:
        readings = reading.read(network, images)
    except EngineNotReady:
        if not was_waiting:
            waiting.come_back()
        return _said("One moment …", "TensorFlow is being loaded. Your number is read as soon as it is there.")
    if was_waiting:
        st.rerun()
    probabilities = np.stack([one.probabilities for one in readings])
    if not np.isfinite(probabilities).all():
        return _said("It can't say", single_digit.BLOWN_UP)
    are_digits = [one.is_digit for one in readings]
    signs = [str(r.probabilities.argmax()) if r.is_digit else "?" for r in readings]
    why = f"Only the first {MOST_DIGITS} are read." if len(parts) > MOST_DIGITS else "The least sure digit is marked."
    said = _said(
        f"This is {''.join(signs)}",
        why if all(are_digits) else f"{why} A question mark stands for what looks like no digit.",
    )
    st.html(pictures.number(images, probabilities, are_digits))
    return said


def _said(heading: str, why: str) -> str:
    st.markdown(f"#### {heading}")
    st.caption(why)
    return f"{heading}. {why}"
