"""Long questions about many digits, as jobs for the engine: what a network reads in all of them, maps, near-duplicates.

A job is a small frozen value, so equal ones are the same job and are done once. It works in a worker process, tells how far it
is, and ends where that telling raises.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from core.data import datasets, measures
from core.data.measures import Components, Layout, Neighbours, Pairs, Tell
from core.errors import NotExplainable, RunDamaged
from core.evaluation.questions import is_of
from core.model import ledger, specs
from core.runs import registry
from core.runs.arrays import Array
from core.runs.contents import Readings
from core.runs.run import Run

PIXELS = "pixels"
MOST_VALUES = 32_000_000  # of a layer's outputs that are held at once, 128 MB
WIDEST = 64  # values of a feature vector that are kept as they are; of more, their principal components
RECHECKED = 50  # candidates that are compared by all their values again
_READING_SHARE = 0.4  # of a map's time, about


@dataclass(frozen=True)
class ReadAll:
    """Have a run's network after so many batches read every digit of the training file; kept in the run's folder."""

    run_id: str
    root: str
    step: int

    def work(self, tell: Tell) -> int:
        """How many digits it read.

        Raises:
            RunDamaged: if the checkpoint can't be used.
            NotExplainable: if its weights aren't numbers any more.
            StorageFull: if there is no room for what it read.
        """
        dataset, run = datasets.load(), registry.find(self.run_id, self.root)
        _check(run, self.step)
        inside, last = _halves(self.run_id, self.root, self.step)
        probabilities, features, components = [], [], None
        for start, batch in _batches(run, dataset.x_train):
            values = inside.predict_on_batch(batch[..., None])
            probabilities.append(last.predict_on_batch(values))
            values = values.reshape(len(values), -1)
            if start == 0 and values.shape[1] > WIDEST:
                components = _fitted(self.run_id, self.root, self.step, dataset.digest)
            features.append(components.of(values) if components else values)
            tell(start / len(dataset.x_train))
        run.write_readings(
            Readings(
                self.step, np.concatenate(probabilities), np.concatenate(features), dataset.y_train, dataset.digest
            )
        )
        return len(dataset.x_train)


@dataclass(frozen=True)
class NearDuplicates:
    """Find the near-duplicates among all digits, those of the test file numbered after those of the training file."""

    within: float = measures.NEAR

    def work(self, tell: Tell) -> Pairs:
        """See `atlas.near_duplicates`."""
        dataset = datasets.load()
        images = np.concatenate([dataset.x_train, dataset.x_test])
        return measures.near_duplicates(images, np.concatenate([dataset.y_train, dataset.y_test]), self.within, tell)


@dataclass(frozen=True)
class DrawMap:
    """Lay some digits of the training file out in the plane; of a layer's outputs, kept beside the run.

    Attributes:
        count: how many, as `atlas.sample` chooses them.
        layout: by which method.
        layer: of which layer's outputs; `PIXELS` for the digits themselves, which needs no run.
    """

    count: int
    layout: Layout
    layer: str = PIXELS
    run_id: str = ""
    root: str = ""
    step: int = 0

    def work(self, tell: Tell) -> np.ndarray:
        """A place for each digit, (count, 2) float32.

        Raises:
            RunDamaged: if the checkpoint can't be used, or the network has no such layer.
            NotExplainable: if its weights aren't numbers any more.
        """
        if self.layer == PIXELS:
            return self._places(tell)
        question = f"{self.layout} of {self.layer} for {self.count} digits of {datasets.load().digest}"
        return registry.find(self.run_id, self.root).answered(self.step, question, Array, lambda: self._places(tell))

    def _places(self, tell: Tell) -> np.ndarray:
        dataset = datasets.load()
        images = dataset.x_train[measures.sample(np.arange(len(dataset.x_train)), self.count)]
        if self.layer == PIXELS:
            vectors = images.reshape(len(images), -1).astype(np.float32) / 255
        else:
            vectors = self._outputs(images, lambda share: tell(_READING_SHARE * share))
        begun = 0 if self.layer == PIXELS else _READING_SHARE
        return measures.layout(vectors, self.layout, lambda share: tell(begun + (1 - begun) * share))

    def _outputs(self, images: np.ndarray, tell: Tell) -> np.ndarray:
        """The layer's outputs for images (n, 28, 28), or their principal components where they are many: (n, d) float32."""
        run, inside = registry.find(self.run_id, self.root), _up_to(self.run_id, self.root, self.step, self.layer)
        width = int(np.prod(inside.output.shape[1:]))
        _check(run, self.step)
        components = _components(run, inside, images) if width > WIDEST else None
        vectors = []
        for start, batch in _batches(run, images):
            values = _flat(inside, batch)
            vectors.append(components.of(values) if components else values)
            tell(start / len(images))
        return np.concatenate(vectors)


