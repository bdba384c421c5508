"""The events that a training sends while it runs, and the record that collects them.

The events cross from a worker to the screen and are also what a run's folder is written from, so this module knows
neither TensorFlow nor Dask nor Streamlit.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from pydantic import Field, NonNegativeInt

from core.model.specs import CLASSES, TRAINING_SET_SIZE

# What makes sense where a run's folder is read; nothing checks them while it trains.
Share = Annotated[float, Field(ge=0, le=1)]
Quantity = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digit = Annotated[int, Field(ge=0, lt=CLASSES)]
Index = Annotated[int, Field(ge=0, lt=TRAINING_SET_SIZE)]
LIVE_HYPERPARAMETERS = ("learning_rate", "dropout")  # the fields of a command that may be changed in mid-run


class State(StrEnum):
    """The state of a run: queued -> running <-> paused -> stopping -> finished | stopped | failed | interrupted."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        """True if a run in this state has ended."""
        return self in (State.FINISHED, State.STOPPED, State.FAILED, State.INTERRUPTED)

    @property
    def is_resumable(self) -> bool:
        """True if a run in this state can be resumed."""
        return self in (State.STOPPED, State.INTERRUPTED)


@dataclass(frozen=True)
class Command:
    """The orders for a training, which looks at them between chunks of batches, about ten times a second.

    Attributes:
        until_step: a paused training still goes on to this many batches, so that it can be stepped.
        batches_per_second: slow motion; None for full speed.
        learning_rate, dropout: replace the recipe's from the next batch on; None leaves them.
        is_watched: whether snapshots are wanted.
        digit: the held-out digit, 0..9, whose feature maps a snapshot holds.
        drawing: the 784 bytes of an image whose prediction a snapshot holds, too; none if empty.
    """

    is_paused: bool = False
    is_stopping: bool = False
    until_step: int = 0
    batches_per_second: float | None = None
    learning_rate: float | None = None
    dropout: float | None = None
    is_watched: bool = False
    digit: int = 7
    drawing: bytes = b""


@dataclass(frozen=True)
class Started:
    """Training is about to take its first step; `step` is above zero where it resumes."""

    steps_per_epoch: int
    epochs: int
    batch_size: int
    step: int


@dataclass(frozen=True)
class Advanced:
    """Some batches further. `step` counts all batches so far; `loss` and `accuracy` have one value per new batch."""

    step: int
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    learning_rate: float
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class EpochEnded:
    """A row of the history.

    Attributes:
        loss: the minimised loss, including label smoothing and L2 penalties.
        val_loss: plain mean cross-entropy on the validation images; None without them, as are all fields about them.
        accuracy, val_accuracy: shares 0..1.
        seconds: wall time of the epoch without pauses.
        confusion: the 100 counts of the validation images' confusion matrix, row by row.
        wrongest: up to ten (index in the training set, predicted digit, its probability), the most certain first.
    """

    epoch: int
    loss: float
    accuracy: Share
    val_loss: float | None
    val_accuracy: Share | None
    learning_rate: Quantity
    seconds: Quantity
    confusion: Annotated[tuple[NonNegativeInt, ...], Len(CLASSES**2, CLASSES**2)] | None = None
    wrongest: tuple[tuple[Index, Digit, Share], ...] | None = None


@dataclass(frozen=True)
class HyperparameterChanged:
    """A hyperparameter was changed in mid-run: `name` of the recipe has this `value` from batch `step` (counted from 0) on."""

    step: NonNegativeInt
    name: str
    value: float


@dataclass(frozen=True)
class Snapshot:
    """A look inside the network after `step` batches. Too large to be kept, it is no event: those who watch fetch it.

    Attributes:
        gradient_norms: layer name -> Euclidean norm of the gradient of its kernel, over the last batch.
        dead: name of each layer with ReLUs -> share 0..1 of its units or channels that are zero for every image of that
            batch.
        kernels: the first convolution's, (n, k, k) float32, n up to 32; empty without one.
        image: the digit that the maps are for, (28, 28) uint8.
        maps: name of each layer whose output is an image -> up to 8 channels (n, h, w) uint8, scaled to the layer's
            largest value.
        drawing: the 784 bytes of the drawing that was asked about; empty if there was none.
        reading: the probabilities (10,) float32 for that drawing, or None.
        digit: the digit that the command asked for.
    """

    step: int
    gradient_norms: dict[str, float]
    dead: dict[str, float]
    kernels: np.ndarray
    image: np.ndarray
    maps: dict[str, np.ndarray]
    drawing: bytes = b""
    reading: np.ndarray | None = None
    digit: int = 7


@dataclass(frozen=True)
class StateChanged:
    """The run is in another state; `message` gives the reason if it isn't obvious."""

    state: State
    message: str = ""


Event = Started | Advanced | EpochEnded | HyperparameterChanged | StateChanged
_KINDS = {kind.__name__: kind for kind in (Started, Advanced, EpochEnded, HyperparameterChanged, StateChanged)}
_KINDS["Turned"] = HyperparameterChanged  # what older workers called it, whose events a scheduler still has


def to_wire(event: Event) -> dict:
    """Return the event as a dict of plain values, fit for msgpack and JSON."""
    values = asdict(event)
    if isinstance(event, StateChanged):
        values["state"] = event.state.value
    return {"kind": type(event).__name__, "fields": values}


