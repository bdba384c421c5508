"""A lean start: what Streamlit 1.67 does for the first page of a new server, and need not do here.

It looks through what a component is sent for data frames, and loads pandas and PyArrow to tell a dict from one: half a second, and no
component here is sent any. And it reads the source of its whole call stack to see whether it was called from Python's prompt.
"""

from __future__ import annotations

from streamlit import delta_generator
from streamlit.components.v2.bidi_component import serialization

_is_dataframe_like = serialization.is_dataframe_like


def prepare() -> None:
    """Have Streamlit take a component's dicts and lists for what they are, and not wonder whether a server is serving the page."""
    serialization.is_dataframe_like = _is_data_frame
    delta_generator._use_warning_has_been_displayed = True


def _is_data_frame(value: object) -> bool:
    return not isinstance(value, dict | list) and _is_dataframe_like(value)
