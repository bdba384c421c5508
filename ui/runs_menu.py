"""Which network is in use, said and changed in the sidebar."""

from __future__ import annotations

import time
from dataclasses import dataclass

import streamlit as st

from core import runs
from core.errors import RunDamaged
from core.progress import State
from ui import state

MOST_RUNS_LISTED = 50


@dataclass(frozen=True)
class _Entry:
    run_id: str
    label: str
    began: float


def choose_run() -> None:
    """A menu of the runs this visitor may see; nothing where there is none."""
    in_use = state.run_in_use()
    ids = tuple(run.id for run in state.visible_runs())
    if in_use is not None and in_use.id not in ids:
        ids = (in_use.id, *ids)
    entries = {entry.run_id: entry.label for entry in _entries(ids, runs.root())}
    if not entries:
        return
    options = list(entries)
    key = f"run-menu-{in_use.id if in_use else ''}"

    def chosen() -> None:
        state.use_run(state.widget_value(key))

    st.selectbox(
        "Network in use",
        options,
        index=options.index(in_use.id) if in_use else None,
        format_func=entries.get,
        key=key,
        on_change=chosen,
        placeholder="Choose a run",
        help="Train, Evaluate and Draw are about this one. Its address in the browser can be shared.",
    )


@st.cache_data(ttl=2, max_entries=50, show_spinner=False)
def _entries(run_ids: tuple[str, ...], root: str) -> list[_Entry]:
    entries = [_entry(runs.Run(run_id, root)) for run_id in run_ids]
    return sorted(entries, key=lambda entry: -entry.began)[:MOST_RUNS_LISTED]


def _entry(run: runs.Run) -> _Entry:
    try:
        record, progress = run.record(), run.progress()
    except RunDamaged:
        return _Entry(run.id, f"damaged · {run.id[:6]}", 0.0)
    best = progress.best_val_accuracy
    result = f"{best:.2%}" if best is not None else ""
    if not record.state.is_over or record.state in (State.FAILED, State.INTERRUPTED):
        result = record.state.value
    when = time.strftime("%d %b %H:%M", time.localtime(record.began))
    return _Entry(run.id, " · ".join(part for part in (record.name, result, when) if part), record.began)
