"""Draw: what the network in use reads of one's own hand, a digit or a whole number."""

import streamlit as st

from ui import guards, messages
from ui.draw import whole_number
from ui.state import session as state
from ui.widgets import drawn_answer, handwriting

st.title("Draw")
run, step = guards.trained_run("reads what you draw")
st.segmented_control(
    "What to draw",
    state.DRAW_PARTS,
    default=state.draw_part(),
    required=True,
    label_visibility="collapsed",
    **state.showing("draw-part", state.draw_part(), state.choose_draw_part),
)
name = messages.name(run.record().name)
if state.draw_part() == "One digit":
    st.markdown(f"One digit, as large as you like. **{name}** answers after every stroke.")
    drawn_answer.choose_source()
    drawn_answer.draw_and_read(run, step)
    drawn_answer.look_into(run, step)
elif state.draw_part() == "A whole number":
    st.markdown(f"Several digits side by side. **{name}** reads them one by one.")
    whole_number.draw_and_read(run, step)
else:
    st.markdown(f"Digits of your own hand, and how **{name}** reads them.")
    handwriting.section(run, step)
