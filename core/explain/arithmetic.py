"""The calculation of one number of a network by hand: its inputs, their weights, and their sum.

All in NumPy, from values and weights that a worker took out of the network; the worker also returns Keras' result, so
that both can be compared.

Source: V. Dumoulin, F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285, for windows,
strides and padding; the receptive field as in A. Araujo, W. Norris, J. Sim, "Computing Receptive Fields of
Convolutional Neural Networks", Distill 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from core.model.specs import IMAGE_SHAPE

LEAK = 0.2  # of Keras' leaky_relu below zero


class Form(StrEnum):
    """The way in which a layer computes a number from those before it."""

    INPUT = "input"
    WINDOW = "a window times a kernel"
    MAX_POOL = "the largest of a window"
    AVERAGE_POOL = "the mean of a window"
    DENSE = "everything times weights"
    SCALE = "scaled and shifted"
    FUNCTION = "through a function"
    SUM = "added up"
    FLAT = "laid out in a row"
    GLOBAL_AVERAGE = "the mean of a map"
    SAME = "as it is"


@dataclass(frozen=True)
class Layer:
    """A layer's computation, independent of any digit.

    Attributes:
        inputs: the layers that it takes its values from.
        shape: of its output, without the batch axis.
        size, strides, before: of its window, in pixels of its input, (rows, columns); `before` is how far the first
            window begins outside the image.
        activation: Keras' name of the function it ends in.
        weights: by name, float32: `kernel` (kh, kw, c, filters) or (n, units) and `bias`; or `scale` and `shift` (c,).
    """

    name: str
    form: Form
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    size: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    activation: str = "linear"
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Unit:
    """A number of a layer's output, with its calculation.

    Attributes:
        place: (row, column, channel) or (unit,).
        corner: (row, column) of its window's first pixel in the layer's input; negative where it begins outside.
        patch: its inputs, float32: (kh, kw, c) with zeros outside the image; (n,) if the input is a vector.
        is_inside: (kh, kw) bool, which of the window's pixels are in the image.
        kernel: the factors of the inputs, of the same shape; None if there are none.
        bias: the added constant.
        total: the sum before the activation function.
        result: the value calculated here.
        keras: the value that Keras calculated.
        totals: of all units, (units,) float32, if the function needs them all (softmax); else None.
        flattened: the shape (h, w, c) of the image that was flattened to the input vector, if there was one.
    """

    layer: str
    form: Form
    place: tuple[int, ...]
    corner: tuple[int, int]
    patch: np.ndarray
    is_inside: np.ndarray
    kernel: np.ndarray | None
    bias: float
    total: float
    activation: str
    result: float
    keras: float
    totals: np.ndarray | None = None
    flattened: tuple[int, ...] | None = None

    @property
    def products(self) -> np.ndarray:
        """Contribution of each input to the sum, in the patch's shape."""
        return self.patch if self.kernel is None else self.patch * self.kernel

    @property
    def factors(self) -> np.ndarray:
        """Return what each value it reads is multiplied by, in the patch's shape; 1 where nothing is."""
        return np.ones_like(self.patch) if self.kernel is None else self.kernel


_Worked = tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray | None, float, float, np.ndarray | None]
"""A unit's corner, patch, is_inside, kernel, bias, total and totals."""


def unit(
    layer: Layer,
    inputs: tuple[np.ndarray, ...],
    output: np.ndarray,
    place: tuple[int, ...],
    flattened: tuple[int, ...] | None = None,
) -> Unit:
    """Work one number out.

    Args:
        inputs: what the layer was given, one array (h, w, c) or (n,) per layer it takes from, float32.
        output: what Keras got, in the layer's shape.
        place: which of its numbers, (row, column, channel) or (unit,).
    """
    work = {
        Form.WINDOW: _of_window,
        Form.MAX_POOL: _of_window,
        Form.AVERAGE_POOL: _of_window,
        Form.DENSE: _of_weights,
    }.get(layer.form, _of_values)
    corner, patch, is_inside, kernel, bias, total, totals = work(layer, inputs, place)
    result = activated(layer.activation, total) if totals is None else softmax(totals)[place[0]]
    return Unit(
        layer.name,
        layer.form,
        place,
        corner,
        patch,
        is_inside,
        kernel,
        bias,
        total,
        layer.activation,
        float(result),
        float(output[place]),
        totals,
        flattened,
    )


def activated(name: str, x: float) -> float:
    """Apply an activation function of Keras, by its name, to one value; for softmax, which needs all values, use
    `softmax`.
    """
    match name:
        case "relu":
            return max(x, 0.0)
        case "leaky_relu":
            return x if x >= 0 else LEAK * x
        case "elu":
            return x if x > 0 else math.expm1(x)
        case "gelu":
            return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))
        case "silu":
            return x * _sigmoid(x)
        case "tanh":
            return math.tanh(x)
        case "sigmoid":
            return _sigmoid(x)
    return x


def softmax(totals: np.ndarray) -> np.ndarray:
    """Return the exponentials of (n,) float32, divided by their sum."""
    powers = np.exp(totals - totals.max())
    return powers / powers.sum()


