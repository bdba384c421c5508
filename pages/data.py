"""Data: the digits themselves, by split and class, one of them large."""

import streamlit as st

from ui import browser, digits, state

st.title("Data")
dataset = digits.dataset()
selection = browser.choose(dataset, state.draft().experiment.training)

sheet, detail = st.columns(2, gap="large")
with sheet:
    index = browser.sheet(selection)
with detail:
    browser.large(selection, index)
browser.balance(selection)
