"""A digit, a linear network, and a small one that has learned, for all that explains networks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from core.explain import inspection
from core.model.specs import Conv2D, Dense, Experiment, Flatten, MaxPooling2D, Training, replaced
from core.training import loop

SMALL = Experiment(
    layers=(Conv2D(filters=6, kernel_size=5, activation="relu"), MaxPooling2D(pool_size=2), Flatten(), Dense(units=24)),
    training=Training(learning_rate=0.003, seed=1),  # seed 0's network reads a 2 in what it thinks a 1 should look like
)


class Linear:
    """A network whose scores are weighted sums of the pixels."""

    def __init__(self, weights: np.ndarray) -> None:
        self.weights = weights  # (10, 28, 28)

    def scores(self, images: np.ndarray) -> np.ndarray:
        return np.einsum("nhw,khw->nk", images, self.weights).astype(np.float32)

    def gradients(self, images: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.scores(images), np.einsum("nk,khw->nhw", weights, self.weights).astype(np.float32)

    def last_maps(self, image: np.ndarray, digit: int) -> None:
        return None


@pytest.fixture(scope="session")
def linear() -> Linear:
    return Linear(np.random.default_rng(3).normal(size=(10, 28, 28)))


@pytest.fixture(scope="session")
def image(dataset) -> np.ndarray:
    return dataset.x_test[0]


@pytest.fixture(scope="session")
def ink(image) -> np.ndarray:
    return (image / 255).astype(np.float32)


@pytest.fixture(scope="session")
def learned(dataset) -> keras.Model:
    """A small network that has seen 2,000 digits three times."""
    recipe = replaced(SMALL.training, epochs=3, batch_size=32, train_size=2000, validation_split=0.0)
    network, _ = loop.train(replaced(SMALL, training=recipe), dataset, lambda event: None)
    return network


@pytest.fixture(scope="session")
def reader(learned) -> inspection.Reader:
    return inspection.Reader(learned)
