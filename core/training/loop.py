"""The training loop: compiled in chunks of batches, without knowing an engine or a screen.

A chunk is one call into a `tf.function` that takes many optimizer steps, with the data on the device, so no Python and
no NumPy run per batch. Chunks are sized to about a tenth of a second: between two of them commands are obeyed and
events sent.

Imports TensorFlow: only worker processes may import this module.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NotRequired, TypedDict
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from core.data import datasets
from core.errors import LossNotFinite
from core.evaluation import metrics
from core.explain.inspection import Inspector
from core.model import keras_model, ledger
from core.model.specs import CLASSES, IMAGE_SHAPE, Experiment, Training
from core.runs.contents import Checkpoint
from core.runs.progress import (
    LIVE_HYPERPARAMETERS,
    Advanced,
    Command,
    EpochEnded,
    Event,
    HyperparameterChanged,
    Snapshot,
    Started,
    State,
    StateChanged,
)
from core.training import augmentation as augment
from core.training import fine_tuning, range_test

CHUNK_SECONDS = 0.1
FIRST_CHUNK_STEPS = 4
MAX_CHUNK_STEPS = 512
PAUSE_POLL_SECONDS = 0.02
SNAPSHOT_SHARE = 0.03  # of the training time: the share that snapshots may take
SNAPSHOT_SECONDS = 2.0  # of training between two snapshots, at least: a page on two cores draws no more of them
COLD_SNAPSHOT_SECONDS = 0.1  # expected time of a run's first snapshot
MOST_WRONGEST = 10
TRIAL_SECONDS = 0.3


def train(
    experiment: Experiment,
    dataset: datasets.Dataset,
    on_event: Callable[[Event], None],
    read_command: Callable[[], Command] = Command,
    on_checkpoint: Callable[[Checkpoint], None] = lambda checkpoint: None,
    on_snapshot: Callable[[Snapshot], None] = lambda snapshot: None,
    resume_from: Checkpoint | None = None,
    history: Sequence[EpochEnded] = (),
    changes: Sequence[HyperparameterChanged] = (),
    start: fine_tuning.Start | None = None,
    enlarge: Callable[[datasets.Dataset, np.ndarray], tuple[datasets.Dataset, np.ndarray]] | None = None,
) -> tuple[keras.Model, State]:
    """Train an experiment's network to its end, or until it is asked to stop.

    Args:
        experiment: what to train and how.
        dataset: whose training images are split into those trained on and those held out.
        on_event: called from this thread, about ten times a second and at every epoch's end.
        read_command: asked between chunks; must be quick.
        on_checkpoint: called with the network before the first batch and after 1, 2, 4, 8, ... batches of the first epoch,
            then after each epoch's event with the optimizer's state too; and as it is where it is stopped within an epoch.
        on_snapshot: called with what goes on inside the network, from time to time while the command says that someone
            watches; never for more than `SNAPSHOT_SHARE` of the training time.
        resume_from: the epoch's end to go on from; the numbers are then those of a training never interrupted.
        history: the rows up to there, from which early stopping goes on counting.
        changes: the live hyperparameters changed up to there.
        start: what a fine-tuning begins with.
        enlarge: makes of the data set and the training images' indices those that are learned from; what is held out stays so.

    Returns: the network as it is at the end, and FINISHED or STOPPED.

    Raises:
        LossNotFinite: if the loss becomes NaN or infinite; checkpoints of earlier epochs have been handed out by then.
        SpecError: if the network can't be built.
        RunDamaged: if the weights to begin with are another network's.
    """
    loop = _Loop(experiment, dataset, on_event, read_command, on_checkpoint, on_snapshot, start, enlarge)
    if resume_from is not None:
        loop.restore(resume_from)
    loop.repeat_changes(changes)
    on_event(Started(loop.steps_per_epoch, experiment.training.epochs, experiment.training.batch_size, loop.step))
    loop.keep_early()
    return loop.model, _run_epochs(loop, history)


def _run_epochs(loop: _Loop, history: Sequence[EpochEnded]) -> State:
    """Train from the epoch under way to the last, or to where patience is over or it is asked to stop."""
    first = loop.step // loop.steps_per_epoch + 1
    val_losses = [row.val_loss for row in history if row.epoch < first]
    for epoch in range(first, loop.training.epochs + 1):
        if _is_patience_over(val_losses, loop.training.patience):
            break
        row = loop.run_epoch(epoch)
        if row is None:
            loop.keep_unfinished()
            return State.STOPPED
        loop.on_event(row)
        loop.on_checkpoint(loop.checkpoint())
        val_losses.append(row.val_loss)
    return State.FINISHED


def seconds_per_epoch(experiment: Experiment, dataset: datasets.Dataset) -> float:
    """Estimate how many seconds an epoch takes here, with validation and without compilation, from some batches."""
    loop = _Loop(experiment, dataset, *_NOBODY)
    order = tf.constant(loop.order(1))

    def take(count: int) -> float:
        started = time.perf_counter()
        loop.take_steps(order, loop.learning_rates[:count], 0)
        return (time.perf_counter() - started) / count

    few = min(FIRST_CHUNK_STEPS, loop.steps_per_epoch)
    take(few)
    seconds = take(min(loop.steps_per_epoch, max(few, int(TRIAL_SECONDS / take(few)))))
    held_out = loop.validation_indices[: ledger.EVALUATION_BATCH]
    if not len(held_out):
        return seconds * loop.steps_per_epoch
    loop.measure(held_out)
    started = time.perf_counter()
    loop.measure(held_out)
    validation = (time.perf_counter() - started) / len(held_out) * len(loop.validation_indices)
    return seconds * loop.steps_per_epoch + validation


def find_range(experiment: Experiment, dataset: datasets.Dataset) -> range_test.RangeTest:
    """Run a learning-rate range test: the rate rises from batch to batch, and the test ends where the loss explodes.

    Raises:
        SpecError: if the network can't be built.
    """
    loop = _Loop(experiment, dataset, *_NOBODY)
    batch_size = min(loop.training.batch_size, len(loop.train_indices))
    whole = len(loop.train_indices) // batch_size * batch_size  # batches of one size, so that their losses compare
    order = tf.constant(np.resize(loop.order(1)[:whole], range_test.STEPS * loop.training.batch_size))
    rates, losses = range_test.learning_rates(), np.zeros(0, np.float32)
    while len(losses) < range_test.STEPS and not range_test.has_exploded(losses):
        done = len(losses)
        loss, _ = loop.take_steps(order, rates[done : done + range_test.STEPS_AT_ONCE], done)
        losses = np.append(losses, loss)
    return range_test.RangeTest(rates[: len(losses)], losses)


def _is_patience_over(val_losses: list[float | None], patience: int | None) -> bool:
    """Return whether the best epoch lies `patience` epochs back. Without held-out images there is nothing to wait for."""
    losses = [loss for loss in val_losses if loss is not None]
    if patience is None or not losses or len(losses) < len(val_losses):
        return False
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


_NOBODY = (lambda event: None, Command, lambda checkpoint: None, lambda snapshot: None)


class _Validation(TypedDict):
    """What an epoch's row says of the held-out images, as `EpochEnded`."""

    val_loss: float | None
    val_accuracy: float | None
    confusion: NotRequired[tuple[int, ...]]
    wrongest: NotRequired[tuple[tuple[int, int, float], ...]]


