"""Train: how the network is to learn, and watching it do so."""

import streamlit as st

from core.model import ledger
from core.runs.progress import Command
from ui import messages, navigation
from ui.state import editing, runs
from ui.train import live, recipe, time_machine
from ui.widgets import repair, run_start

st.title("Train")
draft, run = editing.draft(), runs.chosen_run()
read = ledger.read(draft.experiment.layers)

with st.container(horizontal=True, vertical_alignment="center"):
    why_not = ledger.refusal(draft.experiment)
    start = st.button(
        "Start training",
        type="primary",
        icon=":material/play_arrow:",
        disabled=why_not is not None,
        shortcut="Ctrl+Enter",
        help=why_not or "Begins a new run; the others are kept.",
    )
    start_paused = st.button(
        "Start paused",
        icon=":material/pause_circle:",
        disabled=why_not is not None,
        help=why_not or "Waits before its first batch, so that you can take one at a time.",
    )
    if start or start_paused:
        with messages.shown():
            run_start.start_training(draft, Command(is_paused=start_paused))
            st.rerun()
    st.markdown(
        f"**{draft.preset}**, {len(draft.experiment.layers) + 1} layers, {read.parameters:,} parameters",
        width="content",
    )
    st.page_link(navigation.BUILD, label="Change its layers", icon=":material/account_tree:")
repair.problem(draft.experiment, read)

panel, form = st.columns([5, 2], gap="large")
with panel:
    if run is None:
        live.invitation(draft)
    else:
        with messages.shown():
            live.panel(run)
            time_machine.panel(run)
with form:
    recipe.editor(draft)
    recipe.learning_rate_finder(draft.experiment)
