"""Values -> plotly figures for the screen and a matplotlib figure for the printed page, one function per chart.

Colours come from the theme wherever a chart doesn't name its own. Live charts keep the reader's zoom (`uirevision`) and
their height, so that nothing jumps when values arrive.
"""

from __future__ import annotations

import html
import importlib
import io

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.evaluation.metrics import Abstention, Calibration, ClassScores, Intervals
from core.evaluation.robustness import DAMAGES, SEVERITIES
from core.model.specs import CLASSES
from core.runs.contents import Robustness
from core.runs.progress import Progress
from core.training.range_test import RangeTest, smoothed
from core.views import pictures

# Plotly looks for pandas among the loaded modules, and finds half of it where another thread is just importing it. Waiting for
# the whole of it here makes that impossible.
importlib.import_module("pandas")

CURVE_HEIGHT, SMALL_HEIGHT = 300, 220
MARGIN = {"l": 10, "r": 10, "t": 30, "b": 10}
LOSS_OF_A_GUESS = float(np.log(CLASSES))
DIGITS = [str(k) for k in range(CLASSES)]


def loss_curve(progress: Progress, is_log: bool = False) -> go.Figure:
    """Draw cross-entropy by epochs: training by batch, raw and smoothed, and validation at each epoch's end."""
    figure = _curve(
        progress,
        progress.curve(progress.loss),
        progress.extremes(progress.loss),
        [row.val_loss for row in progress.history],
        "%{y:.4f}",
    )
    figure.update_yaxes(title="Loss")
    if is_log:
        figure.update_yaxes(type="log", dtick=1)
    elif len(progress.loss):
        figure.update_yaxes(rangemode="tozero")
    else:
        figure.update_yaxes(range=[0, LOSS_OF_A_GUESS])
    return figure


def accuracy_curve(progress: Progress) -> go.Figure:
    """Share classified right by epochs: training by batch, thin and smoothed, and validation at each epoch's end."""
    x, y = progress.curve(progress.accuracy)
    figure = _curve(
        progress,
        (x, y),
        progress.extremes(progress.accuracy),
        [row.val_accuracy for row in progress.history],
        "%{y:.2%}",
    )
    figure.update_yaxes(title="Accuracy", tickformat=".0%")
    lowest = max(0.0, min(0.9, float(np.quantile(y, 0.1)) - 0.02)) if len(y) else 0.0
    figure.update_yaxes(range=[lowest, 1.005])
    return figure


