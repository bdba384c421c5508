"""Arrays cross JSON bit for bit, and what is no array is refused without being opened."""

from __future__ import annotations

import base64
import io
import json
import pickle  # noqa: TID251  (one is to be refused)

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from pydantic import TypeAdapter, ValidationError

from core.runs.arrays import UNREADABLE, Array

ADAPTER = TypeAdapter(Array)


@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, min_side=0)))
def test_any_array_comes_back_from_json_as_it_was(values):
    back = ADAPTER.validate_json(ADAPTER.dump_json(values))

    assert (back.dtype, back.shape) == (values.dtype, values.shape)
    assert back.tobytes() == values.tobytes()


def test_it_is_the_npy_file_in_base_64():
    values = np.float32([1, np.nan])
    buffer = io.BytesIO()
    np.save(buffer, values)

    assert base64.b64decode(json.loads(ADAPTER.dump_json(values))) == buffer.getvalue()


def test_in_python_it_stays_an_array():
    values = np.arange(3)

    assert ADAPTER.validate_python(values) is values
    assert ADAPTER.dump_python(values) is values


def object_array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", np.zeros(3).tobytes(), object_array(), pickle.dumps(np.zeros(3))],
    ids=["empty", "cut off", "no header", "objects", "a pickle"],
)
def test_what_is_no_array_of_numbers_is_refused(content):
    with pytest.raises(ValidationError):
        ADAPTER.validate_json(json.dumps(base64.b64encode(content).decode()))


@pytest.mark.parametrize("content", ['"no base 64!"', "3", "null", "[1, 2]"])
def test_what_is_no_text_of_an_array_is_refused(content):
    with pytest.raises(UNREADABLE):
        ADAPTER.validate_json(content)
