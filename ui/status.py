"""The status strip: the state of the network in use and of the engine, at the foot of the sidebar."""

from __future__ import annotations

import streamlit as st

from core.engine import engine
from core.engine.cluster import Phase
from core.engine.engine import Status
from core.errors import RunDamaged
from core.runs.run import Run
from ui import cached, messages, runs_menu
from ui.state import runs, session

BUSY_SECONDS, IDLE_SECONDS = 1.0, 5.0

ONLY_THIS_TAB = "What you make here lasts as long as this tab is open."
WHY_ONLY = "The browser sends no cookie, as in another site's frame, or the server can't write what it is to keep."

_SAYINGS = {
    Phase.OFF: ":gray[:material/circle:] Engine asleep",
    Phase.STARTING: ":orange[:material/circle:] Engine starting",
    Phase.WARMING: ":orange[:material/circle:] TensorFlow loading",
    Phase.READY: ":green[:material/check_circle:] Engine ready",
    Phase.FAILED: ":red[:material/error:] Engine out of order",
}


def strip() -> None:
    """Draw lines that keep themselves up to date. Their second update, after the first page is painted, wakes the
    engine.
    """
    status, run = engine.shared().status(), runs.run_in_use()
    is_busy = status.phase is not Phase.READY or status.training or status.queued
    st.fragment(_strip, run_every=BUSY_SECONDS if is_busy else IDLE_SECONDS)(status.phase, run)
    if not session.is_lasting():
        st.caption(ONLY_THIS_TAB, help=WHY_ONLY)


def _strip(phase_at_run: Phase, run: Run | None) -> None:
    if session.was_painted():
        engine.shared().start()
        cached.load_beside("scipy.ndimage")  # labels ink: a fifth of a second, for which no stroke should wait
    status = engine.shared().status()
    if run is not None and not run.exists():
        st.rerun()  # it was deleted: the page goes on without it
    if run is not None:
        st.caption(runs_menu.condition(run))
    st.caption(_SAYINGS[status.phase])
    if status.workers:
        st.caption(
            f"{status.workers} worker{'s' if status.workers > 1 else ''}, {status.memory / 1e9:.1f} GB of memory"
        )
    if status.training or status.queued:
        st.caption(_who(status))
    if status.message:
        st.caption(messages.plain(status.message))
    if status.phase is not phase_at_run and Phase.READY in (status.phase, phase_at_run):
        st.rerun()  # pages that wait for it go on, and the strip looks less or more often


def _who(status: Status) -> str:
    """Return who trains and how many wait; other visitors' runs have no names here."""
    own = {run.id: run for run in runs.visible_runs()}
    names = [_name(own[run_id]) for run_id in status.training if run_id in own]
    others = len(status.training) - len(names)
    parts = [*names, *([f"{others} of others"] if others else [])]
    said = f"Training: {', '.join(parts)}" if parts else "Nothing trains"
    return f"{said} · {len(status.queued)} waiting" if status.queued else said


def _name(run: Run) -> str:
    try:
        return messages.name(run.record().name)
    except RunDamaged:
        return "a damaged run"