def range_test(test: RangeTest, suggested: float | None) -> go.Figure:
    """Draw the loss of a learning-rate range test, raw and smoothed, with the suggested rate marked."""
    figure = go.Figure()
    figure.add_scatter(x=test.learning_rates, y=test.losses, mode="lines", opacity=0.35, line={"width": 1}, name="loss")
    figure.add_scatter(
        x=test.learning_rates, y=smoothed(test.losses), mode="lines", line={"width": 2.5}, name="smoothed"
    )
    if suggested is not None:
        figure.add_vline(x=suggested, line={"color": pictures.OCHRE, "dash": "dash"})
    figure.update_layout(
        height=SMALL_HEIGHT, margin=MARGIN, showlegend=False, colorway=[pictures.ULTRAMARINE] * 2, hovermode="x"
    )
    highest = float(np.nanmax(test.losses[: max(1, len(test.losses) // 2)])) if len(test.losses) else LOSS_OF_A_GUESS
    figure.update_yaxes(title="Loss", range=[0, 1.3 * highest] if np.isfinite(highest) else None)
    figure.update_xaxes(title="Learning rate", type="log", dtick=1, exponentformat="power")
    return figure


def confusion_matrix(matrix: np.ndarray, as_shares: bool, is_diagonal_dim: bool = False) -> go.Figure:
    """Draw a confusion matrix whose cells can be clicked.

    The colour is the share of the row's digit on a root scale, so that rare mistakes are visible beside the full
    diagonal. Heat maps send no selections; an invisible square in each cell does: its `customdata` is (true, predicted,
    count).

    Args:
        matrix: (10, 10) counts, rows true.
        as_shares: write shares of the row instead of counts.
        is_diagonal_dim: leave the diagonal out of the colours, which then tell the mistakes apart.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    colours = np.sqrt(np.where(np.eye(CLASSES, dtype=bool), 0, shares) if is_diagonal_dim else shares)
    grid = {"xgap": 2, "ygap": 2, "text": _cell_texts(matrix, shares, as_shares), "texttemplate": "%{text}"}
    figure = go.Figure(go.Heatmap(z=colours, x=DIGITS, y=DIGITS, showscale=False, hoverinfo="skip", **grid))
    figure.add_trace(_clickable_cells(matrix))
    figure.update_layout(
        height=460, margin={"l": 10, "r": 10, "t": 10, "b": 10}, dragmode=False, clickmode="event+select"
    )
    cells = CLASSES - 0.5  # no margin for the squares: the cells fill the chart
    figure.update_xaxes(
        title="The network read", type="category", fixedrange=True, side="top", showgrid=False, range=[-0.5, cells]
    )
    figure.update_yaxes(title="It was a", type="category", fixedrange=True, showgrid=False, range=[cells, -0.5])
    return figure


def _cell_texts(matrix: np.ndarray, shares: np.ndarray, as_shares: bool) -> np.ndarray:
    """Return the text of each cell, (10, 10) strings: empty where nothing was counted."""
    texts = (
        [[f"{share:.1%}" for share in row] for row in shares]
        if as_shares
        else [[f"{n:,}" for n in row] for row in matrix]
    )
    return np.where(matrix == 0, "", texts)


def _clickable_cells(matrix: np.ndarray) -> go.Scatter:
    true, predicted = (grid.ravel() for grid in np.mgrid[0:CLASSES, 0:CLASSES])
    return go.Scatter(
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


def digit_values(image: np.ndarray) -> go.Figure:
    """Draw one digit large, with each pixel's value written in it and shown on hover.

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
    figure.update_layout(height=430, margin={"l": 0, "r": 0, "t": 0, "b": 0}, dragmode=False)
    figure.update_xaxes(visible=False, fixedrange=True, constrain="domain")
    figure.update_yaxes(
        visible=False, fixedrange=True, autorange="reversed", scaleanchor="x", constrain="domain", constraintoward="top"
    )
    return figure


def class_balance(counts: np.ndarray, chosen: int | None = None) -> go.Figure:
    """Draw how many images there are of each digit, (10,) integers; the chosen digit is highlighted."""
    opacity = [1.0 if chosen in (None, k) else 0.35 for k in range(CLASSES)]
    figure = go.Figure(
        go.Bar(x=DIGITS, y=counts, marker={"opacity": opacity}, hovertemplate="%{y:,} images of %{x}<extra></extra>")
    )
    figure.update_layout(height=200, margin={"l": 0, "r": 0, "t": 10, "b": 0}, dragmode=False)
    figure.update_xaxes(type="category", fixedrange=True)
    figure.update_yaxes(fixedrange=True, nticks=4)
    return figure


def class_scores(scores: ClassScores, intervals: Intervals) -> go.Figure:
    """Draw precision, recall and F1 of every digit as points, with their intervals."""
    figure = go.Figure()
    lowest = 1.0
    for place, (name, symbol) in enumerate({"precision": "circle", "recall": "square", "f1": "diamond"}.items()):
        value, (low, high) = getattr(scores, name), getattr(intervals, name).T
        if np.isfinite(low).any():
            lowest = min(lowest, float(np.nanmin(low)))
        title = {"precision": "Precision", "recall": "Recall", "f1": "F1"}[name]
        figure.add_scatter(
            x=np.arange(CLASSES) + (place - 1) * 0.22,
            y=value,
            error_y={"array": high - value, "arrayminus": value - low, "thickness": 1.3, "width": 3},
            customdata=np.stack([np.arange(CLASSES), low, high], axis=1),
            mode="markers",
            name=title,
            marker={"symbol": symbol, "size": 9},
            hovertemplate=title
            + " of %{customdata[0]}: %{y:.2%}, %{customdata[1]:.1%} to %{customdata[2]:.1%}<extra></extra>",
        )
    figure.update_layout(
        height=CURVE_HEIGHT,
        margin=MARGIN,
        dragmode=False,
        colorway=[pictures.ULTRAMARINE, pictures.OCHRE, pictures.TEAL],
        legend={"orientation": "h", "y": 1, "x": 0, "yanchor": "bottom"},
    )
    figure.update_xaxes(tickvals=list(range(CLASSES)), fixedrange=True, showgrid=False, title="Digit")
    figure.update_yaxes(tickformat=".0%", fixedrange=True, range=[max(0.0, lowest - 0.03), 1.01])
    return figure


def reliability(bins: Calibration, intervals: np.ndarray) -> go.Figure:
    """Draw a reliability diagram: accuracy over certainty, with the line on which both are equal.

    Args:
        bins: the calibration.
        intervals: of each bin's accuracy, (n, 2).
    """
    there = bins.counts > 0
    low, high = intervals[there].T
    right = bins.accuracy[there]
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": pictures.STONE}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=bins.confidence[there],
        y=right,
        error_y={"array": high - right, "arrayminus": right - low, "thickness": 1.3, "width": 3},
        mode="lines+markers",
        line={"width": 1.5, "color": pictures.ULTRAMARINE},
        marker={"size": 6 + 3 * np.log10(bins.counts[there]), "color": pictures.ULTRAMARINE},
        customdata=bins.counts[there],
        hovertemplate="%{customdata:,} images, sure of %{x:.1%}, right on %{y:.1%}<extra></extra>",
    )
    figure.update_layout(height=CURVE_HEIGHT, margin=MARGIN, showlegend=False, dragmode=False)
    figure.update_xaxes(title="How sure it is", tickformat=".0%", range=[0, 1.06], fixedrange=True)
    figure.update_yaxes(title="How often right", tickformat=".0%", range=[0, 1.07], fixedrange=True)
    return figure


def abstention(found: Abstention) -> go.Figure:
    """Draw accuracy over the share of the images that the network answers, the most certain first."""
    shown = np.unique(np.linspace(0, len(found.coverage) - 1, 400).astype(int))
    figure = go.Figure(
        go.Scatter(
            x=found.coverage[shown],
            y=found.accuracy[shown],
            mode="lines" if len(shown) > 1 else "markers",
            line={"width": 2.5, "color": pictures.ULTRAMARINE},
            customdata=found.threshold[shown],
            hovertemplate="answers %{x:.1%}, sure of %{customdata:.1%} or more: right on %{y:.2%}<extra></extra>",
        )
    )
    figure.update_layout(height=CURVE_HEIGHT, margin=MARGIN, showlegend=False, dragmode=False)
    figure.update_xaxes(title="Share it answers", tickformat=".0%", range=[0, 1.02], fixedrange=True)
    lowest = float(found.accuracy[shown].min())
    figure.update_yaxes(
        title="How often right", tickformat=".1%", range=[lowest - 0.1 * (1 - lowest) - 0.001, 1.001], fixedrange=True
    )
    return figure


def robustness_curves(measured: list[tuple[str, Robustness]]) -> go.Figure:
    """Draw accuracy over severity, a small chart per kind of damage, a line per run.

    Args:
        measured: each run's name and its measurement; the first is highlighted.
    """
    columns = 3
    figure = make_subplots(
        rows=-(-len(DAMAGES) // columns),
        cols=columns,
        shared_yaxes=True,
        subplot_titles=[damage.name for damage in DAMAGES],
        horizontal_spacing=0.04,
        vertical_spacing=0.14,
    )
    for place, (name, one) in enumerate(measured):
        colour, dash = ((pictures.ULTRAMARINE, "solid"), (pictures.OCHRE, "dash"))[place % 2]
        for kind, damage in enumerate(DAMAGES):
            figure.add_scatter(
                x=list(range(SEVERITIES + 1)),
                y=[one.clean, *one.accuracy[kind]],
                row=kind // columns + 1,
                col=kind % columns + 1,
                mode="lines+markers",
                name=html.escape(name),
                legendgroup=str(place),
                showlegend=len(measured) > 1 and kind == 0,
                line={"color": colour, "dash": dash, "width": 2.5 if place == 0 else 2},
                marker={"size": 5},
                customdata=["as it is", *(damage.text(severity) for severity in damage.severities)],
                hovertemplate="%{customdata}: %{y:.1%}<extra>%{fullData.name}</extra>",
            )
    for kind, damage in enumerate(DAMAGES):
        figure.update_xaxes(
            tickvals=[0, SEVERITIES],
            ticktext=["", damage.text(damage.severities[-1])],
            row=kind // columns + 1,
            col=kind % columns + 1,
        )
    figure.update_layout(
        height=540,
        margin={"l": 10, "r": 10, "t": 70, "b": 20},
        dragmode=False,
        legend={"orientation": "h", "y": 1.07, "x": 0, "yanchor": "bottom"},
    )
    figure.update_annotations(font={"size": 13})
    figure.update_xaxes(fixedrange=True, showgrid=False, range=[-0.2, SEVERITIES + 0.2])
    figure.update_yaxes(fixedrange=True, range=[0, 1.03], tickformat=".0%", tickvals=[0, 0.5, 1])
    return figure


def balances(counts: dict[str, np.ndarray], chosen: int | None = None) -> go.Figure:
    """Draw each digit's share of several sets, side by side: (10,) counts by the sets' names."""
    figure = go.Figure()
    for (name, of_digits), colour in zip(
        counts.items(), (pictures.ULTRAMARINE, pictures.OCHRE, pictures.TEAL), strict=False
    ):
        figure.add_bar(
            x=DIGITS,
            y=of_digits / max(of_digits.sum(), 1),
            customdata=of_digits,
            name=name,
            marker={"color": colour, "opacity": [1.0 if chosen in (None, k) else 0.35 for k in range(CLASSES)]},
            hovertemplate=f"%{{customdata:,}} {name.lower()} images of %{{x}} (%{{y:.1%}})<extra></extra>",
        )
    _small(figure)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"})
    figure.update_xaxes(type="category")
    figure.update_yaxes(tickformat=".0%", nticks=4)
    return figure


def pixel_histogram(counts: np.ndarray) -> go.Figure:
    """Draw how many pixels have each grey value, (256,) counts, on a logarithmic scale."""
    figure = go.Figure(
        go.Bar(
            x=np.arange(len(counts)),
            y=counts,
            marker={"color": pictures.ULTRAMARINE, "line": {"width": 0}},
            hovertemplate="%{y:,} pixels of %{x}<extra></extra>",
        )
    )
    _small(figure)
    figure.update_layout(bargap=0)
    figure.update_xaxes(title="Grey value", tickvals=[0, 64, 128, 192, 255])
    figure.update_yaxes(type="log", dtick=2, exponentformat="power")
    return figure


def distribution(values: np.ndarray, title: str, form: str) -> go.Figure:
    """Draw how often each value of a measured trait, (n,) float, occurs; its extreme thousandths are left out."""
    low, high = np.quantile(values, [0.001, 0.999])
    counts, edges = np.histogram(values, bins=60, range=(low, max(high, low + 1e-6)))
    figure = go.Figure(
        go.Bar(
            x=(edges[1:] + edges[:-1]) / 2,
            y=counts,
            marker={"color": pictures.ULTRAMARINE, "line": {"width": 0}},
            hovertemplate=f"%{{y:,}} images near %{{x:{form}}}<extra></extra>",
        )
    )
    _small(figure)
    figure.add_vline(x=float(np.median(values)), line={"color": pictures.OCHRE, "dash": "dash"})
    figure.update_layout(bargap=0)
    figure.update_xaxes(title=title, tickformat=form)
    figure.update_yaxes(nticks=4)
    return figure


def _small(figure: go.Figure) -> None:
    has_many = len(figure.data) > 1  # pyright: ignore[reportArgumentType]  # plotly's `data` is a tuple, which it says nowhere
    figure.update_layout(height=SMALL_HEIGHT, margin=MARGIN, showlegend=has_many, dragmode=False)
    figure.update_xaxes(fixedrange=True)
    figure.update_yaxes(fixedrange=True)


def printed_confusion_matrix(matrix: np.ndarray, title: str) -> bytes:
    """Draw the confusion matrix as a PDF for a report, from (10, 10) counts, rows true."""
    from matplotlib.figure import Figure as PrintedFigure  # half a second, for those who print

    figure = PrintedFigure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true", xticks=range(10), yticks=range(10))
    axes.set_title(title, parse_math=False, wrap=True)
    shares = np.sqrt(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[true, predicted] > 0.6 else "black"
            axes.text(predicted, true, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf")
    return buffer.getvalue()


def _smoothed(y: np.ndarray) -> np.ndarray:
    """Return means over neighbours; the window is wider the more values there are."""
    width = max(1, len(y) // 20)
    weights = np.ones(width)
    return np.convolve(y, weights, "same") / np.convolve(np.ones(len(y)), weights, "same") if len(y) else y


def _mark_changes(figure: go.Figure, progress: Progress) -> None:
    """Draw a dashed line where a live hyperparameter was changed."""
    for change in progress.changes:
        figure.add_vline(
            x=change.step / max(progress.steps_per_epoch, 1),
            line={"color": pictures.OCHRE, "dash": "dash", "width": 1.5},
            annotation={"text": f"{change.name.replace('_', ' ')} {change.value:.3g}", "font": {"size": 11}},
        )


def _curve(
    progress: Progress,
    means: tuple[np.ndarray, np.ndarray],
    extremes: tuple[np.ndarray, np.ndarray],
    validation: list[float | None],
    form: str,
) -> go.Figure:
    epochs = [row.epoch for row in progress.history]
    figure = go.Figure()
    figure.add_scatter(
        x=extremes[0],
        y=extremes[1],
        mode="lines",
        name="by batch",
        opacity=0.35,
        line={"width": 1},
        hovertemplate=form,
        showlegend=False,
    )
    figure.add_scatter(
        x=means[0], y=_smoothed(means[1]), mode="lines", name="training", line={"width": 2}, hovertemplate=form
    )
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
        colorway=[pictures.ULTRAMARINE, pictures.ULTRAMARINE, pictures.OCHRE],
    )
    _mark_changes(figure, progress)
    figure.update_xaxes(title="Epoch", range=[0, max(progress.epochs, 1)])
    return figure
