"""Networks of runs, loaded in a worker and asked for probabilities.

Imports TensorFlow when first used: only worker processes may call what is here.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np

from core import data, ledger, runs
from core.errors import RunDamaged

MAX_NETWORKS = 4


class Predictor:
    """Answers for small batches, at once. Lives in a worker, as a Dask actor."""

    def probabilities(self, run_id: str, root: str, epoch: int, images: np.ndarray) -> np.ndarray:
        """What the network of a run says to some digits.

        Args:
            epoch: whose checkpoint, counted from 1.
            images: (n, 28, 28) uint8, as MNIST: white ink on black.

        Returns: (n, 10) float32, rows sum to 1.

        Raises:
            RunDamaged: if the checkpoint isn't there or isn't whole.
        """
        return network(run_id, root, epoch).predict_on_batch(images[..., None])


def evaluate(run_id: str, root: str, epoch: int) -> None:
    """Let the network of a run answer for the whole test set, and leave the answers in the run's folder."""
    dataset = data.load()
    run, model = runs.find(run_id, root), network(run_id, root, epoch)
    batch = ledger.read(run.experiment().layers).evaluation_batch
    probabilities = np.concatenate(
        [
            model.predict_on_batch(dataset.x_test[start : start + batch, ..., None])
            for start in range(0, len(dataset.x_test), batch)
        ]
    )
    run.write_evaluation(runs.Evaluation(epoch, probabilities, dataset.y_test))


_LOADING = threading.Lock()


def network(run_id: str, root: str, epoch: int):
    """The network of a run at the end of an epoch; the last few stay loaded."""
    with _LOADING:
        return _load(run_id, root, epoch)


@lru_cache(maxsize=MAX_NETWORKS)
def _load(run_id: str, root: str, epoch: int):
    from core import model

    run = runs.find(run_id, root)
    if epoch not in run.epochs():
        raise RunDamaged(f"Run {run_id} has no checkpoint of epoch {epoch}; it has {run.epochs()}.")
    network = model.build(run.experiment())
    model.set_variables(network, run.weights(epoch))
    return network
