"""Numbers that are typed: what was refused, by its field, and those of a page that are part of neither draft nor run."""

from __future__ import annotations

from dataclasses import dataclass, field

from ui.state.session import part


@dataclass
class Numbers:
    """Numbers by their names; refused ones by their fields' keys, each with what its field stands for and why it can't be."""

    numbers: dict[str, float | None] = field(default_factory=dict)
    refused: dict[str, tuple[float | None, str, str]] = field(default_factory=dict)


def number(name: str, usual: float | None) -> float | None:
    """Return a number of the page that is part of neither draft nor run, by its name: as it was last set, else as is usual."""
    return part(Numbers).numbers.get(name, usual)


def set_number(name: str, value: float | None) -> None:
    part(Numbers).numbers[name] = value


def refused_number(key: str, value: float | None) -> tuple[str, str] | None:
    """Return what was typed into a number's field and refused, and why; None where that is not so, or the field has come to stand for
    another value since."""
    before, text, why_not = part(Numbers).refused.get(key, (None, "", ""))
    return (text, why_not) if why_not and before == value else None


def refuse_number(key: str, value: float | None, text: str, why_not: str) -> None:
    """Keep what was typed in its field, which goes on standing for `value`."""
    part(Numbers).refused[key] = value, text, why_not


def accept_number(key: str) -> None:
    part(Numbers).refused.pop(key, None)
