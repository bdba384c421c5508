"""A row that keeps a drawing with its label, in one click."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np
import streamlit as st

from core.data.handwriting import Handwriting
from core.model.specs import CLASSES
from ui import messages
from ui.state import own_handwriting, session


def keep_form(image: np.ndarray, guess: int | None) -> None:
    """Draw a row that keeps a drawing with its label, in one click; one that is kept already shows its label and takes
    another.

    Args:
        image: the drawing as the network saw it, (28, 28) uint8.
        guess: the predicted digit; None for no digit.
    """
    with messages.caption():
        handwriting = own_handwriting.handwriting()
        place = handwriting.index(image)
        label = None if place is None else int(handwriting.labels[place])
        st.pills(
            "Into my handwriting, as a",
            range(CLASSES),
            default=label,
            **session.showing(f"keep-{zlib.crc32(image.tobytes())}", label, partial(_keep_chosen, image)),
            help="Click what it was meant to be; another click corrects it, a second one on the same takes it out again.",
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            with st.container(width="content"):  # else the caption would be seen twice, in its old and in its new place
                if label is None and guess is not None:
                    st.button(
                        f"Keep it as a {guess}", icon=":material/bookmark_add:", on_click=_keep, args=(image, guess)
                    )
                elif own_handwriting.can_undo_keeping(image):
                    st.button("Undo keeping", icon=":material/undo:", on_click=_undo, key="undo-keeping")
            st.caption(
                f"{len(handwriting):,} kept" + ("" if label is None else f", this as a {label}"), width="content"
            )


def _keep_chosen(image: np.ndarray, label: int | None) -> None:
    with messages.kept():
        if label is None:
            own_handwriting.change_handwriting(lambda now: removed(now, image))
        else:
            own_handwriting.keep_in_handwriting(image, label)


def removed(handwriting: Handwriting, image: np.ndarray) -> Handwriting:
    """Return the handwriting without a drawing, (28, 28) uint8; the same if it is not in it."""
    place = handwriting.index(image)
    return handwriting if place is None else handwriting.without(place)


def _keep(image: np.ndarray, label: int) -> None:
    with messages.kept():
        own_handwriting.keep_in_handwriting(image, label)


def _undo() -> None:
    with messages.kept():
        own_handwriting.undo_keeping()
