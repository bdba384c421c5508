"""The trainings whose recordings the doctor's tests read, and the function that made them: half a minute, once.

    PYTHONPATH=. python tests/core/training/record_histories.py

Each is a small training with one thing wrong, or nothing. Recorded with MNIST, not its stand-in.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import asdict
from pathlib import Path

import numpy as np

from core.model.presets import FIRST_CNN, MLP
from core.model.specs import (
    SGD,
    Conv2D,
    Dense,
    Experiment,
    Flatten,
    LayerSpec,
    MaxPooling2D,
    Training,
    parse_experiment,
)
from core.runs.progress import EpochEnded, Progress, Snapshot, State, StateChanged

FOLDER = Path(__file__).parent / "histories"


def _of(layers: tuple[LayerSpec, ...], **training: object) -> Experiment:
    return Experiment(layers=layers, training=Training(**{"train_size": 5000, "epochs": 3, **training}))


_FIRST_CNN, _MLP = FIRST_CNN.experiment.layers, MLP.experiment.layers
_ZEROS = Dense(units=64, kernel_initializer="zeros")

RECORDED = {
    "healthy": _of(_FIRST_CNN, epochs=5),
    "healthy_sgd": _of(_MLP, optimizer=SGD(), learning_rate=0.01),
    "exploded": _of(_FIRST_CNN, optimizer=SGD(), learning_rate=0.5),
    "zeros": _of((Flatten(), _ZEROS, _ZEROS)),
    "sigmoids": _of((Flatten(), *[Dense(units=32, activation="sigmoid")] * 9)),
    "died": _of(_FIRST_CNN, learning_rate=0.07),
    "collapsed": _of((Flatten(), *[Dense(units=64)] * 4), learning_rate=0.07),
    "rate_too_high": _of((Flatten(), *[Dense(units=64, activation="tanh")] * 2), learning_rate=0.05),
    "rate_too_low": _of(_FIRST_CNN, learning_rate=1e-5),
    "dead": _of(
        (*[Conv2D(filters=16), MaxPooling2D()] * 2, Flatten(), Dense(units=128)), learning_rate=0.02, batch_size=32
    ),
    "large_batch": _of(_FIRST_CNN, batch_size=1024),
    "overfitting": _of(
        (Flatten(), Dense(units=512), Dense(units=256)), learning_rate=0.003, batch_size=16, train_size=2000, epochs=6
    ),
    "standing_still": _of((Flatten(),), learning_rate=0.01, batch_size=16, epochs=6),
}


def read(name: str) -> tuple[Experiment, Progress]:
    """A recording: what was trained, and the record as it was at the end."""
    told = json.loads((FOLDER / f"{name}.json").read_text())
    rows = [EpochEnded(**{**row, "confusion": tuple(row["confusion"])}) for row in told["history"]]
    nothing = np.zeros((0, 0, 0), np.float32)
    snapshot = Snapshot(told["step"] - 1, {}, told["dead"], nothing, nothing, {}) if told["dead"] else None
    progress = Progress(
        state=State(told["state"]),
        message=told["message"],
        steps_per_epoch=told["steps_per_epoch"],
        epochs=told["epochs"],
        batch_size=told["batch_size"],
        step=told["step"],
        learning_rate=rows[-1].learning_rate if rows else 0.0,
        history=rows,
        snapshot=snapshot,
        loss=array("f", told["loss"]),
        accuracy=array("f", told["accuracy"]),
    )
    return parse_experiment(json.dumps(told["experiment"])), progress


def record(name: str, experiment: Experiment) -> None:
    """Train it and write its recording, numbers to four digits."""
    from core.data import datasets
    from core.errors import LossNotFinite
    from core.explain.inspection import Inspector
    from core.training.loop import train

    dataset, progress, dead = datasets.load(), Progress(), {}
    try:
        network, state = train(experiment, dataset, progress.apply)
        progress.apply(StateChanged(state))
        count = experiment.training.batch_size
        images = dataset.x_train[:count, ..., None]
        dead = Inspector(network).snapshot(progress.step, images, dataset.y_train[:count], dataset.x_train[0]).dead
    except LossNotFinite as error:
        progress.apply(StateChanged(State.FAILED, str(error)))
    told = {
        "experiment": experiment.model_dump(mode="json"),
        "state": progress.state.value,
        "message": progress.message,
        "steps_per_epoch": progress.steps_per_epoch,
        "epochs": progress.epochs,
        "batch_size": progress.batch_size,
        "step": progress.step,
        "history": [_rounded({**asdict(row), "wrongest": None}) for row in progress.history],
        "dead": _rounded(dead),
        "loss": [float(f"{value:.4g}") for value in progress.loss],
        "accuracy": [float(f"{value:.4g}") for value in progress.accuracy],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(told, separators=(",", ":")) + "\n")


def _rounded(values: dict[str, object]) -> dict[str, object]:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in values.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, experiment in RECORDED.items():
        record(name, experiment)
