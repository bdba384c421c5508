"""What the page tests share: the app in an AppTest, an engine without workers, and runs made of invented numbers."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core import data, engine, runs
from core.engine import Engine, Phase
from core.progress import Advanced, Command, EpochEnded, Event, Progress, Started, State, StateChanged
from core.runs import Checkpoint, Evaluation, Run
from core.specs import Experiment

ROOT = Path(__file__).parents[2]
STEPS_PER_EPOCH = 4
STARTED = Started(steps_per_epoch=STEPS_PER_EPOCH, epochs=3, batch_size=32, step=0)
ROWS = [
    EpochEnded(1, 1.5, 0.5, 1.25, 0.625, 0.01, 2.5),
    EpochEnded(2, 1.0, 0.75, 0.875, 0.8125, 0.005, 2.25),
]
SEVEN = np.float32([0.01] * 7 + [0.91] + [0.01] * 2)


class StillEngine(Engine):
    """Ready at once, and never at work: a run it is given waits, and every drawing is a seven."""

    def __init__(self) -> None:
        super().__init__()
        self._phase = Phase.READY
        self.trained: list[str] = []
        self.told: list[tuple[str, Command]] = []

    def start(self) -> None:
        pass

    def be(self, phase: Phase, message: str = "") -> None:
        self._phase, self._message = phase, message

    def hear(self, run: Run, *events: Event) -> None:
        """Be told these by the worker that trains the run."""
        live = self._progress.setdefault(run.id, Progress())
        self._roots[run.id] = run.root
        for event in events:
            live.apply(event)

    def train(self, run: Run) -> None:
        self.trained.append(run.id)
        super().train(run)

    def predict(self, run: Run, epoch: int, images: np.ndarray, timeout: float = 2.0) -> np.ndarray:
        self._require_ready()
        return np.tile(SEVEN, (len(images), 1))

    def evaluation(self, run: Run, epoch: int) -> Evaluation | None:
        self._require_ready()
        return run.evaluation(epoch)

    def _tell_workers(self, run_id: str, command: Command) -> None:
        self.told.append((run_id, command))


@pytest.fixture(autouse=True)
def still_engine(monkeypatch: pytest.MonkeyPatch) -> StillEngine:
    """The engine that every page finds."""
    still = StillEngine()
    monkeypatch.setattr(engine, "_engine", still)
    return still


@pytest.fixture(autouse=True)
def _shared_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIGITLAB_LOCAL", raising=False)


@pytest.fixture(scope="session")
def digits_file(dataset: data.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of few images, in a file."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, **{name: getattr(dataset, name) for name in data.ARRAYS})
    return path


@pytest.fixture(autouse=True)
def digits(dataset: data.Dataset, digits_file: Path, monkeypatch: pytest.MonkeyPatch) -> data.Dataset:
    """What every page finds as the data set, and other processes too."""
    digits = replace(dataset, source=data.Source.FILE)
    monkeypatch.setattr(data, "_loaded", digits)
    monkeypatch.setattr("ui.digits._current", None)
    monkeypatch.setenv("DIGITLAB_MNIST", str(digits_file))
    return digits


@pytest.fixture
def no_data_yet(digits: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not looked for the data set."""
    monkeypatch.setattr(data, "_loaded", None)
    monkeypatch.setattr("ui.digits._current", None)


@pytest.fixture(scope="session")
def components():
    """What all AppTests share: to look through the installed packages for components is nine tenths of a short test."""
    return AppTest.from_string("").run()._bidi_component_manager


@pytest.fixture
def visit(components) -> Callable[..., AppTest]:
    """A function of a page's name: the page as drawn, in a session of its own unless one is given.

    `run` is the one that the address names.
    """

    def visit(page: str, run: Run | str | None = None, session: AppTest | None = None) -> AppTest:
        at = session or AppTest.from_file(ROOT / "ui" / "app.py", default_timeout=60)
        at._bidi_component_manager = components
        if run is not None:
            at.query_params["run"] = run.id if isinstance(run, Run) else run
        return at.switch_page(str(ROOT / "pages" / f"{page}.py")).run()

    return visit


@pytest.fixture
def press() -> Callable[[AppTest, str], AppTest]:
    """A function of a part of a page and a button's label: the page after that button was clicked."""

    def press(part, label: str) -> AppTest:
        return named(part.button, label).click().run()

    return press


@pytest.fixture
def choose() -> Callable[..., AppTest]:
    """A function of a part of a page, a field's label and a value: the page after the field was set to it."""

    def choose(part, label: str, value: object) -> AppTest:
        fields = [*part.number_input, *part.slider, *part.selectbox, *part.toggle]
        return named(fields, label).set_value(value).run()

    return choose


def named(elements, label: str):
    found = [element for element in elements if element.label == label]
    assert found, f"no {label!r} among {[element.label for element in elements]}"
    return found[0]


@pytest.fixture
def make_run(tiny: Experiment, runs_root: Path, still_engine: StillEngine) -> Callable[..., Run]:
    """A function of a state and a number of epochs: a run that came so far, told of by its worker if not over."""

    def make(state: State, epochs: int = 1, message: str = "", name: str = "A run") -> Run:
        run = runs.create(tiny, name)
        for epoch in range(1, epochs + 1):
            curve = array("f", [1.5] * STEPS_PER_EPOCH * epoch)
            weights = {"01_conv2d.0.kernel": np.full((3, 3, 1, 4), epoch, np.float32)}
            run.write_epoch(
                Progress(history=ROWS[:epoch], loss=curve, accuracy=curve),
                Checkpoint(epoch, weights, [np.array(epoch)]),
            )
        run.write_state(state, message, steps_per_epoch=0 if state is State.QUEUED else STEPS_PER_EPOCH)
        if state is State.QUEUED:
            still_engine.hear(run, StateChanged(state))
        elif not state.is_over:
            still_engine.hear(run, STARTED, *_told(epochs), StateChanged(state, message))
        return run

    return make


def _told(epochs: int) -> list[Event]:
    """So many epochs, and two batches of another."""
    events: list[Event] = []
    for row in ROWS[:epochs]:
        events += [_batches(row.epoch * STEPS_PER_EPOCH, STEPS_PER_EPOCH), row]
    return [*events, _batches(epochs * STEPS_PER_EPOCH + 2, 2)]


def _batches(step: int, count: int) -> Advanced:
    return Advanced(step, (1.5,) * count, (0.5,) * count, 0.01, images_per_second=1234.0, seconds_left=65.0)


@pytest.fixture
def finished_run(make_run, digits: data.Dataset) -> Run:
    """A run that is done and was tested: it read all digits right, but for two fours that it took for nines."""
    run = make_run(State.FINISHED, epochs=2)
    y_true = digits.y_test
    y_pred = y_true.copy()
    y_pred[np.flatnonzero(y_true == 4)[:2]] = 9
    probabilities = np.full((len(y_true), 10), 0.01, np.float32)
    probabilities[np.arange(len(y_true)), y_pred] = 0.91
    run.write_evaluation(Evaluation(2, probabilities, y_true))
    run.write_keras_file(b"PK a network")
    return run
