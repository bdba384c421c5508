"""Random changes to training images that keep the digit the same, as TensorFlow ops for the compiled loop.

The same function serves the training and its preview. Imports TensorFlow: only worker processes may import this module.
"""

from __future__ import annotations

import tensorflow as tf

from core.specs import Augmentation


def transform(images: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Each image moved at random: one affine map per image, bilinear, black beyond the edge.

    Args:
        images: (batch, 28, 28, 1) float32.
        augmentation: how far at most.
        seed: (2,) int32; the same seed gives the same changes.

    Returns: (batch, 28, 28, 1) float32.
    """
    if not augmentation.is_active:
        return images
    batch = tf.shape(images)[0]
    unit = tf.random.stateless_uniform((batch, 5), seed, -1.0, 1.0)
    angle = unit[:, 0] * (augmentation.rotation * 3.141592653589793 / 180)
    scale = 1.0 + unit[:, 1] * augmentation.zoom
    shear = unit[:, 2] * augmentation.shear
    shift = unit[:, 3:] * augmentation.shift
    cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
    # The map from output to input pixels, about the image's centre.
    a, b = cos, cos * shear - sin
    c, d = sin, sin * shear + cos
    centre = (tf.cast(tf.shape(images)[1], tf.float32) - 1) / 2
    x0 = centre - a * (centre + shift[:, 0]) - b * (centre + shift[:, 1])
    y0 = centre - c * (centre + shift[:, 0]) - d * (centre + shift[:, 1])
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x0, c, d, y0, zero, zero], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
