"""Leafing through the digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core import charts, data
from core.data import Dataset
from core.specs import CLASSES, Training

COLUMNS, ROWS = 12, 8
PER_PAGE = COLUMNS * ROWS
SPLITS = ("Training", "Validation", "Test")


@dataclass(frozen=True)
class Selection:
    """Which images are looked at: `indices` (n,) into `images` (m, 28, 28) and `labels` (m,)."""

    split: str
    digit: int | None
    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    counts: np.ndarray


def choose(dataset: Dataset, training: Training) -> Selection:
    """Controls for split and digit, and what they leave. The splits are those of the training that is being prepared."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = st.segmented_control(
            "Split", SPLITS, default=SPLITS[0], required=True, key="split", bind="query-params"
        )
        split = split or SPLITS[0]  # an address may say `?split=`
        digit = st.pills("Digit", range(CLASSES), key="digit", bind="query-params")
    if split == "Test":
        images, labels, indices = dataset.x_test, dataset.y_test, np.arange(len(dataset.y_test))
    else:
        images, labels = dataset.x_train, dataset.y_train
        trained_on, held_out = _split(
            labels, len(labels), training.train_size, training.validation_split, training.seed
        )
        indices = trained_on if split == "Training" else held_out
    counts = np.bincount(labels[indices], minlength=CLASSES)
    if digit is not None:
        indices = indices[labels[indices] == digit]
    return Selection(split, digit, images, labels, indices, counts)


def sheet(selection: Selection) -> int | None:
    """One sheet of digits with its paging; the index of the digit that is clicked on it."""
    pages = max(1, -(-len(selection.indices) // PER_PAGE))
    where = f"{selection.split}-{selection.digit}"
    number = st.pagination(pages, key=f"page-{where}", persist_state="session")
    shown = selection.indices[(number - 1) * PER_PAGE : number * PER_PAGE]
    if not len(shown):
        st.info(f"There are no {selection.split.lower()} images here: nothing is held out. Train says how many are.")
        return None
    names = [f"{selection.labels[i]} · number {i:,}" for i in shown]
    chosen = st.plotly_chart(
        charts.digit_sheet(selection.images[shown], names, COLUMNS),
        key=f"sheet-{where}-{number}",
        on_select="rerun",
        selection_mode="points",
        config={"displayModeBar": False},
        alt=f"{len(shown)} handwritten digits, sheet {number} of {pages}.",
    )
    points = chosen["selection"]["points"]
    return int(shown[points[0]["customdata"]]) if points else int(shown[0])


def large(selection: Selection, index: int | None) -> None:
    """One digit with the values of its pixels."""
    if index is None:
        return
    image = selection.images[index]
    st.subheader(f"A {selection.labels[index]}", anchor=False)
    st.caption(
        f"{selection.split} image number {index:,}, 28 × 28 pixels from 0 (black) to 255 (white). Its ink covers "
        f"{np.mean(image > 0):.0%} of the pixels. Click another digit to see it here."
    )
    st.plotly_chart(
        charts.digit_values(image),
        key="large",
        config={"displayModeBar": False},
        alt=f"A handwritten {selection.labels[index]}, large.",
    )


def balance(selection: Selection) -> None:
    """How many images of each digit the split holds."""
    st.subheader("How many of each", anchor=False)
    total = selection.counts.sum()
    st.caption(
        f"{total:,} images in this split, between {selection.counts.min():,} and {selection.counts.max():,} of each digit."
    )
    st.plotly_chart(
        charts.class_balance(selection.counts, selection.digit),
        key="balance",
        config={"displayModeBar": False},
        alt=", ".join(f"{count} of {digit}" for digit, count in enumerate(selection.counts)),
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _split(
    _labels: np.ndarray, size: int, train_size: int, validation_split: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """`data.split`, kept: the labels are told apart by their number, of which each data set has its own."""
    trained_on, held_out = data.split(_labels, train_size, validation_split, seed)
    return np.sort(trained_on), np.sort(held_out)
