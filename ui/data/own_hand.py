"""One's own drawings on the Data page: how many of each digit, and the correction of their labels."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np
import streamlit as st

from core.data.handwriting import Handwriting
from core.model.specs import CLASSES
from core.views import charts
from ui import messages
from ui.state import own_handwriting, session
from ui.widgets import keep_drawing, kept_drawings


def summary(handwriting: Handwriting) -> None:
    """Show how many drawings there are of each digit, and the files."""
    if len(handwriting):
        counts = np.bincount(handwriting.labels, minlength=CLASSES)
        st.markdown(f"**{kept_drawings.counted(len(handwriting))} of your own hand**")
        st.plotly_chart(
            charts.class_balance(counts),
            key="hand-balance",
            config={"displayModeBar": False},
            alt="; ".join(f"{n} of {k}" for k, n in enumerate(counts)),
        )
        st.caption(kept_drawings.lasting())
    kept_drawings.files(handwriting)


def correct(handwriting: Handwriting, place: int) -> None:
    """Give a drawing another label, or remove it."""
    image, label = handwriting.images[place], int(handwriting.labels[place])
    shown = session.showing(f"label-{zlib.crc32(image.tobytes())}", label, partial(_relabel, image))
    st.pills("It is a", range(CLASSES), default=label, required=True, **shown)
    st.button("Remove it", icon=":material/delete:", on_click=_remove, args=(image,), key="remove-drawing")


def _relabel(image: np.ndarray, label: int) -> None:
    with messages.kept():
        own_handwriting.change_handwriting(lambda now: now.kept(image, label))


def _remove(image: np.ndarray) -> None:
    with messages.kept():
        own_handwriting.change_handwriting(lambda now: keep_drawing.removed(now, image))
