"""The one door to `st.session_state` and the page's URL: what a visitor's session remembers, behind names.

Key strings live here and nowhere else. A widget's key is no storage: what must last stands here, in the URL or in the run.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import streamlit as st

from core import shipped as reference
from core.data import handwriting as own_hand
from core.data.handwriting import Handwriting
from core.data.splits import Split
from core.errors import DataError, DrawingError, RunNotFound, SpecError, StorageFull
from core.ink import canvas_record
from core.ink.preparation import Ink, Preparation, to_mnist
from core.ink.strokes import Sheet
from core.model import draft as drafts
from core.model import link as share
from core.model import presets
from core.model.draft import Draft
from core.model.specs import MAX_LAYERS, Experiment, LayerSpec, Training
from core.runs import registry, visits
from core.runs.network import Network
from core.runs.run import Run
from ui.headers import visit_token

_KEY = "digitlab"
_RUN_PARAMETER, _NETWORK_PARAMETER = "run", "net"
MAX_UNDO = 100
MOST_UNDO_KEPT = 20  # drafts of either way, beyond the session
EXPLAINED_FROM = tuple(one for one in Split if one is not Split.MINE)
DRAW_PARTS = ("One digit", "A whole number", "My handwriting")
DRAW_SOURCES = ("Canvas", "Live pad", "Picture", "Camera")
MOST_FILES_KNOWN = 1000  # ids of files that were read
BARE = {
    "digit": Sheet((), 400, 400),
    "number": Sheet((), 640, 280),
    "pad": Sheet((), 400, 400),
}  # CSS pixels, on a wide screen
MOST_DRAWN = 24  # drawings of a session that are kept to be brought back


@dataclass(frozen=True, eq=False)
class Drawn:
    """Something that was drawn in this session.

    Attributes:
        number: tells drawings apart.
        source: one of `DRAW_SOURCES`.
        ink: the sheet with its strokes, or of a picture (h, w) uint8.
        image: what the network saw of it, (28, 28) uint8.
        digit: how it was read; None for no digit.
    """

    number: int
    source: str
    ink: Sheet | np.ndarray
    image: np.ndarray
    digit: int | None


@dataclass
class _Canvas:
    """A standard canvas. `sheet` is what is on it, `number` that drawing's; `told` is what it was last told to show, by the
    `orders`-th order; `heard` is the number of the last stroke that was taken from it. What can be undone and redone are sheets with
    their drawings' numbers."""

    sheet: Sheet
    told: Sheet
    number: int = 0
    orders: int = 0
    heard: float = 0
    undo: list[tuple[Sheet, int]] = field(default_factory=list)
    redo: list[tuple[Sheet, int]] = field(default_factory=list)


@dataclass
class _Pad:
    """The live pad. `number` is that of the drawing on its sheet; `told` are strokes it was told to show, the `orders`-th time."""

    sheet: Sheet = BARE["pad"]
    told: Sheet = BARE["pad"]
    orders: int = 0
    number: int = 0


@dataclass
class _Session:
    draft: Draft
    undo: list[Draft] = field(default_factory=list)
    redo: list[Draft] = field(default_factory=list)
    edited_at: float = field(default_factory=time.monotonic)
    open_layers: set[int] = field(default_factory=set)
    url_network: str | None = None
    run_id: str | None = None
    url_run_id: str | None = None
    own_runs: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    is_painted: bool = False
    refusals: int = 0
    refused_numbers: dict[str, tuple[float | None, str, str]] = field(default_factory=dict)
    numbers: dict[str, float | None] = field(default_factory=dict)
    is_told_of_shipped: bool = False
    sheets: dict[str, _Canvas] = field(
        default_factory=lambda: {name: _Canvas(BARE[name], BARE[name]) for name in ("digit", "number")}
    )
    pad: _Pad = field(default_factory=lambda: _Pad())
    picture_ink: np.ndarray | None = None
    picture_number: int = 0
    picture_files: list[str] = field(default_factory=list)  # that were read, by Streamlit's ids
    picture_faults: list[str] = field(default_factory=list)
    photo: tuple[int, np.ndarray] | None = None  # with its drawing's number
    unread_pictures: list[tuple[int, str, np.ndarray]] = field(default_factory=list)
    draw_part: str = DRAW_PARTS[0]
    draw_source: str = DRAW_SOURCES[0]
    number_ink: Ink | None = None
    preparation: Preparation = field(default_factory=Preparation)
    is_preparation_shown: bool = False
    looked_up: dict[str, tuple[tuple, Any]] = field(default_factory=dict)
    pen: str = "Medium"
    canvas_round: int = 0
    drawings_begun: int = 0
    drawn: list[Drawn] = field(default_factory=list)
    last_read: tuple[np.ndarray, int] | None = None
    read_at: float = 0.0
    handwriting: Handwriting = field(default_factory=Handwriting)
    last_kept: tuple[np.ndarray, int | None] | None = None
    page: str = ""
    chosen_steps: dict[str, int | None] = field(default_factory=dict)
    moments: dict[str, int] = field(default_factory=dict)
    digit: int = 7
    destination: tuple[str, str] | None = None
    preview_seed: int = 0
    open_tests: set[Network] = field(default_factory=set)
    explained: tuple[Split, int | None] = (Split.VALIDATION, None)
    upload: np.ndarray | None = None
    explained_unit: tuple[str, tuple[int, ...]] = ("", ())
    pointed_unit: tuple[int, ...] | None = None
    places: dict[str, int] = field(default_factory=dict)
    clicked_places: dict[str, int] = field(default_factory=dict)
    wanted: dict[object, bool] = field(default_factory=dict)
    shown: dict[str, tuple[str, Any]] = field(
        default_factory=dict
    )  # keys of widgets by their names, and what they were drawn with
    visitor: str = ""
    is_lasting: bool = False  # whether what is made here is kept beyond the session
    kept: dict[str, Any] = field(default_factory=dict)


