"""Who visits, by what their browser is known again, without knowing anything about them."""

from __future__ import annotations

import hashlib


def visitor(token: str) -> str:
    """Return the name, 64 hexadecimal digits, of whoever's browser has this token: it says that two are the same, and doesn't give
    the token away."""
    return hashlib.sha256(token.encode()).hexdigest()
