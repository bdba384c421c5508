"""Pictures that replace a drawing: the ink found in the last one, and the files that were used."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ui.state.session import part

MOST_FILES_KNOWN = 1000  # ids of files that were read


@dataclass
class Photos:
    """The picture that was given last, and what became of those before.

    Attributes:
        ink: what was found in it, (h, w) float32.
        number: that drawing's number.
        photo: the picture itself, (h, w) uint8, with its drawing's number.
        files: those that were read, by Streamlit's ids.
        faults: what was wrong with the last of them.
        unread: drawings that no network has read yet, each with its number and source.
    """

    ink: np.ndarray | None = None
    number: int = 0
    photo: tuple[int, np.ndarray] | None = None
    files: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unread: list[tuple[int, str, np.ndarray]] = field(default_factory=list)


def find_ink_anew(ink: np.ndarray) -> None:
    """Replace the ink of the picture that is the drawing, (h, w) float32."""
    part(Photos).ink = ink


def has_picture_file(file_id: str) -> bool:
    """Return whether a file was used already, by Streamlit's id."""
    return file_id in part(Photos).files


def note_picture_files(file_ids: list[str], faults: list[str]) -> None:
    """Remember files that were just used, and the messages about them until other files come."""
    photos = part(Photos)
    photos.files = [*photos.files, *file_ids][-MOST_FILES_KNOWN:]
    photos.faults = faults


def picture_faults() -> list[str]:
    """Return the messages about the files used last."""
    return part(Photos).faults


def unread_pictures() -> list[tuple[int, str, np.ndarray]]:
    """Return the pictures that were not classified yet, each with its drawing's number and its source, one of
    `DRAW_SOURCES`.
    """
    return part(Photos).unread
