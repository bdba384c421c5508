"""A learning-rate range test: the rate rises from batch to batch, and the loss shows which rates this network can take.

Source: Smith 2017, Cyclical Learning Rates for Training Neural Networks, arXiv:1506.01186.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

STEPS = 100
STEPS_AT_ONCE = 5  # batches between two checks whether the loss has exploded
LOWEST, HIGHEST = 1e-6, 10.0
EXPLODED = 4.0  # times the lowest loss so far
SMOOTHING = 0.8  # of the mean is kept at each batch: it averages about five batches, and lags by as many
LEAST_FALL = 0.1  # share of the loss; single batches differ by less


@dataclass(frozen=True)
class RangeTest:
    """`losses` (n,) float32 of the batches taken at `learning_rates` (n,) float32, rising; it may end before the highest
    rate, where the loss had exploded."""

    learning_rates: np.ndarray
    losses: np.ndarray


def learning_rates() -> np.ndarray:
    """Return the rates tried, (STEPS,) float32, each larger than the one before by the same factor."""
    return np.geomspace(LOWEST, HIGHEST, STEPS).astype(np.float32)


def has_exploded(losses: np.ndarray) -> bool:
    """Return whether the loss is so high that going on would show nothing more."""
    return len(losses) > 0 and not losses[-1] <= EXPLODED * losses.min()


def smoothed(losses: np.ndarray, beta: float = SMOOTHING) -> np.ndarray:
    """Return the exponentially weighted mean of the losses up to each, (n,) float64; NaN from the first non-finite loss
    on.

    The weights add up to 1 from the start (bias correction). Source: Kingma & Ba 2015, arXiv:1412.6980, section 3.
    """
    means, mean = np.full(len(losses), np.nan), 0.0
    for i, loss in enumerate(_finite(losses)):
        mean = beta * mean + (1 - beta) * float(loss)
        means[i] = mean / (1 - beta ** (i + 1))
    return means


def suggestion(test: RangeTest) -> float | None:
    """Return a learning rate to train with, as 1, 2 or 5 times a power of ten; None if the loss never fell.

    It is the lower of two: the rate at which the smoothed loss falls most steeply, by the rate's logarithm, and a tenth
    of the rate at its minimum. Source: Howard & Gugger 2020, fastai, arXiv:2002.04688, whose `lr_find` gave both.
    """
    losses = smoothed(_finite(test.losses))
    if len(losses) < 2:
        return None
    lowest = int(np.argmin(losses))
    highest = losses[: lowest + 1].max()
    if highest - losses[lowest] <= LEAST_FALL * highest:
        return None
    slopes = np.gradient(losses, np.log(test.learning_rates[: len(losses)].astype(np.float64)))
    first = min(len(losses) // 10, lowest)  # before it too few losses are averaged
    steepest = first + int(np.argmin(slopes[first : lowest + 1]))
    return _rounded(min(test.learning_rates[steepest], test.learning_rates[lowest] / 10))


def _finite(losses: np.ndarray) -> np.ndarray:
    """Return the losses before the first one that is NaN or infinite."""
    is_finite = np.isfinite(losses)
    return losses if is_finite.all() else losses[: int(np.argmin(is_finite))]


def _rounded(rate: float) -> float:
    """Return the nearest of 1, 2, 5, 10, ... times a power of ten, by their ratio."""
    power = math.floor(math.log10(rate))
    candidates = [float(f"{digit}e{power}") for digit in (1, 2, 5, 10)]
    return min(candidates, key=lambda candidate: abs(math.log(candidate / rate)))
