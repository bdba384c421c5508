"""A map of digits: similar ones lie close to each other. Hovering shows one, a lasso picks many."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.data import measures, questions
from core.data.datasets import Dataset
from core.data.measures import Layout
from core.data.questions import PIXELS, DrawMap, ReadAll
from core.errors import RunDamaged
from core.model.specs import CLASSES
from core.runs.network import Network
from core.views import network_html, pictures
from ui import cached
from ui.widgets import waiting
from ui.widgets.components import component, place

HEIGHT = 480
MOST_SHOWN = 60
FULL_SPRITES = 2000  # thumbnails that travel at full size
LABEL, PREDICTION, ERROR = COLOURINGS = ("Label", "Prediction", "Error")
_HTML = (
    '<div><canvas class="map" role="application" tabindex="0" aria-describedby="how"></canvas>'
    '<figure hidden><canvas width="84" height="84"></canvas><figcaption></figcaption></figure>'
    '<p id="how">By keyboard: arrows move a cross that shows the digit it is on (with Shift in small steps), Enter picks that, '
    "Escape none.</p></div>"
)
_CSS = f"""
div {{ position: relative; }}
canvas.map {{ display: block; box-sizing: border-box; width: 100%; height: {HEIGHT}px; touch-action: none; cursor: crosshair;
  border: 1px solid var(--st-border-color); border-radius: 8px; }}
canvas.map:focus {{ outline: none; }}
canvas.map:focus-visible {{ outline: 3px solid var(--st-primary-color); outline-offset: 2px; }}
#how {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
figure {{ position: absolute; margin: 0; padding: 7px; width: 84px; pointer-events: none; border-radius: 8px;
  background: var(--st-background-color); border: 1px solid var(--st-border-color); color: var(--st-text-color); }}
