"""The app's pages: their files, titles and sections."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_FOLDER = Path(__file__).parent.parent / "pages"

# Whole paths: Streamlit takes a page's path as relative to the script it runs, which is not in the pages' parent folder.
START, DATA, BUILD, TRAIN, EVALUATE, EXPLAIN, DRAW = (
    str(_FOLDER / f"{name}.py") for name in ("start", "data", "build", "train", "evaluate", "explain", "draw")
)


def navigation() -> st.Page:
    """Draw the menu; the page to run."""
    return st.navigation(
        {
            "": [st.Page(START, title="Start", icon=":material/home:", default=True)],
            "Prepare": [
                st.Page(DATA, title="Data", icon=":material/grid_on:"),
                st.Page(BUILD, title="Build", icon=":material/account_tree:"),
            ],
            "Learn": [
                st.Page(TRAIN, title="Train", icon=":material/model_training:"),
                st.Page(EVALUATE, title="Evaluate", icon=":material/fact_check:"),
                st.Page(EXPLAIN, title="Explain", icon=":material/psychology:"),
            ],
            "Play": [st.Page(DRAW, title="Draw", icon=":material/draw:")],
        }
    )
