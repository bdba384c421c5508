"""How long the app takes to answer, on the clock of the browser that asks: from the release of the mouse button to the
frame that shows the answer.

A rerun is a page's answer to one of its controls, until all of it is there and its script at rest. A stroke is mouse-up
on the canvas to new bars beside it, the canvas' own wait included. On the live pad a move of the pointer is on the
clock, until the bars change while the pen is still down. Both are drawn for a finished Fast 99 while nothing else runs,
and again while a First CNN trains. An edit is a change to a layer on Build (a number typed or stepped, a choice, a
slider, a layer more, undo) to the new figures of the whole stack, its script at rest. An opening is a click in the menu
to the whole page, for the first time in a visit.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

import numpy as np
from playwright.sync_api import Browser, Locator, Page, expect

from benchmarks import limit, report, server
from core.model.presets import FAST_99, FIRST_CNN
from core.model.specs import MAX_EPOCHS, Constant

# Looks at every change of the document until `read` returns something else than before, and not null, and until the
# script is at rest if the answer is to be whole.
STOPWATCH = """
window.stopwatch = {
    isAtRest: () => document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning",
    begin(read, isWhole, isOnMoves) {
        const before = read();
        this.isOnMoves = isOnMoves;
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
const released = event => { window.stopwatch.released = event.timeStamp; };
addEventListener("pointerup", released, { capture: true });
addEventListener("pointermove", event => { if (window.stopwatch.isOnMoves) released(event); }, { capture: true });
addEventListener("keydown", event => { if (["Enter", "ArrowRight", "ArrowLeft"].includes(event.key)) released(event); }, { capture: true });
"""
IS_AT_REST = "() => stopwatch.isAtRest()"
# What each page shows of its answer.
BARS = "() => document.querySelector('[data-digit]')?.outerHTML ?? null"
ARE_EMPTY = "() => document.querySelector('[data-digit]')?.dataset.digit === ''"
SHEET = "() => document.querySelector('[class*=st-key-sheet-] image')?.getAttribute('href') ?? null"
LAYERS = "() => document.querySelectorAll('[class*=st-key-open-]').length"
LEDGER = """() => [...document.querySelectorAll("[data-testid=stMetricValue], [class*=st-key-open-], [data-shape]")]
    .map(part => part.ariaLabel ?? part.textContent).join()"""
SCHEDULE = f"() => document.querySelector('[data-testid=stMain]').textContent.includes('{Constant.about}')"
MATRIX = "() => document.querySelector('[class*=st-key-matrix-] .js-plotly-plot')?.textContent.includes('%') ?? null"
HEADING = "() => document.querySelector('h1')?.textContent ?? null"
OPENED = ("Data", "Build", "Train", "Evaluate", "Explain", "Draw")
TALL = {"width": server.WINDOW["width"], "height": 2000}
HESITATION = np.random.default_rng(0)
SEVEN = [[(80, 60), (206, 60)], [(206, 60), (125, 225)]]


def main() -> None:
    """Measure the pages that need no network, then those that need one, then drawing while another one trains."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=20, help="per page and control; twice as many strokes")
    arguments.add_argument("--only", choices=["edit", "open", "stroke", "pad"], help="measure this alone")
    arguments = arguments.parse_args()
    samples = arguments.samples
    report.demand_mnist()
    with server.chromium() as browser, server.visit(browser, STOPWATCH) as page, server.serving() as running:
        running.wait_until_listening()
        page.goto(running.url)
        page.get_by_text("Engine ready").wait_for()
        if arguments.only in ("stroke", "pad"):
            measure = _draw if arguments.only == "stroke" else _pad
            finished = _train_first_network(page)
            idle, _ = measure(page, samples)
            report.progress(f"idle: p50 and p95 {[round(1000 * p) for p in report.percentiles(idle)]} ms")
            training = _while_training(page, running, finished, measure, samples)
            _print_strokes({arguments.only: idle}, {arguments.only: training})
            return
        if arguments.only == "open":
            finished = _train_first_network(page)
            _print_openings({name: _openings(browser, running, finished, name, samples, 1) for name in OPENED})
            return
        edits = _edit(page, samples)
        if arguments.only == "edit":
            _print_edits(edits)
            return
        reruns = {
            "Data": _data(page, samples),
            "Build": _build(page, samples),
            "Train": _train(page, samples),
        }
        report.progress("training Fast 99")
        finished = _train_first_network(page)
        reruns["Evaluate"] = _evaluate(page, samples)
        reruns["Explain"] = _explain(page, samples)
        idle, reruns["Draw"] = _draw(page, samples)
        pad_idle, _ = _pad(page, samples)
        training = _while_training(page, running, finished, _draw, samples)
        pad_training = _while_training(page, running, finished, _pad, samples)
        reruns["Start"] = _start(page, samples)
        openings = {  # Data alone was not yet shown with a finished run
            name: _openings(browser, running, finished, name, (samples + 1) // 2, int(name == "Data"))
            for name in OPENED
        }
    _print_edits(edits)
    _print_openings(openings)
    _print_strokes({"stroke": idle, "pad": pad_idle}, {"stroke": training, "pad": pad_training})
    _print(reruns, idle, training)


def _table(title: str, measured: dict[str, list[float]]) -> None:
    rows = [
        [name, len(samples), *(1000 * p for p in report.percentiles(samples))] for name, samples in measured.items()
    ]
    report.table(title, ["", "samples", "p50", "p95"], rows)


def _print_openings(openings: dict[str, list[float]]) -> None:
    everything = [seconds for samples in openings.values() for seconds in samples]
    _table(
        "A page of the menu clicked to the whole page, for the first time in a visit, milliseconds",
        {**openings, "any page": everything},
    )
    report.result(
        open_p95_ms=1000 * report.percentiles(everything)[1],
        **{f"open_p95_{name.lower()}_ms": 1000 * report.percentiles(samples)[1] for name, samples in openings.items()},
    )


def _print_edits(edits: dict[str, list[float]]) -> None:
    everything = [seconds for samples in edits.values() for seconds in samples]
    _table(
        "A layer's control changed to the new figures on the screen, milliseconds",
        {**edits, "any edit": everything},
    )
    report.result(
        edit_p95_ms=1000 * report.percentiles(everything)[1], edit_p50_ms=1000 * report.percentiles(everything)[0]
    )


def _print_strokes(idle: dict[str, list[float]], training: dict[str, list[float]]) -> None:
    situations = [("idle", idle), ("training", training)]
    _table(
        "Mouse button released on the canvas, or pointer moved on the live pad, to new bars, milliseconds",
        {f"{surface}, {name}": samples for name, surfaces in situations for surface, samples in surfaces.items()},
    )
    report.result(
        **{
            f"{surface}_{p}_{name}_ms": 1000 * value
            for name, surfaces in situations
            for surface, samples in surfaces.items()
            for p, value in zip(("p50", "p95"), report.percentiles(samples), strict=True)
        }
    )


def _print(reruns: dict[str, list[float]], idle: list[float], training: list[float]) -> None:
    everything = [seconds for samples in reruns.values() for seconds in samples]
    rows = {
        **{f"rerun of {name}": samples for name, samples in reruns.items()},
        "rerun of any page": everything,
        "stroke, idle": idle,
        "stroke, while training": training,
    }
    _table(
        "Mouse button released to answer on the screen, milliseconds",
        rows,
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
    """Measure another digit on Data: a new sheet."""
    _open(page, "Data")
    digits = page.locator(".st-key-digit button")
    return [_seconds(page, SHEET, digits.nth(i % 10).click) for i in range(samples + 1)][1:]


def _edit(page: Page, samples: int) -> dict[str, list[float]]:
    """Measure edits of Fast 99 with its first convolution and a dropout open: each control in turn, there and back."""
    _open(page, "Build")
    page.get_by_role("combobox", name="Start from").click()
    page.get_by_role("option", name=FAST_99.name).click()
    page.get_by_text(FAST_99.about).wait_for()
    page.get_by_role("button", name="1 Conv2D").click()
    page.locator(".st-key-add-Dropout").get_by_role("button").click()
    filters, kernel_size = (page.get_by_role("textbox", name=name).first for name in ("Filters", "Kernel size"))
    add, undo = page.locator(".st-key-add-Flatten").get_by_role("button"), page.get_by_role("button", name="Undo")

    def type_in(field: Locator, value: int) -> None:
        field.fill(str(value))
        field.press("Enter")

    def choose(option: str) -> None:
        page.get_by_role("combobox", name="Activation").first.click()
        page.get_by_role("option", name=option, exact=True).click()

    def slide(key: str) -> None:
        page.get_by_role("slider").first.press(key)

    acts: dict[str, Callable[[int], object]] = {
        "number typed": lambda turn: type_in(kernel_size, 3 + 2 * turn),
        "choice": lambda turn: choose(("tanh", "linear")[turn]),
        "slider": lambda turn: slide(("ArrowRight", "ArrowLeft")[turn]),
        "layer more, undone": lambda turn: (add, undo)[turn].click(),
    }
    filters.wait_for()
    page.set_viewport_size(TALL)  # a menu closes when it is scrolled to, and a hand would not click it then
    measured: dict[str, list[float]] = {name: [] for name in acts}
    for i in range(samples + 2):
        for name, act in acts.items():
            measured[name].append(_seconds(page, LEDGER, act, i % 2))
    page.set_viewport_size(server.WINDOW)
    return {name: seconds[2:] for name, seconds in measured.items()}


def _build(page: Page, samples: int) -> list[float]:
    """Measure one more layer and, undone, one less."""
    _open(page, "Build")
    add, undo = page.locator(".st-key-add-Dropout").get_by_role("button"), page.get_by_role("button", name="Undo")
    return [_seconds(page, LAYERS, (undo if i % 2 else add).click) for i in range(samples + 2)][2:]


def _train(page: Page, samples: int) -> list[float]:
    """Measure another schedule: its own fields and its curve."""
    _open(page, "Train")
    page.set_viewport_size(TALL)  # a menu closes when it is scrolled to

    def choose(schedule: str) -> None:
        page.get_by_role("combobox", name="Schedule").click()
        page.get_by_role("option", name=schedule, exact=True).click()

    schedules = ("constant", "cosine")  # that of Fast 99, which stands there, is neither
    measured = [_seconds(page, SCHEDULE, choose, schedules[i % 2]) for i in range(samples + 2)][2:]
    page.set_viewport_size(server.WINDOW)
    return measured


def _evaluate(page: Page, samples: int) -> list[float]:
    """Measure the confusion matrix as shares and as counts."""
    _open(page, "Evaluate")
    page.get_by_text("Digit by digit").wait_for()
    page.locator("[class*=st-key-matrix-] .js-plotly-plot").wait_for()
    units = [page.get_by_text(unit, exact=True) for unit in ("Shares", "Counts")]
    return [_seconds(page, MATRIX, units[i % 2].click) for i in range(samples + 2)][2:]


def _explain(page: Page, samples: int) -> list[float]:
    """Measure another digit: its prediction, layer by layer."""
    _open(page, "Explain")
    page.get_by_text("comes about").wait_for()
    another = page.get_by_role("button", name="Another")
    return [_seconds(page, BARS, another.click) for _ in range(samples + 2)][2:]


def _openings(
    browser: Browser, running: server.Server, run: str, title: str, samples: int, uncounted: int = 0
) -> list[float]:
    """Measure a page opened from Start, each time in a new visit to a server that has shown it before.

    Args:
        uncounted: visits before the first that counts, where the server has not shown it yet.
    """
    seconds = []
    for _ in range(uncounted + samples):
        with server.visit(browser, STOPWATCH) as page:
            page.goto(f"{running.url}/?run={run}")
            page.get_by_text("Engine ready").wait_for()
            link = page.get_by_role("link", name=title, exact=True).first
            seconds.append(_seconds(page, HEADING, link.click))
    return seconds[uncounted:]


def _draw(page: Page, samples: int) -> tuple[list[float], list[float]]:
    """Measure sevens of two strokes each: the strokes, and wiping them off."""
    _open(page, "Draw")
    page.get_by_text("Canvas", exact=True).click()
    page.wait_for_function(IS_AT_REST)
    strokes, wipes = [], []
    for i in range(samples + 1):
        measured = [_seconds(page, BARS, _stroke, page, *ends, is_whole=False) for ends in SEVEN]
        wiped = _seconds(page, BARS, page.get_by_role("button", name="Clear").click)
        page.wait_for_function(ARE_EMPTY)
        if i > 0:
            strokes += measured
            wipes.append(wiped)
    return strokes, wipes


def _pad(page: Page, samples: int) -> tuple[list[float], list[float]]:
    """Measure sevens on the live pad, of long strokes: each counted move is one more piece of a stroke, the pen still
    down."""
    _open(page, "Draw")
    page.get_by_text("Live pad", exact=True).click()
    pad = page.get_by_role("application")
    pad.wait_for()
    moves: list[float] = []
    while len(moves) < 2 * samples + 2:
        pad.press("Delete")
        page.wait_for_function(ARE_EMPTY)
        box = pad.bounding_box()
        page.mouse.move(box["x"] + 100, box["y"] + 80)
        page.mouse.down()
        for k in range(
            1, 9
        ):  # along a seven's roof and down its leg; a straight line twice as long would be the same 28 x 28 pixels
            place = box["x"] + 100 + (160 if k > 2 else 80 * k), box["y"] + 80 + max(0, k - 1) * 30
            moves.append(_seconds(page, BARS, page.mouse.move, *place, is_whole=False, is_on_moves=True))
        page.mouse.up()
    return moves[2 : 2 * samples + 2], []


def _while_training(
    page: Page, running: server.Server, finished: str, measure: Callable[..., tuple], samples: int
) -> list[float]:
    """Measure the finished run while another trains."""
    report.progress("training First CNN")
    _begin_long_training(page)
    page.goto(f"{running.url}/draw?run={finished}")
    training, _ = measure(page, samples)
    _assert_is_training(page)
    _choose_run(page, FIRST_CNN.name)
    _stop_training(page)
    return training


def _start(page: Page, samples: int) -> list[float]:
    """Measure the same drawing, classified by one network and by the other."""
    _open(page, "Start")
    _seconds(page, BARS, _stroke, page, *SEVEN[1])
    names = (FAST_99.name, FIRST_CNN.name)
    return [_seconds(page, BARS, _choose_run, page, names[i % 2]) for i in range(samples + 2)][2:]


# --- the ways through them ----------------------------------------------------------------------------------------------


def _open(page: Page, title: str) -> None:
    page.get_by_role("link", name=title, exact=True).first.click()
    page.locator("h1").filter(has_text="Build a network" if title == "Start" else title).wait_for()
    page.wait_for_function(IS_AT_REST)


def _seconds(
    page: Page,
    read: str,
    act: Callable[..., object],
    *arguments: object,
    is_whole: bool = True,
    is_on_moves: bool = False,
) -> float:
    """Return the seconds from the release of the mouse button in `act`, or from its move, to another complete answer.

    Args:
        read: JavaScript that reads the answer from the page.
    """
    page.wait_for_timeout(HESITATION.uniform(200, 500))  # as a hand's, in no step with the app's own clocks
    page.wait_for_function(IS_AT_REST)
    page.evaluate(f"stopwatch.begin({read}, {str(is_whole).lower()}, {str(is_on_moves).lower()})")
    act(*arguments)
    return page.evaluate("stopwatch.seconds")


def _stroke(page: Page, start: tuple[int, int], end: tuple[int, int]) -> None:
    canvases = page.locator("[data-has-pen] canvas.upper-canvas")
    expect(canvases).to_have_count(1, timeout=20_000)  # a wiped one stands beside the new one for a moment
    canvas = canvases.bounding_box()
    page.mouse.move(canvas["x"] + start[0], canvas["y"] + start[1])
    page.mouse.down()
    page.mouse.move(canvas["x"] + end[0], canvas["y"] + end[1], steps=12)
    page.mouse.up()


def _choose_run(page: Page, name: str) -> None:
    page.get_by_role("combobox", name="Network in use").click()
    page.get_by_role("option").filter(has_text=name).first.click()  # the newest of that name


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
    for label, value in (("Epochs", MAX_EPOCHS), ("Batch size", 8)):  # small batches take long on few images, too
        field = page.get_by_label(re.compile(f"^{label}"))
        field.fill(str(value))
        field.press("Enter")
        page.wait_for_function(IS_AT_REST)
    page.get_by_role("button", name="Start training").click()
    page.get_by_text(re.compile(rf"Epoch \d+ of {MAX_EPOCHS}")).first.wait_for()


def _assert_is_training(page: Page) -> None:
    page.get_by_text("Training: ").wait_for(timeout=10_000)


def _stop_training(page: Page) -> None:
    """Stop it after its first epoch, before which there is no network to draw for."""
    _open(page, "Train")
    page.get_by_text(re.compile(rf"Epoch ([2-9]|\d\d+) of {MAX_EPOCHS}")).first.wait_for(timeout=300_000)
    page.get_by_role("button", name="Stop and keep").click()
    page.locator("h4").filter(has_text="stopped").wait_for()


if __name__ == "__main__":
    limit.run(main, minutes=60)
