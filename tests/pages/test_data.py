"""The digits by split and class, in sheets, one of them large."""

from __future__ import annotations

import numpy as np
import pytest

from core import data

SHEET = 96


@pytest.fixture
def at(visit):
    return visit("data")


def charts(at) -> list[str]:
    return [chart.proto.alt for chart in at.get("plotly_chart")]


def split(at, name: str):
    return at.segmented_control[0].set_value(name).run()


def digit(at, value: int):
    return at.pills[0].set_value(value).run()


def test_it_begins_with_what_is_trained_on(at, digits):
    labels = digits.y_train
    indices, _ = data.split(labels, 60_000, 0.1, 0)

    counts = np.bincount(labels[indices], minlength=10)
    assert charts(at) == [
        f"96 handwritten digits, sheet 1 of {-(-len(indices) // SHEET)}.",
        f"A handwritten {labels[indices[0]]}, large.",
        ", ".join(f"{count} of {k}" for k, count in enumerate(counts)),
    ]


@pytest.mark.parametrize("name", ["Training", "Validation", "Test"])
@pytest.mark.parametrize("value", [0, 7])
def test_a_digit_of_a_split_is_picked_out(at, name, value):
    split(at, name)

    digit(at, value)

    assert not at.exception
    assert at.subheader[0].value == f"A {value}"
    assert at.caption[0].value.startswith(f"{name} image number")


def test_all_test_images_are_there(at, digits):
    split(at, "Test")

    counts = np.bincount(digits.y_test, minlength=10)
    assert charts(at)[2] == ", ".join(f"{count} of {k}" for k, count in enumerate(counts))


def test_one_leafs_to_the_last_sheet(at, digits):
    split(at, "Test")
    count = len(digits.y_test)
    sheets = -(-count // SHEET)

    at.pagination[0].set_value(sheets).run()

    assert not at.exception
    assert charts(at)[0] == f"{count - (sheets - 1) * SHEET} handwritten digits, sheet {sheets} of {sheets}."


def test_an_address_leads_to_a_split_and_a_digit(visit):
    at = visit("start")
    at.query_params["split"], at.query_params["digit"] = "Test", "3"

    visit("data", session=at)

    assert at.segmented_control[0].value == "Test"
    assert at.pills[0].value == 3


@pytest.mark.parametrize("query", [{"split": "Secret"}, {"digit": "11"}, {"digit": "x"}, {"split": ""}])
def test_rubbish_in_the_address_is_ignored(visit, query):
    at = visit("start")
    at.query_params.update(query)

    visit("data", session=at)

    assert not at.exception
    assert at.caption[0].value.startswith("Training image number")
    assert at.pills[0].value is None


def test_without_held_out_images_the_split_says_so(visit, choose):
    at = visit("train")
    choose(at, "Held out for validation", 0.0)
    visit("data", session=at)

    split(at, "Validation")

    assert not at.exception
    assert "nothing is held out" in at.info[0].value
