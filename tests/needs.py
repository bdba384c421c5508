"""What a test needs beside Python, told from its code, its fixtures' and that of what they call in the tests."""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest

TESTS = Path(__file__).parent
# By the last part of their names: TensorFlow's, those of the lab that import it at their top, and those that start workers.
MODULES = {
    "keras": {"keras", "tensorflow", "keras_model", "loop", "inspection", "augmentation"},
    "dask": {"dask", "distributed", "engine", "cluster"},
}
SLOW_TO_LOAD = {*MODULES["keras"], "playwright"}


def needs(item: pytest.Function) -> set[str]:
    """Return `keras`, `dask`, `browser`, or nothing; a need that only shows within the lab is marked by hand."""
    if item.path.is_relative_to(TESTS / "e2e"):
        return {"browser"}
    marked = {name for name in (*MODULES, "browser") if item.get_closest_marker(name)}
    if item.path.is_relative_to(TESTS / "pages"):  # where the engine stands still
        return marked
    if "shipped" in item.fixturenames:  # a network that is loaded within the lab
        return {"keras"}
    fixtures = [found[-1].func for found in item._fixtureinfo.name2fixturedefs.values()]
    used = set().union(*map(_used_by, _reached([item.function, *fixtures])))
    return marked | {name for name, modules in MODULES.items() if modules & used}


def is_slow_to_collect(path: Path) -> bool:
    """Return whether a file of tests loads TensorFlow or a browser's driver where it is only collected."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    names = [
        name
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
        if name
    ]
    return bool(set().union(*map(_ends, names)) & SLOW_TO_LOAD)


def _reached(functions: list[Any]) -> set[FunctionType]:
    """These, and the functions of the tests that they come to."""
    todo, reached = list(functions), set()
    while todo:
        function = _plain(todo.pop())
        if isinstance(function, FunctionType) and function not in reached:
            reached.add(function)
            todo += _called_by(function)
    return reached


def _plain(function: Any) -> Any:
    """A function itself, not bound to anything, nor what Hypothesis makes of it."""
    function = getattr(function, "__func__", function)
    return getattr(getattr(function, "hypothesis", None), "inner_test", function)


@cache
def _called_by(function: FunctionType) -> list[Any]:
    """Functions of the same module, and the methods of its classes, that a function names."""
    values = [function.__globals__.get(name) for code in _codes(function.__code__) for name in code.co_names]
    own = [value for value in values if getattr(value, "__module__", None) == function.__module__]
    return [*own, *(method for value in own if isinstance(value, type) for method in vars(value).values())]


@cache
def _used_by(function: FunctionType) -> set[str]:
    """The first and the last part of the name of each module that a function imports or takes something from."""
    found: set[str] = set()
    for code in _codes(function.__code__):
        for step in dis.get_instructions(code):
            if step.opname in ("IMPORT_NAME", "IMPORT_FROM"):
                found |= _ends(step.argval)
        for value in (function.__globals__.get(name) for name in code.co_names):
            named = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(named, str):
                found |= _ends(named)
    return found


def _ends(name: str) -> set[str]:
    parts = name.split(".")
    return {parts[0], parts[-1]}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions within."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
