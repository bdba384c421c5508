"""Modules that one thread can't import for a while, though they are installed; other threads can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Finder(threading.local):
    """A finder that finds nothing, and ends the search for modules that are hidden from the thread that asks."""

    names: tuple[str, ...] = ()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}: it is hidden here", name=name)


# It is put there once and stays: another thread that is at the list just then would pass over the next finder if it went.
_finder = _Finder()
sys.meta_path.insert(0, _finder)


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Hide top-level modules from this thread. One that is loaded already stays so."""
    before, _finder.names = _finder.names, names
    try:
        yield
    finally:
        _finder.names = before
