"""From starting the server to its first page in Chromium, over a hello app started the same way."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser

from benchmarks import limit, report, server

HELLO = 'import streamlit as st\n\nst.title("Hello")\nst.write("One page.")\n'
PAINT_SECONDS = 60
CANVAS = ".st-key-pad canvas"  # Start has one from the first moment on, since a network is shipped
# Painted: the title is laid out, all pictures are decoded, and the frame that shows them has gone out.
IS_PAINTED = """seconds => new Promise((resolve, reject) => {
    const look = () => {
        const title = document.querySelector("h1");
        const images = [...document.querySelectorAll("[data-testid=stImage] img")];
        const isThere = title && title.getBoundingClientRect().height > 0
            && images.every(image => image.complete && image.naturalWidth > 0);
        if (performance.now() > 1000 * seconds) reject(new Error(`The page was not painted within ${seconds} s.`));
        else requestAnimationFrame(() => isThere ? resolve(true) : look());
    };
    look();
})"""


def main() -> None:
    """Measure pairs, the first of which only warms the disk's cache and Python's compiled files."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=5)
    pairs = arguments.parse_args().pairs
    report.demand_mnist()
    with tempfile.TemporaryDirectory(prefix="digitlab-hello-") as folder, server.chromium() as browser:
        hello = Path(folder, "hello.py")
        hello.write_text(HELLO)
        measured = []
        for pair in range(pairs + 1):
            measured.append((_seconds(browser, server.APP, CANVAS), _seconds(browser, hello)))
            report.progress(f"pair {pair or '0, to warm up'}: {measured[-1][0]:.2f} s, hello {measured[-1][1]:.2f} s")
    ours, theirs = np.array(measured[1:]).T
    report.table(
        "Server start to first page painted, seconds",
        ["", "median", "least", "most"],
        [[name, float(np.median(s)), s.min(), s.max()] for name, s in (("Digit Lab", ours), ("hello", theirs))],
    )
    report.result(ratio=np.median(ours / theirs), seconds=np.median(ours), hello_seconds=np.median(theirs))


def _seconds(browser: Browser, script: Path, last: str = "h1") -> float:
    """Return how long a script's first page takes; `last` is what comes last on it, as a CSS selector."""
    with server.visit(browser) as page, server.serving(script) as running:
        running.wait_until_listening()
        page.goto(running.url, wait_until="commit")
        page.locator(last).first.wait_for(timeout=1000 * PAINT_SECONDS)
        page.evaluate(IS_PAINTED, PAINT_SECONDS)
        return time.perf_counter() - running.started


if __name__ == "__main__":
    limit.run(main, minutes=20)
