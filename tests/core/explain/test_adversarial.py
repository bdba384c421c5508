"""The smallest change makes it another digit, and what the network likes best is read as meant."""

from __future__ import annotations

import numpy as np
import pytest

from core.explain import adversarial
from core.explain.adversarial import Norm
from tests.core.explain.conftest import Linear


@pytest.mark.parametrize("norm", Norm)
def test_a_small_change_makes_it_another_digit(reader, learned, image, norm):
    found = adversarial.smallest_change(reader, image, 3, norm)
    by = (found.image.astype(float) - image) / 255

    assert found.is_reached
    assert learned.predict_on_batch(found.image[None, ..., None])[0].argmax() == 3
    assert (found.l2, found.linf) == pytest.approx((np.sqrt((by**2).sum()), np.abs(by).max()))
    assert (found.l2 if norm is Norm.L2 else found.linf) < adversarial.LARGEST[norm] / 2


def test_of_a_linear_network_the_change_is_nearly_the_smallest_there_is():
    rng = np.random.default_rng(0)
    weights = np.zeros((10, 28, 28))
    weights[2], weights[5] = rng.normal(size=(2, 28, 28)) / 28
    image = np.full((28, 28), 128, np.uint8)
    linear = Linear(weights)
    scores = linear.scores((image / 255).astype(np.float32)[None])[0]
    a, b = (2, 5) if scores[2] > scores[5] else (5, 2)
    for k in set(range(10)) - {a, b}:
        linear.weights[k] = -1.0
    apart, way = float(scores[a] - scores[b]), weights[b] - weights[a]

    assert adversarial.smallest_change(linear, image, b, Norm.L2).l2 == pytest.approx(
        apart / np.linalg.norm(way), rel=0.1, abs=0.02
    )
    assert adversarial.smallest_change(linear, image, b, Norm.LINF).linf == pytest.approx(
        apart / np.abs(way).sum(), abs=1.5 / 255
    )


def test_a_digit_that_is_read_so_already_needs_no_change(reader, image):
    read = int(reader.scores((image / 255).astype(np.float32)[None]).argmax())
    found = adversarial.smallest_change(reader, image, read, Norm.L2)

    assert (found.l2, found.linf, found.is_reached) == (0, 0, True)
    assert (found.image == image).all()


def test_what_no_change_within_the_bounds_reaches_is_said_to_be_so():
    weights = np.zeros((10, 28, 28))
    weights[4] = 1.0
    found = adversarial.smallest_change(Linear(weights - 5 * (np.arange(10) == 2)[:, None, None]),
                                       np.full((28, 28), 100, np.uint8), 2, Norm.LINF)  # fmt: skip

    assert not found.is_reached
    assert found.linf <= adversarial.LARGEST[Norm.LINF] + 1 / 255


def test_the_network_reads_its_perfect_digits_as_meant(reader):
    images, probabilities = adversarial.perfect_digits(reader)

    assert images.shape == (10, 28, 28)
    assert images.min() >= 0
    assert images.max() <= 1
    assert probabilities.argmax(axis=1).tolist() == list(range(10))
    assert np.diag(probabilities).min() > 0.5
