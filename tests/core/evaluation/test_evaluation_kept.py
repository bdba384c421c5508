"""What a run keeps of its evaluations: whose answers they are, and how often its test set was looked at."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import RunDamaged
from core.runs import registry
from core.runs.contents import Evaluation
from core.runs.run import Run

THIRDS = np.full((3, 10), 0.1, np.float32)


@pytest.fixture
def run(tiny) -> Run:
    return registry.create(tiny, "A run")


def test_answers_on_held_out_images_say_which_these_are(run):
    run.write_validation(Evaluation(4, THIRDS, np.uint8([7, 2, 1]), np.array([5, 90, 1200])))

    kept = run.validation(4)

    np.testing.assert_array_equal(kept.indices, np.array([5, 90, 1200]), strict=True)
    np.testing.assert_array_equal(kept.y_true, np.uint8([7, 2, 1]), strict=True)
    assert run.validation(2) is None
    assert run.evaluation(4) is None


def test_without_saying_they_are_all_in_order(run):
    run._write_arrays("evaluations/00000004.npz", {"step": 4, "probabilities": THIRDS, "y_true": np.uint8([7, 2, 1])})

    np.testing.assert_array_equal(run.evaluation(4).indices, np.arange(3))


def test_fewer_indices_than_images_are_damage(run):
    run.write_validation(Evaluation(4, THIRDS, np.uint8([7, 2, 1]), np.arange(2)))

    with pytest.raises(RunDamaged, match="indices"):
        run.validation(4)


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
