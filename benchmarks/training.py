"""Images a second of First CNN as the app trains it, over bare `model.fit`; and the memory of the whole app meanwhile.

Ours goes through an engine: a Dask worker, events, files after every epoch; the clock is the client's, which sees an
epoch end when its event arrives. `fit` runs in a process of its own with the worker's environment, on the same network,
the same images and the same validation images, as NumPy arrays and without a progress bar. Both processes have loaded
TensorFlow and trained a little before. The ratio is that of the wall time of the epochs after the first, so that neither
side's compilation is in it, but all that happens between two epochs is; the whole run's, compilation included, is
printed beside it.

With `--live all`, First CNN is also trained in the app with its page open in Chromium, in turn with no view of what goes on
inside it and with every one of them switched on, a digit drawn before among what they show; `ratio_live` is that of the images a
second of the epochs after the first, by the times at which their networks were written.

Memory is that of a server of its own with its worker, while a First CNN run is started and watched in Chromium.
`growth_mb_per_run` is what a worker keeps of each of many short runs; `--only-growth` measures nothing else, in a minute or two.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import dask
import distributed  # noqa: F401  (declares the environment of its workers in dask's config)
import numpy as np
from playwright.sync_api import Page, TimeoutError, expect

from benchmarks import limit, report, server
from core.data import datasets
from core.engine.cluster import WATCH_SECONDS, Phase
from core.engine.engine import Engine
from core.model import presets
from core.model.specs import Experiment, replaced
from core.runs import registry
from core.runs.progress import State

POLL_SECONDS = 0.01
SAMPLE_SECONDS = 0.1
LIVE_EPOCHS = 3
SEVEN = ((0.24, 0.18), (0.70, 0.18), (0.52, 0.60), (0.42, 0.84))  # a stroke, in shares of the canvas
MOST_STROKES = 10
TALL = {"width": server.WINDOW["width"], "height": 2600}
UNEVEN_RUNS = 2  # after which a worker has loaded all that a run needs
MOST_SECONDS = 600  # that a run in the browser may take


@dataclass(frozen=True)
class Timing:
    """Seconds from the start, before the network is built, to the end of each epoch and to the end of everything."""

    epoch_ends: tuple[float, ...]
    end: float

    @property
    def later_epochs(self) -> float:
        """Seconds for all epochs after the first."""
        return self.epoch_ends[-1] - self.epoch_ends[0]


def main() -> None:
    """Measure the memory, and then ours and fit in turn, at both batch sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2, help="per batch size; more on a busy machine")
    parser.add_argument("--epochs", type=int, default=2, help="of each training; the first is not in the ratio")
    parser.add_argument("--memory-epochs", type=int, default=10, help="of the run whose memory is taken")
    parser.add_argument(
        "--live", choices=["none", "all"], default="none", help="also measure what looking inside costs"
    )
    parser.add_argument(
        "--growth-runs", type=int, default=12, help="short ones, over which the worker's memory is taken"
    )
    parser.add_argument("--only-growth", action="store_true", help="measure nothing but growth_mb_per_run")
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs must be 2 or more: the first is not in the ratio")
    if arguments.growth_runs <= UNEVEN_RUNS + 1:
        parser.error(f"--growth-runs must be {UNEVEN_RUNS + 2} or more: the first {UNEVEN_RUNS} are not in the growth")
    report.demand_mnist()
    growth = _growth(arguments.growth_runs)
    if arguments.only_growth:
        report.result(growth_mb_per_run=growth)
        return
    live = {"ratio_live": _live(arguments.pairs)} if arguments.live == "all" else {}
    peak = _peak_memory(arguments.memory_epochs)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # What Dask sets for its workers alone, for both sides.
    os.environ |= {name: str(value) for name, value in dask.config.get("distributed.nanny.pre-spawn-environ").items()}
    ratios = {}
    with (
        tempfile.TemporaryDirectory(prefix="digitlab-benchmark-") as root,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process,
    ):
        engine = Engine()
        engine.start()
        try:
            little = _first_cnn(batch_size=32, epochs=1, train_size=2000)
            _ours(engine, little, root), process.submit(_fit, little).result()
            for batch_size in (32, 128):
                experiment = _first_cnn(batch_size, arguments.epochs)
                ratios[batch_size] = _compare(engine, process, root, experiment, arguments.pairs)
        finally:
            engine.close()
    report.result(
        ratio_b32=ratios[32][0],
        ratio_b128=ratios[128][0],
        peak_rss_mb=sum(peak) / 1e6,
        whole_run_ratio_b32=ratios[32][1],
        whole_run_ratio_b128=ratios[128][1],
        server_rss_mb=peak[0] / 1e6,
        worker_rss_mb=peak[1] / 1e6,
        growth_mb_per_run=growth,
        **live,
    )


