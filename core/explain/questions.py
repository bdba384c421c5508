"""Networks of runs, explained in a worker: a digit's way through one, why it says what it says, and what would change that.

Imports TensorFlow when first used: only worker processes may call what is here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from core.errors import NotExplainable
from core.explain import adversarial, arithmetic, attribution
from core.explain.arithmetic import Form, Layer
from core.model import ledger
from core.runs import registry
from core.runs.arrays import Array

MOST_NETWORKS = 4
MOST_MAPS, MOST_UNITS, MOST_CHANNELS = 36, 144, 4  # of a layer that are shown
MOST_AT_ONCE = 128  # images that gradients are taken of

PerfectDigits = tuple[Array, Array]
_READING = threading.Lock()


@dataclass(frozen=True)
class Forgotten:
    """Maps (28, 28) float32 by method of a network of which `layers` have forgotten what they learned; one of `levels`."""

    layers: tuple[str, ...]
    levels: int
    maps: dict[str, Array]


@dataclass(frozen=True)
class Tour:
    """A digit's way through a network.

    Attributes:
        layers: by name and in order, without their weights.
        outputs: what each gives out, (h, w, c) or (n,) float32; of many maps or units the first.
        kernels: of the convolutions, by name, (filters, kh, kw, c) float32; of many filters or channels the first.
        probabilities: (10,) float32.
    """

    layers: dict[str, Layer]
    outputs: dict[str, np.ndarray]
    kernels: dict[str, np.ndarray]
    probabilities: np.ndarray


def tour(run_id: str, root: str, step: int, image: np.ndarray) -> Tour:
    """What every layer makes of a digit, (28, 28) uint8."""
    _, layers = _inspected(run_id, root, step)
    answers = _answers_inside(run_id, root, step, image.tobytes())
    kernels = {name: layer.weights["kernel"] for name, layer in layers.items() if layer.form is Form.WINDOW}
    return Tour(
        layers={name: replace(layer, weights={}) for name, layer in layers.items()},
        outputs={
            name: values[..., :MOST_MAPS] if values.ndim == 3 else values[:MOST_UNITS]
            for name, values in answers.items()
        },
        kernels={
            name: np.ascontiguousarray(np.moveaxis(kernel[:, :, :MOST_CHANNELS, :MOST_MAPS], 3, 0))
            for name, kernel in kernels.items()
        },
        probabilities=answers[next(reversed(layers))],
    )


def unit(run_id: str, root: str, step: int, image: np.ndarray, name: str, place: tuple[int, ...]) -> arithmetic.Unit:
    """How one number of a network comes about.

    Args:
        image: the digit, (28, 28) uint8.
        name: of the layer.
        place: of the number in its output, (row, column, channel) or (unit,).

    Raises:
        NotExplainable: if there is no such number.
    """
    _, layers = _inspected(run_id, root, step)
    layer = layers.get(name)
    if (
        layer is None
        or len(place) != len(layer.shape)
        or not all(0 <= at < side for at, side in zip(place, layer.shape, strict=True))
    ):
        raise NotExplainable(f"This network has no number at {place} of a layer {name!r}. Choose another.")
    answers = _answers_inside(run_id, root, step, image.tobytes())
    before = [layers[source] for source in layer.inputs]
    is_flattened = len(before) == 1 and before[0].form is Form.FLAT
    return arithmetic.unit(
        layer,
        tuple(answers[source] for source in layer.inputs),
        answers[name],
        place,
        flattened=layers[before[0].inputs[0]].shape if is_flattened else None,
    )


def explanation(run_id: str, root: str, step: int, image: np.ndarray, digit: int) -> attribution.Explanation:
    """Why the network of a run says a digit, or doesn't. Kept beside the run.

    Args:
        image: (28, 28) uint8.

    Raises:
        NotExplainable: if its weights aren't numbers any more.
    """

    def find() -> attribution.Explanation:
        with _borrowed(run_id, root, step) as reader:
            return attribution.explain(reader, _ink(image), digit)

    question = f"explanation of {digit} in {_name(image)}"
    return registry.find(run_id, root).answered(step, question, attribution.Explanation, find)


def levels(run_id: str, root: str, step: int) -> list[list[str]]:
    """Which layers of a run's network forget at each level of the cascade."""
    return attribution.levels(registry.find(run_id, root).weights(step))


