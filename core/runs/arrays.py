"""NumPy arrays as fields that pydantic writes to JSON and checks when it reads them back, and the errors that damaged
ones raise."""

from __future__ import annotations

import base64
import io
import struct
import tokenize
import zipfile
import zlib
from typing import Annotated, Any

import numpy as np
from pydantic import PlainSerializer, PlainValidator

# What damaged bytes drive json, zipfile and NumPy into: an encrypted or unknown kind of member is a RuntimeError, and NumPy has
# Python's own parser read an array's description.
UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


def _to_text(values: np.ndarray) -> str:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=False)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _from_text(content: Any) -> np.ndarray:
    if isinstance(content, np.ndarray):
        return content
    return np.lib.format.read_array(io.BytesIO(base64.b64decode(content, validate=True)), allow_pickle=False)


Array = Annotated[np.ndarray, PlainValidator(_from_text), PlainSerializer(_to_text, when_used="json")]
"""An array of any shape and dtype; as JSON, its .npy file in base 64. What is no such file is a ValueError."""
