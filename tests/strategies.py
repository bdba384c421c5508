"""Hypothesis strategies for specs, derived from the models' own fields: a new kind or field is drawn unasked."""

import math
import types
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from core.model.specs import IMAGE_SHAPE, LAYER_KINDS, Experiment, LayerSpec, Spec, Training, replaced

SMALL = {"filters": 6, "units": 16, "kernel_size": 7, "pool_size": 5, "strides": 5}
"""Upper bounds that keep a drawn network quick to build."""


def specs_of(kind: type[Spec], most: dict[str, int] | None = None) -> st.SearchStrategy[Spec]:
    """Any valid value of a spec class. `most` lowers the upper bound of the integer fields it names."""
    return _specs_of(kind, tuple(sorted((most or {}).items())))


@cache  # to make a strategy takes longer than to draw from it
def _specs_of(kind: type[Spec], most: tuple[tuple[str, int], ...]) -> st.SearchStrategy[Spec]:
    if kind is Training:
        return trainings(dict(most))
    return _fields(kind, dict(most)).map(lambda values: kind(**values))


def trainings(most: dict[str, int] | None = None) -> st.SearchStrategy[Training]:
    """Any valid training: patience only where images are held out."""

    def possible(values: dict[str, Any]) -> Training:
        held_out = round(values["train_size"] * values["validation_split"])
        return Training(**{**values, "patience": values["patience"] if held_out else None})

    return _fields(Training, most or {}).map(possible)


def layers(most: dict[str, int] | None = None) -> st.SearchStrategy[LayerSpec]:
    """Any layer by itself."""
    return layers_of(tuple(LAYER_KINDS.values()), tuple(sorted((most or {}).items())))


@cache
def layers_of(kinds: tuple[type[LayerSpec], ...], most: tuple[tuple[str, int], ...]) -> st.SearchStrategy[LayerSpec]:
    """Any layer of one of these kinds."""
    return st.one_of([_specs_of(kind, most) for kind in kinds])


def experiments() -> st.SearchStrategy[Experiment]:
    """Anything an `Experiment` can say; most of these stacks can't be built."""
    return specs_of(Experiment)


@st.composite
def stacks(draw: st.DrawFn, most: dict[str, int] = SMALL, max_layers: int = 7) -> tuple[LayerSpec, ...]:
    """Stacks that can be built: layers for images, one that flattens, layers for vectors. Large windows are padded."""
    kinds = tuple(LAYER_KINDS.values())
    flatteners = tuple(kind for kind in kinds if kind.takes == "image" and len(kind().output_shape(IMAGE_SHAPE)) == 1)
    for_images = tuple(kind for kind in kinds if kind.takes in ("image", "any") and kind not in flatteners)
    for_vectors = tuple(kind for kind in kinds if kind.takes in ("vector", "any"))
    bounds = tuple(sorted(most.items()))
    size = draw(st.integers(0, max_layers - 1))
    before = draw(st.integers(0, size))
    parts = [for_images] * before + [flatteners] + [for_vectors] * (size - before)
    stack, shape = [], IMAGE_SHAPE
    for part in parts:
        layer = draw(layers_of(part, bounds))
        if layer.misfit(shape):
            layer = replaced(layer, padding="same")
        shape = layer.output_shape(shape)
        stack.append(layer)
    return tuple(stack)


def extreme(kind: type[Spec], is_highest: bool, **values: Any) -> Spec:
    """A spec whose numbers are as high, or as low, as they may be, but for those given."""
    for name, field in kind.model_fields.items():
        lowest = [*stated(field.metadata, "ge"), *(math.nextafter(b, math.inf) for b in stated(field.metadata, "gt"))]
        highest = [*stated(field.metadata, "le"), *(math.nextafter(b, -math.inf) for b in stated(field.metadata, "lt"))]
        if lowest and highest:
            is_float = field.annotation is float
            bound = min(highest) if is_highest else max(lowest)
            values.setdefault(name, float(bound) if is_float else bound)
    return kind(**values)


def _fields(kind: type[Spec], most: dict[str, int]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: _field(field, name, most) for name, field in kind.model_fields.items()})


def _field(field: FieldInfo, name: str, most: dict[str, int]) -> st.SearchStrategy:
    return _values(field.annotation, field.metadata, name, most)


def _values(annotation: Any, metadata: list, name: str, most: dict[str, int]) -> st.SearchStrategy:
    """Values of a type within the bounds that stand beside it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [m for extra in arguments[1:] for m in (extra.metadata if isinstance(extra, FieldInfo) else [extra])]
        return _values(arguments[0], [*metadata, *inner], name, most)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of([_values(argument, metadata, name, most) for argument in arguments])
    if origin is tuple:
        longest = min(stated(metadata, "max_length"))
        return st.lists(_values(arguments[0], [], name, most), max_size=longest).map(tuple)
    if annotation is type(None):
        return st.none()
    if annotation is str:
        return st.from_regex(next(iter(stated(metadata, "pattern"))), fullmatch=True)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        least, greatest = max(stated(metadata, "ge")), min(stated(metadata, "le"))
        return st.integers(least, min(greatest, most.get(name, greatest)))
    if annotation is float:
        least, greatest = max(stated(metadata, "ge", "gt")), min(stated(metadata, "le", "lt"))
        return st.floats(
            least, greatest, exclude_min=bool(stated(metadata, "gt")), exclude_max=bool(stated(metadata, "lt"))
        )
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return specs_of(annotation, most)
    raise TypeError(f"No strategy for {name}: {annotation}. Teach tests/strategies.py this type.")


def stated(metadata: list, *names: str) -> list:
    """What a field's metadata says under these names: ge, gt, le, lt, max_length."""
    return [getattr(bound, name) for bound in metadata for name in names if getattr(bound, name, None) is not None]