def receptive_field(layers: Mapping[str, Layer], name: str, place: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the window of the digit that one number of a layer depends on, through the layers before it.

    Args:
        layers: by name, in an order in which each comes after its inputs.
        name: the layer's.
        place: (row, column, channel) or (unit,) of the number.

    Returns:
        (first row, first column, row after the last, column after the last) in pixels of the digit; all zero if it
        depends on
        padding alone.
    """
    seen: dict[str, tuple[np.ndarray, np.ndarray]] = {name: _at(layers[name].shape, place)}
    for each in reversed(list(layers.values())):
        if each.name not in seen:
            continue
        firsts, lasts = seen[each.name]
        if each.form is Form.INPUT:
            inside = np.minimum(lasts, IMAGE_SHAPE[:2]) > np.maximum(firsts, 0)
            if not inside.all():
                return 0, 0, 0, 0
            (top, left), (bottom, right) = np.maximum(firsts, 0), np.minimum(lasts, IMAGE_SHAPE[:2])
            return int(top), int(left), int(bottom), int(right)
        for source in each.inputs:
            window = _read_by(each, layers[source], firsts, lasts, place if each.name == name else None)
            if source in seen:
                window = np.minimum(seen[source][0], window[0]), np.maximum(seen[source][1], window[1])
            seen[source] = window
    return 0, 0, *IMAGE_SHAPE[:2]


def window_of(layer: Layer, place: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the window of a layer's own input that one of its numbers depends on: (row, column, row after, column
    after).

    The first row and column may be negative, in the padding.
    """
    firsts = [at * stride - before for at, stride, before in zip(place[:2], layer.strides, layer.before, strict=True)]
    return firsts[0], firsts[1], firsts[0] + layer.size[0], firsts[1] + layer.size[1]


def _at(shape: tuple[int, ...], place: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the one after the last row and column of one place; zeros and ones for a vector."""
    where = np.array(place[:2]) if len(shape) == 3 else np.zeros(2, int)
    return where, where + 1


def _read_by(
    layer: Layer, source: Layer, firsts, lasts, place: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of `source` that those of `layer` depend on."""
    if len(layer.shape) == 1:
        if len(source.shape) == 3 and layer.form is Form.FLAT and place is not None:
            return _at(source.shape, tuple(map(int, np.unravel_index(place[0], source.shape))))
        return np.zeros(2, int), np.array(source.shape[:2] if len(source.shape) == 3 else (1, 1))
    strides, before, size = np.array(layer.strides), np.array(layer.before), np.array(layer.size)
    first, last = firsts * strides - before, (lasts - 1) * strides - before + size
    return np.maximum(first, 0), np.minimum(last, source.shape[:2])


def _of_window(layer: Layer, inputs: tuple[np.ndarray, ...], place: tuple[int, ...]) -> _Worked:
    image, channel = inputs[0], place[2]
    top, left, bottom, right = window_of(layer, place)
    rows, columns = np.arange(top, bottom), np.arange(left, right)
    is_inside = np.outer((rows >= 0) & (rows < image.shape[0]), (columns >= 0) & (columns < image.shape[1]))
    patch = np.zeros((*layer.size, image.shape[2]), np.float32)
    patch[is_inside] = image[np.ix_(rows.clip(0, image.shape[0] - 1), columns.clip(0, image.shape[1] - 1))][is_inside]
    if layer.form is Form.WINDOW:
        kernel, bias = layer.weights["kernel"][..., channel], _bias(layer, channel)
        return (top, left), patch, is_inside, kernel, bias, float((patch * kernel).sum(dtype=np.float64) + bias), None
    patch = patch[..., channel : channel + 1]
    values = patch[is_inside]
    total = values.max() if layer.form is Form.MAX_POOL else values.mean(dtype=np.float64)
    return (top, left), patch, is_inside, None, 0.0, float(total), None


def _of_weights(layer: Layer, inputs: tuple[np.ndarray, ...], place: tuple[int, ...]) -> _Worked:
    values, (unit_,) = inputs[0], place
    kernel, bias = layer.weights["kernel"][:, unit_], _bias(layer, unit_)
    totals = None
    if layer.activation == "softmax":
        totals = values @ layer.weights["kernel"] + layer.weights.get("bias", np.float32(0))
    total = float((values * kernel).sum(dtype=np.float64) + bias)
    return (0, 0), values, np.ones((1, 1), bool), kernel, bias, total, totals


def _of_values(layer: Layer, inputs: tuple[np.ndarray, ...], place: tuple[int, ...]) -> _Worked:
    """Return the parts of a unit of a layer that takes one value, one of each input, or a whole map."""
    channel = place[-1]
    kernel, bias, corner = None, 0.0, (place[0], place[1]) if len(place) == 3 else (0, 0)
    match layer.form:
        case Form.GLOBAL_AVERAGE:
            patch = inputs[0][..., channel][..., None]
            total = patch.mean(dtype=np.float64)
            return (0, 0), patch, np.ones(patch.shape[:2], bool), None, 0.0, float(total), None
        case Form.FLAT:
            patch = inputs[0].reshape(-1)[channel : channel + 1]
            row, column, *_ = (int(k) for k in np.unravel_index(channel, inputs[0].shape))
            corner = row, column
        case _:
            patch = np.array([each[place] for each in inputs], np.float32)
    if layer.form is Form.SCALE:
        scale, shift = (np.broadcast_to(layer.weights[name], layer.shape[-1:]) for name in ("scale", "shift"))
        kernel, bias = scale[channel : channel + 1], float(shift[channel])
    total = (patch if kernel is None else patch * kernel).sum(dtype=np.float64) + bias
    return corner, patch, np.ones((1, 1), bool), kernel, bias, float(total), None


def _bias(layer: Layer, unit_: int) -> float:
    return float(layer.weights["bias"][unit_]) if "bias" in layer.weights else 0.0


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
