"""What a server does with its first request and its last."""

import os
import re
import signal

import psutil
from playwright.sync_api import expect

from tests.e2e.places import wait_until

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


def test_ctrl_c_ends_all_without_a_traceback(start_server, page, lab):
    """A terminal sends it to the server and to its worker alike."""
    server = start_server()
    lab.open(page, server)
    expect(page.get_by_test_id("stSidebar")).to_contain_text("TensorFlow loading")
    family = [server.process, *server.process.children(recursive=True)]

    os.killpg(server.process.pid, signal.SIGINT)
    _, alive = psutil.wait_procs(family, timeout=20)

    assert alive == []
    assert "Traceback" not in server.log.read_text()


def test_a_killed_server_leaves_nothing_that_the_next_does_not_clear(start_server, page, lab, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    killed = start_server()
    lab.open(page, killed)
    wait_until(lambda: list(tmp_path.glob("digitlab-worker-*/dask-scratch-space/worker-*")), 60)
    family = [killed.process, *killed.process.children(recursive=True)]
    killed.process.kill()
    psutil.wait_procs(family, timeout=20)
    (left,) = tmp_path.iterdir()  # whatever it is that was left

    server = start_server()
    lab.open(page, server)
    expect(page.get_by_test_id("stSidebar")).to_contain_text("TensorFlow loading")

    assert not left.exists()
    assert server.stop() == []
    assert list(tmp_path.iterdir()) == []
