"""Values -> pictures that are no charts: sheets of digits, the network's diagram and its ledger, probability bars.

Pictures are PNG bytes or HTML text. Text in them takes the page's own colour, so they read in both themes, and each
says in words what it shows.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from core.model.ledger import Ledger, Row
from core.model.specs import IMAGE_SHAPE, Block, Shape, shape_text

ULTRAMARINE, OCHRE, TEAL, STONE, RED = "#5566F5", "#CB7C02", "#1A8F86", "#7C766B", "#D3382F"
# Ten colours told apart by most eyes on paper and on blue-black; the digits' names stand beside them.
# Source: P. Tol, "Colour schemes", SRON 2021, bright and vibrant, two of them darkened.
DIGIT_COLOURS = [
    "#4477AA",
    "#EE6677",
    "#228833",
    "#B8A62B",
    "#3FA9C9",
    "#AA3377",
    "#8A8A8A",
    "#EE7733",
    "#009988",
    "#7A5BC7",
]
DIAGRAM_HEIGHT, LABELS_HEIGHT = 116, 40  # CSS pixels


def png(pixels: np.ndarray, scale: int = 1) -> bytes:
    """Return a PNG of (h, w), (h, w, 3) or, with transparency, (h, w, 4) uint8 pixels, each drawn `scale` x `scale`."""
    if scale > 1:
        pixels = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def palette_png(indices: np.ndarray, palette: np.ndarray) -> bytes:
    """Return a PNG of (h, w) uint8 indices into (n, 3) uint8 colours, transparent where an index is beyond the last.

    It is half the size of other PNGs, and made in a third of the time.
    """
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes() + bytes(3))  # what is clear has a colour too
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=len(palette))
    return buffer.getvalue()


def data_url(content: bytes, kind: str = "image/png") -> str:
    """Return a URL that holds the bytes."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sheet(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Put digits side by side into one picture, filled row by row, missing ones left black.

    Args:
        images: (n, 28, 28) uint8.
        columns: digits per row.
        gap: pixels between two digits.

    Returns:
        (rows * (28 + gap) - gap, columns * (28 + gap) - gap) uint8.
    """
    rows, side = max(1, math.ceil(len(images) / columns)), IMAGE_SHAPE[0] + gap
    cells = np.zeros((rows * columns, side, side), np.uint8)
    cells[: len(images), : IMAGE_SHAPE[0], : IMAGE_SHAPE[1]] = images
    whole = cells.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)
    return whole[: rows * side - gap, : columns * side - gap]


def captioned_digits(images: np.ndarray, captions: list[str], description: str) -> str:
    """Show digits in a wrapping row, a short caption under each, as HTML.

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


def damaged_digits(samples: np.ndarray, labels: np.ndarray, readings: np.ndarray, captions: list[str]) -> str:
    """Show digits as damage grows, a row per severity, as HTML, with the prediction below each digit that is
    misclassified.

    Args:
        samples: (severities, k, 28, 28) uint8.
        labels: the digits, (k,).
        readings: the predictions, (severities, k).
        captions: a short text for each severity.
    """
    rows = []
    for row, read, caption in zip(samples, readings, captions, strict=True):
        errors = [f"a {label} as {other}" for label, other in zip(labels, read, strict=True) if label != other]
        said = f"{caption}. Of the {len(labels)} shown, {'all are read right' if not errors else 'read ' + ', '.join(errors)}"
        below = "".join(
            f'<span style="text-align:center;font-weight:600;color:{RED}">{other if label != other else "&nbsp;"}</span>'
            for label, other in zip(labels, read, strict=True)
        )
        rows.append(
            f'<div role="img" aria-label="{html.escape(said)}" style="display:flex;flex-wrap:wrap;gap:0 .8rem">'
            f'<span style="flex:0 0 8.5rem;padding-top:.4rem;font-variant-numeric:tabular-nums">{html.escape(caption)}</span>'
            f'<div style="flex:1 1 18rem;max-width:30rem;font-size:.8rem;line-height:1.35">'
            f'<img alt="" src="{data_url(png(sheet(row, len(row)), scale=2))}" style="width:100%;display:block;{_PIXELS}">'
            f'<div style="display:grid;grid-template-columns:repeat({len(labels)},1fr)">{below}</div></div></div>'
        )
    return f'<div style="display:flex;flex-direction:column">{"".join(rows)}</div>'


