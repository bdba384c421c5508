"""Values -> plotly figures for the screen and a matplotlib figure for the printed page, one function per chart.

Colours come from the theme wherever a chart doesn't name its own. Live charts keep the reader's zoom (`uirevision`) and
their height, so that nothing jumps when values arrive.
"""

from __future__ import annotations

import importlib
import io

import numpy as np
import plotly.graph_objects as go

from core import pictures
from core.progress import Progress
from core.specs import CLASSES, IMAGE_SHAPE

# Plotly looks for pandas among the loaded modules, and finds half of it where another thread is just importing it. Waiting for
# the whole of it here makes that impossible.
importlib.import_module("pandas")

CURVE_HEIGHT = 300
LOSS_OF_A_GUESS = float(np.log(CLASSES))
DIGITS = [str(k) for k in range(CLASSES)]


def loss_curve(progress: Progress) -> go.Figure:
    """Cross-entropy by epochs: training by batch, thin, and validation at each epoch's end."""
    x, y = progress.curve(progress.loss)
    figure = _curve(progress, x, y, [row.val_loss for row in progress.history], "%{y:.4f}")
    figure.update_yaxes(rangemode="tozero", title="Loss")
    if not len(y):
        figure.update_yaxes(range=[0, LOSS_OF_A_GUESS])
    return figure


def accuracy_curve(progress: Progress) -> go.Figure:
    """Share classified right by epochs: training by batch, thin, and validation at each epoch's end."""
    x, y = progress.curve(progress.accuracy)
    figure = _curve(progress, x, y, [row.val_accuracy for row in progress.history], "%{y:.2%}")
    figure.update_yaxes(title="Accuracy", tickformat=".0%")
    lowest = max(0.0, min(0.9, float(np.quantile(y, 0.1)) - 0.02)) if len(y) else 0.0
    figure.update_yaxes(range=[lowest, 1.005])
    return figure


