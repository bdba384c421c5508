"""Moved digits are where they should be, stay digits, and move the same way again for the same seed."""

import numpy as np
import pytest

from core.specs import Augmentation

EVERYTHING = Augmentation(shift=2.0, rotation=15.0, zoom=0.15, shear=0.1)


@pytest.fixture(scope="module")
def images(dataset) -> np.ndarray:
    """(100, 28, 28, 1) float32, 0..255."""
    return dataset.x_train[:100, ..., None].astype(np.float32)


def moved(images: np.ndarray, augmentation: Augmentation, seed: tuple[int, int] = (0, 0)) -> np.ndarray:
    import tensorflow as tf

    from core import augment

    return augment.transform(tf.constant(images), augmentation, tf.constant(seed, tf.int32)).numpy()


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch):
    """Let every image have the same given numbers in -1..1: angle, zoom, shear, shift in x, shift in y."""
    import tensorflow as tf

    def fix(*numbers: float) -> None:
        def drawn(shape, seed, *bounds):
            return tf.tile(tf.constant([numbers], tf.float32), (shape[0], 1))

        monkeypatch.setattr(tf.random, "stateless_uniform", drawn)

    return fix


def test_nothing_asked_for_changes_nothing(images):
    np.testing.assert_array_equal(moved(images, Augmentation()), images, strict=True)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (0, 1), (3, -2), (-4, 4), (28, 0)])
def test_a_shift_by_whole_pixels_puts_each_pixel_there_and_black_behind_it(images, draw, x, y):
    draw(0, 0, 0, x / 32, y / 32)
    framed = np.pad(images, [(0, 0), (28, 28), (28, 28), (0, 0)])
    expected = np.roll(framed, (y, x), axis=(1, 2))[:, 28:56, 28:56]

    shifted = moved(images, Augmentation.model_construct(shift=32.0, rotation=0.0, zoom=0.0, shear=0.0))

    np.testing.assert_allclose(shifted, expected, atol=1e-3)


def test_a_shift_by_half_a_pixel_is_the_mean_of_neighbours(images, draw):
    draw(0, 0, 0, 0.25, 0)

    shifted = moved(images, Augmentation(shift=2.0))

    np.testing.assert_allclose(shifted[:, :, 1:], (images[:, :, 1:] + images[:, :, :-1]) / 2, atol=1e-3)


@pytest.mark.parametrize(("turns", "angle"), [(1, 90), (2, 180), (-1, -90)])
def test_a_rotation_is_about_the_centre(images, draw, turns, angle):
    """Rotations by right angles are exact; the field's bound of 45 degrees is for people."""
    draw(angle / 180, 0, 0, 0, 0)

    rotated = moved(images, Augmentation.model_construct(shift=0.0, rotation=180.0, zoom=0.0, shear=0.0))

    np.testing.assert_allclose(rotated, np.rot90(images, turns, axes=(1, 2)), atol=0.1)


def test_a_zoom_enlarges_or_shrinks_about_the_centre(draw):
    square = np.zeros((1, 28, 28, 1), np.float32)
    square[:, 10:18, 10:18] = 255  # 8 pixels wide

    draw(0, 1, 0, 0, 0)
    larger = moved(square, Augmentation(zoom=0.5))
    draw(0, -1, 0, 0, 0)
    smaller = moved(square, Augmentation(zoom=0.5))

    assert larger[0, 14].sum() / 255 == pytest.approx(8 * 1.5, abs=0.5)
    assert smaller[0, 14].sum() / 255 == pytest.approx(8 * 0.5, abs=0.5)
    for image in (larger, smaller):
        np.testing.assert_allclose(image, image[:, ::-1, ::-1], atol=0.1)


def test_a_shear_slants_by_so_many_pixels_per_row(draw):
    line = np.zeros((1, 28, 28, 1), np.float32)
    line[:, :, 13:15] = 255
    columns = np.arange(28)

    draw(0, 0, 1, 0, 0)
    slanted = moved(line, Augmentation(shear=0.5))[0, ..., 0]

    middles = (slanted * columns).sum(axis=1) / slanted.sum(axis=1)
    np.testing.assert_allclose(np.abs(np.diff(middles[4:24])), 0.5, atol=0.05)
    np.testing.assert_allclose(slanted.sum(axis=1)[4:24], 2 * 255, rtol=0.01)


def test_the_same_seed_moves_the_same_way_and_another_differently(images):
    once, again = moved(images, EVERYTHING, (7, 3)), moved(images, EVERYTHING, (7, 3))
    another_step, another_seed = moved(images, EVERYTHING, (7, 4)), moved(images, EVERYTHING, (8, 3))

    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, another_step)
    assert not np.array_equal(once, another_seed)


def test_each_image_of_a_batch_moves_its_own_way(images):
    same = np.repeat(images[:1], 20, axis=0)

    different = moved(same, EVERYTHING)

    assert len(np.unique(different.reshape(20, -1), axis=0)) == 20


@pytest.mark.parametrize("seed", range(5))
def test_pixels_stay_in_their_range(images, seed):
    most = Augmentation(shift=8.0, rotation=45.0, zoom=0.5, shear=0.5)

    changed = moved(images, most, (seed, 0))

    assert changed.shape == images.shape
    assert changed.dtype == np.float32
    assert changed.min() >= 0
    assert changed.max() <= 255.001


def test_a_moved_digit_keeps_its_ink(images):
    changed = np.concatenate([moved(images, EVERYTHING, (0, step)) for step in range(10)])

    assert changed.mean() == pytest.approx(images.mean(), rel=0.05)
    assert (changed.max(axis=(1, 2, 3)) > 128).all()


def test_no_shift_is_further_than_asked_for():
    dot = np.zeros((500, 28, 28, 1), np.float32)
    dot[:, 14, 14] = 255

    moved_dots = moved(dot, Augmentation(shift=3.0))

    rows, columns = np.nonzero(moved_dots[..., 0].max(axis=0))
    assert (rows.min(), rows.max()) == (14 - 3, 14 + 3)
    assert (columns.min(), columns.max()) == (14 - 3, 14 + 3)
