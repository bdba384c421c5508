"""Adversarial changes, the smallest that make a network predict another digit, and activation maximisation.

Images are ink, float32 in 0..1 with (28, 28) pixels; `Reader` is that of `core.explain.attribution`.

Sources: projected gradient ascent, A. Madry et al. 2018, arXiv:1706.06083; the margin as what is raised, N. Carlini, D.
Wagner 2017, arXiv:1608.04644; activation maximisation with a penalty on ink, K. Simonyan et al. 2013, arXiv:1312.6034,
with jitter and smoothed gradients, C. Olah, A. Mordvintsev, L. Schubert, "Feature Visualization", Distill 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from core.explain.attribution import SIDES, Reader, one_hot, probabilities
from core.ink.preparation import BOX
from core.model.specs import CLASSES
from core.runs.arrays import Array

STEPS, BOUNDS = 40, 12  # of the ascent, and how many bounds are tried at once
LEVELS = 255


class Norm(StrEnum):
    """The norm that measures the size of a change."""

    L2 = "L2"
    LINF = "L∞"


SMALLEST = {Norm.L2: 0.1, Norm.LINF: 1 / LEVELS}
LARGEST = {Norm.L2: 10.0, Norm.LINF: 0.6}

PICTURE_STEPS, RATE, COPIES = 150, 0.05, 2
NOISE, JITTER = 0.2, 2  # of the copies: ink, and pixels
PRICE, PRICE_OUTSIDE = 0.15, 0.6
SOFTEST, SHARPEST = 2.0, 0.8  # bells that smooth the gradient at the beginning and at the end, in pixels


@dataclass(frozen=True)
class Change:
    """A digit with the smallest change found that makes the network predict another.

    Attributes:
        image: (28, 28) uint8, the changed digit, in whole levels as any picture has them.
        probabilities: (10,) float32 of that.
        l2: length of the change, where full ink on one pixel is 1.
        linf: the largest change of a pixel, 0..1.
        is_reached: whether it is read as `target`; if not, this is as far as the largest bound went.
    """

    target: int
    norm: Norm
    image: Array
    probabilities: Array
    l2: float
    linf: float
    is_reached: bool


def smallest_change(reader: Reader, image: np.ndarray, target: int, norm: Norm) -> Change:
    """Find the smallest change that makes a network predict `target` for a digit.

    Several bounds are tried at once by projected gradient ascent, from the digit itself, so that the same question has
    the same answer; then bounds between the last too small and the first large enough; at last the change is shortened
    as far as possible. Ink stays between 0 and 1. The prediction is checked on the picture in whole levels.

    Args:
        reader: the network.
        image: (28, 28) uint8.
        target: the digit to predict, 0..9.
        norm: the measure of the change.
    """
    start = (image / LEVELS).astype(np.float32)
    if int(reader.scores(start[None]).argmax()) == target:
        return _change(reader, image, image, target, norm)
    bounds, found = np.geomspace(SMALLEST[norm], LARGEST[norm], BOUNDS).astype(np.float32), None
    for _ in range(2):
        ends = _ascend(reader, start, target, norm, bounds)
        is_there = _reads(reader, ends, target)
        if not is_there.any():
            break
        first = int(is_there.argmax())
        found = ends[first]
        bounds = np.linspace(bounds[first - 1] if first else 0, bounds[first], BOUNDS + 2, dtype=np.float32)[1:-1]
    if found is None:
        return _change(reader, image, _levels(ends[-1]), target, norm)
    shorter = start + np.linspace(0.5, 1, 51, dtype=np.float32)[:, None, None] * (found - start)
    return _change(reader, image, _levels(shorter[_reads(reader, shorter, target).argmax()]), target, norm)


def perfect_digits(reader: Reader, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture of each digit that raises its score most above the mean of the others': activation
    maximisation.

    Without constraints the result is stripes that no pen draws. So the gradient is taken of noisy, shifted copies and
    smoothed, less and less over time, and ink is penalised, more so beyond the 20 × 20 pixels that MNIST's digits fill,
    but only as far as the network is certain.

    Returns:
        (10, 28, 28) float32 ink, and the probabilities (10, 10) float32 for it.
    """
    rng = np.random.default_rng(seed)
    images = np.full((CLASSES, *SIDES), 0.1, np.float32)
    weights = (one_hot(np.arange(CLASSES)) * CLASSES - 1) / (CLASSES - 1)
    price, momentum = _price(), np.zeros_like(images)
    for step in range(PICTURE_STEPS):
        left = 1 - step / PICTURE_STEPS
        gradients = np.mean([_jittered_gradients(reader, images, weights, rng) for _ in range(COPIES)], axis=0)
        sureness = np.diag(probabilities(reader.scores(images)))[:, None, None]
        gradients /= np.sqrt((gradients**2).mean(axis=(1, 2), keepdims=True)) + 1e-12
        by = _blur(SHARPEST + (SOFTEST - SHARPEST) * left)
        momentum = 0.9 * momentum + 0.1 * (by @ gradients @ by.T - sureness * price)
        change = momentum / (np.abs(momentum).mean(axis=(1, 2), keepdims=True) + 1e-9)
        images = np.clip(images + RATE * left * change, 0, 1).astype(np.float32)
    return images, probabilities(reader.scores(images))


