"""What a run keeps of its evaluations: whose answers they are, and how often its test set was looked at."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import RunDamaged
from core.runs import registry
from core.runs.contents import Evaluation
from core.runs.network import Network
from core.runs.run import Run

THIRDS = np.full((3, 10), 0.1, np.float32)


@pytest.fixture
def run(tiny) -> Run:
    return registry.create(tiny, "A run")


def test_answers_on_held_out_images_say_which_these_are(run):
    Network(run, 4).keep_validation(Evaluation(4, THIRDS, np.uint8([7, 2, 1]), np.array([5, 90, 1200])))

    kept = Network(run, 4).validation()

    np.testing.assert_array_equal(kept.indices, np.array([5, 90, 1200]), strict=True)
    np.testing.assert_array_equal(kept.y_true, np.uint8([7, 2, 1]), strict=True)
    assert Network(run, 2).validation() is None
    assert Network(run, 4).evaluation() is None


def test_without_saying_they_are_all_in_order(run):
    run.folder.write_arrays(
        "evaluations/00000004.npz", {"step": 4, "probabilities": THIRDS, "y_true": np.uint8([7, 2, 1])}
    )

    np.testing.assert_array_equal(Network(run, 4).evaluation().indices, np.arange(3))


def test_fewer_indices_than_images_are_damage(run):
    Network(run, 4).keep_validation(Evaluation(4, THIRDS, np.uint8([7, 2, 1]), np.arange(2)))

    with pytest.raises(RunDamaged, match="indices"):
        Network(run, 4).validation()


def test_each_opening_of_the_test_set_is_noted(run):
    assert run.test_openings() == []

    run.open_test(4)
    run.open_test(8)

    assert [opening.step for opening in run.test_openings()] == [4, 8]
    assert run.test_openings()[0].at <= run.test_openings()[1].at


def test_openings_that_can_not_be_read_are_told(run):
    Path(run.root, run.id, "openings.json").write_text("[{")

    with pytest.raises(RunDamaged, match=r"openings.json"):
        run.test_openings()
