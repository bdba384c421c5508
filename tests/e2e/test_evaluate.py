"""From a cell of the matrix to one digit's explanation, the test set opened, and two networks broken side by side."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from core.data import datasets
from core.runs.run import Run
from tests.e2e.places import click_point

SECONDS = 1000


def convolved(run: Run, number: int) -> np.ndarray:
    """What the first convolution of First CNN makes of an image of the training file, (26, 26, filters), by NumPy."""
    digits = datasets.load().x_train
    image = digits[number % len(digits)] / 255  # the server may have the stand-in several times over
    progress = run.progress()
    kernel, bias = list(run.weights(progress.step_of(progress.best.epoch)).values())[:2]
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape[:2])
    return np.einsum("yxij,ijf->yxf", windows, kernel[:, :, 0]) + bias


def test_from_a_cell_to_one_digits_explanation(server, page, lab, finished_run):
    lab.open(page, server, "evaluate", finished_run)
    said = page.get_by_text("Most often, a").inner_text()
    true, predicted = re.search(r"a (\d) is read as a (\d)", said).groups()

    lab.click_cell(page, int(true), int(predicted))
    expect(page.get_by_role("heading", name=f"{true} read as {predicted}")).to_be_visible()
    one = page.locator(".st-key-one")
    expect(one).to_contain_text(f"A {true}. Validation number")
    expect(one.locator(f"[data-digit='{predicted}']")).to_be_visible()
    number = int(re.search(r"number ([\d,]+)", one.inner_text())[1].replace(",", ""))
    page.get_by_role("button", name="Explain this digit").click()

    expect(page.get_by_role("heading", level=1, name="Explain")).to_be_visible()
    expect(page.get_by_role("textbox", name="Image number")).to_have_value(str(number))
    page.get_by_text("Why this digit", exact=True).click()
    expect(page.get_by_role("heading", name=f"What speaks for a {predicted}")).to_be_visible()
    page.get_by_text("Layer by layer", exact=True).click()
    worked_out = page.get_by_text(re.compile(r"How row \d+, column \d+ of map \d+ of 1 conv2d comes about"))
    expect(worked_out).to_be_visible()
    row, column, place = map(int, re.findall(r"\d+", worked_out.inner_text())[:3])
    (said,) = re.findall(r"Keras says (.+)\.", page.get_by_text("Keras says").inner_text())
    expected = convolved(server.run(finished_run), number)[row, column, place - 1]
    assert float(said.replace("−", "-")) == pytest.approx(expected, rel=0.006)  # it says three digits


def test_a_click_on_a_digit_of_the_gallery_shows_that_one(server, page, lab, finished_run):
    lab.open(page, server, "evaluate", finished_run)
    one = page.locator(".st-key-one").get_by_text("number")
    first = one.inner_text()

    click_point(page.locator(".st-key-gallery .js-plotly-plot"), 2)

    expect(one).not_to_have_text(first)


def test_the_test_set_is_opened_once_and_counted(server, page, lab, finished_run):
    before = len(server.run(finished_run).test_openings())
    lab.open(page, server, "evaluate", finished_run)
    page.get_by_text("Test", exact=True).click()
    expect(page.get_by_text("The test set is closed.")).to_be_visible()

    page.get_by_role("button", name="Open the test set").click()

    expect(page.get_by_text(re.compile("The test set was opened"))).to_be_visible()
    expect(page.get_by_role("heading", name="Digit by digit")).to_be_visible()
    assert len(server.run(finished_run).test_openings()) == before + 1


def test_two_networks_are_broken_side_by_side(server, page, lab, finished_run):
    lab.open(page, server, "train", finished_run)
    second_run = lab.start_training(page, images=6000, epochs=1)
    lab.go(page, "Evaluate")
    expect(page.get_by_text("hasn't finished its first epoch")).to_be_visible()
    expect(page.get_by_role("button", name="Break it")).to_be_visible(timeout=90 * SECONDS)
    lab.settle(page)
    other = page.get_by_role("combobox", name="Compare with")
    other.scroll_into_view_if_needed()
    lab.settle(page)  # an open menu closes when its page scrolls
    other.click()
    page.get_by_role("option").last.click()
    expect(page.get_by_text(re.compile("McNemar|exactly the same"))).to_be_visible()

    page.get_by_role("button", name=re.compile("^Break .* too$")).click()
    page.get_by_role("button", name="Break it").click()
    lines = page.locator("[class*=st-key-robustness-] .js-plotly-plot")
    expect(lines.locator(".legend .traces")).to_have_count(2, timeout=90 * SECONDS)
    expect(page.locator(".st-key-damaged img")).to_have_count(6)
    assert server.run(finished_run).test_openings()
    assert server.run(second_run).test_openings()
