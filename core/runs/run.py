"""A folder per run, on this machine or at any fsspec URL.

    <root>/<run id>/
        spec.json          the experiment
        state.json         name, state, when it began, and why it ended
        history.json       one row per epoch
        curve.npz          loss and accuracy of every batch
        turns.json         the knobs turned in mid-run
        checkpoints/       00000000.npz, 00000001.npz, ...: the network after so many batches, at each epoch's end, at some
                           of the first and where it was stopped; bounded by MAX_CHECKPOINT_BYTES
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
said of a damaged file has nothing of its content in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import time
import zipfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import fsspec
import numpy as np
from annotated_types import Ge, Le
from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from core.errors import RunDamaged, RunError, RunNotFound, SpecError, StorageFull
from core.model import specs
from core.runs import storage
from core.runs.arrays import UNREADABLE
from core.runs.progress import EpochEnded, Progress, State, Turned
from core.runs.storage import Storage

DEFAULT_ROOT = "~/.digitlab/runs"
MAX_CHECKPOINT_BYTES = 100_000_000  # of one run, the oldest thinned first; forty epochs of First CNN
MOST_ANSWERS = 500  # of one run, some 10 MB
T = TypeVar("T")
Date = Annotated[float, Field(ge=0, lt=253402300800)]  # until the year 9999
_ID_LETTERS = 26  # of 32 each: 130 bits. Older runs have 16
_ID = re.compile(rf"[a-z2-7]{{16}}|[a-z2-7]{{{_ID_LETTERS}}}")
_CHECKPOINT = re.compile(r"[0-9]{8,15}\.npz")
_OF_STEP = re.compile(r"[a-z]+/([0-9]{8,15})[-.].*")
_UNREADABLE = (*UNREADABLE, SpecError)


@dataclass(frozen=True)
class Checkpoint:
    """The network after `step` batches, and its optimizer where training can go on from there."""

    step: int
    weights: dict[str, np.ndarray]
    optimizer: list[np.ndarray] | None


@dataclass(frozen=True)
class Evaluation:
    """The answers of a network after `step` batches on the test set, or on the images held out of its training.

    `probabilities` (n, 10) float32, `y_true` (n,) uint8, `indices` (n,) int64 into the images of the test file or of the
    training file: all in order, unless given. `dataset` the digest of the data set that they are of, empty in older runs.
    """

    step: int
    probabilities: np.ndarray
    y_true: np.ndarray
    indices: np.ndarray | None = None
    dataset: str = ""

    def __post_init__(self) -> None:
        if self.indices is None:
            object.__setattr__(self, "indices", np.arange(len(self.y_true)))


@dataclass(frozen=True)
class Robustness:
    """What a network after `step` batches reads in damaged test images, in the order of `robustness.DAMAGES`.

    Attributes:
        clean: share of the images read right that are left as they are, 0..1.
        accuracy: (kinds, severities) float64, the share read right.
        images: how many.
        samples: (kinds, severities + 1, k, 28, 28) uint8, a few of them, first as they are.
        labels: (k,) uint8, what these show.
        readings: (kinds, severities + 1, k) uint8, what the network reads in them.
    """

    step: int
    clean: float
    accuracy: np.ndarray
    images: int
    samples: np.ndarray
    labels: np.ndarray
    readings: np.ndarray


@dataclass(frozen=True, eq=False)
class Readings:
    """What a network after `step` batches reads in every image of the training file.

    Attributes:
        probabilities: (n, 10) float32.
        features: (n, d) float32, what its last layer took, or the principal components of that; see `core.data.questions`.
        y_true: (n,) uint8.
        dataset: the digest of the data set that these are of, empty in older runs.
    """

    step: int
    probabilities: np.ndarray
    features: np.ndarray
    y_true: np.ndarray
    dataset: str = ""


@dataclass(frozen=True, eq=False)
class Drawings:
    """What a fine-tuning learns of one's handwriting, and what it is checked on.

    Attributes:
        images: (n, 28, 28) uint8.
        labels: (n,) uint8.
        is_held_out: (n,) bool, those that are not learned from.
        known: (m,) uint64, digests of the drawings that its network has learned from, those of the trainings before included.
    """

    images: np.ndarray
    labels: np.ndarray
    is_held_out: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Opening:
    """One time that the test set was opened, in seconds since 1970, UTC, for the network after `step` batches."""

    step: int
    at: Date


@dataclass(frozen=True)
class Run:
    """One run's folder. Reading methods raise RunDamaged, writing ones StorageFull, and RunNotFound once it was deleted."""

    id: str
    root: str

    def exists(self) -> bool:
        """Whether its folder is there."""
        return self._exists()

    # -- reading ---------------------------------------------------------------------------------------------------------

    def experiment(self) -> specs.Experiment:
        """What it was asked to train."""
        return self._reading("spec.json", specs.parse_experiment)

    def record(self) -> Record:
        """Its name, state and dates."""
        return self._reading("state.json", _RECORD.validate_json)

    def progress(self) -> Progress:
        """How far it came, as of its last finished epoch."""
        record, experiment = self.record(), self.experiment()
        progress = Progress(
            state=record.state,
            message=record.message,
            steps_per_epoch=record.steps_per_epoch,
            epochs=experiment.training.epochs,
            batch_size=experiment.training.batch_size,
            is_fine_tuning=experiment.fine_tuning is not None,
        )
        if record.state is State.FINISHED or self._exists("history.json"):
            progress.history = self._reading("history.json", partial(_history, progress=progress))
        if self._exists("turns.json"):
            progress.turns = self._reading("turns.json", _turns)
        if progress.history or self._exists("curve.npz"):
            progress.loss, progress.accuracy = self._reading("curve.npz", partial(_curve, progress=progress))
            progress.step = len(progress.loss)
        if progress.history:
            last = progress.history[-1]
            progress.learning_rate = last.learning_rate
            progress.images_per_second = progress.steps_per_epoch * progress.batch_size / max(last.seconds, 1e-3)
        return progress

    def steps(self) -> list[int]:
        """After how many batches there are checkpoints, in order."""
        try:
            names = self._storage.names(f"{self.id}/checkpoints")
        except OSError as error:
            raise RunDamaged(f"Run {self.id}: its checkpoints can't be listed ({storage.reason(error)}).") from None
        return sorted(int(name[:-4]) for name in names if _CHECKPOINT.fullmatch(name))

    def weights(self, step: int) -> dict[str, np.ndarray]:
        """The network's variables by path after so many batches."""
        return self._reading(_checkpoint(step), _weights)

    def last_checkpoint(self) -> Checkpoint | None:
        """What to resume from; None before the first epoch's end."""
        if not self._exists("optimizer.npz"):
            return None
        step, optimizer = self._reading("optimizer.npz", _optimizer)
        return Checkpoint(step, self.weights(step), optimizer)

    def evaluation(self, step: int) -> Evaluation | None:
        """The test set's answers of the network after so many batches, if they were ever computed."""
        return self._kept(_evaluation_file(step), partial(_evaluation, step=step))

    def validation(self, step: int) -> Evaluation | None:
        """The answers on the held-out images of the network after so many batches, if they were ever computed."""
        return self._kept(_validation_file(step), partial(_evaluation, step=step))

    def robustness(self, step: int) -> Robustness | None:
        """What the network after so many batches reads in damaged images, if that was ever computed."""
        return self._kept(_robustness_file(step), partial(_robustness, step=step))

    def readings(self, step: int) -> Readings | None:
        """What the network after so many batches reads in all images of the training file, if that was ever computed."""
        return self._kept(_readings_file(step), partial(_readings, step=step))

    def drawings(self) -> Drawings:
        """What a fine-tuning learns from, and what was held out of it."""
        return self._reading("drawings.npz", _drawings)

    def test_openings(self) -> list[Opening]:
        """Each time that the test set was opened for this run, in order."""
        return self._kept("openings.json", _OPENINGS.validate_json) or []

    def judgement(self, step: int) -> dict[str, np.ndarray] | None:
        """What `core.evaluation.rejection` fitted for the network after so many batches, if it ever did."""
        return self._kept(_judgement_file(step), _arrays)

    def size(self) -> int:
        """Bytes that its files take."""
        try:
            return sum(self._storage.files(self.id).values())
        except OSError:
            return 0

    def last_opened(self) -> float:
        """When a visitor last opened it, or else when it began, in seconds since 1970, UTC; 0 where its folder doesn't say."""
        try:
            opened = self._kept("opened.json", _DATE.validate_json)
            return max(opened or 0.0, self.record().began)
        except RunDamaged:
            return 0.0

    def keras_file(self) -> bytes:
        """The network at its best epoch's end as a .keras file."""
        return self._reading("model.keras", bytes)

    def has_keras_file(self) -> bool:
        return self._exists("model.keras")

    # -- writing ---------------------------------------------------------------------------------------------------------

    def write_record(self, record: Record) -> None:
        self._write("state.json", json.dumps(asdict(record)).encode())

    def write_state(self, state: State, message: str = "", **changes: object) -> None:
        """Change the state, keeping the rest of the record."""
        record = self.record()
        ended = time.time() if state.is_over else None
        self.write_record(Record(**{**asdict(record), "state": state, "message": message, "ended": ended, **changes}))

    def write_epoch(self, progress: Progress, checkpoint: Checkpoint) -> None:
        """Everything an epoch leaves behind, its optimizer last: a resume finds a whole epoch or the one before."""
        self.write_weights(checkpoint)
        self.write_curve(progress)
        self._write("history.json", json.dumps([asdict(row) for row in progress.history]).encode())
        optimizer = {str(i): values for i, values in enumerate(checkpoint.optimizer)}
        self._write_arrays("optimizer.npz", {**optimizer, "step": np.array(checkpoint.step)})
        self.thin(progress)

    def write_weights(self, checkpoint: Checkpoint) -> None:
        self._write_arrays(_checkpoint(checkpoint.step), checkpoint.weights)

    def write_curve(self, progress: Progress) -> None:
        """Loss and accuracy so far; a run that ends within an epoch leaves that part of it too."""
        self._write_arrays("curve.npz", {"loss": np.array(progress.loss), "accuracy": np.array(progress.accuracy)})

    def write_turns(self, progress: Progress) -> None:
        self._write("turns.json", json.dumps([asdict(turn) for turn in progress.turns]).encode())

    def write_evaluation(self, evaluation: Evaluation) -> None:
        self._write_arrays(_evaluation_file(evaluation.step), asdict(evaluation))

    def write_validation(self, evaluation: Evaluation) -> None:
        self._write_arrays(_validation_file(evaluation.step), asdict(evaluation))

    def write_robustness(self, robustness: Robustness) -> None:
        self._write_arrays(_robustness_file(robustness.step), asdict(robustness))

    def write_readings(self, readings: Readings) -> None:
        self._write_arrays(_readings_file(readings.step), asdict(readings))

    def answered(self, step: int, question: str, kind: type[T], find: Callable[[], T]) -> T:
        """What is known of the network after so many batches, else what `find` finds, which is then kept beside the run.

        Args:
            question: what is asked, in words that no other question shares.
            kind: the answer's type, which pydantic can write and check: dataclasses, tuples, `arrays.Array`.
        """
        answer, name = TypeAdapter(kind), _answer_file(step, question)
        with suppress(RunDamaged):  # what can't be read is found again
            kept = self._kept(name, answer.validate_json)
            if kept is not None:
                return kept
        found = find()
        with suppress(RunError):  # no room, or the run was deleted meanwhile: an answer all the same
            self._write(name, answer.dump_json(found))
            self._forget_answers()
        return found

    def write_drawings(self, drawings: Drawings) -> None:
        self._write_arrays("drawings.npz", asdict(drawings))

    def open_test(self, step: int) -> None:
        """Note that the test set was looked at with the network after so many batches."""
        openings = [*self.test_openings(), Opening(step, time.time())]
        self._write("openings.json", json.dumps([asdict(opening) for opening in openings]).encode())

    def note_opened(self) -> None:
        """Note that a visitor opened it, no more than once an hour."""
        if time.time() - self.last_opened() > 3600:
            with suppress(RunError):  # nothing but the order in which runs make room depends on it
                self._write("opened.json", json.dumps(time.time()).encode())

    def write_judgement(self, step: int, fitted: dict[str, np.ndarray]) -> None:
        self._write_arrays(_judgement_file(step), fitted)

    def write_keras_file(self, content: bytes) -> None:
        self._write("model.keras", content)

    def delete(self) -> None:
        """Remove the run and everything in it."""
        self._storage.remove(self.id)

    def thin(self, progress: Progress) -> None:
        """Remove the oldest checkpoints until the rest is within MAX_CHECKPOINT_BYTES, but never the untrained network, the best,
        the last whole epoch's or the last."""
        files = self._storage.files(f"{self.id}/checkpoints")
        sizes = {step: files.get(_checkpoint(step).rpartition("/")[2], 0) for step in self.steps()}
        kept = {0, max(sizes, default=0)}
        if progress.history:
            kept |= {progress.step_of(progress.best.epoch), progress.step_of(progress.history[-1].epoch)}
        too_much = sum(sizes.values()) - MAX_CHECKPOINT_BYTES
        for step, size in sizes.items():
            if too_much <= 0:
                return
            if step not in kept:
                self._remove(_checkpoint(step))
                too_much -= size

    def forget_unfinished(self, progress: Progress) -> None:
        """Remove the networks in the midst of an epoch, and what was found out about them, that lie beyond where it is: those
        batches are taken anew."""
        for name in self._storage.files(self.id):
            named = _OF_STEP.fullmatch(name)
            if named and (step := int(named[1])) > progress.step and step % progress.steps_per_epoch:
                self._remove(name)

    def _forget_answers(self) -> None:
        """Remove the oldest answers beyond MOST_ANSWERS."""
        kept = [f"answers/{name}" for name in self._storage.names(f"{self.id}/answers")]
        if len(kept) > MOST_ANSWERS:
            for name in sorted(kept, key=lambda name: self._storage.modified(f"{self.id}/{name}"))[:-MOST_ANSWERS]:
                self._remove(name)

    def _remove_all_but(self, names: set[str]) -> None:
        """Remove the files that aren't among these."""
        for name in self._storage.files(self.id):
            if name not in names and not name.endswith((".part", "state.json")):
                self._remove(name)

    # -- files -----------------------------------------------------------------------------------------------------------

    @property
    def _storage(self) -> Storage:
        return Storage(self.root)

    @property
    def _fs(self) -> fsspec.AbstractFileSystem:
        return self._storage.fs

    def _path(self, name: str = "") -> str:
        return self._storage.path(f"{self.id}/{name}")

    def _exists(self, name: str = "") -> bool:
        return self._storage.exists(f"{self.id}/{name}")

    def _kept(self, name, parse):
        return self._reading(name, parse) if self._exists(name) else None

    def _reading(self, name, parse):
        try:
            return parse(self._storage.read(f"{self.id}/{name}"))
        except FileNotFoundError:
            raise RunDamaged(f"Run {self.id} has no {name}: it was never written, or someone removed it.") from None
        except _UNREADABLE as error:
            raise RunDamaged(f"Run {self.id}: {name} can't be read ({_reason(error)}).") from None

    def _remove(self, name: str) -> None:
        self._storage.remove(f"{self.id}/{name}")

    def _write_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for key, values in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
        self._write(name, buffer.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        if (
            name != "spec.json" and not self.exists()
        ):  # the first file of a run; any other would bring a deleted one back
            raise RunNotFound(f"Run {self.id} is not there any more: it was deleted, so nothing of it is kept.")
        self._storage.write(f"{self.id}/{name}", content, f"Run {self.id}: {name}")


@dataclass(frozen=True)
class Record:
    """What state.json holds. Dates are seconds since 1970, UTC; `shipped` is the version of a run that came with the lab; `owner` the
    visitor who may drive it, in `core.runs.visits`, "" where that isn't known; `dataset` the digest of the data set that it was
    trained on, "" in older runs."""

    name: str
    state: State = State.QUEUED
    message: str = ""
    began: Date = field(default_factory=time.time)
    ended: Date | None = None
    steps_per_epoch: NonNegativeInt = 0
    shipped: str = ""
    owner: str = ""
    dataset: str = ""

    @property
    def is_shipped(self) -> bool:
        """Whether the run came with the lab."""
        return bool(self.shipped)


_RECORD, _HISTORY, _TURNS = TypeAdapter(Record), TypeAdapter(list[EpochEnded]), TypeAdapter(list[Turned])
_OPENINGS, _DATE = TypeAdapter(list[Opening]), TypeAdapter(Date)


class _Unfit(ValueError):
    """A file's content can be read and makes no sense; the message is ours, with nothing of the content in it."""


def _require(is_so: bool, expected: str) -> None:
    if not is_so:
        raise _Unfit(f"expected {expected}")


def _reason(error: Exception) -> str:
    """What is wrong with a file, in words that hold nothing of its content: it may be another one than it seems."""
    match error:
        case _Unfit():
            return str(error)
        case ValidationError():  # of our own dataclasses, whose fields' names are ours
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            return ": ".join([*map(str, first["loc"]), first["msg"]])
        case OSError():
            return storage.reason(error)
        case SpecError():
            return "expected an experiment that this version knows"
    return "it is damaged"


def _checkpoint(step: int) -> str:
    return f"checkpoints/{step:08d}.npz"


def _evaluation_file(step: int) -> str:
    return f"evaluations/{step:08d}.npz"


def _validation_file(step: int) -> str:
    return f"validations/{step:08d}.npz"


def _readings_file(step: int) -> str:
    return f"readings/{step:08d}.npz"


def _robustness_file(step: int) -> str:
    return f"robustness/{step:08d}.npz"


def _answer_file(step: int, question: str) -> str:
    return f"answers/{step:08d}-{hashlib.sha256(question.encode()).hexdigest()[:24]}.json"


def _judgement_file(step: int) -> str:
    return f"judgements/{step:08d}.npz"


def _arrays(raw: bytes) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        raise _Unfit("it is no .npz file, or cut short")
    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
        if any(member.flag_bits & 1 for member in archive.zip.infolist()):
            raise _Unfit("it is encrypted")
        return {key: archive[key] for key in archive.files}


def _history(raw: bytes, progress: Progress) -> list[EpochEnded]:
    rows = _HISTORY.validate_json(raw)
    _require([row.epoch for row in rows] == list(range(1, len(rows) + 1)), "epochs counted from 1")
    _require(len(rows) <= progress.epochs, "no more epochs than the experiment has")
    _require(progress.steps_per_epoch > 0 or not rows, "no epochs, as state.json knows of no batches in one")
    _require(
        all((row.val_loss is None) == (row.val_accuracy is None) for row in rows), "both figures of validation, or none"
    )
    return rows


def _turns(raw: bytes) -> list[Turned]:
    turns = _TURNS.validate_json(raw)
    rates = [turn.value for turn in turns if turn.name == "learning_rate"]
    _require(
        all(_is_in(rate, specs.Training.model_fields["learning_rate"]) for rate in rates),
        "learning rates within their bounds",
    )
    _require(all(0 <= turn.value < 1 for turn in turns if turn.name == "dropout"), "dropout rates from 0 to 1")
    return turns


def _is_in(value: float, field: FieldInfo) -> bool:
    bounds = {type(bound): bound for bound in field.metadata}
    return bounds[Ge].ge <= value <= bounds[Le].le


def _curve(raw: bytes, progress: Progress) -> tuple[array, array]:
    """Loss and accuracy of each batch; of those after the last whole epoch too, where the run ended within one."""
    arrays = _arrays(raw)
    loss, accuracy = array("f", arrays["loss"]), array("f", arrays["accuracy"])
    _require(len(loss) == len(accuracy), "as many accuracies as losses")
    least = progress.step_of(len(progress.history))
    most = least + progress.steps_per_epoch if progress.history else progress.step_of(progress.epochs) or len(loss)
    _require(least <= len(loss) <= most, "a loss for each batch of the epochs in history.json")
    return loss, accuracy


def _weights(raw: bytes) -> dict[str, np.ndarray]:
    arrays = _arrays(raw)
    _require(all(values.dtype.kind in "fiub" for values in arrays.values()), "numbers")
    return arrays


def _optimizer(raw: bytes) -> tuple[int, list[np.ndarray]]:
    arrays = _weights(raw)
    step = int(arrays.pop("step"))
    _require(step >= 0, "a number of batches")
    return step, [arrays[str(i)] for i in range(len(arrays))]


def _evaluation(raw: bytes, step: int) -> Evaluation:
    arrays = _arrays(raw)
    evaluation = Evaluation(
        int(arrays["step"]), arrays["probabilities"], arrays["y_true"], arrays.get("indices"), _dataset(arrays)
    )  # older runs have no indices
    _require(evaluation.step == step, "answers of this network")
    _require_answers(evaluation.probabilities, evaluation.y_true)
    _require(_is_whole(evaluation.indices, evaluation.y_true.shape), "the indices of its images")
    return evaluation


def _dataset(arrays: dict[str, np.ndarray]) -> str:
    """The digest of the data set that answers are of; empty in older runs."""
    return str(arrays.get("dataset", ""))


def _robustness(raw: bytes, step: int) -> Robustness:
    arrays = _arrays(raw)
    scalars = {
        "step": int(arrays.pop("step")),
        "clean": float(arrays.pop("clean")),
        "images": int(arrays.pop("images")),
    }
    found = Robustness(**scalars, **arrays)
    kinds, severities = found.accuracy.shape
    _require(found.step == step, "answers of this network")
    _require(
        0 <= found.clean <= 1 and bool(np.all((found.accuracy >= 0) & (found.accuracy <= 1))), "accuracies from 0 to 1"
    )
    _require(found.images > 0, "a number of images")
    _require(_is_whole(found.labels, (found.labels.size,), specs.CLASSES), "labels from 0 to 9")
    _require(
        _is_whole(found.readings, (kinds, severities + 1, found.labels.size), specs.CLASSES),
        "what is read in each sample, in each kind of damage",
    )
    _require(_is_images(found.samples, found.readings.shape), "samples of 28 × 28 bytes")
    return found


def _drawings(raw: bytes) -> Drawings:
    drawings = Drawings(**_arrays(raw))
    images = drawings.labels.size
    _require(_is_whole(drawings.labels, (images,), specs.CLASSES), "labels from 0 to 9")
    _require(_is_images(drawings.images, (images,)), "a drawing of 28 × 28 bytes for each label")
    _require(
        drawings.is_held_out.shape == (images,) and drawings.is_held_out.dtype == bool, "which drawings are held out"
    )
    _require(drawings.known.ndim == 1 and drawings.known.dtype.kind == "u", "digests of drawings")
    return drawings


def _readings(raw: bytes, step: int) -> Readings:
    arrays = _arrays(raw)
    readings = Readings(
        int(arrays["step"]), arrays["probabilities"], arrays["features"], arrays["y_true"], _dataset(arrays)
    )
    _require(readings.step == step, "answers of this network")
    _require_answers(readings.probabilities, readings.y_true)
    features = readings.features
    _require(
        features.ndim == 2 and features.dtype.kind == "f" and len(features) == len(readings.y_true),
        "an image's features",
    )
    return readings


def _require_answers(probabilities: np.ndarray, y_true: np.ndarray) -> None:
    _require(_is_whole(y_true, (y_true.size,), specs.CLASSES), "labels from 0 to 9")
    is_fit = probabilities.shape == (y_true.size, specs.CLASSES) and probabilities.dtype.kind == "f"
    _require(is_fit, "ten probabilities for each image")


def _is_whole(values: np.ndarray, shape: tuple[int, ...], end: int | None = None) -> bool:
    """Whether these are integers from 0 on, below `end` where that is given, of this shape."""
    if values.shape != shape or values.dtype.kind not in "iu":
        return False
    return bool(np.all(values >= 0) and (end is None or np.all(values < end)))


def _is_images(values: np.ndarray, shape: tuple[int, ...]) -> bool:
    return values.shape == (*shape, *specs.IMAGE_SHAPE[:2]) and values.dtype == np.uint8


def root() -> str:
    """Where runs are kept: DIGITLAB_RUNS, a folder or any fsspec URL, else a folder in the user's home."""
    named = os.environ.get("DIGITLAB_RUNS", "").strip() or DEFAULT_ROOT
    # A worker may work in another folder than this process.
    return named if "://" in named or "::" in named else os.path.abspath(os.path.expanduser(named))


def create(experiment: specs.Experiment, name: str, at: str | None = None, owner: str = "") -> Run:
    """A new, queued run. Its id can't be guessed: whoever knows it may see the run.

    Args:
        owner: the visitor who may drive it.

    Raises:
        StorageFull: if the folder can't be written.
    """
    run = Run(_new_id(), at or root())
    try:
        run._write("spec.json", experiment.model_dump_json().encode())
        run.write_record(Record(name, owner=owner))
    except StorageFull:
        with suppress(StorageFull):
            run.delete()
        raise
    return run


def find(run_id: str, at: str | None = None) -> Run:
    """The run with this id.

    Raises:
        RunNotFound: if there is none, or it can't be an id.
    """
    if not _ID.fullmatch(run_id):
        raise RunNotFound(
            f"{run_id[:40]!r} is no run's id: expected {_ID_LETTERS} letters and digits, as in the link of a run."
        )
    run = Run(run_id, at or root())
    if not run.exists():
        raise RunNotFound(f"There is no run {run_id} here. It may have been deleted, or made on another machine.")
    return run


def all_runs(at: str | None = None) -> Iterator[Run]:
    """Every run under the root, damaged ones included, in no order."""
    at = at or root()
    try:
        names = Storage(at).names()
    except OSError:
        return
    for run_id in filter(_ID.fullmatch, names):
        run = Run(run_id, at)
        if run.exists():  # and is no link to elsewhere
            yield run


def install(folder: Path, at: str | None = None) -> Run:
    """Copy a shipped run's folder to where runs are kept, in the place of another version of it; nothing where it is there.

    Several processes may do so at once: each file is written beside and renamed, and state.json, which names the version, comes
    last.

    Args:
        folder: the shipped run's, on this machine, named as its id.

    Raises:
        StorageFull: if the folder can't be written.
        RunDamaged: if what is shipped can't be read.
    """
    run, shipped = Run(folder.name, at or root()), Run(folder.name, str(folder.parent))
    with suppress(RunDamaged):  # not there, or half copied
        if run.record().shipped == shipped.record().shipped:
            return run
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    for name in sorted(names, key="spec.json".__ne__):
        if name != "state.json":
            run._write(name, (folder / name).read_bytes())
    run._remove_all_but(set(names))
    run._write("state.json", (folder / "state.json").read_bytes())
    return run


def _new_id() -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(secrets.choice(alphabet) for _ in range(_ID_LETTERS))
