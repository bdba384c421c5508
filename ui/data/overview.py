"""An overview of the whole set: its shape, its balance, its mean digits, its measures, its near-duplicates."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.data import measures
from core.data.datasets import Dataset
from core.data.questions import NearDuplicates
from core.data.splits import Split
from core.model.specs import CLASSES, Training
from core.views import charts, pictures
from ui import cached, digits
from ui.widgets import waiting

MOST_PAIRS = 12
_QUIET = {"displayModeBar": False}


def shape(dataset: Dataset) -> None:
    """Show the arrays' shapes, and why a network is given other ones."""
    train, test = dataset.x_train.shape, dataset.x_test.shape
    row = st.grid(min_column_width=150)
    row.metric("To train with", f"{train[0]:,}", f"{train}", delta_color="off", delta_arrow="off", border=True)
    row.metric("To test with", f"{test[0]:,}", f"{test}", delta_color="off", delta_arrow="off", border=True)
    row.metric("One pixel", "0 … 255", "uint8, 0 is paper", delta_color="off", delta_arrow="off", border=True)
    row.metric("Network input", "4-D", "(n, 28, 28, 1)", delta_color="off", delta_arrow="off", border=True)
    st.markdown(
        f"`x_train` has the shape `{train}`: so many images, each 28 rows of 28 pixels. A convolution wants a **fourth** "
        "dimension, the channels: one for grey, three for a photo. And it wants **small numbers**: divided by 255 the pixels lie "
        "between 0 and 1, where weights as they begin neither overflow nor stall; the lab does that in the network's first layer."
    )


def balance(dataset: Dataset, training: Training) -> None:
    """Show how the digits are spread over the splits."""
    counts = {}
    for split in (Split.TRAINING, Split.VALIDATION, Split.TEST):
        _, labels, indices = cached.split_of(dataset, training, split)
        if len(indices):
            counts[split] = np.bincount(labels[indices], minlength=CLASSES)
    st.markdown("**How many of each**")
    st.caption(
        "; ".join(
            f"{name}: {of.sum():,} images, {of.min():,} to {of.max():,} of each digit" for name, of in counts.items()
        )
    )
    st.plotly_chart(
        charts.balances(counts),
        key="balance",
        config=_QUIET,
        alt=". ".join(
            f"{name}: " + ", ".join(f"{count} of {digit}" for digit, count in enumerate(of))
            for name, of in counts.items()
        ),
    )


def greys(dataset: Dataset) -> None:
    """Show how grey the pixels are."""
    survey, _ = digits.survey(dataset)
    histogram, total = survey.histogram, int(survey.histogram.sum())
    st.markdown("**How grey the pixels are**")
    st.caption(
        f"{histogram[0] / total:.0%} are paper (0), {histogram[250:].sum() / total:.0%} full ink (250 and more)."
    )
    st.plotly_chart(
        charts.pixel_histogram(histogram),
        key="histogram",
        config=_QUIET,
        alt=f"Of {total:,} pixels {histogram[0]:,} are 0 and {histogram[255]:,} are 255.",
    )


def means(dataset: Dataset) -> None:
    """Show the mean and the variance of every digit, as pictures."""
    survey, _ = digits.survey(dataset)
    captions, highest = [str(k) for k in range(CLASSES)], float(np.nanmax(survey.variances, initial=1))
    mean, variance = st.columns(2, gap="large")
    with mean:
        st.markdown("**The mean of each digit**")
        st.caption("Where all writers agree it is white.")
        st.html(pictures.captioned_digits(_as_grey(survey.means, 255), captions, "The mean image of each digit"))
    with variance:
        st.markdown("**Its variance**")
        st.caption("Where they don't: the pixels that differ most are brightest.")
        st.html(pictures.captioned_digits(_as_grey(survey.variances, highest), captions, "The variance of each digit"))


def traits(dataset: Dataset) -> None:
    """Show how ink, slant and stroke width are distributed."""
    survey, _ = digits.survey(dataset)
    measured = (
        ("Ink", survey.traits.ink, ".0%", "share of the picture", "Mean grey over 255."),
        ("Slant", survey.traits.slant, ".0f", "degrees, to the right above 0", "The shear that would set it upright."),
        ("Stroke width", survey.traits.stroke_width, ".1f", "pixels", "Twice the ink's area over its outline."),
    )
    for column, (name, values, form, unit, said) in zip(st.columns(3, gap="large"), measured, strict=True):
        with column:
            median = format(float(np.median(values)), form)
            st.markdown(f"**{name}**")
            st.caption(f"{said} Half of all are below {median}, the dashed line.")
            st.plotly_chart(
                charts.distribution(values, unit, form),
                key=f"distribution-{name}",
                config=_QUIET,
                alt=f"{name}: median {median}, from {values.min():{form}} to {values.max():{form}}.",
            )


def near_duplicates(dataset: Dataset) -> None:
    """Show pairs of digits of one class that are nearly the same picture."""
    st.markdown("**Near-duplicates**")
    st.caption(
        f"Two images of one digit, from the training or the test file, that differ by at most {measures.NEAR:g} of 255 grey values "
        "(root mean square over the pixels). Found among 50 principal components, then compared pixel by pixel; none is missed."
    )
    said = f"Comparing {len(dataset.x_train) + len(dataset.x_test):,} digits"
    found = waiting.result(NearDuplicates(), "near-duplicates", said, "Look for them", is_begun=False)
    if found is None:
        return
    images = np.concatenate([dataset.x_train, dataset.x_test])
    labels = np.concatenate([dataset.y_train, dataset.y_test])
    is_near = found.distances <= measures.NEAR
    of = labels[found.indices[:, 0]]
    counts = np.bincount(of[is_near], minlength=CLASSES)
    crossing = int(((found.indices < len(dataset.x_train)).sum(axis=1) == 1)[is_near].sum())
    each = ", ".join(f"{count} of {digit}" for digit, count in enumerate(counts) if count)
    st.markdown(
        f"**{is_near.sum():,}** pairs{f' ({each})' if each else ''}, {crossing:,} of them with one image in the training and one "
        "in the test file."
    )
    closest = [np.flatnonzero(of == digit)[:1] for digit in range(CLASSES)]
    for title, chosen in (
        ("The closest of all", np.arange(len(of))[:MOST_PAIRS]),
        ("The closest of each digit", np.concatenate(closest)),
    ):
        pairs = found.indices[chosen]
        captions = [
            f"{_numbered(dataset, i)}{f', {distance:.1f} apart' if second else ''}"
            for pair, distance in zip(pairs, found.distances[chosen], strict=True)
            for second, i in enumerate(pair)
        ]
        st.caption(title)
        st.html(pictures.captioned_digits(images[pairs.ravel()], captions, f"{title}, in pairs"))


def _numbered(dataset: Dataset, index: int) -> str:
    trained = len(dataset.x_train)
    return f"{index:,}" if index < trained else f"test {index - trained:,}"


def _as_grey(values: np.ndarray, highest: float) -> np.ndarray:
    return np.uint8(np.clip(255 * np.nan_to_num(values) / highest, 0, 255))
