"""A line that breaks for longer than a session is kept: what one made is there again."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Line

SECONDS = 1000


@pytest.fixture(scope="module")
def forgetful(start_server):
    """A server with the shipped network that lets a session go as soon as its line breaks."""
    server = start_server("--server.disconnectedSessionTTL", "0", DIGITLAB_REFERENCE="shipped")
    yield server
    server.stop()


def connection(page: Page, is_up: bool) -> None:
    """Wait until the page says how its line is."""
    app, state = expect(page.get_by_test_id("stApp")), ("data-test-connection-state", "CONNECTED")
    (app.to_have_attribute if is_up else app.not_to_have_attribute)(*state)


def test_drawing_and_draft_outlast_a_break(forgetful, page, lab):
    line = Line(page)
    lab.open(page, forgetful, "train")
    lab.set(page, "Epochs", 3)
    lab.go(page, "Draw")
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=120 * SECONDS)
    lab.draw_seven(page)
    expect(page.get_by_role("heading", name="This is a 7")).to_be_visible()
    page.get_by_role("button", name="Keep it as a 7").click()
    expect(page.get_by_text("1 kept, this as a 7")).to_be_visible()

    line.cut()
    connection(page, is_up=False)
    line.mend()
    connection(page, is_up=True)
    lab.settle(page)

    expect(page.get_by_role("heading", name="This is a 7")).to_be_visible()
    expect(page.get_by_text("1 kept, this as a 7")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="This is a 7")).to_be_visible()
    expect(page.get_by_text("1 kept, this as a 7")).to_be_visible()
    lab.go(page, "Train")
    expect(page.get_by_role("textbox", name="Epochs", exact=True)).to_have_value("3")
