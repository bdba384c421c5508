"""Many digits as one picture whose cells can be clicked: a point's `customdata` is its place on the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.model.specs import IMAGE_SHAPE
from core.views import clickable_picture, pictures

WIDTH = 430  # pixels that a sheet of digits is expected to have
SIDE = IMAGE_SHAPE[0]
CELL = SIDE + 2  # pixels of the digits, from one to the next
CAPTIONED_WIDTH, CAPTIONED_HEIGHT = SIDE + 4, SIDE + 15  # the same, with room for two lines


def sheet(
    images: np.ndarray, names: list[str], columns: int, chosen: int | None = None, marked: Sequence[int] = ()
) -> go.Figure:
    """Return a sheet of digits, as tall as they need.

    Args:
        images: (n, 28, 28) uint8.
        names: what hovering over each says.
        chosen: the place of the one to be framed.
        marked: the places of those to be underlined in red.
    """
    pixels = pictures.sheet(images, columns)
    height, width = pixels.shape
    rows, across = np.divmod(np.arange(len(images)), columns)
    lines = [_underline(*divmod(place, columns)) for place in marked]
    if chosen is not None:
        row, column = divmod(chosen, columns)
        left, top = column * CELL - 1, row * CELL - 1
        lines.append(clickable_picture.frame(left, top, left + CELL, top + CELL, pictures.OCHRE))
    return go.Figure(
        clickable_picture.squares(
            across * CELL + SIDE // 2, rows * CELL + SIDE // 2, 34, np.arange(len(images)), names
        ),
        {
            **clickable_picture.layout([-2, width + 2], [height + 2, -2], 12 + round(WIDTH * height / width)),
            "images": [_picture(pixels)],
            "shapes": lines,
        },
    )


def _underline(row: int, column: int) -> dict[str, Any]:
    left, bottom = column * CELL, row * CELL + SIDE - 1
    ends = {"x0": left + 2, "x1": left + SIDE - 2, "y0": bottom, "y1": bottom}
    return {"type": "line", **ends, "line": {"color": pictures.RED, "width": 3}}


def captioned(
    images: np.ndarray, captions: list[tuple[str, str]], names: list[str], columns: int, rows: int, chosen: int
) -> go.Figure:
    """Return a sheet of digits with two lines below each, as tall as so many rows whatever there is to show.

    Args:
        images: (n, 28, 28) uint8.
        captions: two short lines for each.
        names: what hovering over each says.
        chosen: the place of the one to be framed.
    """
    places = np.arange(len(images))
    x = places % columns * CAPTIONED_WIDTH + SIDE / 2
    y = places // columns * CAPTIONED_HEIGHT + SIDE / 2
    pixels = _spaced(images, columns, rows)
    height, width = pixels.shape[:2]
    reach = SIDE / 2 + 1
    around = x[chosen] - reach, y[chosen] - reach, x[chosen] + reach, y[chosen] + reach
    return go.Figure(
        clickable_picture.squares(x, y, 62, places.tolist(), names),
        {
            **clickable_picture.layout([-2, width - 2], [height + 1, -2], 10 + 106 * rows),
            "images": [_picture(pixels)],
            "annotations": [_caption(*cell) for cell in zip(x, y + SIDE / 2, captions, strict=True)],
            "shapes": [clickable_picture.frame(*around, pictures.OCHRE)],
            "plot_bgcolor": "rgba(0,0,0,0)",
        },
    )


def _spaced(images: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Return the digits with room for captions between them, (h, w, 4) uint8, transparent where there is no digit."""
    pixels = np.zeros((rows * CAPTIONED_HEIGHT, columns * CAPTIONED_WIDTH, 4), np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * CAPTIONED_HEIGHT, place % columns * CAPTIONED_WIDTH
        pixels[top : top + SIDE, left : left + SIDE, :3] = image[..., None]
        pixels[top : top + SIDE, left : left + SIDE, 3] = 255
    return pixels


def _caption(x: float, y: float, lines: tuple[str, str]) -> dict[str, Any]:
    return {"x": x, "y": y, "text": "<br>".join(lines), "showarrow": False, "yanchor": "top", "font": {"size": 11}}


def _picture(pixels: np.ndarray) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    return clickable_picture.picture(pictures.data_url(pictures.png(pixels, scale=2)), width, height)