def confusion_matrix(matrix: np.ndarray, as_shares: bool) -> go.Figure:
    """A confusion matrix whose cells can be clicked.

    The colour is the share of the row's digit on a root scale, so that rare mistakes show beside the full diagonal. Heat
    maps send no selections; an invisible square in each cell does: its `customdata` is (true, predicted, count).

    Args:
        matrix: (10, 10) counts, rows true.
        as_shares: write shares of the row instead of counts.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    texts = np.where(
        matrix == 0,
        "",
        [
            [f"{s:.1%}" if as_shares else f"{n:,}" for s, n in zip(*row, strict=True)]
            for row in zip(shares, matrix, strict=True)
        ],
    )
    true, predicted = (grid.ravel() for grid in np.mgrid[0:CLASSES, 0:CLASSES])
    figure = go.Figure(
        go.Heatmap(
            z=np.sqrt(shares),
            x=DIGITS,
            y=DIGITS,
            text=texts,
            texttemplate="%{text}",
            showscale=False,
            hoverinfo="skip",
            xgap=2,
            ygap=2,
        )
    )
    figure.add_scatter(
        x=[DIGITS[k] for k in predicted],
        y=[DIGITS[k] for k in true],
        mode="markers",
        marker={"symbol": "square", "size": 30, "opacity": 0.01},
        selected={"marker": {"opacity": 0.35, "color": pictures.OCHRE}},
        unselected={"marker": {"opacity": 0.01}},
        customdata=np.stack([true, predicted, matrix.ravel()], axis=1).tolist(),  # an array would come back as a dict
        hovertemplate="%{customdata[2]} × a %{y} read as %{x}<extra></extra>",
        showlegend=False,
    )
    figure.update_layout(
        height=460, margin={"l": 10, "r": 10, "t": 10, "b": 10}, dragmode=False, clickmode="event+select"
    )
    figure.update_xaxes(title="The network read", type="category", fixedrange=True, side="top", showgrid=False)
    figure.update_yaxes(title="It was a", type="category", autorange="reversed", fixedrange=True, showgrid=False)
    return figure


def digit_sheet(images: np.ndarray, names: list[str], columns: int) -> go.Figure:
    """Digits as one picture whose cells can be clicked: a point's `customdata` is its place on the sheet.

    Args:
        images: (n, 28, 28) uint8.
        names: what hovering over each says.
    """
    pixels = pictures.sheet(images, columns)
    side = IMAGE_SHAPE[0] + 2
    places = np.arange(len(images))
    figure = go.Figure(
        go.Scatter(
            x=(places % columns) * side + 14,
            y=(places // columns) * side + 14,
            mode="markers",
            marker={"symbol": "square", "size": 34, "opacity": 0.01},
            selected={"marker": {"opacity": 0.45, "color": pictures.OCHRE}},
            unselected={"marker": {"opacity": 0.01}},
            customdata=places,
            text=names,
            hovertemplate="%{text}<extra></extra>",
        )
    )
    height, width = pixels.shape
    figure.add_layout_image(
        source=pictures.data_url(pictures.png(pixels, scale=2)),
        x=0,
        y=0,
        sizex=width,
        sizey=height,
        xref="x",
        yref="y",
        yanchor="top",
        layer="below",
        sizing="stretch",
    )
    figure.update_xaxes(visible=False, range=[-1, width + 1], fixedrange=True)
    figure.update_yaxes(
        visible=False,
        range=[height + 1, -1],
        fixedrange=True,
        scaleanchor="x",
        constrain="domain",
        constraintoward="top",
    )
    figure.update_layout(
        height=60 + 48 * -(-len(images) // columns),
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode=False,
        clickmode="event+select",
    )
    return figure


def digit_values(image: np.ndarray) -> go.Figure:
    """One digit large, each pixel's value written in it and told on hover.

    Args:
        image: (28, 28) uint8.
    """
    figure = go.Figure(
        go.Heatmap(
            z=image,
            zmin=0,
            zmax=255,
            colorscale=[[0, "#000"], [1, "#fff"]],
            showscale=False,
            text=np.where(image > 0, image.astype(str), ""),
            texttemplate="%{text}",
            textfont={"size": 7},
            hovertemplate="row %{y}, column %{x}: %{z}<extra></extra>",
        )
    )
    figure.update_layout(height=470, margin={"l": 0, "r": 0, "t": 0, "b": 0}, dragmode=False)
    figure.update_xaxes(visible=False, fixedrange=True, constrain="domain")
    figure.update_yaxes(
        visible=False, fixedrange=True, autorange="reversed", scaleanchor="x", constrain="domain", constraintoward="top"
    )
    return figure


def class_balance(counts: np.ndarray, chosen: int | None = None) -> go.Figure:
    """How many images there are of each digit, (10,) integers; the chosen digit stands out."""
    opacity = [1.0 if chosen in (None, k) else 0.35 for k in range(CLASSES)]
    figure = go.Figure(
        go.Bar(x=DIGITS, y=counts, marker={"opacity": opacity}, hovertemplate="%{y:,} images of %{x}<extra></extra>")
    )
    figure.update_layout(height=200, margin={"l": 0, "r": 0, "t": 10, "b": 0}, dragmode=False)
    figure.update_xaxes(type="category", fixedrange=True)
    figure.update_yaxes(fixedrange=True, nticks=4)
    return figure


def printed_confusion_matrix(matrix: np.ndarray, title: str) -> bytes:
    """The confusion matrix as a PDF for a report, from (10, 10) counts, rows true."""
    from matplotlib.figure import Figure as PrintedFigure  # half a second, for those who print

    figure = PrintedFigure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true", title=title, xticks=range(10), yticks=range(10))
    shares = np.sqrt(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[true, predicted] > 0.6 else "black"
            axes.text(predicted, true, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf")
    return buffer.getvalue()


def _curve(progress: Progress, x: np.ndarray, y: np.ndarray, validation: list[float | None], form: str) -> go.Figure:
    epochs = [row.epoch for row in progress.history]
    figure = go.Figure()
    figure.add_scatter(x=x, y=y, mode="lines", name="training", line={"width": 1.5}, hovertemplate=form)
    figure.add_scatter(
        x=epochs,
        y=validation,
        mode="lines+markers",
        name="validation",
        line={"width": 2.5},
        hovertemplate=form,
    )
    figure.update_layout(
        height=CURVE_HEIGHT,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "y": 1, "x": 0, "yanchor": "bottom"},
        uirevision="curve",
        hovermode="x unified",
    )
    figure.update_xaxes(title="Epoch", range=[0, max(progress.epochs, 1)])
    return figure