def _session() -> _Session:
    if _KEY not in st.session_state:
        st.session_state[_KEY] = _begun()
    return st.session_state[_KEY]


def widget_value(key: str) -> Any:
    """What the widget with this key holds now; for its own on_change callback."""
    return st.session_state[key]


def show_in_widget(key: str, value: Any) -> None:
    """Have the widget with this key, which is about to be drawn, hold `value`; one that holds it is left alone.

    Where a widget would else begin with nothing, its first or its lowest value, give it this one as its default too: a browser
    that has lost what a widget holds shows its default, and sends that.
    """
    if key not in st.session_state or st.session_state[key] != value:
        st.session_state[key] = value


def showing(
    name: str, value: Any, act: Callable[[Any], None], meaning: Callable[[Any], Any] = lambda held: held
) -> dict[str, Any]:
    """Return `key` and `on_change` for a widget that is about to be drawn and is to hold `value`, as `show_in_widget` has it. A click
    on it gives `act` what it holds then.

    Whatever a page asks for, a fragment's clock too, brings what its widgets held when it was sent. Where the lab has changed or
    removed one meanwhile, Streamlit takes that for a click. So a widget that the lab changes gets another key, and one that is gone, or
    holds what it was drawn with, is not heard.

    Args:
        meaning: what a value stands for, where two of them are written differently and mean the same. Such a widget keeps its key,
            and with it the focus.
    """
    shown = _session().shown
    key, _ = shown.get(name, (name, value))
    if meaning(st.session_state.get(key, value)) != meaning(value):
        key = f"{name}-{secrets.token_hex(4)}"
    show_in_widget(key, value)
    shown[name] = key, value

    def clicked() -> None:
        shown_key, before = shown[name]
        chosen = st.session_state.get(key, before)
        if key == shown_key and meaning(chosen) != meaning(before):
            shown[name] = key, chosen
            act(chosen)

    return {"key": key, "on_change": clicked}


def component_value(key: str) -> dict[str, Any]:
    """Return what a component of ours says; nothing for one that is gone, of which a late request still speaks."""
    return st.session_state.get(key) or {}


# --- the visit ----------------------------------------------------------------------------------------------------------


def visitor() -> str:
    """Return who visits, in `core.runs.visits`: the owner of the runs that they begin."""
    return _session().visitor


def is_lasting() -> bool:
    """Return whether what is made here is kept beyond the session."""
    return _session().is_lasting


def keep_visit() -> None:
    """Have what was changed since the last call kept beyond the session, where it can be. To be called after callbacks: by the frame,
    and by fragments in which something that lasts is changed, since the frame is not drawn for those.
    """
    session = _session()
    if session.is_lasting and visits.fault(registry.root(), session.visitor):
        _stop_lasting()
    if not session.is_lasting:
        return
    now, before = _lasting(session), session.kept
    changes = {name: value for name, value in now.items() if value != before[name]}
    if changes:
        session.kept = now
        surfaces = {name: value for name, value in now["surfaces"].items() if value != before["surfaces"][name]}
        visits.keep(registry.root(), session.visitor, **{**changes, "surfaces": surfaces})


def _visitor() -> tuple[str, bool]:
    """Return who visits, and whether they are known again: by their browser's cookie, else for this session alone."""
    token = visit_token(st.context.cookies)
    return visits.visitor(token or secrets.token_urlsafe()), token is not None


def _begun() -> _Session:
    """Return a session that begins with what its visitor left behind."""
    session = _Session(drafts.of_preset(presets.FIRST_CNN.name))
    session.visitor, session.is_lasting = _visitor()
    if session.is_lasting:
        session.kept = _lasting(session)
        try:
            _take_up(session, visits.recall(registry.root(), session.visitor))
        except DataError as error:
            session.messages.append(str(error))
    return session


