"""How long the app takes to answer, on the clock of the browser that asks: from the release of the mouse button to the
frame that shows the answer.

A rerun is a page's answer to one of its controls, until all of it is there and its script at rest. A stroke is mouse-up
on the canvas to new bars beside it, the canvas' own wait included. Strokes are drawn for a finished Fast 99 while nothing
else runs, and again while a First CNN trains.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from playwright.sync_api import Page, expect

from benchmarks import report, server
from core.presets import FAST_99, FIRST_CNN
from core.specs import MAX_EPOCHS, Constant

# Looks at every change of the document until `read` returns something else than before, and not null, and until the
# script is at rest if the answer is to be whole.
STOPWATCH = """
window.stopwatch = {
    isAtRest: () => document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning",
    begin(read, isWhole) {
        const before = read();
        this.released = null;
        this.seconds = new Promise((resolve, reject) => {
            const look = () => {
                if (this.released === null || [before, null].includes(read()) || (isWhole && !this.isAtRest())) return;
                observer.disconnect();
                requestAnimationFrame(() => resolve((performance.now() - this.released) / 1000));
            };
            const observer = new MutationObserver(look);
            observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
            setTimeout(() => reject(new Error("no answer within 20 s; it still reads " + read())), 20000);
        });
        this.seconds.catch(() => {});
    },
};
addEventListener("pointerup", event => { window.stopwatch.released = event.timeStamp; }, { capture: true });
"""
IS_AT_REST = "() => stopwatch.isAtRest()"
# What each page shows of its answer.
BARS = "() => document.querySelector('[data-digit]')?.outerHTML ?? null"
ARE_EMPTY = "() => document.querySelector('[data-digit]')?.dataset.digit === ''"
SHEET = "() => document.querySelector('[class*=st-key-sheet-] image')?.getAttribute('href') ?? null"
LAYERS = "() => document.querySelectorAll('[class*=st-key-remove-]').length"
SCHEDULE = f"() => document.querySelector('[data-testid=stMain]').textContent.includes('{Constant.about}')"
MATRIX = "() => document.querySelector('[class*=st-key-matrix-] .js-plotly-plot')?.textContent.includes('%') ?? null"
HESITATION = np.random.default_rng(0)
SEVEN = [[(80, 60), (206, 60)], [(206, 60), (125, 225)]]


def main() -> None:
    """The pages that need no network first, then those that need one, then drawing while another one trains."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=20, help="per page; twice as many strokes")
    samples = arguments.parse_args().samples
    report.demand_mnist()
    with server.chromium() as browser, server.visit(browser, STOPWATCH) as page, server.serving() as running:
        running.wait_until_listening()
        page.goto(running.url)
        page.get_by_text("Engine ready").wait_for()
        reruns = {
            "Data": _data(page, samples),
            "Build": _build(page, samples),
            "Train": _train(page, samples),
        }
        report.progress("training Fast 99")
        finished = _train_first_network(page)
        reruns["Evaluate"] = _evaluate(page, samples)
        idle, reruns["Draw"] = _draw(page, samples)
        report.progress("training First CNN")
        _begin_long_training(page)
        page.goto(f"{running.url}/draw?run={finished}")
        training, _ = _draw(page, samples)
        _assert_is_training(page)
        _choose_run(page, FIRST_CNN.name)
        _stop_training(page)
        reruns["Start"] = _start(page, samples)
    _print(reruns, idle, training)


def _print(reruns: dict[str, list[float]], idle: list[float], training: list[float]) -> None:
    everything = [seconds for samples in reruns.values() for seconds in samples]
    rows = [
        *((f"rerun of {name}", samples) for name, samples in reruns.items()),
        ("rerun of any page", everything),
        ("stroke, idle", idle),
        ("stroke, while training", training),
    ]
    report.table(
        "Mouse button released to answer on the screen, milliseconds",
        ["", "samples", "p50", "p95"],
        [[name, len(samples), *(1000 * p for p in report.percentiles(samples))] for name, samples in rows],
    )
    pages = {f"rerun_p95_{name.lower()}_ms": 1000 * report.percentiles(samples)[1] for name, samples in reruns.items()}
    report.result(
        rerun_p95_ms=1000 * report.percentiles(everything)[1],
        stroke_p95_idle_ms=1000 * report.percentiles(idle)[1],
        stroke_p95_training_ms=1000 * report.percentiles(training)[1],
        rerun_p50_ms=1000 * report.percentiles(everything)[0],
        stroke_p50_idle_ms=1000 * report.percentiles(idle)[0],
        stroke_p50_training_ms=1000 * report.percentiles(training)[0],
        **pages,
    )


# --- the pages ----------------------------------------------------------------------------------------------------------
# Each opens its page and returns seconds per answer. The first answer on a page is not counted: it loads the page's code.


def _data(page: Page, samples: int) -> list[float]:
    """Another digit: a new sheet."""
    _open(page, "Data")
    digits = page.locator(".st-key-digit button")
    return [_seconds(page, SHEET, digits.nth(i % 10).click) for i in range(samples + 1)][1:]