def one_alone(only_first: int, only_second: int, first: str, second: str) -> str:
    """Show how many images only one of two networks classifies correctly, as two bars from the middle, as HTML.

    Args:
        only_first, only_second: the numbers of images.
        first, second: the networks' names, plain text.
    """
    most = max(only_first, only_second, 1)

    def side(count: int, colour: str, name: str, justify: str) -> str:
        bar = f'<span style="height:1.1rem;border-radius:.3rem;background:{colour};width:{80 * count / most:.1f}%"></span>'
        number = f'<b style="font-variant-numeric:tabular-nums">{count:,}</b>'
        inside = f"{number}{bar}" if justify == "flex-end" else f"{bar}{number}"
        return (
            f'<div style="flex:1 1 0;min-width:0;text-align:{"right" if justify == "flex-end" else "left"}">'
            f'<div style="display:flex;gap:.5rem;align-items:center;justify-content:{justify}">{inside}</div>'
            f'<div style="font-size:.8rem;opacity:.8;overflow-wrap:anywhere">{html.escape(name)}</div></div>'
        )

    said = f"Only {first} is right on {only_first}, only {second} on {only_second}."
    return (
        f'<div role="img" aria-label="{html.escape(said)}" style="display:flex;gap:.6rem;max-width:42rem">'
        f"{side(only_first, ULTRAMARINE, first, 'flex-end')}{side(only_second, OCHRE, second, 'flex-start')}</div>"
    )


def digit(image: np.ndarray, size: int, description: str) -> str:
    """Show one digit, (h, w) uint8, in a square of `size` CSS pixels, as HTML.

    Args:
        image: (h, w) uint8.
        size: side in CSS pixels.
        description: what it is, for those who can't see it.
    """
    return (
        f'<img src="{data_url(png(image))}" alt="{html.escape(description)}" '
        f'style="width:{size}px;height:{size}px;max-width:100%;object-fit:contain;background:#000;{_PIXELS}">'
    )


def probability_bars(probabilities: np.ndarray | None, is_digit: bool = True, missing: str = "No drawing yet.") -> str:
    """Show ten horizontal bars, the likeliest in colour, as HTML; empty bars if there are no probabilities yet.

    Args:
        probabilities: (10,) summing to 1, or None.
        is_digit: whether the picture is taken for a digit at all; if not, no bar is highlighted.
        missing: the reason why there are none, in a sentence.
    """
    values = np.zeros(10) if probabilities is None else probabilities
    best = None if probabilities is None or not is_digit else int(values.argmax())
    rows = "".join(
        f'<div title="{value:.2g}" style="display:grid;grid-template-columns:1.2rem 1fr 4.2rem;gap:.6rem;'
        f"white-space:nowrap;align-items:center;height:1.55rem;"
        f'{"font-weight:700" if k == best else ""}"><span>{k}</span>'
        f'<span style="height:.85rem;border-radius:.4rem;background:rgba(127,127,140,.18);overflow:hidden">'
        f'<span style="display:block;height:100%;border-radius:.4rem;width:{100 * value:.1f}%;'
        f'background:{ULTRAMARINE if k == best else STONE}"></span></span>'
        f'<span style="text-align:right;font-variant-numeric:tabular-nums">'
        f"{'' if probabilities is None else _percent(value)}</span></div>"
        for k, value in enumerate(values)
    )
    if probabilities is None:
        said = missing
    elif best is None:
        said = f"Probably no digit. If it is one, then most likely a {int(values.argmax())}."
    else:
        said = f"The network reads {best}, at {_percent(values[best])}."
    if probabilities is not None:
        said += " All ten: " + ", ".join(f"{k} {_percent(value)}" for k, value in enumerate(values)) + "."
    shown = "" if is_digit else "opacity:.55"
    return (
        f'<div role="img" aria-label="{said}" data-digit="{"" if best is None else best}" style="{shown}">{rows}</div>'
    )


def preparation(pictures: Sequence[np.ndarray], names: Sequence[str], answers: Sequence[str]) -> str:
    """Show the steps from a drawing to a picture like MNIST's, each with its name and the network's prediction, as
    HTML.

    Args:
        pictures: each (h, w) uint8.
        names: of the steps.
        answers: the prediction after each step.
    """
    figures = "".join(
        f'<figure style="margin:0;width:112px"><img src="{data_url(png(_at_most(picture, 192)))}" '
        f'alt="{html.escape(name)}" width="96" height="96" '
        f'style="object-fit:contain;background:#000;{_PIXELS}"><figcaption style="font-size:.8rem;line-height:1.3">'
        f'{html.escape(name)}<br><b style="font-weight:600;font-variant-numeric:tabular-nums">{html.escape(answer)}</b>'
        f"</figcaption></figure>"
        for picture, name, answer in zip(pictures, names, answers, strict=True)
    )
    said = ", then ".join(f"{name}: {answer}" for name, answer in zip(names, answers, strict=True))
    return (
        f'<div role="group" aria-label="How the drawing was prepared. {html.escape(said)}" '
        f'style="display:flex;flex-wrap:wrap;gap:.6rem;min-height:8.5rem">{figures}</div>'
    )


