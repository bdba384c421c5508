"""Numbers that are typed: those that were refused, by their fields, and those of a page that belong to neither draft
nor run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ui.state.session import part


@dataclass
class Numbers:
    """The numbers by their names; refused ones by their fields' keys, each with its field's value and the reason."""

    numbers: dict[str, float | None] = field(default_factory=dict)
    refused: dict[str, tuple[float | None, str, str]] = field(default_factory=dict)


def number(name: str, usual: float | None) -> float | None:
    """Return a number of the page that belongs to neither draft nor run, as it was last set, or else `usual`."""
    return part(Numbers).numbers.get(name, usual)


def set_number(name: str, value: float | None) -> None:
    """Set a number of the page, by its name; None for an empty field."""
    part(Numbers).numbers[name] = value


def refused_number(key: str, value: float | None) -> tuple[str, str] | None:
    """Return the refused text in a number's field and the reason; None if there is none, or the field's value has
    changed since.
    """
    before, text, why_not = part(Numbers).refused.get(key, (None, "", ""))
    return (text, why_not) if why_not and before == value else None


def refuse_number(key: str, value: float | None, text: str, why_not: str) -> None:
    """Keep the refused text in its field, which goes on standing for `value`."""
    part(Numbers).refused[key] = value, text, why_not


def accept_number(key: str) -> None:
    """Forget the refused text of a number's field, by the field's key."""
    part(Numbers).refused.pop(key, None)
