"""The contents of a run's files: the values, and how bytes become them, checked for meaning.

Content that can be read but makes no sense is refused; the message doesn't repeat any of it.
"""

from __future__ import annotations

import io
import time
import zipfile
from array import array
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from core.errors import SpecError
from core.model import specs
from core.runs import storage
from core.runs.arrays import UNREADABLE
from core.runs.progress import EpochEnded, HyperparameterChanged, Progress, State

UNUSABLE = (*UNREADABLE, SpecError)  # errors that damaged files cause in their readers
Date = Annotated[float, Field(ge=0, lt=253402300800)]  # until the year 9999


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
    """The predictions of a network after `step` batches for damaged test images, in the order of
    `robustness.DAMAGES`.

    Attributes:
        clean: share of the undamaged images classified correctly, 0..1.
        accuracy: (kinds, severities) float64, the share classified correctly, 0..1.
        images: number of images.
        samples: (kinds, severities + 1, k, 28, 28) uint8, a few of them, the undamaged ones first.
        labels: (k,) uint8, the samples' digits.
        readings: (kinds, severities + 1, k) uint8, the network's predictions for the samples.
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
    """The predictions of a network after `step` batches for every image of the training file.

    Attributes:
        probabilities: (n, 10) float32.
        features: (n, d) float32, the input of its last layer, or the principal components of that; see
            `core.data.questions`.
        y_true: (n,) uint8.
        dataset: the digest of the data set that the images are from, empty in older runs.
    """

    step: int
    probabilities: np.ndarray
    features: np.ndarray
    y_true: np.ndarray
    dataset: str = ""


@dataclass(frozen=True, eq=False)
class Drawings:
    """The own drawings that a fine-tuning learns from, and those that it is checked on.

    Attributes:
        images: (n, 28, 28) uint8.
        labels: (n,) uint8.
        is_held_out: (n,) bool, those that are not learned from.
        known: (m,) uint64, digests of the drawings that its network has learned from, in earlier trainings too.
    """

    images: np.ndarray
    labels: np.ndarray
    is_held_out: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class Opening:
    """An occasion on which the test set was opened: `at` in seconds since 1970, UTC, for the network after `step`
    batches.
    """

    step: int
    at: Date


@dataclass(frozen=True)
class Record:
    """The content of state.json.

    Attributes:
        began, ended: in seconds since 1970, UTC.
        shipped: the version of a run that came with the lab.
        owner: the visitor who may control it, as in `core.runs.visits`; "" if that isn't known.
        dataset: the digest of the data set that it was trained on; "" in older runs.
    """

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
        """True if the run came with the lab."""
        return bool(self.shipped)


_RECORD, _HISTORY, _CHANGES = (
    TypeAdapter(Record),
    TypeAdapter(list[EpochEnded]),
    TypeAdapter(list[HyperparameterChanged]),
)
parse_record = _RECORD.validate_json
parse_openings, parse_date = TypeAdapter(list[Opening]).validate_json, TypeAdapter(Date).validate_json


class _Unfit(ValueError):
    """A file's content can be read but makes no sense; the message is ours, and repeats none of the content."""


def _require(is_so: bool, expected: str) -> None:
    if not is_so:
        raise _Unfit(f"expected {expected}")


def reason(error: Exception) -> str:
    """Say what is wrong with a file, in words that hold nothing of its content: it may be another one than it seems."""
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


