"""Temperature scaling, which makes probabilities agree with how often the network is right.

The network's logits are divided by one number, the temperature, chosen to make the labels of held-out images likeliest;
half of these images are redrawn first, so that it fits drawings too. Source: Guo et al. 2017, On Calibration of Modern
Neural Networks, arXiv:1706.04599.
"""

from __future__ import annotations

import numpy as np

TEMPERATURES = np.geomspace(0.1, 10, 93)


def temperature(logits: np.ndarray, y_true: np.ndarray) -> float:
    """Return what to divide logits (n, 10) by, so that the right answers (n,) are likeliest: one of `TEMPERATURES`."""
    losses = []
    for one in TEMPERATURES:
        scaled = logits / one
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        losses.append(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(y_true)), y_true]))
    return float(TEMPERATURES[int(np.argmin(losses))])


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits (n, 10): probabilities, rows of which sum to 1."""
    from scipy.special import softmax  # a fifth of a second, for which the first page need not wait

    return softmax(logits, axis=1)
