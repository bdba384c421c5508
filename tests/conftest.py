"""What all tests share: quiet logs, no network, runs in a folder of their own, few images and a small experiment.

TensorFlow is imported by those tests alone that need it.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("DIGITLAB_OFFLINE", "1")
os.environ["DIGITLAB_REFERENCE"] = "off"  # most tests begin where nothing has been trained; `shipped` brings it back

from collections.abc import Iterator
from pathlib import Path

import pytest

from core import shipped as reference
from core.data import datasets
from core.model.specs import Conv2D, Experiment, Flatten, MaxPooling2D, Training
from core.runs.run import Run
from tests.needs import is_slow_to_collect, needs

SLOW_TO_LOAD = {"tensorflow", "distributed", "playwright"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out, where the fast tests alone are run, files that load what those do without."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return (config.option.markexpr == "fast" and is_test and is_slow_to_collect(collection_path)) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs, and as fast where that is nothing but Python."""
    for item in items:
        for name in needs(item) or {"fast"}:
            item.add_marker(name)


@pytest.fixture(autouse=True)
def _loads_nothing_slow(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where the fast tests alone are run, none loads what they do without; one that does is marked by hand: `@pytest.mark.keras`."""
    before = SLOW_TO_LOAD & sys.modules.keys()
    yield
    loaded = (SLOW_TO_LOAD & sys.modules.keys()) - before
    assert not loaded or request.config.option.markexpr != "fast", f"a fast test has loaded {', '.join(loaded)}"


@pytest.fixture(autouse=True)
def runs_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where this test's runs are kept; not made before the first of them."""
    root = tmp_path / "runs"
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
