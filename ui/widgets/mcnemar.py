"""McNemar's test of two networks, in words."""

from __future__ import annotations

from core.evaluation.metrics import McNemar


def in_words(found: McNemar) -> str:
    """Return the result of McNemar's test in words."""
    if not found.only_first + found.only_second:
        return "**They are right on exactly the same digits.**"
    if found.is_within_chance:
        return (
            f"**The difference is within chance**: two networks equally good would be at least this far apart in {_often(found.p)} "
            "(McNemar's exact test)."
        )
    better = "This network" if found.only_first > found.only_second else "The other network"
    return (
        f"**{better} is better**, by more than chance: were both equally good, they would be at least so far apart in "
        f"{_often(found.p)} (McNemar's exact test)."
    )


def _often(p: float) -> str:
    return f"{p:.0%} of such comparisons" if p >= 0.01 else "fewer than 1 % of such comparisons"
