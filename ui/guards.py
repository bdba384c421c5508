"""What a page needs before it can show anything; where it is missing, the page says so and shows the way."""

from __future__ import annotations

import streamlit as st

from core import engine, runs
from ui import navigation, state


def trained_run(purpose: str) -> tuple[runs.Run, int]:
    """The run in use and its last finished epoch; the page stops here where there is none.

    Args:
        purpose: what such a network does on this page, for the sentence.
    """
    run = state.run_in_use()
    if run is None:
        _stop(f"There is no network yet that {purpose}.", "Train one")
    progress = engine.shared().progress(run)
    if not progress.history:
        _stop(
            f"The network in use hasn't finished its first epoch ({progress.state}). After it, it {purpose}.",
            "Watch it learn" if not progress.state.is_over else "Train another",
        )
    return run, progress.history[-1].epoch


def _stop(said: str, way: str) -> None:
    st.info(said, icon=":material/model_training:")
    st.page_link(navigation.TRAIN, label=way, icon=":material/arrow_forward:")
    st.stop()
