"""Build: the stack of layers, what it costs, and what is wrong with it."""

import streamlit as st

from core import ledger, pictures, presets
from ui import digits, stack, state

st.title("Build")
draft = state.draft()
read = ledger.read(draft.experiment.layers)
sample = digits.dataset().x_train[0]

stack.toolbar(presets.PRESETS)
st.html(pictures.network_diagram(read, sample))
stack.totals(read)
stack.problem(read.problem)

layers, add = st.columns([3, 2], gap="large")
with layers:
    st.subheader("Layers", anchor=False)
    stack.editor(draft, read)
with add:
    st.subheader("Add a layer", anchor=False)
    stack.palette(draft)
