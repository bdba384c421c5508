"""The one place where errors, and any other text that the lab did not write itself, become words on the page.

Errors and the session's messages are plain text; here they become Markdown that shows them unchanged.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import DigitLabError, EngineNotReady
from ui.state import session

MOST_CHARACTERS, MOST_OF_A_NAME = 1000, 80
_SEEN_NOT = "\N{WORD JOINER}"  # without width: it parts what would else be a directive, an icon, an emoji, an arrow or an address
# What Markdown gives a meaning wherever it stands: emphasis, code, links, HTML, entities, strikethrough, mathematics.
_ANYWHERE = re.compile(r"[\\*`\[\]<~$]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")
_AT_THE_BEGINNING = re.compile(r"^(?:[>#=+-]|\d+(?=[.)]))")
_PARTED = re.compile(r":(?=[^\s\d]|[\w+-]+:)|(?<!\d):(?=\d)|@(?=\w)|www(?=\.)|[-<>~](?=[-=>])", re.IGNORECASE)
_RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]+")


@contextmanager
def shown() -> Iterator[None]:
    """Show what a user can mend as a message in place of the rest; let everything else crash."""
    try:
        yield
    except EngineNotReady as error:
        st.info(plain(str(error)), icon=":material/hourglass_top:")
    except DigitLabError as error:
        st.error(plain(str(error)), icon=":material/error:")


@contextmanager
def caption() -> Iterator[None]:
    """Show errors like `shown`, in small type, for what stands beside the answer."""
    try:
        yield
    except DigitLabError as error:
        st.caption(plain(str(error)))


def waiting() -> None:
    """Show the messages that the last run of the script left."""
    for message in session.take_messages():
        st.warning(plain(message), icon=":material/info:")


@contextmanager
def kept() -> Iterator[None]:
    """Keep an error of a callback for the top of the page, and draw the whole page.

    Callbacks run before the page; a button in a fragment would otherwise have drawn that fragment alone.
    """
    try:
        yield
    except DigitLabError as error:
        session.say(str(error))
        st.rerun()


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return Markdown that shows a text as it is, on one line: whatever a stranger, a file or an exception put into it.

    Marks that would turn the text around it are left out, and letters that run from right to left turn only themselves.

    Args:
        most: characters of the text; what is beyond becomes an ellipsis.
    """
    text = shortened(text, most)
    text = _ANYWHERE.sub(lambda found: f"\\{found[0]}", text)
    text = _AT_THE_BEGINNING.sub(lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", text)
    text = _PARTED.sub(lambda found: found[0] + _SEEN_NOT, text)
    return _RIGHT_TO_LEFT.sub(lambda found: f"\N{FIRST STRONG ISOLATE}{found[0]}\N{POP DIRECTIONAL ISOLATE}", text)


def name(text: str) -> str:
    """Return Markdown that shows a name as it is; a long one's beginning."""
    return plain(text, MOST_OF_A_NAME)


def shortened(text: str, most: int = MOST_OF_A_NAME) -> str:
    """Return a text on one line, without characters that control how others are shown, for where no Markdown is used."""
    text = " ".join("".join(sign for sign in text if not _controls(sign)).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def file_name(text: str) -> str:
    """Return a name as a part of a file's name on any system."""
    return re.sub(r'[\\/:*?"<>|]', "_", shortened(text))


def _controls(sign: str) -> bool:
    """Return whether a character changes how others are shown, and is no space; joiners that scripts and emoji need
    don't count.
    """
    return (
        unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Cn")
        and not sign.isspace()
        and sign not in "\u200c\u200d"
    )
