"""Questions about a training before it begins: the seconds of an epoch, a learning-rate range test, a preview of
changed images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.data import datasets
from core.model.specs import Augmentation, Experiment
from core.runs.question import Question, Tell
from core.training.range_test import RangeTest


@dataclass(frozen=True)
class TimeEpoch(Question):
    """Ask for the seconds of an epoch on a worker, with validation: an estimate from a short trial."""

    needs_quiet: ClassVar[bool] = True
    experiment: Experiment

    def work(self, tell: Tell) -> float:
        """Return seconds."""
        from core.training import loop  # TensorFlow, which workers alone load

        return loop.seconds_per_epoch(self.experiment, datasets.load())


@dataclass(frozen=True)
class FindRange(Question):
    """Ask for a learning-rate range test, over a hundred batches."""

    experiment: Experiment

    def work(self, tell: Tell) -> RangeTest:
        from core.training import loop  # TensorFlow, which workers alone load

        return loop.find_range(self.experiment, datasets.load())


@dataclass(frozen=True)
class Augment(Question):
    """Ask for training images as the training would see them."""

    augmentation: Augmentation
    indices: tuple[int, ...]
    seeds: tuple[int, ...]

    def work(self, tell: Tell) -> np.ndarray:
        """Return the images as each seed changes them, (seeds, n, 28, 28) uint8."""
        from core.training import augmentation  # TensorFlow, which workers alone load

        images = datasets.load().x_train[list(self.indices)]
        return np.stack([augmentation.preview(images, self.augmentation, seed) for seed in self.seeds])
