"""Runs whose networks at each step are others, as if they had learned in between."""

import numpy as np

from core.model import specs
from core.runs import registry
from core.runs.contents import Checkpoint
from core.runs.run import Run


def network(experiment: specs.Experiment, step: int):
    """Another network for every step, as if it had learned in between."""
    from core.model import keras_model

    return keras_model.build(specs.replaced(experiment, training=specs.replaced(experiment.training, seed=step)))


def made(experiment: specs.Experiment, *steps: int) -> Run:
    """A run with checkpoints at these steps."""
    from core.model import keras_model

    run = registry.create(experiment, "A run")
    for step in steps:
        run.write_weights(Checkpoint(step, keras_model.variables(network(experiment, step))[0], None))
    return run


def probabilities(experiment: specs.Experiment, step: int, images: np.ndarray) -> np.ndarray:
    return network(experiment, step).predict_on_batch(images[..., None])
