"""A real server and a real browser. What the server logged stands under a test that fails."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, WebSocketRoute, expect, sync_playwright

from core.data import datasets
from core.runs.run import Run
from tests.e2e.places import box, click_values, wait_until

ROOT = Path(__file__).parents[2]
DESKTOP = {"width": 1360, "height": 900}
# For each tab, headless Chromium 156 draws two menus of its address bar, which nobody sees: two fifths of what a page costs.
# PaintHolding is what Playwright turns off; the switch counts once.
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-features=PaintHolding,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
]
SECONDS = 1000  # Playwright counts in milliseconds
START_SECONDS, STOP_SECONDS = 60, 15
TRAIN, TEST = 10_000, 2_000  # images that a server has of MNIST, at most
# Asked for beside a deep link's own path before the app's root is found: Streamlit's way, and no fault of the page.
KNOWN_ERRORS = re.compile(r"/_stcore/(health|host-config)")

expect.set_options(timeout=60 * SECONDS)


class Server:
    """The app as `streamlit run` serves it, with runs in a folder of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], *options: str) -> None:
        self.runs, self.log = folder / "runs", folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {**os.environ, **environment, "DIGITLAB_RUNS": str(self.runs)}
        for name in ("DIGITLAB_LOCAL", "DIGITLAB_SCHEDULER"):
            environment.pop(name, None)
        command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true"]
        with self.log.open("w") as log:
            self.process = psutil.Popen(
                [*command, "--server.port", str(self.port), "--server.address", "127.0.0.1", *options],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_up, START_SECONDS)

    def run(self, run_id: str) -> Run:
        """A run's folder, as the server wrote it."""
        return Run(run_id, str(self.runs))

    def worker(self) -> psutil.Process:
        """The process that trains."""
        return max(self.process.children(recursive=True), key=lambda child: child.memory_info().rss)

    def stop(self) -> list[str]:
        """Ask it to end, and make sure that all its processes do; those that had to be made to."""
        if self.process.poll() is not None:
            return []
        family = [self.process, *self.process.children(recursive=True)]
        self.process.terminate()
        _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
        names = [" ".join(process.cmdline()) for process in alive]
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        psutil.wait_procs(alive, timeout=STOP_SECONDS)
        return names

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What names the data set to a server: the first of MNIST's images, where it is at hand, else its stand-in four times over.

    All of MNIST would make every server, its worker and what is asked of all digits take several times as long; 1,497 images would be
    learned before a test could pause.
    """
    digits = datasets.load()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    train = {
        name: np.concatenate([getattr(digits, name)] * (4 if digits.is_stand_in else 1))[:TRAIN]
        for name in ("x_train", "y_train")
    }
    np.savez(path, **train, x_test=digits.x_test[:TEST], y_test=digits.y_test[:TEST])
    return {"DIGITLAB_MNIST": str(path)}


@pytest.fixture(scope="session")
def start_server(
    tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Iterator[Callable[..., Server]]:
    """A function of Streamlit's options that starts a server; all are ended after the last test."""
    servers: list[Server] = []

    def start(*options: str, **settings: str) -> Server:
        server = Server(tmp_path_factory.mktemp("server"), {**environment, **settings}, *options)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(start_server: Callable[[], Server]) -> Server:
    """The server that most tests share."""
    return start_server()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: DIGITLAB_CHROMIUM, else the system's, else Playwright's own."""
    system = Path("/usr/bin/chromium")
    path = os.environ.get("DIGITLAB_CHROMIUM") or (str(system) if system.exists() else None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """A function that opens a browser without memory of others.

    The page's security policy forbids eval, by which Playwright waits for conditions in the page.
    """
    contexts: list[BrowserContext] = []

    def new_context(**options) -> BrowserContext:
        context = browser.new_context(
            **{"bypass_csp": True, "viewport": DESKTOP, "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        return context

    yield new_context
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_context: Callable[..., BrowserContext]) -> Page:
    """A tab of a visitor who was never here."""
    return new_context().new_page()


class Line:
    """A page's connection to its server, which can be cut; to be made before the page is opened.

    A browser's own offline mode leaves an open WebSocket open.
    """

    def __init__(self, page: Page) -> None:
        self._is_up, self._ends = True, []
        page.route_web_socket(re.compile("/_stcore/stream"), self._opened)

    def cut(self) -> None:
        self._is_up = False
        while self._ends:
            self._ends.pop().close()

    def mend(self) -> None:
        self._is_up = True

    def _opened(self, socket: WebSocketRoute) -> None:
        if self._is_up:
            self._ends += [socket, socket.connect_to_server()]
        else:
            socket.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if report.failed:
        for server in {id(s): s for s in item.funcargs.values() if isinstance(s, Server)}.values():
            report.sections.append(("The server's log", server.log.read_text()[-8000:]))
    return report


# --- what one does in the lab -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def lab() -> Lab:
    """Ways to use the app."""
    return Lab()


class Lab:
    """What a visitor does, each step waiting for what it leads to."""

    def open(self, page: Page, server: Server, path: str = "", run: str | None = None) -> None:
        page.goto(f"{server.url}/{path}" + (f"?run={run}" if run else ""))
        expect(page.locator("h1")).to_be_visible()
        self.settle(page)

    def settle(self, page: Page) -> None:
        """Wait until the script is done and drawn, keyboard shortcuts included."""
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
        )

    def go(self, page: Page, title: str) -> None:
        """To another page of the menu."""
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", level=1, name=title)).to_be_visible()
        self.settle(page)

    def set(self, page: Page, label: str, value: object) -> None:
        """Type a number, or another text, into the field of this name."""
        box = page.get_by_role("textbox", name=label, exact=True)
        box.fill(str(value))
        box.press("Enter")
        expect(page.get_by_test_id("stTextInput").filter(has_text="Press Enter")).to_have_count(0)
        self.settle(page)

    def start_training(self, page: Page, images: int, epochs: int) -> str:
        """The id of a new run of what is built, from the Train page."""
        self.set(page, "Epochs", epochs)
        self.set(page, "Images used", images)
        before = page.url
        page.get_by_role("button", name="Start training").click()
        page.wait_for_url(lambda url: "run=" in url and url != before)
        return page.url.partition("run=")[2]

    def badge(self, page: Page) -> Locator:
        """The line that says which run it is and how it is."""
        return page.get_by_test_id("stMain").locator("h4")

    def epochs_drawn(self, page: Page) -> float:
        """How far the loss curve reaches, in epochs."""
        return page.evaluate(
            "() => Number(document.querySelector('[class*=st-key-loss-] .js-plotly-plot')?._fullData?.[0]?.x?.at(-1) ?? 0)"
        )

    def wait_for_curve(self, page: Page, beyond: float) -> float:
        """How far the curve reaches once it is beyond so many epochs."""
        reached: list[float] = []

        def is_beyond() -> bool:
            reached.append(self.epochs_drawn(page))
            return reached[-1] > beyond

        wait_until(is_beyond, 60)
        return reached[-1]

    def click_cell(self, page: Page, true: int, predicted: int) -> None:
        """Click a cell of the confusion matrix."""
        click_values(page.locator("[class*=st-key-matrix-] .js-plotly-plot"), str(predicted), str(true))

    def draw(self, page: Page, *points: tuple[float, float]) -> None:
        """One stroke on the canvas through these points, given in shares of its side."""
        canvas = page.locator(".st-key-pad[data-has-pen] canvas").last
        canvas.scroll_into_view_if_needed()
        sheet = box(canvas)
        (x, y), *rest = [(sheet["x"] + a * sheet["width"], sheet["y"] + b * sheet["height"]) for a, b in points]
        page.mouse.move(x, y)
        page.mouse.down()
        for x, y in rest:
            page.mouse.move(x, y, steps=12)
        page.mouse.up()

    def draw_seven(self, page: Page) -> None:
        self.draw(page, (0.24, 0.18), (0.70, 0.18), (0.62, 0.38), (0.52, 0.60), (0.42, 0.84))


@pytest.fixture(scope="session")
def console_errors() -> Callable[[Page], list[str]]:
    """A function of a page: a list that gathers what its console calls an error, from now on."""

    def listen(page: Page) -> list[str]:
        errors: list[str] = []

        def heard(message) -> None:
            if message.type == "error" and not KNOWN_ERRORS.search(message.location.get("url", "")):
                errors.append(f"{message.text} ({message.location.get('url')})")

        page.on("console", heard)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return errors

    return listen


@pytest.fixture(scope="session")
def finished_run(server: Server, browser: Browser, lab: Lab) -> str:
    """The id of a small run that is done and tested, for tests that only look at one."""
    context = browser.new_context(bypass_csp=True, viewport=DESKTOP)
    page = context.new_page()
    lab.open(page, server, "train")
    run_id = lab.start_training(page, images=1000, epochs=2)
    expect(lab.badge(page)).to_contain_text("finished", timeout=90 * SECONDS)
    lab.go(page, "Evaluate")  # the network is judged at the same time
    expect(page.get_by_role("heading", name="Digit by digit")).to_be_visible(timeout=90 * SECONDS)
    context.close()
    return run_id
