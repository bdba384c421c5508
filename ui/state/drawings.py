"""The drawings of this session, which can be brought back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from core.ink.preparation import Ink
from core.ink.strokes import Sheet
from ui.state.session import part

DRAW_SOURCES = ("Canvas", "Live pad", "Picture", "Camera")
MOST_DRAWN = 24  # drawings of a session that are kept to be brought back


@dataclass(frozen=True, eq=False)
class Drawn:
    """A drawing of this session.

    Attributes:
        number: tells drawings apart.
        source: one of `DRAW_SOURCES`.
        ink: the sheet with its strokes, or of a picture (h, w) uint8.
        image: the prepared drawing, (28, 28) uint8.
        digit: the prediction; None for no digit.
    """

    number: int
    source: str
    ink: Sheet | np.ndarray
    image: np.ndarray
    digit: int | None


@dataclass
class Drawings:
    """The number of drawings begun, and those that are kept, the newest last."""

    begun: int = 0
    drawn: list[Drawn] = field(default_factory=list)


def drawn() -> list[Drawn]:
    """Return the drawings of this session, the newest last."""
    return part(Drawings).drawn


def keep_drawn(number: int, source: str, ink: Ink, image: np.ndarray, digit: int | None) -> None:
    """Remember a drawing among those of this session; one with a known number replaces its earlier state.

    Args: as the fields of `Drawn`, but a picture's ink is (h, w) float32.
    """
    drawings = part(Drawings)
    kept = ink if isinstance(ink, Sheet) else np.rint(ink * 255).astype(np.uint8)
    new = Drawn(number, source, kept, image, digit)
    others = [one for one in drawings.drawn if one.number != number]
    drawings.drawn = [*others[1 - MOST_DRAWN :], new]


def begin_drawing() -> int:
    """Return the number of a drawing that begins, which tells it apart from all others of this session."""
    part(Drawings).begun += 1
    return part(Drawings).begun
