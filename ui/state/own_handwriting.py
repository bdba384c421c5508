"""The drawings that this visitor kept with their labels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from core.data import handwriting as own_hand
from core.data.handwriting import Handwriting
from core.errors import DataError, StorageFull
from core.runs import registry, visits
from ui.state import session
from ui.state.session import Visitor, part


@dataclass
class OwnHandwriting:
    """The session's own drawings, if they are kept nowhere else, and the last change.

    Attributes:
        last_kept: the drawing that was kept last, (28, 28) uint8, and the label that it had before; None for none.
    """

    handwriting: Handwriting = field(default_factory=Handwriting)
    last_kept: tuple[np.ndarray, int | None] | None = None


def handwriting() -> Handwriting:
    """Return the drawings that were kept with their labels.

    They are the machine's on one's own machine, or else the visitor's, or else the session's.

    Raises:
        DataError: if the file of one's own machine can't be used.
    """
    if session.is_local():
        return own_hand.at(registry.root())
    if session.is_lasting():
        try:
            return own_hand.at(visits.folder(registry.root(), session.visitor()))
        except DataError:
            stop_lasting()
    return part(OwnHandwriting).handwriting


def change_handwriting(changed: Callable[[Handwriting], Handwriting]) -> None:
    """Replace the handwriting by what a function returns for it.

    Raises:
        DataError: if there is no room for more, or the file of one's own machine can't be used.
        StorageFull: if that can't be written.
    """
    if session.is_local():
        own_hand.change(registry.root(), changed)
    elif not _change_for_good(changed):
        part(OwnHandwriting).handwriting = changed(part(OwnHandwriting).handwriting)
    part(OwnHandwriting).last_kept = None


def keep_in_handwriting(image: np.ndarray, label: int) -> None:
    """Keep a drawing, (28, 28) uint8, with its label. Raises as `change_handwriting`."""
    before = handwriting()
    place = before.index(image)
    change_handwriting(lambda now: now.kept(image, label))
    part(OwnHandwriting).last_kept = image, None if place is None else int(before.labels[place])


def can_undo_keeping(image: np.ndarray) -> bool:
    """Return whether the last change was to keep this drawing, (28, 28) uint8."""
    kept = part(OwnHandwriting).last_kept
    return kept is not None and np.array_equal(kept[0], image)


def undo_keeping() -> None:
    """Undo the last change of the drawings kept: remove that drawing, or give it its earlier label. Raises as
    `change_handwriting`.
    """
    if part(OwnHandwriting).last_kept is None:
        return
    image, label = part(OwnHandwriting).last_kept

    def undone(now: Handwriting) -> Handwriting:
        place = now.index(image)
        if place is None:
            return now
        return now.without(place) if label is None else now.relabelled(place, label)

    change_handwriting(undone)


def stop_lasting() -> None:
    """Keep what is made from now on for this session only, and tell the visitor."""
    with suppress(DataError):
        part(OwnHandwriting).handwriting = own_hand.at(visits.folder(registry.root(), session.visitor()))
    part(Visitor).is_lasting = False
    session.say(
        "What you draw, keep and build from now on lasts only as long as this tab is open, since the server can't keep it. Download "
        "your handwriting and copy Build's link to have them again."
    )


def _change_for_good(changed: Callable[[Handwriting], Handwriting]) -> bool:
    """Change the visitor's handwriting beyond the session; return whether that can be."""
    if not session.is_lasting():
        return False
    try:
        own_hand.change(visits.folder(registry.root(), session.visitor()), changed)
    except StorageFull:
        stop_lasting()
        return False
    visits.keep(registry.root(), session.visitor())  # that they were here
    return True
