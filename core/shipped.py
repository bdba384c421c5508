"""The network that is shipped with the lab: its recipe, its training, and its place among the runs.

`python -m core.shipped` trains it from MNIST alone, with this project's own loop and augmentation, and leaves a run's folder
with one checkpoint in `core/assets/`. `installed` has that copied to where runs are kept, so that it is a run like others.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shutil
import tempfile
import time
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from core.data import datasets, redraw
from core.data.datasets import Dataset
from core.errors import DataError, RunDamaged, RunError
from core.evaluation import metrics, rejection
from core.model import specs
from core.model.specs import BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from core.runs import loaded, registry
from core.runs.contents import Checkpoint
from core.runs.network import Network
from core.runs.progress import EpochEnded, Event, Started, State
from core.runs.question import untold
from core.runs.run import Run

ASSETS = Path(__file__).parent / "assets"
FIGURES = ASSETS / "reference.json"
RUN_ID = "referencenetwork"  # of every version, so that a link to it stays one
NAME = "Reference"
COMMAND = "python -m core.shipped"
FITTED_ON = 4000  # images of each kind: twice as many as for other networks, which are fitted while somebody waits

logger = logging.getLogger("digitlab.reference")


def _convolution(filters: int) -> tuple[specs.LayerSpec, ...]:
    return Conv2D(filters=filters, kernel_initializer="he_normal"), BatchNormalization()


EXPERIMENT = specs.Experiment(
    layers=(
        *_convolution(40),
        *_convolution(40),
        MaxPooling2D(),
        *_convolution(72),
        *_convolution(72),
        MaxPooling2D(),
        Flatten(),
        Dropout(rate=0.3),
        Dense(units=128, kernel_initializer="he_normal"),
        BatchNormalization(),
    ),
    training=specs.Training(
        epochs=8,
        batch_size=128,
        optimizer=specs.AdamW(weight_decay=0.01),
        learning_rate=0.004,
        schedule=specs.OneCycle(warmup=0.2),
        label_smoothing=0.05,
        validation_split=0.05,
        augmentation=specs.Augmentation(
            shift=1.5, rotation=10.0, scale=0.1, shear=0.1, elastic=0.8, thickness=0.3, noise=0.05
        ),
    ),
)


def installed(at: str) -> tuple[Run | None, str]:
    """Return the shipped run and, if it isn't among the runs, the reason for that, else "".

    It is the one among the runs at this root, or else one in a folder of this process, or else the one in the checkout.
    With
    `DIGITLAB_REFERENCE=off`, or in a checkout without it, the run is None.
    """
    if os.environ.get("DIGITLAB_REFERENCE") == "off" or not (ASSETS / RUN_ID).is_dir():
        return None, ""
    if not _copied(at)[0].exists():  # someone removed it meanwhile
        _copied.cache_clear()
    return _copied(at)


@cache
def _copied(at: str) -> tuple[Run, str]:
    why_not = ""
    for place in (lambda: at, _own_folder):
        try:
            return registry.install(ASSETS / RUN_ID, place()), why_not
        except (RunError, OSError) as error:
            why_not = why_not or f"Runs can't be kept here, only used for now. {error}"
    return Run(RUN_ID, str(ASSETS)), why_not


@cache
def _own_folder() -> str:
    """Make a folder for this process alone, removed when it ends."""
    folder = tempfile.mkdtemp(prefix="digitlab-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def figures() -> dict[str, str | float]:
    """Return the measurements of the shipped network after its training; empty in a checkout without it.

    Returns:
        `command`, `date` (ISO 8601), `parameters`, and the accuracies `validation` and `test`, 0..1.
    """
    return json.loads(FIGURES.read_text()) if FIGURES.exists() else {}


def train(root: str) -> Run:
    """Train `EXPERIMENT` as a run at this root. Takes three quarters of an hour on two cores, and imports TensorFlow.

    Raises:
        DataError: where MNIST is out of reach.
    """
    dataset = _mnist()
    logger.info("redrawing MNIST's digits by other hands")
    enlarge = redraw.enlarging(dataset, EXPERIMENT.training.seed)  # before TensorFlow fills each core's memory
    from core.training import loop  # TensorFlow, which workers alone load

    run = registry.create(EXPERIMENT, NAME, root)
    record = run.progress()

    def tell(event: Event) -> None:
        record.apply(event)
        match event:
            case Started():
                run.write_state(State.RUNNING, steps_per_epoch=event.steps_per_epoch)
            case EpochEnded():
                logger.info("epoch %d: %.2f%% on validation", event.epoch, 100 * (event.val_accuracy or 0))

    def keep(checkpoint: Checkpoint) -> None:
        if checkpoint.optimizer is None:
            run.write_weights(checkpoint)
        else:
            run.write_epoch(record, checkpoint)

    _, state = loop.train(EXPERIMENT, dataset, tell, on_checkpoint=keep, enlarge=enlarge)
    run.write_state(state)
    return run


def _mnist() -> Dataset:
    dataset = datasets.load()
    if dataset.is_stand_in:
        raise DataError(
            "The shipped network is trained from MNIST: let DIGITLAB_MNIST name Keras' mnist.npz, or go online."
        )
    return dataset


def _version(run: Run) -> str:
    """Return a hash that identifies the shipped network together with its calibration and rejection."""
    names = sorted(f"{kind}/{name}" for kind in ("checkpoints", "judgements") for name in run.folder.names(kind))
    return sha256(b"".join(run.folder.read(name, bytes) for name in names)).hexdigest()[:16]


def ship(run: Run) -> Run:
    """Put a finished run in the place of the shipped one: its best epoch's network alone, judged, as a .keras file too, and its
    figures. The test set is opened for it, once, when nothing is left to choose.

    Raises:
        DataError: where MNIST is out of reach.
        RunDamaged: if it has no epoch behind it.
    """
    import keras  # TensorFlow, which workers alone load

    progress, record, dataset = run.progress(), run.record(), _mnist()
    best = progress.best
    if best is None:
        raise RunDamaged(f"Run {run.id} has no epoch behind it: train it to its end first.")
    step = progress.step_of(best.epoch)
    network = Network(run, step)
    model = loaded.keras_network(network)
    with tempfile.TemporaryDirectory() as folder:
        shipped = Run(RUN_ID, folder)
        for name in ("spec.json", "history.json", "curve.npz"):
            shipped.folder.write(name, Path(run.root, run.id, name).read_bytes())
        shipped.write_weights(Checkpoint(step, run.weights(step), None))
        keras.Model(model.input, model.output).save(Path(folder, "model.keras"))  # without the optimizer's numbers
        shipped.write_keras_file(Path(folder, "model.keras").read_bytes())
        shipped.write_record(record)
        rejection.FitRejection(Network(shipped, step), FITTED_ON).work(untold)
        shipped.write_record(replace(record, name=NAME, shipped=_version(shipped)))
        probabilities = loaded.probabilities(network, dataset.x_test)
        shipped.open_test(step)
        shutil.rmtree(ASSETS / RUN_ID, ignore_errors=True)
        shutil.copytree(Path(folder, RUN_ID), ASSETS / RUN_ID)
    measured = {
        "command": COMMAND,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.ended)),
        "parameters": model.count_params(),
        "epoch": best.epoch,
        "validation": best.val_accuracy,
        "test": metrics.accuracy(dataset.y_test, probabilities),
    }
    FIGURES.write_text(json.dumps(measured, indent=2) + "\n")
    return Run(RUN_ID, str(ASSETS))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as _folder:
        ship(train(_folder))
    logger.info("%s", FIGURES.read_text())