def number(images: np.ndarray, probabilities: np.ndarray, are_digits: Sequence[bool]) -> str:
    """Show a number in large type, its least certain digit marked, and below it each digit's picture and bars, as HTML.

    Args:
        images: its digits from left to right, (n, 28, 28) uint8.
        probabilities: (n, 10).
        are_digits: which of them look like digits; the others are shown as question marks.
    """
    digits = probabilities.argmax(axis=1)
    signs = [str(digit) if is_digit else "?" for digit, is_digit in zip(digits, are_digits, strict=True)]
    sure = np.where(are_digits, probabilities.max(axis=1), 0)
    weakest = int(sure.argmin()) if len(signs) else -1
    cards = "".join(
        _digit_of_number(image, values, sign, k == weakest)
        for k, (image, values, sign) in enumerate(zip(images, probabilities, signs, strict=True))
    )
    said = f"The number {' '.join(signs)}." if signs else "No number yet."
    if signs:
        said += f" Least sure is digit {weakest + 1}, {_as_said(signs[weakest], probabilities[weakest])}."
    return (
        f'<div role="group" aria-label="{said}" data-number="{"".join(signs)}" '
        f'style="display:flex;flex-wrap:wrap;gap:.5rem;min-height:15rem;align-content:flex-start">{cards}</div>'
    )


def _digit_of_number(image: np.ndarray, probabilities: np.ndarray, sign: str, is_weakest: bool) -> str:
    bars = "".join(
        f'<span title="{k}: {_percent(value)}" style="flex:1;height:{max(100 * value, 3):.0f}%;border-radius:1px;'
        f'background:{ULTRAMARINE if str(k) == sign else STONE}"></span>'
        for k, value in enumerate(probabilities)
    )
    names = "".join(f'<span style="flex:1">{k}</span>' for k in range(10))
    mark = f"border-bottom:4px solid {OCHRE}" if is_weakest else "border-bottom:4px solid transparent"
    return (
        f'<figure style="margin:0;flex:0 1 76px;min-width:60px;text-align:center">'
        f"<div style=\"font:700 4rem/1.05 'Bricolage Grotesque',sans-serif;{mark}\">{sign}</div>"
        f'<div style="font-size:.8rem;line-height:1.3;height:2.6em">{_as_said(sign, probabilities)}'
        f"{'<br>weakest' if is_weakest else ''}</div>"
        f'<img src="{data_url(png(image))}" alt="" width="64" height="64" style="{_PIXELS}">'
        f'<div style="display:flex;gap:1px;align-items:flex-end;height:36px;margin-top:.3rem">{bars}</div>'
        f'<div style="display:flex;gap:1px;font-size:.6rem;opacity:.8">{names}</div></figure>'
    )


def _as_said(sign: str, probabilities: np.ndarray) -> str:
    return "no digit" if sign == "?" else _percent(probabilities.max())


