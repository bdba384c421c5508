"""The choice of the network in use, in the sidebar."""

from __future__ import annotations

import time

import streamlit as st

from core import shipped
from core.engine import engine
from core.errors import RunDamaged
from core.runs.progress import State
from core.runs.run import Run
from ui import digits, driving, messages
from ui.state import runs, session

MOST_RUNS_LISTED = 50
BEST = "best"


def choose_run() -> None:
    """Draw a menu of the runs that this visitor may see; nothing if there are none."""
    in_use = runs.run_in_use()
    listed = runs.visible_runs()
    if in_use is not None and in_use not in listed:
        listed.append(in_use)
    labels = _labels(tuple((run.id, run.root) for run in listed))
    if not labels:
        return
    if in_use is not None and in_use.id not in labels:  # older than all that are listed
        labels = {**labels, in_use.id: _label(in_use)[1]}
    key = f"run-menu-{in_use.id if in_use else ''}"

    def chosen() -> None:
        if runs.run_in_use() == in_use:  # a late request may still come from the menu that was here for another run
            runs.use_run(next(run for run in listed if run.id == session.widget_value(key)))

    st.selectbox(
        "Network in use",
        list(labels),
        index=list(labels).index(in_use.id) if in_use else None,
        format_func=labels.get,
        key=key,
        on_change=chosen,
        placeholder="Choose a run",
        help="Train, Evaluate and Draw are about this one. The address in your browser leads to it: share it as you like.",
    )
    if in_use is not None:
        _choose_step(in_use)
        _offer_to_delete(in_use, labels[in_use.id])
    _say_that_room_is_short()


def _choose_step(run: Run) -> None:
    """Let the visitor choose an epoch's network; nothing before the second epoch."""
    try:
        progress = engine.shared().progress(run)
        steps = [step for step in run.steps() if progress.history and step and step % progress.steps_per_epoch == 0]
    except RunDamaged:
        return
    if len(steps) < 2:
        return
    key, chosen = f"step-{run.id}", runs.chosen_step(run.id)
    options = [BEST, *steps]

    def changed() -> None:
        value = session.widget_value(key)
        runs.choose_step(run.id, None if value == BEST else value)

    st.selectbox(
        "As it was after",
        options,
        index=options.index(chosen) if chosen in options else 0,
        format_func=lambda step: "its best epoch" if step == BEST else f"epoch {step // progress.steps_per_epoch}",
        key=key,
        on_change=changed,
        help="Evaluate and Draw use the network with the highest validation accuracy, unless you choose another epoch.",
    )


def _offer_to_delete(run: Run, label: str) -> None:
    """Draw a button that asks once more; nothing for the shipped run and for other visitors' runs."""
    try:
        if run.id == shipped.RUN_ID or not driving.is_allowed(run):
            return
    except RunDamaged:
        return
    with st.popover("Delete this run", icon=":material/delete:"):
        st.markdown("Its network, its curves and everything that was found out about it will be gone for good:")
        st.text(label)
        st.button("Delete for good", icon=":material/delete_forever:", on_click=_delete, args=(run,), type="primary")


def _delete(run: Run) -> None:
    with messages.kept():
        driving.delete(run)
        runs.forget_run(run.id)


def _say_that_room_is_short() -> None:
    """Tell that room is short, on one's own machine, where no run is removed to make room."""
    taken = engine.shared().allowance
    if session.is_local() and taken is not None and taken.is_exceeded:
        st.caption(
            f":orange[:material/hard_drive:] Runs take {taken.used / 1e9:.1f} GB of the {taken.most / 1e9:.1f} GB that they may. "
            "Choose those that you don't need any more above, and delete them."
        )


@st.cache_data(max_entries=50, show_spinner=False)
def _labels(listed: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Run ids, newest first, with labels that neither change nor repeat: a menu takes its options by them."""
    newest = sorted((_label(Run(run_id, root)), run_id) for run_id, root in listed)[::-1][:MOST_RUNS_LISTED]
    seen: set[str] = set()
    labels = {}
    for (_, label), run_id in newest:
        labels[run_id] = label if label not in seen else f"{label} · {run_id[:4]}"
        seen.add(label)
    return labels


def _label(run: Run) -> tuple[float, str]:
    try:
        record = run.record()
    except RunDamaged:
        return 0.0, f"damaged · {run.id}"
    name = messages.shortened(record.name)
    if record.is_shipped:
        return 0.0, f"{name} (shipped)"
    return record.began, f"{name} · {time.strftime('%d %b %H:%M:%S', time.localtime(record.began))}"


def labels() -> dict[str, str]:
    """Return the runs that this visitor may see, newest first: id -> the menu's label."""
    return _labels(tuple((run.id, run.root) for run in runs.visible_runs()))


def condition(run: Run) -> str:
    """Return the state of a run, in a few words."""
    try:
        progress, record = engine.shared().progress(run), run.record()
    except RunDamaged as error:
        return f":red[{messages.plain(str(error))}]"
    parts = [] if progress.state is State.FINISHED else [str(progress.state)]
    if progress.history:
        parts.append(f"{len(progress.history)} epoch{'s' if len(progress.history) > 1 else ''}")
    if progress.best_val_accuracy is not None:
        parts.append(f"{progress.best_val_accuracy:.2%} on validation")
    if digits.is_of_other(run):
        parts.append("trained on other digits than those in use")
    if record.is_shipped and shipped.figures():
        parts.append(f"{shipped.figures()['test']:.2%} on the test set")
    return ", ".join(parts)
