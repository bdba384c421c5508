"""The places that this visitor looks at: the digit being explained and the unit in it, places in sheets of digits,
previews.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from core.data.splits import Split
from ui.state.session import part

EXPLAINED_FROM = tuple(one for one in Split if one is not Split.MINE)


@dataclass
class Exploring:
    """The places that this visitor looks at. Each field is explained by the function of its name."""

    explained: tuple[Split, int | None] = (Split.VALIDATION, None)
    upload: np.ndarray | None = None
    explained_unit: tuple[str, tuple[int, ...]] = ("", ())
    pointed_unit: tuple[int, ...] | None = None
    places: dict[str, int] = field(default_factory=dict)
    clicked_places: dict[str, int] = field(default_factory=dict)
    watched_digit: int = 7
    preview_seed: int = 0


def explained() -> tuple[Split, int | None]:
    """Return where the digit that Explain is about comes from, one of `EXPLAINED_FROM`, and its index there; None for the first."""
    return part(Exploring).explained


def explain_digit(source: Split, index: int | None = None) -> None:
    """Choose the digit that Explain is about.

    Args:
        source: one of `EXPLAINED_FROM`.
        index: into the images of the training file or of the test file; for a drawing its number. None for the first, and for
            the newest drawing.

    Raises:
        ValueError: if the source is none of these.
    """
    if source not in EXPLAINED_FROM:
        raise ValueError(f"Expected a source among {', '.join(EXPLAINED_FROM)}, received {source!r}.")
    part(Exploring).explained = source, None if index is None else int(index)


def explained_unit() -> tuple[str, tuple[int, ...]]:
    """Return the layer and the place in it whose arithmetic is shown; the network in use may not have it."""
    return part(Exploring).explained_unit


def explain_unit(layer: str, place: tuple[int, ...]) -> None:
    """Show another number's arithmetic.

    Args:
        place: (row, column, channel) or (unit,).
    """
    part(Exploring).explained_unit = layer, place


def pointed_unit() -> tuple[int, ...] | None:
    """Return the place under the pointer on the map, whose arithmetic replaces the chosen one's meanwhile; None if
    there is none.
    """
    return part(Exploring).pointed_unit


def point_at_unit(place: tuple[int, ...] | None) -> None:
    """Note the place under the pointer on the map, (row, column, channel) or (unit,); None if it left the map."""
    part(Exploring).pointed_unit = place


def upload() -> np.ndarray | None:
    """Return the picture that was uploaded last, prepared as MNIST's were: (28, 28) uint8."""
    return part(Exploring).upload


def keep_upload(image: np.ndarray) -> None:
    """Keep an uploaded picture, prepared as MNIST's were, (28, 28) uint8, in place of the last one."""
    part(Exploring).upload = image


def place(order: str) -> int:
    """Return which digit of an ordered selection is looked at, counted from 0."""
    return part(Exploring).places.get(order, 0)


def go_to_place(order: str, place: int) -> None:
    """Look at another digit of an ordered selection, counted from 0."""
    part(Exploring).places[order] = place


def click_place(order: str, place: int | None) -> None:
    """Go to the place that was clicked on a sheet.

    Args:
        order: the selection's name.
        place: None for a second click on the same digit, by which a chart deselects it: that digit is chosen again,
            even if the arrow keys have led away from it meanwhile.
    """
    exploring = part(Exploring)
    if place is not None:
        exploring.clicked_places[order] = place
    go_to_place(order, exploring.clicked_places.get(order, 0))


def watched_digit() -> int:
    """Return the digit, 0..9, whose feature maps this visitor wants to see."""
    return part(Exploring).watched_digit


def watch_digit(digit: int) -> None:
    """Choose the digit, 0..9, whose feature maps are shown during a training."""
    part(Exploring).watched_digit = digit


def preview_seed() -> int:
    """Return which of many possible changes the augmentation's preview shows."""
    return part(Exploring).preview_seed


def other_preview() -> None:
    """Show other random changes in the augmentation's preview."""
    part(Exploring).preview_seed += 1
