"""The fields of a page in an AppTest: what they hold, and how they are filled in. Numbers are typed as text."""

from __future__ import annotations

from core.typed_numbers import decimal


def held(field) -> object:
    """Return a field's value: a number, or None, where it is one for numbers."""
    if field.type != "text_input":
        return field.value
    return decimal(field.value) if field.value else None


def fill(field, value: object):
    """Set a field to a value, as if by hand; a number is typed. Return the field, which is to be run."""
    return field.set_value(str(value) if field.type == "text_input" else value)
