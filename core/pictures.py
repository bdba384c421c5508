"""Values -> pictures that are no charts: sheets of digits, the network's diagram, probability bars.

Pictures are PNG bytes or HTML text. Text in them takes the page's own colour, so they read in both themes, and each
says in words what it shows.
"""

from __future__ import annotations

import base64
import html
import io
import math

import numpy as np
from PIL import Image

from core.ledger import Ledger
from core.specs import IMAGE_SHAPE, LayerSpec, Shape, shape_text

ULTRAMARINE, OCHRE, TEAL, STONE, RED = "#5566F5", "#CB7C02", "#1A8F86", "#7C766B", "#D3382F"
DIAGRAM_HEIGHT, LABELS_HEIGHT = 116, 40  # CSS pixels


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
        f'<div title="{value:.2g}" style="display:grid;grid-template-columns:1.2rem 1fr 4.2rem;gap:.6rem;'
        f"white-space:nowrap;align-items:center;height:1.55rem;"
        f'{"font-weight:700" if k == best else ""}"><span>{k}</span>'
        f'<span style="height:.85rem;border-radius:.4rem;background:rgba(127,127,140,.18);overflow:hidden">'
        f'<span style="display:block;height:100%;border-radius:.4rem;width:{100 * value:.1f}%;'
        f'background:{ULTRAMARINE if k == best else STONE}"></span></span>'
        f'<span style="text-align:right;font-variant-numeric:tabular-nums">{_percent(value) if best is not None else ""}</span></div>'
        for k, value in enumerate(values)
    )
    said = "No drawing yet." if best is None else f"The network reads {best}, at {_percent(values[best])}."
    return f'<div role="img" aria-label="{said}" data-digit="{"" if best is None else best}">{rows}</div>'


def network_diagram(ledger: Ledger, sample: np.ndarray) -> str:
    """The network from left to right, as HTML in a box that scrolls where it is too narrow.

    Images are drawn as stacks of squares whose side follows their height and whose depth their channels; vectors as bars
    whose height follows the logarithm of their length.

    Args:
        sample: a digit, (28, 28) uint8, shown as the input.
    """
    blocks = [
        ("Input", IMAGE_SHAPE, STONE),
        *((row.layer.kind, row.output_shape, _colour(row.layer)) for row in ledger.rows),
    ]
    if ledger.problem is None:
        blocks[-1] = ("Output", ledger.rows[-1].output_shape, ULTRAMARINE)
    parts = [
        _block(name, shape, colour, sample if place == 0 else None)
        for place, (name, shape, colour) in enumerate(blocks)
    ]
    if ledger.problem is not None:
        parts.append(_labelled(_box(0, 0, 56, RED, "transparent", "dashed"), 56, "doesn't fit", "?"))
    arrow = f'<div style="align-self:center;opacity:.45;margin-bottom:{LABELS_HEIGHT}px">→</div>'
    said = ", then ".join(f"{_short(name)} {shape_text(shape)}" for name, shape, _ in blocks)
    return (
        f'<div tabindex="0" role="img" aria-label="The network: {html.escape(said)}." style="overflow-x:auto">'
        f'<div style="display:flex;gap:.7rem;width:max-content;padding:.25rem">{arrow.join(parts)}</div></div>'
    )


_PIXELS = "image-rendering:pixelated;border-radius:6px"


def _colour(layer: LayerSpec) -> str:
    """By what a layer does: slides learned filters, shrinks, weighs up, or only changes values."""
    if layer.takes == "vector":
        return OCHRE
    if layer.takes == "image":
        return ULTRAMARINE if layer.parameters(IMAGE_SHAPE) else TEAL
    return STONE


def _block(name: str, shape: Shape, colour: str, sample: np.ndarray | None) -> str:
    if len(shape) == 1:
        tall = min(14 + 9 * math.log2(shape[0] + 1), DIAGRAM_HEIGHT)
        return _labelled(_box(0, 0, 16, colour, colour, tall=tall), 16, name, shape_text(shape), tall)
    side = 12 + 48 * shape[0] / IMAGE_SHAPE[0]
    sheets = min(1 + int(math.log2(shape[2])), 7)
    boxes = [
        _box(4 * k, 4 * (sheets - 1 - k), side, colour, f"{colour}{'D9' if k == 0 else '55'}")
        for k in reversed(range(sheets))
    ]
    if sample is not None:
        boxes = [
            f'<img src="{data_url(png(sample))}" alt="" style="position:absolute;width:{side}px;height:{side}px;{_PIXELS}">'
        ]
    return _labelled("".join(boxes), side + 4 * (sheets - 1), name, shape_text(shape).replace(" ", ""))


def _box(
    left: float, top: float, side: float, edge: str, fill: str, line: str = "solid", tall: float | None = None
) -> str:
    return (
        f'<div style="position:absolute;left:{left:.0f}px;top:{top:.0f}px;width:{side:.0f}px;height:{tall or side:.0f}px;'
        f'box-sizing:border-box;border:1.5px {line} {edge};border-radius:4px;background:{fill}"></div>'
    )


def _labelled(boxes: str, side: float, name: str, shape: str, tall: float | None = None) -> str:
    return (
        f'<div style="display:flex;flex-direction:column;align-items:center;min-width:76px">'
        f'<div style="height:{DIAGRAM_HEIGHT}px;display:flex;align-items:center">'
        f'<div style="position:relative;width:{side:.0f}px;height:{tall or side:.0f}px">{boxes}</div></div>'
        f'<div style="height:{LABELS_HEIGHT}px;text-align:center;font-size:.8rem;line-height:1.3">'
        f'<b style="font-weight:600">{html.escape(_short(name))}</b><br><span style="opacity:.75">{html.escape(shape)}</span></div></div>'
    )


def _short(name: str) -> str:
    return {"GlobalAveragePooling2D": "GlobalAverage", "BatchNormalization": "BatchNorm"}.get(name, name)


def _percent(share: float) -> str:
    """`0.9996` as `99.96 %`, never rounded up to certainty."""
    if share >= 0.9995:
        return f"{math.floor(share * 10000) / 100:.2f} %" if share < 1 else "100 %"
    return f"{100 * share:.1f} %"
