"""A folder per run, on this machine or at any fsspec URL.

    <root>/<run id>/
        spec.json          the experiment
        state.json         name, state, when it began, and why it ended
        history.json       one row per epoch
        curve.npz          loss and accuracy of every batch
        checkpoints/       0001.npz, 0002.npz, ...: the network at each epoch's end
        optimizer.npz      the optimizer at the last one, to go on from
        model.keras        the network at the end, for Keras
        evaluation.npz     its probabilities on the test set

Every file is written beside and renamed, so a reader sees it whole or not at all. A folder that lacks what its state
promises, or holds what can't be read, is `RunDamaged`: shown as such, never a crash. Nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import struct
import time
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import fsspec
import numpy as np
from pydantic import TypeAdapter, ValidationError

from core import specs
from core.errors import RunDamaged, RunNotFound, SpecError, StorageFull
from core.progress import EpochEnded, Progress, State

DEFAULT_ROOT = Path.home() / ".digitlab" / "runs"
_ID = re.compile(r"[a-z2-7]{16}")
# What damaged bytes drive json, zipfile and NumPy into, an encrypted or unknown kind of member (RuntimeError) included.
_UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    SpecError,
)


@dataclass(frozen=True)
class Checkpoint:
    """The network and its optimizer at the end of an epoch (counted from 1)."""

    epoch: int
    weights: dict[str, np.ndarray]
    optimizer: list[np.ndarray]


@dataclass(frozen=True)
class Evaluation:
    """A network's answers on the test set: `probabilities` (n, 10) float32, `y_true` (n,) uint8, for one epoch."""

    epoch: int
    probabilities: np.ndarray
    y_true: np.ndarray


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
        )
        if self._exists("history.json"):
            progress.history = self._reading("history.json", _HISTORY.validate_json)
        if self._exists("curve.npz"):
            progress.loss, progress.accuracy = self._reading("curve.npz", _curve)
            progress.step = len(progress.loss)
        if progress.history:
            last = progress.history[-1]
            progress.learning_rate = last.learning_rate
            progress.images_per_second = progress.steps_per_epoch * progress.batch_size / max(last.seconds, 1e-3)
        return progress

    def epochs(self) -> list[int]:
        """The epochs there are checkpoints of, in order."""
        if not self._exists("checkpoints"):
            return []
        names = (Path(path).stem for path in self._fs.ls(self._path("checkpoints"), detail=False))
        return sorted(int(name) for name in names if name.isdecimal())

    def weights(self, epoch: int) -> dict[str, np.ndarray]:
        """The network's variables by path at the end of an epoch."""
        return self._reading(f"checkpoints/{epoch:04d}.npz", _arrays)

    def last_checkpoint(self) -> Checkpoint | None:
        """What to resume from; None before the first epoch's end."""
        if not self._exists("optimizer.npz"):
            return None
        epoch, optimizer = self._reading("optimizer.npz", _optimizer)
        return Checkpoint(epoch, self.weights(epoch), optimizer)

    def evaluation(self, epoch: int) -> Evaluation | None:
        """The test set's answers of this epoch's network, if they were ever computed."""
        if not self._exists("evaluation.npz"):
            return None
        found = self._reading("evaluation.npz", _evaluation)
        return found if found.epoch == epoch else None

    def keras_file(self) -> bytes:
        """The finished network as a .keras file."""
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
        self._write_arrays(f"checkpoints/{checkpoint.epoch:04d}.npz", checkpoint.weights)
        self._write_arrays("curve.npz", {"loss": np.array(progress.loss), "accuracy": np.array(progress.accuracy)})
        self._write("history.json", json.dumps([asdict(row) for row in progress.history]).encode())
        optimizer = {str(i): values for i, values in enumerate(checkpoint.optimizer)}
        self._write_arrays("optimizer.npz", {**optimizer, "epoch": np.array(checkpoint.epoch)})

    def write_evaluation(self, evaluation: Evaluation) -> None:
        self._write_arrays("evaluation.npz", {k: np.asarray(v) for k, v in asdict(evaluation).items()})

    def write_keras_file(self, content: bytes) -> None:
        self._write("model.keras", content)

    def delete(self) -> None:
        """Remove the run and everything in it."""
        self._fs.rm(self._path(), recursive=True)

    # -- files -----------------------------------------------------------------------------------------------------------

    @property
    def _fs(self) -> fsspec.AbstractFileSystem:
        return fsspec.core.url_to_fs(self.root)[0]

    def _path(self, name: str = "") -> str:
        return "/".join(part for part in (fsspec.core.url_to_fs(self.root)[1], self.id, name) if part)

    def _exists(self, name: str) -> bool:
        return self._fs.exists(self._path(name))

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
        fs, target = self._fs, self._path(name)
        beside = f"{target}.{secrets.token_hex(4)}.part"
        try:
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(beside, content)
            if "file" in fs.protocol:
                os.replace(beside, target)
            else:
                fs.mv(beside, target)
        except OSError as error:
            if fs.exists(beside):
                fs.rm_file(beside)
            raise StorageFull(
                f"Run {self.id}: {name} ({len(content) / 1e6:.1f} MB) can't be written to {self.root}: "
                f"{error.strerror or error}. Free some space, or set DIGITLAB_RUNS to another folder."
            ) from None


@dataclass(frozen=True)
class Record:
    """What state.json holds. Dates are seconds since 1970, UTC."""

    name: str
    state: State = State.QUEUED
    message: str = ""
    began: float = field(default_factory=time.time)
    ended: float | None = None
    steps_per_epoch: int = 0


_RECORD, _HISTORY = TypeAdapter(Record), TypeAdapter(list[EpochEnded])


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return ": ".join([*map(str, first["loc"]), first["msg"]])


def _arrays(raw: bytes) -> dict[str, np.ndarray]:
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
    epoch = int(arrays.pop("epoch"))
    return epoch, [arrays[str(i)] for i in range(len(arrays))]


def _evaluation(raw: bytes) -> Evaluation:
    arrays = _arrays(raw)
    evaluation = Evaluation(int(arrays["epoch"]), arrays["probabilities"], arrays["y_true"])
    if evaluation.probabilities.shape != (*evaluation.y_true.shape, specs.CLASSES):
        raise ValueError(f"{evaluation.probabilities.shape} probabilities of {evaluation.y_true.shape} images")
    return evaluation


def root() -> str:
    """Where runs are kept: DIGITLAB_RUNS, a folder or any fsspec URL, else a folder in the user's home."""
    return os.environ.get("DIGITLAB_RUNS") or str(DEFAULT_ROOT)


def create(experiment: specs.Experiment, name: str, at: str | None = None) -> Run:
    """A new, queued run. Its id can't be guessed: whoever knows it may see the run.

    Raises:
        StorageFull: if the folder can't be written.
    """
    run = Run(_new_id(), at or root())
    try:
        run._write("spec.json", experiment.model_dump_json().encode())
        run.write_record(Record(name))
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
        raise RunNotFound(f"{run_id[:40]!r} is no run's id: expected 16 letters and digits, as in the link of a run.")
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


def _new_id() -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(secrets.choice(alphabet) for _ in range(16))
