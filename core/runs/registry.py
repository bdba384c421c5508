"""The place where runs are kept, and the list of them: each is found by its id, which nobody can guess."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from core.errors import RunDamaged, RunNotFound
from core.model import specs
from core.runs.contents import Record
from core.runs.run import Run
from core.runs.storage import Storage

DEFAULT_ROOT = "~/.digitlab/runs"
_ID_LETTERS = 26  # of 32 each: 130 bits. Older runs have 16
_ID = re.compile(rf"[a-z2-7]{{16}}|[a-z2-7]{{{_ID_LETTERS}}}")


def root() -> str:
    """Return where runs are kept: DIGITLAB_RUNS, a folder or any fsspec URL, else a folder in the user's home."""
    named = os.environ.get("DIGITLAB_RUNS", "").strip() or DEFAULT_ROOT
    # A worker may work in another folder than this process.
    return named if "://" in named or "::" in named else os.path.abspath(os.path.expanduser(named))


def create(experiment: specs.Experiment, name: str, at: str | None = None, owner: str = "") -> Run:
    """Make a new, queued run. Its id can't be guessed: whoever knows it may see the run.

    Args:
        owner: the visitor who may drive it.

    Raises:
        StorageFull: if the folder can't be written.
    """
    run = Run(_new_id(), at or root())
    run.begin(experiment, Record(name, owner=owner))
    return run


def find(run_id: str, at: str | None = None) -> Run:
    """Return the run with this id.

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
    """Yield every run under the root, damaged ones included, in no order."""
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
    run.folder.copy_from(folder)
    return run


def _new_id() -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(secrets.choice(alphabet) for _ in range(_ID_LETTERS))
