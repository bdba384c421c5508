"""An experiment as a short text for an address, and back: JSON, compressed, in base64 without padding.

Whoever sends such a text is a stranger: it is unpacked only as far as an experiment may be long, and then read as any other.
"""

from __future__ import annotations

import base64
import binascii
import zlib

from core.errors import SpecError
from core.specs import MAX_JSON_BYTES, Experiment, parse_experiment

MOST_CHARACTERS = 8_000  # of an address; ten times what the longest stack takes


def link_text(experiment: Experiment) -> str:
    """The experiment in letters, digits, `-` and `_`: below 2,000 of them for any stack."""
    packed = zlib.compress(experiment.model_dump_json().encode(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def experiment_of(text: str) -> Experiment:
    """What `link_text` was given.

    Raises:
        SpecError: in words fit for whoever opened the link.
    """
    text = text.strip()
    if len(text) > MOST_CHARACTERS:
        raise SpecError(
            f"This link's network is {len(text):,} characters long; expected at most {MOST_CHARACTERS:,}. "
            "Ask for the link again."
        )
    json = _unpacked(text)
    try:
        return parse_experiment(json)
    except SpecError as error:
        if str(error).startswith("version: "):
            raise SpecError(
                "This link was made by a newer Digit Lab, whose experiments this one can't read. "
                "Bring this one up to date, or build the network by hand."
            ) from None
        raise SpecError(f"This link's network can't be used. {error}") from None


def _unpacked(text: str) -> bytes:
    try:
        packed = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj()
        json = unpacking.decompress(packed, MAX_JSON_BYTES + 1)
    except (UnicodeEncodeError, binascii.Error, zlib.error):
        raise SpecError(
            "This link's network can't be read: a part of it was lost or changed on its way. Copy the whole link again."
        ) from None
    if len(json) > MAX_JSON_BYTES:
        raise SpecError(f"This link unpacks to more than {MAX_JSON_BYTES:,} bytes; no experiment is that long.")
    if not unpacking.eof:
        raise SpecError("This link is cut short: its end is missing. Copy the whole link again.")
    if unpacking.unused_data:
        raise SpecError("This link has something behind its end. Copy the link again, and nothing with it.")
    return json
