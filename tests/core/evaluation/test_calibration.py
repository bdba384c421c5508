"""Probabilities mean what they say once logits are divided by the right temperature."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.evaluation import calibration


class TestTemperature:
    @pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
    def test_that_by_which_logits_were_scaled_is_found(self, true):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 2, (20_000, 10))
        y_true = (calibration.probabilities(logits).cumsum(axis=1) < rng.random((len(logits), 1))).sum(axis=1)

        assert calibration.temperature(logits * true, y_true) == pytest.approx(true, rel=0.06)

    @given(arrays.arrays(np.float64, (3, 10), elements=st.floats(-500, 500)))
    def test_probabilities_add_up_and_keep_their_order(self, logits):
        probabilities = calibration.probabilities(logits)

        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert (np.diff(np.take_along_axis(probabilities, logits.argsort(axis=1), axis=1), axis=1) >= 0).all()
