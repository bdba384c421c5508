"""Values -> pictures that are no charts: sheets of digits, the network's diagram, probability bars.

Pictures are PNG bytes or SVG/HTML text. Text in them takes the page's own colour, so they read in both themes, and each
says in words what it shows.
"""

from __future__ import annotations

import base64
import html
import io
import math

import numpy as np
from PIL import Image

from core.ledger import Ledger, Row
from core.specs import IMAGE_SHAPE, LayerSpec, Shape, shape_text

ULTRAMARINE, OCHRE, TEAL, STONE = "#5566F5", "#CB7C02", "#1A8F86", "#7C766B"


def png(pixels: np.ndarray, scale: int = 1) -> bytes:
    """A PNG of (h, w) or (h, w, 3) uint8 pixels, each drawn `scale` x `scale`."""
    if scale > 1:
        pixels = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(content: bytes, kind: str = "image/png") -> str:
    """The bytes as a URL that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sheet(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Digits side by side as one picture, filled row by row, missing ones left black.

    Args:
        images: (n, 28, 28) uint8.

    Returns: (rows * (28 + gap) - gap, columns * (28 + gap) - gap) uint8.
    """
    rows, side = max(1, math.ceil(len(images) / columns)), IMAGE_SHAPE[0] + gap
    cells = np.zeros((rows * columns, side, side), np.uint8)
    cells[: len(images), : IMAGE_SHAPE[0], : IMAGE_SHAPE[1]] = images
    whole = cells.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)
    return whole[: rows * side - gap, : columns * side - gap]


def captioned_digits(images: np.ndarray, captions: list[str], description: str) -> str:
    """Digits in a wrapping row, a short caption under each, as HTML.

    Args:
        images: (n, 28, 28) uint8.
        captions: n plain texts.
        description: what they are, for those who can't see them.
    """
    figures = "".join(
        f'<figure style="margin:0;width:68px;text-align:center">'
        f'<img src="{data_url(png(image))}" alt="{html.escape(caption)}" width="64" height="64" style="{_PIXELS}">'
        f'<figcaption style="font-size:.75rem;line-height:1.25;opacity:.85">{html.escape(caption)}</figcaption></figure>'
        for image, caption in zip(images, captions, strict=True)
    )
    return (
        f'<div role="group" aria-label="{html.escape(description)}" '
        f'style="display:flex;flex-wrap:wrap;gap:.6rem .5rem">{figures}</div>'
    )


def digit(image: np.ndarray, size: int, description: str) -> str:
    """One digit, (h, w) uint8, in a square of `size` CSS pixels, as HTML."""
    return (
        f'<img src="{data_url(png(image))}" alt="{html.escape(description)}" '
        f'style="width:{size}px;height:{size}px;max-width:100%;object-fit:contain;background:#000;{_PIXELS}">'
    )


def probability_bars(probabilities: np.ndarray | None) -> str:
    """Ten horizontal bars, the likeliest in colour, as HTML; empty bars where there are no probabilities yet.

    Args:
        probabilities: (10,) summing to 1, or None.
    """
    values = np.zeros(10) if probabilities is None else probabilities
    best = None if probabilities is None else int(values.argmax())
    rows = "".join(
        f'<div style="display:grid;grid-template-columns:1.2rem 1fr 3.6rem;gap:.6rem;align-items:center;height:1.55rem;'
        f'{"font-weight:700" if k == best else ""}"><span>{k}</span>'
        f'<span style="height:.85rem;border-radius:.4rem;background:rgba(127,127,140,.18);overflow:hidden">'
        f'<span style="display:block;height:100%;border-radius:.4rem;width:{100 * value:.1f}%;'
        f'background:{ULTRAMARINE if k == best else STONE}"></span></span>'
        f'<span style="text-align:right;font-variant-numeric:tabular-nums">{_percent(value) if best is not None else ""}</span></div>'
        for k, value in enumerate(values)
    )
    said = "No drawing yet." if best is None else f"The network reads {best}, at {_percent(values[best])}."
    return f'<div role="img" aria-label="{said}" data-digit="{"" if best is None else best}">{rows}</div>'


