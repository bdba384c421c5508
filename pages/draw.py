"""Draw: a canvas, and what the network in use reads there."""

import streamlit as st

from ui import canvas, guards

st.title("Draw")
run, epoch = guards.trained_run("reads what you draw")
st.markdown(f"One digit, as large as you like. **{run.record().name}** answers after every stroke.")
canvas.draw_and_read(run, epoch)
