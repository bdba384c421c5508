"""The fields of a page in an AppTest: what they hold, and how they are filled in. Numbers are typed as text."""

from __future__ import annotations

from core.model.typed_numbers import decimal


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
