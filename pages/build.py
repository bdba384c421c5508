"""Build: the stack of layers, what it costs, and what is wrong with it."""

import streamlit as st

from core.model import ledger, presets
from core.views import pictures
from ui import digits
from ui.build import stack
from ui.state import editing

st.title("Build")
draft = editing.draft()
read, hints = ledger.read(draft.experiment.layers), ledger.hints(draft.experiment.layers)
sample = digits.dataset().x_train[0]

# No fragment: when the clock of another one, the status strip's say, ticks while a fragment is drawn, Streamlit 1.67 leaves
# on the screen what that one no longer draws. A whole run is cleaned up in any case.
stack.toolbar(presets.PRESETS)
st.html(pictures.network_diagram(read, sample))
stack.whole(draft, read)

st.subheader("Layers", anchor=False)
stack.editor(draft, read, hints)
st.subheader("Add a layer", anchor=False)
stack.palette()
stack.worth_a_thought(hints)
stack.link()
stack.code(draft.experiment)
