"""The editor of a stack of layers: the ledger is where the layers are edited."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core.engine import engine
from core.errors import DigitLabError, EngineNotReady
from core.model import script as scripts
from core.model import specs
from core.model.draft import Difference, Draft
from core.model.ledger import Hint, Ledger, Row, refusal
from core.model.presets import Preset
from core.training.questions import TimeEpoch
from core.views import pictures
from ui import messages
from ui.state import editing, session
from ui.widgets import fields, history, repair

HEADING_WIDTH = 260  # CSS pixels, of a layer's name beside its figures
QUIET_SECONDS = 1.5  # without an edit, before an epoch is measured
POLL_SECONDS, PATIENT_SECONDS = 0.75, 5.0


def toolbar(presets: Mapping[str, Preset]) -> None:
    """Choose a preset; go back to it; undo and redo."""
    draft = editing.draft()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        count = draft.differences.count
        names, shown = list(presets), session.showing("preset", draft.preset, editing.use_preset, stays=True)
        st.selectbox("Start from", names, names.index(draft.preset), **shown, width=240)
        st.button(
            "Reset",
            icon=":material/restart_alt:",
            key="reset",
            on_click=editing.use_preset,
            args=(draft.preset,),
            disabled=not count,
            help="Back to the preset as it is." if count else "Nothing differs from the preset.",
        )
        history.undo_and_redo()
        st.button(
            "Clear",
            icon=":material/layers_clear:",
            on_click=editing.remove_all_layers,
            disabled=not draft.layers,
            help="Remove all layers and begin with an empty stack. Undo brings them back.",
        )
    told = f":orange[{count} difference{'s' if count > 1 else ''} since.] " if count else ""
    st.caption(f"{told}{presets[draft.preset].about} Source: {presets[draft.preset].source}")


def whole(draft: Draft, ledger: Ledger) -> None:
    """Show the figures of the whole stack; if it can't be trained, show what is wrong with it in the same place."""
    repair.problem(draft.experiment, ledger)
    if ledger.problem is not None:
        return
    figures = st.grid(4, min_column_width=150)
    figures.metric("Parameters", f"{ledger.parameters:,}", help="Numbers the network has to learn.", border=True)
    figures.metric("Size", f"{ledger.bytes / 1000:,.0f} kB", help="As 32-bit numbers.", border=True)
    figures.metric("Multiply-adds", f"{ledger.macs:,}", help="For one image.", border=True)
    with figures.container():
        _epoch(draft.experiment)


def editor(draft: Draft, ledger: Ledger, hints: tuple[Hint, ...]) -> None:
    """Draw a row per layer with its kind, output and cost; opened, its arguments and its place. The output layer stays
    last."""
    at_fault = ledger.problem.index if ledger.problem else None
    hinted = {hint.index for hint in hints}
    place = 0
    with st.container(gap="xsmall"):
        for layer_id, layer in draft.named:
            is_on = layer_id not in draft.off
            row = ledger.rows[place] if is_on and place < len(ledger.rows) else None
            difference = draft.differences.layers.get(layer_id)
            with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"layer-{layer_id}"):
                st.container(width=HEADING_WIDTH).button(
                    _heading(place if is_on else None, layer, difference, is_on and place in hinted),
                    icon=":material/error:" if is_on and place == at_fault else layer.icon,
                    key=f"open-{layer_id}",
                    type="tertiary",
                    wrap=True,
                    on_click=editing.open_or_close,
                    args=(layer_id,),
                )
                st.html(_cost(row, ledger, is_on, place))
            if editing.is_open(layer_id):
                with st.container(border=True, key=f"arguments-{layer_id}"):
                    _arguments(draft, layer_id, layer)
            place += is_on
        with st.container(border=True, horizontal=True, vertical_alignment="center", key="output-layer"):
            st.markdown(
                ":material/lock: **Output** 10 units, softmax",
                width=HEADING_WIDTH,
                help="One probability per digit. Every network here ends so.",
            )
            st.html(_cost(ledger.rows[-1] if ledger.problem is None else None, ledger, True, place))


def palette() -> None:
    """Draw a button for every kind of layer; a click adds one at the end of the stack."""
    is_full = not editing.has_room()
    with st.container(horizontal=True, gap="small"):
        for kind, layer_class in specs.LAYER_KINDS.items():
            st.button(
                kind,
                icon=layer_class.icon,
                key=f"add-{kind}",
                on_click=editing.add_layer,
                args=(layer_class(),),
                disabled=is_full,
                help=layer_class.about,
            )
    st.caption(
        f"A stack holds at most {specs.MAX_LAYERS} layers."
        if is_full
        else "It is put last, before the output. Open it to set its arguments or to move it."
    )


def worth_a_thought(hints: tuple[Hint, ...]) -> None:
    """Show the hints, each with the change that follows it."""
    if not hints:
        return
    st.subheader("Worth a thought", anchor=False)
    for number, hint in enumerate(hints):
        reason, place = st.columns([5, 2], vertical_alignment="center")
        reason.caption(f":material/lightbulb: {hint.reason}")
        if hint.repair is not None:
            place.button(
                hint.repair.label,
                icon=":material/auto_fix_high:",
                key=f"hint-repair-{number}",
                wrap=True,
                on_click=editing.use_network,
                args=(hint.repair.layers,),
            )


