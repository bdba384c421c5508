"""The status strip: how the engine is, at the foot of the sidebar."""

from __future__ import annotations

import streamlit as st

from core import engine
from core.engine import Phase
from ui import state

BUSY_SECONDS, IDLE_SECONDS = 1.0, 5.0

_SAYINGS = {
    Phase.OFF: ":gray[:material/circle:] Engine asleep",
    Phase.STARTING: ":orange[:material/circle:] Engine starting",
    Phase.WARMING: ":orange[:material/circle:] TensorFlow loading",
    Phase.READY: ":green[:material/check_circle:] Engine ready",
    Phase.FAILED: ":red[:material/error:] Engine out of order",
}


def strip() -> None:
    """A line that keeps itself up to date. Its second look, after the first page is painted, wakes the engine."""
    phase = engine.shared().status().phase
    st.fragment(_strip, run_every=IDLE_SECONDS if phase is Phase.READY else BUSY_SECONDS)(phase)


def _strip(phase_at_run: Phase) -> None:
    if state.was_painted():
        engine.shared().start()
    status = engine.shared().status()
    parts = [_SAYINGS[status.phase]]
    if status.workers:
        parts.append(f"{status.workers} worker{'s' if status.workers > 1 else ''}, {status.memory / 1e9:.1f} GB")
    if status.training:
        parts.append(f"{len(status.training)} training" + (f", {len(status.queued)} waiting" if status.queued else ""))
    st.caption(" · ".join(parts))
    if status.message:
        st.caption(status.message)
    if status.phase is not phase_at_run and Phase.READY in (status.phase, phase_at_run):
        st.rerun()  # pages that wait for it go on, and the strip looks less or more often
