"""Runs, a link and a script that were made by the version before the lab's modules moved into rooms: they open, go on and mean the same.

`before_rooms` was written by that version on 400 of MNIST's images: a run that finished after a live change of its learning rate,
one stopped and one interrupted within an epoch, and a fine-tuning of the first on drawn bars.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import numpy as np
import pytest

from core.errors import RunDamaged
from core.explain.questions import Explain
from core.model import link, script
from core.model.specs import Augmentation, Conv2D, Experiment, Flatten, MaxPooling2D, Training
from core.runs import registry
from core.runs.network import Network
from core.runs.progress import State
from core.runs.question import untold
from core.runs.run import Run
from core.training import fine_tuning

FOLDER = Path(__file__).parent / "before_rooms"
EXPERIMENT = Experiment(
    layers=(Conv2D(filters=2), MaxPooling2D(pool_size=6), Flatten()),
    training=Training(
        epochs=3,
        batch_size=32,
        learning_rate=0.01,
        train_size=320,
        validation_split=0.2,
        augmentation=Augmentation(rotation=5.0),
    ),
)


@pytest.fixture
def runs(runs_root: Path) -> dict[str, Run]:
    """The runs by the first word of their names, where this test's runs are kept."""
    shutil.copytree(FOLDER / "runs", runs_root)
    return {run.record().name.partition(" ")[0]: run for run in registry.all_runs()}


def test_all_are_there_in_the_state_that_they_were_left_in(runs):
    assert {name: run.record().state for name, run in runs.items()} == {
        "Finished": State.FINISHED,
        "Stopped": State.STOPPED,
        "Interrupted": State.RUNNING,
        "Fine-tuned": State.FINISHED,
    }
    assert runs["Finished"].experiment() == EXPERIMENT


def test_how_far_each_came_is_known(runs):
    progress = {name: run.progress() for name, run in runs.items()}

    assert [len(progress[name].history) for name in ("Finished", "Stopped", "Interrupted")] == [3, 1, 1]
    assert [progress[name].step for name in ("Finished", "Stopped", "Interrupted")] == [24, 11, 10]
    assert progress["Finished"].live_hyperparameters == {"learning_rate": 0.005}
    assert len(progress["Finished"].loss) == 24
    assert runs["Stopped"].steps() == [0, 1, 2, 4, 8, 11]
    assert progress["Fine-tuned"].is_fine_tuning


def test_what_was_found_out_about_a_network_is_there(runs):
    network = Network(runs["Finished"], 24)
    bar = np.zeros((28, 28), np.uint8)
    bar[4:24, 13:15] = 255

    assert network.evaluation().probabilities.shape == (500, 10)
    assert network.validation().probabilities.shape == (64, 10)
    assert [opening.step for opening in network.run.test_openings()] == [24]
    assert Explain(network, bar.tobytes(), 1).kept() is not None
    assert network.run.has_keras_file()


def test_what_a_fine_tuning_began_with_is_there(runs):
    start = fine_tuning.start_of(runs["Fine-tuned"])

    assert set(start.labels) == {1}
    np.testing.assert_array_equal(
        start.weights["01_conv2d.0.kernel"], runs["Finished"].weights(24)["01_conv2d.0.kernel"]
    )


@pytest.mark.parametrize("name", ["Stopped", "Interrupted"])
def test_one_that_was_not_done_goes_on_from_its_last_whole_epoch(runs, name, dataset):
    from core.training import loop

    run = runs[name]
    record = run.progress()
    network, state = loop.train(
        run.experiment(),
        dataset,
        record.apply,
        resume_from=run.last_checkpoint(),
        history=tuple(record.history),
        changes=tuple(record.changes),
    )

    assert state is State.FINISHED
    assert [row.epoch for row in record.history] == [1, 2, 3]
    assert len(network.get_weights()) > 0


def test_its_networks_answer(runs):
    from core.evaluation.questions import Predict

    images = np.zeros((2, 28, 28), np.uint8)

    np.testing.assert_allclose(Predict(Network(runs["Finished"], 24), images).work(untold).sum(axis=1), 1, atol=1e-5)
    with pytest.raises(RunDamaged, match="no checkpoint after 3 batches"):
        Predict(Network(runs["Finished"], 3), images).work(untold)


def test_a_link_opens_the_same_network():
    assert link.experiment_of((FOLDER / "link.txt").read_text()) == EXPERIMENT


def statements(text: str) -> str:
    """What a script does: its statements without docstrings and comments."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.unparse(tree)


def test_the_script_of_an_experiment_does_the_same():
    assert statements(script.script(EXPERIMENT)) == statements((FOLDER / "script.py.txt").read_text())
