"""Questions about many digits: a network's predictions for all of them, maps, near-duplicates, the nearest ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from core.data import datasets, measures
from core.data.measures import Layout, Neighbours, Pairs, PrincipalComponents
from core.data.splits import is_of
from core.errors import RunDamaged
from core.model import specs
from core.runs import loaded
from core.runs.arrays import Array
from core.runs.contents import Readings
from core.runs.network import Network
from core.runs.question import Question, Tell, image_of

PIXELS = "pixels"
MOST_VALUES = 32_000_000  # of a layer's outputs that are held at once, 128 MB
WIDEST = 64  # values of a feature vector that are kept as they are; of more, their principal components
RECHECKED = 50  # candidates that are compared by all their values again
_READING_SHARE = 0.4  # of a map's time, about


@dataclass(frozen=True)
class ReadAll(Question):
    """Ask for the predictions for every digit of the training file; kept beside its run."""

    network: Network

    def work(self, tell: Tell) -> int:
        """Return the number of digits classified.

        Raises:
            RunDamaged: if the checkpoint can't be used.
            NotNumbers: if its weights aren't numbers any more.
            StorageFull: if there is no room for what it read.
        """
        dataset, network = datasets.load(), loaded.found(self.network)
        network.finite_weights()
        inside, last = _halves(network)
        probabilities, features, components = [], [], None
        for start, batch in _batches(network, dataset.x_train):
            values = inside.predict_on_batch(batch[..., None])
            probabilities.append(last.predict_on_batch(values))
            values = values.reshape(len(values), -1)
            if start == 0 and values.shape[1] > WIDEST:
                components = _fitted(network, dataset.digest)
            features.append(components.of(values) if components else values)
            tell(start / len(dataset.x_train))
        found = np.concatenate(probabilities), np.concatenate(features)
        loaded.found(network).keep_readings(Readings(network.step, *found, dataset.y_train, dataset.digest))
        return len(dataset.x_train)


@dataclass(frozen=True)
class NearDuplicates(Question):
    """Find the near-duplicates among all digits, those of the test file numbered after those of the training file."""

    within: float = measures.NEAR

    def work(self, tell: Tell) -> Pairs:
        """Return them, as `measures.near_duplicates` finds them."""
        dataset = datasets.load()
        images = np.concatenate([dataset.x_train, dataset.x_test])
        return measures.near_duplicates(images, np.concatenate([dataset.y_train, dataset.y_test]), self.within, tell)


@dataclass(frozen=True)
class DrawMap(Question):
    """Lay some digits of the training file out in the plane; of a layer's outputs, kept beside the run.

    Attributes:
        count: how many, as `measures.sample` chooses them.
        layout: by which method.
        layer: of which layer's outputs; `PIXELS` for the digits themselves, which needs no network.
    """

    count: int
    layout: Layout
    layer: str = PIXELS
    network: Network | None = None

    def work(self, tell: Tell) -> np.ndarray:
        """Return a place for each digit, (count, 2) float32.

        Raises:
            RunDamaged: if the checkpoint can't be used, or the network has no such layer.
            NotNumbers: if its weights aren't numbers any more.
        """
        if self.layer == PIXELS:
            return self._places(tell)
        question = f"{self.layout} of {self.layer} for {self.count} digits of {datasets.load().digest}"
        return loaded.found(self._inside()).answered(question, Array, lambda: self._places(tell))

    def _inside(self) -> Network:
        if self.network is None:
            raise ValueError(f"expected the network whose layer {self.layer!r} is, received none")
        return self.network

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
        """Return the layer's outputs for images (n, 28, 28), or their principal components if there are many: (n, d)
        float32.
        """
        network, inside = loaded.found(self._inside()), _up_to(self._inside(), self.layer)
        width = int(np.prod(inside.output.shape[1:]))
        network.finite_weights()
        components = _components(network, inside, images) if width > WIDEST else None
        vectors = []
        for start, batch in _batches(network, images):
            values = _flat(inside, batch)
            vectors.append(components.of(values) if components else values)
            tell(start / len(images))
        return np.concatenate(vectors)


@dataclass(frozen=True)
class NearestInside(Question):
    """Find the digits of the training file nearest to one by the output of the network's last layer but one."""

    network: Network
    pixels: bytes
    but: int | None = None

    def work(self, tell: Tell) -> Neighbours:
        """Return them, the nearest first.

        Raises:
            RunDamaged: if `ReadAll` has not been done, or the checkpoint can't be used.
        """
        inside, _ = _halves(self.network)
        query = inside.predict_on_batch(image_of(self.pixels)[None, ..., None]).reshape(-1)
        dataset = datasets.load()
        features = _features(self.network, dataset.digest)
        if len(query) <= WIDEST:
            return measures.nearest(features, query, but=self.but)
        rough = _fitted(self.network, dataset.digest).of(query[None])[0]
        candidates = np.sort(measures.nearest(features, rough, RECHECKED, self.but).indices)
        exact = measures.nearest(inside.predict_on_batch(dataset.x_train[candidates][..., None]), query)
        return Neighbours(candidates[exact.indices], exact.distances)