def network_diagram(ledger: Ledger, sample: np.ndarray | None = None) -> str:
    """The network from left to right, as SVG in a box that scrolls where it is too narrow.

    Images are drawn as stacks of squares whose side follows their height and whose depth their channels; vectors as bars
    whose height follows the logarithm of their length.

    Args:
        sample: a digit, (28, 28) uint8, shown as the input.
    """
    blocks = [("Input", IMAGE_SHAPE, STONE), *((row.layer.kind, row.output_shape, _colour(row)) for row in ledger.rows)]
    if ledger.problem is None:
        blocks[-1] = ("Output", ledger.rows[-1].output_shape, ULTRAMARINE)
    step, height, middle = 104, 176, 72
    width = step * len(blocks) + (step if ledger.problem else 0)
    parts = []
    for i, (name, shape, colour) in enumerate(blocks):
        x = i * step + step / 2
        if i:
            parts.append(_arrow(x - step + 40, x - 40, middle))
        parts.append(_block(x, middle, shape, colour, sample if i == 0 else None))
        parts.append(_label(x, 148, name, 12, 600) + _label(x, 165, shape_text(shape).replace(" ", ""), 11, 400))
    if ledger.problem:
        x = len(blocks) * step + step / 2
        parts.append(
            f'<rect x="{x - 32}" y="{middle - 32}" width="64" height="64" rx="8" fill="none" stroke="#D3382F" '
            f'stroke-width="2" stroke-dasharray="5 4"/><text x="{x}" y="{middle + 8}" text-anchor="middle" '
            f'font-size="26" font-weight="700" fill="#D3382F">?</text>' + _label(x, 148, "doesn't fit", 12, 600)
        )
    said = " then ".join(f"{name} {shape_text(shape)}" for name, shape, _ in blocks)
    return (
        f'<div style="overflow-x:auto" tabindex="0" role="img" aria-label="The network: {html.escape(said)}.">'
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="inherit">{"".join(parts)}</svg></div>'
    )


_PIXELS = "image-rendering:pixelated;border-radius:6px"


def _colour(row: Row) -> str:
    return _layer_colour(row.layer)


def _layer_colour(layer: LayerSpec) -> str:
    """By what a layer does: slides learned filters, shrinks, weighs up, or only changes values."""
    if layer.kind == "Dense":
        return OCHRE
    if layer.takes == "image" and layer.parameters(IMAGE_SHAPE):
        return ULTRAMARINE
    return TEAL if layer.takes == "image" else STONE


def _block(x: float, y: float, shape: Shape, colour: str, sample: np.ndarray | None) -> str:
    if len(shape) == 1:
        tall = 18 + 12 * math.log2(shape[0] + 1)
        tall = min(tall, 124)
        return f'<rect x="{x - 8}" y="{y - tall / 2:.1f}" width="16" height="{tall:.1f}" rx="5" fill="{colour}" fill-opacity=".85"/>'
    side = 14 + 46 * shape[0] / IMAGE_SHAPE[0]
    sheets = min(1 + int(math.log2(shape[2])), 7)
    parts = []
    for k in reversed(range(sheets)):
        left, top = x - side / 2 + (k - sheets / 2) * 4, y - side / 2 - (k - sheets / 2) * 4
        opacity = 0.9 if k == 0 else 0.35
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{side:.1f}" height="{side:.1f}" rx="3" fill="{colour}" '
            f'fill-opacity="{opacity}" stroke="{colour}"/>'
        )
    if sample is not None:
        parts.append(
            f'<image href="{data_url(png(sample))}" x="{x - side / 2 - 2:.1f}" y="{y - side / 2 + 2:.1f}" width="{side:.1f}" '
            f'height="{side:.1f}" style="image-rendering:pixelated"/>'
        )
    return "".join(parts)


def _arrow(x1: float, x2: float, y: float) -> str:
    return (
        f'<path d="M{x1} {y}H{x2 - 3}m-5 -4 5 4-5 4" fill="none" stroke="currentColor" stroke-opacity=".45" '
        f'stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _label(x: float, y: float, text: str, size: int, weight: int) -> str:
    text = {"GlobalAveragePooling2D": "GlobalAverage", "BatchNormalization": "BatchNorm"}.get(text, text)
    return (
        f'<text x="{x}" y="{y}" text-anchor="middle" font-size="{size}" font-weight="{weight}" fill="currentColor">'
        f"{html.escape(text)}</text>"
    )


def _percent(share: float) -> str:
    """`0.9996` as `99.96 %`, never rounded up to certainty."""
    if share >= 0.9995:
        return f"{math.floor(share * 10000) / 100:.2f} %" if share < 1 else "100 %"
    return f"{100 * share:.1f} %"