def link() -> None:
    """Show a link that opens this network and training."""
    share = st.expander("Share it", icon=":material/link:", key="share", on_change="rerun")
    if share.open:
        with share:
            st.code(editing.link(st.context.url or ""), language=None)
            st.caption(
                "Whoever opens this address finds these layers and their training: nothing is stored for it. "
                "Layers that are switched off stay here."
            )


def code(experiment: specs.Experiment) -> None:
    """Show the same network and training as a script that needs no Digit Lab."""
    taken = st.expander("Take it as Keras code", icon=":material/code:", key="code", on_change="rerun")
    if taken.open:
        with taken, messages.shown():
            script = scripts.script(experiment)
            st.download_button(
                "digit_lab.py", script, "digit_lab.py", "text/x-python", icon=":material/download:", on_click="ignore"
            )
            if scripts.may_end_elsewhere(experiment.training):
                st.caption(
                    "It saves the network of the last epoch. The lab shows the one of the epoch with the best validation "
                    "accuracy, unless told otherwise."
                )
            st.code(script, language="python", height=420)


def _arguments(draft: Draft, layer_id: int, layer: specs.LayerSpec) -> None:
    st.caption(layer.about)
    fields.editor(
        lambda: editing.layer(layer_id),
        f"layer-{layer_id}.{layer.kind}",
        lambda new: editing.edit_layer(layer_id, new),
        columns=3,
        original=draft.in_preset(layer_id),
    )
    place, is_on = draft.layer_ids.index(layer_id), layer_id not in draft.off
    actions = [
        ("Up", "arrow_upward", editing.move_layer, (layer_id, -1), place == 0),
        ("Down", "arrow_downward", editing.move_layer, (layer_id, 1), place == len(draft.layers) - 1),
        ("Duplicate", "content_copy", editing.copy_layer, (layer_id,), not editing.has_room()),
        ("Switch off" if is_on else "Switch on", "toggle_off" if is_on else "toggle_on", editing.switch_layer, (layer_id,), False),
        ("Remove", "delete", editing.remove_layer, (layer_id,), False),
    ]  # fmt: skip
    with st.container(horizontal=True):
        for label, icon, act, arguments, is_disabled in actions:
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"{label.split()[0].lower()}-{layer_id}",
                on_click=act,
                args=arguments,
                disabled=is_disabled,
            )


def _heading(place: int | None, layer: specs.LayerSpec, difference: Difference | None, has_hint: bool) -> str:
    parts = [f"**{layer.kind}**" if place is None else f"**{place + 1} {layer.kind}**", layer.caption()]
    if difference:
        said = "added" if difference.is_added else "changed" if difference.fields else ""
        parts += [f":orange[{said}]" if said else "", ":orange[moved]" if difference.is_moved else ""]
    if has_hint:
        parts.append(":gray[:material/lightbulb:]")
    return " ".join(part for part in parts if part)


def _cost(row: Row | None, ledger: Ledger, is_on: bool, place: int) -> str:
    if row is not None:
        return pictures.ledger_row(row, ledger)
    if not is_on:
        return pictures.ledger_gap("Switched off: the network is built without it.")
    return pictures.ledger_gap("Does not fit." if place == ledger.problem.index else "Waits for the layer before it.")


def _epoch(experiment: specs.Experiment) -> None:
    """Show the seconds of an epoch here, measured once the stack has been left alone for a moment."""
    value, said, poll = _measured(experiment)
    if poll is None:
        _epoch_metric(value, said)
    else:
        st.fragment(_measuring, run_every=poll)(experiment)


def _measuring(experiment: specs.Experiment) -> None:
    value, said, poll = _measured(experiment)
    _epoch_metric(value, said)
    if poll is None:
        st.rerun()  # the page is drawn once more, without the timer of this fragment


def _measured(experiment: specs.Experiment) -> tuple[str, str, float | None]:
    """Return the seconds per epoch in words, an explanation, and the seconds until to ask again, or None."""
    reason = refusal(experiment)
    if reason is not None:
        return "–", reason, None
    if editing.seconds_since_edit() < QUIET_SECONDS:
        return "…", "Measured as soon as you leave the stack alone for a moment.", POLL_SECONDS
    try:
        seconds = engine.shared().ask(TimeEpoch(experiment))
    except EngineNotReady as error:
        return "–", messages.plain(str(error)), PATIENT_SECONDS
    except DigitLabError as error:
        return "–", messages.plain(str(error)), None
    if seconds is None:
        return "…", "A few batches are being trained to measure it.", POLL_SECONDS
    words = f"{seconds:.2g}" if seconds < 10 else f"{seconds:,.0f}"
    return (
        f"≈ {words} s",
        f"About {words} s an epoch with {experiment.training.train_size:,} images in batches of "
        f"{experiment.training.batch_size}: an estimate, measured on this machine with this stack.",
        None,
    )


def _epoch_metric(value: str, said: str) -> None:
    st.metric("Epoch here", value, help=said, border=True)
