"""What the page tests share: the app in an AppTest, an engine without workers, and runs made of invented numbers."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.data import datasets
from core.data.splits import held_out_images
from core.engine import engine
from core.engine.cluster import Phase
from core.engine.engine import Engine
from core.engine.worker import FULL_SPEED
from core.evaluation.questions import Predict, Read
from core.evaluation.rejection import Reading
from core.explain import arithmetic
from core.explain.arithmetic import Form, Layer, Unit
from core.explain.questions import FollowDigit, Moment, Tour, VisitMoment, WorkOut
from core.model.specs import Experiment
from core.runs import registry
from core.runs.contents import Checkpoint, Evaluation
from core.runs.network import Network
from core.runs.progress import Advanced, Command, EpochEnded, Event, Progress, Snapshot, Started, State, StateChanged
from core.runs.question import Question
from core.runs.run import Run
from tests.page_fields import fill

ROOT = Path(__file__).parents[2]
STEPS_PER_EPOCH = 4
STARTED = Started(steps_per_epoch=STEPS_PER_EPOCH, epochs=3, batch_size=32, step=0)
ROWS = [
    EpochEnded(1, 1.5, 0.5, 1.25, 0.625, 0.01, 2.5),
    EpochEnded(2, 1.0, 0.75, 0.875, 0.8125, 0.005, 2.25),
]
SNAPSHOT = Snapshot(
    step=6,
    gradient_norms={"01_conv2d": 0.5, "probabilities": 0.01},
    dead={"03_dense": 0.25},
    kernels=np.linspace(-1, 1, 18, dtype=np.float32).reshape(2, 3, 3),
    image=np.zeros((28, 28), np.uint8),
    maps={"01_conv2d": np.full((2, 26, 26), 200, np.uint8)},
)
SEVEN = np.float32([0.01] * 7 + [0.91] + [0.01] * 2)

KERNEL = np.linspace(-1, 1, 18, dtype=np.float32).reshape(3, 3, 1, 2)
WEIGHTS = np.linspace(-0.1, 0.1, 26 * 26 * 2 * 10, dtype=np.float32).reshape(-1, 10)
LAYERS = {
    layer.name: layer
    for layer in (
        Layer("pixels", Form.INPUT, (), (28, 28, 1)),
        Layer(
            "rescaling",
            Form.SCALE,
            ("pixels",),
            (28, 28, 1),
            weights={"scale": np.float32([1 / 255]), "shift": np.float32([0])},
        ),
        Layer("01_conv2d", Form.WINDOW, ("rescaling",), (26, 26, 2), (3, 3), weights={"kernel": KERNEL}),
        Layer("02_flatten", Form.FLAT, ("01_conv2d",), (26 * 26 * 2,)),
        Layer("probabilities", Form.DENSE, ("02_flatten",), (10,), activation="softmax", weights={"kernel": WEIGHTS}),
    )
}


def inside(image: np.ndarray) -> dict[str, np.ndarray]:
    """What the layers above make of a digit, but for the sums."""
    ink = (image[..., None] / 255).astype(np.float32)
    maps = np.repeat(ink[1:-1, 1:-1], 2, axis=2)
    return {
        "pixels": image[..., None].astype(np.float32),
        "rescaling": ink,
        "01_conv2d": maps,
        "02_flatten": maps.ravel(),
        "probabilities": SEVEN,
    }


class StillEngine(Engine):
    """Ready at once, and never at work: a run it is given waits, and every drawing is a seven."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster.phase, self.cluster.start = Phase.READY, lambda: None
        self.questions._found, self.trainings.orders.tell = self._found, self._tell
        self.trained: list[str] = []
        self.told: list[tuple[str, Command]] = []
        self.watched: list[tuple[str, int]] = []
        self.visited: list[int] = []
        self.asked: list[str] = []
        self.reads_numbers = True
        self.refuses = False  # every drawing, as no digit
        self.ood_score = -1.0  # of every digit; NaN where nobody has judged the network
        self.quick: dict[str, Exception] = {}  # kind of quick question -> why it has no answer
        self.read_at_once: list[int] = []  # how many images each question was about
        self.answers: dict[str, object] = {}  # kind of question -> its answer or why not; None is still under way

    def be(self, phase: Phase, message: str = "") -> None:
        self.cluster.phase, self.cluster.message = phase, message

    def hear(self, run: Run, *events: Event) -> None:
        """Be told these by the worker that trains the run."""
        live = self.trainings._progress.setdefault(run.id, Progress())
        self.trainings._runs[run.id] = run
        for event in events:
            live.apply(event)

    def train(self, run: Run, command: Command = FULL_SPEED) -> None:
        self.trained.append(run.id)
        super().train(run, command)

    def wait(self, question: Question, timeout: float = 2.0) -> object:
        """Answer a quick question, or raise what stands in `quick` for its kind."""
        self.cluster.require_ready()
        fault = self.quick.get(type(question).__name__)
        if fault is not None:
            raise fault
        return getattr(self, f"_{type(question).__name__}")(question)

    def _Predict(self, question: Predict) -> np.ndarray:
        return np.tile(SEVEN, (len(question.images), 1))

    def _Read(self, question: Read) -> list[Reading]:
        self.read_at_once.append(len(question.images))
        is_digit = not self.refuses
        reason = "" if is_digit else "No digit comes near it."
        ood_score = self.ood_score if is_digit else 1.0
        return [Reading(values, ood_score, is_digit, reason) for values in self._Predict(question)]

    def _VisitMoment(self, question: VisitMoment) -> Moment:
        self.visited.append(question.network.step)
        return Moment(SEVEN, np.eye(10, dtype=int) * 5, SNAPSHOT.kernels, SNAPSHOT.maps)

    def _FollowDigit(self, question: FollowDigit) -> Tour:
        return Tour(
            LAYERS,
            inside(question.image),
            {"01_conv2d": np.linspace(-1, 1, 18, dtype=np.float32).reshape(2, 3, 3, 1)},
            SEVEN if self.reads_numbers else np.full(10, np.nan, np.float32),
        )

    def _WorkOut(self, question: WorkOut) -> Unit:
        outputs, layer = inside(question.image), LAYERS[question.layer]
        return arithmetic.unit(layer, tuple(outputs[n] for n in layer.inputs), outputs[layer.name], question.place)

    def watch(self, run_id: str, digit: int, drawing: np.ndarray | None = None) -> Snapshot | None:
        self.watched.append((run_id, digit))
        live = self.trainings._progress.get(run_id)
        return live.snapshot if live is not None else None

    def _found(self, question: Question, is_under_way: bool) -> object:
        self.cluster.require_ready()
        kind = type(question).__name__
        self.asked.append(kind)
        answer = self.answers.get(kind)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _tell(self, run_id: str, command: Command, changed: tuple[str, ...] = ()) -> None:
        self.told.append((run_id, command))