def neighbours(run_id: str, root: str, step: int, image: np.ndarray, but: int | None) -> Neighbours:
    """The digits of the training file nearest to one by what the network's last layer but one gives out.

    Of wide layers fifty candidates are found among the principal components, and compared by all their values.

    Args:
        image: (28, 28) uint8.
        but: an index to leave out.

    Raises:
        RunDamaged: if `ReadAll` has not been done, or the checkpoint can't be used.
    """
    inside, _ = _halves(run_id, root, step)
    query = inside.predict_on_batch(image[None, ..., None]).reshape(-1)
    dataset = datasets.load()
    features = _features(run_id, root, step, dataset.digest)
    if len(query) <= WIDEST:
        return measures.nearest(features, query, but=but)
    rough = _fitted(run_id, root, step, dataset.digest).of(query[None])[0]
    candidates = np.sort(measures.nearest(features, rough, RECHECKED, but).indices)
    exact = measures.nearest(inside.predict_on_batch(dataset.x_train[candidates][..., None]), query)
    return Neighbours(candidates[exact.indices], exact.distances)


def layers(experiment: specs.Experiment) -> list[str]:
    """The layers whose outputs can be mapped, by the names they have in the network, in order."""
    names = [f"{index:02d}_{layer.kind.lower()}" for index, layer in enumerate(experiment.layers, start=1)]
    return [*names, "probabilities"]


@lru_cache(maxsize=2)
def _features(run_id: str, root: str, step: int, digest: str) -> np.ndarray:
    """What the last layer took of each training digit of the data set in use, whose digest tells one answer from another."""
    found, in_use = registry.find(run_id, root).readings(step), datasets.load()
    if found is None or not is_of(found, in_use, in_use.y_train):
        raise RunDamaged(f"Run {run_id} has no readings after {step} batches: have it read all digits first.")
    return found.features


@lru_cache(maxsize=2)
def _halves(run_id: str, root: str, step: int) -> tuple[Any, Any]:
    """A run's network up to its last layer, and that layer."""
    import keras

    from core.engine import predictor

    network = predictor.network(run_id, root, step)
    last = network.layers[-1]
    between = keras.Input(last.input.shape[1:])
    return keras.Model(network.input, last.input), keras.Model(between, last(between))


@lru_cache(maxsize=2)
def _fitted(run_id: str, root: str, step: int, digest: str) -> Components:
    """The principal components of what the last layer takes of the data set in use, whose digest tells one answer from another."""
    return _components(registry.find(run_id, root), _halves(run_id, root, step)[0], datasets.load().x_train)


@lru_cache(maxsize=2)
def _up_to(run_id: str, root: str, step: int, layer: str) -> Any:
    import keras

    from core.engine import predictor

    network = predictor.network(run_id, root, step)
    if layer not in {one.name for one in network.layers}:
        raise RunDamaged(f"Run {run_id} has no layer {layer!r}. Choose another.")
    return keras.Model(network.input, network.get_layer(layer).output)


def _components(run: Run, inside: Any, images: np.ndarray) -> Components:
    """The principal components of what a part of a network gives out, found from as many digits as can be held."""
    width = int(np.prod(inside.output.shape[1:]))
    some = images[: min(measures.FITTED_ON, max(2 * measures.COMPONENTS, MOST_VALUES // width))]
    return Components(np.concatenate([_flat(inside, batch) for _, batch in _batches(run, some)]))


def _check(run: Run, step: int) -> None:
    if not all(np.isfinite(values).all() for values in run.weights(step).values()):
        raise NotExplainable(
            f"After {step} batches this network's weights are no numbers any more (NaN or infinite), so there is nothing to sort "
            "or lay out by. Choose an earlier moment of it in the sidebar, or train with a smaller learning rate."
        )


def _flat(inside: Any, images: np.ndarray) -> np.ndarray:
    return inside.predict_on_batch(images[..., None]).reshape(len(images), -1)


def _batches(run: Run, images: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Batches as large as this network bears, each with its place."""
    size = ledger.read(run.experiment().layers).evaluation_batch
    for start in range(0, len(images), size):
        yield start, images[start : start + size]
