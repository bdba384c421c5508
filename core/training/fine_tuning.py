"""Fine-tuning: a trained network goes on learning from one's own drawings, mixed with MNIST's images against
forgetting.

A fine-tuning is a run like others. Its folder holds all that it depends on, so nothing is lost when the run that it
began with is deleted: that network's weights are its checkpoint after no batch, and the drawings are in `drawings.npz`.
The split of MNIST is that of the run it began with: what was held out of that training is held out of this one.

Source of mixing old examples in: Robins 1995, Catastrophic Forgetting, Rehearsal and Pseudorehearsal, Connection
Science 7.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from core.data import datasets
from core.data.handwriting import Handwriting
from core.errors import DataError, RunDamaged, StorageFull
from core.model import ledger
from core.model.specs import Adam, Augmentation, Cosine, Experiment, FineTuning, Training, replaced
from core.runs import registry
from core.runs.contents import Checkpoint, Drawings
from core.runs.network import Network
from core.runs.run import Run

LEAST_TO_HOLD_OUT = 10  # with fewer drawings all are learned from
HELD_OUT = 0.25  # of the drawings, where there are enough
EPOCHS, LEARNING_RATE = 3, 0.0003
GENTLE = Augmentation(shift=1.5, rotation=10.0, scale=0.1, shear=0.15, elastic=1.0)


@dataclass(frozen=True, eq=False)
class Start:
    """The initial weights of a fine-tuning, by name, and the drawings it learns from, `images` (k, 28, 28) uint8 and
    `labels` (k,) uint8.
    """

    weights: dict[str, np.ndarray]
    images: np.ndarray
    labels: np.ndarray


def usual_training(experiment: Experiment) -> Training:
    """Return a short training with small steps and moved images, on the split of the training before it."""
    before = experiment.training
    return replaced(
        before,
        epochs=EPOCHS,
        batch_size=32,
        optimizer=Adam(),
        learning_rate=min(LEARNING_RATE, before.learning_rate),
        schedule=Cosine(),
        patience=None,
        augmentation=before.augmentation if before.augmentation.is_active else GENTLE,
    )


def most_images(experiment: Experiment) -> int:
    """Return how many of MNIST's images can be mixed in: those that the training before it didn't hold out."""
    training = experiment.training
    return training.train_size - round(training.train_size * training.validation_split)


def create(
    network: Network,
    handwriting: Handwriting,
    training: Training,
    images: int,
    share: float,
    name: str,
    owner: str = "",
) -> Run:
    """Make a new, queued run that begins with the network of another.

    Args:
        training: how to go on; its split has to be that of the source, as `usual_training` leaves it.
        images: how many of MNIST's training images are mixed in, or as many as there are.
        share: of the images of an epoch that are drawings.
        owner: the visitor who may drive the new run.

    Raises:
        DataError: if there is nothing to learn from.
        RunNotFound: if the source was deleted.
        RunDamaged: if its network can't be used.
        NotNumbers: if its weights aren't numbers any more.
        SpecError: if a value is out of its bounds.
        StorageFull: if there is no room.
    """
    source, step = registry.find(network.run.id, network.run.root), network.step
    before, weights = source.experiment(), network.finite_weights()
    drawings = _drawings(source, before, handwriting, training.seed)
    learned = int((~drawings.is_held_out).sum())
    fine_tuning = replaced(
        FineTuning(run_id=source.id, step=step, drawings=1),
        drawings=learned,
        images=min(images, most_images(before)),
        share=share,
    )
    experiment = replaced(before, training=training, fine_tuning=fine_tuning)
    return _written(experiment, name, registry.root(), weights, drawings, owner)


def again(run: Run, owner: str = "") -> Run:
    """Make a new run of a fine-tuning, from the same weights and drawings; `owner` is the visitor who may control it.

    Raises:
        RunDamaged: if they can't be read.
        StorageFull: if there is no room.
    """
    return _written(run.experiment(), run.record().name, run.root, run.weights(0), run.drawings(), owner)


def start_of(run: Run) -> Start | None:
    """Return a run's initial weights and drawings; None if it is no fine-tuning.

    Raises:
        RunDamaged: if its drawings or first weights are missing, or aren't those that it names.
    """
    fine_tuning = run.experiment().fine_tuning
    if fine_tuning is None:
        return None
    drawings = run.drawings()
    learned = ~drawings.is_held_out
    if learned.sum() != fine_tuning.drawings:
        raise RunDamaged(
            f"Run {run.id} learns from {fine_tuning.drawings} drawings, but drawings.npz has {learned.sum()}. Fine-tune again."
        )
    return Start(run.weights(0), drawings.images[learned], drawings.labels[learned])


def mixed(
    dataset: datasets.Dataset, train_indices: np.ndarray, start: Start, experiment: Experiment
) -> tuple[datasets.Dataset, np.ndarray]:
    """Return the data set with the drawings after its training images, and the indices that are used in an epoch, (n,)
    int64.

    An epoch uses some of the images trained on before, each digit with its share of them, and the drawings, each as
    often as needed for their share.

    Args:
        dataset: MNIST.
        train_indices: the training images that weren't held out, (k,) integers.
        start: the drawings.
        experiment: the fine-tuning.

    Raises:
        ValueError: if it is none.
    """
    fine_tuning, count = experiment.fine_tuning, len(dataset.y_train)
    if fine_tuning is None:
        raise ValueError("expected the experiment of a fine-tuning")
    both = replace(
        dataset,
        x_train=np.concatenate([dataset.x_train, start.images]),
        y_train=np.concatenate([dataset.y_train, start.labels]),
    )
    images = train_indices[:0]
    if fine_tuning.images:
        chosen, _ = datasets.split(dataset.y_train[train_indices], fine_tuning.images, 0.0, experiment.training.seed)
        images = train_indices[chosen]
    drawings = np.resize(np.arange(count, count + len(start.labels)), fine_tuning.repeated(len(images)))
    return both, np.concatenate([images, drawings])


def _written(experiment: Experiment, name: str, root: str, weights: dict, drawings: Drawings, owner: str) -> Run:
    ledger.check(experiment)
    run = registry.create(experiment, name, root, owner)
    try:
        run.write_weights(Checkpoint(0, weights, None))
        run.write_drawings(drawings)
    except StorageFull:
        with suppress(OSError):
            run.delete()
        raise
    return run


def _drawings(source: Run, before: Experiment, handwriting: Handwriting, seed: int) -> Drawings:
    """Choose the drawings that are held out: some of each digit if there are enough, but none that the network has
    learned from before.
    """
    if not len(handwriting):
        raise DataError("There are no drawings to learn from yet. Draw a digit and keep it with its label first.")
    known = source.drawings().known if before.fine_tuning is not None else np.zeros(0, np.uint64)
    digests = np.array([_digest(image) for image in handwriting.images], np.uint64)
    is_held_out = np.zeros(len(handwriting), bool)
    unknown = np.flatnonzero(~np.isin(digests, known))
    if len(handwriting) >= LEAST_TO_HOLD_OUT and len(unknown):
        _, held_out = datasets.split(handwriting.labels[unknown], None, HELD_OUT, seed)
        is_held_out[unknown[held_out]] = True
    known = np.union1d(known, digests[~is_held_out])
    return Drawings(handwriting.images, handwriting.labels, is_held_out, known)


def _digest(image: np.ndarray) -> int:
    return int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "big")