def _take_up(session: _Session, visit: visits.Visit) -> None:
    """Put what a visitor left behind into their new session. A picture they gave is not kept, which is said."""
    if visit.edits is not None:
        session.draft, session.undo, session.redo = visit.edits.draft, [*visit.edits.undo], [*visit.edits.redo]
    if visit.runs:
        here = {run.id for run in registry.all_runs()}
        session.own_runs = [run_id for run_id in visit.runs if run_id in here]
        session.run_id = visit.run if visit.run in here else None
    _put_on_surfaces(session, visit)
    session.kept = {**_lasting(session), "day": visit.day or visits.today()}


def _lasting(session: _Session) -> dict[str, Any]:
    """Return what is kept of a session beyond it, as the fields of `visits.Visit`."""
    undo, redo = tuple(session.undo[-MOST_UNDO_KEPT:]), tuple(session.redo[-MOST_UNDO_KEPT:])
    return {
        "edits": visits.Edits(session.draft, undo, redo),
        "runs": tuple(session.own_runs),
        "run": session.run_id,
        "surfaces": _on_surfaces(session),
        "drawn_on": (session.draw_part, session.draw_source),
        "has_picture": session.picture_ink is not None,
        "day": visits.today(),
    }


def _stop_lasting() -> None:
    """Have what is made from now on last as long as the session, and say so."""
    session = _session()
    with suppress(DataError):
        session.handwriting = own_hand.at(visits.folder(registry.root(), session.visitor))
    session.is_lasting = False
    say(
        "What you draw, keep and build from now on lasts only as long as this tab is open, since the server can't keep it. Download "
        "your handwriting and copy Build's link to have them again."
    )


# --- the experiment being edited ----------------------------------------------------------------------------------------


def draft() -> Draft:
    return _session().draft


def training() -> Training:
    return draft().training


def layer(layer_id: int) -> LayerSpec:
    return draft().layer(layer_id)


def edit(new: Draft) -> None:
    """Put a new draft in place of the old one, which `undo` brings back."""
    session = _session()
    if new != session.draft:
        session.undo = [*session.undo[-MAX_UNDO:], session.draft]
        session.redo.clear()
        _take(new)


def use_preset(name: str) -> None:
    edit(drafts.of_preset(name))


def use_network(layers: tuple[LayerSpec, ...]) -> None:
    """Other layers in place of those that are on."""
    edit(draft().with_network(layers))


def use_experiment(experiment: Experiment) -> None:
    """Other layers in place of those that are on, and another training; under another preset's name where that is nearer."""
    changed = draft().with_network(experiment.layers).with_training(experiment.training)
    edit(min(changed, drafts.of_experiment(experiment), key=lambda one: one.differences.count))


def edit_training(new: Training) -> None:
    edit(draft().with_training(new))


def edit_layer(layer_id: int, new: LayerSpec) -> None:
    edit(draft().with_layer(layer_id, new))


def add_layer(new: LayerSpec) -> None:
    """Put a layer last, and open it."""
    edit(draft().with_added(new))
    _session().open_layers.add(draft().layer_ids[-1])


def copy_layer(layer_id: int) -> None:
    edit(draft().with_copy(layer_id))


def remove_layer(layer_id: int) -> None:
    edit(draft().without(layer_id))


def move_layer(layer_id: int, by: int) -> None:
    """One place up (-1) or down (+1); at the ends it stays."""
    edit(draft().with_moved(layer_id, by))


def switch_layer(layer_id: int) -> None:
    """Off, if it is on; on, if it is off and there is room."""
    new = draft().with_switched(layer_id)
    if len(new.on) > MAX_LAYERS:
        say(f"A stack holds at most {MAX_LAYERS} layers. Remove one, or switch another off first.")
    else:
        edit(new)


def remove_all_layers() -> None:
    edit(draft().cleared())


def has_room() -> bool:
    """Whether the stack takes one more layer."""
    return len(draft().layers) < MAX_LAYERS


def undo() -> None:
    session = _session()
    if session.undo:
        session.redo.append(session.draft)
        _take(session.undo.pop())


def redo() -> None:
    session = _session()
    if session.redo:
        session.undo.append(session.draft)
        _take(session.redo.pop())


def can_undo() -> bool:
    return bool(_session().undo)


def can_redo() -> bool:
    return bool(_session().redo)


def seconds_since_edit() -> float:
    """How long the draft has been what it is."""
    return time.monotonic() - _session().edited_at


def is_open(layer_id: int) -> bool:
    """Whether a layer shows its arguments."""
    return layer_id in _session().open_layers


def open_or_close(layer_id: int) -> None:
    _session().open_layers ^= {layer_id}


def link(address: str) -> str:
    """The address of a page, with the draft in it."""
    return f"{address}?{_NETWORK_PARAMETER}={share.link_text(draft().experiment)}"


def draft_version() -> str:
    """Changes with every refusal, so that widgets are made anew with the draft's values."""
    return f"{_session().refusals}"


def refuse(message: str) -> None:
    """Say why an edit can't be, and let its widget go back to what the draft holds."""
    _session().refusals += 1
    say(message)


