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
        judgements/        how far the network after so many batches can be believed, and what it takes for no digit

Every file is written beside and renamed, so a reader sees it whole or not at all. A folder that lacks what its state
promises, or holds what can't be read, is `RunDamaged`: shown as such, never a crash. Nothing is unpickled.
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
from pathlib import Path
from typing import TypeVar

import fsspec
import numpy as np
from pydantic import TypeAdapter, ValidationError

from core import specs
from core.arrays import UNREADABLE
from core.errors import RunDamaged, RunNotFound, SpecError, StorageFull
from core.progress import EpochEnded, Progress, State, Turned

DEFAULT_ROOT = Path.home() / ".digitlab" / "runs"
MAX_CHECKPOINT_BYTES = 100_000_000  # of one run, the oldest thinned first; forty epochs of First CNN
MOST_ANSWERS = 500  # of one run, some 10 MB
T = TypeVar("T")
_ID_LETTERS = 26  # of 32 each: 130 bits. Older runs have 16
_ID = re.compile(rf"[a-z2-7]{{16}}|[a-z2-7]{{{_ID_LETTERS}}}")
_OF_STEP = re.compile(r"[a-z]+/(\d+)[-.].*")
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
    training file: all in order, unless given.
    """

    step: int
    probabilities: np.ndarray
    y_true: np.ndarray
    indices: np.ndarray | None = None

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
        features: (n, d) float32, what its last layer took, or the principal components of that; see `core.readings`.
        y_true: (n,) uint8.
    """

    step: int
    probabilities: np.ndarray
    features: np.ndarray
    y_true: np.ndarray


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
    at: float


