"""The data of components: dicts and lists, which Streamlit need not compare with data frames.

Streamlit 1.67 looks through what a component is sent for data frames, and loads pandas and PyArrow to tell a dict from one. That
takes the first page of a new server over half a second, and no component here is sent any.
"""

from __future__ import annotations

from streamlit.components.v2.bidi_component import serialization

_is_dataframe_like = serialization.is_dataframe_like


def expect() -> None:
    """Have Streamlit take dicts and lists in a component's data for what they are."""
    serialization.is_dataframe_like = _is_data_frame


def _is_data_frame(value: object) -> bool:
    return not isinstance(value, dict | list) and _is_dataframe_like(value)
