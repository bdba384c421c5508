"""Errors come back from a worker as they were, and the tree in the module's docstring names them all."""

from __future__ import annotations

import re

import cloudpickle
import pytest

from core import errors
from core.errors import DigitLabError, NotNumbers

KINDS = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, DigitLabError)]


def made(kind: type[DigitLabError]) -> DigitLabError:
    return kind(36) if kind is NotNumbers else kind("What, expected, received, and what to do.")


@pytest.mark.parametrize("kind", KINDS)
def test_crosses_between_processes_with_its_message(kind):
    error = made(kind)

    back = cloudpickle.loads(cloudpickle.dumps(error))

    assert type(back) is kind
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_the_tree_names_every_kind_below_what_it_is_a_kind_of():
    lines = re.findall(r"^([│ ]*)(?:[├└]── )?(\w+)", errors.__doc__.partition("DigitLabError\n")[2], re.M)
    named, above = {}, {}
    for indent, name in lines:
        if hasattr(errors, name):
            depth = len(indent) // 4
            above[depth] = name
            named[name] = above[depth - 1] if depth else "DigitLabError"

    assert named == {kind.__name__: kind.__bases__[0].__name__ for kind in KINDS if kind is not DigitLabError}
