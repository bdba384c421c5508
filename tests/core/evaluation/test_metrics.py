"""What probabilities say about a network is what scikit-learn and SciPy say, or what a sum by hand does."""

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import calibration as sklearn_calibration
from sklearn import metrics

from core.evaluation import metrics as evaluation

DIGITS = np.arange(10)


@pytest.fixture(scope="module", params=[0, 1, 2])
def answers(request) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a network that is right on about four images of five, and never says 3."""
    rng = np.random.default_rng(request.param)
    y_true = rng.integers(0, 10, 2000).astype(np.uint8)
    logits = rng.normal(0, 1, (2000, 10)) + 3 * np.eye(10)[y_true]
    logits[:, 3] = -20
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return y_true, (e / e.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def matrix(answers) -> np.ndarray:
    y_true, probabilities = answers
    return evaluation.confusion_matrix(y_true, probabilities.argmax(axis=1))


class TestShares:
    def test_the_matrix_is_that_of_scikit_learn(self, answers, matrix):
        y_true, probabilities = answers

        np.testing.assert_array_equal(
            matrix, metrics.confusion_matrix(y_true, probabilities.argmax(axis=1), labels=DIGITS)
        )

    def test_accuracy_top_two_and_loss_are_those_of_scikit_learn(self, answers):
        y_true, probabilities = answers
        y_pred, exact = probabilities.argmax(axis=1), probabilities.astype(float)

        assert evaluation.accuracy(y_true, probabilities) == pytest.approx(metrics.accuracy_score(y_true, y_pred))
        assert evaluation.top_accuracy(y_true, probabilities) == pytest.approx(
            metrics.top_k_accuracy_score(y_true, probabilities, k=2, labels=DIGITS)
        )
        clipped = np.clip(exact, 1e-7, 1 - 1e-7)
        assert evaluation.loss(y_true, probabilities) == pytest.approx(
            -np.log(clipped[np.arange(len(y_true)), y_true]).mean()
        )

    def test_the_loss_of_honest_probabilities_is_that_of_scikit_learn(self):
        rng = np.random.default_rng(3)
        y_true, probabilities = rng.integers(0, 10, 500), rng.dirichlet(np.ones(10) * 5, 500)

        assert evaluation.loss(y_true, probabilities) == pytest.approx(
            metrics.log_loss(y_true, probabilities, labels=DIGITS)
        )

    def test_scores_of_each_digit_are_those_of_scikit_learn(self, answers, matrix):
        y_true, probabilities = answers
        precision, recall, f1, support = metrics.precision_recall_fscore_support(
            y_true, probabilities.argmax(axis=1), labels=DIGITS, zero_division=np.nan
        )

        scores = evaluation.class_scores(matrix)

        assert np.isnan(scores.precision[3])  # never said
        assert scores.recall[3] == scores.f1[3] == 0
        np.testing.assert_allclose(scores.precision, precision)
        np.testing.assert_allclose(scores.recall, recall)
        np.testing.assert_allclose(scores.f1, np.where(np.isnan(f1), 0, f1))
        np.testing.assert_array_equal(scores.support, support)

    def test_probabilities_that_are_no_numbers_are_counted(self):
        probabilities = np.full((4, 10), 0.1, np.float32)
        probabilities[1], probabilities[3, 2] = np.nan, np.inf

        assert evaluation.without_answer(probabilities) == 2


class TestIntervals:
    @given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_wilsons_is_that_of_scipy(self, counted):
        hits, of = counted
        expected = stats.binomtest(hits, of).proportion_ci(0.95, method="wilson")

        np.testing.assert_allclose(evaluation.wilson(hits, of), [expected.low, expected.high], atol=1e-12)

    def test_of_nothing_there_is_none(self):
        assert np.isnan(evaluation.wilson(np.array([0, 1]), np.array([0, 2]))).tolist() == [
            [True, True],
            [False, False],
        ]

    def test_the_accuracys_holds_the_accuracy(self, answers):
        interval = evaluation.accuracy_interval(*answers)

        assert 0 < interval.low < evaluation.accuracy(*answers) < interval.high < 1

    def test_each_digits_hold_its_scores(self, matrix):
        scores, intervals = evaluation.class_scores(matrix), evaluation.class_intervals(matrix)

        for name in ("precision", "recall", "f1"):
            low, high = getattr(intervals, name).T
            value = getattr(scores, name)
            there = ~np.isnan(low)
            assert (low[there] <= value[there] + 1e-12).all()
            assert (value[there] <= high[there] + 1e-12).all()
        assert np.isnan(intervals.precision[3]).all()

    def test_f1s_holds_the_true_value_about_as_often_as_promised(self):
        rng, held = np.random.default_rng(0), 0
        shares = np.array([0.08, 0.02, 0.01, 0.89])  # both, missed, wrongly taken for it, neither
        truth = 2 * 0.08 / (2 * 0.08 + 0.03)
        for _ in range(400):
            both, missed, wrongly, neither = rng.multinomial(1000, shares)
            matrix = np.zeros((10, 10), int)
            matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1] = both, missed, wrongly, neither
            low, high = evaluation.class_intervals(matrix).f1[0]
            held += low <= truth <= high

        assert 0.92 <= held / 400 <= 0.98


class TestCalibration:
    def test_the_bins_are_those_of_scikit_learn(self, answers):
        y_true, probabilities = answers
        is_right = probabilities.argmax(axis=1) == y_true
        right, confidence = sklearn_calibration.calibration_curve(
            is_right, probabilities.max(axis=1).astype(float), n_bins=15, strategy="uniform"
        )

        found = evaluation.calibration(y_true, probabilities)
        there = found.counts > 0

        np.testing.assert_allclose(found.accuracy[there], right)
        np.testing.assert_allclose(found.confidence[there], confidence)
        assert found.counts.sum() == len(y_true)

    def test_the_error_by_hand(self):
        probabilities = np.zeros((4, 10))
        probabilities[:, 1] = [0.9, 0.9, 0.6, 0.6]
        probabilities[:, 0] = 1 - probabilities[:, 1]
        y_true = np.array([1, 1, 1, 0])

        found = evaluation.calibration(y_true, probabilities, bins=10)

        # Two images at 0.9, both right; two at 0.6, half of them right.
        assert found.error == pytest.approx(2 / 4 * 0.1 + 2 / 4 * 0.1)

    def test_a_bin_holds_its_upper_edge(self):
        probabilities = np.zeros((1, 10))
        probabilities[0, :2] = 0.5

        assert evaluation.calibration(np.array([0]), probabilities, bins=2).counts.tolist() == [1, 0]

    def test_one_who_is_always_sure_and_right_has_no_error(self):
        assert evaluation.calibration(DIGITS, np.eye(10)).error == 0


class TestAbstention:
    def test_answering_all_it_is_as_accurate_as_it_is(self, answers):
        found = evaluation.abstention(*answers)

        assert found.coverage[-1] == 1
        assert found.accuracy[-1] == evaluation.accuracy(*answers)

    def test_at_each_threshold_it_is_the_accuracy_of_those_above(self, answers):
        y_true, probabilities = answers
        confidence, found = probabilities.max(axis=1), evaluation.abstention(*answers)

        for k in range(0, len(found.coverage), 97):
            answered = confidence >= found.threshold[k]
            assert found.coverage[k] == answered.mean()
            assert found.accuracy[k] == evaluation.accuracy(y_true[answered], probabilities[answered])

    def test_images_equally_sure_go_together(self):
        probabilities = np.zeros((4, 10))
        probabilities[:, 0], probabilities[:, 1] = [0.9, 0.6, 0.6, 0.6], [0.1, 0.4, 0.4, 0.4]

        found = evaluation.abstention(np.array([0, 0, 0, 1]), probabilities)

        assert found.coverage.tolist() == [0.25, 1]
        assert found.accuracy.tolist() == [1, 0.75]


class TestMistakes:
    def test_the_surest_come_first(self, answers):
        y_true, probabilities = answers

        found = evaluation.mistakes(y_true, probabilities)

        assert (probabilities[found].argmax(axis=1) != y_true[found]).all()
        assert (np.diff(probabilities[found].max(axis=1)) <= 0).all()
        assert len(found) == round((1 - evaluation.accuracy(y_true, probabilities)) * len(y_true))

    def test_the_least_sure_are_those_with_two_classes_alike(self):
        probabilities = np.zeros((3, 10))
        probabilities[:, :2] = [[0.9, 0.1], [0.5, 0.5], [0.4, 0.6]]

        assert evaluation.least_sure(probabilities).tolist() == [1, 2, 0]

    def test_the_two_leading_classes_with_their_probabilities(self):
        probabilities = np.zeros((2, 10))
        probabilities[0, [4, 9]], probabilities[1, [0, 7]] = [0.3, 0.7], [0.5, 0.5]

        classes, shares = evaluation.leading_two(probabilities)

        assert classes.tolist() == [[9, 4], [0, 7]]
        assert shares.tolist() == [[0.7, 0.3], [0.5, 0.5]]

    def test_the_commonest_confusions_come_first(self):
        matrix = 10 * np.eye(10, dtype=int)
        matrix[4, 9], matrix[3, 5], matrix[7, 2] = 3, 5, 3

        assert evaluation.confusions(matrix, most=2) == [(3, 5, 5), (4, 9, 3)]
        assert evaluation.confusions(10 * np.eye(10, dtype=int)) == []

    def test_a_cells_images_are_those_of_the_matrix(self, answers, matrix):
        for true, predicted in ((4, 9), (5, 5)):
            found = evaluation.images_of_cell(*answers, true, predicted)

            assert len(found) == matrix[true, predicted]
            assert (np.diff(answers[1][found, predicted]) <= 0).all()


class TestLabelErrors:
    """A network that knows the truth looks at labels of which some were changed."""

    @pytest.fixture
    def changed(self):
        rng = np.random.default_rng(5)
        truth = rng.integers(0, 10, 3000)
        logits = rng.normal(0, 1, (3000, 10)) + 7 * np.eye(10)[truth]
        e = np.exp(logits)
        labels = truth.copy()
        where = rng.choice(3000, 60, replace=False)
        labels[where] = (labels[where] + rng.integers(1, 10, 60)) % 10
        return labels, e / e.sum(axis=1, keepdims=True), set(where.tolist())

    def test_the_changed_ones_are_found(self, changed):
        labels, probabilities, where = changed

        found = evaluation.suspected_label_errors(labels, probabilities)

        assert len(where & set(found.tolist())) >= 45  # of 60: a threshold that is a mean is not for all
        assert len(set(found[:30].tolist()) - where) == 0
        assert len(found) <= 75

    def test_by_hand(self):
        probabilities = np.zeros((5, 10))
        probabilities[:, 0], probabilities[:, 1] = [0.9, 0.7, 0.1, 0.3, 0.45], [0.1, 0.3, 0.9, 0.7, 0.55]
        y_true = np.array([0, 0, 0, 1, 1])

        # Thresholds: (0.9 + 0.7 + 0.1) / 3 = 0.567 for a 0 and (0.7 + 0.55) / 2 = 0.625 for a 1.
        assert evaluation.suspected_label_errors(y_true, probabilities).tolist() == [2]

    def test_it_counts_as_the_confident_joint_does(self, changed):
        labels, probabilities, _ = changed
        thresholds = np.array([probabilities[labels == k, k].mean() for k in range(10)])
        joint = np.zeros((10, 10), int)
        for label, row in zip(labels, probabilities, strict=True):
            sure = np.flatnonzero(row >= thresholds)
            if len(sure):
                joint[label, sure[row[sure].argmax()]] += 1

        assert len(evaluation.suspected_label_errors(labels, probabilities)) == joint.sum() - np.trace(joint)

    def test_a_network_that_always_says_the_same_accuses_no_one(self):
        probabilities = np.tile(np.float32([0.55, *[0.05] * 9]), (100, 1))

        assert evaluation.suspected_label_errors(np.arange(100) % 10, probabilities).tolist() == []

    def test_a_class_without_images_accuses_no_one(self):
        probabilities = np.full((2, 10), 0.05)
        probabilities[:, 3] = 0.55

        assert evaluation.suspected_label_errors(np.array([0, 0]), probabilities).tolist() == []


class TestMcNemar:
    @given(st.integers(0, 400), st.integers(0, 400))
    def test_p_is_that_of_scipys_binomial_test(self, first, second):
        is_right = np.zeros((2, first + second + 7), bool)
        is_right[0, :first] = is_right[1, first : first + second] = True

        found = evaluation.mcnemar(*is_right)

        expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
        assert (found.only_first, found.only_second, found.images) == (first, second, first + second + 7)
        assert found.p == pytest.approx(expected, rel=1e-9)

    def test_few_differences_are_within_chance(self):
        first, second = np.array([True] * 5 + [False] * 3), np.array([False] * 5 + [True] * 3)

        assert evaluation.mcnemar(first, second).is_within_chance

    def test_many_that_all_go_one_way_are_not(self):
        first, second = np.ones(10, bool), np.zeros(10, bool)

        assert evaluation.mcnemar(first, second).p == 2 / 2**10
        assert not evaluation.mcnemar(first, second).is_within_chance

    def test_ten_thousand_differences_are_no_trouble(self):
        assert math.isclose(evaluation.mcnemar(np.arange(10_000) % 2 == 0, np.arange(10_000) % 2 == 1).p, 1.0)


class TestTable:
    def test_it_holds_every_figure_once(self, answers):
        y_true, probabilities = answers

        rows = list(csv.DictReader(io.StringIO(evaluation.table(y_true, probabilities))))
        by_name = {(row["figure"], row["of"]): row for row in rows}

        assert float(by_name["accuracy", "all"]["value"]) == pytest.approx(
            evaluation.accuracy(y_true, probabilities), rel=1e-5
        )
        assert float(by_name["expected calibration error", "all"]["value"]) == pytest.approx(
            evaluation.calibration(y_true, probabilities).error, rel=1e-5
        )
        assert by_name["precision", "digit 3"]["value"] == ""
        assert sum(int(row["value"]) for row in rows if row["figure"] == "count") == len(y_true)
        assert len([row for row in rows if row["of"].startswith("surest")]) == 100
        assert "nan" not in evaluation.table(y_true, probabilities)

    def test_it_can_be_made_for_one_digit_always_said(self):
        assert evaluation.table(DIGITS, np.eye(10)[np.zeros(10, int)]).startswith("figure,of,value,low,high,images\n")
