"""The activations of a network for one digit as one sheet: a block per layer, a cell per map or unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import plotly.graph_objects as go

from core.explain.arithmetic import Form
from core.explain.questions import Tour
from core.model.specs import CLASSES
from core.views import clickable_picture, network_html, pictures

COLUMNS = 12  # maps in a row, each of side 1
UNIT_SIDE = 0.5
LABEL, GAP = 0.55, 0.2  # heights: of a layer's name above its maps, and of the gap to the layer above
KERNEL_SIDE, MOST_KERNELS = 0.31, 3  # of a filter's channels
CELL = 42  # pixels of side 1
LEVELS = 127  # of either colour: with white and clear, as many as a picture of one byte a pixel can have
CLEAR = 2 * LEVELS + 1
PALETTE = network_html.signed(np.arange(-LEVELS, LEVELS + 1), LEVELS)
LEFT_OUT = (Form.INPUT, Form.SAME, Form.FLAT)  # layers whose output is their input


@dataclass(frozen=True)
class Cell:
    """A map or a unit on the sheet; `x`, `y` its upper left corner."""

    layer: str
    index: int
    name: str
    x: float
    y: float
    side: float


def figure(tour: Tour, chosen: tuple[str, int]) -> go.Figure:
    """Return what every layer makes of a digit, in one picture whose maps and units can be clicked: a point's `customdata` is
    (layer, map or unit). Convolutions have their kernels under their maps. Every layer has a colour scale of its own.

    Args:
        chosen: the layer and the map or unit that is framed.
    """
    cells, labels, height = layout(tour)
    points = clickable_picture.squares(
        x=np.array([cell.x + cell.side / 2 for cell in cells]),
        y=np.array([cell.y + cell.side / 2 for cell in cells]),
        size=np.array([34 * cell.side for cell in cells]),
        customdata=[[cell.layer, cell.index] for cell in cells],
        names=[cell.name for cell in cells],
    )
    url = pictures.data_url(pictures.palette_png(painted(tour, cells, height), PALETTE))
    left = {"x": 0, "showarrow": False, "xanchor": "left", "yanchor": "bottom", "font": {"size": 12}}
    frames = [
        clickable_picture.frame(cell.x, cell.y, cell.x + cell.side, cell.y + cell.side, pictures.TEAL)
        for cell in cells
        if (cell.layer, cell.index) == chosen
    ]
    return go.Figure(
        points,
        {
            **clickable_picture.layout([-0.05, COLUMNS + 0.05], [height, 0], round(35 * height)),
            "images": [clickable_picture.picture(url, COLUMNS, height)],
            "annotations": [{**left, "y": y, "text": text} for y, text in labels],
            "shapes": frames,
        },
    )


def layout(tour: Tour) -> tuple[list[Cell], list[tuple[float, str]], float]:
    """Return the cells, the layers' names with the height they stand on, and the height of the whole sheet."""
    cells, labels, y = [], [], 0.0
    for name, layer in tour.layers.items():
        if layer.form in LEFT_OUT:
            continue
        shown = tour.outputs[name].shape[-1]
        labels.append((y + LABEL, _label(name, layer.shape, shown)))
        y += LABEL
        side, tall = 1.0, 1.0 + (KERNEL_SIDE if name in tour.kernels else 0)
        if len(layer.shape) == 1:
            side = tall = 1.0 if layer.shape[0] <= CLASSES else UNIT_SIDE
        columns = round(COLUMNS / side)
        what = "map" if len(layer.shape) == 3 else "digit" if name == "probabilities" else "unit"
        for index in range(shown):
            row, column = divmod(index, columns)
            number = index if what == "digit" else index + 1
            said = f"{network_html.layer_name(name)}, {what} {number}"
            cells.append(Cell(name, index, said, column * side, y + row * tall, side))
        y += math.ceil(shown / columns) * tall + GAP
    return cells, labels, y


def painted(tour: Tour, cells: list[Cell], height: float) -> np.ndarray:
    """Paint the sheet as (h, w) uint8 colours of `PALETTE`, `CLEAR` where there is nothing.

    Args:
        tour: the network's outputs for a digit.
        cells: as `layout` returns them.
        height: of the sheet, in maps.
    """
    sheet = np.full((round(height * CELL), COLUMNS * CELL), CLEAR, np.uint8)
    maps = {name: _levels(tour.outputs[name]) for name in {cell.layer for cell in cells}}
    for cell in cells:
        _paint(sheet, cell.x, cell.y, cell.side, np.atleast_2d(maps[cell.layer][..., cell.index]))
        if cell.layer in tour.kernels:
            kernel = _levels(tour.kernels[cell.layer][cell.index])
            for channel in range(min(kernel.shape[2], MOST_KERNELS)):
                _paint(sheet, cell.x + channel * KERNEL_SIDE, cell.y + 1, KERNEL_SIDE, kernel[..., channel])
    return sheet


def _label(name: str, shape: tuple[int, ...], shown: int) -> str:
    size = " × ".join(map(str, shape)) if len(shape) == 3 else f"{shape[0]} numbers"
    rest = f", the first {shown}" if shown < shape[-1] else ""
    return f"<b>{network_html.layer_name(name)}</b>  {size}{rest}"


def _levels(values: np.ndarray) -> np.ndarray:
    """Return values on one scale as colours of `PALETTE`."""
    return (np.rint(LEVELS * network_html.strengths(values)) + LEVELS).astype(np.uint8)


def _paint(sheet: np.ndarray, x: float, y: float, side: float, levels: np.ndarray) -> None:
    left, top, size = round(x * CELL), round(y * CELL), max(2, round(side * CELL) - 2)
    rows, columns = (_nearest(count, size) for count in levels.shape)
    sheet[top : top + size, left : left + size] = levels[rows[:, None], columns][: sheet.shape[0] - top]


@cache
def _nearest(count: int, size: int) -> np.ndarray:
    """Return which of `count` pixels each of `size` shows."""
    return ((np.arange(size) + 0.5) * count / size).astype(int)
