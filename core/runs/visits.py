"""What visitors leave behind, beside the runs, so that it outlasts their session: a folder for each.

    <root>/visits/<visitor>/
        visit.json         the draft with its undo, what is drawn, the runs they began or opened, and the one in use
        handwriting.npz    the drawings they kept

A visitor is named by a hash of what their browser is known again by, so that a listing of the disk lets nobody in. Of two sessions
of one visitor each keeps what it changed itself, and the next one begins with what was changed last. Who stays away for
`FORGOTTEN_DAYS` is forgotten, and where there are more than `MOST_VISITORS` who was away longest.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from core.errors import DataError, StorageFull
from core.ink.strokes import Sheet
from core.model import draft as drafts
from core.model.draft import Draft
from core.runs.arrays import UNREADABLE
from core.runs.storage import Storage, reason

logger = logging.getLogger("digitlab.visits")

FORGOTTEN_DAYS = 30
MOST_VISITORS = 10_000
MOST_BYTES = 2_000_000  # of a visit's file; a full sheet of strokes takes a tenth of that
MOST_RUNS = 50
FOLDER, FILE = "visits", "visit.json"
DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Edits:
    """A draft, and those that undo and redo lead to, the next one last."""

    draft: Draft
    undo: tuple[Draft, ...] = ()
    redo: tuple[Draft, ...] = ()


@dataclass(frozen=True)
class Surface:
    """The content of a drawing surface; `heard` is the number of the last stroke that was taken from it."""

    sheet: Sheet
    heard: float = 0


@dataclass(frozen=True)
class Visit:
    """The work that a visitor had in hand.

    Attributes:
        edits: the experiment they edited; None if they never did.
        runs: ids of those they began or opened, the newest first.
        run: the id of the one in use.
        surfaces: the content of each drawing surface, by its name.
        drawn_on: the part of the Draw page, and the surface they drew on there.
        has_picture: whether they uploaded a picture, which isn't kept.
        day: when they were here last, in days since 1970.
    """

    edits: Edits | None = None
    runs: tuple[str, ...] = ()
    run: str | None = None
    surfaces: dict[str, Surface] = field(default_factory=dict)
    drawn_on: tuple[str, str] = ("", "")
    has_picture: bool = False
    day: int = 0


_VISIT = TypeAdapter(Visit)
_awaited: dict[tuple[str, str], dict[str, Any]] = {}  # by root and visitor: what is still to be written
_faults: dict[tuple[str, str], StorageFull] = {}  # why the last of it could not be read or written
_forgot_on: dict[str, int] = {}  # by root: the day on which it was looked through last
_lock, _writing = threading.Lock(), threading.Lock()
_writer = ThreadPoolExecutor(1, thread_name_prefix="visits")


def visitor(token: str) -> str:
    """Return the name, 64 hexadecimal digits, of whoever's browser has this token: it says that two are the same, and doesn't give
    the token away."""
    return hashlib.sha256(token.encode()).hexdigest()


def folder(root: str, visitor: str) -> str:
    """Return where a visitor's files are kept."""
    return f"{root.rstrip('/')}/{FOLDER}/{visitor}"


def today() -> int:
    """Return the number of days since 1970, UTC."""
    return int(time.time() // DAY_SECONDS)


def recall(root: str, visitor: str) -> Visit:
    """Return what a visitor left behind; an empty visit where that is nothing, or where nothing can be kept, as `fault` tells.

    Raises:
        DataError: if it can't be read any more.
    """
    _write(root, visitor)
    try:
        visit = _read(root, visitor)
        return replace(visit, edits=visit.edits and _renamed(visit.edits))
    except OSError as error:
        _faults[root, visitor] = StorageFull(f"What you draw and build can't be read: {reason(error)}.")
        return Visit()
    except UNREADABLE as error:
        logger.warning("A visit in %s can't be read: %s", root, error)
        raise DataError(
            "What you drew and built here before can't be read any more, so you begin anew. Your runs are still at their links."
        ) from None


def keep(root: str, visitor: str, **changes: Any) -> None:
    """Keep these fields of `Visit`, the others as they are. Returns at once: it is written by a thread of its own, and what is
    changed again until then is written once."""
    with _lock:
        is_awaited = (root, visitor) in _awaited
        awaited = _awaited.setdefault((root, visitor), {})
        surfaces = {**awaited.get("surfaces", {}), **changes.get("surfaces", {})}
        awaited |= {**changes, "surfaces": surfaces}
    if not is_awaited:
        _writer.submit(_write, root, visitor)


def fault(root: str, visitor: str) -> StorageFull | None:
    """Return why a visitor's changes can't be kept; None where they are."""
    return _faults.get((root, visitor))


def _write(root: str, visitor: str) -> None:
    """Write what is still to be written of a visit. One thread at a time, so that a reader who calls this first misses nothing."""
    with _writing:
        with _lock:
            changes = _awaited.pop((root, visitor), None)
        if changes is None:
            return
        before = Visit()
        with suppress(*UNREADABLE):  # what can't be read is begun anew
            before = _read(root, visitor)
        changes["surfaces"] = {**before.surfaces, **changes["surfaces"]}
        changes["runs"] = tuple(dict.fromkeys([*changes.get("runs", ()), *before.runs]))[:MOST_RUNS]
        content = _VISIT.dump_json(replace(before, **{**changes, "day": today()}))
        try:
            if len(content) > MOST_BYTES:
                raise StorageFull(
                    f"There is more than {MOST_BYTES / 1e6:g} MB on the sheets. Clear one to have them kept."
                )
            Storage(root).write(f"{FOLDER}/{visitor}/{FILE}", content, "What you draw and build")
            _faults.pop((root, visitor), None)
        except StorageFull as error:
            _faults[root, visitor] = error
        if _forgot_on.get(root) != today():
            _forgot_on[root] = today()
            with suppress(OSError, StorageFull):  # looked through again tomorrow
                forget(root)


def forget(root: str) -> None:
    """Remove visitors who were away for too long, and beyond `MOST_VISITORS` those who were away longest."""
    storage, here = Storage(root), {}
    for one in storage.names(FOLDER):
        with suppress(FileNotFoundError):
            here[one] = storage.modified(f"{FOLDER}/{one}/{FILE}")
    oldest = time.time() - FORGOTTEN_DAYS * DAY_SECONDS
    for place, one in enumerate(sorted(here, key=here.__getitem__, reverse=True)):
        if here[one] < oldest or place >= MOST_VISITORS:
            storage.remove(f"{FOLDER}/{one}")


def _renamed(edits: Edits) -> Edits:
    draft, *others = drafts.renamed([edits.draft, *edits.undo, *edits.redo])
    return Edits(draft, tuple(others[: len(edits.undo)]), tuple(others[len(edits.undo) :]))


def _read(root: str, visitor: str) -> Visit:
    try:
        return _VISIT.validate_json(Storage(root).read(f"{FOLDER}/{visitor}/{FILE}"))
    except FileNotFoundError:
        return Visit()
