"""This session: its memory, behind one key, and what concerns the session itself. The only file that touches
`st.session_state` and the page's address.

The memory consists of small dataclasses, its parts, each in a module of its own that gets it by `part`. A widget's key
is no storage: what must last belongs in a part, in the address or in the run.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import streamlit as st

from core.runs import visits
from ui.headers import visit_token

_KEY = "digitlab"
LATE_SECONDS = 2.0  # after the lab changed a widget, until every request has heard of it
MAX_UNDO = 100  # steps back, of the draft and of each canvas
Part = TypeVar("Part")


@dataclass
class Visitor:
    """The visitor, and whether what they make is kept beyond the session."""

    name: str = field(init=False)
    is_lasting: bool = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.is_lasting = _visitor()


@dataclass
class Conversation:
    """The messages and requests between the page and its visitor.

    Attributes:
        messages: for the top of the page at the next run of the script.
        destination: the page to go to next, with a message.
        is_painted: whether the browser has asked before.
        shown: keys of widgets by their names, and the values that they were drawn with.
        replaced: what widgets held before the lab changed them, by their names, and when that was (monotonic).
        wanted: questions that the visitor wants answered, or not.
        looked_up: the last answer to each kind of question, with the key of what it is about.
    """

    messages: list[str] = field(default_factory=list)
    destination: tuple[str, str] | None = None
    is_painted: bool = False
    shown: dict[str, tuple[str, Any]] = field(default_factory=dict)
    replaced: dict[str, tuple[Any, float]] = field(default_factory=dict)
    wanted: dict[object, bool] = field(default_factory=dict)
    looked_up: dict[str, tuple[tuple, Any]] = field(default_factory=dict)


def part(kind: type[Part]) -> Part:
    """Return this session's instance of a dataclass, made if there is none yet."""
    parts = _parts()
    name = f"{kind.__module__}.{kind.__qualname__}"  # the class itself is another one once its module is loaded anew
    if name not in parts:
        parts[name] = kind()
    return parts[name]


def _parts() -> dict[str, Any]:
    if _KEY not in st.session_state:
        st.session_state[_KEY] = {}
    return st.session_state[_KEY]


def parameter(name: str) -> str | None:
    """Return the address' value for this name; None if it has none."""
    return st.query_params.get(name)


def set_parameter(name: str, value: str | None) -> None:
    """Set the address' value for this name, or remove it."""
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value


def _visitor() -> tuple[str, bool]:
    """Return who visits, and whether they are known again: by their browser's cookie, else for this session alone."""
    token = visit_token(st.context.cookies)
    return visits.visitor(token or secrets.token_urlsafe()), token is not None


def widget_value(key: str) -> Any:
    """Return the current value of the widget with this key; for its own on_change callback."""
    return st.session_state[key]


def show_in_widget(key: str, value: Any) -> None:
    """Set the value of the widget with this key, which is about to be drawn; one that has the value is left alone.

    If the widget would otherwise begin with nothing, its first or its lowest value, give it this value as its default
    too: a browser that has lost a widget's value shows its default, and sends that.
    """
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value


def showing(
    name: str,
    value: Any,
    act: Callable[[Any], None],
    meaning: Callable[[Any], Any] = lambda held: held,
    *,
    stays: bool = False,
) -> dict[str, Any]:
    """Return `key` and `on_change` for a widget that is about to be drawn and is to hold `value`, as `show_in_widget` has it. A click
    on it gives `act` what it holds then.

    Whatever a page asks for, a fragment's clock too, brings what its widgets held when it was sent. Where the lab has changed or
    removed one meanwhile, Streamlit takes that for a click. So a widget that the lab changes gets another key, and one that is gone, or
    holds what it was drawn with, is not heard.

    Args:
        meaning: what a value stands for, where two of them are written differently and mean the same.
        stays: whether it is to stay the element that it is, with the focus on it, when the lab changes it. Then it keeps its key, and
            what it held before is not heard for LATE_SECONDS.
    """
    here = part(Conversation)
    key, _ = here.shown.get(name, (name, value))
    held = st.session_state.get(key, value)
    if meaning(held) != meaning(value):
        if stays:
            here.replaced[name] = meaning(held), time.monotonic()
        else:
            key = f"{name}-{secrets.token_hex(4)}"
    show_in_widget(key, value)
    here.shown[name] = key, value

    def is_late(chosen: Any) -> bool:
        before, since = here.replaced.get(name, (None, -math.inf))
        return meaning(chosen) == before and time.monotonic() - since < LATE_SECONDS

    def clicked() -> None:
        shown_key, before = here.shown[name]
        chosen = st.session_state.get(key, before)
        if key == shown_key and meaning(chosen) != meaning(before) and not is_late(chosen):
            here.shown[name] = key, chosen
            act(chosen)

    return {"key": key, "on_change": clicked}


def component_value(key: str) -> dict[str, Any]:
    """Return the value of a component of ours; nothing for one that is gone, about which a late request may still come."""
    return st.session_state.get(key) or {}


def visitor() -> str:
    """Return the visitor's name in `core.runs.visits`: the owner of the runs that they begin."""
    return part(Visitor).name


def is_lasting() -> bool:
    """Return whether what is made here is kept beyond the session."""
    return part(Visitor).is_lasting


def is_local() -> bool:
    """Return whether everything on this machine is this visitor's own."""
    return os.environ.get("DIGITLAB_LOCAL") == "1"


def is_wanted(question: object, by_itself: bool) -> bool:
    """Return whether this visitor wants a question answered: their last choice, or else `by_itself`."""
    return part(Conversation).wanted.get(question, by_itself)


def want(question: object, is_wanted: bool) -> None:
    """Note whether this visitor wants a question answered, for `is_wanted`."""
    part(Conversation).wanted[question] = is_wanted


def looked_up(question: str, key: tuple) -> Any:
    """Return the last answer to this kind of question, if it was for exactly this key; else None."""
    held = part(Conversation).looked_up.get(question)
    return held[1] if held and held[0] == key else None


def looked_up_last(question: str) -> Any:
    """Return the last answer to this kind of question, to be shown until the next one is there."""
    held = part(Conversation).looked_up.get(question)
    return held[1] if held else None


def keep_looked_up(question: str, key: tuple, found: Any) -> None:
    """Keep the answer to this kind of question, with the key it is for; None is no answer and is not kept."""
    if found is not None:
        part(Conversation).looked_up[question] = key, found


def say(message: str) -> None:
    """Keep a message for the top of the page at the next run of the script."""
    part(Conversation).messages.append(message)


def take_messages() -> list[str]:
    """Return the messages that were kept, once."""
    conversation = part(Conversation)
    messages, conversation.messages = conversation.messages, []
    return messages


def was_painted() -> bool:
    """Return whether the browser has asked before, which means that it has shown the first page; this call counts as
    asking.
    """
    conversation = part(Conversation)
    before, conversation.is_painted = conversation.is_painted, True
    return before


def head_for(page: str, message: str) -> None:
    """Ask the script to go to a page as soon as it may, with a message: a callback can't."""
    part(Conversation).destination = page, message


def take_destination() -> tuple[str, str] | None:
    """Return the page to go to, with its message, once; None for no such page."""
    conversation = part(Conversation)
    destination, conversation.destination = conversation.destination, None
    return destination
