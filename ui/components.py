"""The page's own components: what Streamlit has no widget for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import streamlit as st


@cache
def component(name: str, html: str, css: str) -> Callable:
    """A component whose script is the file of its name beside this one; registered once for the process."""
    script = Path(__file__).with_name(f"{name}.js").read_text(encoding="utf-8")
    return st.components.v2.component(name, html=html, css=css, js=script)
