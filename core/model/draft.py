"""The experiment being edited: layers that keep their names while they are moved, changed and switched off.

A name is a number that no other layer of this process has. By it the page knows a layer again after an edit and after an
undo, and a draft knows which layer of its preset became which of its own.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cached_property

from core.model.presets import PRESETS
from core.model.specs import MAX_LAYERS, Experiment, Layer, LayerSpec, Training

_names = itertools.count()


@dataclass(frozen=True)
class Difference:
    """The difference between a layer and the same layer of the preset.

    Attributes:
        is_added: the preset has no such layer.
        is_moved: the layer stands in another place among the preset's layers.
        is_off: the layer is switched off.
        fields: names of the fields that have other values.
    """

    is_added: bool = False
    is_moved: bool = False
    is_off: bool = False
    fields: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.is_added or self.is_moved or self.is_off or bool(self.fields)


@dataclass(frozen=True)
class Differences:
    """All differences between a draft and its preset.

    Attributes:
        layers: the differing layers, by their ids.
        removed: number of the preset's layers that are gone.
        training: names of the training fields that have other values.
    """

    layers: dict[int, Difference]
    removed: int
    training: tuple[str, ...]

    @property
    def count(self) -> int:
        """Number of differing layers, removed layers and differing training fields together."""
        return len(self.layers) + self.removed + len(self.training)


@dataclass(frozen=True)
class Draft:
    """Layers with ids that stay the same while they are edited, some perhaps switched off, and the training's settings.

    `preset_ids` are the ids of the layers of the preset it began as, in the preset's order; layers that are still here
    have kept theirs.
    """

    layers: tuple[Layer, ...]
    layer_ids: tuple[int, ...]
    training: Training
    preset: str
    preset_ids: tuple[int, ...]
    off: frozenset[int] = field(default=frozenset())

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment that would be trained: the layers that are on, and the training."""
        return Experiment(layers=tuple(layer for _, layer in self.on), training=self.training)

    @property
    def named(self) -> tuple[tuple[int, LayerSpec], ...]:
        """All layers with their ids: (id, layer), in order."""
        return tuple(zip(self.layer_ids, self.layers, strict=True))

    @property
    def on(self) -> tuple[tuple[int, LayerSpec], ...]:
        """The layers that are on with their ids: (id, layer), in order."""
        return tuple((name, layer) for name, layer in self.named if name not in self.off)

    def layer(self, layer_id: int) -> LayerSpec:
        """Return the layer with this id.

        Raises:
            ValueError: if there is none.
        """
        return self.layers[self.layer_ids.index(layer_id)]

    def in_preset(self, layer_id: int) -> LayerSpec | None:
        """Return this layer as the preset has it, or None if it isn't from the preset."""
        if layer_id not in self.preset_ids:
            return None
        return PRESETS[self.preset].experiment.layers[self.preset_ids.index(layer_id)]

    # -- edits: each returns another draft -------------------------------------------------------------------------------

    def with_training(self, training: Training) -> Draft:
        """Return a draft with another training."""
        return replace(self, training=training)

    def with_layer(self, layer_id: int, new: LayerSpec) -> Draft:
        """Return a draft in which the layer with this id is replaced by `new`."""
        return self._of((name, new if name == layer_id else layer) for name, layer in self.named)

    def with_added(self, new: LayerSpec) -> Draft:
        """Return a draft with one more layer at the end, under a new id."""
        return self._of((*self.named, (next(_names), new)))

    def with_copy(self, layer_id: int) -> Draft:
        """Return a draft with a copy of a layer right behind it, under a new id; the copy of a layer that is off is
        off.
        """
        place, name = self.layer_ids.index(layer_id) + 1, next(_names)
        copied = self._of((*self.named[:place], (name, self.layer(layer_id)), *self.named[place:]))
        return copied.with_switched(name) if layer_id in self.off else copied

    def without(self, layer_id: int) -> Draft:
        """Return a draft without the layer with this id."""
        return self._of((name, layer) for name, layer in self.named if name != layer_id)

    def with_moved(self, layer_id: int, by: int) -> Draft:
        """Return a draft in which a layer is one place further up (`by` = -1) or down (+1); beyond the ends it stays
        where it is.
        """
        here = self.layer_ids.index(layer_id)
        there = here + by
        if not 0 <= there < len(self.layers):
            return self
        named = list(self.named)
        named[here], named[there] = named[there], named[here]
        return self._of(named)

    def with_switched(self, layer_id: int) -> Draft:
        """Return a draft in which a layer is switched off if it was on, and on if it was off."""
        return replace(self, off=self.off ^ {layer_id})

    def cleared(self) -> Draft:
        """Return a draft without layers."""
        return self._of(())

    def with_network(self, layers: tuple[LayerSpec, ...]) -> Draft:
        """Return a draft with other layers in place of those that are on.

        Layers that are equal keep their ids; a layer that is off stays behind the layer that it followed.
        """
        new = _matched(self.on, layers)
        kept = {name for name, _ in new}
        place = 0
        for name, layer in self.named:
            if name in self.off:
                new.insert(place, (name, layer))
                place += 1
            elif name in kept:
                place = [other for other, _ in new].index(name) + 1
        return self._of(new)

    @cached_property
    def differences(self) -> Differences:
        """The differences between this draft and its preset."""
        preset = PRESETS[self.preset].experiment
        known = [name for name in self.layer_ids if name in self.preset_ids]
        kept = [name for name in self.preset_ids if name in known]
        blocks = SequenceMatcher(None, kept, known, autojunk=False).get_matching_blocks()
        in_order = {name for block in blocks for name in known[block.b : block.b + block.size]}
        layers = {}
        for name, layer in self.named:
            original = self.in_preset(name)
            layers[name] = Difference(
                is_added=original is None,
                is_moved=original is not None and name not in in_order,
                is_off=name in self.off,
                fields=() if original is None else differing_fields(original, layer),
            )
        return Differences(
            {name: difference for name, difference in layers.items() if difference},
            removed=len(self.preset_ids) - len(known),
            training=differing_fields(preset.training, self.training),
        )

    def _of(self, named) -> Draft:
        named = tuple(named)
        names = tuple(name for name, _ in named)
        return replace(self, layers=tuple(layer for _, layer in named), layer_ids=names, off=self.off & set(names))