figure[hidden] {{ display: none; }}
figcaption {{ font: 12px/1.3 Inter, sans-serif; margin-top: 4px; }}
"""


def choose(dataset: Dataset, network: Network | None) -> tuple[DrawMap, str]:
    """Draw the controls of the map; return what to lay out, and the property that colours it."""
    sizes = [size for size in measures.MAP_SIZES if size < len(dataset.x_train)] or [len(dataset.x_train)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layout = st.segmented_control("Laid out by", list(Layout), default=Layout.PCA, required=True, key="map-layout")
        of = st.selectbox("Of", _layers(network), format_func=_called, key=f"map-of-{network is None}", width=220)
        count = st.segmented_control(
            "Digits", sizes, default=sizes[0], required=True, format_func=lambda n: f"{n:,}", key="map-count"
        )
        colouring = st.segmented_control(
            "Coloured by",
            COLOURINGS if network else COLOURINGS[:1],
            default=LABEL,
            required=True,
            key=f"map-colouring-{network is None}",
            help=None if network else "With a trained network also by what it reads.",
        )
    layout, count, colouring = layout or Layout.PCA, count or sizes[0], colouring or LABEL
    if of == PIXELS:
        return DrawMap(count, layout), colouring
    return DrawMap(count, layout, of, network), colouring


def panel(dataset: Dataset, job: DrawMap, colouring: str, network: Network | None) -> None:
    """Show the map, and the digits that are picked on it."""
    said = f"Laying out {job.count:,} digits by {job.layout}"
    points = waiting.result(job, "map", said, "Draw the map")
    if points is None:
        return
    indices = measures.sample(np.arange(len(dataset.x_train)), job.count)
    labels, read = dataset.y_train[indices], None
    if colouring != LABEL:
        read = _read(dataset, network, indices)
        if read is None:
            return
    chosen = _map(dataset, indices, points, labels, read, colouring, job)
    _picked(dataset, indices, labels, read, chosen)


def _read(dataset: Dataset, network: Network, indices: np.ndarray) -> np.ndarray | None:
    """Return the network's predictions for some training digits, (n,); None while they are being computed, which is
    shown.
    """
    found = cached.readings(dataset, network)
    if found is None:
        said = f"The network reads {len(dataset.x_train):,} digits"
        if waiting.result(ReadAll(network), "map-reading", said, "Have the network read all digits") is None:
            return None
        found = cached.readings(dataset, network)
    return None if found is None else found.probabilities[indices].argmax(axis=1)


def _map(dataset, indices, points, labels, read, colouring, job) -> list[int]:
    """Draw the map; which of its points are picked."""
    if colouring == ERROR:
        groups, colours = (read != labels).astype(int), ["#8A8A8A", pictures.RED]
        wrong = int(groups.sum())
        st.caption(f":red[●] {wrong:,} read wrong, :gray[●] {len(groups) - wrong:,} read right.")
    else:
        groups, colours = (labels if read is None else read).astype(int), pictures.DIGIT_COLOURS
        st.caption(
            "Each colour is a digit, named in its middle. Hover to see one, drag to pick many, click to pick one."
        )
    spread = np.maximum(points.max(axis=0) - points.min(axis=0), 1e-6)
    places = (points - points.min(axis=0)) / spread
    named = groups if colouring == PREDICTION else labels
    centres = [
        [str(k), *np.median(places[named == k], axis=0).astype(float).round(3).tolist()] for k in np.unique(named)
    ]
    of = "" if job.network is None else f"{job.network.step}-{job.network.run.id[:6]}"
    key = f"map-{job.layout}-{job.layer}-{job.count}-{of}"
    sprites, side, columns = _sprites(dataset.x_train, len(dataset.x_train), job.count)
    shown = component(__file__, _HTML, _CSS)(
        key=key,
        data={
            "points": places.astype(float).round(4).tolist(),
            "groups": groups.tolist(),
            "colours": colours,
            "large": [False, True] if colouring == ERROR else [False] * CLASSES,
            "texts": _texts(indices, labels, read),
            "centres": centres,
            "sprites": sprites,
            "side": side,
            "columns": columns,
            "alt": f"Map of {job.count:,} digits by {job.layout} of {_called(job.layer)}, coloured by {colouring.lower()}.",
        },
        on_chosen_change=lambda: None,
        height=HEIGHT + 8,
    )
    sent = shown.chosen if isinstance(shown.chosen, list) else []
    return list(dict.fromkeys(k for k in sent if place([k], [len(indices)])))


def _picked(
    dataset: Dataset, indices: np.ndarray, labels: np.ndarray, read: np.ndarray | None, chosen: list[int]
) -> None:
    """Show the picked digits as thumbnails."""
    if not chosen:
        st.caption("Nothing is picked. Drag around some points to see their digits here.")
        return
    places = np.array(chosen)
    counts = np.bincount(labels[places], minlength=CLASSES)
    each = ", ".join(f"{counts[k]:,} × {k}" for k in np.argsort(-counts, kind="stable") if counts[k])
    st.markdown(f"**{len(places):,} picked**: {each}")
    shown = places[:MOST_SHOWN]
    captions = _texts(indices[shown], labels[shown], None if read is None else read[shown])
    st.html(pictures.captioned_digits(dataset.x_train[indices[shown]], captions, "The picked digits"))
    if len(places) > MOST_SHOWN:
        st.caption(f"The first {MOST_SHOWN} of them.")


def _texts(indices: np.ndarray, labels: np.ndarray, read: np.ndarray | None) -> list[str]:
    if read is None:
        return [f"{label} · {i:,}" for i, label in zip(indices, labels, strict=True)]
    return [
        f"{label} · {i:,}" if label == digit else f"{label} → {digit} · {i:,}"
        for i, label, digit in zip(indices, labels, read, strict=True)
    ]


def _layers(network: Network | None) -> list[str]:
    if network is None:
        return [PIXELS]
    try:
        return [PIXELS, *questions.layers(network.run.experiment())]
    except RunDamaged:
        return [PIXELS]


def _called(layer: str) -> str:
    return "pixels" if layer == PIXELS else f"layer {network_html.layer_name(layer)}"


@st.cache_data(max_entries=4, show_spinner=False)
def _sprites(_images: np.ndarray, size: int, count: int) -> tuple[str, int, int]:
    """Return the mapped digits as one picture's URL, the side of each in pixels, and the number of columns."""
    images = _images[measures.sample(np.arange(size), count)]
    columns = int(np.ceil(np.sqrt(len(images))))
    side = 28
    if len(images) > FULL_SPRITES:
        side = 14
        images = images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).astype(np.uint8)
    rows = -(-len(images) // columns)
    cells = np.zeros((rows * columns, side, side), np.uint8)
    cells[: len(images)] = images
    whole = cells.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)
    return pictures.data_url(pictures.png(whole)), side, columns
