"""Damage is what SciPy makes of it, the same at every run, and worse with every severity."""

import numpy as np
import pytest
from scipy import ndimage

from core.errors import NotExplainable, RunDamaged
from core.evaluation import robustness
from core.evaluation.robustness import DAMAGES
from core.runs import registry
from core.runs.network import Network

every_kind = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
KINDS = {damage.name: damage for damage in DAMAGES}


@pytest.fixture(scope="module")
def images(dataset) -> np.ndarray:
    return dataset.x_test[:40]


def rng() -> np.random.Generator:
    return np.random.default_rng(robustness.SEED)


def ways(count: int) -> np.ndarray:
    return np.where(rng().integers(0, 2, count), 1, -1)


@every_kind
def test_it_is_the_same_each_time(images, damage):
    severity = damage.severities[2]

    np.testing.assert_array_equal(
        robustness.damaged(images, damage, severity), robustness.damaged(images, damage, severity), strict=True
    )


@every_kind
def test_without_severity_nothing_changes(images, damage):
    np.testing.assert_array_equal(robustness.damaged(images, damage, 0), images, strict=True)


@every_kind
def test_the_more_severe_the_less_is_as_it_was(images, damage):
    changes = [
        np.abs(robustness.damaged(images, damage, severity).astype(float) - images).mean()
        for severity in damage.severities
    ]

    assert (np.diff([0, *changes]) > 0).all()


@every_kind
def test_severities_rise_and_there_are_as_many_of_each(damage):
    assert list(damage.severities) == sorted(damage.severities)
    assert len(damage.severities) == robustness.SEVERITIES


class TestAgainstScipy:
    @pytest.mark.parametrize("name", ["Rotation", "Scale", "Shear"])
    def test_maps(self, images, name):
        severity = KINDS[name].severities[1]
        for way, image, found in zip(ways(40), images, robustness.damaged(images, KINDS[name], severity), strict=True):
            turn, factor = np.radians(severity) * way, 1.2**way
            matrix = {  # rows, then columns
                "Rotation": [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]],
                "Scale": [[1 / factor, 0], [0, 1 / factor]],
                "Shear": [[1, 0], [severity * way, 1]],
            }[name]
            centre = np.array([13.5, 13.5])
            expected = ndimage.affine_transform(
                image.astype(float), matrix, centre - matrix @ centre, order=1, mode="grid-constant"
            )

            np.testing.assert_allclose(found, expected, atol=0.51)

    def test_blur(self, images):
        for severity in KINDS["Blur"].severities:
            expected = ndimage.gaussian_filter(images.astype(float), (0, severity, severity), mode="constant")

            np.testing.assert_allclose(robustness.damaged(images, KINDS["Blur"], severity), expected, atol=0.51)

    def test_thickness_of_a_pixel_and_a_half(self, images):
        for way, image, found in zip(
            ways(40), images, robustness.damaged(images, KINDS["Thickness"], 1.5), strict=True
        ):
            grow = ndimage.grey_dilation if way > 0 else ndimage.grey_erosion
            outside = -np.inf if way > 0 else np.inf
            once = grow(image.astype(float), (3, 3), mode="constant", cval=outside)
            twice = grow(once, (3, 3), mode="constant", cval=outside)

            np.testing.assert_allclose(found, (once + twice) / 2, atol=0.51)


class TestByHand:
    def test_a_shift_moves_whole_pixels_to_one_of_four_sides(self, images):
        candidates = [np.roll(images, way * 2, axis) for axis in (1, 2) for way in (1, -1)]
        for candidate, edge in zip(
            candidates, [np.s_[:, :2], np.s_[:, -2:], np.s_[:, :, :2], np.s_[:, :, -2:]], strict=True
        ):
            candidate[edge] = 0

        found = robustness.damaged(images, KINDS["Shift"], 2)
        fits = [(found == candidate).all(axis=(1, 2)) for candidate in candidates]

        assert np.any(fits, axis=0).all()
        assert all(fit.any() for fit in fits)

    def test_noise_has_the_deviation_it_says(self):
        grey = np.full((50, 28, 28), 128, np.uint8)

        found = robustness.damaged(grey, KINDS["Noise"], 10).astype(float)

        assert found.std() == pytest.approx(25.5, rel=0.02)
        assert found.mean() == pytest.approx(128, abs=0.5)

    def test_contrast_goes_and_the_mean_stays(self, images):
        found = robustness.damaged(images, KINDS["Contrast"], 60).astype(float)

        np.testing.assert_allclose(found.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=0.5)
        np.testing.assert_allclose(found.std(axis=(1, 2)), 0.4 * images.std(axis=(1, 2)), atol=0.5)

    def test_a_square_covers_as_much_as_it_says(self):
        found = robustness.damaged(np.zeros((50, 28, 28), np.uint8), KINDS["Occlusion"], 8)

        assert ((found == 128).sum(axis=(1, 2)) == 64).all()