@pytest.fixture
def snapshot() -> Snapshot:
    """A look inside a network."""
    return SNAPSHOT


@pytest.fixture(autouse=True)
def still_engine(monkeypatch: pytest.MonkeyPatch) -> StillEngine:
    """The engine that every page finds."""
    still = StillEngine()
    monkeypatch.setattr(engine, "_engine", still)
    return still


@pytest.fixture(autouse=True)
def _shared_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIGITLAB_LOCAL", raising=False)


@pytest.fixture(autouse=True)
def visitor(monkeypatch: pytest.MonkeyPatch) -> str:
    """Who visits all sessions of a test, and is not known again: AppTest has no cookies."""
    monkeypatch.setattr("ui.state.session._visitor", lambda: ("a visitor", False))
    return "a visitor"


@pytest.fixture(scope="session")
def digits_file(dataset: datasets.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of few images, in a file."""
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, **{name: getattr(dataset, name) for name in datasets.ARRAYS})
    return path


@pytest.fixture(autouse=True)
def digits(dataset: datasets.Dataset, digits_file: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.Dataset:
    """What every page finds as the data set, and other processes too."""
    digits = replace(dataset, source=datasets.Source.FILE)
    monkeypatch.setattr(datasets, "_loaded", digits)
    monkeypatch.setattr("ui.digits._current", None)
    monkeypatch.setenv("DIGITLAB_MNIST", str(digits_file))
    return digits


@pytest.fixture
def no_data_yet(digits: datasets.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not looked for the data set."""
    monkeypatch.setattr(datasets, "_loaded", None)
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
    """A function of a part of a page, a field's label and a value: the page after the field was set to it, a number by typing it."""

    def choose(part, label: str, value: object) -> AppTest:
        fields = [*part.text_input, *part.slider, *part.selectbox, *part.toggle]
        return fill(named(fields, label), value).run()

    return choose


def named(elements, label: str):
    """The first with this label."""
    found = [element for element in elements if element.label == label]
    assert found, f"no {label!r} among {[element.label for element in elements]}"
    return found[0]


@pytest.fixture
def make_run(tiny: Experiment, runs_root: Path, still_engine: StillEngine, visitor: str) -> Callable[..., Run]:
    """A function of a state and a number of epochs: a run that came so far, told of by its worker if not over; the visitor's own,
    unless another began it."""

    def make(state: State, epochs: int = 1, message: str = "", name: str = "A run", owner: str = visitor) -> Run:
        run = registry.create(tiny, name, owner=owner)
        for epoch in range(1, epochs + 1):
            loss, accuracy = (array("f", [value] * STEPS_PER_EPOCH * epoch) for value in (1.5, 0.5))
            weights = {"01_conv2d.0.kernel": np.full((3, 3, 1, 4), epoch, np.float32)}
            run.write_epoch(
                Progress(steps_per_epoch=STEPS_PER_EPOCH, history=ROWS[:epoch], loss=loss, accuracy=accuracy),
                Checkpoint(epoch * STEPS_PER_EPOCH, weights, [np.array(epoch)]),
            )
        run.write_state(state, message, steps_per_epoch=STEPS_PER_EPOCH if epochs else 0)
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
def finished_run(make_run, digits: datasets.Dataset) -> Run:
    """A run that is done and was tested: it read all digits right, but for two fours of each set that it took for nines."""
    run = make_run(State.FINISHED, epochs=2)
    held_out = held_out_images(run, digits.y_train)
    Network(run, 2 * STEPS_PER_EPOCH).keep_evaluation(
        Evaluation(2 * STEPS_PER_EPOCH, _answers(digits.y_test), digits.y_test)
    )
    y_held_out = digits.y_train[held_out]
    Network(run, 2 * STEPS_PER_EPOCH).keep_validation(
        Evaluation(2 * STEPS_PER_EPOCH, _answers(y_held_out), y_held_out, held_out)
    )
    run.write_keras_file(b"PK a network")
    return run


def _answers(y_true: np.ndarray) -> np.ndarray:
    y_pred = y_true.copy()
    y_pred[np.flatnonzero(y_true == 4)[:2]] = 9
    probabilities = np.full((len(y_true), 10), 0.01, np.float32)
    probabilities[np.arange(len(y_true)), y_pred] = 0.91
    return probabilities
