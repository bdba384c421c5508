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
from core.model.specs import Spec, replaced
from ui.state import editing, session
from ui.widgets.number_field import number_field

MOST_SLIDER_STEPS = 100


def editor(
    current: Callable[[], Spec],
    key: str,
    on_edit: Callable[[Spec], None],
    columns: int = 2,
    original: Spec | None = None,
) -> None:
    """Draw a widget for every field; `on_edit` receives the whole spec with the one change made. Rare fields are behind
    "More".

    Args:
        current: returns the spec as it is now, so that of two widgets changed at once the second keeps what the first
            did.
        key: tells this spec's widgets from all others; a new key makes them anew.
        on_edit: takes the changed spec.
        columns: how many fields stand side by side, if there is room.
        original: the spec that it began as; where a field differs from it, a line below shows the original value.
    """
    fields = {name: field for name, field in type(current()).model_fields.items() if name != "kind"}
    rare = [name for name, field in fields.items() if (field.json_schema_extra or {}).get("is_rare")]
    _grid(current, [name for name in fields if name not in rare], key, on_edit, columns, original)
    if rare:
        more = st.expander("More", type="compact", key=f"{key}.more", on_change="rerun")
        if more.open:
            with more:
                _grid(current, rare, key, on_edit, columns, original)


def _grid(
    current: Callable[[], Spec],
    names: list[str],
    key: str,
    on_edit: Callable[[Spec], None],
    columns: int,
    original: Spec | None,
) -> None:
    with st.grid(columns) if columns > 1 else st.container():
        for name in names:
            _field(current, name, f"{key}.{name}", on_edit, original)


def _field(
    current: Callable[[], Spec], name: str, key: str, on_edit: Callable[[Spec], None], original: Spec | None
) -> None:
    field, value = type(current()).model_fields[name], getattr(current(), name)
    label, said = field.title or name, f"{field.description} In Keras: `{name}`."
    was = value if original is None else getattr(original, name)
    inner = was if isinstance(value, type(was)) else None

    def changed(new: Any) -> None:
        try:
            on_edit(replaced(current(), **{name: new}))
        except SpecError as error:
            editing.refuse(str(error))

    kinds = _kinds(field)
    if kinds:
        shown = session.showing(key, value.kind, lambda kind: changed(kinds[kind]()), stays=True)
        with st.container():
            st.selectbox(label, list(kinds), list(kinds).index(value.kind), help=said, **shown)
            mark = "" if inner else f"{_mark(was, value)} "
            st.caption(f"{mark}{type(value).about}")
            editor(lambda: getattr(current(), name), f"{key}.{value.kind}", changed, 1, inner)
    elif isinstance(value, Spec):
        # Its label stays the same: with another one Streamlit would close it while it is used.
        with st.expander(label, key=f"{key}.fields"):
            st.caption(field.description)
            editor(lambda: getattr(current(), name), key, changed, original=inner)
        if was != value:
            st.caption(":orange[changed]")
    else:
        _widget(field, label, value, key, changed, said, _mark(was, value))


def _widget(
    field: FieldInfo, label: str, value: Any, key: str, changed: Callable[[Any], None], said: str, mark: str
) -> None:
    """Draw the widget for a value that is no spec, with a mark below it: a label would be read aloud with its Markdown."""
    low, high = bounds(field)
    step = (field.json_schema_extra or {}).get("step")
    is_slider = isinstance(value, float) and step is not None and (high - low) / step <= MOST_SLIDER_STEPS
    if not (_choices(field) or isinstance(value, bool) or is_slider):
        kind, may_be_empty = float if isinstance(value, float) else int, type(None) in _arguments(field.annotation)
        number_field(
            label,
            value,
            low,
            high,
            key,
            changed,
            kind=kind,
            may_be_empty=may_be_empty,
            help=said,
            note=mark,
            placeholder="as usual" if may_be_empty else "",
        )
        return
    arguments = {"help": said, **session.showing(key, value, changed, stays=True)}
    with st.container(gap="xxsmall"):
        if _choices(field):
            choices = list(_choices(field))
            st.selectbox(label, choices, choices.index(value), **arguments)
        elif isinstance(value, bool):
            st.toggle(label, value, **arguments)
        else:
            st.slider(label, float(low), float(high), value, step, **arguments)
        if mark:
            st.caption(mark)


def _mark(was: Any, value: Any) -> str:
    """Return a mark with a field's value in the preset, if it differs."""
    return "" if was == value else f":orange[was {_in_words(was)}]"


def _in_words(value: Any) -> str:
    """Return a field's value in words."""
    if value is None:
        return "as usual"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Spec):
        return value.kind
    return f"{value:g}" if isinstance(value, float) else str(value)


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """Return the lowest and the highest value that a field may have, each None if there is no bound."""
    low, high = (
        [getattr(item, kind.__name__.lower()) for item in field.metadata if isinstance(item, kind)]
        for kind in (annotated_types.Ge, annotated_types.Le)
    )
    return low[-1] if low else None, high[-1] if high else None


def _arguments(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()


def _kinds(field: FieldInfo) -> dict[str, type[Spec]]:
    """Return the classes that a field may hold, by their kind; empty if it isn't a choice of classes."""
    classes = [a for a in _arguments(field.annotation) if isinstance(a, type) and issubclass(a, Spec)]
    return {c.model_fields["kind"].default: c for c in classes}


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
