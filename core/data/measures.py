"""Measures of digits: ink, slant, stroke width, a summary of the whole set, neighbours, near-duplicates, maps.

Images are (n, 28, 28) uint8, ink 255 on paper 0. Everything is NumPy; scikit-learn and openTSNE, slow to import, are
loaded by the functions that need them, which run in worker processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from core.model.specs import CLASSES, IMAGE_SHAPE
from core.runs.question import Tell

SIDE = IMAGE_SHAPE[0]
PIXELS = SIDE * SIDE
LEVELS = 256
NEAR = (
    10.0  # grey values, root mean square over the 784 pixels, at which two digits of a class count as near-duplicates
)
NEIGHBOURS = 5
COMPONENTS = 50  # in which candidates are searched, and from which a neighbour embedding starts
FITTED_ON = 2000  # images that the components are found from
EARLY, LATE = 250, 400  # iterations of the embedding: with attraction exaggerated, and without
TOLD_EVERY = 25  # iterations
MAP_SIZES = (2000, 5000, 10_000)
_CHUNK = 2000  # images, 6 MB as float32


class Layout(StrEnum):
    """The method that reduces many dimensions to two."""

    PCA = "PCA"
    TSNE = "t-SNE"


@dataclass(frozen=True, eq=False)
class Traits:
    """The measures of each image, (n,) float32 each.

    Attributes:
        ink: mean grey over 255, 0..1.
        slant: in degrees, -90..90, 0 upright, more than 0 leaning right.
        stroke_width: in pixels.
    """

    ink: np.ndarray
    slant: np.ndarray
    stroke_width: np.ndarray


@dataclass(frozen=True, eq=False)
class Survey:
    """A set of digits, measured as a whole.

    Attributes:
        traits: of every image.
        means: (10, 28, 28) float32, each digit's mean picture, grey values; NaN for a digit that doesn't occur.
        variances: (10, 28, 28) float32, squared grey values.
        histogram: (256,) int64, how many pixels have each grey value.
    """

    traits: Traits
    means: np.ndarray
    variances: np.ndarray
    histogram: np.ndarray


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of images of one class that differ by little, the closest first.

    Attributes:
        indices: (n, 2) int64.
        distances: (n,) float32, grey values, root mean square over the pixels.
    """

    indices: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest images to one, the nearest first: `indices` (k,) int64, `distances` (k,) float32."""

    indices: np.ndarray
    distances: np.ndarray


# --- one image ----------------------------------------------------------------------------------------------------------


def traits(images: np.ndarray) -> Traits:
    """Measure ink, slant and stroke width of every image.

    Slant is the shear that would set the digit upright: minus the covariance of column and row over the variance of the
    rows, both weighted by ink. Stroke width is twice the ink's area over the length of its outline, as for a long
    stroke; the outline's length is the total variation of the grey values, which anti-aliasing doesn't change. It is
    right within a tenth for pens of 2 pixels and more; a thinner one, spread over two rows, measures up to 2.

    Source: for the slant, the deskewing in Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied
    to document recognition", 1998; for the outline, the coarea formula.

    Args:
        images: (n, 28, 28) uint8.
    """
    parts = [_traits(chunk.astype(np.float32)) for chunk in _chunks(images)]
    return Traits(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _traits(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat = images.reshape(len(images), PIXELS)
    mass, x, y, xy, yy = (flat @ _MOMENTS).T
    with np.errstate(invalid="ignore", divide="ignore"):  # an empty picture, and one of a single row
        column, row = x / mass, y / mass
        shear = -(xy / mass - column * row) / (yy / mass - row * row)
    slant = np.degrees(np.arctan(np.nan_to_num(shear, nan=0, posinf=0, neginf=0)))
    # Differences over cells of 2 x 2 pixels. Paper all around: a digit at the edge has an outline there too.
    corners = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    falling = corners[:, 1:, 1:] - corners[:, :-1, :-1]
    rising = corners[:, 1:, :-1] - corners[:, :-1, 1:]
    outline = np.sqrt((falling * falling + rising * rising) / 2).sum(axis=(1, 2))
    width = 2 * mass / np.maximum(outline, 1e-6)
    return mass / (255 * PIXELS), slant.astype(np.float32), width.astype(np.float32)


_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) - np.float32((SIDE - 1) / 2)
_MOMENTS = np.stack([np.ones_like(_ROWS), _COLUMNS, _ROWS, _COLUMNS * _ROWS, _ROWS * _ROWS], -1).reshape(PIXELS, 5)


# --- the whole set ------------------------------------------------------------------------------------------------------


def survey(images: np.ndarray, labels: np.ndarray) -> Survey:
    """Measure a set in one go; MNIST's 60,000 take about two seconds.

    Args:
        images: (n, 28, 28) uint8.
        labels: (n,) integers 0..9.
    """
    sums, squares = np.zeros((CLASSES, PIXELS)), np.zeros((CLASSES, PIXELS))
    pairs, parts = np.zeros(LEVELS * LEVELS, np.int64), []
    for chunk, classes in zip(_chunks(images), _chunks(labels), strict=True):
        pixels = chunk.astype(np.float32)
        flat = pixels.reshape(len(chunk), PIXELS)
        members = np.equal.outer(np.arange(CLASSES), classes).astype(np.float32)
        sums += members @ flat
        squares += members @ (flat * flat)
        # Two neighbouring pixels at a time, which halves the counting.
        pairs += np.bincount(np.ascontiguousarray(chunk).reshape(-1).view(np.uint16), minlength=len(pairs))
        parts.append(_traits(pixels))
    counts = np.bincount(labels, minlength=CLASSES).astype(float)[:, None]
    with np.errstate(invalid="ignore"):  # a digit that doesn't occur
        means = sums / counts
        variances = np.maximum(squares / counts - means**2, 0)
    pairs = pairs.reshape(LEVELS, LEVELS)
    return Survey(
        Traits(*(np.concatenate(values) for values in zip(*parts, strict=True))),
        means.reshape(CLASSES, SIDE, SIDE).astype(np.float32),
        variances.reshape(CLASSES, SIDE, SIDE).astype(np.float32),
        pairs.sum(axis=0) + pairs.sum(axis=1),
    )


def near_duplicates(images: np.ndarray, labels: np.ndarray, within: float = NEAR, tell: Tell | None = None) -> Pairs:
    """Find all pairs of images of one class that differ by at most `within` grey values, and always each class' closest
    pair.

    Candidates are found among the leading principal components and then compared pixel by pixel. A projection never
    makes a distance longer, so none is missed.

    Args:
        images: (n, 28, 28) uint8.
        labels: (n,) integers 0..9.
        within: largest root-mean-square difference, in grey values 0..255.
        tell: told the finished share after each class.
    """
    from sklearn.neighbors import NearestNeighbors  # takes a second to load, and is needed here only

    flat, classes = images.reshape(len(images), PIXELS), np.unique(labels)
    components = PrincipalComponents(flat)
    parts = [Pairs(np.zeros((0, 2), np.int64), np.zeros(0, np.float32))]
    for place, digit in enumerate(classes):
        members = np.flatnonzero(labels == digit)
        if len(members) > 1:
            projected = components.of(flat[members])
            search = NearestNeighbors(algorithm="brute").fit(projected)
            next_best = search.kneighbors(n_neighbors=1, return_distance=False)[:, 0]
            closest = _compared(flat, np.stack([members, members[next_best]], axis=1)).distances[0]
            reach = max(within, float(closest))
            neighbours = search.radius_neighbors(radius=reach * SIDE * (1 + 1e-4), return_distance=False)
            first, second = np.repeat(np.arange(len(members)), [len(n) for n in neighbours]), np.concatenate(neighbours)
            pairs = _compared(flat, members[np.stack([first, second], axis=1)[first < second].astype(np.int64)])
            is_near = pairs.distances <= reach
            parts.append(Pairs(pairs.indices[is_near], pairs.distances[is_near]))
        _told(tell, (place + 1) / len(classes))
    indices, distances = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "distances"))
    order = np.argsort(distances, kind="stable")
    return Pairs(indices[order], distances[order])


def _compared(flat: np.ndarray, indices: np.ndarray) -> Pairs:
    """Return pairs of pictures (n, 784) with their root-mean-square differences, the closest first."""
    chunks = [flat[chunk[:, 0]].astype(np.float32) - flat[chunk[:, 1]] for chunk in _chunks(indices)]
    distances = np.concatenate([np.sqrt((chunk * chunk).mean(axis=1)) for chunk in chunks])
    order = np.argsort(distances, kind="stable")
    return Pairs(indices[order], distances[order])


# --- one image among the others -----------------------------------------------------------------------------------------


def nearest(vectors: np.ndarray, query: np.ndarray, count: int = NEIGHBOURS, but: int | None = None) -> Neighbours:
    """Return the nearest vectors to one, by Euclidean distance; the lower index first among equals.

    Args:
        vectors: (n, ...) of any numeric type.
        query: of one vector's shape.
        count: how many.
        but: an index to leave out: that of the query, if it is one of them.
    """
    flat, query = vectors.reshape(len(vectors), -1), query.reshape(-1).astype(np.float32)
    squares = np.concatenate([_squared_distances(chunk, query) for chunk in _chunks(flat)])
    if but is not None:
        squares[but] = np.inf
    order = np.argsort(squares, kind="stable")[: min(count, len(squares) - (but is not None))]
    return Neighbours(order, np.sqrt(squares[order]))


def _squared_distances(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    differences = vectors.astype(np.float32) - query
    return np.einsum("ij,ij->i", differences, differences)


# --- what a network makes hard ------------------------------------------------------------------------------------------


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return how difficult each image is for a network: its cross-entropy in nats, (n,) float32, 0..16.

    Args:
        labels: (n,) integers; for one below 0, which means no label, the likeliest class is used.
        probabilities: (n, 10).
    """
    believed = np.where(labels < 0, probabilities.argmax(axis=1), labels)
    right = probabilities[np.arange(len(labels)), believed]
    return -np.log(np.clip(right, 1e-7, 1 - 1e-7)).astype(np.float32)


