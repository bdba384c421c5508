"""Networks of runs as Keras has them, loaded in a worker and asked for probabilities.

Imports TensorFlow when first used: only worker processes may call what is here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from core.errors import RunDamaged
from core.model import ledger
from core.model.specs import CLASSES
from core.runs import registry
from core.runs.network import Network
from core.runs.question import Tell, untold
from core.runs.run import Run

MOST_NETWORKS = 4
_LOADING = threading.Lock()


def keras_network(network: Network) -> Any:
    """Return the Keras model; the last few stay loaded.

    Raises:
        RunNotFound: if the run was deleted.
        RunDamaged: if its checkpoint isn't there or isn't whole.
    """
    with _LOADING:
        return _load(network)


@lru_cache(maxsize=MOST_NETWORKS)
def _load(network: Network) -> Any:
    from core.model import keras_model  # TensorFlow, which workers alone load

    run, step = found(network).run, network.step
    if step not in run.steps():
        raise RunDamaged(f"Run {run.id} has no checkpoint after {step} batches; it has {run.steps()}.")
    built = keras_model.build(run.experiment())
    keras_model.set_variables(built, network.weights())
    return built


class TravellingNetwork:
    """One network that takes the weights of a run's checkpoints one after the other, instead of being built for each.

    It is lent to one caller at a time; callers who must not wait for each other have an instance each.
    """

    def __init__(self) -> None:
        self._lock, self._built = threading.Lock(), lru_cache(maxsize=1)(_built)

    @contextmanager
    def lent(self, run: Run) -> Iterator[Callable[[int], Any]]:
        """Lend a run's network, as a function that returns the Keras model with the weights after so many batches; each call
        changes the model that the last one returned. It raises RunDamaged if the checkpoint isn't there or isn't whole.
        """
        from core.model import keras_model  # TensorFlow, which workers alone load

        with self._lock:
            model = self._built(run)

            def after(step: int) -> Any:
                keras_model.set_variables(model, run.weights(step))
                return model

            yield after


def _built(run: Run) -> Any:
    from core.model import keras_model  # TensorFlow, which workers alone load

    return keras_model.build(run.experiment())


def found(network: Network) -> Network:
    """Return it, as long as its run is there: to write into a deleted one would bring its folder back.

    Raises:
        RunNotFound: if the run was deleted.
    """
    registry.find(network.run.id, network.run.root)
    return network


def batch_size(network: Network) -> int:
    """Return how many images it bears at once."""
    return ledger.read(network.run.experiment().layers).evaluation_batch


def probabilities(network: Network, images: np.ndarray, tell: Tell = untold) -> np.ndarray:
    """Return a network's probabilities for images (n, 28, 28) uint8: (n, 10) float32, rows sum to 1.

    Args:
        tell: told before each batch which share is done, 0..1.
    """
    return answers(keras_network(network), batch_size(network), images, tell)


def answers(model: Any, size: int, images: np.ndarray, tell: Tell = untold) -> np.ndarray:
    """Return a Keras model's probabilities for images (n, 28, 28) uint8, `size` at once; else as `probabilities`."""
    found = []
    for start in range(0, len(images), size):
        tell(start / len(images))
        found.append(model.predict_on_batch(images[start : start + size, ..., None]))
    return np.concatenate(found) if found else np.zeros((0, CLASSES), np.float32)
