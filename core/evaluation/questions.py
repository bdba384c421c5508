"""A network put to the test, as jobs for the engine: on the images held out, on the test set, on digits that were damaged.

Each leaves what it finds in the run's folder, tells how far it is, and ends where that telling raises. It works in a worker
process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.data import datasets
from core.engine import predictor
from core.evaluation import robustness
from core.model.specs import IMAGE_SHAPE
from core.runs import registry
from core.runs.contents import Evaluation, Readings, Robustness
from core.runs.run import Run

Tell = Callable[[float], None]
AT_ONCE = 200  # drawings, between two tellings


@dataclass(frozen=True)
class Trial:
    """Of a run's network after so many batches.

    Raises, when it works:
        RunNotFound: if the run was deleted, be it meanwhile.
        RunDamaged: if the checkpoint can't be used.
        StorageFull: if there is no room for what it finds.
    """

    run_id: str
    root: str
    step: int

    def kept(self) -> Any:
        """What it left in the run's folder; None where it left nothing, or where that is of other images than those of the data
        set in use.

        Raises:
            RunDamaged: if that can't be read.
        """

    def _run(self) -> Run:
        """The run, as long as it is there: to write into a deleted one would bring its folder back."""
        return registry.find(self.run_id, self.root)

    def _answers(self, images: np.ndarray, tell: Tell) -> np.ndarray:
        return predictor.answers(predictor.network(self.run_id, self.root, self.step), self._run(), images, tell)


@dataclass(frozen=True)
class AnswerTest(Trial):
    """Let it answer for the whole test set."""

    def kept(self) -> Evaluation | None:
        found, dataset = Run(self.run_id, self.root).evaluation(self.step), datasets.load()
        return found if found is not None and is_of(found, dataset, dataset.y_test) else None

    def work(self, tell: Tell) -> int:
        """For how many images it answered."""
        dataset = datasets.load()
        probabilities = self._answers(dataset.x_test, tell)
        self._run().write_evaluation(Evaluation(self.step, probabilities, dataset.y_test, dataset=dataset.digest))
        return len(probabilities)


@dataclass(frozen=True)
class AnswerHeldOut(Trial):
    """Let it answer for the images that its training held out."""

    def kept(self) -> Evaluation | None:
        run = Run(self.run_id, self.root)
        found = run.validation(self.step)
        if found is None:
            return None
        dataset = datasets.load()
        held_out = held_out_images(run, dataset.y_train)
        is_same = np.array_equal(found.indices, held_out) and is_of(found, dataset, dataset.y_train[held_out])
        return found if is_same else None

    def work(self, tell: Tell) -> int:
        """For how many images it answered."""
        dataset, read = datasets.load(), self._run().readings(self.step)
        held_out = held_out_images(self._run(), dataset.y_train)
        if read is not None and is_of(read, dataset, dataset.y_train):  # it has read all of them already
            probabilities = read.probabilities[held_out]
        else:
            probabilities = self._answers(dataset.x_train[held_out], tell)
        answers = Evaluation(self.step, probabilities, dataset.y_train[held_out], held_out, dataset.digest)
        self._run().write_validation(answers)
        return len(probabilities)


@dataclass(frozen=True)
class ReadDrawings(Trial):
    """Let it read one's own drawings, (n, 28, 28) uint8, given as their bytes."""

    pixels: bytes

    def work(self, tell: Tell) -> np.ndarray:
        """Probabilities (n, 10) float32, as `judgement.read`; nothing is kept, because the drawings aren't the run's."""
        from core.evaluation import rejection  # which is made of trials

        images, found = np.frombuffer(self.pixels, np.uint8).reshape(-1, *IMAGE_SHAPE[:2]), []
        for start in range(0, len(images), AT_ONCE):
            tell(start / len(images))
            found += rejection.read(self.run_id, self.root, self.step, images[start : start + AT_ONCE])
        return np.stack([reading.probabilities for reading in found])


@dataclass(frozen=True)
class BreakIt(Trial):
    """Let it read test images that were damaged in every way of `robustness.DAMAGES`.

    Raises, when it works, also NotExplainable: if an answer is no numbers.
    """

    def kept(self) -> Robustness | None:
        found, dataset = Run(self.run_id, self.root).robustness(self.step), datasets.load()
        chosen = robustness.chosen(len(dataset.x_test))
        is_same = found is not None and robustness.is_of(found, dataset.x_test[chosen], dataset.y_test[chosen])
        return found if is_same else None

    def work(self, tell: Tell) -> int:
        """How many images it read in each way."""
        dataset = datasets.load()
        chosen = robustness.chosen(len(dataset.x_test))
        network, run = predictor.network(self.run_id, self.root, self.step), self._run()
        measured = robustness.measure(
            dataset.x_test[chosen],
            dataset.y_test[chosen],
            self.step,
            lambda images: predictor.answers(network, run, images),
            tell,
        )
        self._run().write_robustness(measured)
        return len(chosen)


def is_of(found: Evaluation | Readings, dataset: datasets.Dataset, y_true: np.ndarray) -> bool:
    """Whether answers are to those images of this data set whose labels are these, (n,), as far as is known: older ones don't say of
    which data set they are."""
    return found.dataset in ("", dataset.digest) and np.array_equal(found.y_true, y_true)


def held_out_count(run: Run, count: int) -> int:
    """How many images a run held out, of a training file of so many."""
    training = run.experiment().training
    return round(min(training.train_size or count, count) * training.validation_split)


def held_out_images(run: Run, y_train: np.ndarray) -> np.ndarray:
    """Indices into the training file of the images a run held out, (n,) int64; none where it held out none."""
    training = run.experiment().training
    return datasets.split(y_train, training.train_size, training.validation_split, training.seed)[1]
