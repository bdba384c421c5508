"""The drawings that this visitor kept with their labels, wherever they are kept."""

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
    """The session's own drawings, where they are kept nowhere else, and the last change.

    Attributes:
        last_kept: the drawing that was kept last, (28, 28) uint8, and the label that it had before; None for none.
    """

    handwriting: Handwriting = field(default_factory=Handwriting)
    last_kept: tuple[np.ndarray, int | None] | None = None


def handwriting() -> Handwriting:
    """Return the drawings that were kept with their labels: one's own on one's own machine, else the visitor's, or the session's
    where that is all that is known of them.

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
    """Put what a function makes of the handwriting in its place.

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
    """Keep a drawing, (28, 28) uint8, with what it was meant to be. Raises as `change_handwriting`."""
    before = handwriting()
    place = before.index(image)
    change_handwriting(lambda now: now.kept(image, label))
    part(OwnHandwriting).last_kept = image, None if place is None else int(before.labels[place])


def can_undo_keeping(image: np.ndarray) -> bool:
    """Return whether the last change was to keep this drawing, (28, 28) uint8."""
    kept = part(OwnHandwriting).last_kept
    return kept is not None and np.array_equal(kept[0], image)


def undo_keeping() -> None:
    """Have the drawing that was kept last be as it was before: not kept, or with another label. Raises as `change_handwriting`."""
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
    """Have what is made from now on last as long as the session, and say so."""
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
