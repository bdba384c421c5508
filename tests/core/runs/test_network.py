"""What is found out about a network is kept beside its run: whole, whose it is, bounded, and never in the way."""

import numpy as np
import pytest

from core.errors import RunDamaged, StorageFull
from core.explain import attribution, questions
from core.explain.adversarial import Change, Norm
from core.explain.attribution import Curves, Explanation
from core.explain.questions import Forgotten
from core.runs import network, registry
from core.runs.arrays import Array
from core.runs.contents import Evaluation
from core.runs.folder import Folder
from core.runs.network import Network
from core.runs.run import Run

NOISE = np.random.default_rng(1)
CURVES = Curves(NOISE.random(29, np.float32), NOISE.random(29, np.float32))


@pytest.fixture
def run(tiny) -> Run:
    return registry.create(tiny, "A run")


class Finder:
    """Finds the same each time, and counts how often it was asked."""

    def __init__(self, found):
        self.found, self.times = found, 0

    def __call__(self):
        self.times += 1
        return self.found


ANSWERS = {
    "explanation": (
        Explanation,
        Explanation(
            digit=3,
            probabilities=np.eye(10, dtype=np.float32)[3],
            maps={str(method): NOISE.normal(size=(28, 28)).astype(np.float32) for method in attribution.Method},
            missing={attribution.Method.GRAD_CAM: "There is none."},
            attributed=float(np.float32(1.5)),
            difference=1.25,
            curves={attribution.Method.SALIENCY: CURVES},
            chance=CURVES,
        ),
    ),
    "forgotten": (Forgotten, Forgotten(("dense", "conv"), 3, {"Saliency": NOISE.random((28, 28), np.float32)})),
    "change": (
        Change,
        Change(4, Norm.LINF, NOISE.integers(0, 256, (28, 28), np.uint8), np.ones(10, np.float32), 1.5, 0.1, False),
    ),
    "perfect digits": (
        questions.PerfectDigits,
        (NOISE.random((10, 28, 28), np.float32), NOISE.random((10, 10), np.float32)),
    ),
    "places": (Array, NOISE.random((5000, 2), np.float32)),
    "not a number": (Array, np.float32([np.nan, np.inf, -0.0])),
}


def assert_same(found, expected):
    """Equal all through, arrays by dtype and to the last bit."""
    assert type(found) is type(expected) or isinstance(expected, str)
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected, strict=True)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif hasattr(expected, "__dataclass_fields__"):
        assert_same(vars(found), vars(expected))
    else:
        assert found == expected


@pytest.mark.parametrize(("kind", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_comes_back_as_it_was_without_being_asked_again(run, kind, answer):
    find = Finder(answer)
    first = Network(run, 4).answered("why?", kind, find)

    again = Network(registry.find(run.id), 4).answered("why?", kind, find)

    assert find.times == 1
    assert_same(first, answer)
    assert_same(again, answer)


def test_another_question_or_moment_has_its_own(run):
    assert Network(run, 4).answered("why?", int, lambda: 1) == 1

    assert Network(run, 4).answered("why not?", int, lambda: 2) == 2
    assert Network(run, 8).answered("why?", int, lambda: 3) == 3
    assert Network(run, 4).answered("why?", int, lambda: 4) == 1


@pytest.mark.parametrize("content", [b"", b"{", b'"a"', b'"AAAA"', b'{"digit": 3}'])
def test_what_cannot_be_read_is_found_again(run, tmp_path, content):
    kind, answer = ANSWERS["places"]
    Network(run, 4).answered("where?", kind, lambda: answer)
    for path in run.folder.storage.fs.ls(run.folder.storage.path(f"{run.id}/answers"), detail=False):
        run.folder.storage.fs.pipe_file(path, content)

    assert_same(Network(run, 4).answered("where?", kind, lambda: answer), answer)
    assert_same(Network(run, 4).answered("where?", kind, Finder(None)), answer)


def test_an_object_in_an_array_is_not_opened(run):
    class Mischief:
        def __reduce__(self):
            return print, ("opened",)

    with pytest.raises(ValueError, match="pickle"):
        Network(run, 4).answered("what?", Array, lambda: np.array([Mischief()], object))


def test_the_oldest_go_first(run, monkeypatch):
    monkeypatch.setattr(network, "MOST_ANSWERS", 3)
    for number in range(5):
        Network(run, 4).answered(f"question {number}", int, lambda number=number: number)

    asked_again = [Network(run, 4).answered(f"question {number}", int, lambda: -1) for number in (2, 3, 4)]

    assert asked_again == [2, 3, 4]
    assert Network(run, 4).answered("question 0", int, lambda: -1) == -1


def test_a_full_disk_costs_only_the_memory_of_it(run, monkeypatch):
    def fail(self, name, content):
        raise StorageFull("There is no room.")

    monkeypatch.setattr(Folder, "write", fail)

    assert Network(run, 4).answered("why?", int, lambda: 7) == 7


THIRDS = np.full((3, 10), 0.1, np.float32)


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
