"""Attribution: which pixels led to a network's prediction, by five methods, and how far each can be trusted.

The methods know no library: a `Reader` gives them a network's scores and gradients as arrays. Images here are ink, float32 in
0..1 with (28, 28) pixels; a score is the last layer's output for a digit before softmax, which unlike a probability doesn't
saturate where the network is certain.

Sources: gradient saliency, K. Simonyan, A. Vedaldi, A. Zisserman 2013, arXiv:1312.6034; SmoothGrad, D. Smilkov et al. 2017,
arXiv:1706.03825; integrated gradients, M. Sundararajan, A. Taly, Q. Yan 2017, arXiv:1703.01365; Grad-CAM, R. Selvaraju et al.
2017, arXiv:1610.02391; occlusion, M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014;
deletion and insertion, V. Petsiuk, A. Das, K. Saenko 2018, arXiv:1806.07421; weights made random again, J. Adebayo et al.
2018, arXiv:1810.03292.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from PIL import Image

from core.evaluation import calibration
from core.model.specs import CLASSES, IMAGE_SHAPE
from core.runs.arrays import Array

SIDES = IMAGE_SHAPE[:2]
NOISE, NOISY_COPIES = 0.15, 32  # share of the ink's range; Smilkov et al. advise 0.1 to 0.2, and find 50 copies enough
PIECES, MOST_HALVINGS = 64, 10  # of the path of integrated gradients
WANTED_GAP = 0.002  # of the difference that they should sum to
PATCH, PATCH_STRIDE = 4, 2  # of the square that occlusion blots out, in pixels
CURVE_STEPS = 28  # of deletion and insertion: as many pixels as a row has at a time
CHANCE_ORDERS = 4
MOST_LEVELS = 8  # of the cascade
MOST_ALIKE = 0.5  # rank correlation with the map of a network that has learned nothing


class Method(StrEnum):
    """The method that finds which pixels mattered."""

    SALIENCY = "Gradient"
    SMOOTH_GRAD = "SmoothGrad"
    INTEGRATED = "Integrated gradients"
    GRAD_CAM = "Grad-CAM"
    OCCLUSION = "Occlusion"


ABOUT = {
    Method.SALIENCY: "How strongly the score answers to a small change of each pixel.",
    Method.SMOOTH_GRAD: f"The same, averaged over {NOISY_COPIES} noisy copies, so that chance falls out.",
    Method.INTEGRATED: "The score shared out among the pixels, on the way from an empty sheet to this digit. "
    "Ochre speaks for it, blue against it.",
    Method.GRAD_CAM: "Where the last convolution found what speaks for it.",
    Method.OCCLUSION: f"How far the score falls (ochre) or rises (blue) when {PATCH} × {PATCH} pixels are blotted out.",
}


class Reader(Protocol):
    """A network that can be asked for scores and gradients."""

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Return scores (n, 10) float32, before softmax, for (n, 28, 28) ink."""
        ...

    def gradients(self, images: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores (n, 10), and the gradients (n, 28, 28) of each image's weighted sum of scores, weights (n, 10)."""
        ...

    def last_maps(self, image: np.ndarray, digit: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the feature maps of the last convolution, (h, w, c), and the gradient of a score in them; None without
        one."""
        ...


@dataclass(frozen=True)
class Curves:
    """A class's probability as pixels are taken away, and as they are put on an empty sheet, the most important first.

    Attributes:
        deletion, insertion: (29,) float32, after 0, 28, 56, ..., 784 pixels.
    """

    deletion: Array
    insertion: Array

    @property
    def deletion_area(self) -> float:
        """Area under the curve, 0..1; a good map's is small."""
        return _area(self.deletion)

    @property
    def insertion_area(self) -> float:
        """Area under the curve, 0..1; a good map's is large."""
        return _area(self.insertion)


@dataclass(frozen=True)
class Explanation:
    """The attribution maps of one image for one digit, with their checks.

    Attributes:
        maps: (28, 28) float32 by method, in units of the score: larger speaks for the digit more.
        missing: by method, the reason why there is no map, in a sentence.
        attributed, difference: the sum of integrated gradients, and what it should be: the image's score minus an empty
            sheet's.
        curves: by method.
        chance: the curves of pixels in random order.
    """

    digit: int
    probabilities: Array
    maps: Mapping[str, Array]
    missing: Mapping[str, str]
    attributed: float
    difference: float
    curves: Mapping[str, Curves]
    chance: Curves

    @property
    def gap(self) -> float:
        """The share of the difference that integrated gradients miss."""
        return abs(self.attributed - self.difference) / max(abs(self.difference), 1e-6)


def explain(reader: Reader, image: np.ndarray, digit: int) -> Explanation:
    """Compute all five maps of one image for one digit, with their curves.

    Args:
        reader: the network.
        image: (28, 28) float32 ink in 0..1.
        digit: 0..9.
    """
    found, missing = maps(reader, image, digit)
    scores = reader.scores(np.stack([image, np.zeros_like(image)]))
    return Explanation(
        digit=digit,
        probabilities=probabilities(scores)[0],
        maps=found,
        missing=missing,
        attributed=float(found[Method.INTEGRATED].sum(dtype=np.float64)),
        difference=float(scores[0, digit]) - float(scores[1, digit]),
        curves={method: curves(reader, image, digit, order(values)) for method, values in found.items()},
        chance=chance(reader, image, digit),
    )


def maps(reader: Reader, image: np.ndarray, digit: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Compute the map of every method, and give the reason for each missing one.

    Args:
        reader: the network.
        image: (28, 28) float32 ink in 0..1, as for every method.
        digit: 0..9, the digit whose score is explained.

    Returns:
        Method -> map (28, 28) float32, and method -> reason.
    """
    found = {
        Method.SALIENCY: saliency(reader, image, digit),
        Method.SMOOTH_GRAD: smooth_grad(reader, image, digit),
        Method.INTEGRATED: integrated_gradients(reader, image, digit),
        Method.GRAD_CAM: grad_cam(reader, image, digit),
        Method.OCCLUSION: occlusion(reader, image, digit),
    }
    why_not = "This network has no convolution, so there are no feature maps to weigh."
    missing: dict[str, str] = {method: why_not for method, values in found.items() if values is None}
    return {str(method): values for method, values in found.items() if values is not None}, missing


def saliency(reader: Reader, image: np.ndarray, digit: int) -> np.ndarray:
    """Return the magnitude of the score's gradient in each pixel, (28, 28) float32. Source: arXiv:1312.6034, section
    3.
    """
    return np.abs(_gradients(reader, image[None], digit)[0])


def smooth_grad(reader: Reader, image: np.ndarray, digit: int, seed: int = 0) -> np.ndarray:
    """Return the magnitude of the gradient's mean over noisy copies, (28, 28) float32. Source: arXiv:1706.03825."""
    noise = np.random.default_rng(seed).normal(0, NOISE, (NOISY_COPIES, *SIDES)).astype(np.float32)
    return np.abs(_gradients(reader, image + noise, digit).mean(axis=0))


def integrated_gradients(reader: Reader, image: np.ndarray, digit: int) -> np.ndarray:
    """Return the gradient's mean on the straight path from an empty sheet to the image, times the ink, (28, 28)
    float32.

    Its sum is the difference of the two scores (completeness). The path is cut into pieces, and those whose gradient in
    the middle doesn't account for the change of the score between the ends are cut again.

    Source: arXiv:1703.01365; the integral by the midpoint rule, refined where the network's score bends.
    """
    flat, total = image.ravel(), np.zeros(image.size)
    lefts = np.arange(PIECES) / PIECES
    width, wanted = 1 / PIECES, None
    for halving in range(MOST_HALVINGS + 1):
        ends = _on_the_way(reader, image, np.concatenate([lefts, lefts + width]), digit)
        gains = ends[len(lefts) :] - ends[: len(lefts)]
        wanted = WANTED_GAP * abs(gains.sum()) / (4 * PIECES) if wanted is None else wanted
        middles = (lefts + width / 2)[:, None, None] * image
        gradients = _gradients(reader, middles, digit).reshape(len(lefts), -1).astype(np.float64)
        is_fine = np.abs(gains - gradients @ flat * width) <= wanted
        if halving == MOST_HALVINGS:
            is_fine[:] = True
        total += gradients[is_fine].sum(axis=0) * width
        lefts, width = np.concatenate([lefts[~is_fine], lefts[~is_fine] + width / 2]), width / 2
        if not len(lefts):
            break
    return (total.reshape(image.shape) * image).astype(np.float32)


def grad_cam(reader: Reader, image: np.ndarray, digit: int) -> np.ndarray | None:
    """Return the last convolution's maps weighted by their mean gradient, (28, 28) float32, or None without a
    convolution.

    Negative values are set to 0; the map is enlarged bilinearly. Source: arXiv:1610.02391, equations 1 and 2.
    """
    found = reader.last_maps(image, digit)
    if found is None:
        return None
    values, gradients = found
    heat = np.maximum(values @ gradients.mean(axis=(0, 1)), 0).astype(np.float32)
    return np.asarray(Image.fromarray(heat).resize((SIDES[1], SIDES[0]), Image.Resampling.BILINEAR))


def occlusion(reader: Reader, image: np.ndarray, digit: int) -> np.ndarray:
    """Return the loss of score when a square is erased, averaged over the squares that cover a pixel, (28, 28) float32.

    Source: Zeiler & Fergus 2014, section 4.2, with an empty square for their grey one.
    """
    corners = [(top, left) for top in _starts(SIDES[0]) for left in _starts(SIDES[1])]
    blotted = np.repeat(image[None], len(corners) + 1, axis=0)
    for copy, (top, left) in zip(blotted[1:], corners, strict=True):
        copy[top : top + PATCH, left : left + PATCH] = 0
    scores = reader.scores(blotted)[:, digit]
    total, count = np.zeros(SIDES, np.float32), np.zeros(SIDES, np.float32)
    for score, (top, left) in zip(scores[1:], corners, strict=True):
        total[top : top + PATCH, left : left + PATCH] += scores[0] - score
        count[top : top + PATCH, left : left + PATCH] += 1
    return total / count


def order(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the pixels by their value in a map, the most important first and equal ones in random order, (784,) int64."""
    ties = np.random.default_rng(seed).random(values.size)
    return np.lexsort((ties, -values.ravel()))


def curves(reader: Reader, image: np.ndarray, digit: int, pixels: np.ndarray) -> Curves:
    """Return a digit's probability as its pixels are deleted in an order, and as they are inserted.

    Source: arXiv:1806.07421, with an empty sheet for their grey and their blurred picture: on MNIST what is absent is
    black.

    Args:
        reader: the network.
        image: (28, 28) float32 ink in 0..1.
        digit: 0..9.
        pixels: (784,) indices into the flat image.
    """
    flat, count = image.ravel(), CURVE_STEPS + 1
    ranks = np.empty(flat.size, np.int64)
    ranks[pixels] = np.arange(flat.size)
    gone = ranks[None] < np.arange(count)[:, None] * (flat.size // CURVE_STEPS)
    images = np.concatenate([np.where(gone, 0, flat), np.where(gone, flat, 0)]).reshape(-1, *SIDES)
    of_digit = probabilities(reader.scores(images.astype(np.float32)))[:, digit]
    return Curves(of_digit[:count], of_digit[count:])


def chance(reader: Reader, image: np.ndarray, digit: int) -> Curves:
    """Return the mean curves of pixels in random orders."""
    rng = np.random.default_rng(0)
    drawn = [curves(reader, image, digit, rng.permutation(image.size)) for _ in range(CHANCE_ORDERS)]
    return Curves(np.mean([c.deletion for c in drawn], axis=0), np.mean([c.insertion for c in drawn], axis=0))


def levels(weights: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Return the layers that are made random at each level of the cascade: the last, the last two, and so on back to
    the first.

    Of many layers several are added at a time.

    Args:
        weights: of all layers, in the network's order, by `layer.index.name`.
    """
    layers = list(dict.fromkeys(name.partition(".")[0] for name, values in weights.items() if values.dtype.kind == "f"))
    ends = np.unique(np.linspace(1, len(layers), min(len(layers), MOST_LEVELS)).round().astype(int))
    return [layers[len(layers) - end :] for end in ends]


def randomised(
    weights: Mapping[str, np.ndarray], initial: Mapping[str, np.ndarray], layers: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the weights of a network in which some layers have lost what they learned.

    These get the random weights that the training began with, and not new ones as in arXiv:1810.03292. So a network
    that has learned nothing stays the same, as do its maps, and fails the check. That is the stricter test.
    """
    return {name: initial[name] if name.partition(".")[0] in layers else values for name, values in weights.items()}


def is_flat(values: np.ndarray) -> bool:
    """Return whether a map has the same value in every pixel, and so shows nothing."""
    return not np.ptp(values) > 0


def is_learned(before: np.ndarray, after: np.ndarray) -> bool:
    """Return whether a map that isn't flat shows what was learned.

    It does if it is another map, even a flat one, once the network has lost all it learned.
    """
    return is_flat(after) or rank_correlation(before, after) <= MOST_ALIKE


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation of two maps, -1..1, equals sharing their mean rank; NaN where one is flat."""
    from scipy.stats import spearmanr  # takes a second to load, for which the first map need not wait

    if is_flat(a) or is_flat(b):
        return float("nan")
    found = spearmanr(a.ravel(), b.ravel())
    return float(found.statistic)  # pyright: ignore[reportAttributeAccessIssue]  # SciPy makes its class as it runs


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Return the softmax of (n, 10) scores, float32."""
    return calibration.probabilities(scores).astype(np.float32)


def one_hot(digits: np.ndarray) -> np.ndarray:
    """Return (n,) digits as one-hot vectors (n, 10) float32."""
    return np.eye(CLASSES, dtype=np.float32)[digits]


def _gradients(reader: Reader, images: np.ndarray, digit: int) -> np.ndarray:
    return reader.gradients(images.astype(np.float32), one_hot(np.full(len(images), digit)))[1]


def _on_the_way(reader: Reader, image: np.ndarray, places: np.ndarray, digit: int) -> np.ndarray:
    """Return the scores at places 0..1 between an empty sheet and an image, (n,) float64."""
    return reader.scores((places[:, None, None] * image).astype(np.float32))[:, digit].astype(np.float64)


def _starts(side: int) -> range:
    return range(0, side - PATCH + 1, PATCH_STRIDE)


def _area(curve: np.ndarray) -> float:
    return float((curve[:-1] + curve[1:]).mean(dtype=np.float64) / 2)
