"""Measures of a network from its probabilities for labelled images: shares with their intervals, calibration, accuracy
with abstention, its mistakes, and whether it differs from another network by more than chance."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from core.model.specs import CLASSES

CONFIDENCE = 0.95  # of every interval
CALIBRATION_BINS = 15  # Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599, section 4
CHANCE = 0.05  # a difference is reported if it occurs by chance with a probability below this


@dataclass(frozen=True)
class Interval:
    """The confidence interval of a share at the level `CONFIDENCE`: both ends 0..1, NaN if there is nothing to count."""

    low: float
    high: float


@dataclass(frozen=True)
class ClassScores:
    """Per digit, (10,) float64 each, shares 0..1; NaN where the share has no denominator."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


@dataclass(frozen=True)
class Intervals:
    """The intervals of `ClassScores`: per digit low and high, (10, 2) float64 each, NaN where the share has no
    denominator.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram's values, in bins of equal width of the network's largest probability.

    Attributes:
        edges: (n + 1,), the bins' edges, 0..1.
        counts: (n,) integers, images in each bin.
        confidence, accuracy: (n,) means in each bin, 0..1; NaN where it is empty.
        error: the expected calibration error, 0..1: the gap between the two, weighted by the images in each bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


@dataclass(frozen=True)
class Abstention:
    """The accuracy of a network that answers only where it is most certain.

    Arrays are (n,) each, from few images to all; images of equal certainty go together.

    Attributes:
        coverage: the share of images that it answers, 0..1.
        accuracy: the share of these that it classifies correctly, 0..1.
        threshold: the largest probability that it requires, 0..1.
    """

    coverage: np.ndarray
    accuracy: np.ndarray
    threshold: np.ndarray


@dataclass(frozen=True)
class McNemar:
    """Two networks on the same images: how many each alone had right, and how likely chance is to set them this far apart."""

    only_first: int
    only_second: int
    images: int
    p: float

    @property
    def is_within_chance(self) -> bool:
        """True if the difference can be chance."""
        return self.p >= CHANCE


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Count how often each digit was predicted for each true digit.

    Args:
        y_true, y_pred: class ids, (n,) integers 0..9.

    Returns:
        (10, 10) int64, rows true, columns predicted.
    """
    cells = y_true.astype(np.int64) * CLASSES + y_pred
    return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def accuracy(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of the images whose likeliest class is the right one, 0..1."""
    return float(np.mean(probabilities.argmax(axis=1) == y_true))


def top_accuracy(y_true: np.ndarray, probabilities: np.ndarray, k: int = 2) -> float:
    """Return the share of the images whose right class is among the `k` likeliest, 0..1; of classes equally likely the lower come first."""
    leading = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float(np.mean((leading == y_true[:, None]).any(axis=1)))


def without_answer(probabilities: np.ndarray) -> int:
    """Return for how many images the probabilities are NaN or infinite, as they are for weights that are."""
    return int((~np.isfinite(probabilities).all(axis=1)).sum())


def wilson(hits: int | np.ndarray, of: int | np.ndarray) -> np.ndarray:
    """Return the confidence interval of the share `hits` of `of` at the level `CONFIDENCE`, (..., 2) float64; NaN where
    `of` is 0.

    Source: E. B. Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22.
    """
    hits, of = np.asarray(hits, float), np.where(np.asarray(of) > 0, of, np.nan).astype(float)
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, narrowed = hits / of, 1 + z**2 / of
    centre = (share + z**2 / (2 * of)) / narrowed
    half = z / narrowed * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return np.clip(np.stack([centre - half, centre + half], axis=-1), 0, 1)


def accuracy_interval(y_true: np.ndarray, probabilities: np.ndarray) -> Interval:
    """Return the confidence interval of the accuracy.

    Args:
        y_true: (n,) integers 0..9.
        probabilities: (n, 10).
    """
    return Interval(*wilson(int((probabilities.argmax(axis=1) == y_true).sum()), len(y_true)).tolist())


def loss(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy in nats; probabilities are kept 1e-7 away from 0 and 1, as Keras does."""
    right = probabilities[np.arange(len(y_true)), y_true].astype(np.float64)
    return float(-np.log(np.clip(right, 1e-7, 1 - 1e-7)).mean())


def class_scores(matrix: np.ndarray) -> ClassScores:
    """Return precision, recall and F1 of every digit from a confusion matrix (10, 10), rows true."""
    hits, support, predicted = np.diag(matrix).astype(float), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0: a digit that never occurs, or is never predicted
        return ClassScores(
            precision=hits / np.where(predicted, predicted, np.nan),
            recall=hits / np.where(support, support, np.nan),
            f1=2 * hits / np.where(support + predicted, support + predicted, np.nan),
            support=support,
        )


def class_intervals(matrix: np.ndarray) -> Intervals:
    """Return confidence intervals of precision, recall and F1 of every digit from a confusion matrix (10, 10), rows
    true.

    F1 itself is no share of anything, but F1 / (2 - F1) is: of the images that are the digit or are predicted as it,
    the share of those that are both. Its interval, transformed back, is that of F1.

    Source: Hand, Christen & Kirielle 2021, F*: an interpretable transformation of the F-measure, Machine Learning 110.
    """
    hits, support, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    of_either = wilson(hits, support + predicted - hits)
    return Intervals(wilson(hits, predicted), wilson(hits, support), 2 * of_either / (1 + of_either))


def calibration(y_true: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> Calibration:
    """Measure how well the network's largest probability agrees with its accuracy.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599, equations 2 to 5.

    Args:
        y_true: (n,) integers 0..9.
        probabilities: (n, 10).
        bins: number of bins of equal width.
    """
    confidence, is_right = probabilities.max(axis=1).astype(float), probabilities.argmax(axis=1) == y_true
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], confidence)  # a bin holds its upper edge
    counts = np.bincount(place, minlength=bins)
    of = np.where(counts, counts, np.nan)
    mean, right = np.bincount(place, confidence, bins) / of, np.bincount(place, is_right, bins) / of
    error = float(np.nansum(counts * np.abs(right - mean)) / max(len(y_true), 1))
    return Calibration(edges, counts, mean, right, error)


