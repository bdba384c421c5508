"""One damaged file of a run, whichever and however, is a sentence without its content, or does no harm to what pages show."""

from __future__ import annotations

import json
import random
import shutil
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from core.errors import RunDamaged
from core.model.specs import Experiment
from core.runs import registry
from core.runs.contents import Checkpoint, Drawings, Evaluation, Readings, Robustness
from core.runs.network import Network
from core.runs.progress import EpochEnded, HyperparameterChanged, Progress, State
from core.runs.run import Run
from core.training import doctor
from core.views import charts

STEPS, EPOCHS = 13, 2
LAST = STEPS * EPOCHS
DRAWN = ("spec.json", "state.json", "history.json", "turns.json", "curve.npz")
FOREIGN = "a secret of another file"
ODD = [None, True, -1, 0, 2**70, 1e308, float("nan"), float("-inf"), 0.5, "", FOREIGN, "²", [], [[]], {}, {FOREIGN: 1}]


@pytest.fixture(scope="module")
def whole(tiny: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with every kind of file."""
    run = registry.create(tiny, "A run", str(tmp_path_factory.mktemp("whole")))
    run.write_state(State.RUNNING, steps_per_epoch=STEPS)
    weights = {"01_conv2d.0.kernel": np.ones((3, 3, 1, 4), np.float32)}
    rows = [EpochEnded(epoch, 1.0, 0.5, 1.5, 0.25, 0.01, 2.0, tuple(range(100)), ((7, 3, 0.75),)) for epoch in (1, 2)]
    for epoch in (1, 2):
        curve = array("f", np.linspace(0, 1, STEPS * epoch))
        progress = Progress(steps_per_epoch=STEPS, history=rows[:epoch], loss=curve, accuracy=curve)
        run.write_epoch(progress, Checkpoint(STEPS * epoch, weights, [np.array(epoch), np.ones(300, np.float32)]))
    progress.changes = [HyperparameterChanged(3, "learning_rate", 0.5), HyperparameterChanged(4, "dropout", 0.25)]
    run.write_changes(progress)
    y_true = np.arange(10, dtype=np.uint8)
    probabilities = np.full((10, 10), 0.1, np.float32)
    images = np.zeros((10, 28, 28), np.uint8)
    Network(run, LAST).keep_evaluation(Evaluation(LAST, probabilities, y_true))
    Network(run, LAST).keep_validation(Evaluation(LAST, probabilities, y_true))
    Network(run, LAST).keep_readings(Readings(LAST, probabilities, np.ones((10, 5), np.float32), y_true))
    samples = np.zeros((2, 3, 4, 28, 28), np.uint8)
    Network(run, LAST).keep_robustness(
        Robustness(LAST, 0.5, np.full((2, 2), 0.5), 10, samples, y_true[:4], np.zeros((2, 3, 4), np.uint8))
    )
    run.write_drawings(Drawings(images, y_true, np.zeros(10, bool), np.arange(3, dtype=np.uint64)))
    Network(run, LAST).keep_rejection({"temperature": np.array(1.5)})
    run.open_test(LAST)
    Network(run, LAST).answered("why?", list[int], lambda: [1, 2])
    run.write_keras_file(b"PK a network")
    run.write_state(State.FINISHED)
    return run


@pytest.fixture
def run(whole: Run, runs_root: Path) -> Run:
    """A copy, to be damaged."""
    shutil.copytree(Path(whole.root, whole.id), runs_root / whole.id)
    return Run(whole.id, str(runs_root))


def draw(run: Run) -> None:
    """What menus and pages make of a run's progress."""
    progress, experiment = run.progress(), run.experiment()
    charts.loss_curve(progress)
    charts.accuracy_curve(progress)
    doctor.findings(experiment, progress)
    assert 0 <= progress.share <= 1
    assert 1 <= progress.epoch <= progress.epochs
    assert progress.best is None or 0 < progress.step_of(progress.best.epoch) <= LAST
    assert all(np.isfinite(experiment.training.learning_rates(LAST, progress.turned_learning_rates)))


READERS: list[Callable[[Run], object]] = [
    Run.record,
    Run.steps,
    Run.last_checkpoint,
    Run.drawings,
    Run.test_openings,
    Run.keras_file,
    *(
        lambda run, read=read: read(Network(run, LAST))
        for read in (
            Network.weights,
            Network.evaluation,
            Network.validation,
            Network.readings,
            Network.robustness,
            Network.rejection,
        )
    ),
    lambda run: Network(run, LAST).answered("why?", list[int], lambda: [1, 2]),
]


def read(run: Run, name: str) -> list[str]:
    """What every reader says once this file is damaged; anything but a sentence of ours is raised."""
    said = []
    for reader in [*READERS, draw] if name in DRAWN else READERS:
        try:
            reader(run)
        except RunDamaged as damage:
            said.append(str(damage))
    return said


def places(content: object) -> Iterator[tuple]:
    """The way to everything in a JSON document."""
    yield ()
    for key, inner in content.items() if isinstance(content, dict) else enumerate(content):
        if isinstance(inner, dict | list):
            yield from ((key, *way) for way in places(inner))
        else:
            yield (key,)


def changed_json(raw: bytes, rng: random.Random) -> bytes:
    """With one value more, less or in the place of another."""
    content = json.loads(raw)
    way = rng.choice(list(places(content)))
    if not way:
        return json.dumps(rng.choice(ODD)).encode()
    at = content
    for key in way[:-1]:
        at = at[key]
    match rng.randrange(3):
        case 0:
            del at[way[-1]]
        case 1 if isinstance(at, list):
            at.append(at[way[-1]])
        case _:
            at[way[-1]] = rng.choice(ODD)
    return json.dumps(content).encode()


def damaged(raw: bytes, others: list[bytes], rng: random.Random) -> bytes | None:
    """A file's content once something has happened to it; None where it is gone."""
    match rng.randrange(6):
        case 0:
            return raw[: rng.randrange(len(raw))]
        case 1:
            return rng.choice(others)
        case 2:
            return rng.choice([None, b"", FOREIGN.encode(), json.dumps([FOREIGN]).encode()])
        case 3 if raw[:1] in b"[{":
            return changed_json(raw, rng)
        case _:
            changed = bytearray(raw)
            for _ in range(rng.choice([1, 1, 3, 30])):
                changed[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            return bytes(changed)


def test_a_whole_run_is_read(run):
    assert read(run, DRAWN[0]) == []


@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")  # NumPy takes some damage for Python 2's
def test_any_damage_to_any_file_is_told_or_does_no_harm(run):
    rng = random.Random(7)  # noqa: S311
    top = Path(run.root, run.id)
    files = {path: path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}
    for path, raw in files.items():
        for _ in range(6):
            content = damaged(raw, list(files.values()), rng)
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)

            said = read(run, path.name)

            assert FOREIGN not in "".join(said)
            assert all(sentence.startswith(f"Run {run.id}") for sentence in said)
        path.unlink(missing_ok=True)
        path.write_bytes(raw)


def with_value(run: Run, name: str, way: tuple, value: object) -> None:
    path = Path(run.root, run.id, name)
    content = at = json.loads(path.read_text())
    for key in way[:-1]:
        at = at[key]
    if value is ...:
        del at[way[-1]]
    else:
        at[way[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "way", "value"),
    [
        ("state.json", ("steps_per_epoch",), ...),
        ("state.json", ("steps_per_epoch",), 0),
        ("state.json", ("steps_per_epoch",), -13),
        ("state.json", ("steps_per_epoch",), 14),
        ("state.json", ("began",), 1e300),
        ("state.json", ("began",), float("nan")),
        ("history.json", (0, "epoch"), 2),
        ("history.json", (1, "epoch"), 3),
        ("history.json", (0,), ...),
        ("history.json", (1, "val_accuracy"), float("nan")),
        ("history.json", (1, "val_accuracy"), 1.5),
        ("history.json", (1, "val_accuracy"), None),
        ("history.json", (1, "learning_rate"), float("inf")),
        ("history.json", (1, "seconds"), -1.0),
        ("history.json", (1, "confusion"), [1] * 99),
        ("history.json", (1, "confusion", 0), -1),
        ("history.json", (1, "wrongest", 0, 0), 60_000),
        ("history.json", (1, "wrongest", 0, 1), 10),
        ("turns.json", (0, "step"), -1),
        ("turns.json", (0, "value"), float("nan")),
        ("turns.json", (0, "value"), 11.0),
        ("turns.json", (1, "value"), 1.0),
    ],
)
def test_values_that_make_no_sense_are_damage(run, name, way, value):
    with_value(run, name, way, value)

    with pytest.raises(RunDamaged, match=f"^Run {run.id}: "):
        run.progress()


@pytest.mark.parametrize("length", [0, LAST - 1, LAST + STEPS + 1])
def test_a_curve_shorter_or_longer_than_the_history_is_damage(run, length):
    curve = array("f", [0.5] * length)
    run.write_curve(Progress(loss=curve, accuracy=curve))

    with pytest.raises(RunDamaged, match=r"curve.npz can't be read .expected a loss for each batch"):
        run.progress()


def test_a_run_that_ended_within_an_epoch_has_part_of_its_curve(run):
    curve = array("f", [0.5] * (LAST + STEPS - 1))
    run.write_curve(Progress(loss=curve, accuracy=curve))

    assert run.progress().step == LAST + STEPS - 1


def test_only_names_that_a_run_gives_are_checkpoints(run):
    folder = Path(run.root, run.id, "checkpoints")
    for name in ("4.npz", "00000004.txt", "٠٠٠٠٠٠٠٤.npz", f"{'9' * 200}.npz", "-0000004.npz", "²"):
        with suppress(OSError):
            (folder / name).write_bytes(b"")

    assert run.steps() == [STEPS, LAST]


@pytest.mark.parametrize("kind", ["evaluations", "validations", "readings", "robustness"])
def test_what_another_network_answered_is_not_taken_for_this_ones(run, kind):
    folder = Path(run.root, run.id, kind)
    (folder / f"{LAST:08d}.npz").rename(folder / f"{STEPS:08d}.npz")
    reader = {
        "evaluations": Network.evaluation,
        "validations": Network.validation,
        "readings": Network.readings,
        "robustness": Network.robustness,
    }[kind]

    with pytest.raises(RunDamaged, match="expected answers of this network"):
        reader(Network(run, STEPS))
