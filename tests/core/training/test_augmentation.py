"""Changed digits are where and as they should be, stay digits, and change the same way again for the same seed."""

import numpy as np
import pytest

from core.model.specs import Augmentation

EVERYTHING = Augmentation(shift=2.0, rotation=15.0, scale=0.15, shear=0.1)
ALL_AT_ONCE = Augmentation(shift=2.0, rotation=15.0, scale=0.15, shear=0.1, elastic=2.0, thickness=0.5, noise=0.2)


@pytest.fixture(scope="module")
def images(dataset) -> np.ndarray:
    """(100, 28, 28, 1) float32, 0..255."""
    return dataset.x_train[:100, ..., None].astype(np.float32)


def moved(images: np.ndarray, augmentation: Augmentation, seed: tuple[int, int] = (0, 0)) -> np.ndarray:
    import tensorflow as tf

    from core.training import augmentation as augment

    return augment.transform(tf.constant(images), augmentation, tf.constant(seed, tf.int32)).numpy()


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch):
    """Let every image have the same given numbers in -1..1: angle, zoom, shear, shift in x, shift in y; or one for all."""
    import tensorflow as tf

    def fix(*numbers: float) -> None:
        def drawn(shape, seed, *bounds):
            return tf.broadcast_to(
                tf.constant(numbers if shape[-1] == len(numbers) else numbers[:1], tf.float32), shape
            )

        monkeypatch.setattr(tf.random, "stateless_uniform", drawn)

    return fix


def test_nothing_asked_for_changes_nothing(images):
    np.testing.assert_array_equal(moved(images, Augmentation()), images, strict=True)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (0, 1), (3, -2), (-4, 4), (28, 0)])
def test_a_shift_by_whole_pixels_puts_each_pixel_there_and_black_behind_it(images, draw, x, y):
    draw(0, 0, 0, x / 32, y / 32)
    framed = np.pad(images, [(0, 0), (28, 28), (28, 28), (0, 0)])
    expected = np.roll(framed, (y, x), axis=(1, 2))[:, 28:56, 28:56]

    shifted = moved(images, Augmentation.model_construct(shift=32.0, rotation=0.0, scale=0.0, shear=0.0))

    np.testing.assert_allclose(shifted, expected, atol=1e-3)


def test_a_shift_by_half_a_pixel_is_the_mean_of_neighbours(images, draw):
    draw(0, 0, 0, 0.25, 0)

    shifted = moved(images, Augmentation(shift=2.0))

    np.testing.assert_allclose(shifted[:, :, 1:], (images[:, :, 1:] + images[:, :, :-1]) / 2, atol=1e-3)


@pytest.mark.parametrize(("turns", "angle"), [(1, 90), (2, 180), (-1, -90)])
def test_a_rotation_is_about_the_centre(images, draw, turns, angle):
    """Rotations by right angles are exact; the field's bound of 45 degrees is for people."""
    draw(angle / 180, 0, 0, 0, 0)

    rotated = moved(images, Augmentation.model_construct(shift=0.0, rotation=180.0, scale=0.0, shear=0.0))

    np.testing.assert_allclose(rotated, np.rot90(images, turns, axes=(1, 2)), atol=0.1)


def test_a_zoom_enlarges_or_shrinks_about_the_centre(draw):
    square = np.zeros((1, 28, 28, 1), np.float32)
    square[:, 10:18, 10:18] = 255  # 8 pixels wide

    draw(0, 1, 0, 0, 0)
    larger = moved(square, Augmentation(scale=0.5))
    draw(0, -1, 0, 0, 0)
    smaller = moved(square, Augmentation(scale=0.5))

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
    most = Augmentation(shift=8.0, rotation=45.0, scale=0.5, shear=0.5)

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


def centroid(images: np.ndarray) -> tuple[float, float]:
    """Mean row and column of the ink of all images together."""
    rows, columns = np.indices((28, 28))
    ink = images[..., 0].sum(axis=0)
    return (ink * rows).sum() / ink.sum(), (ink * columns).sum() / ink.sum()


def drifts(most: float, seed: tuple[int, int] = (0, 0), count: int = 200) -> np.ndarray:
    """How far each pixel's content is fetched from, (count, rows, columns, 2) in pixels, as read off pictures of their own
    coordinates. The outer pixels, whose content may come from beyond the edge, are left out."""
    rows, columns = np.indices((28, 28), np.float32)
    margin = int(np.ceil(most)) + 1
    inside = slice(margin, 28 - margin)
    fetched = [
        moved(np.tile(place[None, ..., None], (count, 1, 1, 1)), Augmentation(elastic=most), seed)[..., 0] - place
        for place in (columns, rows)
    ]
    return np.stack(fetched, axis=-1)[:, inside, inside]


