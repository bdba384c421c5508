"""Draw: what the network in use reads of one's own hand, a digit or a whole number."""

import streamlit as st

from ui import guards, messages
from ui.draw import handwriting, whole_number
from ui.state import session, surfaces
from ui.widgets import single_digit

st.title("Draw")
network = guards.trained_network("reads what you draw")
st.segmented_control(
    "What to draw",
    surfaces.DRAW_PARTS,
    default=surfaces.draw_part(),
    required=True,
    label_visibility="collapsed",
    **session.showing("draw-part", surfaces.draw_part(), surfaces.choose_draw_part),
)
name = messages.name(network.run.record().name)
if surfaces.draw_part() == "One digit":
    st.markdown(f"One digit, as large as you like. **{name}** answers after every stroke.")
    single_digit.choose_source()
    single_digit.draw_and_read(network)
    single_digit.look_into(network)
elif surfaces.draw_part() == "A whole number":
    st.markdown(f"Several digits side by side. **{name}** reads them one by one.")
    whole_number.draw_and_read(network)
else:
    st.markdown(f"Digits of your own hand, and how **{name}** reads them.")
    handwriting.section(network)
