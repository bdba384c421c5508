"""An experiment as a short text for a link, and back: JSON, compressed, in base64 without padding.

Such a text can come from anyone: it is unpacked only up to the largest size of an experiment, and validated like any
other input. Chats and mail programs put characters into it, around it and behind it, and encode it once more:
characters that can't be part of it are dropped. The Adler-32 checksum at the end of the compressed bytes shows whether
all of it has arrived unchanged.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from urllib.parse import unquote

from core.errors import SpecError
from core.model.specs import MAX_JSON_BYTES, Experiment, parse_experiment

MOST_CHARACTERS = 8_000  # of an address; ten times what the longest stack takes
_LOST = "This link's network can't be read: a part of it was lost or changed on its way. Copy the whole link again."
_MOST_CODINGS = 3  # times that an address is percent-encoded on its way
_BEGINNING = "eN"  # of every text that `link_text` makes: what zlib writes first at its highest level
_ANY_BEGINNING = ("eA", "eF", "eJ", _BEGINNING)  # at its lower levels
# A typesetter's dashes in the place of hyphens.
_DASHES = str.maketrans({"\N{HYPHEN}": "-", "\N{NON-BREAKING HYPHEN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "--"})


def link_text(experiment: Experiment) -> str:
    """Return the experiment as letters, digits, `-` and `_`: fewer than 2,000 characters for any stack."""
    packed = zlib.compress(experiment.model_dump_json().encode(), 9)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def experiment_of(text: str) -> Experiment:
    """Return the experiment that `link_text` was given.

    Raises:
        SpecError: with a message for the person who opened the link.
    """
    if len(text) > MOST_CHARACTERS:
        raise SpecError(
            f"This link's network is {len(text):,} characters long; expected at most {MOST_CHARACTERS:,}. "
            "Ask for the link again."
        )
    json = _unpacked(_own_signs(text))
    try:
        return parse_experiment(json)
    except SpecError as error:
        if str(error).startswith("version: "):
            raise SpecError(
                "This link was made by a newer Digit Lab, whose experiments this one can't read. "
                "Bring this one up to date, or build the network by hand."
            ) from None
        raise SpecError(f"This link's network can't be used. {error}") from None


def run_id_of(text: str) -> str:
    """Return a run's id in lower case, without characters that were put around it on its way.

    If nothing is left, the text itself is returned.
    """
    return re.sub(r"[^a-z2-7]", "", _decoded(text).lower()) or text


def _own_signs(text: str) -> str:
    """Return the characters that `link_text` may have written, of a text that chats or mail programs have changed."""
    own = re.sub(r"[^A-Za-z0-9_-]", "", _decoded(text).translate(_DASHES))
    return own if own.startswith(_ANY_BEGINNING) else own[max(own.find(_BEGINNING), 0) :]


def _decoded(text: str) -> str:
    for _ in range(_MOST_CODINGS):
        text = unquote(text)
    return text


def _unpacked(text: str) -> bytes:
    """Return the JSON of a complete text; anything after its end is ignored."""
    if not text:
        raise SpecError(_LOST)
    if len(text) % 4 == 1:  # the last letter completes no byte: it stands behind the end
        text = text[:-1]
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
        unpacking = zlib.decompressobj()
        json = unpacking.decompress(packed, MAX_JSON_BYTES + 1)
    except (binascii.Error, zlib.error):
        raise SpecError(_LOST) from None
    if len(json) > MAX_JSON_BYTES:
        raise SpecError(f"This link unpacks to more than {MAX_JSON_BYTES:,} bytes; no experiment is that long.")
    if not unpacking.eof:
        raise SpecError("This link is cut short: its end is missing. Copy the whole link again.")
    return json
