"""The network's pictures say in words what they show, hold no figure that isn't the ledger's, and stay within their box."""

import re

import numpy as np
import pytest
from hypothesis import given, settings

from core.model import ledger, presets
from core.model.specs import Conv2D, Dense, Flatten, MaxPooling2D, Residual
from core.views import pictures
from tests.fragments import Fragment
from tests.strategies import stacks

SAMPLE = np.zeros((28, 28), np.uint8)


def rows(stack) -> list[str]:
    read = ledger.read(stack)
    return [pictures.ledger_row(row, read) for row in read.rows]


def widths(row: str) -> list[float]:
    """How long the two bars of a row are, in per cent."""
    return [float(width) for width in re.findall(r"height:100%;width:([\d.]+)%", row)]


class TestLedgerRow:
    def test_bars_are_shares_of_the_whole(self):
        stack = presets.FIRST_CNN.experiment.layers
        read = ledger.read(stack)

        dense = read.rows[3]
        assert widths(rows(stack)[3]) == [
            round(100 * dense.parameters / read.parameters, 1),
            round(100 * dense.macs / read.macs, 1),
        ]
        assert [widths(row) for row in rows(stack)][1:3] == [[0, 0], [0, 0]]

    def test_the_square_that_is_seen_is_drawn_pixel_for_pixel_in_the_middle(self):
        stack = (Conv2D(filters=2, kernel_size=5), MaxPooling2D(), Conv2D(filters=2), Flatten())

        drawn = [
            re.search(r"left:([\d.]+)px;top:[\d.]+px;width:(\d+)px;height:\2px;background", row) for row in rows(stack)
        ]

        assert [(float(d[1]), int(d[2])) for d in drawn] == [(11.5, 5), (11, 6), (9, 10), (9, 10), (0, 28)]

    def test_numbers_are_short_beside_the_bars_and_whole_in_words(self):
        row = rows((Conv2D(filters=64, kernel_size=5, padding="same"), Flatten()))[0]

        assert "1.25 M <span" in row
        assert "1,254,400 multiply-adds" in row

    @given(stacks())
    @settings(deadline=None)
    def test_any_network_has_well_formed_rows_of_which_no_bar_leaves_its_box(self, stack):
        for row in rows(stack):
            Fragment(row)
            assert all(0 <= width <= 100 for width in widths(row))

    def test_a_reason_without_figures_is_escaped(self):
        assert "&lt;b&gt;" in pictures.ledger_gap("<b>")


class TestNetworkDiagram:
    @given(stacks())
    @settings(deadline=None)
    def test_is_well_formed_and_says_what_it_shows(self, stack):
        read = ledger.read(stack)

        diagram = pictures.network_diagram(read, SAMPLE)

        Fragment(diagram)
        said = re.search(r'aria-label="The network: ([^"]*)\."', diagram)[1]
        assert said.startswith("Input 28 × 28 × 1, then ")
        assert len(said.split(", then ")) == 1 + len(read.rows)

    def test_a_block_has_an_arc_for_its_second_way(self):
        plain = pictures.network_diagram(ledger.read((Conv2D(), Flatten())), SAMPLE)
        block = pictures.network_diagram(ledger.read((Residual(), Flatten())), SAMPLE)

        assert "border-bottom:0" not in plain
        assert block.count("border-bottom:0") == 1

    def test_ends_where_the_stack_does_not_fit(self):
        diagram = pictures.network_diagram(ledger.read((Conv2D(), Dense(), Flatten())), SAMPLE)

        assert "doesn't fit" in diagram or "doesn&#x27;t fit" in diagram
        assert "Output" not in diagram


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 10, "0 %"), (1, 10_000, "under 0.1 %"), (9_999, 10_000, "over 99.9 %"), (10, 10, "100 %"), (1, 3, "33.3 %")],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(part, whole, said):
    assert pictures._share(part, whole) == said
