"""The one piece that waits for an answer: it shows the progress with *Cancel*, or the error with *Try again*."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.engine import engine
from core.engine.cluster import Phase
from core.errors import DigitLabError, EngineNotReady, NotExplainable
from core.runs.question import Question
from ui import messages
from ui.state import session, visit

POLL_SECONDS = 0.5
READY_SECONDS = 1.0


def once_ready(part: Callable[..., None], *arguments: Any) -> None:
    """Draw a part of a page as a fragment, again every second while the engine starts. What is changed in it is kept.

    Args:
        part: takes the arguments, and whether it was drawn before the engine was ready: then it reruns the page once that is.
    """
    was_waiting = engine.shared().status().phase is not Phase.READY

    def kept_and_drawn() -> None:
        visit.keep_visit()
        part(*arguments, was_waiting)

    st.fragment(kept_and_drawn, run_every=READY_SECONDS if was_waiting else None)()


def come_back() -> None:
    """Draw the page again in a second: the engine is ready, but what the page asked for was not there in time."""
    st.fragment(_come_back, run_every=READY_SECONDS)([])


def _come_back(calls: list[None]) -> None:
    """Rerun the page at the second call, which the clock makes with the same list."""
    if calls:
        st.rerun()
    calls.append(None)


def result(question: Question, key: str, said: str, offer: str, is_begun: bool = True) -> Any:
    """Return the answer to a question. While it is being found, None, and its progress stands here with a button that ends it; where
    it was ended, or isn't to begin by itself, None, and the button that begins it.

    Args:
        key: tells several on a page apart.
        said: what is going on, beside the progress.
        offer: the label of the button that begins it.
        is_begun: whether it begins by itself.
    """
    if not session.is_wanted(question, is_begun):
        st.button(offer, icon=":material/play_arrow:", on_click=session.want, args=(question, True), key=f"begin-{key}")
        return None
    try:
        found = engine.shared().ask(question)
    except EngineNotReady:
        found = None
    except NotExplainable as error:  # an answer, which doesn't change any more
        st.info(messages.plain(str(error)), icon=":material/info:")
        return None
    except DigitLabError as error:
        session.want(question, False)
        st.error(messages.plain(str(error)), icon=":material/error:")
        st.button("Try again", on_click=session.want, args=(question, True), key=f"again-{key}")
        return None
    if found is None:
        _progress(question, key, said)
    return found


@st.fragment(run_every=POLL_SECONDS)
def _progress(question: Question, key: str, said: str) -> None:
    try:
        if engine.shared().ask(question) is not None:
            st.rerun()
        said = f"{said} …"
    except EngineNotReady as error:
        said = messages.plain(str(error))
    except NotExplainable:
        st.rerun()
    except DigitLabError as error:
        session.want(question, False)
        session.say(str(error))
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(engine.shared().share(question), said)
        if st.button("Cancel", icon=":material/close:", key=f"cancel-{key}"):
            session.want(question, False)
            engine.shared().cancel(question)
            st.rerun()
