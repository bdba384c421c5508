"""Pictures that explain a network: the arithmetic of one number, attribution maps, changed digits.

HTML text with its images in it, as in `core.views.network_html`. Each describes in words what it shows.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from core.explain import attribution
from core.explain.adversarial import Change
from core.explain.arithmetic import Form, Unit
from core.explain.attribution import Curves, Explanation, Method
from core.explain.questions import Forgotten
from core.views import network_html, pictures
from core.views.network_html import layer_name

ZOOM = 5  # of a pixel of the digit, so that an outline is thinner than one
MAP_SIZE, SMALL_SIZE = 140, 70  # CSS pixels
OUTLINE = (70, 68, 80)
_PIXELS = "image-rendering:pixelated;border-radius:4px"


# --- one number, worked out ---------------------------------------------------------------------------------------------

MOST_CHANNELS, MOST_TERMS, LARGEST_WRITTEN = 3, 8, 5
_CELL = "display:inline-flex;align-items:center;justify-content:center;color:#1b1b22"


def over_digit(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return a map's colours with the digit's outline on them, (140, 140, 3) uint8.

    Args:
        values: (28, 28) float, one number per pixel.
        image: (28, 28) uint8.
    """
    colours, inked = (
        each.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1) for each in (network_html.signed(values), image >= 128)
    )
    edge = np.zeros_like(inked)
    edge[1:] |= inked[1:] != inked[:-1]
    edge[:, 1:] |= inked[:, 1:] != inked[:, :-1]
    colours[edge] = OUTLINE
    return colours


def arithmetic(unit: Unit) -> str:
    """Show the calculation of one number as HTML: its inputs, their factors, and the sum."""
    match unit.form:
        case Form.WINDOW:
            shown = _channels(unit)
        case Form.MAX_POOL | Form.AVERAGE_POOL | Form.GLOBAL_AVERAGE:
            shown = _chosen_from(unit)
        case Form.DENSE:
            shown = _contributions(unit)
        case _:
            shown = ""
    return f'<div style="display:flex;flex-direction:column;gap:.8rem">{shown}{_sum(unit)}</div>'


def _channels(unit: Unit) -> str:
    """Show the window, the kernel and their products, of the channels that contribute most."""
    sums = unit.products.sum(axis=(0, 1), dtype=np.float64)
    first = np.argsort(-np.abs(sums), kind="stable")[:MOST_CHANNELS]
    largest = [float(np.abs(each).max(initial=0)) for each in (unit.patch, unit.factors, unit.products)]
    rows = "".join(
        f'<div><div style="margin-bottom:.2rem"><span style="opacity:.75">channel {channel + 1}</span> adds up to '
        f'<b>{_number(sums[channel])}</b></div><div style="display:flex;flex-wrap:wrap;align-items:center;gap:.4rem">'
        f"{_grid(unit.patch[..., channel], largest[0], unit.is_inside)}<span>×</span>"
        f"{_grid(unit.factors[..., channel], largest[1])}<span>=</span>"
        f"{_grid(unit.products[..., channel], largest[2])}</div></div>"
        for channel in first
    )
    rest = len(sums) - len(first)
    if rest:
        others = float(sums.sum() - sums[first].sum())
        rows += f'<div style="opacity:.85">The other {rest} channels add <b>{_number(others)}</b>.</div>'
    return rows


def _chosen_from(unit: Unit) -> str:
    values, word = unit.patch[..., 0], "the largest" if unit.form is Form.MAX_POOL else "the mean"
    is_chosen = (values == unit.total) & unit.is_inside if unit.form is Form.MAX_POOL else None
    return (
        f'<div style="display:flex;flex-wrap:wrap;align-items:center;gap:.6rem">'
        f"{_grid(values, float(np.abs(values).max(initial=0)), unit.is_inside, is_chosen)}"
        f"<span>{word} is <b>{_number(unit.total)}</b></span></div>"
    )


