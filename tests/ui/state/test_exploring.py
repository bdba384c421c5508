"""What is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.splits import Split
from ui.state import exploring


@pytest.mark.parametrize("source", exploring.EXPLAINED_FROM)
def test_a_digit_of_every_source_but_one_s_own_handwriting_is_explained(source):
    exploring.explain_digit(source, np.int64(3))

    assert exploring.explained() == (source, 3)
    assert type(exploring.explained()[1]) is int


def test_one_s_own_handwriting_is_no_source():
    with pytest.raises(ValueError, match="Expected a source among"):
        exploring.explain_digit(Split.MINE, 0)


def test_a_second_click_on_a_digit_means_it_again():
    exploring.click_place("hardest", 5)
    exploring.go_to_place("hardest", 7)

    exploring.click_place("hardest", None)

    assert exploring.place("hardest") == 5
    assert exploring.place("easiest") == 0
