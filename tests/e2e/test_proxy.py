"""Behind nginx, by the lines that the README gives, and in another site's frame: the lab works, and says why a file does not arrive."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Line
from tests.e2e.places import wait_until
from ui.widgets import uploads

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIGURATION = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location = /school {{
            default_type text/html;
            return 200 '<iframe src="http://127.0.0.1:{port}/lab/draw" width="1300" height="860"></iframe>';
        }}
        {location}
    }}
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture(scope="module")
def lab_server(start_server):
    """A server with the shipped network, below /lab."""
    server = start_server("--server.baseUrlPath", "lab", DIGITLAB_REFERENCE="shipped")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(lab_server, tmp_path_factory) -> Iterator[int]:
    """The port of nginx with the README's lines, but for a limit of 100 kB."""
    folder = tmp_path_factory.mktemp("nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = re.search(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    lines = lines.replace("127.0.0.1:8501", f"127.0.0.1:{lab_server.port}").replace("size 11m", "size 100k")
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, location=lines))
    nginx = subprocess.Popen([NGINX, "-c", str(file), "-p", str(folder), "-e", str(folder / "error.log")])
    wait_until(lambda: is_open(port), 30)
    yield port
    nginx.terminate()
    nginx.wait(timeout=30)


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> tuple[str, str]:
    """A photograph of a digit that is larger than the proxy takes, and one that is not."""
    folder = tmp_path_factory.mktemp("photos")
    paper = np.random.default_rng(0).integers(200, 240, (500, 500), dtype=np.uint8)
    paper[100:400, 240:270] = 20
    Image.fromarray(paper).save(folder / "large.png")
    Image.fromarray(np.where(paper < 50, 20, 220).astype(np.uint8)).save(folder / "small.png")
    return str(folder / "large.png"), str(folder / "small.png")


def open_pictures(page: Page) -> None:
    """Have the Draw page take pictures."""
    page.get_by_role("radio", name="Picture", exact=True).click()
    expect(page.get_by_test_id("stFileUploader")).to_be_visible()


def test_a_file_that_the_proxy_refuses_is_explained_and_a_smaller_one_arrives(proxy, page, photos):
    page.goto(f"http://127.0.0.1:{proxy}/lab/draw")
    open_pictures(page)
    large, small = photos

    page.locator("input[type=file]").set_input_files(large)
    expect(page.get_by_role("alert").filter(has_text=uploads.FAILURES[413])).to_be_visible()
    page.locator("input[type=file]").set_input_files(small)

    expect(page.get_by_role("img", name="The ink that was found in the picture.")).to_be_visible()
    expect(page.get_by_text(uploads.FAILURES[413])).to_have_count(0)


def test_in_another_site_s_frame_a_refused_file_is_explained_and_one_is_told_how_long_all_lasts(proxy, page, photos):
    page.goto(f"http://localhost:{proxy}/school")
    frame = page.frame_locator("iframe")
    frame.get_by_role("radio", name="Picture", exact=True).click()
    expect(frame.get_by_test_id("stSidebar")).to_contain_text("lasts as long as this tab is open")

    frame.locator("input[type=file]").set_input_files(photos[1])

    expect(frame.get_by_role("alert").filter(has_text=uploads.FAILURES[403])).to_be_visible()


def test_a_file_that_is_chosen_while_the_line_is_down_is_not_lost_in_silence(proxy, page, photos):
    line = Line(page)
    page.goto(f"http://127.0.0.1:{proxy}/lab/draw")
    open_pictures(page)
    line.cut()
    expect(page.get_by_test_id("stApp")).not_to_have_attribute("data-test-connection-state", "CONNECTED")

    page.locator("input[type=file]").set_input_files(photos[1])

    expect(page.get_by_role("alert").filter(has_text=uploads.AWAY)).to_be_visible()
