"""The predictions for drawings, and the fit of calibration and rejection if a network has none yet."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np

from core.engine import engine
from core.errors import EngineError, RunError
from core.evaluation.questions import Read
from core.evaluation.rejection import FitRejection, Reading
from core.runs.network import Network


def read(network: Network, images: np.ndarray) -> list[Reading]:
    """Return a network's predictions for images (n, 28, 28) uint8, and whether they are digits at all. Waits, and raises, as
    `Engine.wait`.

    The first time it also has the network judged, if its training is over, which takes a few seconds in the background; until
    then probabilities are not calibrated, and everything is a digit.
    """
    found = engine.shared().wait(Read(network, images))
    if found and math.isnan(found[0].ood_score):
        with suppress(EngineError, RunError):  # its probabilities stay uncalibrated; the next prediction asks again
            if engine.shared().progress(network.run).state.is_over:
                engine.shared().ask(FitRejection(network))
    return found
