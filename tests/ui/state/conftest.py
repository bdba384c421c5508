"""A session without a page: its parts in a dict, its visitor not known again."""

from __future__ import annotations

from typing import Any

import pytest

from ui.state import session


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What this session remembers; empty at first."""
    parts: dict[str, Any] = {}
    monkeypatch.setattr(session, "_parts", lambda: parts)
    monkeypatch.setattr(session, "_visitor", lambda: ("a visitor", False))
    monkeypatch.delenv("DIGITLAB_LOCAL", raising=False)
    return parts


@pytest.fixture
def known_again(monkeypatch: pytest.MonkeyPatch) -> str:
    """The visitor's name, whose browser has a cookie."""
    monkeypatch.setattr(session, "_visitor", lambda: ("a visitor", True))
    return "a visitor"
