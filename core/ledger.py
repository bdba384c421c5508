"""What a stack of layers costs, in pure Python: shape, parameters, multiply-adds and receptive field of every layer.

Where a stack is impossible, the ledger says which layer, why, and what would repair it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from core import specs
from core.errors import SpecError
from core.specs import Dense, Flatten, GlobalAveragePooling2D, LayerSpec, Shape, shape_text

BYTES_PER_PARAMETER = 4  # float32
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Row:
    """One layer's entry. `receptive_field` is the side, in pixels of the digit, of the square one output can see."""

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
    """Why a stack can't be built: `index` is the layer at fault, `len(layers)` means the output layer."""

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
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def bytes(self) -> int:
        """Size of the weights in memory and, nearly, on disk."""
        return self.parameters * BYTES_PER_PARAMETER

    @property
    def largest_batch(self) -> int:
        """How many images can be looked at at once."""
        return max(1, specs.MAX_ACTIVATIONS_PER_BATCH // self.activations)

    @property
    def evaluation_batch(self) -> int:
        """How many images are looked at at once where nothing is learned."""
        return min(EVALUATION_BATCH, self.largest_batch)

    @property
    def activations(self) -> int:
        """Values held for one image while training."""
        return math.prod(specs.IMAGE_SHAPE) + sum(math.prod(row.output_shape) for row in self.rows)


@lru_cache(maxsize=256)
def read(layers: tuple[LayerSpec, ...]) -> Ledger:
    """The ledger of a stack, the implicit output layer included."""
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
    ledger = Ledger(tuple(rows), None)
    return Ledger(ledger.rows, _beyond_limits(ledger))


def check(experiment: specs.Experiment) -> Ledger:
    """The ledger of an experiment that can be trained.

    Raises:
        SpecError: where the stack is impossible, or together with the batch size larger than a machine can hold.
    """
    ledger = read(experiment.layers)
    if ledger.problem is not None:
        raise SpecError(ledger.problem.reason)
    held = ledger.activations * experiment.training.batch_size
    if held > specs.MAX_ACTIVATIONS_PER_BATCH:
        raise SpecError(
            f"A batch of {experiment.training.batch_size} images would hold {held / 1e6:,.0f} million values in memory at "
            f"once; at most {specs.MAX_ACTIVATIONS_PER_BATCH / 1e6:,.0f} million fit. "
            f"Choose a batch size of {ledger.largest_batch} or less, or a smaller network."
        )
    return ledger


def _named(layers: tuple[LayerSpec, ...], index: int, reason: str) -> str:
    if index < len(layers):
        return f"Layer {index + 1}, {layers[index].kind}: {reason}"
    return f"The output layer: {reason}"


def _repair(layers: tuple[LayerSpec, ...], index: int, shape: Shape) -> Repair | None:
    """What would let the layer at `index` take an output of `shape`."""
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


def _beyond_limits(ledger: Ledger) -> Problem | None:
    if ledger.parameters > specs.MAX_PARAMETERS:
        heaviest = max(range(len(ledger.rows)), key=lambda i: ledger.rows[i].parameters)
        return Problem(
            heaviest,
            f"This network would have {ledger.parameters:,} parameters; at most {specs.MAX_PARAMETERS:,} are allowed. "
            f"Most of them stand in {_place(ledger, heaviest)}.",
        )
    if ledger.macs > specs.MAX_MACS:
        heaviest = max(range(len(ledger.rows)), key=lambda i: ledger.rows[i].macs)
        return Problem(
            heaviest,
            f"This network would take {ledger.macs / 1e6:,.0f} million multiply-adds per image; "
            f"at most {specs.MAX_MACS / 1e6:,.0f} million are allowed. "
            f"Most of them stand in {_place(ledger, heaviest)}.",
        )
    return None


def _place(ledger: Ledger, index: int) -> str:
    is_output = index == len(ledger.rows) - 1
    return "the output layer" if is_output else f"layer {index + 1}, {ledger.rows[index].layer.kind}"
