"""Numbers as people type them: with a comma or a point, an exponent, groups of thousands, digits of other scripts."""

from __future__ import annotations

import re
import unicodedata

from core.errors import SpecError

LONGEST = 40  # characters of a number
_ALSO = str.maketrans(
    {
        "\N{ARABIC DECIMAL SEPARATOR}": ",",
        "\N{ARABIC THOUSANDS SEPARATOR}": ",",
        "\N{MINUS SIGN}": "-",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    }
)
_DECIMAL = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d{1,2})?", re.IGNORECASE)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([.,' ])\d{3}(\1\d{3})*")


def decimal(text: str) -> float:
    """Return the number in a text typed into a field for decimals, where a comma is a decimal comma: "1,000" is one.

    Raises:
        SpecError: if it is no number, or if its separators are ambiguous ("1.000,5").
    """
    plain = _plain(text)
    if not _DECIMAL.fullmatch(plain):
        raise SpecError(
            f"“{_shortened(text)}” is no number. Write it as 0.001, 0,001 or 1e-3, without marks for thousands."
        )
    return float(plain.replace(",", "."))


def whole(text: str) -> int:
    """Return the integer in a text typed into a field for whole numbers: "1.000", "1,000" and "1 000" are a thousand.

    Raises:
        SpecError: if it is no whole number.
    """
    plain = _plain(text)
    if _GROUPED.fullmatch(plain):
        return int(re.sub(r"[.,' ]", "", plain))
    if _DECIMAL.fullmatch(plain) and float(plain.replace(",", ".")).is_integer():
        return int(float(plain.replace(",", ".")))
    raise SpecError(f"“{_shortened(text)}” is no whole number. Write it as 64, or 1000.")


def within(text: str, kind: type[int] | type[float], low: float | None, high: float | None) -> float:
    """Return the number in a typed text, an int or a float as `kind` says, if it lies within the bounds.

    Args:
        low: the smallest number allowed, or None for no bound.
        high: the largest number allowed, or None for no bound.

    Raises:
        SpecError: as `decimal` and `whole`, and if it is too small or too large.
    """
    number = whole(text) if kind is int else decimal(text)
    if low is not None and number < low:
        raise SpecError(f"{written(number)} is too small. The smallest is {written(low)}.")
    if high is not None and number > high:
        raise SpecError(f"{written(number)} is too large. The largest is {written(high)}.")
    return number


def written(number: float | None) -> str:
    """Return a number as a field shows it, to ten digits; an empty text for None."""
    if number is None:
        return ""
    return f"{number:.10g}" if isinstance(number, float) else str(number)


def _plain(text: str) -> str:
    """Return the text in ASCII as far as possible, with single spaces; an empty text if it is too long for a number."""
    if len(text) > LONGEST:
        return ""
    in_ascii_digits = "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in text)
    return " ".join(unicodedata.normalize("NFKC", in_ascii_digits).translate(_ALSO).split())


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
