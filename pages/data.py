"""Data: the digits themselves: one by one, the dataset overview, and a map of them."""

import streamlit as st

from core.data.splits import Split
from ui import digits, guards
from ui.data import browser, digit_map, overview, own_hand
from ui.state import own_handwriting

st.title("Data")
dataset = digits.dataset()
network = guards.network_in_use()
training = browser.training_in_use(network)
views = ["Browse", "The whole set", "Map"]
view = st.segmented_control(
    "View", views, default="Browse", required=True, key="view", bind="query-params", label_visibility="collapsed"
)

if view == "The whole set":
    overview.shape(dataset)
    balance, greys = st.columns([3, 2], gap="large")
    with balance:
        overview.balance(dataset, training)
    with greys:
        overview.greys(dataset)
    overview.means(dataset)
    overview.traits(dataset)
    overview.near_duplicates(dataset)
elif view == "Map":
    job, colouring = digit_map.choose(dataset, network)
    digit_map.panel(dataset, job, colouring, network)
else:
    selection = browser.choose(dataset, training, network)
    if selection is not None:
        sheet, detail = st.columns(2, gap="large")
        with sheet:
            index = browser.sheet(selection)
            if selection.split == Split.MINE:
                own_hand.summary(own_handwriting.handwriting())
        with detail:
            browser.large(selection, index)
            if selection.split == Split.MINE and index is not None:
                own_hand.correct(own_handwriting.handwriting(), index)
        read, alike = st.columns(2, gap="large")
        with read:
            browser.reading(selection, index, network)
        with alike:
            browser.neighbours(dataset, selection, index, network)
