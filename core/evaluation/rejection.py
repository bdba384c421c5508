"""Out-of-distribution detection: whether a picture is a digit at all, by what a network makes of it.

Logistic regression separates digits from other things by the network's values for them: the features that its last
layer takes, its logits, their distance from the nearest class (Mahalanobis; after Lee et al. 2018, arXiv:1807.03888),
and the squared distance of the last feature maps from the subspaces of the nearest classes' maps (the residual after
principal components; after Wang et al. 2022, ViM, arXiv:2203.10807). It is fitted on digits and on
`core.data.non_digits` (outlier exposure; Hendrycks et al. 2019, arXiv:1812.04606). Above the score that `ACCEPTED` of
the held-out digits stay below, a picture is classified as no digit.

Everything is fitted once per network, by the question `FitRejection`, and kept in the run's folder.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from core.data import datasets, non_digits, redraw
from core.errors import DrawingError, RunDamaged
from core.evaluation import calibration
from core.ink import segments
from core.model.specs import CLASSES
from core.runs import loaded
from core.runs.network import Network
from core.runs.question import Question, Tell

ACCEPTED = 0.95  # of the held-out digits, half of them redrawn
DIRECTIONS = 24  # in which each class' maps usually vary
MOST_VALUES = 1152  # of the maps: larger ones are averaged over squares of 2 × 2
IMAGES = 2000  # of each kind that it is fitted on, at most: some fifteen seconds' work
MOST_FEATURES = 512  # inputs of the last layer: more are not used
MOST_AT_ONCE = 500
SURE, TILT = 0.9, 6.0  # below this probability, a picture rotated by so many degrees is classified, too
NEAREST = 3  # classes whose residuals count


@dataclass(frozen=True, eq=False)
class Reading:
    """A network's prediction for a picture, and how far it can be trusted.

    Attributes:
        probabilities: (10,) float32, calibrated if the network has been fitted for rejection.
        ood_score: score of how unlike a digit it is: above 0 it is classified as none; NaN if nothing has been fitted.
        is_digit: whether it is classified as one.
        reason: why not, in plain words; "" for a digit.
        count: how many digits there seem to be on its sheet.
    """

    probabilities: np.ndarray
    ood_score: float
    is_digit: bool
    reason: str
    count: int = 1


@dataclass(frozen=True, eq=False)
class Inside:
    """The values of a network for n pictures, float32.

    Attributes:
        maps: (n, d), its last feature maps.
        features: (n, k), the inputs of its last layer; k is 0 if they are too many.
        logits: (n, 10).
    """

    maps: np.ndarray
    features: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True, eq=False)
class Rejection:
    """The calibration and rejection that were fitted for one network.

    Attributes:
        temperature: divides the logits, more than 0.
        centres: (10, d) float32, each class' mean maps.
        directions: (10, DIRECTIONS, d) float16, orthonormal, in which a class' maps vary.
        logits: (10, 10) float32, each class' mean logits.
        whitening: (10, 10) float32; logits minus their class' mean, times it, have unit covariance.
        means, deviations: (m,) float64, of the evidence.
        weights: (m,) float64, of the standardised evidence.
        threshold: of the weighted sum.
    """

    temperature: float
    centres: np.ndarray
    directions: np.ndarray
    logits: np.ndarray
    whitening: np.ndarray
    means: np.ndarray | float = 0.0
    deviations: np.ndarray | float = 1.0
    weights: np.ndarray | float = 1.0
    threshold: float = 0.0

    def ood_score(self, inside: Inside) -> np.ndarray:
        """Return the score of how unlike a digit each picture is, (n,) float64: above 0, it is classified as none."""
        return (self.evidence(inside) - self.means) / self.deviations @ self.weights - self.threshold

    def evidence(self, inside: Inside) -> np.ndarray:
        """Return the values that are weighted, (n, m) float64."""
        spaces = zip(self.centres, self.directions, strict=True)
        residuals = np.sort(np.stack([_residuals(inside.maps, *space) for space in spaces], axis=1), axis=1)
        away = np.stack([np.sum(((inside.logits - mean) @ self.whitening) ** 2, axis=1) for mean in self.logits])
        return np.column_stack(
            [
                np.log(residuals[:, :NEAREST] + 1e-6),
                np.log(away.min(axis=0) + 1e-6),
                np.sort(inside.logits, axis=1),
                inside.features,
            ]
        ).astype(np.float64)


@dataclass(frozen=True)
class FitRejection(Question):
    """Fit calibration and rejection of a run's network after so many batches, on images that its training held out.

    Attributes:
        images: the largest number of images of each kind that it is fitted on.
    """

    network: Network
    images: int = IMAGES

    def work(self, tell: Tell) -> bool:
        """Return True, when it is kept."""
        network, dataset = loaded.found(self.network), datasets.load()
        training = network.run.experiment().training
        split = training.train_size, training.validation_split, training.seed
        known, y_known, unseen, y_unseen, strange = _pictures(dataset.digest, split, self.images)

        def inside(images: np.ndarray, share: float) -> Inside:
            tell(share)
            return _look(network, images)

        fitted = fit(inside(known, 0.4), y_known, inside(unseen, 0.6), y_unseen, inside(strange, 0.8))
        loaded.found(network).keep_rejection({name: np.asarray(value) for name, value in asdict(fitted).items()})
        return True


def fit(known: Inside, y_known: np.ndarray, unseen: Inside, y_unseen: np.ndarray, strange: Inside) -> Rejection:
    """Fit calibration and rejection to a network's values.

    Args:
        known: for digits that it was trained on.
        y_known: (n,) integers 0..9, their labels.
        unseen: for digits that it was not trained on.
        y_unseen: (n,) integers 0..9, their labels.
        strange: for pictures that are no digits.
    """
    maps, logits = known.maps, known.logits
    spaces = [_subspace(maps[y_known == digit]) for digit in range(CLASSES)]
    means = np.stack([_mean(logits[y_known == digit]) for digit in range(CLASSES)])
    rest = logits - means[y_known]
    covariance = rest.T @ rest / len(rest)
    covariance += 1e-3 * (np.trace(covariance) / CLASSES + 1e-6) * np.eye(CLASSES)
    half = Rejection(
        temperature=calibration.temperature(unseen.logits, y_unseen),
        centres=np.stack([centre for centre, _ in spaces]),
        directions=np.stack([directions for _, directions in spaces]).astype(np.float16),
        logits=means,
        whitening=np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32),
    )
    # One half of the unseen digits fits the weights, the other the threshold: every second one, so that both have as many redrawn.
    digits, others = half.evidence(unseen), half.evidence(strange)
    both = np.concatenate([digits[::2], others])
    middle, spread = both.mean(axis=0), both.std(axis=0) + 1e-6
    weights = logistic_regression((digits[::2] - middle) / spread, (others - middle) / spread)
    threshold = float(np.quantile((digits[1::2] - middle) / spread @ weights, ACCEPTED))
    return replace(half, means=middle, deviations=spread, weights=weights, threshold=threshold)


def read(network: Network, images: np.ndarray) -> list[Reading]:
    """Return a network's predictions for images (n, 28, 28) uint8. Works in a worker.

    Of a picture that it is not sure of, it takes a look turned a little to either side, too, and the surest look counts.
    """
    from scipy import ndimage  # a quarter of a second, for which the first page need not wait

    rejection = _kept(network)
    inside, scale = _look(network, images), rejection.temperature if rejection else 1.0
    ood_score = np.full(len(images), np.nan)
    if rejection is not None:
        with suppress(ValueError):  # of another network's shapes
            ood_score = rejection.ood_score(inside)
    probabilities = calibration.probabilities(inside.logits / scale).astype(np.float32)
    unsure = np.flatnonzero(probabilities.max(axis=1) < SURE)
    if len(unsure):
        turned = [ndimage.rotate(images[unsure], angle, (2, 1), reshape=False, order=1) for angle in (-TILT, TILT)]
        others = calibration.probabilities(_look(network, np.concatenate(turned)).logits / scale).reshape(
            2, len(unsure), -1
        )
        looks = np.concatenate([probabilities[None, unsure], others])
        probabilities[unsure] = looks[looks.max(axis=2).argmax(axis=0), np.arange(len(unsure))]
    return [_reading(p, float(s)) for p, s in zip(probabilities, ood_score, strict=True)]


def _reading(probabilities: np.ndarray, ood_score: float) -> Reading:
    if not np.isfinite(probabilities).all():
        return Reading(probabilities, ood_score, False, "Its answers are not numbers any more (NaN).")
    is_digit = not ood_score > 0  # NaN if nothing has been fitted yet
    return Reading(probabilities, ood_score, is_digit, "" if is_digit else _reason(probabilities))


def _reason(probabilities: np.ndarray) -> str:
    second, first = np.argsort(probabilities)[-2:]
    if probabilities[first] < 2 * probabilities[second]:
        return f"It has something of a {first} and something of a {second}, and is like neither."
    return f"No digit comes near it: the nearest would be a {first}."


def of_drawing(ink: np.ndarray, reading: Reading) -> Reading:
    """Return the prediction for a drawing, which is no digit if several digits stand apart on its sheet.

    Args:
        ink: (h, w) float32 0..1.
        reading: the prediction for its prepared picture.
    """
    if not ink.any():
        return replace(reading, is_digit=False, reason="There is nothing drawn yet.")
    try:
        count = segments.count_apart(ink) if reading.is_digit else len(segments.segments(ink))
    except DrawingError as error:
        return replace(reading, is_digit=False, reason=str(error))
    if count < 2:
        return reading
    said = f"There seem to be {count} digits: draw one alone, or let them be read as a whole number."
    return replace(reading, is_digit=False, reason=said, count=count)


# --- inside the network -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=loaded.MOST_NETWORKS)
def _insides(network: Network) -> tuple[Any, list[np.ndarray]]:
    """Return the network as one that gives out its last feature maps and what its last layer takes, and that layer's weights."""
    import keras  # TensorFlow, which workers alone load

    model = loaded.keras_network(network)
    last = model.layers[-1]
    maps = next(layer.output for layer in model.layers[::-1] if len(layer.output.shape) == 4)
    return keras.Model(model.input, [maps, last.input]), last.get_weights()


