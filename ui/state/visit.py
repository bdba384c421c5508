"""The part of a session that outlasts it: it begins with what its visitor left, and what is changed in it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.errors import DataError
from core.runs import registry, visits
from ui.state import session
from ui.state.drawings import DRAW_SOURCES, begin_drawing
from ui.state.editing import Editing
from ui.state.own_handwriting import stop_lasting
from ui.state.photos import Photos
from ui.state.runs import Runs
from ui.state.session import part
from ui.state.surfaces import BARE, DRAW_PARTS, Surfaces

MOST_UNDO_KEPT = 20  # drafts of either way


@dataclass
class LeftBehind:
    """The state of keeping: whether this session has begun with what was left, and what was kept last, as the fields of
    `visits.Visit`."""

    has_begun: bool = False
    kept: dict[str, Any] = field(default_factory=dict)


def begin() -> None:
    """Begin the session with what its visitor left behind, once. Call it before anything asks for what is kept."""
    left = part(LeftBehind)
    if left.has_begun:
        return
    left.has_begun = True
    if session.is_lasting():
        left.kept = _lasting()
        try:
            _take_up(visits.recall(registry.root(), session.visitor()))
        except DataError as error:
            session.say(str(error))


def keep_visit() -> None:
    """Keep what was changed since the last call beyond the session, if possible.

    Call it after callbacks: in the frame, and in fragments that change something lasting, since the frame is not drawn
    for those.
    """
    if session.is_lasting() and visits.fault(registry.root(), session.visitor()):
        stop_lasting()
    if not session.is_lasting():
        return
    now, before = _lasting(), part(LeftBehind).kept
    changes = {name: value for name, value in now.items() if value != before[name]}
    if changes:
        part(LeftBehind).kept = now
        surfaces = {name: value for name, value in now["surfaces"].items() if value != before["surfaces"][name]}
        visits.keep(registry.root(), session.visitor(), **{**changes, "surfaces": surfaces})


def _lasting() -> dict[str, Any]:
    """Return what is kept of this session beyond it, as the fields of `visits.Visit`."""
    editing, runs, surfaces = part(Editing), part(Runs), part(Surfaces)
    undo, redo = tuple(editing.undo[-MOST_UNDO_KEPT:]), tuple(editing.redo[-MOST_UNDO_KEPT:])
    return {
        "edits": visits.Edits(editing.draft, undo, redo),
        "runs": tuple(runs.own_runs),
        "run": runs.run_id,
        "surfaces": _on_surfaces(),
        "drawn_on": (surfaces.draw_part, surfaces.draw_source),
        "has_picture": part(Photos).ink is not None,
        "day": visits.today(),
    }


def _on_surfaces() -> dict[str, visits.Surface]:
    """Return the content of each surface."""
    surfaces = part(Surfaces)
    canvases = {name: visits.Surface(held.sheet, held.heard) for name, held in surfaces.canvases.items()}
    return {**canvases, "pad": visits.Surface(surfaces.pad.sheet)}


def _take_up(visit: visits.Visit) -> None:
    """Put what a visitor left behind into their new session. A picture they uploaded is not kept, which is shown."""
    if visit.edits is not None:
        editing = part(Editing)
        editing.draft, editing.undo, editing.redo = visit.edits.draft, [*visit.edits.undo], [*visit.edits.redo]
    if visit.runs:
        here = {run.id for run in registry.all_runs()}
        part(Runs).own_runs = [run_id for run_id in visit.runs if run_id in here]
        part(Runs).run_id = visit.run if visit.run in here else None
    _put_on_surfaces(visit)
    part(LeftBehind).kept = {**_lasting(), "day": visit.day or visits.today()}


def _put_on_surfaces(visit: visits.Visit) -> None:
    """Put the drawings of an earlier session on the surfaces that they were drawn on."""
    surfaces = part(Surfaces)
    for name, kept in visit.surfaces.items():
        if name not in BARE or (kept.sheet.width, kept.sheet.height) != (BARE[name].width, BARE[name].height):
            continue  # of another version
        held = surfaces.pad if name == "pad" else surfaces.canvases[name]
        held.sheet, held.number = kept.sheet, begin_drawing()
        if name != "pad":
            held.heard = kept.heard
    draw_part, draw_source = visit.drawn_on
    if draw_part in DRAW_PARTS and draw_source in DRAW_SOURCES:
        surfaces.draw_part, surfaces.draw_source = draw_part, draw_source
    if visit.has_picture and surfaces.draw_source in ("Picture", "Camera"):
        session.say("The picture you gave was let go while this page was away. Choose it again.")
