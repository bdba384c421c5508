"""The standard canvas: pens, an eraser, undo, redo and clear; the strokes that are on it.

Its paint is for the eye. What is drawn is recorded by a pen of our own (`canvas.js`), which stands beside the canvas on the page:
the canvas would send its picture, which some browsers falsify on purpose, and would forget strokes when it is told to show others.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit_drawable_canvas import st_canvas

from core.errors import DrawingError
from core.ink import canvas_record
from core.ink.strokes import Sheet
from ui import messages
from ui.state import session, surfaces
from ui.widgets.components import component

DIGIT, NUMBER = "digit", "number"
SIZES = {name: (surfaces.BARE[name].width, surfaces.BARE[name].height) for name in (DIGIT, NUMBER)}
ROOM = {DIGIT: 400, NUMBER: 200}  # pixels that a digit may fill
PENS = {"Fine": 0.035, "Medium": 0.075, "Bold": 0.094}  # of that room; medium is MNIST's share of a large digit
ERASE = "Eraser"
ERASER = 0.11
MARGIN = 32  # of a phone's screen, left and right of the page


def sheet(name: str) -> Sheet:
    """Draw a canvas with its tools; return what is drawn on it.

    Args:
        name: DIGIT or NUMBER.
    """
    width, height = SIZES[name]
    key, pen = surfaces.canvas_key(name), surfaces.pen()
    widths = {tool: round(share * ROOM[name]) for tool, share in {**PENS, ERASE: ERASER}.items()}
    _fit(width + 4)
    with st.container(width=width + 4, key="pad"), messages.shown():
        try:
            st_canvas(
                stroke_width=widths[pen],
                stroke_color=canvas_record.INK,
                width=width,
                height=height,
                initial_drawing=surfaces.told_canvas(name),
                update_streamlit=False,
                key=key,
            )
        except (
            AttributeError,
            KeyError,
            TypeError,
        ):  # the component would take what it is sent for what it sends, which differ here
            raise DrawingError("The canvas sent something other than a drawing. Load the page again.") from None
        order, heard = surfaces.canvas_order(name)
        component(__file__, "", "")(
            key=f"{key}-pen",
            data={"widths": widths, "eraser": ERASE, "pen": pen, "order": order, "heard": heard},
            on_drawn_change=lambda: _hear(name, f"{key}-pen"),
            height="content",
        )
    _tools(name, f"{key}-pen")
    return surfaces.sheet(name)


def _fit(width: int) -> None:
    """Shrink the canvas, `width` CSS pixels wide, to a narrower screen, and show the tools' keys only in their
    tooltips.

    The tangent of an arc tangent is CSS' way to divide a length by a length. Drawing is possible only after the canvas'
    pen has loaded, which records the strokes.
    """
    st.html(
        f"<style>@media (max-width: {width + MARGIN}px) {{ .st-key-pad "
        f"{{ zoom: tan(atan2(100vw - {MARGIN}px, {width}px)); }} }} .st-key-tools kbd {{ display: none; }} "
        ".st-key-pad:not([data-has-pen]) { pointer-events: none; } .st-key-pad { gap: 0; overflow: clip; }</style>"
    )


def _tools(name: str, pen_key: str) -> None:
    def act(order: Callable[[str], None]) -> None:
        """Take what was drawn first, also if both arrive together, and then obey the order."""
        _hear(name, pen_key)
        order(name)

    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="tools"):
        st.button(
            "Undo",
            icon=":material/undo:",
            on_click=act,
            args=(surfaces.undo_stroke,),
            disabled=not surfaces.can_undo_stroke(name),
            shortcut="Ctrl+Z",
            help="Ctrl + Z",
            key=f"undo-{name}",
        )
        st.button(
            "Redo",
            icon=":material/redo:",
            on_click=act,
            args=(surfaces.redo_stroke,),
            disabled=not surfaces.can_redo_stroke(name),
            shortcut="Ctrl+Shift+Z",
            help="Ctrl + Shift + Z",
            key=f"redo-{name}",
        )
        st.button(
            "Clear",
            icon=":material/delete:",
            on_click=act,
            args=(surfaces.clear_canvas,),
            shortcut="Ctrl+Backspace",
            help="Ctrl + Backspace. Undo brings the drawing back.",
            key=f"clear-{name}",
        )
        st.segmented_control(
            "Pen",
            [*PENS, ERASE],
            default=surfaces.pen(),
            required=True,
            label_visibility="collapsed",
            **session.showing("pen", surfaces.pen(), surfaces.take_pen, stays=True),
        )


def _hear(name: str, pen_key: str) -> None:
    """Take what was drawn, if there is more of it. A callback."""
    with messages.kept():
        drawn = canvas_record.drawn(session.component_value(pen_key).get("drawn") or [], max(SIZES[name]))
        surfaces.hear_canvas(name, drawn)
