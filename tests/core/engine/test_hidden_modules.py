"""What is hidden from one thread can be imported by the others."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.engine.hidden_modules import hidden

RARE = "mailbox"  # one of Python's own that nothing here imports


@pytest.fixture(autouse=True)
def _unloaded():
    sys.modules.pop(RARE, None)
    yield
    sys.modules.pop(RARE, None)


def test_it_is_hidden_from_this_thread_alone_and_for_a_while():
    with ThreadPoolExecutor(1) as other:
        with hidden(RARE, "no_such_module"):
            with pytest.raises(ImportError, match="hidden"):
                importlib.import_module(RARE)
            assert other.submit(importlib.import_module, RARE).result().__name__ == RARE
        sys.modules.pop(RARE)

        assert importlib.import_module(RARE).__name__ == RARE


def test_what_is_loaded_already_stays_so():
    loaded = importlib.import_module(RARE)

    with hidden(RARE):
        assert importlib.import_module(RARE) is loaded
