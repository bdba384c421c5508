"""What all tests share: quiet logs, no network, runs in a folder of their own, few images and a small experiment.

TensorFlow is imported by those tests alone that need it.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("DIGITLAB_OFFLINE", "1")
os.environ["DIGITLAB_REFERENCE"] = "off"  # most tests begin where nothing has been trained; `shipped` brings it back

from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from core import shipped as reference
from core.data import datasets
from core.model.specs import Conv2D, Experiment, Flatten, MaxPooling2D, Training
from core.runs.run import Run

TESTS = Path(__file__).parent
SLOW_TO_LOAD = {"tensorflow", "distributed", "playwright"}
# What needs Keras, workers, a browser or many page runs, or tries thousands of damages, by its path in tests. All else is fast.
SLOW = {
    "core/data/test_questions.py",
    "core/engine/test_cluster.py",
    "core/engine/test_engine.py",
    "core/engine/test_orders.py",
    "core/engine/test_questions.py",
    "core/engine/test_trainings.py",
    "core/engine/test_worker.py",
    "core/evaluation/test_questions.py",
    "core/evaluation/test_rejection.py",
    "core/explain",
    "core/ink/test_photo.py",
    "core/model/test_keras_model.py",
    "core/model/test_ledger.py",
    "core/model/test_presets.py",
    "core/model/test_script.py",
    "core/model/test_specs.py",
    "core/runs/test_before_rooms.py",
    "core/runs/test_contents.py",
    "core/runs/test_loaded.py",
    "core/runs/test_run.py",
    "core/test_shipped.py",
    "core/training/test_augmentation.py",
    "core/training/test_fine_tuning.py",
    "core/training/test_loop.py",
    "core/training/test_questions.py",
    "e2e",
    "pages",
    "test_benchmarks.py",
    "test_makefile.py",
    "ui",
}


@cache
def _is_slow(path: Path) -> bool:
    return any(path.is_relative_to(TESTS / slow) for slow in SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out slow files where the fast tests alone are run: to collect them takes longer than to run the fast ones."""
    return (config.option.markexpr == "fast" and _is_slow(collection_path)) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the fast tests."""
    for item in items:
        if not _is_slow(item.path):
            item.add_marker("fast")


@pytest.fixture(autouse=True)
def _loads_nothing_slow(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail where a fast test loads what fast tests do without: its file belongs to `SLOW`."""
    before = SLOW_TO_LOAD & sys.modules.keys()
    yield
    loaded = (SLOW_TO_LOAD & sys.modules.keys()) - before
    assert not loaded or request.config.option.markexpr != "fast", (
        f"a fast test has loaded {', '.join(loaded)}: name its file in SLOW"
    )


@pytest.fixture(scope="session")
def _roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Places for runs, one after the other: a folder for each of thousands of tests would take a third of their time."""
    folder = tmp_path_factory.mktemp("roots")
    return (folder / f"runs-{number}" for number in count())


@pytest.fixture(autouse=True)
def runs_root(monkeypatch: pytest.MonkeyPatch, _roots: Iterator[Path]) -> Path:
    """Where this test's runs are kept; not made before the first of them."""
    root = next(_roots)
    monkeypatch.setenv("DIGITLAB_RUNS", str(root))
    return root


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, runs_root: Path) -> Run:
    """The shipped run, where this test's runs are kept."""
    monkeypatch.delenv("DIGITLAB_REFERENCE")
    run, why_not = reference.installed(str(runs_root))
    assert run is not None, why_not
    return run


@pytest.fixture(scope="session")
def dataset() -> datasets.Dataset:
    """At most 2,000 training and 500 test images: of MNIST where it is at hand, else of its stand-in."""
    whole = datasets.load()
    return datasets.Dataset(
        whole.x_train[:2000].copy(),
        whole.y_train[:2000].copy(),
        whole.x_test[:500].copy(),
        whole.y_test[:500].copy(),
        whole.source,
    )


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    """Two epochs of 13 batches (400 images, 16 in the last batch) with 100 images held out: a fraction of a second."""
    return Experiment(
        layers=(Conv2D(filters=4), MaxPooling2D(pool_size=4), Flatten()),
        training=Training(epochs=2, batch_size=32, learning_rate=0.01, train_size=500, validation_split=0.2),
    )