class TestMeasure:
    """By a network that reads the brightest pixel's column."""

    @staticmethod
    def answer(images: np.ndarray) -> np.ndarray:
        column = images.astype(int).sum(axis=1).argmax(axis=1)
        return np.eye(10)[np.clip(column - 9, 0, 9)]

    @pytest.fixture
    def bars(self) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(60) % 10
        images = np.zeros((60, 28, 28), np.uint8)
        images[np.arange(60), 8:20, 9 + labels] = 255
        return images, labels

    def test_it_counts_what_is_read_under_each_damage(self, bars):
        images, labels = bars

        measured = robustness.measure(images, labels, 7, self.answer)

        assert (measured.step, measured.clean, measured.images) == (7, 1.0, 60)
        assert measured.accuracy.shape == (9, 5)
        for kind, damage in enumerate(DAMAGES):
            read = self.answer(robustness.damaged(images, damage, damage.severities[3])).argmax(axis=1)
            assert measured.accuracy[kind, 3] == np.mean(read == labels)
        assert robustness.score(measured) == pytest.approx(measured.accuracy.mean())
        assert measured.accuracy[robustness.weakest(measured)].mean() == measured.accuracy.mean(axis=1).min()

    def test_it_shows_one_of_each_digit_at_every_severity(self, bars):
        images, labels = bars

        measured = robustness.measure(images, labels, 7, self.answer)

        assert measured.labels.tolist() == list(range(10))
        assert measured.samples.shape == (9, 6, 10, 28, 28)
        np.testing.assert_array_equal(measured.samples[4, 0], images[:10])
        np.testing.assert_array_equal(measured.readings[:, 0], np.tile(np.arange(10), (9, 1)))

    def test_it_tells_how_far_it_is_and_ends_where_that_raises(self, bars):
        shares = []

        def tell(share: float) -> None:
            shares.append(share)
            if len(shares) == 4:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            robustness.measure(*bars, 7, self.answer, tell)
        assert shares == [0, 1 / 45, 2 / 45, 3 / 45]

    def test_answers_that_are_no_numbers_are_no_digit(self, bars):
        with pytest.raises(NotExplainable, match="no numbers any more"):
            robustness.measure(*bars, 7, lambda images: np.full((len(images), 10), np.nan))

    def test_it_knows_the_images_that_it_is_of(self, bars):
        images, labels = bars
        measured = robustness.measure(images, labels, 7, self.answer)

        assert robustness.is_of(measured, images, labels)
        assert not robustness.is_of(measured, images[:30], labels[:30])
        assert not robustness.is_of(measured, 255 - images, labels)
        assert not robustness.is_of(measured, images[:, ::-1], labels[::-1])

    def test_it_is_kept_beside_the_run(self, bars, tiny):
        run = registry.create(tiny, "A run")
        measured = robustness.measure(*bars, 7, self.answer)

        Network(run, measured.step).keep_robustness(measured)
        kept = Network(run, 7).robustness()

        assert Network(run, 8).robustness() is None
        assert (kept.step, kept.clean, kept.images) == (7, 1.0, 60)
        for name in ("accuracy", "samples", "labels", "readings"):
            np.testing.assert_array_equal(getattr(kept, name), getattr(measured, name), strict=True)

    def test_damaged_answers_are_called_so(self, tiny):
        run = registry.create(tiny, "A run")
        run.folder.write_arrays(
            "robustness/00000007.npz", {"step": 7, "clean": 1.0, "images": 3, "accuracy": np.ones((9, 5))}
        )

        with pytest.raises(RunDamaged, match=r"robustness/00000007.npz"):
            Network(run, 7).robustness()


def test_those_chosen_are_spread_over_the_whole_set():
    assert len(robustness.chosen(10_000)) == 1000
    assert robustness.chosen(10_000)[[0, -1]].tolist() == [0, 9999]
    assert robustness.chosen(300).tolist() == list(range(300))
