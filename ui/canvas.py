"""The standard canvas: pens, an eraser, undo, redo and clear; the ink that is on it."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit_drawable_canvas import st_canvas

from core import canvas_record
from ui import messages, state

DIGIT, NUMBER = "digit", "number"
SIZES = {DIGIT: (400, 400), NUMBER: (640, 280)}  # width and height in pixels, before a narrow screen shrinks them
ROOM = {DIGIT: 400, NUMBER: 200}  # pixels that a digit may fill
PENS = {"Fine": 0.035, "Medium": 0.075, "Bold": 0.094}  # of that room; medium is MNIST's share of a large digit
ERASE = "Eraser"
ERASER = 0.11
MARGIN = 32  # of a phone's screen, left and right of the page


def sheet(name: str) -> np.ndarray | None:
    """A canvas with its tools; the ink on it, (h, w) float32 0..1, None before the first stroke.

    Args:
        name: DIGIT or NUMBER.
    """
    width, height = SIZES[name]
    key = state.canvas_key(name)
    _fit(width + 4)
    with st.container(width=width + 4, key="pad"):
        pen = state.pen()
        st_canvas(
            stroke_width=round(PENS.get(pen, ERASER) * ROOM[name]),
            stroke_color=_paper() if pen == ERASE else canvas_record.INK,
            width=width,
            height=height,
            initial_drawing=state.told_canvas(name),
            return_image_data=True,
            on_change=lambda: _heard(name, key),
            key=key,
        )
    _tools(name)
    return state.canvas_ink(name)


def _fit(width: int) -> None:
    """Shrink the canvas, `width` CSS pixels wide, to a narrower screen, and leave the tools room by keeping their keys to
    their tooltips. The tangent of an arc tangent is CSS' way to divide a length by a length.
    """
    st.html(
        f"<style>@media (max-width: {width + MARGIN}px) {{ .st-key-pad "
        f"{{ zoom: tan(atan2(100vw - {MARGIN}px, {width}px)); }} }} .st-key-tools kbd {{ display: none; }}</style>"
    )


def _tools(name: str) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="tools"):
        st.button(
            "Undo",
            icon=":material/undo:",
            on_click=state.undo_stroke,
            args=(name,),
            disabled=not state.can_undo_stroke(name),
            shortcut="Ctrl+Z",
            help="Ctrl + Z",
            key=f"undo-{name}",
        )
        st.button(
            "Redo",
            icon=":material/redo:",
            on_click=state.redo_stroke,
            args=(name,),
            disabled=not state.can_redo_stroke(name),
            shortcut="Ctrl+Shift+Z",
            help="Ctrl + Shift + Z",
            key=f"redo-{name}",
        )
        st.button(
            "Clear",
            icon=":material/delete:",
            on_click=state.clear_canvas,
            args=(name,),
            shortcut="Escape",
            help="Escape",
            key=f"clear-{name}",
        )
        state.show_in_widget("pen", state.pen())
        st.segmented_control(
            "Pen",
            [*PENS, ERASE],
            default=state.pen(),
            required=True,
            key="pen",
            label_visibility="collapsed",
            on_change=lambda: state.take_pen(state.widget_value("pen")),
        )


def _heard(name: str, key: str) -> None:
    """Callback: the canvas has something new on it."""
    sent = state.widget_value(key)["drawing"]
    with messages.kept():
        state.hear_canvas(name, sent["raw"], canvas_record.ink(sent["data"], sent["raw"]))


def _paper() -> str:
    """The colour of the sheet. An eraser that takes ink away would need the canvas loaded anew after each stroke, and what is
    drawn meanwhile would be lost."""
    return canvas_record.PAPERS[st.context.theme.type or "light"]
