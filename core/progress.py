"""What a training tells while it runs, and the record that gathers it.

The events cross from a worker to the screen and are also what a run's folder is written from, so this module knows
neither TensorFlow nor Dask nor Streamlit.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import numpy as np


class State(StrEnum):
    """Where a run is: queued -> running <-> paused -> stopping -> finished | stopped | failed | interrupted."""

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
        return self in (State.FINISHED, State.STOPPED, State.FAILED, State.INTERRUPTED)

    @property
    def is_resumable(self) -> bool:
        return self in (State.STOPPED, State.INTERRUPTED)


@dataclass(frozen=True)
class Command:
    """What a training is asked to do; it looks between chunks of batches, about ten times a second."""

    is_paused: bool = False
    is_stopping: bool = False


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
    """One row of the history. Losses are mean cross-entropies, accuracies shares 0..1; `val_*` are None without
    validation images; `seconds` is the epoch's wall time without pauses."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class StateChanged:
    """The run is in another state; `message` says why where it isn't plain."""

    state: State
    message: str = ""


Event = Started | Advanced | EpochEnded | StateChanged
_KINDS = {kind.__name__: kind for kind in (Started, Advanced, EpochEnded, StateChanged)}


def to_wire(event: Event) -> dict:
    """The event as a dict of plain values, fit for msgpack and JSON."""
    fields = asdict(event)
    if isinstance(event, StateChanged):
        fields["state"] = event.state.value
    return {"kind": type(event).__name__, "fields": fields}


def from_wire(message: dict) -> Event:
    """The event that `to_wire` was given. Other keys, which a carrier may have added, are left alone."""
    kind, fields = _KINDS[message["kind"]], dict(message["fields"])
    if kind is StateChanged:
        fields["state"] = State(fields["state"])
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


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
    loss: array = field(default_factory=lambda: array("f"))
    accuracy: array = field(default_factory=lambda: array("f"))

    def apply(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case Started():
                self.steps_per_epoch, self.epochs = event.steps_per_epoch, event.epochs
                self.batch_size, self.step = event.batch_size, event.step
                self.history = [row for row in self.history if row.epoch * event.steps_per_epoch <= event.step]
                del self.loss[event.step :], self.accuracy[event.step :]
            case Advanced():
                self.step, self.learning_rate = event.step, event.learning_rate
                self.images_per_second, self.seconds_left = event.images_per_second, event.seconds_left
                self.loss.extend(event.loss)
                self.accuracy.extend(event.accuracy)
            case EpochEnded():
                self.history.append(event)
            case StateChanged():
                self.state, self.message = event.state, event.message

    @classmethod
    def of(cls, events: Iterable[Event]) -> Progress:
        """The record that these events build."""
        progress = cls()
        for event in events:
            progress.apply(event)
        return progress

    @property
    def share(self) -> float:
        """How much of the training is done, 0..1."""
        total = self.steps_per_epoch * self.epochs
        return min(self.step / total, 1.0) if total else 0.0

    @property
    def epoch(self) -> int:
        """The epoch in progress, counted from 1; the last one once all are done."""
        if not self.steps_per_epoch:
            return 1
        return min(self.step // self.steps_per_epoch + 1, self.epochs)

    @property
    def best_val_accuracy(self) -> float | None:
        return max((row.val_accuracy for row in self.history if row.val_accuracy is not None), default=None)

    def curve(self, values: array, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
        """A per-batch curve reduced to at most `points` means of neighbouring batches.

        Returns: epochs passed at the middle of each group, (n,) float, and the means, (n,) float.
        """
        y = np.array(
            values[:], dtype=np.float64
        )  # of a copy: an array can't grow, as this one may, while NumPy looks at it
        if not len(y):
            return y, y
        group = -(-len(y) // points)
        starts = np.arange(0, len(y), group)
        counts = np.diff(np.append(starts, len(y)))
        means = np.add.reduceat(y, starts) / counts
        return (starts + counts / 2) / max(self.steps_per_epoch, 1), means
