"""Seconds to evaluate First CNN on the whole test set as the app does, over `model.predict` alone in the same process.

Ours is the job that a worker does: answers for 10,000 images, written into the run's folder, and the figures of the page computed
from them. `predict` is Keras' own with its defaults. Both have the network loaded and have answered once before; they take turns,
and `ratio` is the median of the turns' ratios. Beside it stands the ratio to `predict` with batches as large as ours.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

from benchmarks import limit, report
from core.data import datasets
from core.evaluation import metrics
from core.evaluation.questions import AnswerTest
from core.model import ledger, presets
from core.runs import loaded, registry
from core.runs.contents import Checkpoint
from core.runs.network import Network
from core.runs.question import untold
from core.runs.run import Run


def main() -> None:
    """Measure ours, predict, and predict with our batches, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    report.demand_mnist()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from core.model import keras_model

    experiment, images = presets.FIRST_CNN.experiment, datasets.load().x_test[..., None]
    batch = ledger.read(experiment.layers).evaluation_batch
    with tempfile.TemporaryDirectory(prefix="digitlab-benchmark-") as root:
        run = registry.create(experiment, "First CNN", root)
        run.write_weights(Checkpoint(1, keras_model.variables(keras_model.build(experiment))[0], None))
        network = loaded.keras_network(Network(run, 1))
        ways = (
            lambda: _evaluate(run),
            lambda: network.predict(images, verbose=0),
            lambda: network.predict(images, batch_size=batch, verbose=0),
        )
        for way in ways:
            way()
        rows = []
        for turn in range(1, arguments.turns + 1):
            ours, predict, in_batches = (_seconds(way) for way in ways)
            rows.append([f"turn {turn}", ours, predict, in_batches, ours / predict, ours / in_batches])
    rows.append(["median", *(float(np.median(column)) for column in list(zip(*rows, strict=True))[1:])])
    report.table(
        f"First CNN on {len(images):,} images: seconds",
        ["", "evaluation", "predict", f"predict by {batch}", "ratio", f"ratio by {batch}"],
        rows,
    )
    report.result(ratio=rows[-1][4], ratio_same_batch=rows[-1][5], seconds=rows[-1][1])


def _evaluate(run: Run) -> str:
    AnswerTest(Network(run, 1)).work(untold)
    answers = Network(run, 1).evaluation()
    return metrics.table(answers.y_true, answers.probabilities)


def _seconds(way: Callable[[], object]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


if __name__ == "__main__":
    limit.run(main, minutes=30)
