"""A Streamlit server of its own and a Chromium to look at it: the app as its visitors meet it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parent.parent
APP = ROOT / "streamlit_app.py"
CHROMIUM = Path("/usr/bin/chromium")  # where Debian's package puts it
WINDOW = {"width": 1360, "height": 900}
START_SECONDS = 60
END_SECONDS = 20


@dataclass(frozen=True)
class Server:
    """A server that was started at `started`, a time of `time.perf_counter`, and keeps its runs in a folder."""

    url: str
    process: psutil.Process
    started: float
    runs: Path

    def wait_until_listening(self) -> None:
        """Wait for its port to take connections."""
        address = self.url.removeprefix("http://").split(":")
        while time.perf_counter() - self.started < START_SECONDS:
            if not self.process.is_running() or self.process.status() == psutil.STATUS_ZOMBIE:
                raise RuntimeError("The server ended before it listened.")
            with socket.socket() as probe:
                if probe.connect_ex((address[0], int(address[1]))) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError(f"The server did not listen within {START_SECONDS} s.")

    def memory(self) -> tuple[int, int]:
        """Return bytes of resident memory: of the server, and of all its worker processes together."""
        workers = 0
        for process in self.process.children(recursive=True):
            with suppress(psutil.Error):  # it ended meanwhile
                workers += process.memory_info().rss
        return self.process.memory_info().rss, workers


@contextmanager
def serving(script: Path = APP) -> Iterator[Server]:
    """Serve a script with the app's own settings, its theme aside, and with no runs yet; end it with all its workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="digitlab-benchmark-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "DIGITLAB_RUNS": f"{folder}/runs", "DIGITLAB_LOCAL": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every start compiles the app's sources again
        command = [sys.executable, "-m", "streamlit", "run", str(script), *_settings()]
        command += ["--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"]
        with Path(folder, "server.log").open("w") as log:
            started = time.perf_counter()
            process = subprocess.Popen(command, cwd=script.parent, env=environment, stdout=log, stderr=log)
        try:
            yield Server(f"http://127.0.0.1:{port}", psutil.Process(process.pid), started, Path(folder, "runs"))
        except BaseException:
            print(Path(folder, "server.log").read_text()[-4000:], file=sys.stderr)
            raise
        finally:
            _end(process)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a headless Chromium: DIGITLAB_CHROMIUM, else Debian's, else Playwright's own."""
    path = os.environ.get("DIGITLAB_CHROMIUM") or (CHROMIUM if CHROMIUM.exists() else None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Browser, script: str = "") -> Iterator[Page]:
    """Yield a page with an empty cache, before its first address. Our content policy, which forbids eval, is off for
    it.

    Args:
        browser: a Chromium.
        script: JavaScript to run in every document before its own.
    """
    context = browser.new_context(bypass_csp=True, viewport=WINDOW, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    context.add_init_script(script)
    try:
        yield context.new_page()
    finally:
        context.close()


def _settings() -> list[str]:
    """Return the app's settings without its looks, as flags, so that they can be given to another script too."""
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    return [
        f"--{section}.{name}={str(value).lower() if isinstance(value, bool) else value}"
        for section in ("server", "runner", "client", "browser")
        for name, value in settings[section].items()
    ]


def _end(process: subprocess.Popen) -> None:
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(workers, END_SECONDS)
    for worker in alive:
        worker.kill()