def from_wire(message: dict) -> Event:
    """Return the event that `to_wire` was given. Other keys, which a transport may have added, are ignored."""
    kind, values = _KINDS[message["kind"]], {name: _as_tuples(value) for name, value in message["fields"].items()}
    if kind is StateChanged:
        values["state"] = State(values["state"])
    return kind(**values)


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(inner) for inner in value) if isinstance(value, list | tuple) else value


@dataclass
class Progress:
    """A run so far, as the screen shows it: built up by events, or read back from the run's folder."""

    state: State = State.QUEUED
    message: str = ""
    steps_per_epoch: int = 0
    epochs: int = 0
    batch_size: int = 0
    step: int = 0
    learning_rate: float = 0.0
    images_per_second: float = 0.0
    seconds_left: float | None = None
    history: list[EpochEnded] = field(default_factory=list)
    changes: list[HyperparameterChanged] = field(default_factory=list)
    snapshot: Snapshot | None = None
    is_fine_tuning: bool = False
    loss: array = field(default_factory=lambda: array("f"))
    accuracy: array = field(default_factory=lambda: array("f"))

    def apply(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case Started():
                self.steps_per_epoch, self.epochs = event.steps_per_epoch, event.epochs
                self.batch_size, self.step = event.batch_size, event.step
                self.history = [row for row in self.history if row.epoch * event.steps_per_epoch <= event.step]
                self.changes = [change for change in self.changes if change.step <= event.step]
                del self.loss[event.step :], self.accuracy[event.step :]
            case Advanced():
                self.step, self.learning_rate = event.step, event.learning_rate
                self.images_per_second, self.seconds_left = event.images_per_second, event.seconds_left
                self.loss.extend(event.loss)
                self.accuracy.extend(event.accuracy)
            case EpochEnded():
                self.history.append(event)
            case HyperparameterChanged():
                self.changes.append(event)
            case StateChanged():
                self.state, self.message = event.state, event.message

    @classmethod
    def of(cls, events: Iterable[Event]) -> Progress:
        """Return the record that these events add up to."""
        progress = cls()
        for event in events:
            progress.apply(event)
        return progress

    @property
    def share(self) -> float:
        """Finished share of the training, 0..1."""
        total = self.steps_per_epoch * self.epochs
        return min(self.step / total, 1.0) if total else 0.0

    @property
    def epoch(self) -> int:
        """The epoch in progress, counted from 1; the last one once all are done."""
        if not self.steps_per_epoch:
            return 1
        return min(self.step // self.steps_per_epoch + 1, self.epochs)

    @property
    def best(self) -> EpochEnded | None:
        """The epoch with the highest validation accuracy, the later of equals; without held-out images the last one. The last
        one of a fine-tuning too: MNIST's held-out digits don't say how well it reads another hand."""
        if self.is_fine_tuning:
            return self.history[-1] if self.history else None
        return max(self.history, key=lambda row: (_or_zero(row.val_accuracy), row.epoch), default=None)

    @property
    def best_val_accuracy(self) -> float | None:
        """Validation accuracy of the best epoch, 0..1, or None."""
        return self.best.val_accuracy if self.best else None

    @property
    def live_hyperparameters(self) -> dict[str, float]:
        """The last value of each live hyperparameter that was changed, by its name."""
        return {change.name: change.value for change in self.changes if change.name in LIVE_HYPERPARAMETERS}

    @property
    def turned_learning_rates(self) -> list[tuple[int, float]]:
        """(batch, learning rate) for every change of it, in order."""
        return [(change.step, change.value) for change in self.changes if change.name == "learning_rate"]

    def step_of(self, epoch: int) -> int:
        """Return the number of batches at an epoch's end."""
        return epoch * self.steps_per_epoch

    def curve(self, values: array, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
        """Return a per-batch curve reduced to at most `points` means of neighbouring batches.

        Args:
            values: a value per batch.
            points: the largest number of means.

        Returns:
            Epochs passed at the middle of each group, (n,) float, and the means, (n,) float.
        """
        y, starts, middles = self._groups(values, points)
        return middles, np.add.reduceat(y, starts) / np.diff(np.append(starts, len(y))) if len(y) else y

    def extremes(self, values: array, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest value in each of `curve`'s groups, so that no outlying batch is lost.

        Returns:
            As `curve`, (2 n,) each: two values at the middle of a group, the lowest first; (n,) if a group is one
                batch.
        """
        y, starts, middles = self._groups(values, points)
        if len(starts) == len(y):
            return middles, y
        both = np.column_stack([np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)])
        return np.repeat(middles, 2), both.ravel()

    def _groups(self, values: array, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the values (m,) float, where their groups begin (n,), and the epochs passed at the middle of each
        (n,).
        """
        # From a copy: an array can't grow, as this one may, while NumPy has a view of it.
        y = np.array(values[:], dtype=np.float64)
        starts = np.arange(0, len(y), -(-len(y) // points) or 1)
        middles = (starts + np.append(starts[1:], len(y))) / 2 if len(y) else y
        return y, starts, middles / max(self.steps_per_epoch, 1)


def _or_zero(share: float | None) -> float:
    return 0.0 if share is None or math.isnan(share) else share