class TestElastic:
    @pytest.mark.parametrize("most", [0.5, 2.0, 4.0])
    def test_no_pixel_drifts_further_than_asked_for_and_some_come_near(self, most):
        lengths = np.linalg.norm(drifts(most), axis=-1)

        assert lengths.max() <= most + 1e-4
        assert lengths.max() > 0.7 * most

    @pytest.mark.parametrize("most", [0.5, 2.0, 4.0])
    def test_neighbours_drift_together(self, most):
        """Between knots 7 pixels apart whose vectors differ by at most twice `most`, a spline rises by 2/7 of it a pixel."""
        field = drifts(most)

        for axis in (1, 2):
            steps = np.linalg.norm(np.diff(field, axis=axis), axis=-1)
            bends = np.linalg.norm(np.diff(field, n=2, axis=axis), axis=-1)

            assert steps.max() <= 2 / 7 * most + 1e-4
            assert bends.max() <= 4 / 7**2 * most + 1e-4

    def test_the_strongest_is_about_that_of_its_source(self):
        """Simard et al. 2003: uniform in -1..1, under a Gaussian of 4 pixels, times 34."""
        theirs = 34 * np.sqrt(1 / 3) / np.sqrt(4 * np.pi * 4**2)

        assert drifts(4.0).std() == pytest.approx(theirs, rel=0.1)

    def test_drifts_favour_no_direction(self):
        assert np.abs(drifts(2.0, count=1000).mean(axis=(0, 1, 2))).max() < 0.05

    def test_a_vanishing_one_leaves_the_affine_map(self, images):
        """Two samplers, one result: TensorFlow's own for what is affine, and the one that can bend."""
        bent = moved(images, Augmentation(**{**EVERYTHING.model_dump(), "elastic": 1e-6}), (7, 3))

        np.testing.assert_allclose(bent, moved(images, EVERYTHING, (7, 3)), atol=0.05)

    def test_it_is_sampled_together_with_the_affine_map(self, draw, images):
        """Half a pixel there and half a pixel more is a whole pixel, which blurs nothing."""
        draw(0, 0, 0, 0.5, 0)
        bright = (images > 0).astype(np.float32) * 255

        once = moved(bright, Augmentation.model_construct(**{**Augmentation(shift=2.0).model_dump(), "elastic": 1e-9}))

        np.testing.assert_allclose(once[:, :, 1:], bright[:, :, :-1], atol=1e-2)

    def test_a_digit_keeps_its_ink_and_its_place(self, images):
        changed = np.concatenate([moved(images, Augmentation(elastic=3.0), (0, step)) for step in range(10)])

        assert changed.mean() == pytest.approx(images.mean(), rel=0.05)
        np.testing.assert_allclose(centroid(changed), centroid(images), atol=0.2)


class TestThickness:
    @pytest.mark.parametrize("x", [0.0, 0.25, 1.0])
    def test_fattens_towards_the_brightest_neighbour(self, images, draw, x):
        draw(x)
        framed = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
        brightest = np.max([framed[:, i : i + 28, j : j + 28] for i in range(3) for j in range(3)], axis=0)

        np.testing.assert_allclose(
            moved(images, Augmentation(thickness=1.0)), (1 - x) * images + x * brightest, atol=1e-3
        )

    @pytest.mark.parametrize("x", [0.25, 1.0])
    def test_thins_towards_the_darkest_neighbour(self, images, draw, x):
        draw(-x)
        framed = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=255)
        darkest = np.min([framed[:, i : i + 28, j : j + 28] for i in range(3) for j in range(3)], axis=0)

        np.testing.assert_allclose(
            moved(images, Augmentation(thickness=1.0)), (1 - x) * images + x * darkest, atol=1e-3
        )

    def test_a_square_is_fatter_or_thinner_by_so_many_pixels_on_each_side(self):
        square = np.zeros((1000, 28, 28, 1), np.float32)
        square[:, 10:18, 10:18] = 255

        widths = moved(square, Augmentation(thickness=0.5))[:, 14].sum(axis=(1, 2)) / 255

        assert widths.min() == pytest.approx(8 - 2 * 0.5, abs=0.02)
        assert widths.max() == pytest.approx(8 + 2 * 0.5, abs=0.02)
        assert widths.mean() == pytest.approx(8, abs=0.1)


