"""The time machine: a network's inside and its answers at any moment of its training that was kept."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.data.splits import Split
from core.engine import engine
from core.explain.questions import Moment, VisitMoment
from core.runs.network import Network
from core.runs.progress import Progress
from core.runs.run import Run
from core.views import network_html, pictures
from ui import cached, digits, messages
from ui.state import drawing_in_use, runs, session
from ui.train import prediction_history

OWN = "My drawing"
PATIENCE_SECONDS = 10.0
CLOCK_SECONDS = 2.0  # between two checks for networks that a training run has saved meanwhile


def panel(run: Run) -> None:
    """Draw a slider through a run's kept networks, behind a switch that stays."""
    if st.toggle(
        "Time machine", key=f"time-machine-{run.id}", help="Go through the networks that were kept on the way."
    ):
        is_over = engine.shared().progress(run).state.is_over
        st.fragment(_panel, run_every=None if is_over else CLOCK_SECONDS)(run)


def _panel(run: Run) -> None:
    with messages.shown():
        progress, steps = engine.shared().progress(run), run.steps()
        if len(steps) < 2:
            st.caption("It opens after the first batches.")
            return
        step, key = runs.moment(run.id, steps), f"moment-{run.id}"
        session.show_in_widget(key, step)
        st.select_slider(
            "After",
            steps,
            step,
            format_func=lambda step: _name(step, progress),
            key=key,
            on_change=lambda: runs.go_to_moment(run.id, session.widget_value(key)),
        )
        image, said = _digit(run)
        with st.spinner("Going there …", show_time=False):
            moment = _moment(Network(run, step), image.tobytes(), digits.dataset().digest)
        answer, inside = st.columns(2, gap="large")
        with answer:
            st.markdown(f"**What it reads {said}**", help=prediction_history.NOT_CALIBRATED)
            with st.container(horizontal=True):
                st.html(pictures.digit(image, 112, said))
                with st.container(width=260):
                    st.html(pictures.probability_bars(moment.probabilities))
            st.markdown("**How that came about**")
            prediction_history.panel(run, image, step)
            st.markdown("**Confusion**")
            if moment.confusion is None:
                st.caption("This run holds no images out to check on.")
            else:
                right, of = int(np.trace(moment.confusion)), int(moment.confusion.sum())
                st.html(network_html.confusion(moment.confusion))
                st.caption(f"{right / of:.1%} of {of:,} held-out digits right.")
        with inside:
            st.markdown("**Kernels**")
            st.html(network_html.kernels(moment.kernels))
            st.markdown("**Feature maps**")
            st.html(network_html.feature_maps(image, moment.maps))


def _digit(run: Run) -> tuple[np.ndarray, str]:
    """Return the digit to look at, (28, 28) uint8, and its name.

    It is one's own drawing if there is one, or one that was held out; one of the training file if none was.
    """
    own = drawing_in_use.last_drawing()
    options = [*([OWN] if own is not None else []), *range(10)]
    chosen = st.segmented_control("Look at", options, default=options[0], required=True, key="moment-digit")
    if chosen == OWN:
        return own, "in my drawing"
    images, labels, held_out = cached.split_of(digits.dataset(), run.experiment().training, Split.VALIDATION)
    indices = np.append(held_out, np.arange(len(labels)))
    return images[indices[labels[indices] == chosen][0]], f"in a {chosen}"


def _name(step: int, progress: Progress) -> str:
    if step == 0:
        return "its start" if progress.is_fine_tuning else "nothing"
    epoch, rest = divmod(step, max(progress.steps_per_epoch, 1))
    return f"batch {step}" if rest else f"epoch {epoch}"


@st.cache_data(max_entries=100, show_spinner=False)
def _moment(network: Network, image: bytes, dataset: str) -> Moment:
    return engine.shared().wait(VisitMoment(network, image), PATIENCE_SECONDS)
