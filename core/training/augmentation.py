"""Random changes to training images that keep the digit the same, as TensorFlow ops for the compiled loop.

The same function serves the training and its preview. Imports TensorFlow: only worker processes may import this module.
"""

# The stubs of TensorFlow know no shapes of tensors and numbers mixed, no `...` in an index, and a seed that is folded in as a whole
# number; the sides of images are known, though a tensor's type says that they might not be.
# pyright: reportArgumentType=false, reportCallIssue=false, reportOptionalOperand=false

from __future__ import annotations

import numpy as np
import tensorflow as tf

from core.model.specs import Augmentation


def preview(images: np.ndarray, augmentation: Augmentation, seed: int) -> np.ndarray:
    """Return images as the training would see them.

    Args:
        images: (n, 28, 28) uint8.
        augmentation: the limits of the changes.
        seed: the same seed gives the same changes.

    Returns:
        (n, 28, 28) uint8.
    """
    moved = transform(tf.constant(images[..., None], tf.float32), augmentation, tf.constant([seed, 0], tf.int32))
    return np.clip(np.rint(moved.numpy()[..., 0]), 0, 255).astype(np.uint8)


def transform(images: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Change each image at random: moved and bent in one bilinear sampling, black beyond the edge, then strokes made
    thicker or thinner, then noise. Changes that aren't asked for cost nothing.

    Args:
        images: (batch, 28, 28, 1) float32.
        augmentation: the limits of the changes.
        seed: (2,) int32; the same seed gives the same changes.

    Returns:
        (batch, 28, 28, 1) float32.
    """
    if augmentation.elastic:
        images = _bent(
            images, _affine_maps(images, augmentation, seed), augmentation.elastic, tf.random.fold_in(seed, 1)
        )
    elif augmentation.shift or augmentation.rotation or augmentation.scale or augmentation.shear:
        images = _moved(images, _affine_maps(images, augmentation, seed))
    if augmentation.thickness:
        images = _thickened(images, augmentation.thickness, tf.random.fold_in(seed, 2))
    if augmentation.noise:
        images = _grained(images, augmentation.noise, tf.random.fold_in(seed, 3), tf.random.fold_in(seed, 4))
    return images


def _affine_maps(images: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Return one map per image from output to input pixels, (batch, 8): x' = a x + b y + x0, y' = c x + d y + y0, and
    two zeros."""
    batch = tf.shape(images)[0]
    unit = tf.random.stateless_uniform((batch, 5), seed, -1.0, 1.0)
    angle = unit[:, 0] * (augmentation.rotation * 3.141592653589793 / 180)
    scale = 1.0 + unit[:, 1] * augmentation.scale
    shear = unit[:, 2] * augmentation.shear
    shift = unit[:, 3:] * augmentation.shift
    cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
    # About the image's centre.
    a, b = cos, cos * shear - sin
    c, d = sin, sin * shear + cos
    centre = (tf.cast(tf.shape(images)[1], tf.float32) - 1) / 2
    x0 = centre - a * (centre + shift[:, 0]) - b * (centre + shift[:, 1])
    y0 = centre - c * (centre + shift[:, 0]) - d * (centre + shift[:, 1])
    zero = tf.zeros_like(a)
    return tf.stack([a, b, x0, c, d, y0, zero, zero], axis=1)


def _moved(images: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """Apply affine maps to images."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=maps,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


def _bent(images: tf.Tensor, maps: tf.Tensor, most: float, seed: tf.Tensor) -> tf.Tensor:
    """Apply affine maps and a drift of up to `most` pixels to images, in one sampling so that they blur once."""
    side = images.shape[1]
    x, y = (tf.constant(axis, tf.float32) for axis in np.meshgrid(np.arange(side), np.arange(side)))
    # Not maps[:, i, None, None]: the optimizer of TensorFlow 2.21 puts what was stacked there, and the new axes are lost.
    a, b, x0, c, d, y0 = (number[:, None, None] for number in tf.unstack(maps, axis=1)[:6])
    drift = _drift(tf.shape(images)[0], side, most, seed)
    return _sampled(images, a * x + b * y + x0 + drift[..., 0], c * x + d * y + y0 + drift[..., 1])


def _drift(batch: tf.Tensor, side: int, most: float, seed: tf.Tensor) -> tf.Tensor:
    """Return how far each pixel is displaced in x and y, (batch, side, side, 2): random vectors of `most` pixels'
    length at knots 7 pixels apart, and cubic B-splines between them, so that no displacement is longer and neighbours
    go together.

    Source: Simard, Steinkraus & Platt 2003, Best Practices for Convolutional Neural Networks; their Gaussian of 4
    pixels is as wide as such a spline, and their strength of 34 moves pixels about as far as `most` 4.
    """
    knots = np.arange(-1, -(-side // 7) + 2)
    distance = np.abs((np.arange(side)[:, None] + 0.5) / 7 - knots)
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6
    spline = tf.constant(np.where(distance < 1, near, far), tf.float32)  # (side, knots), rows add up to 1
    angle = tf.random.stateless_uniform((batch, len(knots), len(knots)), seed, -3.141592653589793, 3.141592653589793)
    vectors = most * tf.stack([tf.cos(angle), tf.sin(angle)], axis=-1)
    return tf.einsum("yi,bijc,xj->byxc", spline, vectors, spline)


def _sampled(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Sample images at the pixels (x, y), each (batch, height, width): bilinear, black beyond the edge."""
    batch, side = tf.shape(images)[0], images.shape[1]
    framed = tf.reshape(tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), (batch, (side + 2) ** 2))
    x, y = tf.clip_by_value(x + 1, 0.0, side + 1.0), tf.clip_by_value(y + 1, 0.0, side + 1.0)
    left, top = tf.minimum(tf.floor(x), side), tf.minimum(tf.floor(y), side)
    corner = tf.cast(top * (side + 2) + left, tf.int32)
    upper_left, upper_right, lower_left, lower_right = (
        tf.gather(framed, corner + offset, batch_dims=1) for offset in (0, 1, side + 2, side + 3)
    )
    upper = upper_left + (x - left) * (upper_right - upper_left)
    lower = lower_left + (x - left) * (lower_right - lower_left)
    return (upper + (y - top) * (lower - upper))[..., None]


def _thickened(images: tf.Tensor, most: float, seed: tf.Tensor) -> tf.Tensor:
    """Make strokes thicker or thinner by up to `most` pixels on each side: part of the way to each pixel's brightest or
    darkest neighbour, which for a whole pixel is a grey dilation or erosion by 3 × 3."""
    amount = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed, -most, most)
    brightest = tf.nn.max_pool2d(images, 3, 1, "SAME")
    darkest = -tf.nn.max_pool2d(-images, 3, 1, "SAME")
    return images + tf.nn.relu(amount) * (brightest - images) - tf.nn.relu(-amount) * (images - darkest)


def _grained(images: tf.Tensor, most: float, seed_of_deviations: tf.Tensor, seed_of_grain: tf.Tensor) -> tf.Tensor:
    """Add Gaussian noise, in each image with a standard deviation of its own of up to `most` of white; pixels stay in
    0..255."""
    deviation = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed_of_deviations, 0.0, most * 255)
    grain = deviation * tf.random.stateless_normal(tf.shape(images), seed_of_grain)
    return tf.clip_by_value(images + grain, 0.0, 255.0)
