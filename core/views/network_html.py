"""Pictures of a network's inside: kernels, feature maps, gradients, dead units, a small confusion matrix.

HTML text with its images in it, cheap enough to be made anew while a training runs. Each describes in words what it
shows.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

import numpy as np

from core.model.specs import CLASSES
from core.views import pictures

KERNEL_SIZE, MAP_SIZE = 44, 56  # CSS pixels
WEAKEST, STRONGEST = 1e-4, 1e1  # gradient norms at the ends of their scale
_PIXELS = "image-rendering:pixelated;border-radius:4px"
_BLUE, _WHITE, _OCHRE = (np.array(colour, np.float32) for colour in ((85, 102, 245), (247, 245, 240), (203, 124, 2)))


def kernels(values: np.ndarray) -> str:
    """Show the kernels of a first convolution, (n, k, k) float: blue below zero, ochre above, white at zero."""
    if not len(values):
        return "<p>This network has no convolution: it sees no patterns, only single pixels.</p>"
    images = "".join(_image(kernel, KERNEL_SIZE, f"kernel {k + 1}") for k, kernel in enumerate(signed(values)))
    return _group(f"The {len(values)} kernels of the first convolution", images)


def signed(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Return values as colours, (..., 3) uint8: blue below zero, ochre above, white at zero and for NaN.

    Args:
        values: of any shape.
        largest: the magnitude that has the full colour; by default the largest of the values.
    """
    strength = strengths(values, largest)[..., None]
    return np.where(strength < 0, _WHITE + (_BLUE - _WHITE) * -strength, _WHITE + (_OCHRE - _WHITE) * strength).astype(
        np.uint8
    )


def strengths(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Return how strong the colours of `signed` are, from -1 to 1 in the shape of the values."""
    if largest is None:
        largest = float(np.abs(values).max(initial=0))
    strength = values / largest if 0 < largest < math.inf else np.zeros_like(values, np.float32)
    return np.clip(np.nan_to_num(strength), -1, 1)


def feature_maps(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> str:
    """Show each layer's feature maps for a digit, a row of pictures per layer.

    Args:
        image: the digit, (28, 28) uint8.
        maps: layer name -> (n, h, w) uint8.
    """
    rows = [_row("input", _image(image, MAP_SIZE, "the digit"))]
    rows += [
        _row(layer_name(name), "".join(_image(one, MAP_SIZE, f"map {k + 1}") for k, one in enumerate(layer)))
        for name, layer in maps.items()
    ]
    if len(rows) == 1:
        rows.append("<p>No layer here gives out an image.</p>")
    return f'<div role="group" aria-label="Feature maps of one digit, layer by layer">{"".join(rows)}</div>'


def gradient_norms(norms: Mapping[str, float]) -> str:
    """Show a bar per layer, on a logarithmic scale, for the norm of the gradient of its weights."""
    span = math.log10(STRONGEST / WEAKEST)
    shares = {
        name: min(max(math.log10(max(norm, WEAKEST) / WEAKEST) / span, 0), 1) if math.isfinite(norm) else 1.0
        for name, norm in norms.items()
    }
    return _bars(shares, {name: f"{norm:.2g}" for name, norm in norms.items()}, "Gradient norm", pictures.ULTRAMARINE)


def dead_shares(shares: Mapping[str, float]) -> str:
    """Show a bar per layer for the share of its units that were zero for a whole batch."""
    if not shares:
        return "<p>No layer here ends in a ReLU, so none can die.</p>"
    return _bars(shares, {name: f"{share:.0%}" for name, share in shares.items()}, "Dead ReLUs", pictures.RED)


def confusion(counts: np.ndarray) -> str:
    """Show a small confusion matrix, (10, 10) counts, rows true; mistakes are coloured by their share of the row."""
    shares = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    cells = ["<span></span>", *(f"<b>{k}</b>" for k in range(CLASSES))]
    for true in range(CLASSES):
        cells.append(f"<b>{true}</b>")
        for read in range(CLASSES):
            count, colour = counts[true, read], "85,102,245" if true == read else "211,56,47"
            text = "" if true == read or not count else f"{count}"
            cells.append(
                f'<span title="{count} × a {true} read as {read}" '
                f'style="background:rgba({colour},{shares[true, read] * (0.55 if true == read else 1):.2f})">{text}</span>'
            )
    right = int(np.trace(counts))
    said = f"Confusion matrix of held-out digits: {right} of {counts.sum()} right."
    return (
        f'<div role="img" aria-label="{said}" style="display:grid;grid-template-columns:1.2rem repeat({CLASSES},1fr);gap:2px;'
        f'max-width:22rem;font-size:.7rem;line-height:1.65rem;text-align:center">{"".join(cells)}</div>'
        '<div style="font-size:.75rem;opacity:.75;margin-top:.3rem">rows: what it was; columns: what was read</div>'
    )


def layer_name(name: str) -> str:
    """Return a layer's name for people: `01_conv2d` becomes `1 conv2d`, `probabilities` becomes `output`."""
    number, _, kind = name.partition("_")
    return (
        f"{int(number)} {kind.replace('_', ' ')}" if number.isdecimal() else {"probabilities": "output"}.get(name, name)
    )


def _bars(shares: Mapping[str, float], texts: Mapping[str, str], title: str, colour: str) -> str:
    rows = "".join(
        f'<div style="display:grid;grid-template-columns:9rem 1fr 3.6rem;gap:.6rem;align-items:center;height:1.5rem;'
        f'font-size:.85rem"><span style="overflow:hidden;text-overflow:ellipsis;white-space:nowrap">'
        f"{html.escape(layer_name(name))}</span>"
        f'<span style="height:.7rem;border-radius:.35rem;background:rgba(127,127,140,.18);overflow:hidden">'
        f'<span style="display:block;height:100%;width:{100 * share:.1f}%;background:{colour}"></span></span>'
        f'<span style="text-align:right;font-variant-numeric:tabular-nums">{texts[name]}</span></div>'
        for name, share in shares.items()
    )
    said = "; ".join(f"{layer_name(name)} {text}" for name, text in texts.items())
    return f'<div role="img" aria-label="{title}: {html.escape(said)}">{rows}</div>'


def _row(name: str, images: str) -> str:
    return (
        f'<div style="margin-bottom:.45rem"><div style="font-size:.75rem;opacity:.75">{html.escape(name)}</div>'
        f'<div style="display:flex;flex-wrap:wrap;gap:4px">{images}</div></div>'
    )


def _group(description: str, images: str) -> str:
    return (
        f'<div role="group" aria-label="{html.escape(description)}" style="display:flex;flex-wrap:wrap;gap:4px">'
        f"{images}</div>"
    )


def _image(pixels: np.ndarray, size: int, description: str) -> str:
    return (
        f'<img src="{pictures.data_url(pictures.png(pixels))}" alt="{description}" width="{size}" height="{size}" '
        f'style="{_PIXELS}">'
    )
