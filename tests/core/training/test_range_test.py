"""A range test's curve, whatever its shape, leads to a learning rate that one would pick by eye, or to none."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.specs import Training, replaced
from core.training.range_test import STEPS, RangeTest, learning_rates, smoothed, suggestion

RECORDED = Path(__file__).parent / "histories" / "range_test_first_cnn.json"
"""Of First CNN on 54,000 images, with seed 0."""


def curve(losses: np.ndarray | list[float]) -> RangeTest:
    """A range test that ended where these losses do."""
    return RangeTest(learning_rates()[: len(losses)], np.array(losses, np.float32))


def falling(steepest: float, explodes_at: float = math.inf, floor: float = 0.5) -> np.ndarray:
    """The loss of a guess, falling to `floor` most steeply at one rate, growing with the rate from another on, (100,)."""
    rates = learning_rates().astype(np.float64)
    fallen = floor + (math.log(10) - floor) / (1 + (rates / steepest) ** 1.5)
    return fallen + np.maximum(rates / explodes_at - 1, 0)


class TestSmoothed:
    def test_weighs_each_loss_by_how_long_ago_it_was(self):
        """By hand, with weights 1, 1/2, 1/4 from the last one back."""
        expected = [4.0, (4.0 / 2 + 1.0) / (1 / 2 + 1), (4.0 / 4 + 1.0 / 2 + 3.0) / (1 / 4 + 1 / 2 + 1)]

        np.testing.assert_allclose(smoothed(np.array([4.0, 1.0, 3.0]), beta=0.5), expected)

    @given(st.floats(0, 100), st.integers(1, 200), st.floats(0, 0.99))
    def test_leaves_what_is_level_as_it_is(self, level, count, beta):
        np.testing.assert_allclose(smoothed(np.full(count, level), beta), level, atol=1e-9)

    def test_takes_most_of_the_noise_away(self):
        noise = np.random.default_rng(0).normal(2.3, 0.1, 1000)

        assert smoothed(noise)[20:].std() == pytest.approx(0.1 * math.sqrt((1 - 0.8) / (1 + 0.8)), rel=0.15)

    def test_ends_where_the_losses_are_no_numbers_any_more(self):
        np.testing.assert_array_equal(np.isnan(smoothed(np.array([1.0, 2.0, np.nan, 1.0]))), [False, False, True, True])

    def test_of_nothing_is_empty(self):
        assert smoothed(np.zeros(0)).shape == (0,)


class TestSuggestion:
    @pytest.mark.parametrize("steepest", [1e-4, 1e-3, 1e-2])
    def test_is_near_the_steepest_descent_where_the_minimum_is_broad(self, steepest):
        rate = suggestion(curve(falling(steepest, explodes_at=1000 * steepest)))

        assert steepest / 1.5 <= rate <= 3 * steepest

    @pytest.mark.parametrize("explodes_at", [1e-3, 1e-2, 1e-1])
    def test_keeps_a_factor_of_ten_away_from_the_minimum(self, explodes_at):
        losses = falling(explodes_at / 2, explodes_at)
        lowest = learning_rates()[losses.argmin()]

        assert suggestion(curve(losses)) <= lowest / 10 * 4

    @pytest.mark.parametrize("ending", [[math.nan] * 20, [math.inf] * 20, [5.0, 50.0, math.nan, 0.0, 0.0]])
    def test_heeds_nothing_after_the_explosion(self, ending):
        losses = falling(1e-3)[:70]

        assert suggestion(curve([*losses, *ending])) == suggestion(curve(losses))

    @pytest.mark.parametrize("seed", range(5))
    def test_noise_moves_it_little(self, seed):
        noise = np.random.default_rng(seed).normal(0, 0.05, STEPS)
        plain = falling(1e-3, explodes_at=0.1)

        assert 0.4 <= suggestion(curve(plain + noise)) / suggestion(curve(plain)) <= 2.5

    @pytest.mark.parametrize("seed", range(5))
    def test_there_is_none_where_nothing_falls(self, seed):
        noise = np.random.default_rng(seed).normal(0, 0.05, STEPS)

        assert suggestion(curve(math.log(10) + noise)) is None
        assert suggestion(curve(math.log(10) + np.linspace(0, 5, STEPS) + noise)) is None
        assert suggestion(curve(np.zeros(STEPS))) is None

    @pytest.mark.parametrize(
        "losses",
        [[], [2.3], [math.nan], [math.nan] * 5, [2.3, math.nan], [2.3, 9.0, 80.0, 700.0, math.inf]],
        ids=["empty", "one", "one not finite", "none finite", "one finite", "explodes at once"],
    )
    def test_there_is_none_where_it_ended_at_once(self, losses):
        assert suggestion(curve(losses)) is None

    def test_a_short_test_that_falls_has_one(self):
        assert suggestion(curve([2.3, 1.0])) == pytest.approx(1e-7)

    def test_a_loss_that_falls_to_the_end_has_one_below_the_highest_rate(self):
        assert suggestion(curve(np.linspace(2.3, 0.1, STEPS))) <= 1.0

    @given(st.lists(st.floats(0, 1000) | st.just(math.nan) | st.just(math.inf), max_size=STEPS))
    def test_is_always_round_and_a_learning_rate_that_can_be_set(self, losses):
        rate = suggestion(curve(losses))

        if rate is not None:
            assert f"{rate:.0e}"[0] in "125"
            assert f"{rate:.0e}" == f"{rate:.6e}".replace(".000000", "")
            assert replaced(Training(), learning_rate=rate).learning_rate == rate

    def test_for_first_cnn_it_is_the_rate_that_everyone_takes(self):
        recorded = json.loads(RECORDED.read_text())

        assert suggestion(RangeTest(*(np.array(values, np.float32) for values in recorded.values()))) == 0.001
