"""Train: how the network is to learn, and watching it do so."""

import streamlit as st

from core import ledger
from ui import fields, journey, live, messages, navigation, state

st.title("Train")
draft, run = state.draft(), state.run_in_use()

read = ledger.read(draft.experiment.layers)

with st.container(horizontal=True, vertical_alignment="center"):
    if st.button(
        "Start training",
        type="primary",
        icon=":material/play_arrow:",
        disabled=read.problem is not None,
        help=read.problem.reason if read.problem else "Begins a new run; the others are kept.",
    ):
        with messages.shown():
            journey.start_training(draft)
            st.rerun()
    st.markdown(
        f"**{draft.preset}**, {len(draft.experiment.layers) + 1} layers, {read.parameters:,} parameters",
        width="content",
    )
    st.page_link(navigation.BUILD, label="Change its layers", icon=":material/account_tree:")

panel, recipe = st.columns([5, 2], gap="large")
with panel:
    if run is None:
        live.invitation(draft)
    else:
        live.panel(run)
with recipe:
    st.subheader("How the next run learns", anchor=False)
    fields.editor(state.training, f"training-{state.draft_version()}", state.edit_training, columns=1)