def refused_number(key: str, value: float | None) -> tuple[str, str] | None:
    """What was typed into a number's field and refused, and why; None where that is not so, or the field has come to stand for
    another value since."""
    before, text, why_not = _session().refused_numbers.get(key, (None, "", ""))
    return (text, why_not) if why_not and before == value else None


def refuse_number(key: str, value: float | None, text: str, why_not: str) -> None:
    """Keep what was typed in its field, which goes on standing for `value`."""
    _session().refused_numbers[key] = value, text, why_not


def accept_number(key: str) -> None:
    _session().refused_numbers.pop(key, None)


def number(name: str, usual: float | None) -> float | None:
    """A number of the page that is part of neither draft nor run, by its name: as it was last set, else as is usual."""
    return _session().numbers.get(name, usual)


def set_number(name: str, value: float | None) -> None:
    _session().numbers[name] = value


def _take(new: Draft) -> None:
    session = _session()
    session.draft, session.edited_at = new, time.monotonic()


# --- the run in use -----------------------------------------------------------------------------------------------------


def run_in_use() -> Run | None:
    """The run that Evaluate, Explain and Draw are about: the one this visitor chose, else the one that is shipped."""
    return chosen_run() or shipped_run()


def shipped_run() -> Run | None:
    """The run that came with the lab, and once why it is all there can be; None in a lab without it."""
    run, why_not = reference.installed(registry.root())
    if why_not and not _session().is_told_of_shipped:
        _session().is_told_of_shipped = True
        say(why_not)
    return run


def chosen_run() -> Run | None:
    """The run that this visitor began or opened last."""
    session = _session()
    if session.run_id is None:
        return None
    try:
        return find_run(session.run_id)
    except RunNotFound as error:
        say(str(error))
        forget_run(session.run_id)
        return None


def find_run(run_id: str) -> Run:
    """The run with this id, the shipped one wherever it could be put.

    Raises:
        RunNotFound: if there is none, or it can't be an id.
    """
    shipped = shipped_run()
    return shipped if shipped is not None and shipped.id == run_id else registry.find(run_id)


def use_run(run_id: str) -> None:
    """Take a run into use and into this session's list."""
    session = _session()
    session.run_id = run_id
    with suppress(RunNotFound):
        find_run(run_id).note_opened()
    if run_id not in session.own_runs:
        session.own_runs.insert(0, run_id)


def forget_run(run_id: str) -> None:
    """Take a run out of this session's list; where it was in use, the newest that is left takes its place."""
    session = _session()
    session.own_runs = [own for own in session.own_runs if own != run_id]
    session.run_id = next(iter(session.own_runs), None) if session.run_id == run_id else session.run_id


def chosen_step(run_id: str) -> int | None:
    """After how many batches this visitor wants a run's network; None for its best epoch's end."""
    return _session().chosen_steps.get(run_id)


def choose_step(run_id: str, step: int | None) -> None:
    session = _session()
    session.chosen_steps = {**session.chosen_steps, run_id: step}


def moment(run_id: str, steps: list[int]) -> int:
    """Which of the kept steps the time machine is at: the one nearest to what was chosen, the last while nothing was."""
    chosen = _session().moments.get(run_id)
    return steps[-1] if chosen is None else min(steps, key=lambda step: abs(step - chosen))


def go_to_moment(run_id: str, step: int) -> None:
    _session().moments[run_id] = step


def watched_digit() -> int:
    """The digit, 0..9, whose feature maps this visitor wants to see."""
    return _session().digit


def watch_digit(digit: int) -> None:
    _session().digit = digit


def preview_seed() -> int:
    """Which of many possible changes the augmentation's preview shows."""
    return _session().preview_seed


def other_preview() -> None:
    _session().preview_seed += 1


def head_for(page: str, message: str) -> None:
    """Have the script go to a page as soon as it may, with a message: a callback can't."""
    _session().destination = page, message


def take_destination() -> tuple[str, str] | None:
    session = _session()
    destination, session.destination = session.destination, None
    return destination


def follow_url() -> None:
    """Take up the network and open the run that the address names; keep the address naming the run in use."""
    _follow_network()
    session, asked = _session(), st.query_params.get(_RUN_PARAMETER)
    if asked and asked != session.url_run_id:
        try:
            use_run(find_run(share.run_id_of(asked)).id)
        except RunNotFound as error:
            say(str(error))
    if session.run_id != asked:
        if session.run_id is None:
            st.query_params.pop(_RUN_PARAMETER, None)
        else:
            st.query_params[_RUN_PARAMETER] = session.run_id
    session.url_run_id = session.run_id


def _follow_network() -> None:
    """Each value once: what is made of it afterwards stays, also where the address still says the old."""
    session, asked = _session(), st.query_params.get(_NETWORK_PARAMETER)
    if asked is None or asked == session.url_network:
        return
    session.url_network = asked
    if session.is_lasting:  # a page that is loaded again shows what became of the network since
        del st.query_params[_NETWORK_PARAMETER]
    try:
        edit(drafts.of_experiment(share.experiment_of(asked)))
    except SpecError as error:
        say(str(error))