def _first_cnn(batch_size: int, epochs: int, **changes: int) -> Experiment:
    recipe = presets.FIRST_CNN.experiment
    return replaced(recipe, training=replaced(recipe.training, batch_size=batch_size, epochs=epochs, **changes))


def _compare(
    engine: Engine, process: ProcessPoolExecutor, root: str, experiment: Experiment, pairs: int
) -> tuple[float, float]:
    """Return the medians of the pairs' ratios: of the epochs after the first, and of the whole runs."""
    training = experiment.training
    images = round(training.train_size * (1 - training.validation_split)) * (training.epochs - 1)
    later, whole, rows = [], [], []
    for pair in range(1, pairs + 1):
        ours = _ours(engine, experiment, root)
        fit = process.submit(_fit, experiment).result()
        later.append(fit.later_epochs / ours.later_epochs)
        whole.append(fit.end / ours.end)
        rows.append([f"pair {pair}", images / ours.later_epochs, images / fit.later_epochs, later[-1], whole[-1]])
        report.progress(f"batch {training.batch_size}, pair {pair}: ratio {later[-1]:.2f}, whole runs {whole[-1]:.2f}")
    rows.append(["median", *(float(np.median(column)) for column in list(zip(*rows, strict=True))[1:])])
    report.table(
        f"First CNN, batch size {training.batch_size}, {training.epochs} epochs: images a second after the first epoch",
        ["", "Digit Lab", "fit", "ratio", "ratio of whole runs"],
        rows,
    )
    return float(np.median(later)), float(np.median(whole))


def _ours(engine: Engine, experiment: Experiment, root: str) -> Timing:
    while engine.status().phase is not Phase.READY:
        time.sleep(POLL_SECONDS)
    run = registry.create(experiment, "First CNN", root)
    started, ends = time.perf_counter(), []
    engine.train(run)
    while True:
        progress = engine.progress(run)
        seconds = time.perf_counter() - started
        ends += [seconds] * (len(progress.history) - len(ends))
        if progress.state.is_over:
            break
        time.sleep(POLL_SECONDS)
    if progress.state is not State.FINISHED:
        raise RuntimeError(f"The run {progress.state}: {progress.message}")
    time.sleep(2 * WATCH_SECONDS)  # a worker that has grown is restarted now: not while the other side is timed
    while engine.status().phase is not Phase.READY:
        time.sleep(POLL_SECONDS)
    return Timing(tuple(ends), seconds)


def _fit(experiment: Experiment) -> Timing:
    """Time the same training in plain Keras. Runs in the other process."""
    import keras

    from core.model import keras_model

    training, dataset = experiment.training, datasets.load()
    trained_on, held_out = datasets.split(
        dataset.y_train, training.train_size, training.validation_split, training.seed
    )
    x_train, y_train = dataset.x_train[trained_on][..., None], dataset.y_train[trained_on]
    held = dataset.x_train[held_out][..., None], dataset.y_train[held_out]
    started, ends = time.perf_counter(), []
    network = keras_model.build(experiment)
    network.fit(
        x_train,
        y_train,
        batch_size=training.batch_size,
        epochs=training.epochs,
        validation_data=held,
        verbose=0,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter() - started))],
    )
    return Timing(tuple(ends), time.perf_counter() - started)


def _growth(count: int) -> float:
    """Return the megabytes that a worker keeps of each run: the slope of its memory after many short runs of different
    seeds."""
    memory = []
    with tempfile.TemporaryDirectory(prefix="digitlab-benchmark-") as root:
        engine = Engine()
        engine.start()
        try:
            for seed in range(count):
                _ours(engine, _first_cnn(batch_size=32, epochs=1, train_size=2000, seed=seed), root)
                memory.append(engine.status().memory / 1e6)
                report.progress(f"short run {seed + 1} of {count}: the worker holds {memory[-1]:.0f} MB")
        finally:
            engine.close()
    growth, _ = np.polyfit(np.arange(count - UNEVEN_RUNS), memory[UNEVEN_RUNS:], 1)
    return float(growth)


