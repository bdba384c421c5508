"""The sentence that a screen reader says about an answer that changes beside the pointer; the live pad has its own."""

from __future__ import annotations

import streamlit as st

from ui.widgets.components import component

_HTML = '<p role="status"></p>'
_CSS = "p { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }"


def answer(said: str) -> None:
    """Let a screen reader say a sentence whenever it changes, with no room taken on the page."""
    st.html("<style>.st-key-spoken { position: absolute; width: 1px !important; overflow: hidden; }</style>")
    with st.container(key="spoken"):
        component(__file__, _HTML, _CSS)(key="answer-spoken", data={"said": said}, height="content")