def visible_runs() -> list[Run]:
    """The runs this session made or opened, and the one that is shipped; all on this machine in local mode."""
    shipped = shipped_run()
    ids = (run.id for run in registry.all_runs()) if is_local() else _session().own_runs
    own = [Run(run_id, registry.root()) for run_id in ids if shipped is None or run_id != shipped.id]
    return [run for run in [*own, shipped] if run is not None and run.exists()]


def is_local() -> bool:
    """Whether everything on this machine is this visitor's own."""
    return os.environ.get("DIGITLAB_LOCAL") == "1"


# --- the test set -------------------------------------------------------------------------------------------------------


def is_test_open(network: Network) -> bool:
    """Return whether this visitor opened the test set for a network."""
    return network in _session().open_tests


def open_test(network: Network) -> None:
    """Open the test set for a network, which its run's folder keeps count of.

    Raises:
        RunError: if the run is gone, or its count can't be read or written.
    """
    if not is_test_open(network):
        registry.find(network.run.id, network.run.root).open_test(network.step)
        _session().open_tests.add(network)


# --- the digit being explained ------------------------------------------------------------------------------------------


def explained() -> tuple[Split, int | None]:
    """Where the digit that Explain is about comes from, one of `EXPLAINED_FROM`, and its index there; None for the first."""
    return _session().explained


def explain_digit(source: Split, index: int | None = None) -> None:
    """Have Explain be about another digit.

    Args:
        source: one of `EXPLAINED_FROM`.
        index: into the images of the training file for "train" and "validation", into those of the test file for "test"; for
            "drawing" its number; means nothing for "upload", of which there is one. None for the first, and the newest drawing.
    """
    if source not in EXPLAINED_FROM:
        raise ValueError(f"Expected a source among {', '.join(EXPLAINED_FROM)}, received {source!r}.")
    _session().explained = source, None if index is None else int(index)


def explained_unit() -> tuple[str, tuple[int, ...]]:
    """The layer and the place in it whose arithmetic is shown; a network in use may have no such."""
    return _session().explained_unit


def explain_unit(layer: str, place: tuple[int, ...]) -> None:
    """Show another number's arithmetic.

    Args:
        place: (row, column, channel) or (unit,).
    """
    _session().explained_unit = layer, place


def pointed_unit() -> tuple[int, ...] | None:
    """The place on the map on show that is pointed at, in whose arithmetic the chosen one's is replaced meanwhile."""
    return _session().pointed_unit


def point_at_unit(place: tuple[int, ...] | None) -> None:
    _session().pointed_unit = place


def upload() -> np.ndarray | None:
    """The picture that was uploaded last, made the way MNIST's were: (28, 28) uint8."""
    return _session().upload


def keep_upload(image: np.ndarray) -> None:
    _session().upload = image


# --- leafing through the digits -----------------------------------------------------------------------------------------


def place(order: str) -> int:
    """Which digit of an ordered selection is looked at, counted from 0."""
    return _session().places.get(order, 0)


def go_to_place(order: str, place: int) -> None:
    _session().places[order] = place


def click_place(order: str, place: int | None) -> None:
    """Go where a sheet was clicked. None stands for a second click on the same digit, by which a chart lets it go: that digit
    is meant again, also where the arrow keys have led away from it meanwhile."""
    session = _session()
    if place is not None:
        session.clicked_places[order] = place
    go_to_place(order, session.clicked_places.get(order, 0))


# --- one's own handwriting ----------------------------------------------------------------------------------------------


def handwriting() -> Handwriting:
    """The drawings that were kept with their labels: one's own on one's own machine, else the visitor's, or the session's where that
    is all that is known of them.

    Raises:
        DataError: if the file of one's own machine can't be used.
    """
    if is_local():
        return own_hand.at(registry.root())
    if is_lasting():
        try:
            return own_hand.at(visits.folder(registry.root(), visitor()))
        except DataError:
            _stop_lasting()
    return _session().handwriting


def change_handwriting(changed: Callable[[Handwriting], Handwriting]) -> None:
    """Put what a function makes of the handwriting in its place.

    Raises:
        DataError: if there is no room for more, or the file of one's own machine can't be used.
        StorageFull: if that can't be written.
    """
    if is_local():
        own_hand.change(registry.root(), changed)
    elif not _change_for_good(changed):
        _session().handwriting = changed(_session().handwriting)
    _session().last_kept = None


def _change_for_good(changed: Callable[[Handwriting], Handwriting]) -> bool:
    """Change the visitor's handwriting beyond the session; return whether that can be."""
    if not is_lasting():
        return False
    try:
        own_hand.change(visits.folder(registry.root(), visitor()), changed)
    except StorageFull:
        _stop_lasting()
        return False
    visits.keep(registry.root(), visitor())  # that they were here
    return True


