"""The drawing canvas, and the network's answer to what is on it."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit_drawable_canvas import st_canvas

from core import drawing, engine, pictures, runs
from core.errors import DrawingError, EngineNotReady
from ui import messages, state

SIDE = 320  # pixels; what a phone of 360 leaves
PEN_WIDTH = 24  # an eighth of a digit that fills most of the canvas, which is MNIST's proportion
INK = "#5566F5"  # the theme's ultramarine, readable on paper and on blue-black
POLL_SECONDS = 1.0


def draw_and_read(run: runs.Run, epoch: int) -> None:
    """A canvas with the network's ten probabilities beside it, new after every stroke."""
    is_waiting = engine.shared().status().phase is not engine.Phase.READY
    st.fragment(_draw_and_read, run_every=POLL_SECONDS if is_waiting else None)(run, epoch, is_waiting)


def _draw_and_read(run: runs.Run, epoch: int, was_waiting: bool) -> None:
    with st.container(horizontal=True, gap="large"):
        with st.container(width=SIDE + 4, key="pad"):
            ink = _canvas()
            st.button(
                "Clear",
                icon=":material/delete:",
                on_click=state.clear_canvas,
                shortcut="Escape",
                help="The bar above it undoes.",
            )
        with st.container(width=SIDE, key="answer"):
            try:
                steps = drawing.steps(ink)
            except DrawingError:
                steps = None
            with messages.shown():
                _answer(run, epoch, steps, was_waiting)


def _canvas() -> np.ndarray:
    """The canvas; the ink on it, (SIDE, SIDE) float32 0..1."""
    result = st_canvas(
        stroke_width=PEN_WIDTH,
        stroke_color=INK,
        width=SIDE,
        height=SIDE,
        initial_drawing=state.drawing_at_entry(),
        return_image_data=True,
        key=f"canvas-{state.canvas_round()}",
    )
    if result.image_data is not None:
        state.keep_drawing(result.json_data, drawing.ink_from_rgba(result.image_data))
    ink = state.ink()
    return np.zeros((SIDE, SIDE), np.float32) if ink is None else ink


def _answer(run: runs.Run, epoch: int, steps: drawing.Steps | None, was_waiting: bool) -> None:
    probabilities = None
    if steps is None:
        st.markdown("#### Draw a digit")
    else:
        try:
            probabilities = engine.shared().predict(run, epoch, steps.centred[None])[0]
        except EngineNotReady:
            st.markdown("#### One moment …")
            st.caption("TensorFlow is being loaded. Your drawing is read as soon as it is there.")
        else:
            st.markdown(f"#### This is a {probabilities.argmax()}")
            if was_waiting:
                st.rerun()
    st.html(pictures.probability_bars(probabilities))
    if steps is not None:
        st.caption("What the network sees: your drawing, made the way MNIST's digits were.")
        st.html(pictures.digit(steps.centred, 112, "The drawing as 28 by 28 pixels."))