def parse_arrays(raw: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by their names."""
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        raise _Unfit("it is no .npz file, or cut short")
    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
        if any(member.flag_bits & 1 for member in archive.zip.infolist()):
            raise _Unfit("it is encrypted")
        return {key: archive[key] for key in archive.files}


def parse_history(raw: bytes, progress: Progress) -> list[EpochEnded]:
    """Return the rows of history.json, one per epoch."""
    rows = _HISTORY.validate_json(raw)
    _require([row.epoch for row in rows] == list(range(1, len(rows) + 1)), "epochs counted from 1")
    _require(len(rows) <= progress.epochs, "no more epochs than the experiment has")
    _require(progress.steps_per_epoch > 0 or not rows, "no epochs, as state.json knows of no batches in one")
    _require(
        all((row.val_loss is None) == (row.val_accuracy is None) for row in rows), "both figures of validation, or none"
    )
    return rows


def parse_changes(raw: bytes) -> list[HyperparameterChanged]:
    """Return the live hyperparameters that were changed, of turns.json."""
    changes = _CHANGES.validate_json(raw)
    rates = [change.value for change in changes if change.name == "learning_rate"]
    _require(
        all(_is_in(rate, specs.Training.model_fields["learning_rate"]) for rate in rates),
        "learning rates within their bounds",
    )
    _require(all(0 <= change.value < 1 for change in changes if change.name == "dropout"), "dropout rates from 0 to 1")
    return changes


def _is_in(value: float, field: FieldInfo) -> bool:
    bounds = {type(bound): bound for bound in field.metadata}
    return bounds[Ge].ge <= value <= bounds[Le].le


def parse_curve(raw: bytes, progress: Progress) -> tuple[array, array]:
    """Return loss and accuracy of each batch; of those after the last whole epoch too, where the run ended within one."""
    arrays = parse_arrays(raw)
    loss, accuracy = array("f", arrays["loss"]), array("f", arrays["accuracy"])
    _require(len(loss) == len(accuracy), "as many accuracies as losses")
    least = progress.step_of(len(progress.history))
    most = least + progress.steps_per_epoch if progress.history else progress.step_of(progress.epochs) or len(loss)
    _require(least <= len(loss) <= most, "a loss for each batch of the epochs in history.json")
    return loss, accuracy


def parse_weights(raw: bytes) -> dict[str, np.ndarray]:
    """Return a network's variables by path."""
    arrays = parse_arrays(raw)
    _require(all(values.dtype.kind in "fiub" for values in arrays.values()), "numbers")
    return arrays


def parse_optimizer(raw: bytes) -> tuple[int, list[np.ndarray]]:
    """Return after how many batches an optimizer was kept, and its variables in order."""
    arrays = parse_weights(raw)
    step = int(arrays.pop("step"))
    _require(step >= 0, "a number of batches")
    return step, [arrays[str(i)] for i in range(len(arrays))]


def parse_evaluation(raw: bytes, step: int) -> Evaluation:
    """Return a network's answers for the images of a test or of those held out."""
    arrays = parse_arrays(raw)
    evaluation = Evaluation(
        int(arrays["step"]), arrays["probabilities"], arrays["y_true"], arrays.get("indices"), _dataset(arrays)
    )  # older runs have no indices
    _require(evaluation.step == step, "answers of this network")
    _require_answers(evaluation.probabilities, evaluation.y_true)
    _require(
        evaluation.indices is not None and _is_whole(evaluation.indices, evaluation.y_true.shape),
        "the indices of its images",
    )
    return evaluation


def _dataset(arrays: dict[str, np.ndarray]) -> str:
    """Return the digest of the data set that answers are about; empty in older runs."""
    return str(arrays.get("dataset", ""))


def parse_robustness(raw: bytes, step: int) -> Robustness:
    """Return a network's predictions for damaged images."""
    arrays = parse_arrays(raw)
    found = Robustness(
        step=int(arrays.pop("step")), clean=float(arrays.pop("clean")), images=int(arrays.pop("images")), **arrays
    )
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


def parse_drawings(raw: bytes) -> Drawings:
    """Return what a fine-tuning learns from."""
    drawings = Drawings(**parse_arrays(raw))
    images = drawings.labels.size
    _require(_is_whole(drawings.labels, (images,), specs.CLASSES), "labels from 0 to 9")
    _require(_is_images(drawings.images, (images,)), "a drawing of 28 × 28 bytes for each label")
    _require(
        drawings.is_held_out.shape == (images,) and drawings.is_held_out.dtype == bool, "which drawings are held out"
    )
    _require(drawings.known.ndim == 1 and drawings.known.dtype.kind == "u", "digests of drawings")
    return drawings


def parse_readings(raw: bytes, step: int) -> Readings:
    """Return a network's predictions for all images of the training file."""
    arrays = parse_arrays(raw)
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
    """Return whether the values are integers from 0 on, below `end` if that is given, of this shape."""
    if values.shape != shape or values.dtype.kind not in "iu":
        return False
    return bool(np.all(values >= 0) and (end is None or np.all(values < end)))


def _is_images(values: np.ndarray, shape: tuple[int, ...]) -> bool:
    return values.shape == (*shape, *specs.IMAGE_SHAPE[:2]) and values.dtype == np.uint8
