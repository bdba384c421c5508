"""Networks of runs, loaded in a worker and asked for probabilities.

Imports TensorFlow when first used: only worker processes may call what is here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data import datasets
from core.errors import RunDamaged
from core.evaluation import metrics
from core.explain import arithmetic, questions
from core.model import ledger
from core.model.specs import CLASSES
from core.runs import registry
from core.runs.run import Run

if TYPE_CHECKING:
    from core.evaluation import rejection

MAX_NETWORKS = 4
MOST_HELD_OUT = 2000  # that the time machine's confusion matrix counts


@dataclass(frozen=True)
class Moment:
    """A network at one time of its training. `probabilities` (10,) float32 of the digit asked about; `confusion` (10, 10)
    counts over held-out images, None without any; `kernels` and `maps` as in `progress.Snapshot`."""

    probabilities: np.ndarray
    confusion: np.ndarray | None
    kernels: np.ndarray
    maps: dict[str, np.ndarray]


class Predictor:
    """Answers for small batches, at once. Lives in a worker, as a Dask actor."""

    def __init__(self) -> None:
        self._travelling: tuple[str, Any] = (
            "",
            None,
        )  # the run whose network takes one checkpoint's weights after another's

    def probabilities(self, run_id: str, root: str, step: int, images: np.ndarray) -> np.ndarray:
        """What the network of a run says to some digits.

        Args:
            step: after how many batches.
            images: (n, 28, 28) uint8, as MNIST: white ink on black.

        Returns: (n, 10) float32, rows sum to 1.

        Raises:
            RunDamaged: if the checkpoint isn't there or isn't whole.
        """
        return network(run_id, root, step).predict_on_batch(images[..., None])

    def readings(self, run_id: str, root: str, step: int, images: np.ndarray) -> list[rejection.Reading]:
        """As `judgement.read`."""
        from core.evaluation import rejection

        return rejection.read(run_id, root, step, images)

    def tour(self, run_id: str, root: str, step: int, image: np.ndarray) -> questions.Tour:
        """As `explainer.tour`."""
        return questions.tour(run_id, root, step, image)

    def unit(
        self, run_id: str, root: str, step: int, which: tuple[np.ndarray, str, tuple[int, ...]]
    ) -> arithmetic.Unit:
        """As `explainer.unit`, of a digit, a layer and a place."""
        return questions.unit(run_id, root, step, *which)

    def moment(self, run_id: str, root: str, step: int, image: np.ndarray) -> Moment:
        """What the time machine shows of a run after so many batches.

        Args:
            image: a digit, (28, 28) uint8.
        """
        from core.explain import inspection
        from core.model import keras_model

        run = registry.find(run_id, root)
        training = run.experiment().training
        if self._travelling[0] != run_id:
            self._travelling = run_id, keras_model.build(run.experiment())
        network = self._travelling[1]
        keras_model.set_variables(network, run.weights(step))
        inspector, dataset = inspection.Inspector(network), datasets.load()
        _, held_out = datasets.split(dataset.y_train, training.train_size, training.validation_split, training.seed)
        held_out, confusion = held_out[:MOST_HELD_OUT], None
        if len(held_out):
            read = answers(network, run, dataset.x_train[held_out]).argmax(axis=1)
            confusion = metrics.confusion_matrix(dataset.y_train[held_out], read)
        return Moment(
            probabilities=network.predict_on_batch(image[None, ..., None])[0],
            confusion=confusion,
            kernels=inspector.kernels(),
            maps=inspector.feature_maps(image),
        )


def trace(run_id: str, root: str, steps: tuple[int, ...], image: np.ndarray) -> np.ndarray:
    """What a run's network said to one digit after each of so many batches.

    Args:
        image: (28, 28) uint8.

    Returns: (len(steps), 10) float32.

    Raises:
        RunDamaged: if a checkpoint isn't there or isn't whole.
    """
    from core.model import keras_model

    run, found = registry.find(run_id, root), []
    with _TRACING:
        network = _traced(run_id, root)
        for step in steps:
            keras_model.set_variables(network, run.weights(step))
            found.append(network.predict_on_batch(image[None, ..., None])[0])
    return np.stack(found)


_TRACING = threading.Lock()  # one network takes one checkpoint's weights after another's


@lru_cache(maxsize=1)
def _traced(run_id: str, root: str):
    from core.model import keras_model

    return keras_model.build(registry.find(run_id, root).experiment())


def answers(model, run: Run, images: np.ndarray, tell: Callable[[float], None] = lambda share: None) -> np.ndarray:
    """Probabilities (n, 10) float32 for images (n, 28, 28) uint8, as many at once as this network bears.

    Args:
        tell: told before each batch which share is done, 0..1.
    """
    batch, found = ledger.read(run.experiment().layers).evaluation_batch, []
    for start in range(0, len(images), batch):
        tell(start / len(images))
        found.append(keras_model.predict_on_batch(images[start : start + batch, ..., None]))
    return np.concatenate(found) if found else np.zeros((0, CLASSES), np.float32)


_LOADING = threading.Lock()


def network(run_id: str, root: str, step: int):
    """The network of a run after so many batches; the last few stay loaded."""
    with _LOADING:
        return _load(run_id, root, step)


@lru_cache(maxsize=MAX_NETWORKS)
def _load(run_id: str, root: str, step: int):
    from core.model import keras_model

    run = registry.find(run_id, root)
    if step not in run.steps():
        raise RunDamaged(f"Run {run_id} has no checkpoint after {step} batches; it has {run.steps()}.")
    network = keras_model.build(run.experiment())
    keras_model.set_variables(network, run.weights(step))
    return network
