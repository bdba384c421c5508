"""The inside of a network: gradients, dead units, kernels, feature maps.

Everything runs eagerly, on one batch or one image, so that nothing has to be compiled first.

Imports TensorFlow: only worker processes may import this module.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from core.explain.arithmetic import Form, Layer
from core.model import keras_model, specs
from core.runs.progress import Snapshot

MOST_KERNELS = 32
MOST_MAPS = 8  # per layer


class Inspector:
    """A look into one network, as its weights are at the time."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        self._answers = keras.Model(network.input, {layer.name: layer.output for layer in network.layers})

    def snapshot(
        self,
        step: int,
        images: np.ndarray,
        labels: np.ndarray,
        image: np.ndarray,
        drawing: bytes = b"",
        digit: int = 7,
    ) -> Snapshot:
        """Take a snapshot of the network for a batch and for one image, with its prediction for a drawing.

        Args:
            step: number of batches trained so far.
            images: the batch, (n, 28, 28, 1) uint8.
            labels: its digits, (n,) integers.
            image: the one whose feature maps are wanted, (28, 28) uint8.
            drawing: the 784 bytes of another image, (28, 28) uint8, to be classified; none if empty.
            digit: the digit of `image`, as it was asked for.
        """
        weighty = [layer for layer in self._network.layers if layer.trainable_variables]
        weights = [layer.trainable_variables[0].value for layer in weighty]
        with tf.GradientTape() as tape:
            answers = self._answers(images, training=False)
            probabilities = answers[self._network.layers[-1].name]
            # A tensor of Keras' other backends is none of ours.
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))  # pyright: ignore[reportArgumentType]
        gradients = tape.gradient(loss, weights)
        return Snapshot(
            step=step,
            gradient_norms={
                layer.name: float(tf.norm(gradient)) for layer, gradient in zip(weighty, gradients, strict=True)
            },
            dead={name: _dead_share(answers[name].numpy()) for name in _relus(self._network)},
            kernels=self.kernels(),
            image=image,
            maps=self.feature_maps(image),
            drawing=drawing,
            reading=self._reading(drawing) if drawing else None,
            digit=digit,
        )

    def answers(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the output of every layer for one image, (28, 28) uint8: by name and in order, float32 without the
        batch axis.
        """
        answers = self._answers(image[None, ..., None], training=False)
        return {layer.name: np.asarray(answers[layer.name], np.float32)[0] for layer in self._network.layers}

    def _reading(self, drawing: bytes) -> np.ndarray:
        image = np.frombuffer(drawing, np.uint8).reshape(1, *specs.IMAGE_SHAPE)
        return self._network(image, training=False).numpy()[0]

    def kernels(self) -> np.ndarray:
        """Return the first convolution's kernels for its first channel, (n, k, k) float32, at most 32; (0, 0, 0)
        without one.
        """
        for layer in self._network.layers:
            for variable in layer.trainable_variables[:1]:
                if len(variable.shape) == 4:
                    values = variable.numpy()[:, :, 0, :]
                    return np.moveaxis(values, 2, 0)[:MOST_KERNELS].copy()
        return np.zeros((0, 0, 0), np.float32)

    def feature_maps(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the feature maps of every layer whose output is an image.

        Args:
            image: (28, 28) uint8.

        Returns:
            Layer name -> (n, h, w) uint8, n at most 8: absolute values, scaled so that each layer's largest is 255.
                Layers that change
            nothing outside training are left out.
        """
        answers = self._answers(image[None, ..., None], training=False)
        return {
            name: _visible(answer.numpy()[0])
            for name, answer in answers.items()
            if len(answer.shape) == 4 and not isinstance(self._network.get_layer(name), keras_model.UNCHANGING)
        }


def warm_up() -> None:
    """Load what the first look needs, so that it takes no longer than the next."""
    image = np.zeros(specs.IMAGE_SHAPE, np.uint8)
    network = keras_model.build(specs.Experiment(layers=(specs.Conv2D(filters=1), specs.Flatten())))
    Inspector(network).snapshot(0, image[None], np.zeros(1, np.int64), image[..., 0])


def _relus(network: keras.Model) -> list[str]:
    return [layer.name for layer in network.layers if getattr(layer, "activation", None) is keras.activations.relu]


def _dead_share(answers: np.ndarray) -> float:
    """Share of the units, or of the channels of an image, that are zero for the whole batch."""
    return float(np.mean(~answers.reshape(-1, answers.shape[-1]).any(axis=0)))


def _visible(maps: np.ndarray) -> np.ndarray:
    shown = np.abs(np.moveaxis(maps[..., :MOST_MAPS], 2, 0))
    largest = shown.max()
    if not np.isfinite(largest) or largest <= 0:
        return np.zeros(shown.shape, np.uint8)
    return (255 * shown / largest).astype(np.uint8)


class Reader:
    """A network's scores and gradients as arrays, for `core.explain.attribution` and `core.explain.adversarial`; its weights may change.

    Compiled once, for any number of images; works them off in batches that the machine can hold.
    """

    def __init__(self, network: keras.Model, batch: int = 128) -> None:
        self._last, self._batch = network.layers[-1], max(1, batch)
        self._inside = keras.Model(network.input, self._last.input)
        images, weights = tf.TensorSpec((None, *specs.IMAGE_SHAPE[:2])), tf.TensorSpec((None, specs.CLASSES))
        self._scores = tf.function(self._score, input_signature=[images])
        self._gradients = tf.function(self._gradient, input_signature=[images, weights])
        looked_at = last_convolution(network)
        self._maps = keras.Model(network.input, [looked_at.output, self._last.input]) if looked_at is not None else None

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Return scores as `core.explain.attribution.Reader` defines them."""
        return np.concatenate([self._scores(part).numpy() for part in self._parts(images)])

    def gradients(self, images: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradients as `core.explain.attribution.Reader` defines them."""
        parts = zip(self._parts(images), self._parts(weights), strict=True)
        found = [self._gradients(*part) for part in parts]
        return np.concatenate([s.numpy() for s, _ in found]), np.concatenate([g.numpy() for _, g in found])

    def last_maps(self, image: np.ndarray, digit: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return feature maps as `core.explain.attribution.Reader` defines them."""
        if self._maps is None:
            return None
        with tf.GradientTape() as tape:
            pixels = tf.constant(255 * image[None, ..., None], tf.float32)
            tape.watch(pixels)  # eager Keras records nothing of layers without weights otherwise
            maps, inside = self._maps(pixels, training=False)
            score = self._totals(inside)[0, digit]
        gradient = tape.gradient(score, maps)
        return maps[0].numpy(), gradient[0].numpy()

    def _score(self, images: tf.Tensor) -> tf.Tensor:
        return self._totals(self._inside(255 * tf.expand_dims(images, -1), training=False))

    def _totals(self, inside: tf.Tensor) -> tf.Tensor:
        return tf.matmul(inside, self._last.kernel.value) + self._last.bias.value

    def _gradient(self, images: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            scores = self._score(images)
            weighed = tf.reduce_sum(scores * weights)
        # Dense, as the images are.
        return scores, tape.gradient(weighed, images)  # pyright: ignore[reportReturnType]

    def _parts(self, values: np.ndarray) -> list[np.ndarray]:
        values = values.astype(np.float32)
        return [values[start : start + self._batch] for start in range(0, len(values), self._batch)]


def last_convolution(network: keras.Model) -> keras.Layer | None:
    """Return the layer whose maps Grad-CAM weights, or None in a network without a convolution.

    It is the last layer that still has the image size of the last convolution, its normalisation and activation
    included.
    """
    places = [place for place, layer in enumerate(network.layers) if _form(layer) is Form.WINDOW]
    if not places:
        return None
    after = [layer for layer in network.layers[places[-1] :] if len(layer.output.shape) == 4]
    return [layer for layer in after if layer.output.shape[1:3] == after[0].output.shape[1:3]][-1]


def layers(network: keras.Model) -> dict[str, Layer]:
    """Return each layer's computation, with its weights, in the network's order."""
    return {layer.name: _layer(layer) for layer in network.layers}


def _layer(layer) -> Layer:
    form, shape = _form(layer), tuple(layer.output.shape[1:])
    rows, columns = getattr(layer, "kernel_size", getattr(layer, "pool_size", (1, 1)))
    size = rows, columns
    down, across = layer.strides if size != (1, 1) or hasattr(layer, "strides") else (1, 1)
    strides, sources = (down, across), _sources(layer)
    above, left = 0, 0
    if getattr(layer, "padding", "valid") == "same":
        above, left = (
            max((out - 1) * stride + window - side, 0) // 2
            for out, stride, window, side in zip(shape, strides, size, sources[0].shape[1:3], strict=False)
        )
    function = getattr(layer, "activation", None)
    return Layer(
        name=layer.name,
        form=form,
        inputs=() if form is Form.INPUT else tuple(source._keras_history.operation.name for source in sources),
        shape=shape,
        size=size,
        strides=strides,
        before=(above, left),
        activation=getattr(function, "__name__", "linear"),
        weights=_weights(layer, form),
    )


def _sources(layer) -> list:
    return layer.input if isinstance(layer.input, list) else [layer.input]


def _form(layer) -> Form:
    """Return a layer's form by what it has and not by its name; an unknown kind is shown as it is."""
    kind = type(layer).__name__
    if isinstance(layer.input, list) and len(layer.input) > 1:
        return Form.SUM
    if hasattr(layer, "kernel_size"):
        return Form.WINDOW
    if hasattr(layer, "pool_mode") and hasattr(layer, "pool_size"):
        return Form.MAX_POOL if layer.pool_mode == "max" else Form.AVERAGE_POOL
    if hasattr(layer, "units"):
        return Form.DENSE
    if hasattr(layer, "moving_mean") or hasattr(layer, "offset"):
        return Form.SCALE
    if hasattr(layer, "activation"):
        return Form.FUNCTION
    if kind == "InputLayer":
        return Form.INPUT
    before, after = len(_sources(layer)[0].shape), len(layer.output.shape)
    if before != after:
        return Form.GLOBAL_AVERAGE if kind.startswith("Global") else Form.FLAT
    return Form.SAME


def _weights(layer, form: Form) -> dict[str, np.ndarray]:
    if form is Form.SCALE:
        return _scale(layer)
    if form not in (Form.WINDOW, Form.DENSE):
        return {}
    own = {weight.name: weight.numpy() for weight in layer.weights}
    if "depthwise_kernel" in own:  # one pattern per channel, then a mixture of them: together one kernel per filter
        deep = own.pop("depthwise_kernel")
        mixture = own.pop("pointwise_kernel").reshape(*deep.shape[2:], -1)
        own["kernel"] = np.einsum("hwcm,cmf->hwcf", deep, mixture)
    return own


def _scale(layer) -> dict[str, np.ndarray]:
    if not hasattr(layer, "moving_mean"):
        return {"scale": np.array([layer.scale], np.float32), "shift": np.array([layer.offset], np.float32)}
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    scale = (layer.gamma.numpy() if layer.gamma is not None else 1) / np.sqrt(variance + layer.epsilon)
    return {"scale": scale, "shift": (layer.beta.numpy() if layer.beta is not None else 0) - mean * scale}