def _build(page: Page, samples: int) -> list[float]:
    """A layer more and, undone, a layer less."""
    _open(page, "Build")
    add, undo = page.locator(".st-key-add-Dropout").get_by_role("button"), page.get_by_role("button", name="Undo")
    return [_seconds(page, LAYERS, (undo if i % 2 else add).click) for i in range(samples + 2)][2:]


def _train(page: Page, samples: int) -> list[float]:
    """Another schedule: its own fields and what it does."""
    _open(page, "Train")

    def choose(schedule: str) -> None:
        page.get_by_role("combobox", name="Schedule").click()
        page.get_by_role("option", name=schedule, exact=True).click()

    schedules = ("cosine", "constant")
    return [_seconds(page, SCHEDULE, choose, schedules[i % 2]) for i in range(samples + 2)][2:]


def _evaluate(page: Page, samples: int) -> list[float]:
    """The confusion matrix as shares and as counts."""
    _open(page, "Evaluate")
    page.get_by_text("Digit by digit").wait_for()
    page.locator("[class*=st-key-matrix-] .js-plotly-plot").wait_for()
    units = [page.get_by_text(unit, exact=True) for unit in ("Shares", "Counts")]
    return [_seconds(page, MATRIX, units[i % 2].click) for i in range(samples + 2)][2:]


def _draw(page: Page, samples: int) -> tuple[list[float], list[float]]:
    """Sevens of two strokes each: strokes, and wiping them off."""
    _open(page, "Draw")
    strokes, wipes = [], []
    for i in range(samples + 1):
        measured = [_seconds(page, BARS, _stroke, page, *ends, is_whole=False) for ends in SEVEN]
        wiped = _seconds(page, BARS, page.get_by_role("button", name="Clear").click)
        page.wait_for_function(ARE_EMPTY)
        if i > 0:
            strokes += measured
            wipes.append(wiped)
    return strokes, wipes


def _start(page: Page, samples: int) -> list[float]:
    """What is drawn, read by one network and by the other."""
    _open(page, "Start")
    _seconds(page, BARS, _stroke, page, *SEVEN[1])
    names = (FAST_99.name, FIRST_CNN.name)
    return [_seconds(page, BARS, _choose_run, page, names[i % 2]) for i in range(samples + 2)][2:]


# --- the ways through them ----------------------------------------------------------------------------------------------


def _open(page: Page, title: str) -> None:
    page.get_by_role("link", name=title, exact=True).first.click()
    page.locator("h1").filter(has_text="Build a network" if title == "Start" else title).wait_for()
    page.wait_for_function(IS_AT_REST)


def _seconds(page: Page, read: str, act: Callable[..., object], *arguments: object, is_whole: bool = True) -> float:
    """How long after the release of the mouse button in `act` another answer is `read` from the page, and all of it there."""
    page.wait_for_timeout(HESITATION.uniform(200, 500))  # as a hand's, in no step with the app's own clocks
    page.wait_for_function(IS_AT_REST)
    page.evaluate(f"stopwatch.begin({read}, {str(is_whole).lower()})")
    act(*arguments)
    return page.evaluate("stopwatch.seconds")


def _stroke(page: Page, start: tuple[int, int], end: tuple[int, int]) -> None:
    canvases = page.locator("canvas.upper-canvas")
    expect(canvases).to_have_count(1)  # a wiped one stands beside the new one for a moment
    canvas = canvases.bounding_box()
    page.mouse.move(canvas["x"] + start[0], canvas["y"] + start[1])
    page.mouse.down()
    page.mouse.move(canvas["x"] + end[0], canvas["y"] + end[1], steps=12)
    page.mouse.up()


def _choose_run(page: Page, name: str) -> None:
    page.get_by_role("combobox", name="Network in use").click()
    page.get_by_role("option").filter(has_text=name).click()


def _train_first_network(page: Page) -> str:
    """Train Fast 99 as the first page offers it; the run's id."""
    _open(page, "Start")
    page.get_by_role("button", name="Train my first network").click()
    page.locator("h4").filter(has_text="finished").wait_for(timeout=180_000)
    return page.url.partition("run=")[2]


def _begin_long_training(page: Page) -> None:
    _open(page, "Build")
    page.get_by_role("combobox", name="Start from").click()
    page.get_by_role("option", name=FIRST_CNN.name).click()
    _open(page, "Train")
    field = page.get_by_label("Epochs", exact=True)
    field.fill(str(MAX_EPOCHS))
    field.press("Enter")
    page.wait_for_function(IS_AT_REST)
    page.get_by_role("button", name="Start training").click()
    page.get_by_text(f"Epoch 1 of {MAX_EPOCHS}").wait_for()


def _assert_is_training(page: Page) -> None:
    page.get_by_text("1 training").wait_for(timeout=10_000)


def _stop_training(page: Page) -> None:
    _open(page, "Train")
    page.get_by_role("button", name="Stop and keep").click()
    page.locator("h4").filter(has_text="stopped").wait_for()


if __name__ == "__main__":
    main()
