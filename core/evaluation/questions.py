"""Questions about a network's predictions: on the held-out images, on the test set, on damaged digits, on drawings, and
on one digit during the training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.data import datasets
from core.data.splits import held_out_images, is_of
from core.evaluation import rejection, robustness
from core.evaluation.rejection import Reading
from core.model.specs import IMAGE_SHAPE
from core.runs import loaded
from core.runs.contents import Evaluation, Robustness
from core.runs.network import Network
from core.runs.question import KEPT, Kept, Question, Tell, image_of
from core.runs.run import Run

AT_ONCE = 200  # drawings between two reports of progress
_TRACED = loaded.TravellingNetwork()


@dataclass(frozen=True)
class AboutNetwork(Question):
    """A question about a network, whose answer is kept beside its run where there is one to keep.

    Raises, when it works:
        RunNotFound: if the run was deleted, be it meanwhile.
        RunDamaged: if the checkpoint can't be used.
        StorageFull: if there is no room for the answer.
    """

    network: Network


@dataclass(frozen=True)
class AnswerTest(AboutNetwork):
    """Ask for the answers on the whole test set."""

    def kept(self) -> Evaluation | None:
        """Return the answers, if they are of the data set in use."""
        found, dataset = self.network.evaluation(), datasets.load()
        return found if found is not None and is_of(found, dataset, dataset.y_test) else None

    def work(self, tell: Tell) -> Kept:
        """Keep the answers beside the run."""
        dataset = datasets.load()
        answers = loaded.probabilities(loaded.found(self.network), dataset.x_test, tell)
        evaluation = Evaluation(self.network.step, answers, dataset.y_test, dataset=dataset.digest)
        loaded.found(self.network).keep_evaluation(evaluation)
        return KEPT


@dataclass(frozen=True)
class AnswerHeldOut(AboutNetwork):
    """Ask for the answers on the images that its training held out."""

    def kept(self) -> Evaluation | None:
        """Return the answers, if they are of the data set in use."""
        found = self.network.validation()
        if found is None:
            return None
        dataset = datasets.load()
        held_out = held_out_images(self.network.run, dataset.y_train)
        is_of_these = found.indices is not None and np.array_equal(found.indices, held_out)
        is_same = is_of_these and is_of(found, dataset, dataset.y_train[held_out])
        return found if is_same else None

    def work(self, tell: Tell) -> Kept:
        """Keep the answers beside the run."""
        network, dataset = loaded.found(self.network), datasets.load()
        held_out, read = held_out_images(network.run, dataset.y_train), network.readings()
        if read is not None and is_of(read, dataset, dataset.y_train):  # the network has classified all of them already
            answers = read.probabilities[held_out]
        else:
            answers = loaded.probabilities(network, dataset.x_train[held_out], tell)
        validation = Evaluation(network.step, answers, dataset.y_train[held_out], held_out, dataset.digest)
        loaded.found(network).keep_validation(validation)
        return KEPT


@dataclass(frozen=True)
class BreakIt(AboutNetwork):
    """Ask for the predictions for test images damaged in every way of `robustness.DAMAGES`.

    Raises, when it works, also NotExplainable: if an answer is no numbers.
    """

    def kept(self) -> Robustness | None:
        """Return the kept predictions, if they are for the data set in use."""
        found, dataset = self.network.robustness(), datasets.load()
        chosen = robustness.chosen(len(dataset.x_test))
        is_same = found is not None and robustness.is_of(found, dataset.x_test[chosen], dataset.y_test[chosen])
        return found if is_same else None

    def work(self, tell: Tell) -> Kept:
        """Keep the predictions beside the run."""
        dataset = datasets.load()
        chosen = robustness.chosen(len(dataset.x_test))
        measured = robustness.measure(
            dataset.x_test[chosen],
            dataset.y_test[chosen],
            self.network.step,
            lambda images: loaded.probabilities(self.network, images),
            tell,
        )
        loaded.found(self.network).keep_robustness(measured)
        return KEPT


@dataclass(frozen=True)
class ReadDrawings(AboutNetwork):
    """Ask for the predictions for one's own drawings, (n, 28, 28) uint8 as bytes; nothing is kept, because the drawings aren't the
    run's."""

    pixels: bytes

    def work(self, tell: Tell) -> np.ndarray:
        """Return probabilities (n, 10) float32, as `rejection.read`."""
        images, found = np.frombuffer(self.pixels, np.uint8).reshape(-1, *IMAGE_SHAPE[:2]), []
        for start in range(0, len(images), AT_ONCE):
            tell(start / len(images))
            found += rejection.read(self.network, images[start : start + AT_ONCE])
        return np.stack([reading.probabilities for reading in found])


@dataclass(frozen=True, eq=False)
class Predict(AboutNetwork):
    """Ask for the probabilities for a few images, (n, 28, 28) uint8."""

    images: np.ndarray

    def work(self, tell: Tell) -> np.ndarray:
        """Return probabilities (n, 10) float32, rows sum to 1."""
        return loaded.keras_network(self.network).predict_on_batch(self.images[..., None])


@dataclass(frozen=True, eq=False)
class Read(AboutNetwork):
    """Ask for the predictions for a few images, (n, 28, 28) uint8, and whether they are digits at all."""

    images: np.ndarray

    def work(self, tell: Tell) -> list[Reading]:
        """Return a `Reading` per image, as `rejection.read`."""
        return rejection.read(self.network, self.images)


@dataclass(frozen=True)
class TraceDigit(Question):
    """Ask for a run's predictions for a digit, (28, 28) uint8 as bytes, after each of so many batches.

    Raises, when it works:
        RunDamaged: if a checkpoint isn't there or isn't whole.
    """

    run: Run
    steps: tuple[int, ...]
    pixels: bytes

    def work(self, tell: Tell) -> np.ndarray:
        """Return probabilities (len(steps), 10) float32."""
        batch = image_of(self.pixels)[None, ..., None]
        with _TRACED.lent(self.run) as after:
            return np.stack([after(step).predict_on_batch(batch)[0] for step in self.steps])