def _jittered_gradients(
    reader: Reader, images: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return gradients at noisy copies, each shifted by up to two pixels, and shifted back."""
    rows, columns = rng.integers(-JITTER, JITTER + 1, 2)
    noisy = np.roll(images, (rows, columns), (1, 2)) + rng.normal(0, NOISE, images.shape)
    return np.roll(reader.gradients(noisy.astype(np.float32), weights)[1], (-rows, -columns), (1, 2))


def _price() -> np.ndarray:
    """Return the penalty of ink on each pixel, (28, 28), in units of the gradient's root mean square."""
    price = np.full(SIDES, PRICE_OUTSIDE)
    edge = (SIDES[0] - BOX) // 2
    price[edge:-edge, edge:-edge] = PRICE
    return price


def _blur(sigma: float) -> np.ndarray:
    """Return a matrix (28, 28) that smooths columns, and its transpose rows, by a Gaussian with this standard deviation
    in pixels."""
    apart = np.subtract.outer(np.arange(SIDES[0]), np.arange(SIDES[0]))
    bells = np.exp(-(apart**2) / (2 * sigma**2))
    return bells / bells.sum(axis=1, keepdims=True)


def _ascend(reader: Reader, start: np.ndarray, target: int, norm: Norm, bounds: np.ndarray) -> np.ndarray:
    """Return the ends of the ascent of the target's score over the best other's, one within each of (n,) bounds, (n,
    28, 28).
    """
    images = np.repeat(start[None], len(bounds), axis=0)
    limits, scores = bounds[:, None, None], reader.scores(images)
    for _ in range(STEPS):
        others = np.where(np.arange(CLASSES) == target, -np.inf, scores).argmax(axis=1)
        weights = one_hot(np.full(len(bounds), target)) - one_hot(others)
        scores, gradients = reader.gradients(images, weights)
        if norm is Norm.LINF:
            changes = images + 2.5 * limits / STEPS * np.sign(gradients) - start
            changes = np.clip(changes, -limits, limits)
        else:
            changes = images + 2.5 * limits / STEPS * gradients / np.maximum(_length(gradients), 1e-12) - start
            changes = changes * np.minimum(1, limits / np.maximum(_length(changes), 1e-12))
        images = np.clip(start + changes, 0, 1).astype(np.float32)
    return images


def _length(values: np.ndarray) -> np.ndarray:
    return np.sqrt((values**2).sum(axis=(1, 2), keepdims=True))


def _levels(image: np.ndarray) -> np.ndarray:
    return np.rint(image * LEVELS).astype(np.uint8)


def _reads(reader: Reader, images: np.ndarray, target: int) -> np.ndarray:
    """Return which of (n, 28, 28) are classified as the target once they are pictures of whole levels, (n,) bool."""
    return reader.scores((_levels(images) / LEVELS).astype(np.float32)).argmax(axis=1) == target


def _change(reader: Reader, image: np.ndarray, changed: np.ndarray, target: int, norm: Norm) -> Change:
    of_changed = probabilities(reader.scores((changed / LEVELS).astype(np.float32)[None]))[0]
    by = (changed.astype(np.float64) - image) / LEVELS
    return Change(
        target,
        norm,
        changed,
        of_changed,
        l2=float(np.linalg.norm(by)),
        linf=float(np.abs(by).max()),
        is_reached=int(of_changed.argmax()) == target,
    )
