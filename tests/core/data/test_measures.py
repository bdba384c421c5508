"""What is measured of digits, against strokes made by hand, NumPy, brute force and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from core.data import measures
from core.data.measures import Layout
from core.ink import preparation

BOX = [0, 0, 280, 280]


def stroke(angle: float, width: float, length: float = 180) -> np.ndarray:
    """A straight stroke through the middle, leaning `angle` degrees to the right of upright, `width` pixels of 28 wide."""
    x, y = np.sin(np.radians(angle)) * length / 2, np.cos(np.radians(angle)) * length / 2
    ink = preparation.ink_from_strokes([[[140 - x, 140 + y], [140 + x, 140 - y]]], [280, 280], width=10 * width)
    return np.rint(ink.reshape(28, 10, 28, 10).mean(axis=(1, 3)) * 255).astype(np.uint8)


def ring(radius: float, width: float) -> np.ndarray:
    turns = np.linspace(0, 2 * np.pi, 200)
    points = np.stack([140 + 10 * radius * np.cos(turns), 140 + 10 * radius * np.sin(turns)], axis=1)
    ink = preparation.ink_from_strokes([points.tolist()], [280, 280], width=10 * width)
    return np.rint(ink.reshape(28, 10, 28, 10).mean(axis=(1, 3)) * 255).astype(np.uint8)


def test_ink_is_the_mean_grey(dataset):
    measured = measures.traits(dataset.x_test)

    np.testing.assert_allclose(measured.ink, dataset.x_test.mean(axis=(1, 2)) / 255, rtol=1e-5)


@pytest.mark.parametrize("angle", [-40, -20, 0, 10, 30, 45])
@pytest.mark.parametrize("width", [1.5, 3])
def test_the_slant_of_a_stroke_is_its_angle(angle, width):
    assert measures.traits(stroke(angle, width)[None]).slant[0] == pytest.approx(angle, abs=2.5)


def test_a_digit_sheared_by_hand_leans_as_far_as_it_was_sheared():
    upright = np.zeros((28, 28), np.uint8)
    upright[4:24, 12:16] = 255
    sheared = np.stack([np.roll(row, (13 - y) // 2) for y, row in enumerate(upright)])

    slant = measures.traits(np.stack([upright, sheared, sheared[:, ::-1]])).slant

    np.testing.assert_allclose(slant, [0, np.degrees(np.arctan(0.5)), -np.degrees(np.arctan(0.5))], atol=0.5)


@pytest.mark.parametrize("angle", [0, 20, 45, 90])
@pytest.mark.parametrize("width", [2, 3, 4])
def test_the_width_of_a_stroke_is_that_of_its_pen(angle, width):
    measured = measures.traits(stroke(angle, width)[None]).stroke_width[0]

    # Its two ends belong to the outline too: a stroke 18 pixels long measures width / (1 + width / length).
    assert measured == pytest.approx(width / (1 + width / (18 + width)), rel=0.12)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_the_width_of_a_ring_is_that_of_its_pen(width):
    assert measures.traits(ring(8, width)[None]).stroke_width[0] == pytest.approx(width, rel=0.06)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((28, 28), np.uint8),
        np.full((28, 28), 255, np.uint8),
        np.eye(1, 784, 300, dtype=np.uint8).reshape(28, 28),
    ],
    ids=["nothing", "all ink", "one pale pixel"],
)
def test_what_is_no_digit_has_finite_traits(image):
    measured = measures.traits(image[None])

    assert np.isfinite([measured.ink[0], measured.slant[0], measured.stroke_width[0]]).all()
    assert measured.slant[0] == pytest.approx(0, abs=1e-3)


def test_a_survey_says_what_numpy_says(dataset):
    images, labels = dataset.x_train, dataset.y_train

    survey = measures.survey(images, labels)

    np.testing.assert_allclose(survey.means, [images[labels == k].mean(axis=0) for k in range(10)], rtol=1e-5)
    np.testing.assert_allclose(
        survey.variances, [images[labels == k].astype(float).var(axis=0) for k in range(10)], rtol=1e-4, atol=0.05
    )
    assert survey.histogram.tolist() == np.bincount(images.ravel(), minlength=256).tolist()
    np.testing.assert_array_equal(survey.traits.slant, measures.traits(images).slant)


def test_a_digit_that_does_not_occur_has_no_mean():
    survey = measures.survey(np.full((3, 28, 28), 7, np.uint8), np.array([1, 1, 2]))

    assert np.isnan(survey.means[0]).all()
    assert survey.means[1].tolist() == np.full((28, 28), 7.0).tolist()
    assert survey.variances[2].max() == 0


def test_neighbours_are_those_of_brute_force(dataset):
    images = dataset.x_train[:500]
    query = dataset.x_test[3]

    found = measures.nearest(images, query)

    distances = [float(np.linalg.norm(image.astype(float) - query)) for image in images]
    assert found.indices.tolist() == np.argsort(distances)[:5].tolist()
    np.testing.assert_allclose(found.distances, np.sort(distances)[:5], rtol=1e-5)


def test_a_digit_is_not_its_own_neighbour(dataset):
    images = dataset.x_train[:50]

    assert 7 not in measures.nearest(images, images[7], but=7).indices
    assert measures.nearest(images, images[7]).indices[0] == 7
    assert len(measures.nearest(images[:3], images[0], but=0).indices) == 2


def test_near_duplicates_are_all_pairs_of_a_class_within_the_threshold(dataset):
    images, labels = dataset.x_train[:400].copy(), dataset.y_train[:400].copy()
    images[10], labels[10] = images[3], labels[3]
    images[20], labels[20] = images[5], (labels[5] + 1) % 10  # the same picture, called something else
    told = []

    found = measures.near_duplicates(images, labels, within=25, tell=told.append)

    flat = images.reshape(400, -1).astype(float)
    rms = {
        (i, j): np.sqrt(((flat[i] - flat[j]) ** 2).mean())
        for i in range(400)
        for j in range(i + 1, 400)
        if labels[i] == labels[j]
    }
    closest = [min((pair for pair in rms if labels[pair[0]] == k), key=rms.get) for k in range(10)]
    expected = {pair for pair in rms if rms[pair] <= max(25, rms[closest[labels[pair[0]]]])}
    assert {tuple(pair) for pair in found.indices.tolist()} == expected
    assert found.indices[0].tolist() == [3, 10]
    assert found.distances[0] == 0
    assert (np.diff(found.distances) >= 0).all()
    assert told[-1] == 1


def test_a_class_of_one_image_has_no_pair():
    images = np.zeros((2, 28, 28), np.uint8)

    assert measures.near_duplicates(images, np.array([1, 2])).indices.shape == (0, 2)


def test_how_hard_an_image_is_is_its_cross_entropy():
    probabilities = np.float32([[0.5, 0.25] + [0.03125] * 8] * 3)

    np.testing.assert_allclose(
        measures.losses(np.array([0, 1, -1]), probabilities), [np.log(2), np.log(4), np.log(2)], rtol=1e-5
    )
    assert measures.losses(np.array([9]), np.eye(1, 10, dtype=np.float32))[0] == pytest.approx(-np.log(1e-7), rel=1e-4)


def test_a_map_by_principal_components_is_that_of_scikit_learn(dataset):
    vectors = dataset.x_train[:300].reshape(300, -1).astype(np.float32)

    plane = measures.layout(vectors, Layout.PCA)

    expected = PCA(2, svd_solver="full").fit_transform(vectors.astype(float))
    assert plane.dtype == np.float32
    for axis in range(2):  # the sign of a component is nobody's
        assert abs(np.corrcoef(plane[:, axis], expected[:, axis])[0, 1]) > 0.999
        assert plane[:, axis].std() == pytest.approx(expected[:, axis].std(), rel=0.01)


def test_a_neighbour_embedding_keeps_digits_by_their_like(dataset):
    vectors, labels = dataset.x_train[:400].reshape(400, -1).astype(np.float32), dataset.y_train[:400]
    told = []

    plane = measures.layout(vectors, Layout.TSNE, told.append)

    like = [labels[measures.nearest(plane, plane[k], but=k).indices] == labels[k] for k in range(400)]
    by_components = measures.layout(vectors, Layout.PCA)
    like_there = [
        labels[measures.nearest(by_components, by_components[k], but=k).indices] == labels[k] for k in range(400)
    ]
    assert np.mean(like) > np.mean(like_there) + 0.2
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 20


def test_a_neighbour_embedding_ends_when_it_is_told_to(dataset):
    class EnoughError(Exception):
        pass

    def enough(share: float) -> None:
        if share > 0.1:
            raise EnoughError

    with pytest.raises(EnoughError):
        measures.layout(dataset.x_train[:200].reshape(200, -1).astype(np.float32), Layout.TSNE, enough)


@pytest.mark.parametrize("kind", Layout)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_map_of_very_few_is_a_map(kind, count, dataset):
    plane = measures.layout(dataset.x_train[:count].reshape(count, -1).astype(np.float32), kind)

    assert plane.shape == (count, 2)
    assert np.isfinite(plane).all()


@pytest.mark.parametrize("kind", Layout)
def test_what_is_all_the_same_lies_in_one_place(kind):
    plane = measures.layout(np.zeros((40, 60), np.float32), kind)

    assert plane.tolist() == np.zeros((40, 2)).tolist()


def test_a_sample_is_the_same_every_time_and_of_those_it_is_drawn_from():
    indices = np.arange(0, 1000, 7)

    drawn = measures.sample(indices, 50)

    assert drawn.tolist() == measures.sample(indices, 50).tolist()
    assert set(drawn) <= set(indices)
    assert len(set(drawn)) == 50
    assert measures.sample(indices, 10_000).tolist() == indices.tolist()
