"""The ten probabilities of a network for one's own digit as lines, from its first batch to its last."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.engine import engine
from core.runs.run import Run
from core.views import moving_lines, pictures
from ui import messages, navigation

POLL_SECONDS = 0.5
NOT_CALIBRATED = "Probabilities as they come, not calibrated: what Draw says to the same digit is."


def lines(run: Run, image: np.ndarray | None, place: int | None = None) -> None:
    """Draw the ten lines of a digit as far as they are known, or an invitation to draw one.

    Args:
        run: the run.
        image: the digit, (28, 28) uint8, or None.
        place: a number of batches to mark.
    """
    if image is None:
        st.caption("Draw a digit, and what this network says to it stands here, from its first batch to its last.")
        st.page_link(navigation.DRAW, label="Draw one", icon=":material/draw:")
        return
    with messages.caption():
        trace = engine.shared().trace(run, image)
        if not trace:
            st.caption("The networks that were kept are asked for your digit …")
            return
        steps, probabilities = np.array(list(trace)), np.stack(list(trace.values()))
        if not np.isfinite(probabilities).all():
            st.caption("From some batch on its answers are no numbers any more (NaN): those are left out.")
            is_number = np.isfinite(probabilities).all(axis=1)
            steps, probabilities = steps[is_number], probabilities[is_number]
        said = _said(steps, probabilities)
        with st.container(horizontal=True, vertical_alignment="center"):
            if place is None:  # beside a marked place the digit is shown already
                st.html(pictures.digit(image, 56, "The digit that it is asked about."), width=56)
            st.caption(said, width=170 if place is None else "stretch", help=NOT_CALIBRATED)
        st.html(moving_lines.readings(steps, probabilities, said, place))


def panel(run: Run, image: np.ndarray, place: int | None = None) -> None:
    """Draw the lines where nothing else updates the page: they update themselves until all is known."""
    with messages.caption():
        known = engine.shared().trace(run, image)
        is_whole = set(run.steps()) <= known.keys()
        st.fragment(_panel, run_every=None if is_whole else POLL_SECONDS)(run, image, place, is_whole)


def _panel(run: Run, image: np.ndarray, place: int | None, was_whole: bool) -> None:
    lines(run, image, place)
    with messages.caption():
        if not was_whole and set(run.steps()) <= engine.shared().trace(run, image).keys():
            st.rerun()


def _said(steps: np.ndarray, probabilities: np.ndarray) -> str:
    """Return how the prediction changed, in a sentence."""
    if not len(steps):
        return "It never read anything."
    read = probabilities.argmax(axis=1)
    last = int(read[-1])
    changes = np.flatnonzero(read != last)
    sure = f"At last it read a {last}, {probabilities[-1, last]:.0%} sure"
    if not len(changes):
        return f"{sure}, as from the first on."
    since = int(steps[changes[-1] + 1])
    before = int(read[changes[-1]])
    return f"{sure}. It has done so since batch {since:,}; before that it read a {before}."