class TestNoise:
    def test_each_image_has_a_deviation_of_its_own_up_to_the_one_asked_for(self):
        grey = np.full((1000, 28, 28, 1), 127.5, np.float32)

        deviations = (moved(grey, Augmentation(noise=0.1)) - grey).std(axis=(1, 2, 3)) / 255

        np.testing.assert_allclose(
            np.quantile(deviations, [0, 0.25, 0.5, 0.75, 1]), [0, 0.025, 0.05, 0.075, 0.1], atol=0.01
        )

    def test_grain_is_gaussian_and_differs_from_pixel_to_pixel(self):
        grey = np.full((500, 28, 28, 1), 127.5, np.float32)
        grain = moved(grey, Augmentation(noise=0.1)) - grey
        standard = grain / grain.std(axis=(1, 2, 3), keepdims=True)

        assert abs(standard.mean()) < 0.01
        assert (np.abs(standard) < 1).mean() == pytest.approx(0.683, abs=0.01)
        assert abs((standard[:, 1:] * standard[:, :-1]).mean()) < 0.01
        assert abs((standard[1:] * standard[:-1]).mean()) < 0.01

    def test_black_and_white_are_the_limits(self, images):
        changed = moved(images, Augmentation(noise=0.5))

        assert (changed.min(), changed.max()) == (0, 255)


class TestAllAtOnce:
    @pytest.mark.parametrize("field", ["elastic", "thickness", "noise"])
    def test_each_changes_images_by_itself(self, images, field):
        assert not np.array_equal(moved(images, Augmentation(**{field: 0.5})), images)

    def test_no_two_draw_the_same_numbers(self):
        """Were the drifts, the amounts and the deviations drawn from one seed, they would rise and fall together."""
        squares = np.full((2000, 28, 28, 1), 100, np.float32)
        squares[:, 10:18, 10:18] = 150
        bent = moved(squares, Augmentation(elastic=1.0))[:, 10:18, 10:18].mean(axis=(1, 2, 3))
        fat = moved(squares, Augmentation(thickness=1.0)).mean(axis=(1, 2, 3))
        grained = moved(squares, Augmentation(noise=0.1)).std(axis=(1, 2, 3))
        left = moved(squares, Augmentation(shift=2.0))[:, :, :13].mean(axis=(1, 2, 3))

        correlations = np.corrcoef([bent, fat, grained, left])

        assert np.abs(correlations - np.eye(4)).max() < 0.1

    def test_the_same_seed_gives_the_same_images_in_a_compiled_loop(self, images):
        """As the training calls it: traced once, for batches of any size."""
        import tensorflow as tf

        from core.training import augmentation as augment

        compiled = tf.function(
            lambda batch, seed: augment.transform(batch, ALL_AT_ONCE, seed),
            input_signature=[tf.TensorSpec((None, 28, 28, 1), tf.float32), tf.TensorSpec((2,), tf.int32)],
        )

        for count, seed in [(100, (7, 3)), (17, (7, 3)), (17, (2**31 - 1, 5))]:
            in_graph = compiled(tf.constant(images[:count]), tf.constant(seed, tf.int32)).numpy()

            np.testing.assert_allclose(in_graph, moved(images[:count], ALL_AT_ONCE, seed), atol=1e-2)

    @pytest.mark.parametrize("most", [ALL_AT_ONCE, EVERYTHING, Augmentation(elastic=4.0), Augmentation(thickness=1.0)])
    def test_pixels_stay_in_their_range(self, images, most):
        changed = moved(images, most)

        assert (changed.shape, changed.dtype) == (images.shape, np.float32)
        assert changed.min() >= 0
        assert changed.max() <= 255.001

    @pytest.mark.parametrize("count", [0, 1])
    def test_a_batch_may_hold_one_image_or_none(self, images, count):
        assert moved(images[:count], ALL_AT_ONCE).shape == (count, 28, 28, 1)


class TestPreview:
    @pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING, ALL_AT_ONCE], ids=["none", "moved", "all"])
    def test_shows_what_the_training_sees(self, dataset, augmentation):
        from core.training import augmentation as augment

        pictures = dataset.x_train[:20]

        shown = augment.preview(pictures, augmentation, seed=5)

        seen = moved(pictures[..., None].astype(np.float32), augmentation, (5, 0))[..., 0]
        assert (shown.shape, shown.dtype) == ((20, 28, 28), np.uint8)
        np.testing.assert_allclose(shown, seen, atol=0.501)

    def test_of_no_images_is_empty(self):
        from core.training import augmentation as augment

        assert augment.preview(np.zeros((0, 28, 28), np.uint8), ALL_AT_ONCE, seed=0).shape == (0, 28, 28)
