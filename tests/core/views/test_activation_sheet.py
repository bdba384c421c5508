"""The sheet of all layers: its colours are those of single pictures, and nothing stands between them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from core.explain.arithmetic import Form, Layer
from core.explain.questions import Tour
from core.views import activation_sheet, network_html, pictures
from core.views.activation_sheet import CELL, CLEAR, KERNEL_SIDE, PALETTE, Cell

RANDOM = np.random.default_rng(0)


LAYERS = [
    Layer("pixels", Form.INPUT, (), (28, 28, 1)),
    Layer("01_conv2d", Form.WINDOW, ("pixels",), (26, 26, 14)),
    Layer("02_flatten", Form.FLAT, ("01_conv2d",), (26 * 26 * 14,)),
    Layer("03_dense", Form.DENSE, ("02_flatten",), (30,)),
    Layer("probabilities", Form.DENSE, ("03_dense",), (10,)),
]


@pytest.fixture
def tour() -> Tour:
    outputs = {layer.name: RANDOM.normal(size=layer.shape).astype(np.float32) for layer in LAYERS}
    kernels = {"01_conv2d": RANDOM.normal(size=(14, 5, 3, 2)).astype(np.float32)}
    return Tour({layer.name: layer for layer in LAYERS}, outputs, kernels, outputs["probabilities"])


def painted(tour: Tour) -> tuple[list[Cell], np.ndarray]:
    cells, _, height = activation_sheet.layout(tour)
    return cells, activation_sheet.painted(tour, cells, height)


def drawn(sheet: np.ndarray, x: float, y: float, side: float) -> np.ndarray:
    """The colours of a square of the sheet, (size, size, 3)."""
    left, top, size = round(x * CELL), round(y * CELL), max(2, round(side * CELL) - 2)
    indices = sheet[top : top + size, left : left + size]
    assert (indices != CLEAR).all()
    return PALETTE[indices].astype(int)


def expected(values: np.ndarray, largest: float, side: float) -> np.ndarray:
    """As Pillow enlarges a picture of it."""
    size = (max(2, round(side * CELL) - 2),) * 2
    image = Image.fromarray(network_html.signed(values, largest)).resize(size, Image.Resampling.NEAREST)
    return np.asarray(image).astype(int)


def test_every_map_and_unit_has_the_colours_of_its_layer(tour):
    cells, sheet = painted(tour)

    assert len(cells) == 14 + 30 + 10
    for cell in cells:
        values, largest = tour.outputs[cell.layer][..., cell.index], np.abs(tour.outputs[cell.layer]).max()
        colours = expected(np.atleast_2d(values), largest, cell.side)
        np.testing.assert_allclose(drawn(sheet, cell.x, cell.y, cell.side), colours, atol=2)


def test_every_kernel_stands_under_its_map_on_a_scale_of_its_own(tour):
    cells, sheet = painted(tour)

    for cell in [cell for cell in cells if cell.layer == "01_conv2d"]:
        kernel = tour.kernels["01_conv2d"][cell.index]
        for channel in range(2):
            found = drawn(sheet, cell.x + channel * KERNEL_SIDE, cell.y + 1, KERNEL_SIDE)
            colours = expected(kernel[..., channel], np.abs(kernel).max(), KERNEL_SIDE)
            np.testing.assert_allclose(found, colours, atol=2)


def test_between_them_it_is_clear(tour):
    cells, sheet = painted(tour)
    for cell in cells:
        left, top = round(cell.x * CELL), round(cell.y * CELL)
        tall = cell.side + (KERNEL_SIDE if cell.layer in tour.kernels else 0)
        sheet[top : top + round(tall * CELL), left : left + round(cell.side * CELL)] = CLEAR

    assert (sheet == CLEAR).all()


def test_a_layer_of_nan_is_white(tour):
    tour.outputs["03_dense"][:] = np.nan
    cells, sheet = painted(tour)
    cell = next(cell for cell in cells if cell.layer == "03_dense")

    assert (drawn(sheet, cell.x, cell.y, cell.side) == network_html.signed(np.zeros(()))).all()


def test_as_a_picture_it_keeps_its_colours_and_what_is_clear(tour):
    _, sheet = painted(tour)
    read = np.asarray(Image.open(io.BytesIO(pictures.palette_png(sheet, PALETTE))).convert("RGBA"))

    np.testing.assert_array_equal(read[..., 3], np.where(sheet == CLEAR, 0, 255))
    np.testing.assert_array_equal(read[sheet != CLEAR][:, :3], PALETTE[sheet[sheet != CLEAR]])


def test_the_network_s_cells_tell_their_layer_and_map_and_the_chosen_one_is_framed(tour):
    cells, _, _ = activation_sheet.layout(tour)
    figure = activation_sheet.figure(tour, ("01_conv2d", 1))

    assert [tuple(where) for where in figure.data[0].customdata] == [(cell.layer, cell.index) for cell in cells]
    assert len(cells) == 14 + 30 + 10
    (frame,) = figure.layout.shapes
    chosen = next(cell for cell in cells if (cell.layer, cell.index) == ("01_conv2d", 1))
    assert (frame.x0, frame.y0) == (chosen.x, chosen.y)
