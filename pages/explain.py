"""Explain: one digit, looked at through the network in use, from its first sum to its last doubt."""

import streamlit as st

from ui import digits, guards
from ui.explain import explain

st.title("Explain")
network = guards.trained_network("is explained here")
dataset = digits.dataset()

source = explain.choose_source(dataset, network.run)
choice, answer = st.columns(2, gap="large")
with choice:
    image, said = explain.choose_digit(dataset, network.run, source)
    network = explain.choose_step(network)
tour = explain.tour(network, image)
with answer:
    digit = explain.answer(image, said, network.step, tour.probabilities)

match explain.choose_view():
    case explain.WHY:
        explain.why(network, image, digit)
    case explain.MIND:
        explain.mind(network, image, tour.probabilities)
    case _:
        explain.layers(network, image, tour)
