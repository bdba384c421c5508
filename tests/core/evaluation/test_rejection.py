"""Pictures that are no digits are told from those that are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from core.data import datasets
from core.evaluation import calibration, rejection
from core.evaluation.rejection import Inside, Reading
from core.runs.network import Network

SEVEN = Reading(np.float32([0.01] * 7 + [0.91] + [0.01] * 2), -1.0, True, "")
NOTHING = Reading(np.full(10, 0.1, np.float32), 2.0, False, "No digit comes near it: the nearest would be a 3.")


def _clouds(rng: np.random.Generator, count: int, dimensions: int = 40) -> tuple[Inside, np.ndarray]:
    """Maps of ten classes, each in a plane of its own but for a little noise, logits that tell them apart, and the classes."""
    planes = np.random.default_rng(5).normal(size=(10, 3, dimensions))
    y = rng.integers(10, size=count)
    maps = np.einsum("nk,nkd->nd", rng.normal(size=(count, 3)), planes[y]) + rng.normal(0, 0.1, (count, dimensions))
    logits = 8 * np.eye(10)[y] + rng.normal(0, 1, (count, 10))
    return Inside(maps.astype(np.float32), np.zeros((count, 0), np.float32), logits.astype(np.float32)), y


class TestScores:
    def test_what_lies_outside_a_class_subspace_is_what_its_principal_components_leave(self):
        maps = np.random.default_rng(0).normal(size=(200, 60)).astype(np.float32)
        pca = PCA(rejection.DIRECTIONS, svd_solver="full").fit(maps)
        left = ((maps - pca.inverse_transform(pca.transform(maps))) ** 2).sum(axis=1)

        centre, directions = rejection._subspace(maps)

        np.testing.assert_allclose(rejection._residuals(maps, centre, directions), left, rtol=1e-3)

    def test_the_weights_are_those_of_logistic_regression(self):
        rng = np.random.default_rng(0)
        digits, others = rng.normal(0, 1, (400, 3)), rng.normal([1, 0.5, -0.5], 1, (100, 3))
        x, y = np.concatenate([digits, others]), np.repeat([0, 1], [400, 100])
        oracle = LogisticRegression(class_weight="balanced", C=1e6).fit(x, y)

        np.testing.assert_allclose(rejection.logistic_regression(digits, others), oracle.coef_[0], rtol=0.01)

    def test_digits_are_accepted_and_what_is_like_no_class_is_refused(self):
        rng = np.random.default_rng(1)
        known, unseen, later = (_clouds(rng, 1500) for _ in range(3))
        strange = Inside(*(rng.normal(0, 2, (500, width)).astype(np.float32) for width in (40, 0, 10)))

        fitted = rejection.fit(*known, *unseen, strange)

        assert (fitted.ood_score(later[0]) <= 0).mean() == pytest.approx(rejection.ACCEPTED, abs=0.02)
        assert (fitted.ood_score(strange) > 0).mean() > 0.99

    def test_a_class_that_is_missing_is_no_obstacle(self):
        all_classes, y = _clouds(np.random.default_rng(2), 600)
        few = y != 3
        seen = Inside(all_classes.maps[few], all_classes.features[few], all_classes.logits[few])
        strange = Inside(all_classes.maps[:50] * 9, all_classes.features[:50], all_classes.logits[:50] * 0)

        fitted = rejection.fit(seen, y[few], seen, y[few], strange)

        assert np.isfinite(fitted.ood_score(all_classes)).all()


class TestOfADrawing:
    def test_an_empty_sheet_is_no_digit_whatever_was_read(self):
        found = rejection.of_drawing(np.zeros((280, 280), np.float32), SEVEN)

        assert not found.is_digit
        assert found.reason == "There is nothing drawn yet."

    def test_a_digit_stays_one(self):
        assert rejection.of_drawing(np.ones((280, 280), np.float32), SEVEN) == SEVEN

    @pytest.mark.parametrize("reading", [SEVEN, NOTHING], ids=["read as a digit", "refused"])
    def test_two_that_stand_apart_are_no_digit_whatever_was_read(self, reading):
        ink = np.zeros((280, 280), np.float32)
        ink[100:180, 60:70] = ink[100:180, 200:210] = 1

        found = rejection.of_drawing(ink, reading)

        assert not found.is_digit
        assert found.reason.startswith("There seem to be 2 digits")

    def test_a_low_part_beside_a_digit_is_no_second_one(self):
        ink = np.zeros((280, 280), np.float32)
        ink[60:220, 60:70] = ink[180:220, 200:210] = 1

        assert rejection.of_drawing(ink, SEVEN).is_digit

    @pytest.mark.parametrize("reading", [SEVEN, NOTHING], ids=["read as a digit", "refused"])
    def test_a_pattern_is_no_digit_and_is_told_from_one(self, reading):
        ink = np.zeros((280, 280), np.float32)
        ink[::4, ::4] = 1

        found = rejection.of_drawing(ink, reading)

        assert not found.is_digit
        assert found.reason.startswith("The ink is in 4,900 pieces: expected digits")

    def test_else_the_reading_stands(self):
        ink = np.zeros((280, 280), np.float32)
        ink[60:220, 130:150] = 1

        assert rejection.of_drawing(ink, NOTHING) == NOTHING

    def test_doubt_between_two_is_named(self):
        assert "a 4 and something of a 9" in rejection._reason(np.float32([0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.4]))
        assert "nearest would be a 8" in rejection._reason(np.float32([0.1] * 8 + [0.2 * 8, 0]))


class TestOfTheShippedNetwork:
    @pytest.fixture(autouse=True)
    def _in_this_process(self, shipped):
        self.network = Network(shipped, shipped.steps()[0])

    def test_most_digits_are_accepted_and_its_confidence_is_right(self):
        digits = datasets.load()
        if digits.is_stand_in:
            pytest.skip("it was fitted for MNIST")

        readings = rejection.read(self.network, digits.x_test)

        sure = np.mean([reading.probabilities.max() for reading in readings])
        right = np.mean([r.probabilities.argmax() == y for r, y in zip(readings, digits.y_test, strict=True)])
        assert np.mean([reading.is_digit for reading in readings]) >= 0.95
        assert sure == pytest.approx(right, abs=0.02)

    def test_of_an_unsure_picture_the_surest_of_three_looks_counts(self):
        images = datasets.load().x_test[:1500]
        every = [ndimage.rotate(images, angle, (2, 1), reshape=False, order=1) for angle in (0, -6, 6)]
        fitted = rejection._kept(self.network)
        looks = np.stack(
            [calibration.probabilities(rejection._look(self.network, x).logits / fitted.temperature) for x in every]
        )
        sure = looks.max(axis=2)
        surest = np.where(sure[0] >= rejection.SURE, 0, sure.argmax(axis=0))

        readings = rejection.read(self.network, images)

        assert np.count_nonzero(surest) > 0
        assert [one.probabilities.argmax() for one in readings] == [looks[k, n].argmax() for n, k in enumerate(surest)]

    def test_a_chessboard_is_refused_with_a_reason(self):
        board = (np.indices((28, 28)).sum(axis=0) // 4 % 2 * 255).astype(np.uint8)

        (reading,) = rejection.read(self.network, board[None])

        assert not reading.is_digit
        assert reading.ood_score > 0
        assert reading.reason

    def test_without_its_judgement_everything_is_a_digit(self, shipped):
        shipped.folder.remove("judgements")

        (reading,) = rejection.read(self.network, np.zeros((1, 28, 28), np.uint8))

        assert reading.is_digit
        assert np.isnan(reading.ood_score)
        assert reading.reason == ""

    def test_it_is_judged_again_by_the_job(self, shipped, monkeypatch, dataset):
        shipped.folder.remove("judgements")
        monkeypatch.setattr(datasets, "_loaded", dataset)
        told: list[float] = []

        assert rejection.FitRejection(self.network, images=300).work(told.append)

        assert told == sorted(told)
        assert Network(shipped, shipped.steps()[0]).rejection()["temperature"] > 0
        (reading,) = rejection.read(self.network, dataset.x_test[:1])
        assert np.isfinite(reading.ood_score)

    def test_pictures_are_drawn_once_for_all_networks_trained_on_the_same_images(self, shipped, monkeypatch, dataset):
        monkeypatch.setattr(datasets, "_loaded", dataset)
        asked = rejection.FitRejection(self.network, images=300)
        asked.work(lambda share: None)
        first = self.network.rejection()
        monkeypatch.setattr(rejection.redraw, "redrawn", None)

        asked.work(lambda share: None)

        for name, value in self.network.rejection().items():
            np.testing.assert_array_equal(value, first[name])
        with pytest.raises(TypeError):  # other pictures would have to be drawn
            rejection.FitRejection(self.network, images=299).work(lambda share: None)