def of_preset(name: str) -> Draft:
    """Return the draft of an unchanged preset.

    Args:
        name: a key of `PRESETS`.
    """
    experiment = PRESETS[name].experiment
    names = _new_names(len(experiment.layers))
    return Draft(experiment.layers, names, experiment.training, name, names)


def of_experiment(experiment: Experiment) -> Draft:
    """Return the draft of any experiment, based on the preset that it differs least from."""

    def from_preset(name: str) -> Draft:
        return of_preset(name).with_network(experiment.layers).with_training(experiment.training)

    return min(map(from_preset, PRESETS), key=lambda draft: draft.differences.count)


def renamed(drafts: Sequence[Draft]) -> list[Draft]:
    """Return drafts that another process kept, with ids of this process: a layer that several of them share still has
    one id.

    Raises:
        ValueError: if one of them is no draft that can be edited here.
    """
    names: defaultdict[int, int] = defaultdict(lambda: next(_names))
    return [_renamed(draft, names) for draft in drafts]


def _renamed(draft: Draft, names: Mapping[int, int]) -> Draft:
    known = PRESETS.get(draft.preset)
    if known is None or len(draft.preset_ids) != len(known.experiment.layers):
        raise ValueError(f"{draft.preset!r} with {len(draft.preset_ids)} layers is no preset here")
    if len(draft.layers) != len(draft.layer_ids) or len(set(draft.layer_ids)) != len(draft.layer_ids):
        raise ValueError(f"{len(draft.layers)} layers have the names {draft.layer_ids}")
    new = replace(
        draft,
        layer_ids=tuple(names[name] for name in draft.layer_ids),
        preset_ids=tuple(names[name] for name in draft.preset_ids),
        off=frozenset(names[name] for name in draft.off & set(draft.layer_ids)),
    )
    if len(new.on) > MAX_LAYERS:
        raise ValueError(f"{len(new.on)} layers are on, of at most {MAX_LAYERS}")
    return new


def differing_fields(one, other) -> tuple[str, ...]:
    """Return the names of the fields in which two specs of one class differ."""
    return tuple(name for name, value in one if value != getattr(other, name))


def _matched(named: Sequence[tuple[int, LayerSpec]], layers: Sequence[LayerSpec]) -> list[tuple[int, LayerSpec]]:
    """Return `layers` with ids: equal layers in the same order keep theirs, and a layer in the place of one of the same
    kind takes its id."""
    old = [layer for _, layer in named]
    result = []
    for _, a, a_end, b, b_end in SequenceMatcher(None, old, layers, autojunk=False).get_opcodes():
        free = list(named[a:a_end])
        for layer in layers[b:b_end]:
            taken = next((k for k, (_, candidate) in enumerate(free) if candidate.kind == layer.kind), None)
            if taken is None:
                result.append((next(_names), layer))
            else:
                result.append((free[taken][0], layer))
                del free[: taken + 1]
    return result


def _new_names(count: int) -> tuple[int, ...]:
    return tuple(next(_names) for _ in range(count))