def _at_most(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture, shrunk if its longer side is longer than `side` pixels."""
    if max(picture.shape) <= side:
        return picture
    shrunk = Image.fromarray(picture)
    shrunk.thumbnail((side, side))
    return np.asarray(shrunk)


def network_diagram(ledger: Ledger, sample: np.ndarray) -> str:
    """Draw the network from left to right, as HTML in a box that scrolls if it is too narrow.

    Images are drawn as stacks of squares whose side follows their height and whose depth their channels; vectors as
    bars whose height follows the logarithm of their length. A block of layers with two paths through it has an arc
    above.

    Args:
        ledger: of the network.
        sample: a digit, (28, 28) uint8, shown as the input.
    """
    blocks: list[tuple[str, Shape, str, bool]] = [
        ("Input", IMAGE_SHAPE, STONE, False),
        *((row.layer.kind, row.output_shape, _colour(row), isinstance(row.layer, Block)) for row in ledger.rows),
    ]
    if ledger.problem is None:
        blocks[-1] = ("Output", ledger.rows[-1].output_shape, ULTRAMARINE, False)
    parts = [_block(*block, sample if place == 0 else None) for place, block in enumerate(blocks)]
    if ledger.problem is not None:
        parts.append(_labelled(_box(0, 0, 56, RED, "transparent", "dashed"), 56, "doesn't fit", "?"))
    arrow = f'<div style="align-self:center;opacity:.45;margin-bottom:{LABELS_HEIGHT}px">→</div>'
    said = ", then ".join(f"{_short(name)} {shape_text(shape)}" for name, shape, *_ in blocks)
    return (
        f'<div tabindex="0" role="img" aria-label="The network: {html.escape(said)}." style="overflow-x:auto">'
        f'<div style="display:flex;gap:.7rem;width:max-content;padding:.25rem">{arrow.join(parts)}</div></div>'
    )


def ledger_row(row: Row, ledger: Ledger) -> str:
    """Show a layer's output and cost as HTML.

    That is the form of its output, the square of the digit that one output depends on, and its share of the network's
    parameters and multiply-adds as bars.
    """
    side = row.receptive_field
    sees = "all of the digit" if side >= IMAGE_SHAPE[0] else f"{side} × {side} pixels"
    of_parameters, of_macs = _share(row.parameters, ledger.parameters), _share(row.macs, ledger.macs)
    said = (
        f"Makes {shape_text(row.output_shape)}. {row.parameters:,} parameters, {of_parameters} of all. "
        f"{row.macs:,} multiply-adds, {of_macs} of all. One output sees {sees}."
    )
    return (
        f'<div role="img" aria-label="{said}" data-shape="{shape_text(row.output_shape)}" style="{_ROW}">'
        f'<div style="display:flex;align-items:center;gap:.6rem;flex:1 0 13.6rem;min-width:0">'
        f'{_form(row)}<span style="flex:1;white-space:nowrap">{shape_text(row.output_shape)}</span>'
        f'{_seen(side)}<span style="width:3.6rem;white-space:nowrap;opacity:.75;line-height:1.15">'
        f"sees<br>{_sees_shortly(side)}</span></div>"
        f'<div style="display:grid;grid-template-columns:1fr 1.15fr;gap:.75rem;flex:1 1 15.6rem;min-width:0">'
        f"{_bar(f'{row.parameters:,}', 'parameters', row.parameters, ledger.parameters, of_parameters, ULTRAMARINE)}"
        f"{_bar(_in_thousands(row.macs), 'multiply-adds', row.macs, ledger.macs, of_macs, OCHRE)}"
        f"</div></div>"
    )


def ledger_gap(said: str) -> str:
    """Show a row without figures, with the reason, as HTML of the same height."""
    return f'<div style="{_ROW};opacity:.7">{html.escape(said)}</div>'


_ROW = (
    "display:flex;flex-wrap:wrap;align-items:center;gap:.35rem .75rem;min-height:2.4rem;"
    "font-size:.8rem;line-height:1.3;font-variant-numeric:tabular-nums"
)


def _form(row: Row) -> str:
    """Show the output as a small stack of squares or as a bar, in a square of 36 CSS pixels."""
    shape, colour = row.output_shape, _colour(row)
    if len(shape) == 1:
        tall = min(8 + 2.2 * math.log2(shape[0] + 1), 34)
        boxes = _box(14, (36 - tall) / 2, 8, colour, colour, tall=tall)
    else:
        side, sheets = 6 + 18 * shape[0] / IMAGE_SHAPE[0], min(1 + int(math.log2(shape[2])) // 2, 4)
        edge = (36 - side - 3 * (sheets - 1)) / 2
        boxes = _sheets(edge, edge + 3 * (sheets - 1), side, colour, sheets, 3)
    return f'<span style="position:relative;flex:none;width:36px;height:36px">{boxes}</span>'


def _seen(side: int) -> str:
    """Show a square of `side` pixels in the middle of the digit's, pixel for pixel."""
    whole = IMAGE_SHAPE[0]
    edge = (whole - side) / 2
    return (
        f'<span style="position:relative;flex:none;width:{whole + 2}px;height:{whole + 2}px;box-sizing:border-box;'
        f'border:1px solid rgba(127,127,140,.7);border-radius:3px;background:rgba(127,127,140,.12)">'
        f'<span style="position:absolute;left:{edge:g}px;top:{edge:g}px;width:{side}px;height:{side}px;'
        f'background:{TEAL};border-radius:2px"></span></span>'
    )


def _sees_shortly(side: int) -> str:
    return "all of it" if side >= IMAGE_SHAPE[0] else f"{side} × {side}"


def _bar(text: str, unit: str, part: int, whole: int, share: str, colour: str) -> str:
    """Show a quantity over a bar of its share of the whole; the share in words on hover."""
    width = max(100 * part / whole, 1.5) if part and whole else 0
    return (
        f'<div title="{share} of all {unit}" style="min-width:0;{"" if part else "opacity:.55"}">'
        f'<div style="white-space:nowrap;overflow:hidden;text-overflow:ellipsis">{text if part else "no"} '
        f'<span style="opacity:.75">{unit}</span></div>'
        f'<div style="height:.4rem;margin-top:.15rem;border-radius:.2rem;background:rgba(127,127,140,.2);overflow:hidden">'
        f'<div style="height:100%;width:{width:.1f}%;background:{colour}"></div></div></div>'
    )


_PIXELS = "image-rendering:pixelated;border-radius:6px"


def _colour(row: Row) -> str:
    """Choose a colour by what a layer does: slides learned filters, makes images smaller, connects values, or only
    changes them.
    """
    if row.layer.takes == "vector":
        return OCHRE
    if row.layer.takes == "image" and (row.parameters or row.output_shape != row.input_shape):
        return ULTRAMARINE if row.parameters else TEAL
    return STONE


def _block(name: str, shape: Shape, colour: str, has_two_ways: bool, sample: np.ndarray | None) -> str:
    if len(shape) == 1:
        tall = min(14 + 9 * math.log2(shape[0] + 1), DIAGRAM_HEIGHT)
        return _labelled(_box(0, 0, 16, colour, colour, tall=tall), 16, name, shape_text(shape), tall)
    side = 12 + 48 * shape[0] / IMAGE_SHAPE[0]
    sheets = min(1 + int(math.log2(shape[2])), 7)
    boxes = [_sheets(0, 4 * (sheets - 1), side, colour, sheets, 4)]
    if sample is not None:
        boxes = [
            f'<img src="{data_url(png(sample))}" alt="" style="position:absolute;width:{side}px;height:{side}px;{_PIXELS}">'
        ]
    wide = side + 4 * (sheets - 1)
    if has_two_ways:
        boxes.append(
            f'<div style="position:absolute;left:-14px;top:-13px;width:{wide + 28:.0f}px;height:{wide / 2 + 13:.0f}px;'
            f"box-sizing:border-box;border:1.5px solid {colour};border-bottom:0;border-radius:12px 12px 0 0;"
            f'opacity:.75"></div>'
        )
    return _labelled("".join(boxes), wide, name, shape_text(shape).replace(" ", ""))


def _sheets(left: float, top: float, side: float, colour: str, count: int, apart: int) -> str:
    """Draw `count` squares one behind the other, up and to the right: one element and its shadows, which browsers draw
    faster."""
    pale = "#" + "".join(f"{(int(colour[k : k + 2], 16) + 255) // 2:02X}" for k in (1, 3, 5))
    behind = ",".join(
        f"{apart * k}px -{apart * k}px 0 -1px {pale},{apart * k}px -{apart * k}px 0 0 {colour}" for k in range(1, count)
    )
    return (
        f'<div style="position:absolute;left:{left:.0f}px;top:{top:.0f}px;width:{side:.0f}px;height:{side:.0f}px;'
        f"box-sizing:border-box;border:1px solid {colour};border-radius:4px;background:{colour};"
        f'box-shadow:{behind or "none"}"></div>'
    )


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
    """Return a kind's name, a long one shortened by parts that are understood without saying."""
    if len(name) <= 12:
        return name
    return name.removesuffix("2D").replace("Normalization", "Norm").replace("Pooling", "Pool")


def _in_thousands(count: int) -> str:
    """Return a count in short: `170352` becomes `170 k`."""
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 999.5 * size else f"{count / size:,.0f} {unit}"
    return str(count)


def _share(part: int, whole: int) -> str:
    """Return a part of the whole in per cent, never rounded to nothing or to all."""
    share = 100 * part / whole if whole else 0
    if part and share < 0.1:
        return "under 0.1 %"
    if part != whole and share > 99.9:
        return "over 99.9 %"
    return f"{share:.3g} %"


def _percent(share: float) -> str:
    """Return a share in per cent, `0.9996` as `99.96 %`, never rounded up to certainty."""
    if share >= 0.9995:
        return f"{math.floor(share * 10000) / 100:.2f} %" if share < 1 else "100 %"
    return f"{100 * share:.1f} %"