def _kept(network: Network) -> Rejection | None:
    """Return what `FitRejection` left in the run's folder; None as long as it hasn't, or what is there can't be used."""
    with suppress(RunDamaged, LookupError, TypeError):
        return _fitted(network)
    return None


@lru_cache(maxsize=loaded.MOST_NETWORKS)
def _fitted(network: Network) -> Rejection:
    """Return as `_kept`, or raise an error, which unlike None isn't cached: it may be fitted any time."""
    arrays = loaded.found(network).rejection()
    if arrays is None or not all(np.isfinite(values).all() for values in arrays.values()):
        raise LookupError("nothing was fitted, or no numbers")
    numbers = {name: float(arrays[name]) for name in ("temperature", "threshold")}
    if numbers["temperature"] <= 0:
        raise LookupError("a temperature that isn't above 0")
    return Rejection(**{**{one.name: arrays[one.name] for one in fields(Rejection)}, **numbers})


@lru_cache(maxsize=1)  # 4 MB; most networks are trained on the same images as the one before
def _pictures(digest: str, split: tuple[int | None, float, int], images: int) -> tuple[np.ndarray, ...]:
    """Return what a rejection is fitted on: digits trained on and their labels, digits held out and theirs, and pictures that are no
    digits.

    Args:
        digest: of the data set in use, which tells it apart.
        split: `train_size`, `validation_split` and `seed` of a training.
        images: the largest number of each kind.

    Returns:
        Pictures as (n, 28, 28) uint8, half of the digits redrawn; labels as (n,) uint8.
    """
    dataset, rng = datasets.load(), np.random.default_rng(0)
    trained, held_out = datasets.split(dataset.y_train, *split)
    known, unseen = (
        rng.choice(some, min(images, len(some)), replace=False)
        for some in (trained, held_out if len(held_out) else trained)
    )
    strange = non_digits.draw(dataset.x_train[known], dataset.y_train[known], rng, images // 2)
    redrawn = [_half_redrawn(dataset.x_train[some], dataset.y_train[some], rng) for some in (known, unseen)]
    return redrawn[0], dataset.y_train[known], redrawn[1], dataset.y_train[unseen], strange


def _look(network: Network, images: np.ndarray) -> Inside:
    """Return what a network makes of images (n, 28, 28) uint8."""
    model, (kernel, bias) = _insides(network)
    batch = min(MOST_AT_ONCE, loaded.batch_size(network))
    parts = [model.predict_on_batch(images[i : i + batch, ..., None]) for i in range(0, len(images), batch)]
    maps = np.concatenate([_small(part) for part, _ in parts])
    features = np.concatenate([part.reshape(len(part), -1) for _, part in parts])
    return Inside(maps, features if features.shape[1] <= MOST_FEATURES else features[:, :0], features @ kernel + bias)


def _small(maps: np.ndarray) -> np.ndarray:
    """Return maps (n, height, width, channels), averaged over squares of 2 × 2 until they are few, flat: (n, d)."""
    while np.prod(maps.shape[1:]) > MOST_VALUES and min(maps.shape[1:3]) > 1:
        height, width = (side // 2 * 2 for side in maps.shape[1:3])
        even = maps[:, :height, :width]
        maps = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4
    return maps.reshape(len(maps), -1)


def _half_redrawn(images: np.ndarray, y_true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return digits (n, 28, 28), the second half of them redrawn by other hands and pens, as drawings differ from
    MNIST.
    """
    half = len(images) // 2
    drawn = [redraw.redrawn(image, int(digit), rng) for image, digit in zip(images[half:], y_true[half:], strict=True)]
    return np.stack([*images[:half], *drawn])


# --- what is fitted -----------------------------------------------------------------------------------------------------


def _mean(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], 1e6, np.float32)


def _subspace(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (d,) of a class' maps and the directions (DIRECTIONS, d) in which they vary most; zeros where
    there are fewer.
    """
    centre = _mean(maps)
    directions = np.zeros((DIRECTIONS, maps.shape[1]), np.float32)
    rest = maps - centre
    variances, mixes = np.linalg.eigh(rest @ rest.T)  # of the images, which are fewer than the maps' values
    usual = np.flatnonzero(variances > 1e-6 * variances.max(initial=0))[::-1][:DIRECTIONS]
    directions[: len(usual)] = mixes[:, usual].T @ rest / np.sqrt(variances[usual])[:, None]
    return centre, directions


def _residuals(maps: np.ndarray, centre: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return the squared distance (n,) of the maps from a class' subspace."""
    rest = maps - centre
    return np.maximum(np.sum(rest**2, axis=1) - np.sum((rest @ directions.T.astype(np.float32)) ** 2, axis=1), 0)


def logistic_regression(digits: np.ndarray, others: np.ndarray, rounds: int = 20) -> np.ndarray:
    """Return weights (k,) that separate scores (n, k) of digits from those of others, both kinds counting alike.

    The method is Newton's.
    """
    x = np.column_stack([np.concatenate([digits, others]), np.ones(len(digits) + len(others))])
    y = np.repeat([0.0, 1.0], [len(digits), len(others)])
    each = np.repeat([0.5 / len(digits), 0.5 / len(others)], [len(digits), len(others)])
    weights = np.zeros(x.shape[1])
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        hessian = (x * (each * p * (1 - p))[:, None]).T @ x + 1e-4 * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, x.T @ (each * (p - y)) + 1e-4 * weights)
    return weights[:-1]
