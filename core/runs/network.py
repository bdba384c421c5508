"""A run's network after so many batches: the one value that is looked at, asked, explained, compared and drawn for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from core.errors import NotNumbers, RunDamaged, RunError
from core.runs import contents
from core.runs.contents import Evaluation, Readings, Robustness
from core.runs.folder import Folder
from core.runs.run import Run

MOST_ANSWERS = 500  # of one run, some 10 MB
T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """The network of `run` after `step` batches, and what was found out about it. Reading methods raise RunDamaged, writing ones
    StorageFull, and RunNotFound once the run was deleted."""

    run: Run
    step: int

    def weights(self) -> dict[str, np.ndarray]:
        """Return its variables by path."""
        return self.run.weights(self.step)

    def finite_weights(self) -> dict[str, np.ndarray]:
        """Return its variables by path.

        Raises:
            NotNumbers: if they are no numbers any more.
        """
        weights = self.weights()
        if not all(np.isfinite(values).all() for values in weights.values()):
            raise NotNumbers(self.step)
        return weights

    # -- what is kept beside the run -------------------------------------------------------------------------------------

    def evaluation(self) -> Evaluation | None:
        """Return its answers on the test set, if they were ever computed."""
        return self._kept("evaluations", partial(contents.parse_evaluation, step=self.step))

    def keep_evaluation(self, evaluation: Evaluation) -> None:
        """Keep its answers on the test set."""
        self._keep("evaluations", asdict(evaluation))

    def validation(self) -> Evaluation | None:
        """Return its answers on the images held out of its training, if they were ever computed."""
        return self._kept("validations", partial(contents.parse_evaluation, step=self.step))

    def keep_validation(self, validation: Evaluation) -> None:
        """Keep its answers on the images held out of its training."""
        self._keep("validations", asdict(validation))

    def robustness(self) -> Robustness | None:
        """Return its predictions for damaged images, if they were ever computed."""
        return self._kept("robustness", partial(contents.parse_robustness, step=self.step))

    def keep_robustness(self, robustness: Robustness) -> None:
        """Keep its predictions for damaged images."""
        self._keep("robustness", asdict(robustness))

    def readings(self) -> Readings | None:
        """Return its predictions for all images of the training file, if they were ever computed."""
        return self._kept("readings", partial(contents.parse_readings, step=self.step))

    def keep_readings(self, readings: Readings) -> None:
        """Keep its predictions for all images of the training file."""
        self._keep("readings", asdict(readings))

    def rejection(self) -> dict[str, np.ndarray] | None:
        """Return what `core.evaluation.rejection` fitted for it, if it ever did."""
        return self._kept("judgements", contents.parse_arrays)

    def keep_rejection(self, fitted: dict[str, np.ndarray]) -> None:
        """Keep what was fitted for it."""
        self._keep("judgements", fitted)

    def answer(self, question: str, kind: type[T]) -> T | None:
        """Return an answer that is kept; None where there is none, or none that can be read.

        Args:
            question: what is asked, in words that no other question shares.
            kind: the answer's type, which pydantic can write and check: dataclasses, tuples, `arrays.Array`.
        """
        with suppress(RunDamaged):  # what can't be read is found again
            return self._folder.read_if_there(self._answer_file(question), TypeAdapter(kind).validate_json)
        return None

    def answered(self, question: str, kind: Any, find: Callable[[], T]) -> T:
        """Return the answer that is kept, else what `find` finds, which is then kept. Arguments as `answer`; `kind` may also be
        annotated, which is no `type`."""
        kept = self.answer(question, kind)
        if kept is not None:
            return kept
        found = find()
        with suppress(RunError):  # no room, or the run was deleted meanwhile: an answer all the same
            self._folder.write(self._answer_file(question), TypeAdapter(kind).dump_json(found))
            self._folder.remove_oldest("answers", MOST_ANSWERS)
        return found

    @property
    def _folder(self) -> Folder:
        return self.run.folder

    def _kept(self, what: str, parse: Callable[[bytes], T]) -> T | None:
        return self._folder.read_if_there(f"{what}/{self.step:08d}.npz", parse)

    def _keep(self, what: str, arrays: dict[str, np.ndarray]) -> None:
        self._folder.write_arrays(f"{what}/{self.step:08d}.npz", arrays)

    def _answer_file(self, question: str) -> str:
        return f"answers/{self.step:08d}-{hashlib.sha256(question.encode()).hexdigest()[:24]}.json"
