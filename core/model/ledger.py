"""The costs of a stack of layers, in pure Python: shape, parameters, multiply-adds and receptive field of every layer.

If a stack can't be built, the ledger names the layer, the reason and a repair. If it can be built but is unwise,
`hints` says why. The rules of both look at a layer's fields and its arithmetic, and hardly ever at its kind, so that
they hold for new kinds too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from core.errors import SpecError
from core.model import specs
from core.model.specs import (
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    GlobalAveragePooling2D,
    LayerSpec,
    MaxPooling2D,
    Shape,
    shape_text,
)

BYTES_PER_PARAMETER = 4  # float32
EVALUATION_BATCH = 500
HEAVY_DROPOUT = 0.8
HEAVY_VECTOR_LAYER = 500_000  # parameters
LARGEST_LOSS_AT_THE_EDGE = 0.2  # of an image's side


@dataclass(frozen=True)
class Row:
    """The ledger's entry of one layer.

    Attributes:
        parameters: number of values that the layer holds.
        macs: multiply-adds for one image.
        receptive_field: side, in pixels of the digit, of the square that one output depends on.
    """

    layer: LayerSpec
    input_shape: Shape
    output_shape: Shape
    parameters: int
    macs: int
    receptive_field: int


@dataclass(frozen=True)
class Repair:
    """A stack that would work, and what it changes in a few words."""

    label: str
    layers: tuple[LayerSpec, ...]


@dataclass(frozen=True)
class Problem:
    """The reason why a stack can't be built: `index` is that of the layer at fault, `len(layers)` for the output layer."""

    index: int
    reason: str
    repair: Repair | None = None


@dataclass(frozen=True)
class Hint:
    """The reason why the layer at `index` is unwise, though the stack can be trained."""

    index: int
    reason: str
    repair: Repair | None = None


