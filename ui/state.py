"""The one door to `st.session_state` and the page's URL: what a visitor's session remembers, behind names.

Key strings live here and nowhere else. A widget's key is no storage: what must last stands here, in the URL or in the run.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st

from core import presets, runs
from core.errors import RunNotFound
from core.specs import Experiment, LayerSpec, Training, replaced

_KEY = "digitlab"
_RUN_PARAMETER = "run"
MAX_UNDO = 100


@dataclass(frozen=True)
class Draft:
    """The experiment being edited, and a name for each of its layers that stays when it is moved or changed."""

    experiment: Experiment
    layer_ids: tuple[int, ...]
    preset: str


@dataclass
class _Session:
    draft: Draft
    undo: list[Draft] = field(default_factory=list)
    redo: list[Draft] = field(default_factory=list)
    run_id: str | None = None
    url_run_id: str | None = None
    own_runs: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    is_painted: bool = False
    refusals: int = 0
    canvas_round: int = 0
    drawing: dict | None = None
    drawing_at_entry: dict | None = None
    ink: np.ndarray | None = None
    page: str = ""
    open_layer: int | None = None


_ids = itertools.count()


def _session() -> _Session:
    if _KEY not in st.session_state:
        st.session_state[_KEY] = _Session(_draft_of(presets.FIRST_CNN.experiment, presets.FIRST_CNN.name))
    return st.session_state[_KEY]


def widget_value(key: str) -> Any:
    """What the widget with this key holds now; for its own on_change callback."""
    return st.session_state[key]


# --- the experiment being edited ----------------------------------------------------------------------------------------


def draft() -> Draft:
    return _session().draft


def training() -> Training:
    return draft().experiment.training


def layer(layer_id: int) -> LayerSpec:
    return dict(zip(draft().layer_ids, draft().experiment.layers, strict=True))[layer_id]


def edit(new: Draft) -> None:
    """Put a new draft in place of the old one, which `undo` brings back."""
    session = _session()
    session.undo = [*session.undo[-MAX_UNDO:], session.draft]
    session.redo.clear()
    session.draft = new


def use_preset(name: str) -> None:
    edit(_draft_of(presets.PRESETS[name].experiment, name))


def use_experiment(experiment: Experiment) -> None:
    edit(_draft_of(experiment, draft().preset))


def edit_training(new: Training) -> None:
    old = draft()
    edit(Draft(replaced(old.experiment, training=new), old.layer_ids, old.preset))


def edit_layer(layer_id: int, new: LayerSpec) -> None:
    old = draft()
    layers = [new if i == layer_id else other for i, other in zip(old.layer_ids, old.experiment.layers, strict=True)]
    edit(Draft(replaced(old.experiment, layers=tuple(layers)), old.layer_ids, old.preset))


def add_layer(new: LayerSpec) -> None:
    old, new_id = draft(), next(_ids)
    edit(Draft(replaced(old.experiment, layers=(*old.experiment.layers, new)), (*old.layer_ids, new_id), old.preset))
    _session().open_layer = new_id


def remove_layer(layer_id: int) -> None:
    old = draft()
    kept = [(i, other) for i, other in zip(old.layer_ids, old.experiment.layers, strict=True) if i != layer_id]
    layers = tuple(layer for _, layer in kept)
    edit(Draft(replaced(old.experiment, layers=layers), tuple(i for i, _ in kept), old.preset))


def move_layer(layer_id: int, by: int) -> None:
    """One place up (-1) or down (+1); at the ends it stays."""
    old = draft()
    ids, layers = list(old.layer_ids), list(old.experiment.layers)
    here = ids.index(layer_id)
    there = here + by
    if 0 <= there < len(ids):
        ids[here], ids[there] = ids[there], ids[here]
        layers[here], layers[there] = layers[there], layers[here]
        edit(Draft(replaced(old.experiment, layers=tuple(layers)), tuple(ids), old.preset))


def undo() -> None:
    session = _session()
    if session.undo:
        session.redo.append(session.draft)
        session.draft = _renamed(session.undo.pop())


def redo() -> None:
    session = _session()
    if session.redo:
        session.undo.append(session.draft)
        session.draft = _renamed(session.redo.pop())


def can_undo() -> bool:
    return bool(_session().undo)


def can_redo() -> bool:
    return bool(_session().redo)


def is_just_added(layer_id: int) -> bool:
    return _session().open_layer == layer_id


def draft_version() -> str:
    """Changes with every undo, redo, change of preset and refusal, so that widgets are made anew with the draft's values."""
    return f"{draft().layer_ids[0] if draft().layer_ids else 0}.{_session().refusals}"


