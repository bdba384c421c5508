"""The page's own components, for which Streamlit has no widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import streamlit as st


@cache
def component(module: str, html: str, css: str) -> Callable:
    """Return the component whose script stands beside a module, under the module's name; registered once for the process.

    Args:
        module: the module's `__file__`.
    """
    script = Path(module).with_suffix(".js")
    return st.components.v2.component(script.stem, html=html, css=css, js=script.read_text(encoding="utf-8"))


def place(sent: object, sizes: Sequence[int]) -> list[int] | None:
    """Return a place that a component's page sent, or None if it is none: a browser can send anything.

    Args:
        sent: the value as it came.
        sizes: the place's numbers are whole and from 0 to below these.
    """
    if not isinstance(sent, list) or len(sent) != len(sizes):
        return None
    return sent if all(type(k) is int and 0 <= k < size for k, size in zip(sent, sizes, strict=True)) else None