def abstention(y_true: np.ndarray, probabilities: np.ndarray) -> Abstention:
    """Return accuracy over coverage for a network that may leave out what it is least certain of.

    Source: El-Yaniv & Wiener 2010, On the Foundations of Noise-free Selective Classification, JMLR 11.

    Args:
        y_true: (n,) integers 0..9.
        probabilities: (n, 10).
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum((probabilities.argmax(axis=1) == y_true)[order])
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))  # of each group of equally sure images
    return Abstention((last + 1) / len(y_true), right[last] / (last + 1), confidence[order][last])


def images_of_cell(y_true: np.ndarray, probabilities: np.ndarray, true: int, predicted: int) -> np.ndarray:
    """Return the indices of the images of one cell of the confusion matrix, the most certain first, (k,) int64."""
    indices = np.flatnonzero((y_true == true) & (probabilities.argmax(axis=1) == predicted))
    return indices[np.argsort(-probabilities[indices, predicted], kind="stable")]


def mistakes(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of the misclassified images, the most certain first, (k,) int64."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != y_true)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def least_sure(probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of all images by the gap between their two largest probabilities, the smallest gap first, (n,)
    int64."""
    leading = np.sort(probabilities, axis=1)[:, -2:]
    return np.argsort(leading[:, 1] - leading[:, 0], kind="stable")


