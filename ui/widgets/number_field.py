"""A field for a number, typed as people write it.

It is a text field: in one for numbers (`input type=number`) a browser drops the comma of "0,001", and the page hears of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from core.errors import SpecError
from core.model import typed_numbers
from ui import messages
from ui.state import numbers, session

_HOW = {
    int: "1000, 1,000 and 1.000 are the same here.",
    float: "0.001, 0,001 and 1e-3 are the same here; a comma is never one of thousands.",
}


def number_field(
    label: str,
    value: float | None,
    low: float | None,
    high: float | None,
    key: str,
    on_number: Callable[[Any], None],
    *,
    kind: type[int] | type[float] = int,
    may_be_empty: bool = False,
    disabled: bool = False,
    help: str = "",
    note: str = "",
    placeholder: str = "",
    width: int | str = "stretch",
) -> None:
    """Draw the field. What is typed goes to `on_number` as an int or a float, as `kind` says; what is no number within the bounds
    stays in the field with a sentence below, and changes nothing.

    Args:
        value: what the field stands for, None for nothing; where it changes, the field does.
        may_be_empty: an empty field is None; else it goes back to `value`.
        note: Markdown, below the field.
    """

    def typed(text: str) -> None:
        numbers.accept_number(key)
        if not text.strip():
            if may_be_empty:
                on_number(None)
            return
        try:
            new = typed_numbers.within(text, kind, low, high)
        except SpecError as error:
            numbers.refuse_number(key, value, text, str(error))
        else:
            on_number(new)

    written = typed_numbers.written(value)
    text, why_not = numbers.refused_number(key, value) or (written, "")
    with st.container(gap="xxsmall", width=width):
        said = f"{help} {_HOW[kind]}".strip() if kind is float or high is None or high >= 1000 else help
        st.text_input(
            label,
            text,
            **session.showing(key, text, typed, partial(_meant, kind), stays=True),
            help=said,
            placeholder=placeholder,
            autocomplete="off",
            disabled=disabled,
        )
        if why_not:
            st.caption(f":red[{messages.plain(why_not)}{f' It stays {written}.' if written else ''}]")
        if note:
            st.caption(note)


def _meant(kind: type[int] | type[float], text: str) -> float | str:
    """Return the number that a text is for; a text that is none is itself."""
    try:
        return typed_numbers.within(text, kind, None, None)
    except SpecError:
        return text