def refuse(message: str) -> None:
    """Say why an edit can't be, and let its widget go back to what the draft holds."""
    _session().refusals += 1
    say(message)


def _draft_of(experiment: Experiment, preset: str) -> Draft:
    return Draft(experiment, tuple(next(_ids) for _ in experiment.layers), preset)


def _renamed(old: Draft) -> Draft:
    return _draft_of(old.experiment, old.preset)


# --- the run in use -----------------------------------------------------------------------------------------------------


def run_in_use() -> runs.Run | None:
    """The run that Train, Evaluate and Draw are about."""
    session = _session()
    if session.run_id is None:
        return None
    try:
        return runs.find(session.run_id)
    except RunNotFound as error:
        say(str(error))
        session.own_runs = [run_id for run_id in session.own_runs if run_id != session.run_id]
        session.run_id = None
        return None


def use_run(run_id: str) -> None:
    """Take a run into use and into this session's list."""
    session = _session()
    session.run_id = run_id
    if run_id not in session.own_runs:
        session.own_runs.insert(0, run_id)


def follow_url() -> None:
    """Open the run that the address names, and keep the address naming the run in use."""
    session, asked = _session(), st.query_params.get(_RUN_PARAMETER)
    if asked and asked != session.url_run_id:
        try:
            use_run(runs.find(asked).id)
        except RunNotFound as error:
            say(str(error))
    if session.run_id != asked:
        if session.run_id is None:
            st.query_params.pop(_RUN_PARAMETER, None)
        else:
            st.query_params[_RUN_PARAMETER] = session.run_id
    session.url_run_id = session.run_id


def visible_runs() -> list[runs.Run]:
    """The runs this session made or opened, newest first; all on this machine in local mode."""
    if os.environ.get("DIGITLAB_LOCAL") == "1":
        return list(runs.all_runs())
    return [runs.Run(run_id, runs.root()) for run_id in _session().own_runs]


# --- the rest -----------------------------------------------------------------------------------------------------------


def say(message: str) -> None:
    """Keep a message for the top of the page at the next run of the script."""
    _session().messages.append(message)


def take_messages() -> list[str]:
    session = _session()
    messages, session.messages = session.messages, []
    return messages


def was_painted() -> bool:
    """Whether the browser has asked before, which means that it has shown the first page; this call counts as asking."""
    session = _session()
    before, session.is_painted = session.is_painted, True
    return before


def canvas_round() -> int:
    """How often the canvas was cleared: part of its key, so that clearing makes a fresh one."""
    return _session().canvas_round


def clear_canvas() -> None:
    session = _session()
    session.canvas_round += 1
    session.drawing = session.drawing_at_entry = session.ink = None


def keep_drawing(record: dict | None, ink: np.ndarray) -> None:
    """Remember what is on the canvas: its own record of it, and the ink (h, w) float32."""
    session = _session()
    session.drawing, session.ink = record, ink


def ink() -> np.ndarray | None:
    """What is on the canvas, (h, w) float32 0..1, also after a visit to another page."""
    return _session().ink


def drawing_at_entry() -> dict | None:
    """What was on the canvas when the page was opened, to be put back on it."""
    return _session().drawing_at_entry


def enter_page(path: str) -> None:
    """Tell which page is about to be drawn; a canvas on a newly opened page is a new one, with the old drawing."""
    session = _session()
    if session.page != path:
        session.page, session.drawing_at_entry = path, session.drawing
        session.canvas_round += 1
