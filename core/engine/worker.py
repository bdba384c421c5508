"""Functions that run in a worker, called by name: a training, a question, an order. No object of TensorFlow's crosses
back, see
`Failure`."""

from __future__ import annotations

import gc
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from core.data import datasets
from core.engine.hidden_modules import hidden
from core.errors import DigitLabError, EngineError, RunDamaged, RunError, StorageFull
from core.runs import checkpoints, progress, registry, storage
from core.runs.contents import Checkpoint
from core.runs.progress import (
    Command,
    EpochEnded,
    Event,
    HyperparameterChanged,
    Progress,
    Snapshot,
    Started,
    State,
    StateChanged,
)
from core.runs.question import Question, untold
from core.runs.run import Run
from core.training import fine_tuning

logger = logging.getLogger("digitlab.engine")

FULL_SPEED = Command()
GONE_SECONDS = 2.0  # between two checks, during a training, whether its run still exists
WATCHED_SECONDS = 5.0  # for which snapshots are taken after someone asked for one

_loading = threading.Lock()
_commands: dict[str, Command] = {}
# By run: what visitors want to see of it, a digit and a drawing, until when (monotonic); and what was seen last.
_watched: dict[str, dict[tuple[int, bytes], float]] = {}
_snapshots: dict[str, dict[tuple[int, bytes], Snapshot]] = {}


# --- crossing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """An exception that may cross to a process without TensorFlow."""

    error: DigitLabError