# --- maps ---------------------------------------------------------------------------------------------------------------


class PrincipalComponents:
    """The leading principal components of vectors, found from the first 2,000 of them.

    Args:
        sample: (n, d), of which the first 2,000 count.
        count: how many components at most.
    """

    def __init__(self, sample: np.ndarray, count: int = COMPONENTS) -> None:
        from sklearn.decomposition import PCA  # takes a second to load, and is needed here only

        sample = sample[:FITTED_ON].reshape(min(len(sample), FITTED_ON), -1).astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):  # shares of no variance: equal images, or one alone
            self._pca = PCA(min(count, *sample.shape), random_state=0).fit(sample)

    def of(self, vectors: np.ndarray) -> np.ndarray:
        """Return the components (n, count) float32 of vectors (n, d)."""
        return self._pca.transform(vectors.reshape(len(vectors), -1).astype(np.float32)).astype(np.float32)


def sample(indices: np.ndarray, count: int) -> np.ndarray:
    """Return `count` of the indices, or all if there are no more, ascending; always the same ones for the same indices."""
    drawn = np.random.default_rng(0).permutation(indices)[:count]
    return np.sort(drawn)


def layout(vectors: np.ndarray, kind: Layout, tell: Tell | None = None) -> np.ndarray:
    """Return a place in the plane for each vector, similar ones close to each other: (n, 2) float32.

    Args:
        vectors: (n, d) float32.
        kind: the method.
        tell: told the finished share as the embedding goes on; an error that it raises ends the embedding.

    Source: for t-SNE, L. van der Maaten, G. Hinton, "Visualizing data using t-SNE", 2008, begun at the principal
    components as
        D. Kobak, P. Berens, "The art of using t-SNE for single-cell transcriptomics", 2019, advise.
    """
    if (
        kind is Layout.PCA or len(vectors) < 4 or not np.ptp(vectors, axis=0).any()
    ):  # such as the outputs of a dead layer
        plane = PrincipalComponents(vectors, 2).of(vectors)
        _told(tell, 1.0)
        return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))
    from openTSNE import TSNE  # takes a second to load, and is needed here only

    done = 0

    def iterated(iteration: int, error: float, embedding: np.ndarray) -> bool:
        nonlocal done
        done += TOLD_EVERY
        _told(tell, min(done / (EARLY + LATE), 1.0))
        return False

    reduced = PrincipalComponents(vectors).of(vectors) if vectors.shape[1] > COMPONENTS else vectors
    method = TSNE(
        perplexity=min(30, (len(vectors) - 1) / 3),  # pyright: ignore[reportArgumentType]  # need not be whole
        early_exaggeration_iter=EARLY,
        n_iter=LATE,
        random_state=0,
        n_jobs=1,  # the other core may be training
        negative_gradient_method="bh" if len(vectors) <= MAP_SIZES[0] else "fft",
        callbacks=iterated,
        callbacks_every_iters=TOLD_EVERY,
    )
    return np.asarray(method.fit(reduced), np.float32)


def _told(tell: Tell | None, share: float) -> None:
    if tell is not None:
        tell(share)


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _CHUNK] for start in range(0, max(len(rows), 1), _CHUNK)]
