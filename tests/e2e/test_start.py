"""The first click of somebody who was never here leads to a page that stands."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

# Clocks that ask ten times as often meet a change of pages at any moment.
FAST_CLOCKS = "const set = window.setInterval; window.setInterval = (ask, ms, ...more) => set(ask, ms / 10, ...more)"
CLICK_AT_ONCE = """label => {
    const button = [...document.querySelectorAll("[data-testid=stMain] button")].find(b => b.innerText.includes(label))
    button?.click()
    return Boolean(button)
}"""
VISITORS = 4


@pytest.fixture
def visitors(new_context, console_errors):
    """Tabs of several who were never here, each with what its console calls an error."""
    pages = []
    for _ in range(VISITORS):
        context = new_context()
        context.add_init_script(FAST_CLOCKS)
        page = context.new_page()
        pages.append((page, console_errors(page)))
    return pages


def test_training_a_first_network_at_once_never_ends_in_a_white_page(start_server, visitors):
    server = start_server()  # of its own: others would wait for what is queued here
    for page, _ in visitors:
        page.goto(f"{server.url}/", wait_until="commit")
    for page, _ in visitors:
        page.wait_for_function(CLICK_AT_ONCE, arg="Train my first network", polling="raf")
    for page, errors in visitors:
        expect(page.get_by_test_id("stSidebar")).to_contain_text(
            re.compile("TensorFlow loading|Engine ready")
        )  # by a clock
        expect(page.get_by_role("heading", level=1, name="Train")).to_be_visible()
        expect(page.get_by_test_id("stMain").locator("h4")).to_contain_text("Fast 99")
        expect(page.get_by_text("How the next run learns")).to_be_visible()
        assert errors == []
    server.stop()
