"""Explain: one digit, looked at through the network in use, from its first sum to its last doubt."""

import streamlit as st

from ui import digits, guards
from ui.explain import explain

st.title("Explain")
run, step = guards.trained_run("is explained here")
dataset = digits.dataset()

source = explain.choose_source(dataset, run)
choice, answer = st.columns(2, gap="large")
with choice:
    image, said = explain.choose_digit(dataset, run, source)
    step = explain.choose_step(run, step)
tour = explain.tour(run, step, image)
with answer:
    digit = explain.answer(image, said, step, tour.probabilities)

match explain.choose_view():
    case explain.WHY:
        explain.why(run, step, image, digit)
    case explain.MIND:
        explain.mind(run, step, image, tour.probabilities)
    case _:
        explain.layers(run, step, image, tour)
