"""Widgets derived from a spec's fields: adding a field to a spec adds its widget here without a line of code."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, Literal

import annotated_types
import streamlit as st
from pydantic.fields import FieldInfo

from core.errors import SpecError
from core.specs import Spec, replaced
from ui import state

MOST_SLIDER_STEPS = 100


def editor(current: Callable[[], Spec], key: str, on_edit: Callable[[Spec], None], columns: int = 2) -> None:
    """A widget for every field; `on_edit` receives the whole spec with the one change made.

    Args:
        current: the spec as it is when asked, so that of two widgets changed at once the second keeps what the first did.
        key: tells this spec's widgets from all others; a new key makes them anew.
    """
    names = [name for name in type(current()).model_fields if name != "kind"]
    grid = st.columns(columns) if columns > 1 else [st.container()]
    for place, name in enumerate(names):
        with grid[place % len(grid)]:
            _field(current, name, f"{key}.{name}", on_edit)


def _field(current: Callable[[], Spec], name: str, key: str, on_edit: Callable[[Spec], None]) -> None:
    field, value = type(current()).model_fields[name], getattr(current(), name)
    label, said = field.title or name, f"{field.description} In Keras: `{name}`."

    def changed(new: Any) -> None:
        try:
            on_edit(replaced(current(), **{name: new}))
        except SpecError as error:
            state.refuse(str(error))

    def from_widget() -> None:
        changed(state.widget_value(key))

    arguments = {"key": key, "help": said, "on_change": from_widget}
    kinds = _kinds(field)
    if kinds:

        def kind_changed() -> None:
            changed(kinds[state.widget_value(key)]())

        names = list(kinds)
        st.selectbox(label, names, index=names.index(value.kind), key=key, help=said, on_change=kind_changed)
        st.caption(type(value).about)
        editor(lambda: getattr(current(), name), f"{key}.{value.kind}", changed, columns=1)
    elif isinstance(value, Spec):
        with st.expander(label, key=f"{key}.fields"):
            st.caption(field.description)
            editor(lambda: getattr(current(), name), key, changed)
    elif _choices(field):
        options = list(_choices(field))
        st.selectbox(label, options, index=options.index(value), **arguments)
    elif isinstance(value, bool):
        st.toggle(label, value=value, **arguments)
    else:
        _number(field, label, value, arguments)


def _number(field: FieldInfo, label: str, value: float | None, arguments: dict[str, Any]) -> None:
    low, high = _bound(field, annotated_types.Ge), _bound(field, annotated_types.Le)
    extra = field.json_schema_extra or {}
    if isinstance(value, float):
        step = extra.get("step", 0.05)
        if low is not None and high is not None and (high - low) / step <= MOST_SLIDER_STEPS and "step" in extra:
            st.slider(label, float(low), float(high), value, step, **arguments)
            return
        above, below = _bound(field, annotated_types.Gt), _bound(field, annotated_types.Lt)
        st.number_input(
            label,
            min_value=float(low) if low is not None else above + 1e-6,
            max_value=float(high) if high is not None else below - 1e-6,
            value=value,
            step=step,
            format=extra.get("format", "%.4g"),
            **arguments,
        )
    else:
        st.number_input(label, low, high, value, extra.get("step", 1), placeholder="as usual", **arguments)


def _bound(field: FieldInfo, kind: type) -> Any:
    bounds = [getattr(item, kind.__name__.lower()) for item in field.metadata if isinstance(item, kind)]
    return bounds[-1] if bounds else None


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()


def _kinds(field: FieldInfo) -> dict[str, type[Spec]]:
    """The classes a field may hold, by their kind; empty where it isn't a choice of classes."""
    classes = [a for a in _arguments(field.annotation) if isinstance(a, type) and issubclass(a, Spec)]
    return {c.model_fields["kind"].default: c for c in classes}


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
