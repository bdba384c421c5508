"""MNIST's digits as other hands, with other pens, would have drawn them on the lab's canvas.

MNIST was written with pencils and pens on paper. On a screen people draw with a finger's width, give a one its flag and
foot and a seven its bar, and rotate the sheet. A digit is thinned to its centre lines, these are moved, and a round pen
of any width follows them. The result is prepared like every drawing, so that a network learns what the preparation
makes of a thick pen's digits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
from PIL import Image

from core.data.datasets import Dataset
from core.ink import preparation, skeleton

LINES = 80  # pixels of a digit's longer side, in which its lines are moved
TURN, SLANT, STRETCH = 12.0, 0.12, 0.2  # degrees; sideways, and wider or narrower, at most
# The pen's width as a share of the lines' longer side: of any pen, thin ones as frequent as thick ones, and of thick pens.
ANY_PEN, THICK_PEN = (0.06, 0.4), (0.15, 0.42)
FLAGGED, FOOTED, BARRED = 0.5, 0.15, 0.15  # of the ones, of the ones, and of the sevens
FLAG_ANGLE, FLAG_LENGTH = (110, 148), (0.15, 0.42)  # degrees clockwise from the right; of the one's height
EDGE = 0.4  # of white, at which MNIST's strokes end
AT_ONCE = 500


def redrawn(image: np.ndarray, digit: int, rng: np.random.Generator, is_thick: bool = False) -> np.ndarray:
    """Draw a digit as another hand with another pen would, prepared as drawings are.

    Args:
        image: (28, 28) uint8, ink 255 on 0.
        digit: its label.
        is_thick: whether the pen is one of the thick ones, or any.

    Returns:
        (28, 28) uint8.
    """
    points = _with_habits(centre_lines(image), digit, rng)
    angle, slant = np.radians(rng.uniform(-TURN, TURN)), rng.uniform(-SLANT, SLANT)
    cos, sin = np.cos(angle), np.sin(angle)
    stretch = np.diag([rng.uniform(1 - STRETCH, 1 + STRETCH), 1.0])
    points = points @ (np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, slant], [0, 1]]) @ stretch).T
    width = rng.uniform(*THICK_PEN) if is_thick else any_pen(rng)
    return with_pen(points, width)


def any_pen(rng: np.random.Generator) -> float:
    """Return a random pen width, as a share of the longer side of what it draws."""
    return float(np.exp(rng.uniform(*np.log(ANY_PEN))))


def with_pen(points: np.ndarray, width: float) -> np.ndarray:
    """Draw centre lines with a round pen, prepared as drawings are, (28, 28) uint8.

    Args:
        points: (n, 2) float64 of x and y, half a pixel of `LINES` apart at most.
        width: of the pen, as a share of the lines' longer side.
    """
    points = points - points.min(axis=0)
    points *= LINES / max(points.max(), 1)
    x, y = np.rint(points).astype(int).T
    lines = np.zeros((y.max() + 1, x.max() + 1), bool)
    lines[y, x] = True
    return preparation.to_mnist(skeleton.inked(lines, width * LINES / 2))


def centre_lines(image: np.ndarray) -> np.ndarray:
    """Return the pixels of the ink's centre lines, (n, 2) float64 of x and y, whose longer side is `LINES`.

    Args:
        image: (h, w) uint8, ink 255 on 0, not empty.
    """
    rows, columns = (np.flatnonzero(image.max(axis=axis) > EDGE * 255) for axis in (1, 0))
    ink = Image.fromarray(np.ascontiguousarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]))
    scale = LINES / max(ink.size)
    large = ink.resize([max(1, round(side * scale)) for side in ink.size], Image.Resampling.BICUBIC)
    y, x = np.nonzero(skeleton.skeleton(np.asarray(large) > EDGE * 255))
    return np.column_stack([x, y]).astype(float)


def enlarging(dataset: Dataset, seed: int) -> Callable[[Dataset, np.ndarray], tuple[Dataset, np.ndarray]]:
    """Return a function that enlarges a data set's training images: each is used twice as it is, once with any pen and
    once with a thick one.

    The images are redrawn here, in as many processes as there are cores; the same seed gives the same.

    Returns:
        A function for `loop.train`'s `enlarge`.
    """
    images, labels = dataset.x_train, dataset.y_train
    parts = [
        (images[first : first + AT_ONCE], labels[first : first + AT_ONCE], first, seed)
        for first in range(0, len(labels), AT_ONCE)
    ]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        drawn = np.concatenate(list(processes.map(_all_redrawn, parts)))

    def enlarge(dataset: Dataset, indices: np.ndarray) -> tuple[Dataset, np.ndarray]:
        count = len(dataset.y_train)
        more = replace(
            dataset,
            x_train=np.concatenate([dataset.x_train, drawn[:, 0], drawn[:, 1]]),
            y_train=np.tile(dataset.y_train, 3),
        )
        return more, np.concatenate([indices, indices, indices + count, indices + 2 * count])

    return enlarge


def _all_redrawn(part: tuple[np.ndarray, np.ndarray, int, int]) -> np.ndarray:
    """Return images drawn with any pen and with a thick one, (n, 2, 28, 28) uint8.

    Args:
        part: `images`, `labels`, the first one's place, and a seed.
    """
    images, labels, first, seed = part
    drawn = []
    for place, (image, digit) in enumerate(zip(images, labels, strict=True), start=first):
        rng = np.random.default_rng((seed, place))
        drawn.append([redrawn(image, int(digit), rng, is_thick) for is_thick in (False, True)])
    return np.array(drawn, np.uint8)


def _with_habits(points: np.ndarray, digit: int, rng: np.random.Generator) -> np.ndarray:
    """Return the lines of a digit; some ones get a flag, some a foot, and some sevens a bar."""
    added = [points]
    height = np.ptp(points[:, 1])
    if digit == 1 and rng.random() < FLAGGED:
        top = points[points[:, 1].argmin()]
        angle = np.radians(rng.uniform(*FLAG_ANGLE))
        added.append(_line(top, top + height * rng.uniform(*FLAG_LENGTH) * np.array([np.cos(angle), np.sin(angle)])))
    if digit == 1 and rng.random() < FOOTED:
        bottom = points[points[:, 1].argmax()]
        left, right = height * rng.uniform(0.12, 0.32, 2)
        added.append(_line(bottom - np.array([left, 0]), bottom + np.array([right, 0])))
    if digit == 7 and rng.random() < BARRED:
        middle = points[np.abs(points[:, 1] - points[:, 1].min() - height * rng.uniform(0.4, 0.6)).argmin()]
        half = height * rng.uniform(0.12, 0.28)
        added.append(_line(middle - np.array([half, 0]), middle + np.array([half, height * rng.uniform(-0.1, 0.1)])))
    return np.concatenate(added)


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return points from `start` to `end`, half a pixel apart, (n, 2) float64."""
    return np.linspace(start, end, int(np.ceil(2 * np.abs(end - start).max())) + 2)
