"""Digits damaged on purpose, step by step, and how many of them a network still classifies correctly.

Every damage is the same at each run: what differs from image to image (a direction, grain, a place) is drawn from one seed, and
drawn alike at each severity, so that a curve shows the severity and nothing else.

Source: the idea of kinds and severities is that of Hendrycks & Dietterich 2019, Benchmarking Neural Network Robustness
to Common Corruptions and Perturbations, arXiv:1903.12261, and of Mu & Gilmer 2019, MNIST-C, arXiv:1906.02337; the maps
are those of
`core.training.augmentation`, here with fixed instead of random sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.errors import NotExplainable
from core.evaluation import metrics
from core.model.specs import CLASSES, IMAGE_SHAPE
from core.runs.contents import Robustness

SEED = 20
MOST_IMAGES = 1000
SIDE = IMAGE_SHAPE[0]
CENTRE = (SIDE - 1) / 2
GREY = 127.5  # of the covering square


@dataclass(frozen=True)
class Damage:
    """A kind of damage.

    Attributes:
        name: for people.
        unit: follows a severity.
        severities: in rising order, in this unit.
        said: what a severity means, in words.
        apply: takes images (n, 28, 28) float32 0..255, a severity and a generator, and returns such images, whose
            values may be below 0 and above 255.
    """

    name: str
    unit: str
    severities: tuple[float, ...]
    said: str
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]

    def text(self, severity: float) -> str:
        """Return a severity with its unit."""
        return f"{severity:g}{self.unit}"


def rotated(images: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Rotate images about the middle, half of them either way.

    Args:
        images: (n, 28, 28) float32, 0..255, as for every damage.
        degrees: the angle.
        rng: decides the directions.
    """
    angle = np.radians(degrees) * _way(images, rng)
    cos, sin = np.cos(angle), np.sin(angle)
    return _mapped(images, cos, -sin, sin, cos)


