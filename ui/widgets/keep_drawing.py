"""A row that keeps a drawing with its label, in one click."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np
import streamlit as st

from core.data.handwriting import Handwriting
from core.ink.preparation import Ink
from core.model.specs import CLASSES
from ui import messages
from ui.state import drawing_in_use, own_handwriting, session


def keep_form(image: np.ndarray, guess: int | None) -> None:
    """Draw a row that keeps a drawing with its label, in one click; one that is kept already shows its label and takes
    another.

    A click is about what is drawn when it arrives: on a slow line the row of an earlier drawing may stand there for a while.

    Args:
        image: the drawing as the network saw it, (28, 28) uint8.
        guess: the predicted digit; None for no digit.
    """
    with messages.caption():
        handwriting = own_handwriting.handwriting()
        place = handwriting.index(image)
        label = None if place is None else int(handwriting.labels[place])
        shown = drawing_in_use.ink()
        st.pills(
            "Into my handwriting, as a",
            range(CLASSES),
            default=label,
            **session.showing(f"keep-{zlib.crc32(image.tobytes())}", label, partial(_keep_chosen, shown, image)),
            help="Click what it was meant to be; another click corrects it, a second one on the same takes it out again.",
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            with st.container(width="content"):  # else the caption would be seen twice, in its old and in its new place
                if label is None and guess is not None:
                    st.button(
                        f"Keep it as a {guess}",
                        icon=":material/bookmark_add:",
                        on_click=_keep,
                        args=(shown, image, guess),
                    )
                elif own_handwriting.can_undo_keeping(image):
                    st.button("Undo keeping", icon=":material/undo:", on_click=_undo, key="undo-keeping")
            st.caption(
                f"{len(handwriting):,} kept" + ("" if label is None else f", this as a {label}"), width="content"
            )


def _keep_chosen(shown: Ink | None, image: np.ndarray, label: int | None) -> None:
    is_here = drawing_in_use.is_ink(shown)
    with messages.kept():
        if label is not None:
            here = image if is_here else drawing_in_use.image()
            if here is not None:
                own_handwriting.keep_in_handwriting(here, label)
        elif is_here:
            own_handwriting.change_handwriting(lambda now: removed(now, image))


def removed(handwriting: Handwriting, image: np.ndarray) -> Handwriting:
    """Return the handwriting without a drawing, (28, 28) uint8; the same if it is not in it."""
    place = handwriting.index(image)
    return handwriting if place is None else handwriting.without(place)


def _keep(shown: Ink | None, image: np.ndarray, guess: int) -> None:
    if drawing_in_use.is_ink(shown):  # else another was guessed
        with messages.kept():
            own_handwriting.keep_in_handwriting(image, guess)


def _undo() -> None:
    with messages.kept():
        own_handwriting.undo_keeping()
