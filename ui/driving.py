"""Orders to runs: the one way by which a page drives one, open to the visitor who began it."""

from __future__ import annotations

from core.engine import engine
from core.errors import NotYours
from core.runs.progress import Command
from core.runs.run import Run
from ui.state import session

NOT_YOURS = (
    "You can watch this run, but not drive it: it was begun in another browser, whose link lets others look. To have one of your "
    "own, press Again once it is over, or start a training."
)


def is_allowed(run: Run) -> bool:
    """Return whether this visitor may drive a run: who began it, and everyone on one's own machine. A run whose beginner isn't
    known, made by an older version, is nobody's.

    Raises:
        RunDamaged: if its record can't be read.
    """
    return session.is_local() or run.record().owner == session.visitor()


def train(run: Run, command: Command = engine.FULL_SPEED) -> None:
    """Queue a run, new or to be resumed.

    Args:
        run: the run.
        command: its orders from its first batch on.

    Raises:
        NotYours: if another visitor began it.
        RunDamaged, StorageFull: if its folder can't be read or written.
    """
    _require_allowed(run)
    engine.shared().train(run, command)


def command(run: Run, **changes: object) -> None:
    """Pause, step, go on, change a live hyperparameter, stop, or leave the queue: change these fields of what a run is asked to do.

    Raises:
        NotYours: if another visitor began it.
        EngineNotReady: if there is no connection to the workers yet.
    """
    _require_allowed(run)
    engine.shared().command(run.id, **changes)


def delete(run: Run) -> None:
    """Delete a run that is over, with all that was found out about it.

    Raises:
        NotYours: if another visitor began it.
        EngineError: if it is under way.
        StorageFull: if its folder can't be removed.
    """
    _require_allowed(run)
    engine.shared().delete(run)


def _require_allowed(run: Run) -> None:
    if not is_allowed(run):
        raise NotYours(NOT_YOURS)
