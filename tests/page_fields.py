"""What a page in an AppTest holds: its fields, and how they are filled in, and what its session remembers. Numbers are typed as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core.model.typed_numbers import decimal
from ui.state import session


def held(field) -> object:
    """Return a field's value: a number, or None, where it is one for numbers."""
    if field.type != "text_input":
        return field.value
    return decimal(field.value) if field.value else None


def held_by_widgets(at):
    """Return what the widgets of a page hold, as whatever it asks for brings it along; of buttons a browser tells clicks only."""
    states = at._tree.get_widget_states()
    return type(states)(widgets=[one for one in states.widgets if one.WhichOneof("value") != "trigger_value"])


def fill(field, value: object):
    """Set a field to a value, as if by hand; a number is typed. Return the field, which is to be run."""
    return field.set_value(str(value) if field.type == "text_input" else value)


def part(at, kind: type[session.Part]) -> session.Part:
    """Return a part of what a page's session remembers, to look at or to change."""
    with in_session(at):
        return session.part(kind)


@contextmanager
def in_session(at) -> Iterator[None]:
    """Have the functions of `ui.state` be about a page's session."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(session, "_parts", lambda: at.session_state[session._KEY])
        yield