def _contributions(unit: Unit) -> str:
    """Show each input's contribution to a unit, the largest first; as a picture if the inputs were an image."""
    products = unit.products
    first = [int(k) for k in np.argsort(-np.abs(products), kind="stable")[:MOST_TERMS]]
    largest = float(np.abs(products).max(initial=0)) or 1.0
    terms = "".join(
        f'<div style="display:grid;grid-template-columns:6.5rem 8.5rem 1fr 3.7rem;gap:.4rem;align-items:center;height:1.5rem;'
        f'font-variant-numeric:tabular-nums;font-size:.85rem"><span style="opacity:.75">{_source(unit, k)}</span>'
        f"<span>{_number(unit.patch[k])} × {_number(unit.factors[k])}</span>{_signed_bar(products[k] / largest)}"
        f'<span style="text-align:right">{_number(products[k])}</span></div>'
        for k in first
    )
    others = float(products.sum(dtype=np.float64) - products[first].sum(dtype=np.float64))
    rest = (
        f"<div>The other {len(products) - len(first):,} add <b>{_number(others)}</b>.</div>"
        if len(products) > 8
        else ""
    )
    picture = ""
    if unit.flattened is not None:
        where = products.reshape(unit.flattened).sum(axis=2)
        picture = (
            f"<div>{_image(network_html.signed(where), 140, 'where the contributions lie')}"
            '<div style="font-size:.75rem;opacity:.75">where they lie: ochre for, blue against</div></div>'
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:1.2rem"><div style="flex:1 1 20rem">{terms}{rest}</div>{picture}</div>'


def _source(unit: Unit, k: int) -> str:
    if unit.flattened is None:
        return f"unit {k + 1}"
    row, column, channel = np.unravel_index(k, unit.flattened)
    return f"map {channel + 1} ({row}, {column})"


def _sum(unit: Unit) -> str:
    """Show the last lines of the sum, and Keras' result."""
    match unit.form:
        case Form.WINDOW | Form.DENSE:
            products = unit.products.sum(dtype=np.float64)
            steps = f"{_number(products)} {_added(unit.bias)} (bias) = <b>{_number(unit.total)}</b>"
        case Form.SCALE:
            read, by = _number(unit.patch[0]), _number(unit.factors[0])
            steps = f"{read} × {by} {_added(unit.bias)} = <b>{_number(unit.total)}</b>"
        case Form.SUM:
            steps = f"{' + '.join(_number(x) for x in unit.patch)} = <b>{_number(unit.total)}</b>"
        case Form.FUNCTION | Form.SAME | Form.FLAT:
            is_of_vector = len(unit.place) == 1 and unit.form is not Form.FLAT
            place = f"unit {unit.place[0] + 1}" if is_of_vector else f"row {unit.corner[0]}, column {unit.corner[1]}"
            steps = f"takes <b>{_number(unit.total)}</b> from {place}"
        case _:
            steps = ""
    if unit.totals is not None:
        steps += f"; e to that, divided by the sum of all {len(unit.totals)} = <b>{_number(unit.result)}</b>"
    elif unit.activation != "linear":
        steps += f"; {unit.activation} makes it <b>{_number(unit.result)}</b>"
    line = f"<div>{steps}</div>" if steps else ""
    # Room for a sum of two lines, so that nothing moves as it slides.
    return f'<div style="min-height:4.8em">{line}<div style="opacity:.75">Keras says {_number(unit.keras)}.</div></div>'


def _added(value: float) -> str:
    return f"{'−' if value < 0 else '+'} {_number(abs(value))}"


def _grid(
    values: np.ndarray, largest: float, is_inside: np.ndarray | None = None, is_chosen: np.ndarray | None = None
) -> str:
    """Show numbers on their colours; without the numbers if there are many."""
    height, width = values.shape
    is_written = max(height, width) <= LARGEST_WRITTEN
    size, font = (32, 10) if is_written else (max(4, 150 // max(height, width)), 0)
    colours = network_html.signed(values, largest)
    cells = []
    for place in np.ndindex(values.shape):
        colour = f"rgb({','.join(map(str, colours[place]))})"
        text = _short(float(values[place])) if is_written else ""
        edge = ""
        if is_inside is not None and not is_inside[place]:
            colour, text = "repeating-linear-gradient(45deg,#bbb 0 3px,#ddd 3px 6px)", "0" if is_written else ""
        if is_chosen is not None and is_chosen[place]:
            edge = f"outline:2px solid {pictures.RED};outline-offset:-2px;"
        cells.append(
            f'<span style="{_CELL};{edge}background:{colour}" title="{_number(float(values[place]))}">{text}</span>'
        )
    said = "; ".join(", ".join(_number(value) for value in row) for row in values[:LARGEST_WRITTEN, :LARGEST_WRITTEN])
    return (
        f'<div role="img" aria-label="{said}" style="display:grid;grid-template-columns:repeat({width},{size}px);'
        f'grid-auto-rows:{size}px;gap:1px;font-size:{font}px;font-variant-numeric:tabular-nums">{"".join(cells)}</div>'
    )


def _signed_bar(share: float) -> str:
    """Show a bar from the middle, to the right above zero."""
    width = 50 * min(abs(float(np.nan_to_num(share))), 1)
    left, colour = (50, pictures.OCHRE) if share >= 0 else (50 - width, pictures.ULTRAMARINE)
    return (
        '<span style="position:relative;height:.7rem;border-radius:.3rem;background:rgba(127,127,140,.18)">'
        f'<span style="position:absolute;left:{left:.1f}%;width:{width:.1f}%;height:100%;background:{colour}"></span></span>'
    )


def _number(value: float) -> str:
    """Return a number with three significant digits and a true minus sign."""
    return f"{float(value) + 0.0:.3g}".replace("-", "−")


def _short(value: float) -> str:
    """Return a number with two decimals, for a small cell; zero as "0"."""
    return "0" if value == 0 else f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


# --- why this digit -----------------------------------------------------------------------------------------------------


def attributions(image: np.ndarray, explanation: Explanation) -> str:
    """Show the maps of all methods side by side over the digit, as HTML, or the reason why one is missing.

    Args:
        image: (28, 28) uint8.
        explanation: the maps.
    """
    cards = "".join(
        f'<figure style="margin:0;width:{MAP_SIZE}px"><figcaption style="font-weight:600;font-size:.82rem">{method}</figcaption>'
        f"{_map_or_reason(image, explanation, method)}"
        f'<div style="font-size:.75rem;line-height:1.3;opacity:.8;margin-top:.3rem">{attribution.ABOUT[method]}</div></figure>'
        for method in Method
    )
    said = f"Five maps of what speaks for a {explanation.digit}, over the digit"
    return f'<div role="group" aria-label="{said}" style="display:flex;flex-wrap:wrap;gap:1rem">{cards}</div>'


def completeness(explanation: Explanation) -> str:
    """Compare the sum of integrated gradients with what it should be, in a sentence of Markdown."""
    return (
        f"Integrated gradients are a division without remainder: all pixels together get "
        f"**{_number(explanation.attributed)}** of score, and the score of this digit less that of an empty sheet is "
        f"**{_number(explanation.difference)}**. They differ by {100 * explanation.gap:.2g} %."
    )


def beliefs(image: np.ndarray, explanation: Explanation, forgotten: Sequence[Forgotten]) -> str:
    """Show every map with its curves and its change as the network loses what it learned, as HTML.

    Args:
        image: (28, 28) uint8.
        explanation: the maps.
        forgotten: level by level, the last layer's first; those still under way are left out.
    """
    rows = "".join(_belief(image, explanation, method, forgotten) for method in explanation.maps)
    return f'<div style="display:flex;flex-direction:column;gap:1.1rem">{rows}</div>'


def changed_digit(image: np.ndarray, change: Change) -> str:
    """Show a digit, the change, and the result, as HTML."""
    by = change.image.astype(np.float32) - image
    shown = [
        (image, "the digit"),
        (network_html.signed(by), f"ochre adds ink, blue takes it, {np.abs(by).max():.0f} of 255 levels at most"),
        (change.image, f"{'read' if change.is_reached else 'still read'} as a {int(change.probabilities.argmax())}"),
    ]
    first, second, third = (
        f'<figure style="margin:0;width:{MAP_SIZE + 20}px">{_image(pixels, MAP_SIZE + 20, said)}'
        f'<figcaption style="font-size:.8rem;opacity:.85">{said}</figcaption></figure>'
        for pixels, said in shown
    )
    parts = f"{first}{_sign('+')}{second}{_sign('=')}{third}"
    return f'<div style="display:flex;flex-wrap:wrap;gap:.6rem">{parts}</div>'


def perfect_digits(images: np.ndarray, probabilities: np.ndarray) -> str:
    """Show ten pictures and the network's probability for each, as HTML.

    Args:
        images: (10, 28, 28) float32 ink.
        probabilities: (10, 10) float32.
    """
    captions = [f"{digit}, {row[digit]:.1%}" for digit, row in enumerate(probabilities)]
    return pictures.captioned_digits(
        np.rint(255 * images).astype(np.uint8), captions, "What the network thinks each digit should look like"
    )


def _map_or_reason(image: np.ndarray, explanation: Explanation, method: Method) -> str:
    if method in explanation.missing:
        return (
            f'<div style="width:{MAP_SIZE}px;height:{MAP_SIZE}px;box-sizing:border-box;padding:.6rem;font-size:.8rem;'
            f'border:1px dashed rgba(127,127,140,.6);border-radius:4px">{html.escape(explanation.missing[method])}</div>'
        )
    return _image(over_digit(explanation.maps[method], image), MAP_SIZE, f"{method} for a {explanation.digit}")


def _belief(image: np.ndarray, explanation: Explanation, method: str, forgotten: Sequence[Forgotten]) -> str:
    values, curves, chance = explanation.maps[method], explanation.curves[method], explanation.chance
    if attribution.is_flat(values):
        checked = '<div style="font-size:.8rem">This map is flat: it points nowhere.</div>'
    else:
        checked = (
            f'<div style="width:15rem;font-size:.8rem">{_curves(curves, chance, method)}</div>'
            f'<div style="flex:1 1 16rem;font-size:.8rem;min-height:7.2rem">{_forgotten(image, values, method, forgotten)}</div>'
        )
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:.4rem 1.4rem;align-items:flex-start">'
        f'<figure style="margin:0;width:9rem"><figcaption style="font-weight:600;font-size:.9rem">{method}</figcaption>'
        f"{_image(over_digit(values, image), 96, f'{method} for a {explanation.digit}')}</figure>{checked}</div>"
    )


def _forgotten(image: np.ndarray, values: np.ndarray, method: str, forgotten: Sequence[Forgotten]) -> str:
    """Show how a map changes as the network loses what it learned and, once all levels are known, what that means."""
    alike = [attribution.rank_correlation(values, level.maps[method]) for level in forgotten]
    strip = "".join(
        f'<figure style="margin:0;width:{SMALL_SIZE}px;text-align:center" title="{html.escape(_who(level))} forgot">'
        f"{_image(over_digit(level.maps[method], image), SMALL_SIZE, f'{method} once {_who(level)} forgot')}"
        f'<figcaption style="font-size:.75rem">{_alike(one)}</figcaption></figure>'
        for level, one in zip(forgotten, alike, strict=True)
    )
    is_whole = bool(forgotten) and len(forgotten) == forgotten[0].levels
    verdict = _learned(values, forgotten[-1].maps[method]) if is_whole else ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:.4rem">{strip}</div><div style="margin-top:.25rem">{verdict}</div>'


def _curves(curves: Curves, chance: Curves, method: str) -> str:
    """Show both curves as a small picture, and their areas beside those of chance in words."""
    width, height = 232, 76
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="{2 if dash == "none" else 1.4}" stroke-dasharray="{dash}" '
        f'points="{_points(values, width, height)}"/>'
        for values, colour, dash in (
            (chance.deletion, pictures.RED, "3 3"),
            (chance.insertion, pictures.TEAL, "3 3"),
            (curves.deletion, pictures.RED, "none"),
            (curves.insertion, pictures.TEAL, "none"),
        )
    )
    frame = f'<rect width="{width}" height="{height}" fill="#7f7f8c" fill-opacity=".13" rx="4"/>'
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{frame}{lines}</svg>'
    deletion, insertion = curves.deletion_area, curves.insertion_area
    said = (
        f'<span style="color:{pictures.RED}">━</span> taken away: area {deletion:.2f} (chance {chance.deletion_area:.2f})<br>'
        f'<span style="color:{pictures.TEAL}">━</span> put back: area {insertion:.2f} (chance {chance.insertion_area:.2f})'
    )
    alt = f"{method}: deletion curve, area {deletion:.2f}; insertion curve, area {insertion:.2f}"
    match deletion < chance.deletion_area, insertion > chance.insertion_area:
        case True, True:
            verdict = "Both better than chance."
        case True, False:
            verdict = "Taken away better than chance, put back no better."
        case False, True:
            verdict = "Put back better than chance, taken away no better."
        case _:
            verdict = "No better than pixels by chance."
    url = pictures.data_url(drawn.encode(), "image/svg+xml")
    return f'<img src="{url}" alt="{html.escape(alt)}" width="{width}" height="{height}"><div>{said}<br>{verdict}</div>'


def _points(values: np.ndarray, width: int, height: int) -> str:
    step = width / (len(values) - 1)
    return " ".join(
        f"{k * step:.1f},{2 + (height - 4) * (1 - value):.1f}" for k, value in enumerate(np.nan_to_num(values))
    )


def _who(level: Forgotten) -> str:
    """Return which layers lost what they learned, in a few words."""
    names = [layer_name(name) for name in level.layers]
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _alike(correlation: float) -> str:
    return "flat" if np.isnan(correlation) else _number(round(correlation, 2))


def _learned(before: np.ndarray, after: np.ndarray) -> str:
    if attribution.is_learned(before, after):
        return "Another map once all is forgotten: it shows something that was learned."
    return "<b>Much the same map with nothing learned: it says little about this network.</b>"


def _sign(sign: str) -> str:
    return f'<span style="align-self:center;font-size:1.4rem;opacity:.6">{sign}</span>'


def _image(pixels: np.ndarray, size: int, description: str) -> str:
    return (
        f'<img src="{pictures.data_url(pictures.png(pixels))}" alt="{html.escape(description)}" width="{size}" height="{size}" '
        f'style="{_PIXELS}">'
    )
