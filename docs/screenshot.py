"""Make docs/screenshot.png from the running app: `python docs/screenshot.py`.

Starts a server of its own with runs in a temporary folder, trains a small First CNN on its Train page in Chromium, and takes
the picture in the middle. `--all FOLDER` takes every page instead, in both themes, wide and at phone width.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
PAGES = ("", "data", "build", "train", "evaluate", "draw")
SIZES = {"wide": {"width": 1360, "height": 900}, "phone": {"width": 390, "height": 844}}


def main() -> None:
    """Take the picture, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    folder = parser.parse_args().all
    with _server() as address, sync_playwright() as playwright:
        installed = os.environ.get("DIGITLAB_CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(
            executable_path=installed if Path(installed).exists() else None, args=["--no-sandbox"]
        )
        page = _open(browser, address, "light", "wide")
        _train(page)
        if folder is None:
            page.mouse.move(700, 880)  # off the button, whose help would cover the title
            page.get_by_role("tooltip").wait_for(state="hidden")
            page.screenshot(path=ROOT / "docs" / "screenshot.png")
            return
        page.get_by_text("finished", exact=True).wait_for(timeout=300_000)
        run = page.url.partition("?")[2]
        folder.mkdir(parents=True, exist_ok=True)
        for theme in ("light", "dark"):
            for size in SIZES:
                for name in PAGES:
                    page = _open(browser, f"{address}/{name}?{run}", theme, size)
                    page.wait_for_timeout(
                        4000
                    )  # a picture has no condition to wait for: charts draw themselves in their own time
                    page.screenshot(path=folder / f"{name or 'start'}-{theme}-{size}.png", full_page=True)
                    page.close()


def _train(page: Page) -> None:
    page.get_by_role("link", name="Train", exact=True).first.click()
    epochs = page.get_by_role("spinbutton", name="Epochs")
    epochs.fill("6")
    epochs.press("Enter")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("Epoch 4 of 6").wait_for(timeout=300_000)


def _open(browser: Browser, address: str, theme: str, size: str) -> Page:
    page = browser.new_page(color_scheme=theme, viewport=SIZES[size], device_scale_factor=1)
    page.goto(address)
    page.locator("h1").first.wait_for(timeout=60_000)
    return page


@contextmanager
def _server() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as runs:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"],
            cwd=ROOT,
            env={
                **os.environ,
                "DIGITLAB_RUNS": runs,
                "STREAMLIT_SERVER_HEADLESS": "true",
                "STREAMLIT_SERVER_ADDRESS": "127.0.0.1",
                "STREAMLIT_SERVER_PORT": str(port),
            },
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(port, process)
            yield address
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise SystemExit("The app did not start: see its messages above.")


if __name__ == "__main__":
    main()