def in_worker(dataset: datasets.DatasetId | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and turn what it raises into a `Failure`: TensorFlow's own exceptions would import it over there.

    Args:
        dataset: which the function finds as the one in use; None for a server that doesn't know its own yet.
    """
    try:
        with datasets.using(dataset):
            return function(*arguments)
    except DigitLabError as error:
        return Failure(error)
    except Exception as error:  # of any library; its text crosses, it itself can't
        logger.exception("%s failed", getattr(function, "__name__", function))
        return Failure(EngineError(f"{type(error).__name__}: {str(error)[:500]}"))


def unwrapped(answer: Any) -> Any:
    """Return an answer that came back, or raise the error that came in its place."""
    if isinstance(answer, Failure):
        raise answer.error
    return answer


def warm_up() -> None:
    """Load TensorFlow and Keras; nothing where that was done, and while another thread does, wait for it."""
    with _loading:
        _load()


@cache
def _load() -> None:
    # What is loaded stays for good. To look through it for garbage is a quarter of the time that loading takes, and a quarter of
    # a second whenever garbage is collected later.
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        _load_keras()
        gc.freeze()
    finally:
        if is_collecting:
            gc.enable()


def _load_keras() -> None:
    # Keras tries to import these where they are installed, for adapters that nothing here uses: hidden while it loads,
    # they don't cost a third of its start and 130 MB. They import as usual afterwards, and in the worker's other threads.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with hidden("sklearn", "pandas", "matplotlib"):
        import keras  # noqa: F401  (TensorFlow, which workers alone load, for what follows)
    # Each run compiles functions of its own, which TensorFlow takes for one function compiled too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from core.explain import inspection  # TensorFlow, which workers alone load
    from core.model import keras_model  # TensorFlow, which workers alone load

    keras_model.warm_up()
    inspection.warm_up()


# --- questions ----------------------------------------------------------------------------------------------------------


class Actor:
    """The part of a worker that answers quick questions one at a time and in order, beside the worker's tasks."""

    def answer(self, dataset: datasets.DatasetId | None, question: Question) -> Any:
        """Return the answer, or a `Failure`."""
        return in_worker(dataset, question.work, untold)


def work(question: Question, topic: str, ticket: str) -> Any:
    """Work on a question, until it is done or cancelled, telling the share that is done to whoever listens to the topic.

    Args:
        ticket: what it is called there, and in the order to cancel it.
    """
    from distributed import get_worker  # takes a second to load, and is loaded in a worker

    warm_up()
    worker = get_worker()

    def tell(share: float) -> None:
        if _commands.get(ticket, FULL_SPEED).is_stopping:
            raise EngineError("It was cancelled.")
        worker.log_event(topic, (ticket, share))

    try:
        return question.work(tell)
    finally:
        _commands.pop(ticket, None)


# --- orders and looks ---------------------------------------------------------------------------------------------------


def set_command(run_id: str, command: Command, changed: tuple[str, ...] = ()) -> None:
    """Take a command; only the fields that were `changed`, where the rest is known here: another server may have set it."""
    known = _commands.get(run_id)
    if known is not None and changed:
        command = replace(known, **{name: getattr(command, name) for name in changed})
    _commands[run_id] = command


def look(run_id: str, digit: int, drawing: bytes = b"") -> Snapshot | None:
    """Ask for looks inside a run that may train here; return the last one of this digit and drawing."""
    _watched.setdefault(run_id, {})[digit, drawing] = time.monotonic() + WATCHED_SECONDS
    return _snapshots.get(run_id, {}).get((digit, drawing))


def keep_look(run_id: str, snapshot: Snapshot) -> None:
    """Keep a snapshot of a run for those who asked for it, and drop those that nobody asks for any more."""
    wanted = _wanted(run_id)
    kept = {key: look for key, look in _snapshots.get(run_id, {}).items() if key in wanted}
    _snapshots[run_id] = {**kept, (snapshot.digit, snapshot.drawing): snapshot}


def read_command(run_id: str) -> Command:
    """Return what a run is asked to do, by those who drive it and those who watch."""
    wanted, command = _wanted(run_id), _commands.get(run_id, FULL_SPEED)
    if not wanted:
        return command
    looks = _snapshots.get(run_id, {})
    # Of several visitors' wishes, the one served longest ago.
    digit, drawing = min(wanted, key=lambda key: looks[key].step if key in looks else -1)
    return replace(command, is_watched=True, digit=digit, drawing=drawing)


def _wanted(run_id: str) -> list[tuple[int, bytes]]:
    now = time.monotonic()
    return [key for key, until in _watched.get(run_id, {}).copy().items() if now < until]


# --- a training ---------------------------------------------------------------------------------------------------------

_KEPT = "What was trained until the last whole epoch is kept, to go on from once there is room."


def topic(run_id: str) -> str:
    """Return the topic of Dask's event log under which a training tells its events."""
    return f"digitlab-{run_id}"


def train(run: Run, command: Command = FULL_SPEED) -> None:
    """Train a run to its end in this worker, sending its events and keeping its folder.

    Args:
        command: for a worker that was told of none.
    """
    from distributed import get_worker  # takes a second to load, and is loaded in a worker

    worker = get_worker()

    def send(event: Event) -> None:
        worker.log_event(topic(run.id), progress.to_wire(event))

    try:
        record = run.progress()
    except RunDamaged as error:  # or deleted, while it waited
        send(StateChanged(State.FAILED, str(error)))
        return
    _commands.setdefault(run.id, command)
    training = _Training(run, record, send)
    try:
        training.run_through()
    except DigitLabError as error:
        training.end_by(error)
        raise
    except Exception as error:  # whatever it is, the run has ended, and its page and folder have to say so
        training.tell(StateChanged(State.FAILED, f"{type(error).__name__}: {str(error)[:500]}"))
        raise
    finally:
        for kept in (_commands, _watched, _snapshots):
            kept.pop(run.id, None)


class _Training:
    """A run that trains: its record, which its events build, and its folder, which follows."""

    def __init__(self, run: Run, record: Progress, send: Callable[[Event], None]) -> None:
        self.run, self.record, self._send = run, record, send
        self._changes = tuple(record.changes)
        self._looked_at = time.monotonic()

    def run_through(self) -> None:
        """Train from the last whole epoch to the end, or to where it is stopped."""
        self.tell(StateChanged(State.RUNNING))
        warm_up()
        from core.model import keras_model  # TensorFlow, which workers alone load
        from core.training import loop  # TensorFlow, which workers alone load

        run, record = self.run, self.record
        network, state = loop.train(
            run.experiment(),
            datasets.load(),
            self.tell,
            read_command=self._read_command,
            on_checkpoint=self._keep,
            on_snapshot=lambda snapshot: keep_look(run.id, snapshot),
            resume_from=run.last_checkpoint(),
            history=tuple(record.history),
            changes=self._changes,
            start=fine_tuning.start_of(run),
        )
        if record.best is not None:
            keras_model.set_variables(network, run.weights(record.step_of(record.best.epoch)))
            run.write_keras_file(_keras_file(network))
        self.tell(StateChanged(state, _unfinished(record) if state is State.STOPPED else ""))

    def tell(self, event: Event) -> None:
        """Take an event into the record and the folder, and send it."""
        self.record.apply(event)
        if isinstance(event, EpochEnded):
            return  # sent only once its checkpoint can be read: its receivers may ask for the network
        try:
            self._write(event)
        finally:  # a full disk must not keep the event from the screen
            self._send(event)

    def end_by(self, error: DigitLabError) -> None:
        """Say how it ended, where that was by an error of ours."""
        if not self.run.exists():  # to write how it ended would bring its folder back
            self._send(StateChanged(State.STOPPED, f"Run {self.run.id} was deleted."))
        elif isinstance(error, StorageFull):
            self.tell(StateChanged(State.INTERRUPTED, f"{error} {_KEPT}"))
        else:
            self.tell(StateChanged(State.FAILED, str(error)))

    def _write(self, event: Event) -> None:
        run, record = self.run, self.record
        match event:
            case StateChanged():
                if event.state.is_over and record.step != record.step_of(len(record.history)):
                    with suppress(RunError):  # how it ended has to be written all the same
                        run.write_curve(record)
                run.write_state(event.state, event.message)
            case Started():
                run.write_state(State.RUNNING, steps_per_epoch=event.steps_per_epoch)
                checkpoints.forget_unfinished(run.folder, record)
                if tuple(record.changes) != self._changes:  # the batches of later ones are taken anew
                    run.write_changes(record)
            case HyperparameterChanged():
                run.write_changes(record)

    def _keep(self, checkpoint: Checkpoint) -> None:
        if checkpoint.optimizer is None:
            self.run.write_weights(checkpoint)
            checkpoints.thin(self.run.folder, self.record)
            return
        self.run.write_epoch(self.record, checkpoint)
        self._send(self.record.history[-1])

    def _read_command(self) -> Command:
        if time.monotonic() - self._looked_at >= GONE_SECONDS:
            self._looked_at, _ = time.monotonic(), registry.find(self.run.id, self.run.root)
        return read_command(self.run.id)


def _unfinished(record: Progress) -> str:
    """Say what is kept of an epoch in whose midst a run was stopped; nothing where it wasn't."""
    if record.step % record.steps_per_epoch == 0:
        return ""
    whole = len(record.history)
    return (
        f"Stopped in epoch {record.epoch}, after {record.step:,} batches. The time machine keeps that network. "
        "Evaluate and Draw take one after a whole epoch, and going on begins "
        f"{f'after epoch {whole}' if whole else 'with the first batch'}."
    )


def _keras_file(network: Any) -> bytes:
    """Return a network as a .keras file.

    Raises:
        StorageFull: if there is no room to make one.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            network.save(Path(folder, "model.keras"))
            return Path(folder, "model.keras").read_bytes()
    except OSError as error:
        raise StorageFull(f"The .keras file can't be made on this machine: {storage.reason(error)}.") from None