def keep_in_handwriting(image: np.ndarray, label: int) -> None:
    """Keep a drawing, (28, 28) uint8, with what it was meant to be. Raises as `change_handwriting`."""
    before = handwriting()
    place = before.index(image)
    change_handwriting(lambda now: now.kept(image, label))
    _session().last_kept = image, None if place is None else int(before.labels[place])


def can_undo_keeping(image: np.ndarray) -> bool:
    """Whether the last change was to keep this drawing, (28, 28) uint8."""
    kept = _session().last_kept
    return kept is not None and np.array_equal(kept[0], image)


def undo_keeping() -> None:
    """Have the drawing that was kept last be as it was before: not kept, or with another label. Raises as `change_handwriting`."""
    if _session().last_kept is None:
        return
    image, label = _session().last_kept

    def undone(now: Handwriting) -> Handwriting:
        place = now.index(image)
        if place is None:
            return now
        return now.without(place) if label is None else now.relabelled(place, label)

    change_handwriting(undone)


# --- what goes on in the background -------------------------------------------------------------------------------------


def is_wanted(question: object, by_itself: bool) -> bool:
    """Return whether this visitor wants a question answered: as they last said, else as it goes `by_itself`."""
    return _session().wanted.get(question, by_itself)


def want(question: object, is_wanted: bool) -> None:
    _session().wanted[question] = is_wanted


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


def enter_page(path: str) -> None:
    """Tell which page is about to be drawn; a canvas on a newly opened page is a new one, with the old drawing."""
    session = _session()
    if session.page != path:
        session.page = path
        _renew_surfaces()


# --- the drawings -------------------------------------------------------------------------------------------------------


def draw_part() -> str:
    """Which part of the Draw page is shown, one of `DRAW_PARTS`."""
    return _session().draw_part


def choose_draw_part(part: str) -> None:
    _session().draw_part = part
    _renew_surfaces()


def read_as_number(ink: Ink) -> None:
    """Have what was drawn as one digit be read as a whole number, until another is written."""
    choose_draw_part(DRAW_PARTS[1])
    _session().number_ink = ink


def number_ink() -> Ink | None:
    """What is read as a whole number in place of what is on that canvas; None where that is."""
    return _session().number_ink


def write_number() -> None:
    """Have what is on the wide canvas be the whole number again."""
    _session().number_ink = None
    _renew_surfaces()


def draw_source() -> str:
    """What one draws on, one of `DRAW_SOURCES`."""
    return _session().draw_source


def choose_draw_source(source: str) -> None:
    """Draw on something else; what is on it already is the drawing."""
    _session().draw_source = source
    _session().picture_faults = []
    _renew_surfaces()


def ink() -> Ink | None:
    """What is drawn, on the surface in use or in the picture given; also after a visit to another page."""
    session = _session()
    return {"Canvas": session.sheets["digit"].sheet, "Live pad": session.pad.sheet}.get(
        session.draw_source, session.picture_ink
    )


def drawing_number() -> int:
    """The number of the drawing in use, which tells it apart from the others of this session."""
    session = _session()
    return {"Canvas": session.sheets["digit"].number, "Live pad": session.pad.number}.get(
        session.draw_source, session.picture_number
    )


def pen() -> str:
    """The pen for the canvas, by its name."""
    return _session().pen


def take_pen(name: str) -> None:
    _session().pen = name


def canvas_key(sheet: str) -> str:
    """The key of a canvas' component; new where the canvas is opened anew, else it stays, or two would be seen for a moment."""
    return f"canvas-{sheet}-{_session().canvas_round}"


def sheet(name: str) -> Sheet:
    """What is on a canvas."""
    return _session().sheets[name].sheet


def told_canvas(name: str) -> dict:
    """The record that a canvas is to show first, and at once whenever this changes."""
    held = _session().sheets[name]
    return canvas_record.shown(held.told.strokes, held.orders)


def canvas_order(name: str) -> tuple[int, float]:
    """The number of the order that a canvas was given last, and of the last stroke that was taken from it."""
    held = _session().sheets[name]
    return held.orders, held.heard


def hear_canvas(name: str, drawn: list[canvas_record.Drawn]) -> None:
    """Take what was drawn on a canvas; what was taken already is left out. Strokes only ever come from the page and only ever go by
    an order, so one that was begun before an order was there is no less drawn, and the canvas is told to show it again.

    Raises:
        DrawingError: if there is more on it then than can be a drawing; what is too much is not taken.
    """
    held = _session().sheets[name]
    for one in drawn:
        if one.number <= held.heard:
            continue
        held.heard = one.number
        before, begun_under = held.sheet, held.orders
        try:
            after = before.erased(one.stroke) if one.is_erasing else before.drawn(one.stroke)
            canvas_record.require_room(after)
        except DrawingError:
            _tell_canvas(name, before)
            raise
        if after != before:
            _note_for_undo(name)
            if not before.any():
                held.number = _begin_drawing()
            held.sheet = after
        if one.is_erasing or one.order != begun_under:
            _tell_canvas(name, after)


