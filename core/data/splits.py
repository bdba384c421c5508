"""The images of the training file that a run learned from and those that it held out, and which images answers are
about.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from core.data import datasets
from core.data.datasets import Dataset
from core.runs.contents import Evaluation, Readings
from core.runs.run import Run


class Split(StrEnum):
    """The origin of digits, with the label that it has on every page."""

    TRAINING = "Training"
    VALIDATION = "Validation"
    TEST = "Test"
    DRAWN = "Drawn"
    MINE = "My hand"
    PICTURE = "Picture"


def held_out_count(run: Run, count: int) -> int:
    """Return how many images a run held out, of a training file of so many."""
    training = run.experiment().training
    return round(min(training.train_size or count, count) * training.validation_split)


def held_out_images(run: Run, y_train: np.ndarray) -> np.ndarray:
    """Return the indices into the training file of the images a run held out, (n,) int64; none where it held out none."""
    training = run.experiment().training
    return datasets.split(y_train, training.train_size, training.validation_split, training.seed)[1]


def is_of(found: Evaluation | Readings, dataset: Dataset, y_true: np.ndarray) -> bool:
    """Return whether answers are to those images of this data set whose labels are these, (n,), as far as is known: older ones
    don't say of which data set they are."""
    return found.dataset in ("", dataset.digest) and np.array_equal(found.y_true, y_true)
