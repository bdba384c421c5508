"""A question is a small value: equal ones are one, it works by telling its share, and by itself it keeps nothing."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

from core.data.questions import DrawMap, NearDuplicates, NearestInside, ReadAll
from core.evaluation.questions import AnswerHeldOut, AnswerTest, BreakIt, Predict, Read, ReadDrawings, TraceDigit
from core.evaluation.rejection import FitRejection
from core.explain.questions import (
    Explain,
    ExplainRandomised,
    FindSmallestChange,
    FollowDigit,
    MaximiseDigits,
    VisitMoment,
    WorkOut,
)
from core.runs import question
from core.runs.question import KEPT, Question, Tell
from core.training.questions import Augment, FindRange, TimeEpoch

OURS = [
    AnswerHeldOut,
    AnswerTest,
    Augment,
    BreakIt,
    DrawMap,
    Explain,
    ExplainRandomised,
    FindRange,
    FindSmallestChange,
    FollowDigit,
    FitRejection,
    MaximiseDigits,
    NearDuplicates,
    NearestInside,
    Predict,
    Read,
    ReadAll,
    ReadDrawings,
    TimeEpoch,
    TraceDigit,
    VisitMoment,
    WorkOut,
]


@dataclass(frozen=True)
class Count(Question):
    """Count to a number."""

    to: int

    def work(self, tell: Tell) -> int:
        for number in range(self.to):
            tell(number / self.to)
        return self.to


def subclasses(kind: type) -> set[type]:
    return {kind, *(below for one in kind.__subclasses__() for below in subclasses(one))}


def test_equal_ones_are_one_question():
    assert {Count(3): "asked"}[Count(3)] == "asked"
    assert Count(3) != Count(4)


def test_it_tells_the_share_that_is_done():
    told: list[float] = []

    assert Count(4).work(told.append) == 4
    assert told == [0, 0.25, 0.5, 0.75]
    assert Count(4).work(question.untold) == 4


def test_by_itself_it_needs_no_quiet_keeps_nothing_and_finds_nothing():
    assert not Count(3).needs_quiet
    assert Count(3).kept() is None
    with pytest.raises(NotImplementedError):
        Question().work(question.untold)


def test_every_question_of_the_lab_is_a_frozen_value():
    bases = {Question, *(base for kind in OURS for base in kind.__mro__)}
    unknown = {kind for kind in subclasses(Question) - bases if kind.__module__.startswith("core.")}

    assert unknown == set()
    for kind in OURS:
        assert kind.__dataclass_params__.frozen, kind
        assert kind.work is not Question.work, kind
    with pytest.raises(FrozenInstanceError):
        Count(3).to = 4


def test_what_is_kept_stays_itself_on_its_way_between_processes():
    import cloudpickle

    assert cloudpickle.loads(cloudpickle.dumps(KEPT)) is KEPT


def test_a_picture_comes_back_from_its_bytes():
    image = np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)

    np.testing.assert_array_equal(question.image_of(image.tobytes()), image, strict=True)
    with pytest.raises(ValueError, match="reshape"):
        question.image_of(b"too short")
