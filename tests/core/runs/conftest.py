"""Runs with everything in them, in a folder and in a file system that has none."""

from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from core.runs import registry
from core.runs.contents import Checkpoint, Evaluation
from core.runs.network import Network
from core.runs.progress import EpochEnded, HyperparameterChanged, Progress
from core.runs.run import Run

ROWS = [
    EpochEnded(1, 1.5, 0.5, 1.25, 0.625, 0.01, 2.5),
    EpochEnded(2, 1.0, 0.75, None, None, 0.005, 2.25),
]


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path):
    """A place for runs: a folder of this machine, and a file system that has no folders to rename in."""
    if request.param == "folder":
        yield str(tmp_path / "a folder" / "runs")
    else:
        yield "memory://runs"
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture
def run(tiny, runs_root) -> Run:
    """A run after its second epoch, in a folder, with everything in it."""
    run = registry.create(tiny, "A run")
    write_all(run)
    return run


def checkpoint(epoch: int) -> Checkpoint:
    weights = {
        "01_conv2d.0.kernel": np.full((3, 3, 1, 4), epoch, np.float32),
        "04_dropout.0.seed_generator_state": np.array([epoch, 2**32 - 1], np.uint32),
    }
    return Checkpoint(
        2 * epoch, weights, [np.array(13 * epoch, np.int64), np.float32([0.01]), np.ones((3, 3, 1, 4), "f4")]
    )


def write_all(run: Run) -> None:
    run.write_record(replace(run.record(), steps_per_epoch=2))
    run.write_weights(replace(checkpoint(0), optimizer=None))
    progress = Progress(
        steps_per_epoch=2, history=ROWS[:1], loss=array("f", [2.5, 1.5]), accuracy=array("f", [0.25, 0.5])
    )
    run.write_epoch(progress, checkpoint(1))
    progress = replace(progress, history=ROWS)
    progress.loss, progress.accuracy = array("f", [2.5, 1.5, 1, 1]), array("f", [0.25, 0.5, 0.75, 0.75])
    progress.changes = [HyperparameterChanged(1, "learning_rate", 0.5)]
    run.write_epoch(progress, checkpoint(2))
    run.write_changes(progress)
    Network(run, 4).keep_evaluation(Evaluation(4, np.full((3, 10), 0.1, np.float32), np.uint8([7, 2, 1])))
    run.write_keras_file(b"PK a network")


def assert_same_arrays(found, expected) -> None:
    assert type(found) is type(expected)
    keys = expected if isinstance(expected, dict) else range(len(expected))
    assert list(found) == list(expected) if isinstance(expected, dict) else len(found) == len(expected)
    for key in keys:
        np.testing.assert_array_equal(found[key], expected[key], strict=True)