def shifted(images: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Move images by whole pixels, a quarter of them to each side; what leaves the image is lost."""
    moved, side = np.zeros_like(images), rng.integers(0, 4, len(images))
    k = round(pixels)
    if not k:
        return images
    for is_of, to, frm in (
        (side == 0, np.s_[:, k:, :], np.s_[:, :-k, :]),
        (side == 1, np.s_[:, :-k, :], np.s_[:, k:, :]),
        (side == 2, np.s_[:, :, k:], np.s_[:, :, :-k]),
        (side == 3, np.s_[:, :, :-k], np.s_[:, :, k:]),
    ):
        there = moved[is_of]
        there[to] = images[is_of][frm]
        moved[is_of] = there
    return moved


def scaled(images: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Scale images about the middle, half of them larger by `percent`, half smaller by the same factor."""
    factor = (1 + percent / 100) ** _way(images, rng)
    return _mapped(images, 1 / factor, 0 * factor, 0 * factor, 1 / factor)


def sheared(images: np.ndarray, slant: float, rng: np.random.Generator) -> np.ndarray:
    """Slant images by `slant` pixels sideways per pixel of height, half of them either way."""
    way = _way(images, rng)
    return _mapped(images, 0 * way + 1, slant * way, 0 * way, 0 * way + 1)


def thickened(images: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Make strokes thicker in half of the images and thinner in the others, by so many pixels on each side."""
    is_fatter = (_way(images, rng) > 0)[:, None, None]
    while pixels > 0:
        amount = min(pixels, 1.0)
        images = images + amount * (np.where(is_fatter, _brightest(images), -_brightest(-images)) - images)
        pixels = round(pixels - amount, 9)
    return images


def grained(images: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise whose standard deviation is `percent` of white."""
    return images + percent / 100 * 255 * rng.standard_normal(images.shape, np.float32)


def blurred(images: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Blur as if out of focus: with a Gaussian of this standard deviation."""
    from scipy import ndimage  # a quarter of a second, and only a worker damages digits

    return ndimage.gaussian_filter(images, pixels, axes=(1, 2), mode="constant")


def faded(images: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Lower each image's contrast by `percent`, about its mean."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean + (1 - percent / 100) * (images - mean)


def covered(images: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Cover a random place within each digit's 20 × 20 box by a grey square with sides of `pixels`."""
    centre = rng.uniform(8, 20, (2, len(images), 1, 1))
    row, column = np.arange(SIDE)[:, None] + 0.5, np.arange(SIDE)[None, :] + 0.5
    is_under = (abs(row - centre[0]) <= pixels / 2) & (abs(column - centre[1]) <= pixels / 2)
    return np.where(is_under & (pixels > 0), np.float32(GREY), images)


DAMAGES = (
    Damage("Rotation", "°", (15, 30, 45, 60, 75), "turned, half of them either way", rotated),
    Damage("Shift", " px", (1, 2, 3, 4, 5), "moved to any of the four sides", shifted),
    Damage("Scale", " %", (10, 20, 30, 40, 50), "half of them larger by so much, half smaller", scaled),
    Damage("Shear", "", (0.15, 0.3, 0.45, 0.6, 0.75), "slanted, pixels sideways per pixel of height", sheared),
    Damage("Thickness", " px", (0.3, 0.6, 0.9, 1.2, 1.5), "strokes fatter or thinner on each side", thickened),
    Damage("Noise", " %", (10, 20, 30, 40, 50), "grain, its standard deviation in per cent of white", grained),
    Damage("Blur", " px", (0.5, 1, 1.5, 2, 2.5), "out of focus, the standard deviation of the blur", blurred),
    Damage("Contrast", " %", (20, 40, 60, 80, 90), "so much less contrast", faded),
    Damage("Occlusion", " px", (4, 6, 8, 10, 12), "a grey square of this side over a part", covered),
)
SEVERITIES = len(DAMAGES[0].severities)


def damaged(images: np.ndarray, damage: Damage, severity: float) -> np.ndarray:
    """Apply one kind of damage to images.

    Args:
        images: (n, 28, 28) uint8.
        damage: the kind.
        severity: in the damage's own unit, one of its `severities` or between; 0 changes nothing.

    Returns:
        (n, 28, 28) uint8.
    """
    changed = damage.apply(images.astype(np.float32), severity, np.random.default_rng(SEED))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def chosen(count: int) -> np.ndarray:
    """Return which of `count` test images are damaged, (k,) int64: at most `MOST_IMAGES`, evenly spaced.

    They are spread over the whole set because MNIST's first half is the easier one.
    """
    return np.linspace(0, count - 1, min(count, MOST_IMAGES)).astype(np.int64)


def score(measured: Robustness) -> float:
    """Return the mean accuracy over all kinds of damage and all their severities, 0..1."""
    return float(measured.accuracy.mean())


def weakest(measured: Robustness) -> int:
    """Return the place in `DAMAGES` of the kind that lowers the accuracy most."""
    return int(measured.accuracy.mean(axis=1).argmin())


def measure(
    images: np.ndarray,
    labels: np.ndarray,
    step: int,
    answer: Callable[[np.ndarray], np.ndarray],
    tell: Callable[[float], None] = lambda share: None,
) -> Robustness:
    """Measure a network's accuracy under every kind of damage and severity.

    Args:
        images: (n, 28, 28) uint8.
        labels: (n,) integers.
        step: the number of batches after which the network is meant; only written down.
        answer: images (n, 28, 28) uint8 -> probabilities (n, 10).
        tell: told the finished share, 0..1, before each severity; an error that it raises ends the measurement.

    Raises:
        NotExplainable: if a probability is NaN or infinite.
    """
    shown = _shown(labels)
    clean = _read(answer(images))
    accuracy = np.zeros((len(DAMAGES), SEVERITIES))
    samples = np.zeros((len(DAMAGES), SEVERITIES + 1, len(shown), SIDE, SIDE), np.uint8)
    readings = np.zeros(samples.shape[:3], np.uint8)
    samples[:, 0], readings[:, 0] = images[shown], clean[shown]
    for done, (kind, level) in enumerate(np.ndindex(accuracy.shape)):
        tell(done / accuracy.size)
        changed = damaged(images, DAMAGES[kind], DAMAGES[kind].severities[level])
        read = _read(answer(changed))
        accuracy[kind, level] = np.mean(read == labels)
        samples[kind, level + 1], readings[kind, level + 1] = changed[shown], read[shown]
    return Robustness(
        step, float(np.mean(clean == labels)), accuracy, len(images), samples, labels[shown].astype(np.uint8), readings
    )


def is_of(measured: Robustness, images: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether these images, (n, 28, 28) uint8, and labels, (n,), were the ones measured, as far as the kept
    samples show.
    """
    shown = _shown(labels)
    return (
        measured.images == len(images)
        and np.array_equal(measured.labels, labels[shown])
        and np.array_equal(measured.samples[0, 0], images[shown])
    )


def _shown(labels: np.ndarray) -> np.ndarray:
    """Return the place of the first image of each digit."""
    return np.array([np.flatnonzero(labels == digit)[0] for digit in range(CLASSES) if (labels == digit).any()])


def _read(probabilities: np.ndarray) -> np.ndarray:
    if metrics.without_answer(probabilities):
        raise NotExplainable(
            "This network's answers are no numbers any more (NaN or infinite), so there is nothing to break. Choose an earlier "
            "moment of it in the sidebar, or train with a smaller learning rate."
        )
    return probabilities.argmax(axis=1).astype(np.uint8)


def _way(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random sign, 1 or -1, for each image, (n,) float32."""
    return np.array([-1, 1], np.float32)[rng.integers(0, 2, len(images))]


def _mapped(images: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return each image sampled at x' = a x + b y, y' = c x + d y about its middle: bilinear, black beyond the edge.

    Args:
        a, b, c, d: (n,) each.
    """
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32).reshape(2, 1, -1) - CENTRE
    column = a[:, None] * x + b[:, None] * y + (CENTRE + 1)  # in an image with a frame of one black pixel
    row = c[:, None] * x + d[:, None] * y + (CENTRE + 1)
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1))).reshape(len(images), -1)
    column, row = np.clip(column, 0, SIDE + 1), np.clip(row, 0, SIDE + 1)
    left, top = np.minimum(column.astype(int), SIDE), np.minimum(row.astype(int), SIDE)
    place, right, low = top * (SIDE + 2) + left, column - left, row - top
    upper, lower = (
        np.take_along_axis(framed, place + line, 1) * (1 - right)
        + np.take_along_axis(framed, place + line + 1, 1) * right
        for line in (0, SIDE + 2)
    )
    return (upper * (1 - low) + lower * low).reshape(images.shape).astype(np.float32)


def _brightest(images: np.ndarray) -> np.ndarray:
    """Return each pixel's brightest among itself and its eight neighbours within the image."""
    from scipy import ndimage  # a quarter of a second, and only a worker damages digits

    return ndimage.maximum_filter(images, (1, 3, 3), mode="constant", cval=-math.inf)
