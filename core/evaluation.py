"""What a test set says about a network, from its probabilities: counts, shares and the images behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.specs import CLASSES


@dataclass(frozen=True)
class ClassScores:
    """Per digit, (10,) float64 each, shares 0..1; NaN where the share has no denominator."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def confusion_matrix(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """How often each digit was taken for each.

    Args:
        y_true, y_pred: class ids, (n,) integers 0..9.

    Returns: (10, 10) int64, rows true, columns predicted.
    """
    cells = y_true.astype(np.int64) * CLASSES + y_pred
    return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def accuracy(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of the images whose likeliest class is the right one, 0..1."""
    return float(np.mean(probabilities.argmax(axis=1) == y_true))


def loss(y_true: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean cross-entropy in nats; probabilities are kept 1e-7 away from 0 and 1, as Keras does."""
    right = probabilities[np.arange(len(y_true)), y_true].astype(np.float64)
    return float(-np.log(np.clip(right, 1e-7, 1 - 1e-7)).mean())


def class_scores(matrix: np.ndarray) -> ClassScores:
    """Precision, recall and F1 of every digit from a confusion matrix (10, 10), rows true."""
    hits, support, predicted = np.diag(matrix).astype(float), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0: a digit that never occurs, or is never predicted
        return ClassScores(
            precision=hits / np.where(predicted, predicted, np.nan),
            recall=hits / np.where(support, support, np.nan),
            f1=2 * hits / np.where(support + predicted, support + predicted, np.nan),
            support=support,
        )


def images_of_cell(y_true: np.ndarray, probabilities: np.ndarray, true: int, predicted: int) -> np.ndarray:
    """Indices of the images of one cell of the matrix, the surest first, (k,) int64."""
    indices = np.flatnonzero((y_true == true) & (probabilities.argmax(axis=1) == predicted))
    return indices[np.argsort(-probabilities[indices, predicted], kind="stable")]


def mistakes(y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Indices of the images classified wrong, the surest first, (k,) int64."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != y_true)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]


def most_confused(matrix: np.ndarray) -> tuple[int, int, int] | None:
    """The pair (true, predicted, count) confused most often; None where nothing is."""
    off = matrix - np.diag(np.diag(matrix))
    if not off.any():
        return None
    true, predicted = divmod(int(off.argmax()), CLASSES)
    return true, predicted, int(off[true, predicted])