def _tell_canvas(name: str, sheet: Sheet) -> None:
    """Have a canvas show a sheet."""
    held = _session().sheets[name]
    held.orders += 1
    held.sheet = held.told = sheet


def clear_canvas(name: str = "digit") -> None:
    _note_for_undo(name)
    _tell_canvas(name, BARE[name])


def undo_stroke(name: str) -> None:
    held = _session().sheets[name]
    if held.undo:
        held.redo.append((held.sheet, held.number))
        sheet, held.number = held.undo.pop()
        _tell_canvas(name, sheet)


def redo_stroke(name: str) -> None:
    held = _session().sheets[name]
    if held.redo:
        held.undo.append((held.sheet, held.number))
        sheet, held.number = held.redo.pop()
        _tell_canvas(name, sheet)


def can_undo_stroke(sheet: str) -> bool:
    return bool(_session().sheets[sheet].undo)


def can_redo_stroke(sheet: str) -> bool:
    return bool(_session().sheets[sheet].redo)


def drawings() -> dict[int, np.ndarray]:
    """Return what this visitor drew, by the drawings' numbers, the newest first: each as a network sees it, (28, 28) uint8. The one
    that is there now is among them though no network has read it."""
    earlier = {one.number: one.image for one in reversed(drawn())}
    here = ink()
    if here is None or not here.any():
        return earlier
    number = drawing_number()
    return {number: to_mnist(here, preparation())} | {k: v for k, v in earlier.items() if k != number}


def pad_sheet() -> Sheet:
    """What is on the live pad."""
    return _session().pad.sheet


def hear_pad(sheet: Sheet) -> None:
    """Take what the live pad says is on it."""
    pad = _session().pad
    if sheet.any() and not pad.sheet.any():
        pad.number = _number_on_pad(sheet) or _begin_drawing()
    pad.sheet = sheet


def pad_key() -> str:
    return f"pad-{_session().canvas_round}"


def told_pad() -> tuple[int, Sheet]:
    """What the live pad is to show, and the number of that order, which it obeys once."""
    pad = _session().pad
    return pad.orders, pad.told


def keep_picture(photo: np.ndarray, ink: np.ndarray) -> None:
    """Have the ink that was found in a picture be the drawing, (h, w) float32 both."""
    session = _session()
    session.picture_ink, session.picture_number = ink, _begin_drawing()
    session.photo = session.picture_number, np.rint(photo * 255).astype(np.uint8)
    session.unread_pictures.append((session.picture_number, session.draw_source, ink))
    del session.unread_pictures[:-MOST_DRAWN]


def photo() -> np.ndarray | None:
    """The picture that the drawing in use was found in, (h, w) float32 0..1; None for one that was drawn, or is no longer at hand."""
    session = _session()
    is_there = session.photo is not None and session.photo[0] == drawing_number()
    return session.photo[1].astype(np.float32) / 255 if is_there else None


def find_ink_anew(ink: np.ndarray) -> None:
    """Have this be the ink of the picture that is the drawing, (h, w) float32."""
    _session().picture_ink = ink


def has_picture_file(file_id: str) -> bool:
    """Whether a file was read already, by Streamlit's id."""
    return file_id in _session().picture_files


def note_picture_files(file_ids: list[str], faults: list[str]) -> None:
    """Remember files that were read just now, and what is to be said of them until others are."""
    session = _session()
    session.picture_files = [*session.picture_files, *file_ids][-MOST_FILES_KNOWN:]
    session.picture_faults = faults


def picture_faults() -> list[str]:
    """What was wrong with the files read last."""
    return _session().picture_faults


def unread_pictures() -> list[tuple[int, str, np.ndarray]]:
    """Pictures that were not read yet, each with its drawing's number and what it was given by, of `DRAW_SOURCES`."""
    return _session().unread_pictures


def preparation() -> Preparation:
    """Which steps of the preparation are on."""
    return _session().preparation


def prepare_by(step: str, is_on: bool) -> None:
    """Switch a step of the preparation, by its name in `Preparation`."""
    _session().preparation = replace(preparation(), **{step: is_on})


def is_preparation_shown() -> bool:
    """Whether this visitor looks at the preparation step by step."""
    return _session().is_preparation_shown


def show_preparation(is_shown: bool) -> None:
    _session().is_preparation_shown = is_shown


def keep_reading(image: np.ndarray, digit: int | None) -> None:
    """Remember how the drawing was read, and the drawing among those of this session.

    Args:
        image: what the network saw, (28, 28) uint8.
        digit: None for no digit.
    """
    session = _session()
    if session.last_read is None or not np.array_equal(session.last_read[0], image):
        session.read_at = time.monotonic()
    session.last_read = image, digit
    session.unread_pictures.clear()
    keep_drawn(drawing_number(), session.draw_source, ink(), image, digit)


