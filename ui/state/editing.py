"""The experiment being edited: the draft with its undo, which layers are open, and the link to it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from core.errors import SpecError
from core.model import draft as drafts
from core.model import link as links
from core.model import presets
from core.model.draft import Draft
from core.model.specs import MAX_LAYERS, Experiment, LayerSpec, Training
from ui.state import session
from ui.state.session import MAX_UNDO, part

_NETWORK_PARAMETER = "net"


@dataclass
class Editing:
    """The draft, and the drafts that undo and redo lead to.

    Attributes:
        undo, redo: drafts, the next one last.
        edited_at: the time of the last edit, in seconds on the monotonic clock.
        open_layers: ids of those that show their arguments.
        refusals: number of refused edits.
        url_network: the network that was last found in the address.
    """

    draft: Draft = field(default_factory=lambda: drafts.of_preset(presets.FIRST_CNN.name))
    undo: list[Draft] = field(default_factory=list)
    redo: list[Draft] = field(default_factory=list)
    edited_at: float = field(default_factory=time.monotonic)
    open_layers: set[int] = field(default_factory=set)
    refusals: int = 0
    url_network: str | None = None


def draft() -> Draft:
    """Return the draft being edited."""
    return part(Editing).draft


def training() -> Training:
    """Return the draft's training."""
    return draft().training


def layer(layer_id: int) -> LayerSpec:
    """Return a layer of the draft by its id, on or off."""
    return draft().layer(layer_id)


def edit(new: Draft) -> None:
    """Put a new draft in place of the old one, which `undo` brings back."""
    editing = part(Editing)
    if new != editing.draft:
        editing.undo = [*editing.undo[-MAX_UNDO:], editing.draft]
        editing.redo.clear()
        _take(new)


def use_preset(name: str) -> None:
    """Begin the draft anew from a preset, by its name in `presets`; `undo` brings the old one back."""
    edit(drafts.of_preset(name))


def use_network(layers: tuple[LayerSpec, ...]) -> None:
    """Put other layers in place of those that are on."""
    edit(draft().with_network(layers))


def use_experiment(experiment: Experiment) -> None:
    """Put other layers and another training in place of the current ones, under another preset's name if that is
    nearer.
    """
    changed = draft().with_network(experiment.layers).with_training(experiment.training)
    edit(min(changed, drafts.of_experiment(experiment), key=lambda one: one.differences.count))


def edit_training(new: Training) -> None:
    """Put another training in place of the draft's."""
    edit(draft().with_training(new))


def edit_layer(layer_id: int, new: LayerSpec) -> None:
    """Put another layer in the place of one, under its id."""
    edit(draft().with_layer(layer_id, new))


def add_layer(new: LayerSpec) -> None:
    """Put a layer last, and open it."""
    edit(draft().with_added(new))
    part(Editing).open_layers.add(draft().layer_ids[-1])


def copy_layer(layer_id: int) -> None:
    """Put a copy of a layer, with an id of its own, right after it."""
    edit(draft().with_copy(layer_id))


def remove_layer(layer_id: int) -> None:
    """Take a layer out of the stack, by its id."""
    edit(draft().without(layer_id))


def move_layer(layer_id: int, by: int) -> None:
    """Move a layer one place up (-1) or down (+1); at the ends it stays."""
    edit(draft().with_moved(layer_id, by))


def switch_layer(layer_id: int) -> None:
    """Switch a layer off if it is on, or on if it is off and there is room."""
    new = draft().with_switched(layer_id)
    if len(new.on) > MAX_LAYERS:
        session.say(f"A stack holds at most {MAX_LAYERS} layers. Remove one, or switch another off first.")
    else:
        edit(new)


def remove_all_layers() -> None:
    """Empty the stack; the training stays."""
    edit(draft().cleared())


def has_room() -> bool:
    """Return whether the stack takes one more layer."""
    return len(draft().layers) < MAX_LAYERS


def undo() -> None:
    """Go back to the draft before the last edit; without one nothing happens."""
    editing = part(Editing)
    if editing.undo:
        editing.redo.append(editing.draft)
        _take(editing.undo.pop())


def redo() -> None:
    """Take back the last `undo`; after another edit there is none to take back."""
    editing = part(Editing)
    if editing.redo:
        editing.undo.append(editing.draft)
        _take(editing.redo.pop())


def can_undo() -> bool:
    """Return whether there is an edit to undo."""
    return bool(part(Editing).undo)


def can_redo() -> bool:
    """Return whether there is an undo to take back."""
    return bool(part(Editing).redo)


def seconds_since_edit() -> float:
    """Return how many seconds ago the draft was last edited."""
    return time.monotonic() - part(Editing).edited_at


def is_open(layer_id: int) -> bool:
    """Return whether a layer shows its arguments."""
    return layer_id in part(Editing).open_layers


def open_or_close(layer_id: int) -> None:
    """Show the arguments of a layer, or hide them if they are shown."""
    part(Editing).open_layers ^= {layer_id}


def draft_version() -> str:
    """Return a text that changes with every refusal, so that widgets are made anew with the draft's values."""
    return f"{part(Editing).refusals}"


def refuse(message: str) -> None:
    """Tell why an edit is refused, and let its widget go back to the draft's value."""
    part(Editing).refusals += 1
    session.say(message)


def link(address: str) -> str:
    """Return the address of a page, with the draft in it."""
    return f"{address}?{_NETWORK_PARAMETER}={links.link_text(draft().experiment)}"


def follow_url() -> None:
    """Use the network that the address names, once: later edits stay, even while the address still names it."""
    editing, asked = part(Editing), session.parameter(_NETWORK_PARAMETER)
    if asked is None or asked == editing.url_network:
        return
    editing.url_network = asked
    if session.is_lasting():  # a page that is loaded again shows what became of the network since
        session.set_parameter(_NETWORK_PARAMETER, None)
    try:
        edit(drafts.of_experiment(links.experiment_of(asked)))
    except SpecError as error:
        session.say(str(error))


def _take(new: Draft) -> None:
    editing = part(Editing)
    editing.draft, editing.edited_at = new, time.monotonic()
