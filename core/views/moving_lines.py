"""Line charts that are drawn anew again and again while a training runs.

HTML text with a picture of the lines in it, which a browser draws faster than a plotly chart. Each says in words what it shows.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from core.runs.progress import Progress
from core.views import pictures

HEIGHT = 220  # CSS pixels
BEFORE_ANY = 0.4  # batches: where the untrained network stands on a logarithmic scale
MOST_POINTS = 400
HIGHEST = 0.92  # of the chart's height, at which the highest learning rate stands
_LIGHT = "rgba(127,127,140,.25)"


def learning_rate(progress: Progress, rates: np.ndarray) -> str:
    """Draw the learning rate of every batch by epochs, batches that are done bold and those to come faint.

    Args:
        progress: of the training.
        rates: of all batches of the training, (n,) float32.
    """
    shown = np.unique(np.linspace(0, len(rates) - 1, MOST_POINTS).astype(int)) if len(rates) else np.zeros(0, int)
    highest = float(rates.max(initial=0)) or 1.0
    x, y = shown / max(len(rates) - 1, 1), rates[shown] / highest * HIGHEST
    is_done = shown <= progress.step
    lines = [
        _line(x, y, pictures.ULTRAMARINE, 1.5, opacity=0.35),
        _line(x[is_done], y[is_done], pictures.ULTRAMARINE, 2.5),
    ]
    now = f" Now {rates[min(progress.step, len(rates) - 1)]:.3g}." if len(rates) else ""
    return _chart(
        [_image(lines), *(_upright(change.step / len(rates)) for change in progress.changes)],
        f"Learning rate by epochs, at most {highest:.3g}.{now}",
        "Epoch",
        {f"{epoch}": epoch / max(progress.epochs, 1) for epoch in _round(progress.epochs)},
        {"0": 0.0, f"{highest:.3g}": HIGHEST},
    )


def readings(steps: np.ndarray, probabilities: np.ndarray, said: str, place: int | None = None) -> str:
    """Draw a network's ten probabilities for one digit as it learned, a line for each, labelled at its end.

    The batches stand on a logarithmic scale, since most is learned in the first; batch 0 is at its left end.

    Args:
        steps: numbers of batches, (n,) ascending integers.
        probabilities: (n, 10), each 0..1.
        said: a description in words.
        place: a number of batches to mark.
    """
    left, right = _log(0), max(_log(steps[-1] if len(steps) else 0), 1.0)

    def along(batches: float) -> float:
        return (_log(batches) - left) / (right - left)

    x = np.array([along(step) for step in steps])
    at = int(np.searchsorted(steps, place)) if place is not None and len(steps) else len(steps) - 1
    leading = probabilities[min(at, len(steps) - 1)].argmax() if len(steps) else -1
    lines = [
        _line(x, probabilities[:, digit], colour, 3.5 if digit == leading else 1.5)
        for digit, colour in enumerate(pictures.DIGIT_COLOURS)
    ]
    labels = [
        f'<b style="position:absolute;left:{100 * x[-1]:.1f}%;top:{100 * (1 - height):.1f}%;font-size:.875rem;'
        f'transform:translate(.35rem,-50%);color:{pictures.DIGIT_COLOURS[digit]}">{digit}</b>'
        for digit, height in _apart(probabilities[-1] if len(steps) else np.zeros(0))
    ]
    return _chart(
        [_image(lines), *labels, *([_upright(along(place))] if place is not None else [])],
        f"Ten probabilities over {len(steps)} moments of the training. {said}",
        "Batches",
        {"0": 0.0} | {f"{10**power:,}": along(10**power) for power in range(int(right) + 1)},
        {"0%": 0.0, "50%": 0.5, "100%": 1.0},
    )


def _log(batches: float) -> float:
    return float(np.log10(max(batches, BEFORE_ANY)))


def _round(epochs: int) -> Sequence[int]:
    """Return the epochs to be labelled below a chart: ten at most, 1, 2 or 5 times a power of ten apart."""
    distances = (factor * 10**power for power in range(6) for factor in (1, 2, 5))
    return range(0, epochs + 1, next(distance for distance in distances if epochs <= 10 * distance))


def _apart(heights: np.ndarray, gap: float = 0.11, least: float = 0.03) -> list[tuple[int, float]]:
    """Return the lines that are worth a label, with heights at which no label covers another."""
    shown = [int(k) for k in np.argsort(heights, kind="stable") if heights[k] >= least]
    places: list[float] = []
    for digit in shown:
        places.append(max(float(heights[digit]), places[-1] + gap if places else 0.0))
    return list(zip(shown, places, strict=True))


def _line(x: np.ndarray, y: np.ndarray, colour: str, width: float, opacity: float = 1.0) -> str:
    """Return a line through points given in shares of the chart's width and height; a dot if there is only one."""
    points = " ".join(f"{100 * a:.2f},{100 * (1 - b):.2f}" for a, b in zip(x, y, strict=True))
    points = f"{points} {points}" if len(x) == 1 else points
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}" '
        'stroke-linejoin="round" stroke-linecap="round" vector-effect="non-scaling-stroke"/>'
    )


def _image(lines: Sequence[str]) -> str:
    """Return lines as one picture that fills the chart and a little more, so that none is cut at its edge."""
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -3 104 106" preserveAspectRatio="none">{"".join(lines)}</svg>'
    return (
        f'<img src="{pictures.data_url(drawn.encode(), "image/svg+xml")}" alt="" '
        'style="position:absolute;left:-2%;top:-3%;width:104%;height:106%;max-width:none"/>'
    )


def _upright(x: float) -> str:
    return (
        f'<span style="position:absolute;left:{100 * x:.1f}%;top:0;bottom:0;border-left:2px dashed {pictures.OCHRE}">'
        "</span>"
    )


def _chart(
    drawn: Sequence[str], said: str, below: str, x_places: Mapping[str, float], y_places: Mapping[str, float]
) -> str:
    """Draw lines over a grid, with names for places of its axes in shares of the width and the height."""
    x_names = "".join(
        f'<span style="position:absolute;left:{100 * place:.1f}%;top:100%;transform:translate(-50%,.2rem)">{name}</span>'
        for name, place in x_places.items()
    )
    y_names = "".join(
        f'<span style="position:absolute;left:0;right:0;top:{100 * (1 - place):.1f}%;border-top:1px solid {_LIGHT}"></span>'
        f'<span style="position:absolute;right:100%;top:{100 * (1 - place):.1f}%;transform:translate(-.4rem,-50%)">{name}</span>'
        for name, place in y_places.items()
    )
    return (
        f'<div role="img" aria-label="{html.escape(said)}" style="position:relative;height:{HEIGHT}px;font-size:.75rem">'
        '<div style="position:absolute;inset:.6rem 1.4rem 2.6rem 3.2rem">'
        f'<div style="opacity:.75">{y_names}{x_names}<span style="position:absolute;left:50%;top:100%;'
        f'transform:translate(-50%,1.3rem)">{below}</span></div>{"".join(drawn)}</div></div>'
    )