def keep_drawn(number: int, source: str, ink: Ink, image: np.ndarray, digit: int | None) -> None:
    """Remember a drawing among those of this session; a number that is there already is the same one, drawn further.

    Args: as the fields of `Drawn`, but for a picture's ink, (h, w) float32.
    """
    session = _session()
    kept = ink if isinstance(ink, Sheet) else np.rint(ink * 255).astype(np.uint8)
    new = Drawn(number, source, kept, image, digit)
    others = [one for one in session.drawn if one.number != number]
    session.drawn = [*others[1 - MOST_DRAWN :], new]


def last_drawing() -> np.ndarray | None:
    """The drawing last read, on whatever it was drawn, as the network saw it: (28, 28) uint8."""
    return _session().last_read[0] if _session().last_read else None


def last_digit() -> int | None:
    """How the drawing last read was read; None for no digit."""
    return _session().last_read[1] if _session().last_read else None


def looked_up(question: str, key: tuple) -> Any:
    """What was found for exactly this question; None where it was another."""
    held = _session().looked_up.get(question)
    return held[1] if held and held[0] == key else None


def looked_up_last(question: str) -> Any:
    """What was found for the last such question, to stand until the next is answered."""
    held = _session().looked_up.get(question)
    return held[1] if held else None


def keep_looked_up(question: str, key: tuple, found: Any) -> None:
    if found is not None:
        _session().looked_up[question] = key, found


def seconds_since_reading() -> float:
    """For how long the last drawing has been as it is."""
    return time.monotonic() - _session().read_at


def drawn() -> list[Drawn]:
    """What was drawn in this session, the newest last."""
    return _session().drawn


def bring_back(number: int) -> None:
    """Have an earlier drawing be the drawing again, on what it was drawn on."""
    session = _session()
    found = next((drawn for drawn in session.drawn if drawn.number == number), None)
    if found is None:
        return
    is_elsewhere = (session.draw_source, session.draw_part) != (found.source, DRAW_PARTS[0])
    session.draw_source, session.draw_part = found.source, DRAW_PARTS[0]
    if found.source == "Canvas":
        _note_for_undo("digit")
        _tell_canvas("digit", found.ink)
        session.sheets["digit"].number = number
    elif found.source == "Live pad":
        session.pad = _Pad(found.ink, found.ink, session.pad.orders + 1, number)
    else:
        session.picture_ink, session.picture_number = found.ink.astype(np.float32) / 255, number
    if is_elsewhere:
        _renew_surfaces()
    session.drawn = [*(drawn for drawn in session.drawn if drawn is not found), found]


def _begin_drawing() -> int:
    """The number of a drawing that begins."""
    return _next_drawing(_session())


def _next_drawing(session: _Session) -> int:
    session.drawings_begun += 1
    return session.drawings_begun


def _number_on_pad(sheet: Sheet) -> int | None:
    """The number of the drawing that begins with exactly these strokes: taken off the pad, and put back by its undo or redo."""
    earlier = (drawn for drawn in _session().drawn if drawn.source == "Live pad")
    count = len(sheet.strokes)
    return next((one.number for one in earlier if one.ink.strokes[:count] == sheet.strokes), None)


def _note_for_undo(sheet: str) -> None:
    """What is on a canvas is about to become something else, by hand or by order."""
    held = _session().sheets[sheet]
    held.undo = [*held.undo[-MAX_UNDO:], (held.sheet, held.number)]
    held.redo.clear()


def _renew_surfaces() -> None:
    """What one draws on is about to be made anew, and shows what was on it."""
    session = _session()
    session.canvas_round += 1
    for held in session.sheets.values():
        held.told, held.orders = held.sheet, held.orders + 1
    session.pad.orders, session.pad.told = session.pad.orders + 1, session.pad.sheet


def _on_surfaces(session: _Session) -> dict[str, visits.Surface]:
    """Return what is drawn on each surface."""
    canvases = {name: visits.Surface(held.sheet, held.heard) for name, held in session.sheets.items()}
    return {**canvases, "pad": visits.Surface(session.pad.sheet)}


def _put_on_surfaces(session: _Session, visit: visits.Visit) -> None:
    """Have what was drawn in an earlier session be the drawing, on what it was drawn on."""
    for name, kept in visit.surfaces.items():
        if name not in BARE or (kept.sheet.width, kept.sheet.height) != (BARE[name].width, BARE[name].height):
            continue  # of another version
        held = session.pad if name == "pad" else session.sheets[name]
        held.sheet, held.number = kept.sheet, _next_drawing(session)
        if name != "pad":
            held.heard = kept.heard
    part, source = visit.drawn_on
    if part in DRAW_PARTS and source in DRAW_SOURCES:
        session.draw_part, session.draw_source = part, source
    if visit.has_picture and session.draw_source in ("Picture", "Camera"):
        session.messages.append("The picture you gave was let go while this page was away. Choose it again.")