@dataclass(frozen=True)
class Run:
    """One run's folder. Reading methods raise RunDamaged, writing ones StorageFull."""

    id: str
    root: str

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
            progress.history = self._reading("history.json", _HISTORY.validate_json)
        if self._exists("turns.json"):
            progress.turns = self._reading("turns.json", _TURNS.validate_json)
        if self._exists("curve.npz"):
            progress.loss, progress.accuracy = self._reading("curve.npz", _curve)
            progress.step = len(progress.loss)
        if progress.history:
            last = progress.history[-1]
            progress.learning_rate = last.learning_rate
            progress.images_per_second = progress.steps_per_epoch * progress.batch_size / max(last.seconds, 1e-3)
        return progress

    def steps(self) -> list[int]:
        """After how many batches there are checkpoints, in order."""
        if not self._exists("checkpoints"):
            return []
        names = (Path(path).stem for path in self._fs.ls(self._path("checkpoints"), detail=False))
        return sorted(int(name) for name in names if name.isdecimal())

    def weights(self, step: int) -> dict[str, np.ndarray]:
        """The network's variables by path after so many batches."""
        return self._reading(_checkpoint(step), _arrays)

    def last_checkpoint(self) -> Checkpoint | None:
        """What to resume from; None before the first epoch's end."""
        if not self._exists("optimizer.npz"):
            return None
        step, optimizer = self._reading("optimizer.npz", _optimizer)
        return Checkpoint(step, self.weights(step), optimizer)

    def evaluation(self, step: int) -> Evaluation | None:
        """The test set's answers of the network after so many batches, if they were ever computed."""
        return self._kept(_evaluation_file(step), _evaluation)

    def validation(self, step: int) -> Evaluation | None:
        """The answers on the held-out images of the network after so many batches, if they were ever computed."""
        return self._kept(_validation_file(step), _evaluation)

    def robustness(self, step: int) -> Robustness | None:
        """What the network after so many batches reads in damaged images, if that was ever computed."""
        return self._kept(_robustness_file(step), _robustness)

    def readings(self, step: int) -> Readings | None:
        """What the network after so many batches reads in all images of the training file, if that was ever computed."""
        return self._kept(_readings_file(step), _readings)

    def drawings(self) -> Drawings:
        """What a fine-tuning learns from, and what was held out of it."""
        return self._reading("drawings.npz", _drawings)

    def test_openings(self) -> list[Opening]:
        """Each time that the test set was opened for this run, in order."""
        return self._kept("openings.json", _OPENINGS.validate_json) or []

    def judgement(self, step: int) -> dict[str, np.ndarray] | None:
        """What `core.judgement` fitted for the network after so many batches, if it ever did."""
        return self._kept(_judgement_file(step), _arrays)

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
        with suppress(StorageFull):
            self._write(name, answer.dump_json(found))
            self._forget_answers()
        return found

    def write_drawings(self, drawings: Drawings) -> None:
        self._write_arrays("drawings.npz", asdict(drawings))

    def open_test(self, step: int) -> None:
        """Note that the test set was looked at with the network after so many batches."""
        openings = [*self.test_openings(), Opening(step, time.time())]
        self._write("openings.json", json.dumps([asdict(opening) for opening in openings]).encode())

    def write_judgement(self, step: int, fitted: dict[str, np.ndarray]) -> None:
        self._write_arrays(_judgement_file(step), fitted)

    def write_keras_file(self, content: bytes) -> None:
        self._write("model.keras", content)

    def delete(self) -> None:
        """Remove the run and everything in it."""
        self._fs.rm(self._path(), recursive=True)

    def thin(self, progress: Progress) -> None:
        """Remove the oldest checkpoints until the rest is within MAX_CHECKPOINT_BYTES, but never the untrained network, the best,
        the last whole epoch's or the last."""
        sizes = {step: self._fs.size(self._path(_checkpoint(step))) for step in self.steps()}
        kept = {0, max(sizes)}
        if progress.history:
            kept |= {progress.step_of(progress.best.epoch), progress.step_of(progress.history[-1].epoch)}
        too_much = sum(sizes.values()) - MAX_CHECKPOINT_BYTES
        for step, size in sizes.items():
            if too_much <= 0:
                return
            if step not in kept:
                self._fs.rm_file(self._path(_checkpoint(step)))
                too_much -= size

    def forget_unfinished(self, progress: Progress) -> None:
        """Remove the networks in the midst of an epoch, and what was found out about them, that lie beyond where it is: those
        batches are taken anew."""
        top = self._path() + "/"
        for path in self._fs.find(self._path()):
            named = _OF_STEP.fullmatch(path.removeprefix(top))
            if named and (step := int(named[1])) > progress.step and step % progress.steps_per_epoch:
                with suppress(FileNotFoundError):  # another process was first
                    self._fs.rm_file(path)

    def _forget_answers(self) -> None:
        """Remove the oldest answers beyond MOST_ANSWERS."""
        kept = self._fs.ls(self._path("answers"), detail=False)
        if len(kept) > MOST_ANSWERS:
            for path in sorted(kept, key=self._fs.modified)[:-MOST_ANSWERS]:
                with suppress(FileNotFoundError):  # another worker was quicker
                    self._fs.rm_file(path)

    def _remove_all_but(self, names: set[str]) -> None:
        """Remove the files that aren't among these."""
        top = self._path() + "/"
        for path in self._fs.find(self._path()):
            if path.removeprefix(top) not in names and not path.endswith((".part", "/state.json")):
                with suppress(FileNotFoundError):  # another process was first
                    self._fs.rm_file(path)

    # -- files -----------------------------------------------------------------------------------------------------------

    @property
    def _fs(self) -> fsspec.AbstractFileSystem:
        return fsspec.core.url_to_fs(self.root)[0]

    def _path(self, name: str = "") -> str:
        return "/".join(part for part in (fsspec.core.url_to_fs(self.root)[1], self.id, name) if part)

    def _exists(self, name: str) -> bool:
        return self._fs.exists(self._path(name))

    def _kept(self, name, parse):
        return self._reading(name, parse) if self._exists(name) else None

    def _reading(self, name, parse):
        try:
            return parse(self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            raise RunDamaged(f"Run {self.id} has no {name}: it was never written, or someone removed it.") from None
        except _UNREADABLE as error:
            raise RunDamaged(f"Run {self.id}: {name} can't be read ({_reason(error)}).") from None

    def _write_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for key, values in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
        self._write(name, buffer.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        write(self.root, f"{self.id}/{name}", content, f"Run {self.id}: {name}")


@dataclass(frozen=True)
class Record:
    """What state.json holds. Dates are seconds since 1970, UTC; `shipped` is the version of a run that came with the lab; `owner` the
    visitor who may drive it, in `core.visits`, "" where that isn't known."""

    name: str
    state: State = State.QUEUED
    message: str = ""
    began: float = field(default_factory=time.time)
    ended: float | None = None
    steps_per_epoch: int = 0
    shipped: str = ""
    owner: str = ""

    @property
    def is_shipped(self) -> bool:
        """Whether the run came with the lab."""
        return bool(self.shipped)


_RECORD, _HISTORY, _TURNS = TypeAdapter(Record), TypeAdapter(list[EpochEnded]), TypeAdapter(list[Turned])
_OPENINGS = TypeAdapter(list[Opening])


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return ": ".join([*map(str, first["loc"]), first["msg"]])


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
        raise ValueError("it is no .npz file, or cut short")
    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def _curve(raw: bytes) -> tuple[array, array]:
    arrays = _arrays(raw)
    loss, accuracy = array("f", arrays["loss"]), array("f", arrays["accuracy"])
    if len(loss) != len(accuracy):
        raise ValueError(f"{len(loss)} losses, but {len(accuracy)} accuracies")
    return loss, accuracy


def _optimizer(raw: bytes) -> tuple[int, list[np.ndarray]]:
    arrays = _arrays(raw)
    step = int(arrays.pop("step"))
    return step, [arrays[str(i)] for i in range(len(arrays))]


def _evaluation(raw: bytes) -> Evaluation:
    arrays = _arrays(raw)
    evaluation = Evaluation(
        int(arrays["step"]), arrays["probabilities"], arrays["y_true"], arrays.get("indices")
    )  # older runs have no indices
    if evaluation.probabilities.shape != (*evaluation.y_true.shape, specs.CLASSES):
        raise ValueError(f"{evaluation.probabilities.shape} probabilities of {evaluation.y_true.shape} images")
    if evaluation.indices.shape != evaluation.y_true.shape:
        raise ValueError(f"{evaluation.indices.shape} indices of {evaluation.y_true.shape} images")
    return evaluation


def _robustness(raw: bytes) -> Robustness:
    arrays = _arrays(raw)
    scalars = {
        "step": int(arrays.pop("step")),
        "clean": float(arrays.pop("clean")),
        "images": int(arrays.pop("images")),
    }
    found = Robustness(**scalars, **arrays)
    kinds, severities = found.accuracy.shape
    if found.readings.shape != (kinds, severities + 1, *found.labels.shape):
        raise ValueError(f"{found.readings.shape} readings of {kinds} kinds of damage, {severities} severities each")
    if found.samples.shape != (*found.readings.shape, *specs.IMAGE_SHAPE[:2]):
        raise ValueError(f"{found.samples.shape} samples")
    return found


def _drawings(raw: bytes) -> Drawings:
    drawings = Drawings(**_arrays(raw))
    images = len(drawings.labels)
    if drawings.images.shape != (images, *specs.IMAGE_SHAPE[:2]) or drawings.is_held_out.shape != (images,):
        raise ValueError(f"{drawings.images.shape} drawings with {images} labels")
    return drawings


def _readings(raw: bytes) -> Readings:
    arrays = _arrays(raw)
    readings = Readings(int(arrays["step"]), arrays["probabilities"], arrays["features"], arrays["y_true"])
    images = len(readings.y_true)
    if readings.probabilities.shape != (images, specs.CLASSES) or len(readings.features) != images:
        raise ValueError(f"{readings.probabilities.shape} probabilities of {images} images")
    return readings


def root() -> str:
    """Where runs are kept: DIGITLAB_RUNS, a folder or any fsspec URL, else a folder in the user's home."""
    return os.environ.get("DIGITLAB_RUNS") or str(DEFAULT_ROOT)


def write(root: str, name: str, content: bytes, said: str) -> None:
    """Write a file under the root, whole or not at all; on a disk for this user alone.

    Args:
        said: what it is, for the message.

    Raises:
        StorageFull: if there is no room or no right to.
    """
    fs, folder = fsspec.core.url_to_fs(root)
    target = f"{folder}/{name}"
    beside = f"{target}.{secrets.token_hex(4)}.part"
    try:
        if "file" in fs.protocol:
            _make_private(Path(target).parent)
            Path(beside).touch(mode=0o600)
            fs.pipe_file(beside, content)
            os.replace(beside, target)
        else:
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(beside, content)
            fs.mv(beside, target)
    except OSError as error:
        if fs.exists(beside):
            fs.rm_file(beside)
        raise StorageFull(
            f"{said} ({len(content) / 1e6:.1f} MB) can't be written to {root}: "
            f"{error.strerror or error}. Free some space, or set DIGITLAB_RUNS to another folder."
        ) from None


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone: whoever can list runs can open them."""
    if not folder.exists():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


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
        with suppress(OSError):
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
    if not run._exists(""):
        raise RunNotFound(f"There is no run {run_id} here. It may have been deleted, or made on another machine.")
    return run


def all_runs(at: str | None = None) -> Iterator[Run]:
    """Every run under the root, damaged ones included, in no order."""
    at = at or root()
    fs, path = fsspec.core.url_to_fs(at)
    if fs.exists(path):
        for entry in fs.ls(path, detail=False):
            run_id = entry.rstrip("/").rpartition("/")[2]
            if _ID.fullmatch(run_id):
                yield Run(run_id, at)


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
    for name in names:
        if name != "state.json":
            run._write(name, (folder / name).read_bytes())
    run._remove_all_but(set(names))
    run._write("state.json", (folder / "state.json").read_bytes())
    return run


def _new_id() -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(secrets.choice(alphabet) for _ in range(_ID_LETTERS))
