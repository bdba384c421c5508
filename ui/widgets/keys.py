"""The keyboard's shortcuts: what is typed into a field is never taken for one."""

from __future__ import annotations

import streamlit as st

from ui.widgets.components import component


def keep_for_fields() -> None:
    """Let fields, sliders and menus keep the keys that mean something there. Takes no room on the page."""
    st.html("<style>.st-key-keys { position: absolute; width: 1px !important; overflow: hidden; }</style>")
    with st.container(key="keys"):
        component(__file__, "<span></span>", "")(key="keys-kept", height="content")
