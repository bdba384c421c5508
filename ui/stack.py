"""The editor of a stack of layers."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core import specs
from core.ledger import Ledger, Problem, Row
from core.presets import Preset
from core.specs import shape_text
from ui import fields, state


def toolbar(presets: Mapping[str, Preset]) -> None:
    """Choose a preset; undo and redo."""
    draft = state.draft()
    key = f"preset-{draft.preset}"

    def chosen() -> None:
        state.use_preset(state.widget_value(key))

    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = list(presets)
        st.selectbox("Start from", names, index=names.index(draft.preset), key=key, on_change=chosen, width=240)
        is_changed = draft.experiment != presets[draft.preset].experiment
        st.button(
            "Reset",
            icon=":material/restart_alt:",
            on_click=state.use_preset,
            args=(draft.preset,),
            disabled=not is_changed,
            help="Back to the preset as it is." if is_changed else "Nothing differs from the preset.",
        )
        st.button("Undo", icon=":material/undo:", on_click=state.undo, disabled=not state.can_undo(), shortcut="Ctrl+Z")
        st.button(
            "Redo", icon=":material/redo:", on_click=state.redo, disabled=not state.can_redo(), shortcut="Ctrl+Shift+Z"
        )
    st.caption(f"{presets[draft.preset].about} Source: {presets[draft.preset].source}")


def totals(ledger: Ledger) -> None:
    """The whole stack in four figures."""
    is_whole = ledger.problem is None
    figures = st.grid(min_column_width=130)
    figures.metric(
        "Parameters",
        f"{ledger.parameters:,}" if is_whole else "–",
        help="Numbers the network has to learn.",
        border=True,
    )
    figures.metric(
        "Size", f"{ledger.bytes / 1000:,.0f} kB" if is_whole else "–", help="As 32-bit numbers.", border=True
    )
    figures.metric("Multiply-adds", f"{ledger.macs:,}" if is_whole else "–", help="For one image.", border=True)
    seen = max((row.receptive_field for row in ledger.rows if len(row.output_shape) == 3), default=1)
    figures.metric(
        "Receptive field",
        f"{min(seen, 28)} px" if is_whole else "–",
        help="Side of the square of the digit that one output of the last image layer sees.",
        border=True,
    )


def problem(problem: Problem | None) -> None:
    """What is wrong, with its repair at hand; nothing where nothing is."""
    if problem is None:
        return
    with st.container(key="problem"):
        st.error(problem.reason, title="This stack can't be built yet", icon=":material/build:")
        if problem.repair is not None:
            st.button(
                problem.repair.label,
                icon=":material/auto_fix_high:",
                type="primary",
                on_click=_repair,
                args=(problem.repair.layers,),
            )


def editor(draft: state.Draft, ledger: Ledger) -> None:
    """One expander per layer with its arguments and its place; the output layer last, which stays."""
    rows: list[Row | None] = [*ledger.rows, *[None] * (len(draft.experiment.layers) + 1 - len(ledger.rows))]
    at_fault = ledger.problem.index if ledger.problem else None
    for place, (layer_id, layer) in enumerate(zip(draft.layer_ids, draft.experiment.layers, strict=True)):
        icon = ":material/error:" if place == at_fault else layer.icon
        with st.expander(
            _heading(place, layer, rows[place]),
            expanded=state.is_just_added(layer_id),
            icon=icon,
            key=f"layer-{layer_id}",
        ):
            _layer(layer_id, layer, place, len(draft.layer_ids))
    with st.container(border=True, key="output-layer"):
        row = rows[-1]
        cost = f" :gray[→ {shape_text(row.output_shape)} · {row.parameters:,} parameters]" if row else ""
        st.markdown(
            f":material/lock: **Output** 10 units, softmax{cost}",
            help="One probability per digit. Every network here ends so.",
        )


def palette(draft: state.Draft) -> None:
    """A button for every kind of layer; it is added at the end of the stack."""
    is_full = len(draft.experiment.layers) >= specs.MAX_LAYERS
    if is_full:
        st.caption(f"A stack holds at most {specs.MAX_LAYERS} layers.")
    with st.container(horizontal=True, gap="small"):
        for kind, layer_class in specs.LAYER_KINDS.items():
            st.button(
                kind,
                icon=layer_class.icon,
                key=f"add-{kind}",
                on_click=state.add_layer,
                args=(layer_class(),),
                disabled=is_full,
                help=layer_class.about,
            )
    st.caption("It is put last, before the output. Open it to set its arguments or to move it.")


def _layer(layer_id: int, layer: specs.LayerSpec, place: int, count: int) -> None:
    st.caption(layer.about)
    fields.editor(
        lambda: state.layer(layer_id),
        f"layer-{layer_id}.{layer.kind}",
        lambda new: state.edit_layer(layer_id, new),
    )
    with st.container(horizontal=True):
        st.button(
            "Up",
            icon=":material/arrow_upward:",
            key=f"up-{layer_id}",
            on_click=state.move_layer,
            args=(layer_id, -1),
            disabled=place == 0,
        )
        st.button(
            "Down",
            icon=":material/arrow_downward:",
            key=f"down-{layer_id}",
            on_click=state.move_layer,
            args=(layer_id, 1),
            disabled=place == count - 1,
        )
        st.button(
            "Remove", icon=":material/delete:", key=f"remove-{layer_id}", on_click=state.remove_layer, args=(layer_id,)
        )


def _heading(place: int, layer: specs.LayerSpec, row: Row | None) -> str:
    cost = ""
    if row is not None:
        cost = f"→ {shape_text(row.output_shape)}"
        if row.parameters:
            cost += f" · {row.parameters:,} parameters"
    return f"**{place + 1} {layer.kind}** {layer.caption()} :gray[{cost}]"


def _repair(layers: tuple[specs.LayerSpec, ...]) -> None:
    state.use_experiment(specs.replaced(state.draft().experiment, layers=layers))
