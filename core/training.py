"""The training loop: compiled in chunks of batches, and knowing neither an engine nor a screen.

A chunk is one call into a `tf.function` that takes many optimizer steps, with the data as a constant on the device, so no
Python and no NumPy run per batch. Chunks are sized to about a tenth of a second: between two of them commands are obeyed
and events sent.

Imports TensorFlow: only worker processes may import this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from core import augment, data, ledger, model
from core.errors import LossNotFinite
from core.progress import Advanced, Command, EpochEnded, Event, Started, State, StateChanged
from core.runs import Checkpoint
from core.specs import CLASSES, Experiment

CHUNK_SECONDS = 0.1
FIRST_CHUNK_STEPS = 4
MAX_CHUNK_STEPS = 512
PAUSE_POLL_SECONDS = 0.02


def train(
    experiment: Experiment,
    dataset: data.Dataset,
    on_event: Callable[[Event], None],
    read_command: Callable[[], Command] = Command,
    on_checkpoint: Callable[[Checkpoint], None] = lambda checkpoint: None,
    resume_from: Checkpoint | None = None,
    history: Sequence[EpochEnded] = (),
) -> tuple[keras.Model, State]:
    """Train an experiment's network to its end, or until it is asked to stop.

    Args:
        experiment: what to train and how.
        dataset: whose training images are split into those trained on and those held out.
        on_event: called from this thread, about ten times a second and at every epoch's end.
        read_command: asked between chunks; must be quick.
        on_checkpoint: called after each epoch's event with the weights and the optimizer's state.
        resume_from: the epoch's end to go on from; the numbers are then those of a training never interrupted.
        history: the rows up to there, from which early stopping goes on counting.

    Returns: the network as it is at the end, and FINISHED or STOPPED.

    Raises:
        LossNotFinite: if the loss becomes NaN or infinite; checkpoints of earlier epochs have been handed out by then.
        SpecError: if the network can't be built.
    """
    loop = _Loop(experiment, dataset, on_event, read_command)
    if resume_from is not None:
        loop.restore(resume_from)
    on_event(Started(loop.steps_per_epoch, experiment.training.epochs, experiment.training.batch_size, loop.step))
    first = loop.step // loop.steps_per_epoch + 1
    val_losses = [row.val_loss for row in history if row.epoch < first]
    for epoch in range(first, experiment.training.epochs + 1):
        if _is_patience_over(val_losses, experiment.training.patience):
            break
        row = loop.run_epoch(epoch)
        if row is None:
            return loop.model, State.STOPPED
        on_event(row)
        on_checkpoint(loop.checkpoint(epoch))
        val_losses.append(row.val_loss)
    return loop.model, State.FINISHED


def _is_patience_over(val_losses: list[float | None], patience: int | None) -> bool:
    """Whether the best epoch lies `patience` epochs back. Without images held out there is nothing to wait for."""
    if patience is None or not val_losses or None in val_losses:
        return False
    return len(val_losses) - 1 - int(np.argmin(val_losses)) >= patience


class _Loop:
    """The network, the compiled functions and the place in the training."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: data.Dataset,
        on_event: Callable[[Event], None],
        read_command: Callable[[], Command],
    ) -> None:
        training = experiment.training
        self.training, self.on_event, self.read_command = training, on_event, read_command
        self.model = model.build(experiment)
        self.train_indices, self.validation_indices = data.split(
            dataset.y_train, training.train_size, training.validation_split, training.seed
        )
        self.steps_per_epoch = -(-len(self.train_indices) // training.batch_size)
        self.learning_rates = training.learning_rates(self.steps_per_epoch * training.epochs)
        self.step = 0
        self.chunk_steps = FIRST_CHUNK_STEPS
        self.active_seconds = 0.0
        self.steps_timed = 0
        x, y = tf.constant(dataset.x_train[..., None]), tf.constant(dataset.y_train.astype(np.int32))
        self._take_steps = _compiled_steps(self.model, x, y, training)
        self._measure = _compiled_measure(self.model, x, y, ledger.read(experiment.layers).evaluation_batch)

    def restore(self, checkpoint: Checkpoint) -> None:
        model.set_variables(self.model, checkpoint.weights, checkpoint.optimizer)
        self.step = checkpoint.epoch * self.steps_per_epoch

    def checkpoint(self, epoch: int) -> Checkpoint:
        weights, optimizer = model.variables(self.model)
        return Checkpoint(epoch, weights, optimizer)

    def run_epoch(self, epoch: int) -> EpochEnded | None:
        """All batches of one epoch and its validation; None if asked to stop before its end."""
        order = np.random.default_rng((self.training.seed, epoch)).permutation(self.train_indices).astype(np.int32)
        order, seconds_before = tf.constant(order), self.active_seconds
        done, losses, accuracies = 0, [], []
        while done < self.steps_per_epoch:
            if self._is_stopped():
                return None
            count = min(self.chunk_steps, self.steps_per_epoch - done)
            loss, accuracy = self._run_chunk(order, done, count)
            losses.append(loss)
            accuracies.append(accuracy)
            done += count
        started = time.perf_counter()
        val_loss, val_accuracy = self._validate()
        if val_loss is not None and not np.isfinite(val_loss):
            raise LossNotFinite(
                f"The validation loss became {val_loss} at the end of epoch {epoch}. "
                "Try a lower learning rate, or add BatchNormalization."
            )
        self.active_seconds += time.perf_counter() - started
        sizes = np.full(self.steps_per_epoch, self.training.batch_size)
        sizes[-1] = len(self.train_indices) - sizes[:-1].sum()
        return EpochEnded(
            epoch=epoch,
            loss=float(np.average(np.concatenate(losses), weights=sizes)),
            accuracy=float(np.average(np.concatenate(accuracies), weights=sizes)),
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=float(self.learning_rates[self.step - 1]),
            seconds=self.active_seconds - seconds_before,
        )

    def _run_chunk(self, order: tf.Tensor, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        is_compiled = self.steps_timed > 0
        started = time.perf_counter()
        rates = tf.constant(self.learning_rates[self.step : self.step + count])
        loss, accuracy = (t.numpy() for t in self._take_steps(order, rates, tf.constant(first), tf.constant(self.step)))
        seconds = time.perf_counter() - started
        self.step += count
        self.steps_timed += count
        if is_compiled:
            self.active_seconds += seconds
            wanted = int(count * CHUNK_SECONDS / seconds)
            self.chunk_steps = max(1, min(wanted, 2 * self.chunk_steps, MAX_CHUNK_STEPS))
        else:  # the first call compiles, which says nothing about the next
            self.steps_timed = 1
        if not np.isfinite(loss).all():
            raise LossNotFinite(
                f"The loss became {loss[~np.isfinite(loss)][0]} at batch {self.step - count + int(np.argmin(np.isfinite(loss))) + 1}. "
                "Try a lower learning rate, or add BatchNormalization."
            )
        self.on_event(
            Advanced(
                step=self.step,
                loss=tuple(loss.tolist()),
                accuracy=tuple(accuracy.tolist()),
                learning_rate=float(self.learning_rates[self.step - 1]),
                images_per_second=count * self.training.batch_size / seconds if is_compiled else 0.0,
                seconds_left=(len(self.learning_rates) - self.step) * self.active_seconds / self.steps_timed,
            )
        )
        return loss, accuracy

    def _validate(self) -> tuple[float | None, float | None]:
        if not len(self.validation_indices):
            return None, None
        loss, hits = self._measure(tf.constant(self.validation_indices.astype(np.int32)))
        return float(loss) / len(self.validation_indices), float(hits) / len(self.validation_indices)

    def _is_stopped(self) -> bool:
        """Wait while paused; whether a stop was asked for."""
        command = self.read_command()
        if command.is_paused and not command.is_stopping:
            self.on_event(StateChanged(State.PAUSED))
            while command.is_paused and not command.is_stopping:
                time.sleep(PAUSE_POLL_SECONDS)
                command = self.read_command()
            if not command.is_stopping:
                self.on_event(StateChanged(State.RUNNING))
        if command.is_stopping:
            self.on_event(StateChanged(State.STOPPING))
        return command.is_stopping


def _compiled_steps(network: keras.Model, x: tf.Tensor, y: tf.Tensor, training) -> Callable:
    """A function of (order, learning_rates, first, step): one optimizer step per learning rate, from batch `first` of
    `order`, with `step` batches taken before in the whole training; returns each batch's loss and accuracy."""
    batch_size, optimizer, augmentation = training.batch_size, network.optimizer, training.augmentation

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((), tf.int32),
        ]
    )
    def take_steps(order, learning_rates, first, step):
        count = tf.shape(learning_rates)[0]
        losses, accuracies = tf.TensorArray(tf.float32, count), tf.TensorArray(tf.float32, count)
        for i in tf.range(count):
            batch = order[(first + i) * batch_size : (first + i + 1) * batch_size]
            images, labels = tf.gather(x, batch), tf.gather(y, batch)
            if augmentation.is_active:
                images = augment.transform(
                    tf.cast(images, tf.float32), augmentation, tf.stack([training.seed, step + i])
                )
            with tf.GradientTape() as tape:
                probabilities = network(images, training=True)
                targets = tf.one_hot(labels, CLASSES) if training.label_smoothing else labels
                loss = network.loss(targets, probabilities)
            optimizer.learning_rate.assign(learning_rates[i])
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
            hits = tf.equal(tf.argmax(probabilities, 1, tf.int32), labels)
            losses = losses.write(i, loss)
            accuracies = accuracies.write(i, tf.reduce_mean(tf.cast(hits, tf.float32)))
        return losses.stack(), accuracies.stack()

    return take_steps


def _compiled_measure(network: keras.Model, x: tf.Tensor, y: tf.Tensor, batch_size: int) -> Callable:
    """A function of image indices: the sum of their cross-entropies and how many are classified right."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32)])
    def measure(indices):
        loss, hits = 0.0, 0.0
        for start in tf.range(0, tf.shape(indices)[0], batch_size):
            batch = indices[start : start + batch_size]
            labels = tf.gather(y, batch)
            probabilities = network(tf.gather(x, batch), training=False)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss += tf.reduce_sum(losses)
            hits += tf.reduce_sum(tf.cast(tf.equal(tf.argmax(probabilities, 1, tf.int32), labels), tf.float32))
        return loss, hits

    return measure
