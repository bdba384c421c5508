"""What a server does with its first request and its last."""

import re

from playwright.sync_api import expect

PAGES = ["Start", "Data", "Build", "Train", "Evaluate", "Explain", "Draw"]


def test_a_deep_link_as_the_first_request_shows_its_page_inside_the_frame(start_server, page):
    server = start_server()

    page.goto(f"{server.url}/evaluate")

    expect(page.get_by_role("heading", level=1)).to_have_text("Evaluate")
    links = page.get_by_test_id("stSidebarNav").get_by_role("link")
    expect(links).to_have_text([re.compile(f"{title}$") for title in PAGES])
    expect(page.get_by_test_id("stSidebar")).to_contain_text(re.compile("Engine (asleep|starting)|TensorFlow loading"))
    expect(page.get_by_test_id("stAlert")).to_contain_text("There is no network yet that is tested here.")
    server.stop()


def test_a_server_that_is_asked_to_end_leaves_no_process_behind(start_server, page, lab):
    server = start_server()
    lab.open(page, server)
    expect(page.get_by_test_id("stSidebar")).to_contain_text("Engine starting")

    assert server.stop() == []
