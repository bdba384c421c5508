"""A folder per run, on this machine or at any fsspec URL.

    <root>/<run id>/
        spec.json          the experiment
        state.json         name, state, when it began, and why it ended
        history.json       one row per epoch
        curve.npz          loss and accuracy of every batch
        turns.json         changes of live hyperparameters
        checkpoints/       00000000.npz, 00000001.npz, ...: the network after so many batches, at each epoch's end, at some
                           of the first and where it was stopped; bounded by checkpoints.MAX_CHECKPOINT_BYTES
        optimizer.npz      the optimizer at the last epoch's end, to go on from
        model.keras        the network at its best epoch's end, for Keras
        evaluations/       00001688.npz, ...: probabilities on the test set of the network after so many batches
        validations/       the same, on the images held out of the training
        readings/          the same, on all images of the training file, with what the last layer took
        robustness/        the same, on test images that were damaged in many ways
        answers/           what else was found out about the network after so many batches: explanations, maps; the last
                           MOST_ANSWERS, each named by its question's hash
        drawings.npz       of a fine-tuning: the drawings that it learns from, and those held out of it; the network that it began
                           with is its checkpoint after no batch
        openings.json      when the test set was opened for this run, and for its network after how many batches
        opened.json         when a visitor last opened the run
        judgements/        how far the network after so many batches can be believed, and what it takes for no digit

Every file is written beside and renamed, so a reader sees it whole or not at all. A folder that lacks what its state promises,
or holds what can't be read or makes no sense, is `RunDamaged`: shown as such, never a crash. Nothing is unpickled, and what is
reported of a damaged file has nothing of its content in it.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from core.errors import RunDamaged, RunError, StorageFull
from core.model import specs
from core.runs import checkpoints, contents
from core.runs.contents import Checkpoint, Drawings, Opening, Record
from core.runs.folder import Folder
from core.runs.progress import Progress, State


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Methods that read raise RunDamaged, methods that write raise StorageFull, and all raise RunNotFound after the run
    was deleted.
    """

    id: str
    root: str

    @property
    def folder(self) -> Folder:
        """The files of this run."""
        return Folder(self.id, self.root)

    def exists(self) -> bool:
        """Return whether its folder is there."""
        return self.folder.exists()

    # -- reading ---------------------------------------------------------------------------------------------------------

    def experiment(self) -> specs.Experiment:
        """Return the experiment that it was asked to train."""
        return self.folder.read("spec.json", specs.parse_experiment)

    def record(self) -> Record:
        """Return its name, state and dates."""
        return self.folder.read("state.json", contents.parse_record)

    def progress(self) -> Progress:
        """Return how far it came, as of its last finished epoch."""
        folder, record, experiment = self.folder, self.record(), self.experiment()
        progress = Progress(
            state=record.state,
            message=record.message,
            steps_per_epoch=record.steps_per_epoch,
            epochs=experiment.training.epochs,
            batch_size=experiment.training.batch_size,
            is_fine_tuning=experiment.fine_tuning is not None,
        )
        if record.state is State.FINISHED or folder.exists("history.json"):
            progress.history = folder.read("history.json", partial(contents.parse_history, progress=progress))
        if folder.exists("turns.json"):
            progress.changes = folder.read("turns.json", contents.parse_changes)
        if progress.history or folder.exists("curve.npz"):
            curve = folder.read("curve.npz", partial(contents.parse_curve, progress=progress))
            progress.loss, progress.accuracy = curve
            progress.step = len(progress.loss)
        if progress.history:
            last = progress.history[-1]
            progress.learning_rate = last.learning_rate
            progress.images_per_second = progress.steps_per_epoch * progress.batch_size / max(last.seconds, 1e-3)
        return progress

    def steps(self) -> list[int]:
        """Return after how many batches there are checkpoints, in order."""
        return checkpoints.steps(self.folder)

    def weights(self, step: int) -> dict[str, np.ndarray]:
        """Return the network's variables by path after so many batches."""
        return self.folder.read(checkpoints.file_name(step), contents.parse_weights)

    def last_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint to resume from; None before the first epoch's end."""
        kept = self.folder.read_if_there("optimizer.npz", contents.parse_optimizer)
        if kept is None:
            return None
        step, optimizer = kept
        return Checkpoint(step, self.weights(step), optimizer)

    def drawings(self) -> Drawings:
        """Return the drawings of a fine-tuning, those it learns from and those held out."""
        return self.folder.read("drawings.npz", contents.parse_drawings)

    def test_openings(self) -> list[Opening]:
        """Return each time that the test set was opened for this run, in order."""
        return self.folder.read_if_there("openings.json", contents.parse_openings) or []

    def last_opened(self) -> float:
        """Return when a visitor last opened it, or else when it began, in seconds since 1970, UTC; 0 where its folder doesn't
        say."""
        try:
            opened = self.folder.read_if_there("opened.json", contents.parse_date)
            return max(opened or 0.0, self.record().began)
        except RunDamaged:
            return 0.0

    def keras_file(self) -> bytes:
        """Return the network at its best epoch's end as a .keras file."""
        return self.folder.read("model.keras", bytes)

    def has_keras_file(self) -> bool:
        """Return whether the network is there as a .keras file."""
        return self.folder.exists("model.keras")

    # -- writing ---------------------------------------------------------------------------------------------------------

    def begin(self, experiment: specs.Experiment, record: Record) -> None:
        """Write what a new run begins with, or nothing.

        Raises:
            StorageFull: if the folder can't be written.
        """
        try:
            self.folder.write("spec.json", experiment.model_dump_json().encode())
            self.write_record(record)
        except StorageFull:
            with suppress(StorageFull):
                self.delete()
            raise

    def write_record(self, record: Record) -> None:
        """Write its name, state and dates."""
        self.folder.write("state.json", json.dumps(asdict(record)).encode())

    def write_state(self, state: State, message: str = "", **changes: object) -> None:
        """Change the state, keeping the rest of the record."""
        record = self.record()
        ended = time.time() if state.is_over else None
        self.write_record(Record(**{**asdict(record), "state": state, "message": message, "ended": ended, **changes}))

    def write_epoch(self, progress: Progress, checkpoint: Checkpoint) -> None:
        """Write all that an epoch leaves behind, its optimizer last: a resume finds a whole epoch or the one before.

        Raises:
            ValueError: if the checkpoint has no optimizer.
        """
        if checkpoint.optimizer is None:
            raise ValueError(f"the checkpoint after {checkpoint.step} batches has no optimizer")
        self.write_weights(checkpoint)
        self.write_curve(progress)
        self.folder.write("history.json", json.dumps([asdict(row) for row in progress.history]).encode())
        optimizer = {str(i): values for i, values in enumerate(checkpoint.optimizer)}
        self.folder.write_arrays("optimizer.npz", {**optimizer, "step": np.array(checkpoint.step)})
        checkpoints.thin(self.folder, progress)

    def write_weights(self, checkpoint: Checkpoint) -> None:
        """Write the network's variables."""
        self.folder.write_arrays(checkpoints.file_name(checkpoint.step), checkpoint.weights)

    def write_curve(self, progress: Progress) -> None:
        """Write loss and accuracy so far; a run that ends within an epoch leaves that part of it too."""
        curve = {"loss": np.array(progress.loss), "accuracy": np.array(progress.accuracy)}
        self.folder.write_arrays("curve.npz", curve)

    def write_changes(self, progress: Progress) -> None:
        """Write which live hyperparameters were changed, and when."""
        self.folder.write("turns.json", json.dumps([asdict(change) for change in progress.changes]).encode())

    def write_drawings(self, drawings: Drawings) -> None:
        """Write what a fine-tuning learns from."""
        self.folder.write_arrays("drawings.npz", asdict(drawings))

    def open_test(self, step: int) -> None:
        """Note that the test set was looked at with the network after so many batches."""
        openings = [*self.test_openings(), Opening(step, time.time())]
        self.folder.write("openings.json", json.dumps([asdict(opening) for opening in openings]).encode())

    def note_opened(self) -> None:
        """Note that a visitor opened it, no more than once an hour."""
        if time.time() - self.last_opened() > 3600:
            with suppress(RunError):  # only the order in which runs are removed depends on it
                self.folder.write("opened.json", json.dumps(time.time()).encode())

    def write_keras_file(self, content: bytes) -> None:
        """Write the network as a .keras file."""
        self.folder.write("model.keras", content)

    def delete(self) -> None:
        """Remove the run and everything in it."""
        self.folder.remove()