def layers(experiment: specs.Experiment) -> list[str]:
    """Return the layers whose outputs can be mapped, by the names they have in the network, in order."""
    names = [f"{index:02d}_{layer.kind.lower()}" for index, layer in enumerate(experiment.layers, start=1)]
    return [*names, "probabilities"]


@lru_cache(maxsize=2)
def _features(network: Network, digest: str) -> np.ndarray:
    """Return what the last layer took of each training digit of the data set in use, whose digest tells one answer from another."""
    found, in_use = loaded.found(network).readings(), datasets.load()
    if found is None or not is_of(found, in_use, in_use.y_train):
        run, step = network.run, network.step
        raise RunDamaged(f"Run {run.id} has no readings after {step} batches: have it read all digits first.")
    return found.features


@lru_cache(maxsize=2)
def _halves(network: Network) -> tuple[Any, Any]:
    """Return the network up to its last layer, and that layer."""
    import keras  # TensorFlow, which workers alone load

    model = loaded.keras_network(network)
    last = model.layers[-1]
    between = keras.Input(last.input.shape[1:])
    return keras.Model(model.input, last.input), keras.Model(between, last(between))


@lru_cache(maxsize=2)
def _fitted(network: Network, digest: str) -> PrincipalComponents:
    """Return the principal components of what the last layer takes of the data set in use, whose digest tells one answer from
    another."""
    return _components(network, _halves(network)[0], datasets.load().x_train)


@lru_cache(maxsize=2)
def _up_to(network: Network, layer: str) -> Any:
    import keras  # TensorFlow, which workers alone load

    model = loaded.keras_network(network)
    if layer not in {one.name for one in model.layers}:
        raise RunDamaged(f"Run {network.run.id} has no layer {layer!r}. Choose another.")
    return keras.Model(model.input, model.get_layer(layer).output)


def _components(network: Network, inside: Any, images: np.ndarray) -> PrincipalComponents:
    """Return the principal components of what a part of a network gives out, found from as many digits as can be held."""
    width = int(np.prod(inside.output.shape[1:]))
    some = images[: min(measures.FITTED_ON, max(2 * measures.COMPONENTS, MOST_VALUES // width))]
    return PrincipalComponents(np.concatenate([_flat(inside, batch) for _, batch in _batches(network, some)]))


def _flat(inside: Any, images: np.ndarray) -> np.ndarray:
    return inside.predict_on_batch(images[..., None]).reshape(len(images), -1)


def _batches(network: Network, images: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield batches as large as this network bears, each with its place."""
    size = loaded.batch_size(network)
    for start in range(0, len(images), size):
        yield start, images[start : start + size]