class _Loop:
    """The network, the compiled functions and the place in the training."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: datasets.Dataset,
        on_event: Callable[[Event], None],
        read_command: Callable[[], Command],
        on_checkpoint: Callable[[Checkpoint], None],
        on_snapshot: Callable[[Snapshot], None],
        start: fine_tuning.Start | None = None,
        enlarge: Callable[[datasets.Dataset, np.ndarray], tuple[datasets.Dataset, np.ndarray]] | None = None,
    ) -> None:
        training = experiment.training
        self.training, self.on_event, self.read_command = training, on_event, read_command
        self.on_checkpoint, self.on_snapshot = on_checkpoint, on_snapshot
        self.model = keras_model.build(experiment)
        self.train_indices, self.validation_indices = datasets.split(
            dataset.y_train, training.train_size, training.validation_split, training.seed
        )
        if start is not None:
            keras_model.set_variables(self.model, start.weights)
            dataset, self.train_indices = fine_tuning.mixed(dataset, self.train_indices, start, experiment)
        if enlarge is not None:
            dataset, self.train_indices = enlarge(dataset, self.train_indices)
        self.dataset = dataset
        self.steps_per_epoch = -(-len(self.train_indices) // training.batch_size)
        self.learning_rates = training.learning_rates(self.steps_per_epoch * training.epochs)
        self.step = 0
        self.chunk_steps = FIRST_CHUNK_STEPS
        self.active_seconds = 0.0
        self.steps_timed = 0
        self.is_compiled = False
        self.live_hyperparameters: dict[str, float] = {}
        self._learning_rate_changes: list[tuple[int, float]] = []
        self.views = _Views(self)
        self._images = _on_device(dataset)
        self._take_steps = _compiled_steps(self.model, training)
        self._measure = _compiled_measure(self.model, ledger.read(experiment.layers).evaluation_batch)

    def restore(self, checkpoint: Checkpoint) -> None:
        keras_model.set_variables(self.model, checkpoint.weights, checkpoint.optimizer)
        self.step = checkpoint.step

    def repeat_changes(self, changes: Sequence[HyperparameterChanged]) -> None:
        """Set the live hyperparameters to what they had been changed to by this step."""
        for change in changes:
            if change.step <= self.step:
                self._change(change)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.step, *keras_model.variables(self.model))

    def keep_early(self) -> None:
        """Hand out the network after 0, 1, 2, 4, 8, ... batches of the first epoch, when most is learned."""
        if self.step < self.steps_per_epoch and self.step & (self.step - 1) == 0:
            self._keep_weights()

    def keep_unfinished(self) -> None:
        """Hand out the network in the midst of an epoch, to be looked at: training goes on from the last whole one."""
        if self.step % self.steps_per_epoch:
            self._keep_weights()

    def _keep_weights(self) -> None:
        self.on_checkpoint(Checkpoint(self.step, keras_model.variables(self.model)[0], None))

    def order(self, epoch: int) -> np.ndarray:
        """Return the training images of an epoch in the order they are used, (n,) int32 indices."""
        return np.random.default_rng((self.training.seed, epoch)).permutation(self.train_indices).astype(np.int32)

    def take_steps(self, order: tf.Tensor, rates: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Take an optimizer step for each learning rate, from batch `first` of `order`; return each batch's loss and
        accuracy.
        """
        place = tf.constant(first), tf.constant(self.step)
        loss, accuracy = self._take_steps(*self._images, order, tf.constant(rates), *place)
        return loss.numpy(), accuracy.numpy()

    def measure(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return cross-entropies (n,) and probabilities (n, 10) of training images."""
        losses, probabilities = self._measure(*self._images, tf.constant(indices.astype(np.int32)))
        return losses.numpy(), probabilities.numpy()

    def run_epoch(self, epoch: int) -> EpochEnded | None:
        """Run all batches of one epoch and its validation; return None if asked to stop before its end."""
        indices = self.order(epoch)
        order, seconds_before = tf.constant(indices), self.active_seconds
        done, losses, accuracies = 0, [], []
        while done < self.steps_per_epoch:
            command = self._obey()
            if command.is_stopping:
                return None
            count = min(self._steps_at_once(command), self.steps_per_epoch - done)
            began = time.perf_counter()
            loss, accuracy = self._run_chunk(order, done, count)
            losses.append(loss)
            accuracies.append(accuracy)
            done += count
            self.keep_early()
            self.views.batch = indices[(done - 1) * self.training.batch_size : done * self.training.batch_size]
            self.views.look(command)
            self._dawdle(command, began, count)
        started = time.perf_counter()
        validation = self._validate(epoch)
        self.active_seconds += time.perf_counter() - started
        sizes = np.full(self.steps_per_epoch, self.training.batch_size)
        sizes[-1] = len(self.train_indices) - sizes[:-1].sum()
        return EpochEnded(
            epoch=epoch,
            loss=float(np.average(np.concatenate(losses), weights=sizes)),
            accuracy=float(np.average(np.concatenate(accuracies), weights=sizes)),
            learning_rate=float(self.learning_rates[self.step - 1]),
            seconds=self.active_seconds - seconds_before,
            **validation,
        )

    def _run_chunk(self, order: tf.Tensor, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        is_compiled, self.is_compiled = self.is_compiled, True
        started = time.perf_counter()
        loss, accuracy = self.take_steps(order, self.learning_rates[self.step : self.step + count], first)
        seconds = time.perf_counter() - started
        self.step += count
        if is_compiled:  # the first call compiles, which says nothing about the next
            self.active_seconds += seconds
            self.steps_timed += count
            wanted = int(count * CHUNK_SECONDS / seconds)
            self.chunk_steps = max(1, min(wanted, 2 * self.chunk_steps, MAX_CHUNK_STEPS))
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
                seconds_left=(len(self.learning_rates) - self.step) * self.active_seconds / max(self.steps_timed, 1),
            )
        )
        return loss, accuracy

    def _validate(self, epoch: int) -> _Validation:
        """Return the fields of an epoch's row about the held-out images."""
        if not len(self.validation_indices):
            return {"val_loss": None, "val_accuracy": None}
        losses, probabilities = self.measure(self.validation_indices)
        y_true, loss = self.dataset.y_train[self.validation_indices], float(losses.mean(dtype=np.float64))
        if not np.isfinite(loss):
            raise LossNotFinite(
                f"The validation loss became {loss} at the end of epoch {epoch}. "
                "Try a lower learning rate, or add BatchNormalization."
            )
        wrong = metrics.mistakes(y_true, probabilities)[:MOST_WRONGEST]
        read = probabilities.argmax(axis=1)
        return {
            "val_loss": loss,
            "val_accuracy": metrics.accuracy(y_true, probabilities),
            "confusion": tuple(metrics.confusion_matrix(y_true, read).ravel().tolist()),
            "wrongest": tuple(
                (int(self.validation_indices[i]), int(read[i]), float(probabilities[i, read[i]])) for i in wrong
            ),
        }

    def _obey(self) -> Command:
        """Wait while paused; return the command then in force, after setting the live hyperparameters."""
        command = self.read_command()
        if self._must_wait(command):
            self.on_event(StateChanged(State.PAUSED))
            while self._must_wait(command):
                self.views.look_while_waiting(command)
                time.sleep(PAUSE_POLL_SECONDS)
                command = self.read_command()
            if not command.is_stopping:
                self.on_event(StateChanged(State.RUNNING))
        if command.is_stopping:
            self.on_event(StateChanged(State.STOPPING))
            return command
        for name in LIVE_HYPERPARAMETERS:
            value = getattr(command, name)
            if value is not None and value != self.live_hyperparameters.get(name):
                change = HyperparameterChanged(self.step, name, value)
                self._change(change)
                self.on_event(change)
        return command

    def _must_wait(self, command: Command) -> bool:
        return command.is_paused and not command.is_stopping and self.step >= command.until_step

    def _change(self, change: HyperparameterChanged) -> None:
        self.live_hyperparameters[change.name] = change.value
        if change.name == "learning_rate":
            self._learning_rate_changes.append((change.step, change.value))
            self.learning_rates = self.training.learning_rates(len(self.learning_rates), self._learning_rate_changes)
        elif keras_model.set_dropout(self.model, change.value):
            # The dropout rate is a constant of the compiled function, so a new one is compiled.
            self._take_steps = _compiled_steps(self.model, self.training)
            self.is_compiled = False

    def _steps_at_once(self, command: Command) -> int:
        """Return how many batches to run until the next look at the commands."""
        steps = self.chunk_steps
        if command.batches_per_second is not None:
            steps = min(steps, max(1, int(command.batches_per_second * CHUNK_SECONDS)))
        if command.is_paused:
            steps = min(steps, command.until_step - self.step)
        if self.step < self.steps_per_epoch:  # not beyond the next step that `keep_early` keeps
            steps = min(steps, (1 << self.step.bit_length()) - self.step)
        return steps

    def _dawdle(self, command: Command, began: float, count: int) -> None:
        """Wait in slow motion until these batches have taken as long as they should, but not beyond a new command."""
        if command.batches_per_second is None or command.is_paused:
            return
        end = began + count / command.batches_per_second
        self.views.look_while_waiting(command, end - time.perf_counter())
        while time.perf_counter() < end and self.read_command() == command:
            time.sleep(PAUSE_POLL_SECONDS)


class _Views:
    """Looks into the network where someone watches: within `SNAPSHOT_SHARE` of the training time, and as often as there is
    something new while the training waits anyway."""

    def __init__(self, loop: _Loop) -> None:
        self._loop, self._inspector = loop, None
        self._seconds, self._expected = 0.0, COLD_SNAPSHOT_SECONDS
        self._looked_at = -math.inf  # in seconds of training
        # Number of batches at the last snapshot, and the digits and drawings of the snapshots taken there.
        self._step, self._taken = -1, set[tuple[int, bytes]]()
        self.batch = loop.train_indices[: loop.training.batch_size]

    def look(self, command: Command) -> None:
        trained = self._loop.active_seconds
        is_within_share = self._seconds + self._expected <= SNAPSHOT_SHARE * trained
        if command.is_watched and is_within_share and trained - self._looked_at >= SNAPSHOT_SECONDS:
            self._looked_at = trained
            self._expected = self._take(command)
            self._seconds += self._expected

    def look_while_waiting(self, command: Command, seconds: float = math.inf) -> None:
        """Take a snapshot if one is wanted and fits into the `seconds` in which nothing else would be done."""
        is_new = self._step != self._loop.step or (command.digit, command.drawing) not in self._taken
        if command.is_watched and is_new and (self._step < 0 or self._expected <= seconds):
            self._expected = self._take(command)

    def _take(self, command: Command) -> float:
        """Send a snapshot; return how long it took, in seconds."""
        started = time.perf_counter()
        if self._inspector is None:
            self._inspector = Inspector(self._loop.model)
        x, y = self._loop.dataset.x_train, self._loop.dataset.y_train
        held_out = self._loop.validation_indices if len(self._loop.validation_indices) else self._loop.train_indices
        same = held_out[y[held_out] == command.digit]
        image = x[same[0] if len(same) else held_out[0]]
        batch = x[self.batch, ..., None], y[self.batch]
        self._loop.on_snapshot(self._inspector.snapshot(self._loop.step, *batch, image, command.drawing, command.digit))
        if self._step != self._loop.step:
            self._step, self._taken = self._loop.step, set()
        self._taken.add((command.digit, command.drawing))
        return time.perf_counter() - started


# What a compiled function reads beside its arguments becomes part of it, and stays in TensorFlow's memory with all that it
# ever compiled: images are given to it.
_IMAGES = tf.TensorSpec((None, *IMAGE_SHAPE), tf.uint8), tf.TensorSpec((None,), tf.int32)
_on_devices: WeakKeyDictionary[datasets.Dataset, tuple[tf.Tensor, tf.Tensor]] = WeakKeyDictionary()


def _on_device(dataset: datasets.Dataset) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the training images, (n, 28, 28, 1) uint8, and their digits, (n,) int32: one copy for all that train on
    them here.
    """
    if dataset not in _on_devices:
        _on_devices[dataset] = tf.constant(dataset.x_train[..., None]), tf.constant(dataset.y_train.astype(np.int32))
    return _on_devices[dataset]


def _compiled_steps(network: keras.Model, training: Training) -> Callable:
    """Return a function of (x, y, order, learning_rates, first, step) that takes one optimizer step per learning rate.

    It begins at batch `first` of `order`, with `step` batches taken before in the whole training, and returns each
    batch's loss and accuracy.
    """
    batch_size, optimizer, augmentation = training.batch_size, network.optimizer, training.augmentation

    @tf.function(
        input_signature=[
            *_IMAGES,
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((), tf.int32),
            tf.TensorSpec((), tf.int32),
        ]
    )
    def take_steps(x, y, order, learning_rates, first, step):
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
                loss = tf.add_n([network.loss(targets, probabilities), *network.losses])
            optimizer.learning_rate.assign(learning_rates[i])
            gradients = tape.gradient(loss, network.trainable_variables)
            optimizer.apply(gradients, network.trainable_variables)
            hits = tf.equal(tf.argmax(probabilities, 1, tf.int32), labels)
            losses = losses.write(i, loss)
            accuracies = accuracies.write(i, tf.reduce_mean(tf.cast(hits, tf.float32)))
        return losses.stack(), accuracies.stack()

    return take_steps


def _compiled_measure(network: keras.Model, batch_size: int) -> Callable:
    """Return a function of (x, y, indices) that returns these images' cross-entropies and probabilities."""

    @tf.function(input_signature=[*_IMAGES, tf.TensorSpec((None,), tf.int32)])
    def measure(x, y, indices):
        batches = -(-tf.shape(indices)[0] // batch_size)
        losses = tf.TensorArray(tf.float32, batches, infer_shape=False, element_shape=(None,))
        answers = tf.TensorArray(tf.float32, batches, infer_shape=False, element_shape=(None, CLASSES))
        for i in tf.range(batches):
            batch = indices[i * batch_size : (i + 1) * batch_size]
            probabilities = network(tf.gather(x, batch), training=False)
            losses = losses.write(i, keras.losses.sparse_categorical_crossentropy(tf.gather(y, batch), probabilities))
            answers = answers.write(i, probabilities)
        return losses.concat(), answers.concat()

    return measure