@dataclass(frozen=True)
class Ledger:
    """Rows for the layers up to the first problem, the output layer last where there is none."""

    rows: tuple[Row, ...]
    problem: Problem | None

    @property
    def parameters(self) -> int:
        """Number of values that all layers hold."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image, of all layers."""
        return sum(row.macs for row in self.rows)

    @property
    def bytes(self) -> int:
        """Size of the weights in memory, and nearly that on disk, in bytes."""
        return self.parameters * BYTES_PER_PARAMETER

    @property
    def largest_batch(self) -> int:
        """Largest number of images whose values fit into memory at once while training."""
        return max(1, specs.MAX_ACTIVATIONS_PER_BATCH // self.activations)

    @property
    def evaluation_batch(self) -> int:
        """Number of images in a batch when the network only predicts."""
        return min(EVALUATION_BATCH, self.largest_batch)

    @property
    def activations(self) -> int:
        """Values held for one image while training."""
        return math.prod(specs.IMAGE_SHAPE) + sum(row.layer.activations(row.input_shape) for row in self.rows)


@lru_cache(maxsize=256)
def read(layers: tuple[LayerSpec, ...]) -> Ledger:
    """Return the ledger of a stack, including the implicit output layer."""
    ledger = _added_up(layers)
    return ledger if ledger.problem else Ledger(ledger.rows, _beyond_limits(layers, ledger))


def _added_up(layers: tuple[LayerSpec, ...]) -> Ledger:
    """Return the ledger of a stack without checking its size."""
    rows: list[Row] = []
    shape, field, jump = specs.IMAGE_SHAPE, 1, 1
    for index, layer in enumerate((*layers, specs.OUTPUT_LAYER)):
        reason = layer.misfit(shape)
        if reason is not None:
            return Ledger(tuple(rows), Problem(index, _named(layers, index, reason), _repair(layers, index, shape)))
        size, strides = layer.window(shape)
        field, jump = field + (size - 1) * jump, jump * strides
        if isinstance(layer, Dense):
            field = specs.IMAGE_SHAPE[0]
        output_shape = layer.output_shape(shape)
        seen = min(field, specs.IMAGE_SHAPE[0])  # windows that overlap the edge see no more than the whole digit
        rows.append(Row(layer, shape, output_shape, layer.parameters(shape), layer.macs(shape), seen))
        shape = output_shape
    return Ledger(tuple(rows), None)


def refusal(experiment: specs.Experiment) -> str | None:
    """Return the reason why an experiment can't be trained, or None if it can.

    It can't if its stack can't be built, or if a batch holds more values than fit into memory.
    """
    ledger = read(experiment.layers)
    if ledger.problem is not None:
        return ledger.problem.reason
    held = ledger.activations * experiment.training.batch_size
    if held <= specs.MAX_ACTIVATIONS_PER_BATCH:
        return None
    return (
        f"A batch of {experiment.training.batch_size} images would hold {held / 1e6:,.0f} million values in memory at "
        f"once; at most {specs.MAX_ACTIVATIONS_PER_BATCH / 1e6:,.0f} million fit. "
        f"Choose a batch size of {ledger.largest_batch} or less, or a smaller network."
    )


def check(experiment: specs.Experiment) -> Ledger:
    """Return the ledger of an experiment that can be trained.

    Raises:
        SpecError: if there is a `refusal`.
    """
    reason = refusal(experiment)
    if reason is not None:
        raise SpecError(reason)
    return read(experiment.layers)


def _named(layers: tuple[LayerSpec, ...], index: int, reason: str) -> str:
    if index < len(layers):
        return f"Layer {index + 1}, {layers[index].kind}: {reason}"
    return f"The output layer: {reason}"


def _repair(layers: tuple[LayerSpec, ...], index: int, shape: Shape) -> Repair | None:
    """Return the repair that lets the layer at `index` take an input of `shape`, or None if there is none."""
    before, after = layers[:index], layers[index:]
    layer = (*layers, specs.OUTPUT_LAYER)[index]
    if layer.takes == "vector":
        if len(layers) >= specs.MAX_LAYERS:
            return None
        return Repair(
            f"Add a Flatten before it ({shape_text((math.prod(shape),))} values)", (*before, Flatten(), *after)
        )
    if isinstance(layer, Flatten | GlobalAveragePooling2D) or (layer.takes == "image" and len(shape) == 1):
        flattener = next(
            (
                i
                for i, earlier in enumerate(before)
                if len(shape) == 1 and isinstance(earlier, Flatten | GlobalAveragePooling2D)
            ),
            None,
        )
        if not isinstance(layer, Flatten | GlobalAveragePooling2D) and flattener is not None:
            return Repair(
                f"Move it before the {before[flattener].kind}",
                (*before[:flattener], layer, *before[flattener:], *after[1:]),
            )
        return Repair("Remove it: what reaches it is flat already", (*before, *after[1:]))
    if "padding" in type(layer).model_fields:
        return Repair("Set its padding to 'same'", (*before, specs.replaced(layer, padding="same"), *after[1:]))
    return None


def _beyond_limits(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Problem | None:
    if ledger.parameters > specs.MAX_PARAMETERS:
        heaviest = max(range(len(ledger.rows)), key=lambda i: ledger.rows[i].parameters)
        reason = f"have {ledger.parameters:,} parameters; at most {specs.MAX_PARAMETERS:,} are allowed."
    elif ledger.macs > specs.MAX_MACS:
        heaviest = max(range(len(ledger.rows)), key=lambda i: ledger.rows[i].macs)
        reason = (
            f"take {ledger.macs / 1e6:,.0f} million multiply-adds per image; "
            f"at most {specs.MAX_MACS / 1e6:,.0f} million are allowed."
        )
    else:
        return None
    return Problem(
        heaviest,
        f"This network would {reason} Most of them stand in {_place(ledger, heaviest)}.",
        next(repair for repair in _lighter(layers, ledger, heaviest) if _is_within_limits(_added_up(repair.layers))),
    )


def _is_within_limits(ledger: Ledger) -> bool:
    return ledger.parameters <= specs.MAX_PARAMETERS and ledger.macs <= specs.MAX_MACS


def _lighter(layers: tuple[LayerSpec, ...], ledger: Ledger, heaviest: int) -> Iterator[Repair]:
    """Yield lighter stacks: first with a smaller image before the vector, then with less of the heaviest layer, then
    with less of all.

    With one filter or unit everywhere, any stack is within the limits.
    """
    for pool_size in range(2, specs.IMAGE_SHAPE[0]):
        pooled = _pooled(layers, ledger, heaviest, pool_size)
        if pooled is not None:
            yield pooled
    halvings = [2**k for k in range(1, specs.MAX_UNITS.bit_length())]
    width = _width(layers[heaviest]) if heaviest < len(layers) else None
    if width is not None:
        for divisor in halvings:
            value = max(1, getattr(layers[heaviest], width) // divisor)
            yield _with(layers, heaviest, f"Set its {width} to {value}", **{width: value})
    for divisor in halvings:
        yield Repair(f"Divide all filters and units by {divisor}", tuple(_thinned(layer, divisor) for layer in layers))


def _width(layer: LayerSpec) -> str | None:
    """Return the name of the field that holds the number of outputs per position, or None if there is none."""
    return next((name for name in ("filters", "units") if name in type(layer).model_fields), None)


def _thinned(layer: LayerSpec, divisor: int) -> LayerSpec:
    width = _width(layer)
    return layer if width is None else specs.replaced(layer, **{width: max(1, getattr(layer, width) // divisor)})


def _place(ledger: Ledger, index: int) -> str:
    is_output = index == len(ledger.rows) - 1
    return "the output layer" if is_output else f"layer {index + 1}, {ledger.rows[index].layer.kind}"


# --- what is possible but unwise ----------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def hints(layers: tuple[LayerSpec, ...]) -> tuple[Hint, ...]:
    """Return hints about unwise layers, in the order of the layers; none if the stack can't be built."""
    ledger = read(layers)
    if ledger.problem is not None:
        return ()
    rules = (
        _useless,
        _silences_most,
        _starts_alike,
        _skips_pixels,
        _loses_an_edge,
        _heavy,
        _follows_badly,
        _stays_linear,
    )
    found = [hint for rule in rules for hint in rule(layers, ledger)]
    return tuple(sorted(found, key=lambda hint: hint.index))


def _useless(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    """Yield a hint for each layer that changes nothing."""
    for index, layer in enumerate(layers):
        is_idle_window = "pool_size" in type(layer).model_fields and layer.window(specs.IMAGE_SHAPE) == (1, 1)
        is_idle_function = _is_function(layer) and _activation(layer) == "linear"
        if is_idle_window or is_idle_function or getattr(layer, "rate", None) == 0:
            yield _hint(layers, index, "as it is set, it changes nothing.", _without(layers, index))


def _silences_most(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    for index, layer in enumerate(layers):
        rate = getattr(layer, "rate", 0)
        if rate >= HEAVY_DROPOUT:
            reason = f"a rate of {rate:g} leaves {1 - rate:.0%} of the values at each step; little can be learned from so few."
            yield _hint(layers, index, reason, _with(layers, index, "Set its rate to 0.5", rate=0.5))


def _starts_alike(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    for index, layer in enumerate(layers):
        zeros = [name for name, value in layer if name.endswith("_initializer") and value == "zeros"]
        if zeros:
            usual = {name: type(layer).model_fields[name].default for name in zeros}
            reason = (
                "weights that all begin at zero get the same corrections or none, so its outputs never come to differ."
            )
            yield _hint(layers, index, reason, _with(layers, index, f"Begin with {usual[zeros[0]]}", **usual))


def _skips_pixels(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    for index, row in enumerate(ledger.rows[:-1]):
        size, strides = row.layer.window(row.input_shape)
        if size < strides and "strides" in type(row.layer).model_fields:
            reason = f"its window is {size} wide but moves by {strides}: what lies between is never looked at."
            yield _hint(layers, index, reason, _with(layers, index, f"Set its strides to {size}", strides=size))


def _loses_an_edge(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    for index, row in enumerate(ledger.rows[:-1]):
        if getattr(row.layer, "padding", "same") == "same":
            continue
        size, strides = row.layer.window(row.input_shape)
        side = min(row.input_shape[:2])
        lost = (side - size) % strides
        if lost > LARGEST_LOSS_AT_THE_EDGE * side:
            reason = (
                f"its windows end {lost} of {side} pixels before the right and lower edge, which it never looks at."
            )
            yield _hint(layers, index, reason, _with(layers, index, "Set its padding to 'same'", padding="same"))


def _heavy(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    """Yield a hint for each vector layer with more parameters than most networks for digits need; the cause is a large
    image."""
    for index, row in enumerate(ledger.rows[:-1]):
        if row.layer.takes != "vector" or row.parameters <= HEAVY_VECTOR_LAYER:
            continue
        share = row.parameters / ledger.parameters
        reason = (
            f"it holds {row.parameters:,} parameters, {share:.1%} of all: each of {row.input_shape[0]:,} values has a weight "
            "to every unit. A smaller image before it would do with far fewer."
        )
        yield _hint(layers, index, reason, _pooled(layers, ledger, index))


def _pooled(layers: tuple[LayerSpec, ...], ledger: Ledger, index: int, pool_size: int = 2) -> Repair | None:
    """Return the repair that adds a pooling before the image becomes a vector, if that image has been through a layer."""
    flat = next(i for i, row in enumerate(ledger.rows) if len(row.output_shape) == 1)
    is_small = min(ledger.rows[flat].input_shape[:2]) < 2 * pool_size
    if flat == 0 or flat > index or is_small or len(layers) >= specs.MAX_LAYERS:
        return None
    pooling = MaxPooling2D(pool_size=pool_size)
    return Repair(
        f"Add a {pooling.caption()} MaxPooling2D before the {layers[flat].kind}",
        (*layers[:flat], pooling, *layers[flat:]),
    )


def _follows_badly(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    """Yield a hint for each layer that spoils or repeats what the layer before it did."""
    for index, (before, layer) in enumerate(itertools.pairwise(layers), start=1):
        if _is_function(layer) and "linear" not in (_activation(before), _activation(layer)):
            reason = f"the {before.kind} before it ends in {_activation(before)} already; a second function right after it adds little."
            yield _hint(layers, index, reason, _without(layers, index))
        if not isinstance(layer, BatchNormalization):
            continue
        if isinstance(before, BatchNormalization):
            reason = "what reaches it was normalised by the layer before; twice changes nothing but the cost."
            yield _hint(layers, index, reason, _without(layers, index))
        elif getattr(before, "rate", 0) > 0:
            reason = (
                f"the {before.kind} before it changes how far values spread in training but not afterwards, "
                "so that it normalises by the wrong measure (Li et al. 2018, arXiv:1801.05134)."
            )
            swapped = (*layers[: index - 1], layer, before, *layers[index + 1 :])
            yield _hint(layers, index, reason, Repair(f"Put the {before.kind} behind it", swapped))
        elif getattr(before, "use_bias", False) and getattr(before, "activation", "") == "linear":
            reason = f"it takes the mean away, and with it the bias that the {before.kind} before it learns."
            repair = _with(layers, index - 1, f"Do without the bias of the {before.kind}", use_bias=False)
            yield _hint(layers, index, reason, repair)


def _stays_linear(layers: tuple[LayerSpec, ...], ledger: Ledger) -> Iterator[Hint]:
    """Yield a hint where two layers with weights have nothing non-linear between them: together they are one linear
    map.

    The hint is milder where that isn't quite so. A maximum is not linear, a block does more than one linear map, and a
    separable convolution does less than any.
    """
    for index, layer in enumerate(layers):
        if not (_weighs(layer) and _activation(layer) == "linear"):
            continue
        end, has_maximum = index + 1, False
        while (
            end < len(layers) and not _weighs(layers[end]) and (_keeps_linear(layers[end]) or _is_maximum(layers[end]))
        ):
            has_maximum |= _is_maximum(layers[end])
            end += 1
        if end < len(layers) and not _weighs(layers[end]):
            continue
        following = f"layer {end + 1} ({layers[end].kind})" if end < len(layers) else "the output layer"
        if has_maximum:
            reason = (
                f"it has no activation: between it and {following} only the maximum of the pooling is not linear. "
                "That works; with relu its filters could also say no."
            )
        elif end == len(layers) or isinstance(layers[end], Conv2D | Dense):
            reason = (
                f"it has no activation, and all between it and {following} is linear: "
                "together the two can do no more than one of them."
            )
        else:
            reason = (
                f"it has no activation, and all between it and {following} is linear. "
                "That works; with relu its filters could also say no."
            )
        yield _hint(layers, index, reason, _with(layers, index, "Set its activation to relu", activation="relu"))


def _weighs(layer: LayerSpec) -> bool:
    """Return whether a layer multiplies by learned weights and ends in an activation."""
    return any(name.endswith("_initializer") for name in type(layer).model_fields) and hasattr(layer, "activation")


def _is_function(layer: LayerSpec) -> bool:
    return hasattr(layer, "activation") and not _weighs(layer)


def _activation(layer: LayerSpec) -> str:
    """Return the function it ends in: of a layer without one, the linear one."""
    return getattr(layer, "activation", "linear")


def _keeps_linear(layer: LayerSpec) -> bool:
    """Return whether a layer's output is a weighted sum of its input when the network predicts."""
    if hasattr(layer, "activation"):
        return _activation(layer) == "linear"
    kinds = AveragePooling2D | GlobalAveragePooling2D | Flatten | BatchNormalization
    return isinstance(layer, kinds) or hasattr(layer, "rate")


def _is_maximum(layer: LayerSpec) -> bool:
    return isinstance(layer, MaxPooling2D) and layer.pool_size > 1


def _hint(layers: tuple[LayerSpec, ...], index: int, reason: str, repair: Repair | None) -> Hint:
    return Hint(index, _named(layers, index, reason), repair)


def _without(layers: tuple[LayerSpec, ...], index: int) -> Repair:
    return Repair("Remove it", (*layers[:index], *layers[index + 1 :]))


def _with(layers: tuple[LayerSpec, ...], index: int, label: str, **changes: object) -> Repair:
    return Repair(label, (*layers[:index], specs.replaced(layers[index], **changes), *layers[index + 1 :]))