def _peak_memory(epochs: int) -> tuple[int, int]:
    """Return the largest memory of server and worker, in bytes, while a First CNN run is made and watched in the
    browser.
    """
    samples, is_over = [], threading.Event()
    with server.chromium() as browser, server.visit(browser) as page, server.serving() as running:

        def sample() -> None:
            while not is_over.wait(SAMPLE_SECONDS):
                samples.append(running.memory())

        running.wait_until_listening()
        sampling = threading.Thread(target=sample)
        sampling.start()
        try:
            _open_train(page, running, epochs)
            _start_training(page)
            _wait_until_finished(page)
        finally:
            is_over.set()
            sampling.join()
    peak = max(samples, key=sum)
    report.table(
        f"Resident memory through {epochs} epochs of First CNN in the app, at its peak",
        ["", "MB"],
        [["server", peak[0] / 1e6], ["worker", peak[1] / 1e6], ["both", sum(peak) / 1e6]],
    )
    return peak


def _live(pairs: int) -> float:
    """Return the median of the pairs' ratios: images a second with every view on, over those with none."""
    from ui.train.live import VIEWS  # loads Streamlit, which has no place in the process of `fit`

    seconds: dict[bool, list[float]] = {False: [], True: []}
    with server.chromium() as browser, server.visit(browser) as page, server.serving() as running:
        running.wait_until_listening()
        page.set_viewport_size(TALL)  # so that all of it is drawn
        page.goto(f"{running.url}/draw")
        page.get_by_text("Engine ready").wait_for()
        page.wait_for_load_state("networkidle")  # the whole page is drawn anew now, the canvas too
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        _draw_seven(page)
        page.get_by_role("link", name="Train", exact=True).first.click()
        _set_epochs(page, LIVE_EPOCHS)
        for turn in range(2 * pairs):
            is_live = turn % 2 == 1
            _start_training(page)
            for view in VIEWS:
                pill = page.get_by_role("button", name=view, exact=True)
                if (pill.get_attribute("aria-pressed") == "true") is not is_live:
                    pill.click()
                    expect(pill).to_have_attribute("aria-pressed", str(is_live).lower())
            _wait_until_finished(page)
            run = page.url.partition("run=")[2]
            seconds[is_live].append(_seconds_after_first_epoch(Path(running.runs, run)))
    ratios = [without / with_ for without, with_ in zip(seconds[False], seconds[True], strict=True)]
    report.table(
        f"First CNN in the app, its page open: seconds for the {LIVE_EPOCHS - 1} epochs after the first",
        ["", "no view", "every view", "ratio"],
        [[f"pair {k + 1}", *row] for k, row in enumerate(zip(seconds[False], seconds[True], ratios, strict=True))],
    )
    return float(np.median(ratios))


def _seconds_after_first_epoch(run: Path) -> float:
    """Return the seconds from the time the first epoch's network was written to the last one's."""
    steps = json.loads((run / "state.json").read_text())["steps_per_epoch"]
    first, last = (run / "checkpoints" / f"{steps * epoch:08d}.npz" for epoch in (1, LIVE_EPOCHS))
    return last.stat().st_mtime - first.stat().st_mtime


def _open_train(page: Page, running: server.Server, epochs: int) -> None:
    page.goto(f"{running.url}/train")
    _set_epochs(page, epochs)


def _draw_seven(page: Page) -> None:
    """Draw it until it is read: the first answer can take longer than the page waits for one."""
    canvas = page.locator("[data-has-pen] canvas.upper-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in SEVEN]
    for _ in range(MOST_STROKES):
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=12)
        page.mouse.up()
        with suppress(TimeoutError):
            page.locator("[data-digit='7']").first.wait_for(timeout=5000)
            return
    raise RuntimeError("The seven that was drawn is not read.")


def _set_epochs(page: Page, epochs: int) -> None:
    field = page.get_by_label(re.compile("^Epochs"))
    field.fill(str(epochs))
    field.press("Enter")
    expect(page.get_by_test_id("stTextInput").filter(has_text="Press Enter")).to_have_count(0)


def _start_training(page: Page) -> None:
    before = page.url
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(lambda url: "run=" in url and url != before)
    page.locator("h4").filter(has_text="training").wait_for()


def _wait_until_finished(page: Page) -> None:
    page.locator("h4").filter(has_text="finished").wait_for(timeout=1000 * MOST_SECONDS)


if __name__ == "__main__":
    limit.run(main, minutes=120)
