"""Questions to a worker: small frozen values that say what is to be found out, and find it out there.

To add one, write a frozen dataclass with a `work` method in the room that it belongs to. The engine needs no line for
it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

import numpy as np

Tell = Callable[[float], None]
IMAGE = (28, 28)


class Kept(Enum):
    """A value that `work` returns in place of an answer that is kept on disk and too large to be sent."""

    KEPT = "kept"


KEPT = Kept.KEPT


class Question:
    """A question; equal ones are asked once. Subclasses are frozen dataclasses of values that are equal and hashable.

    Attributes:
        needs_quiet: whether it is begun only where nothing trains, as what is timed has to be.
    """

    needs_quiet: ClassVar[bool] = False

    def work(self, tell: Tell) -> Any:
        """Find the answer out, in a worker.

        Args:
            tell: to be told now and then which share is done, 0..1; where it raises, the question was cancelled.

        Returns: the answer, which is not None, or `KEPT` where `kept` returns it from now on.
        """
        raise NotImplementedError

    def kept(self) -> Any | None:
        """Return the answer, where it is kept beside a run already; else None. Anywhere.

        Raises:
            RunDamaged: if it can't be read.
        """
        return None


def untold(share: float) -> None:
    """Tell nobody which share is done."""


def image_of(pixels: bytes) -> np.ndarray:
    """Return the picture, (28, 28) uint8, whose bytes a question holds, row by row."""
    return np.frombuffer(pixels, np.uint8).reshape(IMAGE)
