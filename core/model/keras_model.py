"""Spec -> compiled Keras model. The only file that constructs layers.

Imports TensorFlow: only worker processes may import this module.
"""

# `seed_layers` is copied into scripts as it stands, so what a checker is told of it stands here.
# pyright: reportOptionalMemberAccess=false, reportOptionalCall=false
from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from core.errors import RunDamaged
from core.model import ledger, specs

# Layers that give out what they take, but for scale, outside training.
UNCHANGING = (
    keras.layers.InputLayer,
    keras.layers.Rescaling,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
)


def build(experiment: specs.Experiment) -> keras.Model:
    """Build the network of an experiment with its initial weights, compiled with its optimizer and loss.

    Args:
        experiment: layers and training; its seed decides the initial weights.

    Returns:
        A model from (batch, 28, 28, 1) raw pixels 0..255 of any numeric dtype to (batch, 10) probabilities, float32.

    Raises:
        SpecError: if the stack can't be built.
    """
    ledger.check(experiment)
    x = inputs = keras.Input(specs.IMAGE_SHAPE, name=specs.INPUT_NAME)
    x = keras.layers.Rescaling(1 / 255, name="rescaling")(x)
    for index, layer in enumerate(experiment.layers, start=1):
        x = _apply(layer, f"{index:02d}_{layer.kind.lower()}", x)
    outputs = keras.layers.Dense(specs.CLASSES, activation="softmax", name="probabilities")(x)
    model = keras.Model(inputs, outputs)
    seed_layers(model, experiment.training.seed)
    model.compile(_optimizer(experiment.training), _loss(experiment.training), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def seed_layers(model: keras.Model, seed: int) -> None:
    """Draw the initial weights, and what dropout begins with, from `seed` alone.

    Left to itself, Keras takes a seed for each layer from Python's `random`, where anything else in the process may draw, too.
    """
    seeds = np.random.default_rng((seed, 0))
    for layer in model.layers:
        for variable in layer.weights:
            initializer = getattr(layer, variable.name.removesuffix("_kernel") + "_initializer", None)
            if hasattr(initializer, "seed"):
                initializer.seed = int(seeds.integers(2**31))
                variable.assign(initializer(variable.shape))
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign([seeds.integers(2**31), 0])


def warm_up() -> None:
    """Load what the first training and the first prediction need, so that neither waits for it."""
    inputs = keras.Input(specs.IMAGE_SHAPE)
    outputs = keras.layers.Dense(specs.CLASSES)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, outputs).predict_on_batch(tf.zeros((1, *specs.IMAGE_SHAPE)))


def _apply(layer: specs.LayerSpec, name: str, x: keras.KerasTensor) -> keras.KerasTensor:
    """Return the output of `layer` for `x`.

    A layer's kind is the name of Keras' class, and its fields are that class' arguments. Other kinds are blocks of such
    layers.
    """
    if isinstance(layer, specs.Block):
        shape = x.shape[1:]
        main, shortcut = (
            _chain(way, f"{name}_{way_name}", x)
            for way_name, way in (("main", layer.main(shape)), ("shortcut", layer.shortcut(shape)))
        )
        return _chain(layer.after(shape), name, keras.layers.Add(name=name)([main, shortcut]))
    return getattr(keras.layers, layer.kind)(**_arguments(layer), name=name)(x)


def _chain(layers: tuple[specs.LayerSpec, ...], name: str, x: keras.KerasTensor) -> keras.KerasTensor:
    for index, layer in enumerate(layers, start=1):
        x = _apply(layer, f"{name}_{index}_{layer.kind.lower()}", x)
    return x


def _arguments(layer: specs.LayerSpec) -> dict[str, object]:
    """Return a layer's fields as Keras' arguments; a regularizer's strength becomes the regularizer."""
    arguments = layer.model_dump(exclude={"kind"})
    for name, value in arguments.items():
        if name.endswith("_regularizer"):
            arguments[name] = keras.regularizers.L2(value) if value else None
    return arguments


def set_dropout(model: keras.Model, rate: float) -> bool:
    """Give every dropout layer that drops anything another rate, 0..1; whether there is one. A layer built with rate 0 has
    no random numbers to draw from, and stays."""
    droppers = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Dropout | keras.layers.SpatialDropout2D) and hasattr(layer, "seed_generator")
    ]
    for layer in droppers:
        layer.rate = rate
    return bool(droppers)


def _optimizer(training: specs.Training) -> keras.optimizers.Optimizer:
    arguments = training.optimizer.model_dump(exclude={"kind"})
    return getattr(keras.optimizers, training.optimizer.kind)(learning_rate=training.learning_rate, **arguments)


def _loss(training: specs.Training) -> keras.losses.Loss:
    if training.label_smoothing:
        return keras.losses.CategoricalCrossentropy(label_smoothing=training.label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy()


def variables(model: keras.Model) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Return copies of the whole state of a training.

    Returns:
        The network's variables by name (weights, statistics, random generators), and the optimizer's in its own order.
    """
    weights = {name: np.array(variable.numpy()) for name, variable in _named_variables(model).items()}
    return weights, [np.array(variable.numpy()) for variable in model.optimizer.variables]


def set_variables(
    model: keras.Model, weights: dict[str, np.ndarray], optimizer: list[np.ndarray] | None = None
) -> None:
    """Give a network built from the same experiment the state that `variables` took.

    Raises:
        RunDamaged: if names or shapes are not those of this network.
    """
    own = _named_variables(model)
    if {name: values.shape for name, values in weights.items()} != {name: tuple(v.shape) for name, v in own.items()}:
        raise RunDamaged("The checkpoint is another network's: its weights have other names or shapes. Train again.")
    for name, values in weights.items():
        own[name].assign(values)
    if optimizer is not None:
        if [values.shape for values in optimizer] != [tuple(v.shape) for v in model.optimizer.variables]:
            raise RunDamaged("The checkpoint is another training's: its optimizer has other numbers. Train again.")
        for variable, values in zip(model.optimizer.variables, optimizer, strict=True):
            variable.assign(values)


def _named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the variables by names that are the same in every process. Keras' own paths are not: they count random
    generators.
    """
    return {
        f"{layer.name}.{index}.{variable.name}": variable
        for layer in model.layers
        for index, variable in enumerate(layer.variables)
    }