def suspected_label_errors(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the indices of the images whose label may be wrong, the most suspect first, (k,) int64.

    Confident learning: the network is confident of a class if it gives it at least the mean probability that it gives
    to this class on images with this label. An image is suspect if the likeliest class of which the network is
    confident isn't its label. Those with the smallest probability of their label, relative to the likeliest other
    class, come first. Use it only for images that were not trained on. There are none if the network gives every image
    the same answer: then its doubts reveal nothing about labels.

    Source: Northcutt, Jiang & Chuang 2021, Confident Learning, JAIR 70, arXiv:1911.00068, sections 3.1 and 3.2.

    Args:
        y_true: (n,) integers 0..9, the labels.
        probabilities: (n, 10).
    """
    if len(np.unique(probabilities.argmax(axis=1))) < 2:
        return np.zeros(0, np.int64)
    is_of = y_true[:, None] == np.arange(CLASSES)
    with np.errstate(invalid="ignore"):  # 0 / 0: a class without images
        thresholds = (probabilities * is_of).sum(axis=0, dtype=float) / is_of.sum(axis=0)
    confident = np.where(probabilities >= np.nan_to_num(thresholds, nan=np.inf), probabilities, -1)
    suspects = np.flatnonzero((confident.argmax(axis=1) != y_true) & (confident.max(axis=1) >= 0))
    of_others = np.where(is_of, -1, probabilities)[suspects].max(axis=1)
    return suspects[np.argsort(probabilities[suspects, y_true[suspects]] - of_others, kind="stable")]


def leading_two(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the two likeliest classes of each image and their probabilities, (n, 2) each, the likelier first."""
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    return classes, np.take_along_axis(probabilities, classes, axis=1)


def confusions(matrix: np.ndarray, most: int = 5) -> list[tuple[int, int, int]]:
    """Return the `most` pairs (true, predicted, count) that are confused most often, the commonest first."""
    off = matrix - np.diag(np.diag(matrix))
    cells = np.argsort(-off, axis=None, kind="stable")[:most]
    return [(*divmod(int(cell), CLASSES), int(off.flat[cell])) for cell in cells if off.flat[cell]]


def mcnemar(is_right_first: np.ndarray, is_right_second: np.ndarray) -> McNemar:
    """Test whether two networks differ on the same images by more than chance: the exact, two-sided test.

    Only images that exactly one of them classifies correctly count. If both were equally good, each of these would be
    either's with probability one half.

    Args:
        is_right_first, is_right_second: (n,) bool, which images each classifies correctly.

    Source: Q. McNemar 1947, Note on the sampling error of the difference between correlated proportions, Psychometrika
    12; T. Dietterich 1998, Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms.
    """
    only_first = int((is_right_first & ~is_right_second).sum())
    only_second = int((is_right_second & ~is_right_first).sum())
    fewer, both = min(only_first, only_second), only_first + only_second
    ways, tail = 1, 0
    for k in range(fewer + 1):
        tail += ways
        ways = ways * (both - k) // (k + 1)
    return McNemar(only_first, only_second, len(is_right_first), min(1.0, 2 * tail / 2**both))


def table(y_true: np.ndarray, probabilities: np.ndarray) -> str:
    """Return all measures of this module as CSV.

    A row holds a figure, what it is about, its interval if it has one, and how many images it counts. Shares are 0..1.
    """
    matrix = confusion_matrix(y_true, probabilities.argmax(axis=1))
    scores, intervals, bins = class_scores(matrix), class_intervals(matrix), calibration(y_true, probabilities)
    abstaining, sure = abstention(y_true, probabilities), accuracy_interval(y_true, probabilities)
    n = len(y_true)
    rows: list[tuple] = [
        ("accuracy", "all", accuracy(y_true, probabilities), sure.low, sure.high, n),
        ("top-2 accuracy", "all", top_accuracy(y_true, probabilities), *_of_top(y_true, probabilities), n),
        ("loss", "all", loss(y_true, probabilities), None, None, n),
        ("expected calibration error", "all", bins.error, None, None, n),
    ]
    for digit in range(CLASSES):
        predicted = int(matrix[:, digit].sum())
        support = int(scores.support[digit])
        rows += [
            ("precision", f"digit {digit}", scores.precision[digit], *intervals.precision[digit], predicted),
            ("recall", f"digit {digit}", scores.recall[digit], *intervals.recall[digit], support),
            ("F1", f"digit {digit}", scores.f1[digit], *intervals.f1[digit], support),
        ]
    right = np.rint(np.nan_to_num(bins.accuracy) * bins.counts)
    for k, (low, high) in enumerate(wilson(right, bins.counts)):
        where = f"sure of {bins.edges[k]:.3f} to {bins.edges[k + 1]:.3f}"
        rows.append(("mean confidence", where, bins.confidence[k], None, None, int(bins.counts[k])))
        rows.append(("accuracy", where, bins.accuracy[k], low, high, int(bins.counts[k])))
    places = np.searchsorted(abstaining.coverage, np.arange(1, 101) / 100 - 1e-9)
    # Fewer than a hundred if many images are equally certain.
    for k in np.unique(np.minimum(places, len(abstaining.coverage) - 1)):
        answered = round(float(abstaining.coverage[k] * n))
        low, high = wilson(round(float(abstaining.accuracy[k] * answered)), answered)
        rows.append(
            ("accuracy", f"surest {abstaining.coverage[k]:.4f} of all", abstaining.accuracy[k], low, high, answered)
        )
    rows += [
        ("count", f"a {true} read as {predicted}", int(matrix[true, predicted]), None, None, int(scores.support[true]))
        for true, predicted in np.ndindex(matrix.shape)
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["figure", "of", "value", "low", "high", "images"])
    writer.writerows([[_plain(value) for value in row] for row in rows])
    return text.getvalue()


def _of_top(y_true: np.ndarray, probabilities: np.ndarray) -> list[float]:
    return wilson(round(top_accuracy(y_true, probabilities) * len(y_true)), len(y_true)).tolist()


def _plain(value: object) -> object:
    """Return a number with six significant digits; an empty text if there is none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