def forgetting(run_id: str, root: str, step: int, image: np.ndarray, digit: int, level: int) -> Forgotten:
    """The maps of `explanation` once some layers have forgotten what they learned. Kept beside the run.

    Args:
        level: 0 for the last layer alone; one more, more layers.
    """

    def find() -> Forgotten:
        forgotten = levels(run_id, root, step)
        with _borrowed(run_id, root, step, forgotten[level]) as reader:
            maps, _ = attribution.maps(reader, _ink(image), digit)
        return Forgotten(tuple(forgotten[level]), len(forgotten), maps)

    run = registry.find(run_id, root)
    how = "" if run.experiment().fine_tuning is None else " what two trainings taught them"
    question = f"{digit} in {_name(image)} when layers up to level {level} have forgotten{how}"
    return run.answered(step, question, Forgotten, find)


def smallest_change(
    run_id: str, root: str, step: int, image: np.ndarray, target: int, norm: adversarial.Norm
) -> adversarial.Change:
    """The smallest change of a digit that makes the network of a run read another. Arguments and errors as `explanation`."""

    def find() -> adversarial.Change:
        with _borrowed(run_id, root, step) as reader:
            return adversarial.smallest_change(reader, image, target, norm)

    question = f"{norm} change of {_name(image)} towards {target}"
    return registry.find(run_id, root).answered(step, question, adversarial.Change, find)


def perfect_digits(run_id: str, root: str, step: int) -> PerfectDigits:
    """What the network of a run thinks each digit should look like; see `persuasion.perfect_digits`. Kept beside the run."""

    def find() -> PerfectDigits:
        with _borrowed(run_id, root, step) as reader:
            return adversarial.perfect_digits(reader)

    return registry.find(run_id, root).answered(step, "perfect digits", PerfectDigits, find)


def _name(image: np.ndarray) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def _ink(image: np.ndarray) -> np.ndarray:
    return (image / 255).astype(np.float32)


@contextmanager
def _borrowed(run_id: str, root: str, step: int, forgotten: Sequence[str] = ()) -> Iterator[attribution.Reader]:
    """The run's network with the weights it had after so many batches, some layers' as before all training. One at a time."""
    from core.model import keras_model

    with _READING:
        lent = _lendable(run_id, root)
        weights = registry.find(run_id, root).weights(step)
        if not all(np.isfinite(values).all() for values in weights.values()):
            raise NotExplainable(
                f"After {step} batches this network's weights are not numbers any more (NaN or infinite), so nothing it says "
                "has a reason. Choose an earlier moment of it in the sidebar, or train with a smaller learning rate."
            )
        keras_model.set_variables(lent.network, attribution.randomised(weights, lent.initial, forgotten))
        yield lent.reader


@dataclass(frozen=True)
class _Lendable:
    network: Any
    reader: attribution.Reader
    initial: dict[str, np.ndarray]


@lru_cache(maxsize=2)
def _lendable(run_id: str, root: str) -> _Lendable:
    """One network per run takes the weights of all its moments, so that its gradients are compiled once."""
    from core.explain import inspection
    from core.model import keras_model

    run = registry.find(run_id, root)
    experiment = run.experiment()
    network = keras_model.build(experiment)
    # An older run may have begun with other weights than its seed gives today. A fine-tuning begins with what another run
    # learned, which is not nothing.
    is_of_random = 0 in run.steps() and experiment.fine_tuning is None
    initial = run.weights(0) if is_of_random else keras_model.variables(network)[0]
    batch = min(MOST_AT_ONCE, ledger.read(experiment.layers).largest_batch)
    return _Lendable(network, inspection.Reader(network, batch), initial)


@lru_cache(maxsize=MOST_NETWORKS)
def _inspected(run_id: str, root: str, step: int):
    """An inspector of the run's network, and what its layers do."""
    from core.engine import predictor
    from core.explain import inspection

    network = predictor.network(run_id, root, step)
    return inspection.Inspector(network), inspection.layers(network)


@lru_cache(maxsize=4)
def _answers_inside(run_id: str, root: str, step: int, image: bytes) -> dict[str, np.ndarray]:
    inspector, _ = _inspected(run_id, root, step)
    return inspector.answers(np.frombuffer(image, np.uint8).reshape(28, 28))
