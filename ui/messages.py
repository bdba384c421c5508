"""The one place where what went wrong becomes words on the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import DigitLabError, EngineNotReady
from ui import state


@contextmanager
def shown() -> Iterator[None]:
    """Show what a user can mend as a message in place of the rest; let everything else crash."""
    try:
        yield
    except EngineNotReady as error:
        st.info(str(error), icon=":material/hourglass_top:")
    except DigitLabError as error:
        st.error(str(error), icon=":material/error:")


@contextmanager
def caption() -> Iterator[None]:
    """As `shown`, in small, for what goes on beside the answer."""
    try:
        yield
    except DigitLabError as error:
        st.caption(str(error))


def waiting() -> None:
    """What the last run of the script left to say."""
    for message in state.take_messages():
        st.warning(message, icon=":material/info:")


@contextmanager
def kept() -> Iterator[None]:
    """For callbacks, which run before the page: keep what went wrong for its top."""
    try:
        yield
    except DigitLabError as error:
        state.say(str(error))
