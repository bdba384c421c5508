"""Training learns, repeats itself exactly, obeys, survives interruption, and takes the very steps that Keras would."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest

from core.data import datasets
from core.errors import LossNotFinite, RunDamaged
from core.model import specs
from core.model.specs import (
    SGD,
    Activation,
    Adam,
    AdamW,
    Augmentation,
    BatchNormalization,
    Conv2D,
    Cosine,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    MaxPooling2D,
    OneCycle,
    RMSprop,
    Spec,
    Training,
)
from core.runs import registry
from core.runs.contents import Checkpoint
from core.runs.progress import (
    Advanced,
    Command,
    EpochEnded,
    Event,
    HyperparameterChanged,
    Progress,
    Started,
    State,
    StateChanged,
)
from core.training import range_test
from tests.randomness import drawing_random_numbers

# All that carries state from batch to batch: moving statistics, random masks, momenta, a schedule, moved images.
EVERYTHING = Experiment(
    layers=(
        Conv2D(filters=4, activation="linear"),
        MaxPooling2D(pool_size=4),
        BatchNormalization(),
        Activation(),
        Dropout(rate=0.3),
        Flatten(),
        Dense(units=16),
        Dropout(rate=0.1),
    ),
    training=Training(
        epochs=3,
        batch_size=32,
        optimizer=AdamW(),
        learning_rate=0.01,
        schedule=OneCycle(warmup=0.4),
        label_smoothing=0.1,
        train_size=250,
        validation_split=0.2,
        augmentation=Augmentation(shift=1.5, rotation=10.0),
        seed=3,
    ),
)


# Epochs of one batch, with a learning rate that grows until four linear layers burst.
BURSTING = Experiment(
    layers=(Flatten(), *[Dense(units=16, activation="linear")] * 4),
    training=Training(
        epochs=40,
        batch_size=200,
        optimizer=SGD(momentum=0.99),
        learning_rate=10.0,
        schedule=OneCycle(warmup=0.9),
        train_size=200,
        validation_split=0.2,
    ),
)


# All that a network can be made of.
EVERY_LAYER = Experiment(
    layers=(
        Conv2D(filters=4, padding="same"),
        *(
            kind()
            for kind in specs.LAYER_KINDS.values()
            if kind not in (Conv2D, Dense, Flatten, specs.GlobalAveragePooling2D)
        ),
        Flatten(),
        Dense(units=8),
        Dropout(),
    )
)
EVERY_INITIALIZER = Experiment(
    layers=(
        Flatten(),
        *(Dense(units=8, kernel_initializer=name) for name in get_args(specs.Initializer) if name != "zeros"),
    )
)


@dataclass(frozen=True)
class Outcome:
    """All that a training told and left."""

    network: Any
    state: State
    events: list[Event]
    checkpoints: list[Checkpoint]
    early: list[Checkpoint]

    @property
    def rows(self) -> list[EpochEnded]:
        """The history, without the one number that no seed decides."""
        return [replace(event, seconds=0.0) for event in self.events if isinstance(event, EpochEnded)]

    @property
    def losses(self) -> list[float]:
        return [loss for event in self.events if isinstance(event, Advanced) for loss in event.loss]

    @property
    def accuracies(self) -> list[float]:
        return [accuracy for event in self.events if isinstance(event, Advanced) for accuracy in event.accuracy]


def train(experiment: Experiment, dataset: datasets.Dataset, **options: Any) -> Outcome:
    from core.training import loop as training

    events, checkpoints = [], []
    usual = {"on_event": events.append, "on_checkpoint": checkpoints.append}
    network, state = training.train(experiment, dataset, **{**usual, **options})
    early = [checkpoint for checkpoint in checkpoints if checkpoint.optimizer is None]
    return Outcome(network, state, events, [checkpoint for checkpoint in checkpoints if checkpoint.optimizer], early)


def drive(experiment: Experiment, dataset: datasets.Dataset, commands: dict[int, Command], **options: Any) -> Outcome:
    """Train, commanded by the last of these whose batch has been reached."""
    told: list[Event] = []

    def read_command() -> Command:
        step = max(event.step for event in told if isinstance(event, Started | Advanced))
        return commands[max(first for first in commands if first <= step)]

    return replace(train(experiment, dataset, on_event=told.append, read_command=read_command, **options), events=told)


def changed(experiment: Experiment, **changes: Any) -> Experiment:
    """The experiment with some of its training's fields changed."""
    return specs.replaced(experiment, training=specs.replaced(experiment.training, **changes))


def standing_still(experiment: Experiment, **changes: Any) -> Experiment:
    """With steps too small to change a float32, which no recipe may ask for: they aren't validated."""
    training = changed(experiment, optimizer=SGD(momentum=0.0), **changes).training
    return experiment.model_copy(update={"training": training.model_copy(update={"learning_rate": 1e-30})})


def assert_same_checkpoint(checkpoint: Checkpoint, expected: Checkpoint) -> None:
    assert checkpoint.step == expected.step
    assert list(checkpoint.weights) == list(expected.weights)
    for name, values in expected.weights.items():
        np.testing.assert_array_equal(checkpoint.weights[name], values, err_msg=name, strict=True)
    for values, expected_values in zip(checkpoint.optimizer, expected.optimizer, strict=True):
        np.testing.assert_array_equal(values, expected_values, strict=True)


def members(union: Any) -> tuple[type[Spec], ...]:
    """The classes of a discriminated union."""
    return get_args(get_args(union)[0])


class Clock:
    """A time that passes only while the loop sleeps, takes batches, measures images and looks into the network."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seconds_per_batch = 0.001
        self.seconds_per_measured_image = 0.0
        self.seconds_per_look = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The training's time."""
    from core.training import loop as training

    clock, take_steps, measure = Clock(), training._Loop.take_steps, training._Loop.measure

    def take_steps_in_time(loop, order, rates, first):
        clock.now += len(rates) * clock.seconds_per_batch
        return take_steps(loop, order, rates, first)

    def measure_in_time(loop, indices):
        clock.now += len(indices) * clock.seconds_per_measured_image
        return measure(loop, indices)

    monkeypatch.setattr(training, "time", clock)
    monkeypatch.setattr(training._Loop, "take_steps", take_steps_in_time)
    monkeypatch.setattr(training._Loop, "measure", measure_in_time)
    return clock


@pytest.fixture
def looks(monkeypatch, clock) -> list[float]:
    """When the network was looked into, by the clock: the looks themselves see nothing, and take as long as it says."""
    from core.training import loop as training

    ends: list[float] = []

    class Inspector:
        def __init__(self, network) -> None:
            pass

        def snapshot(self, step, images, labels, image, drawing, digit) -> int:
            clock.now += clock.seconds_per_look
            ends.append(clock.now)
            return step

    monkeypatch.setattr(training, "Inspector", Inspector)
    monkeypatch.setattr(training, "COLD_SNAPSHOT_SECONDS", 0.5)
    return ends


@pytest.fixture
def one_by_one(monkeypatch) -> None:
    """Commands are looked for after every batch."""
    from core.training import loop as training

    monkeypatch.setattr(training, "FIRST_CHUNK_STEPS", 1)
    monkeypatch.setattr(training, "MAX_CHUNK_STEPS", 1)


@pytest.fixture(scope="module")
def everything(dataset) -> Outcome:
    """Three epochs of seven batches, the last of each with 8 images."""
    return train(EVERYTHING, dataset)


class TestLearning:
    def test_a_small_network_learns_32_images_by_heart(self, dataset):
        experiment = Experiment(
            layers=(Conv2D(filters=8), MaxPooling2D(pool_size=2), Flatten(), Dense(units=32)),
            training=Training(
                epochs=40, batch_size=8, learning_rate=0.005, train_size=32, validation_split=0.0, schedule=Cosine()
            ),
        )

        outcome = train(experiment, dataset)

        assert outcome.rows[-1].accuracy > 0.95

    @pytest.mark.parametrize("optimizer", [*members(specs.Optimizer), lambda: SGD(momentum=0.5, nesterov=True)])
    def test_the_loss_falls_with_every_optimizer(self, tiny, dataset, optimizer):
        learning_rate = 0.1 if isinstance(optimizer(), SGD) else 0.01

        outcome = train(changed(tiny, optimizer=optimizer(), learning_rate=learning_rate, epochs=4), dataset)

        assert np.mean(outcome.losses[-5:]) < 0.75 * outcome.losses[0]

    @pytest.mark.parametrize("schedule", members(specs.Schedule))
    def test_the_loss_falls_with_every_schedule(self, tiny, dataset, schedule):
        experiment = changed(tiny, schedule=schedule(), learning_rate=0.02, epochs=4)

        outcome = train(experiment, dataset)

        assert np.mean(outcome.losses[-5:]) < 0.75 * outcome.losses[0]
        last_batches = experiment.training.learning_rates(4 * 13)[12::13]
        assert [row.learning_rate for row in outcome.rows] == last_batches.tolist()

    def test_the_loss_falls_with_label_smoothing_but_not_below_what_it_asks_for(self, tiny, dataset):
        outcome = train(changed(tiny, label_smoothing=0.2, epochs=8), dataset)

        right, wrong = 0.8 + 0.2 / 10, 0.2 / 10
        assert np.mean(outcome.losses[-5:]) < 0.75 * outcome.losses[0]
        assert min(outcome.losses) > -right * np.log(right) - 9 * wrong * np.log(wrong)

    def test_the_loss_falls_on_moved_images(self, tiny, dataset):
        still = changed(tiny, epochs=6)
        moving = changed(still, augmentation=Augmentation(shift=1.0, rotation=10.0, scale=0.1, shear=0.1))

        outcome = train(moving, dataset)

        assert np.mean(outcome.losses[-5:]) < 0.75 * outcome.losses[0]
        assert outcome.losses[0] != train(still, dataset).losses[0]

    def test_without_validation_every_image_is_trained_on(self, tiny, dataset):
        outcome = train(changed(tiny, validation_split=0.0), dataset)

        assert outcome.events[0] == Started(steps_per_epoch=16, epochs=2, batch_size=32, step=0)  # 500 / 32 and a rest
        assert [(row.val_loss, row.val_accuracy, row.confusion, row.wrongest) for row in outcome.rows] == [
            (None,) * 4
        ] * 2
        assert outcome.state is State.FINISHED


class TestEvents:
    def test_say_how_far_it_is(self, everything):
        started, *rest = everything.events
        advances = [event for event in rest if isinstance(event, Advanced)]

        assert started == Started(steps_per_epoch=7, epochs=3, batch_size=32, step=0)
        assert [len(event.loss) for event in advances] == np.diff([0, *(event.step for event in advances)]).tolist()
        assert [len(event.accuracy) for event in advances] == [len(event.loss) for event in advances]
        assert advances[-1].step == 3 * 7
        assert advances[-1].seconds_left == 0.0
        assert all(event.seconds_left >= 0 and event.images_per_second >= 0 for event in advances)
        assert [row.epoch for row in everything.rows] == [1, 2, 3]
        assert everything.state is State.FINISHED

    def test_say_the_learning_rate_of_the_batch_they_end_with(self, everything):
        rates = EVERYTHING.training.learning_rates(3 * 7)

        advances = [event for event in everything.events if isinstance(event, Advanced)]

        assert [event.learning_rate for event in advances] == [float(rates[event.step - 1]) for event in advances]

    def test_each_epoch_is_told_before_its_checkpoint_is_handed_out(self, tiny, dataset):
        told: list[Event | Checkpoint] = []

        train(tiny, dataset, on_event=told.append, on_checkpoint=told.append)

        ends = [item for item in told if isinstance(item, EpochEnded | Checkpoint)][-4:]
        assert [type(item) for item in ends] == [EpochEnded, Checkpoint, EpochEnded, Checkpoint]
        assert (ends[0].epoch, ends[2].epoch) == (1, 2)
        assert ends[3].step == 2 * ends[1].step

    def test_make_the_record_that_a_screen_shows(self, everything):
        progress = Progress.of(everything.events)

        assert (progress.step, progress.share, progress.epoch) == (21, 1.0, 3)
        assert list(progress.loss) == everything.losses
        assert [replace(row, seconds=0.0) for row in progress.history] == everything.rows


class TestAgainstKeras:
    @pytest.mark.parametrize("optimizer", [*members(specs.Optimizer), lambda: SGD(momentum=0.5, nesterov=True)])
    @pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
    def test_one_step_is_keras_own(self, dataset, optimizer, label_smoothing):
        import keras

        from core.model import keras_model

        layers = (Conv2D(filters=4), BatchNormalization(), MaxPooling2D(pool_size=4), Flatten(), Dense(units=16))
        experiment = Experiment(
            layers=layers,
            training=Training(
                epochs=1,
                batch_size=64,
                optimizer=optimizer(),
                learning_rate=0.01,
                label_smoothing=label_smoothing,
                train_size=64,
                validation_split=0.0,
            ),
        )
        indices, _ = datasets.split(dataset.y_train, 64, 0.0, seed=0)
        indices = np.random.default_rng((0, 1)).permutation(indices)  # seed 0, epoch 1; sums in float32 mind the order
        network = keras_model.build(experiment)
        y = dataset.y_train[indices]

        loss, accuracy = network.train_on_batch(
            dataset.x_train[indices, ..., None], keras.ops.one_hot(y, 10) if label_smoothing else y
        )
        outcome = train(experiment, dataset)

        assert outcome.losses == [pytest.approx(float(loss), rel=1e-5)]
        assert outcome.accuracies == [pytest.approx(float(accuracy))]
        weights, optimizer_variables = keras_model.variables(network)
        for name, values in weights.items():
            np.testing.assert_allclose(outcome.checkpoints[0].weights[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
        for ours, theirs in zip(outcome.checkpoints[0].optimizer, optimizer_variables, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

    def test_an_epochs_validation_is_what_evaluate_says(self, dataset, everything):
        from core.model import keras_model

        unsmoothed = changed(EVERYTHING, label_smoothing=0.0)
        _, held_out = datasets.split(dataset.y_train, 250, 0.2, seed=3)
        for row, checkpoint in zip(everything.rows, everything.checkpoints, strict=True):
            network = keras_model.build(unsmoothed)
            keras_model.set_variables(network, checkpoint.weights)

            loss, accuracy = network.evaluate(
                dataset.x_train[held_out, ..., None], dataset.y_train[held_out], batch_size=7, verbose=0
            )

            assert len(held_out) == 50
            assert row.val_loss == pytest.approx(loss, rel=1e-5)
            assert row.val_accuracy == pytest.approx(accuracy)

    def test_a_penalty_is_part_of_what_is_minimised_and_of_no_validation_loss(self, tiny, dataset):
        from core.model import keras_model

        penalised = specs.replaced(
            tiny,
            layers=(
                Conv2D(filters=4, kernel_regularizer=0.02),
                MaxPooling2D(pool_size=4),
                Flatten(),
                Dense(units=16, kernel_regularizer=0.05),
            ),
        )
        trained_on, held_out = datasets.split(dataset.y_train, 500, 0.2, seed=0)
        network = keras_model.build(penalised)
        losses = []
        for epoch in (1, 2):
            order = np.random.default_rng((0, epoch)).permutation(trained_on)
            fitted = network.fit(
                dataset.x_train[order, ..., None], dataset.y_train[order], batch_size=32, shuffle=False, verbose=0
            )
            losses += fitted.history["loss"]
        val_loss, _ = network.evaluate(dataset.x_train[held_out, ..., None], dataset.y_train[held_out], verbose=0)

        outcome = train(penalised, dataset)

        penalty = float(sum(network.losses))
        assert penalty > 0.1
        assert [row.loss for row in outcome.rows] == [pytest.approx(loss, rel=1e-4) for loss in losses]
        assert outcome.rows[-1].val_loss == pytest.approx(val_loss - penalty, rel=1e-3)

    def test_an_epochs_confusion_and_wrongest_are_those_of_its_own_predictions(self, dataset, everything):
        from sklearn.metrics import confusion_matrix

        from core.model import keras_model

        network = keras_model.build(EVERYTHING)
        _, held_out = datasets.split(dataset.y_train, 250, 0.2, seed=3)
        y_true = dataset.y_train[held_out]
        for row, checkpoint in zip(everything.rows, everything.checkpoints, strict=True):
            keras_model.set_variables(network, checkpoint.weights)
            probabilities = network.predict_on_batch(dataset.x_train[held_out, ..., None])
            read, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
            wrong = sorted(np.flatnonzero(read != y_true), key=lambda i, sure=surest: -sure[i])[:10]

            assert row.confusion == tuple(confusion_matrix(y_true, read, labels=range(10)).ravel().tolist())
            assert row.wrongest == tuple(
                (int(held_out[i]), int(read[i]), pytest.approx(float(surest[i]), rel=1e-4)) for i in wrong
            )
            assert len(row.wrongest) == 10

    def test_an_epochs_loss_counts_every_image_once_though_the_last_batch_is_smaller(self, tiny, dataset):
        """Where nothing is learned, an epoch's means are those of all images at the initial weights."""
        from core.model import keras_model

        still = standing_still(tiny)
        trained_on, _ = datasets.split(dataset.y_train, 500, 0.2, seed=0)

        outcome = train(still, dataset)
        loss, accuracy = keras_model.build(still).evaluate(
            dataset.x_train[trained_on, ..., None], dataset.y_train[trained_on], verbose=0
        )

        assert len(trained_on) % 32 == 16
        assert [row.loss for row in outcome.rows] == [pytest.approx(loss, rel=1e-5)] * 2
        assert [row.accuracy for row in outcome.rows] == [pytest.approx(accuracy)] * 2


class TestReproducibility:
    def test_the_same_experiment_gives_the_same_numbers(self, dataset, everything):
        again = train(EVERYTHING, dataset)

        assert again.rows == everything.rows
        assert again.losses == everything.losses
        for checkpoint, expected in zip(again.checkpoints, everything.checkpoints, strict=True):
            assert_same_checkpoint(checkpoint, expected)

    def test_another_seed_gives_others(self, dataset, everything):
        other = train(changed(EVERYTHING, seed=4), dataset)

        assert other.losses[0] != everything.losses[0]
        assert other.rows[-1].loss != everything.rows[-1].loss
        assert not np.array_equal(
            other.checkpoints[0].weights["01_conv2d.0.kernel"], everything.checkpoints[0].weights["01_conv2d.0.kernel"]
        )

    @pytest.mark.parametrize("steps", [1, 3, 512])
    def test_the_size_of_chunks_changes_no_number(self, dataset, everything, monkeypatch, steps):
        from core.training import loop as training

        monkeypatch.setattr(training, "FIRST_CHUNK_STEPS", steps)
        monkeypatch.setattr(training, "MAX_CHUNK_STEPS", steps)
        monkeypatch.setattr(training, "CHUNK_SECONDS", 1e6)  # a loaded machine takes smaller ones

        outcome = train(EVERYTHING, dataset)

        assert max(len(event.loss) for event in outcome.events if isinstance(event, Advanced)) == min(steps, 7)
        assert outcome.rows == everything.rows
        assert outcome.losses == everything.losses
        assert_same_checkpoint(outcome.checkpoints[-1], everything.checkpoints[-1])

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_going_on_from_an_epochs_end_gives_the_numbers_of_a_training_never_interrupted(
        self, dataset, everything, runs_root, epoch
    ):
        run = registry.create(EVERYTHING, "Interrupted")
        for checkpoint in everything.checkpoints[:epoch]:
            run.write_epoch(Progress(history=everything.rows[:1]), checkpoint)

        outcome = train(run.experiment(), dataset, resume_from=run.last_checkpoint())

        assert outcome.events[0] == Started(steps_per_epoch=7, epochs=3, batch_size=32, step=7 * epoch)
        assert outcome.rows == everything.rows[epoch:]
        assert outcome.losses == everything.losses[7 * epoch :]
        assert_same_checkpoint(outcome.checkpoints[-1], everything.checkpoints[-1])

    def test_going_on_from_the_last_epoch_trains_no_further(self, dataset, everything):
        outcome = train(EVERYTHING, dataset, resume_from=everything.checkpoints[-1])

        assert outcome.events == [Started(steps_per_epoch=7, epochs=3, batch_size=32, step=21)]
        assert outcome.state is State.FINISHED

    def test_another_networks_checkpoint_is_refused(self, tiny, dataset, everything):
        with pytest.raises(RunDamaged, match="another network's"):
            train(tiny, dataset, resume_from=everything.checkpoints[0])


class TestCommands:
    def test_a_stop_ends_within_one_chunk(self, tiny, dataset):
        told: list[Event] = []

        outcome = train(
            tiny, dataset, read_command=after(told, Advanced, Command(is_stopping=True)), on_event=told.append
        )

        assert outcome.state is State.STOPPED
        assert [type(event) for event in told] == [Started, Advanced, StateChanged]
        assert told[-1] == StateChanged(State.STOPPING)
        assert outcome.checkpoints == []

    def test_a_stop_keeps_the_epochs_that_were_whole(self, tiny, dataset):
        told: list[Event] = []

        outcome = train(
            tiny, dataset, read_command=after(told, EpochEnded, Command(is_stopping=True)), on_event=told.append
        )

        assert outcome.state is State.STOPPED
        assert len(outcome.checkpoints) == 1
        assert max(event.step for event in told if isinstance(event, Advanced)) == 13

    def test_a_pause_holds_the_step_and_changes_no_number(self, dataset, everything):
        told: list[Event] = []
        lengths_while_paused: list[int] = []

        def read_command() -> Command:
            if len(told) < 2 or len(lengths_while_paused) == 3:
                return Command()
            lengths_while_paused.append(len(told))
            return Command(is_paused=True)

        outcome = train(EVERYTHING, dataset, read_command=read_command, on_event=told.append)

        first = lengths_while_paused[0]
        assert lengths_while_paused == [first, first + 1, first + 1]  # nothing is told but that it is paused
        assert told[first : first + 2] == [StateChanged(State.PAUSED), StateChanged(State.RUNNING)]
        assert isinstance(told[first + 2], Advanced)
        assert [replace(event, seconds=0.0) for event in told if isinstance(event, EpochEnded)] == everything.rows
        assert_same_checkpoint(outcome.checkpoints[-1], everything.checkpoints[-1])

    def test_a_stop_reaches_a_paused_training(self, tiny, dataset):
        told: list[Event] = []
        commands = [Command(), *[Command(is_paused=True)] * 3, Command(is_paused=True, is_stopping=True)]

        outcome = train(tiny, dataset, read_command=lambda: commands.pop(0), on_event=told.append)

        assert outcome.state is State.STOPPED
        assert told[-2:] == [StateChanged(State.PAUSED), StateChanged(State.STOPPING)]
        assert commands == []

    def test_a_training_begun_paused_takes_no_batch(self, tiny, dataset, clock):
        told: list[Event] = []
        commands = [*[Command(is_paused=True)] * 5, Command(is_paused=True, is_stopping=True)]

        outcome = train(tiny, dataset, read_command=lambda: commands.pop(0), on_event=told.append)

        assert told == [Started(13, 2, 32, 0), StateChanged(State.PAUSED), StateChanged(State.STOPPING)]
        assert [checkpoint.step for checkpoint in outcome.early] == [0]
        assert commands == []

    def test_a_paused_training_goes_on_by_as_many_batches_as_it_is_told_and_changes_no_number(
        self, dataset, everything, clock
    ):
        stops = [1, 2, 7, 8, 14]  # two single batches, the epoch's end, one more, the next end
        told: list[Event] = []
        looks: list[int] = []

        def read_command() -> Command:
            step = told[-1].step if isinstance(told[-1], Started) else max(steps_of(told), default=0)
            ahead = [stop for stop in stops if stop > step]
            looks.append(step)
            waits = step in (0, *stops) and looks.count(step) <= 3
            return Command(is_paused=True, until_step=step if waits else ahead[0]) if ahead else Command()

        outcome = train(EVERYTHING, dataset, on_event=told.append, read_command=read_command)

        pauses = [i for i, event in enumerate(told) if event == StateChanged(State.PAUSED)]
        assert [max(steps_of(told[:i]), default=0) for i in pauses] == [0, *stops[:-1]]
        assert isinstance(told[pauses[3] - 1], EpochEnded)  # told before it waits, not after
        assert [loss for event in told if isinstance(event, Advanced) for loss in event.loss] == everything.losses
        assert [replace(event, seconds=0.0) for event in told if isinstance(event, EpochEnded)] == everything.rows
        assert_same_checkpoint(outcome.checkpoints[-1], everything.checkpoints[-1])


def steps_of(told: list[Event]) -> list[int]:
    return [event.step for event in told if isinstance(event, Advanced)]


def after(told: list[Event], kind: type[Event], command: Command) -> Callable[[], Command]:
    """Nothing is asked for until an event of this kind has been told, then this."""
    return lambda: command if any(isinstance(event, kind) for event in told) else Command()


class TestSlowMotion:
    @pytest.mark.parametrize("batches_per_second", [4.0, 40.0])
    def test_takes_as_many_batches_per_second_as_asked_for(self, tiny, dataset, clock, batches_per_second):
        clock.seconds_per_batch = 0.01

        drive(tiny, dataset, {0: Command(batches_per_second=batches_per_second)})

        assert 26 / batches_per_second <= clock.now <= 1.1 * 26 / batches_per_second

    def test_a_batch_that_takes_its_time_is_not_waited_for_twice(self, tiny, dataset, clock):
        clock.seconds_per_batch = 0.2

        drive(tiny, dataset, {0: Command(batches_per_second=4.0)})

        assert 26 / 4 <= clock.now <= 1.1 * 26 / 4

    def test_ends_at_once_on_another_command(self, tiny, dataset, clock):
        commands = [Command(batches_per_second=0.001)] * 3

        outcome = train(tiny, dataset, read_command=lambda: commands.pop() if commands else Command())

        assert outcome.state is State.FINISHED
        assert clock.now < 0.2  # of the thousand seconds of its first batch

    @pytest.mark.parametrize("command", [Command(is_stopping=True), Command(is_paused=True)])
    def test_a_stop_or_a_pause_takes_no_further_batch(self, tiny, dataset, clock, command):
        commands = [Command(batches_per_second=0.001)] * 2

        outcome = train(
            tiny,
            dataset,
            read_command=lambda: (
                commands.pop() if commands else command if clock.now < 1 else Command(is_stopping=True)
            ),
        )

        assert steps_of(outcome.events) == [1]

    def test_is_looked_at_after_every_batch_where_a_look_fits_into_the_wait(self, tiny, dataset, clock, looks):
        clock.seconds_per_look = 0.1
        steps: list[int] = []

        drive(tiny, dataset, {0: Command(batches_per_second=4.0, is_watched=True)}, on_snapshot=steps.append)

        assert steps == list(range(1, 27))
        assert clock.now <= 1.1 * 26 / 4

    def test_is_looked_at_once_where_looks_would_make_it_slower(self, tiny, dataset, clock, looks):
        clock.seconds_per_look = 1.0

        drive(tiny, dataset, {0: Command(batches_per_second=4.0, is_watched=True)})

        assert len(looks) == 1


@pytest.mark.usefixtures("one_by_one")
class TestLiveHyperparameters:
    def test_a_turned_learning_rate_holds_from_that_batch_on_and_after_a_resume(self, dataset, everything):
        changes = [HyperparameterChanged(3, "learning_rate", 0.02), HyperparameterChanged(10, "learning_rate", 0.005)]
        commands = {0: Command(), 3: Command(learning_rate=0.02), 10: Command(learning_rate=0.005)}

        whole = drive(EVERYTHING, dataset, commands)
        resumed = drive(EVERYTHING, dataset, commands, resume_from=whole.checkpoints[0], changes=changes)

        planned, higher, lower = (
            changed(EVERYTHING, learning_rate=rate).training.learning_rates(21) for rate in (0.01, 0.02, 0.005)
        )
        rates = [event.learning_rate for event in whole.events if isinstance(event, Advanced)]
        assert rates == [*planned[:3].tolist(), *higher[3:10].tolist(), *lower[10:].tolist()]
        assert [event for event in whole.events if isinstance(event, HyperparameterChanged)] == changes
        assert [event for event in resumed.events if isinstance(event, HyperparameterChanged)] == changes[1:]
        assert whole.losses[:4] == everything.losses[:4]  # the fourth is of the weights that the third batch left
        assert whole.losses[4] != everything.losses[4]
        assert resumed.losses == whole.losses[7:]
        assert_same_checkpoint(resumed.checkpoints[-1], whole.checkpoints[-1])

    def test_turned_dropout_is_that_of_the_recipe_with_these_rates(self, dataset):
        other = specs.replaced(
            EVERYTHING,
            layers=tuple(
                specs.replaced(layer, rate=0.6) if isinstance(layer, Dropout) else layer for layer in EVERYTHING.layers
            ),
        )

        turned = drive(EVERYTHING, dataset, {0: Command(dropout=0.6)})

        assert turned.losses == train(other, dataset).losses

    def test_turned_dropout_holds_from_that_batch_on_and_after_a_resume(self, dataset, everything):
        changes, commands = [HyperparameterChanged(10, "dropout", 0.6)], {0: Command(), 10: Command(dropout=0.6)}

        whole = drive(EVERYTHING, dataset, commands)
        resumed = drive(EVERYTHING, dataset, commands, resume_from=whole.checkpoints[1], changes=changes)

        assert [event for event in whole.events if isinstance(event, HyperparameterChanged)] == changes
        assert whole.losses[:10] == everything.losses[:10]
        assert whole.losses[10] != everything.losses[10]
        assert resumed.losses == whole.losses[14:]
        assert_same_checkpoint(resumed.checkpoints[-1], whole.checkpoints[-1])

    def test_dropout_turned_to_zero_drops_nothing(self, tiny, dataset):
        dropping, hardly = (
            specs.replaced(tiny, layers=(Flatten(), Dense(units=16), Dropout(rate=rate))) for rate in (0.5, 1e-12)
        )

        outcome = drive(dropping, dataset, {0: Command(dropout=0.0)})

        np.testing.assert_allclose(outcome.losses, train(hardly, dataset).losses, rtol=1e-5)

    @pytest.mark.parametrize("layers", [(), (Dropout(rate=0.0),)], ids=["no dropout", "rate 0"])
    def test_dropout_turned_where_nothing_can_drop_changes_no_number(self, tiny, dataset, layers):
        experiment = specs.replaced(tiny, layers=(Flatten(), *layers))

        outcome = drive(experiment, dataset, {0: Command(dropout=0.5)})

        assert outcome.losses == train(experiment, dataset).losses

    def test_a_knob_turned_before_the_first_batch_stays_turned_where_that_is_taken_again(self, tiny, dataset):
        """It was stopped before its first epoch's end, so that nothing but the turn is left of it."""
        turned = drive(tiny, dataset, {0: Command(learning_rate=0.5)})

        again = train(
            tiny,
            dataset,
            changes=[HyperparameterChanged(0, "learning_rate", 0.5), HyperparameterChanged(5, "learning_rate", 0.1)],
        )

        assert again.losses == turned.losses

    def test_what_is_left_is_told_as_before_after_dropout_was_turned(self, dataset, clock):
        clock.seconds_per_batch = 2.0

        outcome = drive(EVERYTHING, dataset, {0: Command(), 10: Command(dropout=0.6)})

        advances = [event for event in outcome.events if isinstance(event, Advanced)]
        assert [event.seconds_left for event in advances[1:]] == [2.0 * (21 - step) for step in range(2, 22)]
        assert [event.step for event in advances if event.images_per_second == 0] == [1, 11]  # these are compiled


class TestEarlyCheckpoints:
    def test_are_of_the_first_epoch_by_powers_of_two(self, tiny, dataset, everything):
        of_13_batches = train(tiny, dataset)
        of_16_batches = train(changed(tiny, validation_split=0.0, epochs=2), dataset)

        assert [checkpoint.step for checkpoint in everything.early] == [0, 1, 2, 4]
        assert [checkpoint.step for checkpoint in of_13_batches.early] == [0, 1, 2, 4, 8]
        assert [checkpoint.step for checkpoint in of_16_batches.early] == [0, 1, 2, 4, 8]
        assert [checkpoint.step for checkpoint in of_16_batches.checkpoints] == [16, 32]

    def test_are_of_the_network_after_as_many_batches(self, dataset, everything):
        from core.model import keras_model

        initial, _ = keras_model.variables(keras_model.build(EVERYTHING))
        stopped = drive(EVERYTHING, dataset, {0: Command(), 4: Command(is_stopping=True)})
        after_four, _ = keras_model.variables(stopped.network)

        assert steps_of(stopped.events)[-1] == 4
        for checkpoint, expected in ((everything.early[0], initial), (everything.early[3], after_four)):
            for name, values in expected.items():
                np.testing.assert_array_equal(checkpoint.weights[name], values, err_msg=name)

    @pytest.mark.usefixtures("one_by_one")
    @pytest.mark.parametrize(("stop", "kept"), [(0, [0]), (4, [0, 1, 2, 4]), (5, [0, 1, 2, 4, 5]), (7, [0, 1, 2, 4])])
    def test_a_stop_within_an_epoch_hands_out_the_network_as_it_is(self, dataset, stop, kept):
        from core.model import keras_model

        stopped = drive(EVERYTHING, dataset, {0: Command(), stop: Command(is_stopping=True)})

        assert sorted({checkpoint.step for checkpoint in stopped.early}) == kept
        if stop in kept:
            for name, values in keras_model.variables(stopped.network)[0].items():
                np.testing.assert_array_equal(stopped.early[-1].weights[name], values, err_msg=name)

    def test_are_none_after_a_resume(self, dataset, everything):
        resumed = train(EVERYTHING, dataset, resume_from=everything.checkpoints[1])

        assert resumed.early == []


class TestSnapshots:
    @pytest.mark.parametrize("is_watched", [False, True])
    def test_are_taken_only_while_someone_watches(self, tiny, dataset, clock, looks, is_watched):
        clock.seconds_per_batch = 20.0

        drive(tiny, dataset, {0: Command(is_watched=is_watched)})

        assert bool(looks) is is_watched

    def test_are_taken_of_no_paused_training_that_nobody_watches(self, tiny, dataset, clock, looks):
        commands = [*[Command(is_paused=True)] * 5, Command(is_stopping=True)]

        train(tiny, dataset, read_command=lambda: commands.pop(0))

        assert looks == []

    @pytest.mark.parametrize(("seconds_per_look", "most"), [(0.05, 49), (0.4, 22)])
    def test_take_no_more_than_their_share_of_the_training_time(
        self, tiny, dataset, clock, looks, seconds_per_look, most
    ):
        """Of 52 batches there is a look after each from when the first fits in, or as many as 3 % of 51 * 6 s hold."""
        clock.seconds_per_batch, clock.seconds_per_look = 6.0, seconds_per_look

        drive(changed(tiny, epochs=4), dataset, {0: Command(is_watched=True)})

        spent = seconds_per_look * np.arange(1, len(looks) + 1)
        shares = spent / (np.array(looks) - spent)
        assert shares.max() <= 0.03
        assert len(looks) == most

    def test_leave_two_seconds_of_training_between_them_however_quick_they_are(self, tiny, dataset, clock, looks):
        clock.seconds_per_batch, clock.seconds_per_look = 0.5, 0.001

        drive(changed(tiny, epochs=4), dataset, {0: Command(is_watched=True)})

        assert len(looks) >= 4
        assert np.diff(looks).min() >= 2.0

    def test_make_up_for_one_that_took_longer_than_expected(self, tiny, dataset, clock, looks):
        clock.seconds_per_batch, clock.seconds_per_look = 6.0, 2.0

        drive(changed(tiny, epochs=4), dataset, {0: Command(is_watched=True)})

        spent = 2.0 * np.arange(1, len(looks) + 1)
        shares = spent / (np.array(looks) - spent)
        assert len(looks) >= 4
        assert shares[0] > 0.03
        assert shares[1:].max() <= 0.03

    def test_are_one_for_each_step_and_digit_while_paused(self, tiny, dataset, clock):
        paused = Command(is_paused=True, is_watched=True)
        commands = [
            *[replace(paused, digit=7)] * 3,
            *[replace(paused, digit=3)] * 3,
            *[replace(paused, digit=3, until_step=1)] * 4,
            Command(is_stopping=True),
        ]
        snapshots = []

        outcome = train(tiny, dataset, read_command=lambda: commands.pop(0), on_snapshot=snapshots.append)

        _, held_out = datasets.split(dataset.y_train, 500, 0.2, seed=0)
        first = {digit: dataset.x_train[held_out[dataset.y_train[held_out] == digit][0]] for digit in (7, 3)}
        assert steps_of(outcome.events) == [1]
        assert [snapshot.step for snapshot in snapshots] == [0, 0, 1]
        for snapshot, digit in zip(snapshots, (7, 3, 3), strict=True):
            np.testing.assert_array_equal(snapshot.image, first[digit])

    def test_are_of_the_network_as_it_is_and_of_its_last_batch(self, tiny, dataset, clock):
        from core.explain.inspection import Inspector

        commands = [*[Command(is_paused=True, is_watched=True, until_step=2)] * 6, Command(is_stopping=True)]
        snapshots = []

        outcome = train(tiny, dataset, read_command=lambda: commands.pop(0), on_snapshot=snapshots.append)

        trained_on, _ = datasets.split(dataset.y_train, 500, 0.2, seed=0)
        second = np.random.default_rng((0, 1)).permutation(trained_on)[32:64]
        expected = Inspector(outcome.network).snapshot(
            2, dataset.x_train[second, ..., None], dataset.y_train[second], snapshots[-1].image
        )
        assert [snapshot.step for snapshot in snapshots] == [2]
        assert snapshots[0].gradient_norms == pytest.approx(expected.gradient_norms, rel=1e-5)
        assert snapshots[0].dead == expected.dead
        np.testing.assert_array_equal(snapshots[0].kernels, expected.kernels)

    def test_change_no_number(self, dataset, everything, clock):
        clock.seconds_per_batch = 20.0
        snapshots = []

        outcome = drive(EVERYTHING, dataset, {0: Command(is_watched=True)}, on_snapshot=snapshots.append)

        assert snapshots
        assert outcome.losses == everything.losses
        assert_same_checkpoint(outcome.checkpoints[-1], everything.checkpoints[-1])


class TestSecondsPerEpoch:
    def test_are_its_batches_and_its_validation(self, tiny, dataset, clock, monkeypatch):
        """Though not all of either is tried."""
        from core.model import ledger
        from core.training import loop as training

        monkeypatch.setattr(ledger, "EVALUATION_BATCH", 40)
        clock.seconds_per_batch, clock.seconds_per_measured_image = 0.25, 0.01

        assert training.seconds_per_epoch(tiny, dataset) == pytest.approx(13 * 0.25 + 100 * 0.01)
        assert training.seconds_per_epoch(changed(tiny, validation_split=0.0), dataset) == pytest.approx(16 * 0.25)

    @pytest.mark.parametrize(
        "changes",
        [{"validation_split": 0.0}, {"train_size": 20, "batch_size": 1024}],
        ids=["no validation", "one batch of 16 images"],
    )
    def test_are_some(self, tiny, dataset, changes):
        from core.training import loop as training

        assert 0 < training.seconds_per_epoch(changed(tiny, **changes), dataset) < 60


class TestFindRange:
    def test_tries_a_hundred_rising_rates_where_nothing_explodes(self, tiny, dataset, monkeypatch):
        from core.training import loop as training

        monkeypatch.setattr(range_test, "EXPLODED", np.inf)

        found = training.find_range(tiny, dataset)

        np.testing.assert_array_equal(found.learning_rates, np.geomspace(1e-6, 10, 100, dtype=np.float32))
        assert found.losses.shape == (100,)
        assert np.isfinite(found.losses).all()
        assert found.losses[:50].min() < found.losses[0]

    def test_ends_soon_after_the_loss_has_exploded(self, dataset):
        from core.training import loop as training

        found = training.find_range(BURSTING, dataset)

        seen = range(range_test.STEPS_AT_ONCE, len(found.losses) + 1, range_test.STEPS_AT_ONCE)
        assert len(found.losses) == len(found.learning_rates) < 100
        assert [end for end in seen if range_test.has_exploded(found.losses[:end])] == [len(found.losses)]

    @pytest.mark.parametrize("batch_size", [8, 64])
    def test_goes_round_a_set_smaller_than_its_hundred_batches(self, tiny, dataset, batch_size):
        """Of 20 images, 16 are trained on; the first step is too small to be seen."""
        from core.model import keras_model
        from core.training import loop as training

        experiment = changed(tiny, train_size=20, batch_size=batch_size)
        trained_on, _ = datasets.split(dataset.y_train, 20, 0.2, seed=0)
        order = np.random.default_rng((0, 1)).permutation(trained_on)[np.arange(batch_size) % 16]
        loss, _ = keras_model.build(experiment).evaluate(
            dataset.x_train[order, ..., None], dataset.y_train[order], batch_size=batch_size, verbose=0
        )

        found = training.find_range(experiment, dataset)

        assert found.losses[0] == pytest.approx(loss, rel=1e-4)
        assert range_test.STEPS_AT_ONCE < len(found.losses) == len(found.learning_rates) <= 100


class TestEnds:
    def test_a_loss_that_is_not_finite_ends_it_and_earlier_epochs_are_kept(self, dataset):
        from core.training import loop as training

        events, checkpoints = [], []

        with pytest.raises(LossNotFinite, match=r"^The .*loss became (nan|inf) .*\. Try a lower learning rate"):
            training.train(BURSTING, dataset, events.append, on_checkpoint=checkpoints.append)

        rows = [event for event in events if isinstance(event, EpochEnded)]
        assert 1 <= len(rows) < 40
        assert len([checkpoint for checkpoint in checkpoints if checkpoint.optimizer]) == len(rows)
        assert np.isfinite([row.loss for row in rows]).all()

    def test_no_epoch_is_kept_whose_network_has_burst(self, dataset):
        from core.training import loop as training

        events, checkpoints = [], []

        with pytest.raises(LossNotFinite):
            training.train(BURSTING, dataset, events.append, on_checkpoint=checkpoints.append)

        rows = [event for event in events if isinstance(event, EpochEnded)]
        assert np.isfinite([row.val_loss for row in rows]).all()
        assert len([checkpoint for checkpoint in checkpoints if checkpoint.optimizer]) == len(rows)

    @pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 3), (6, 6)])
    def test_patience_ends_it_after_as_many_epochs_without_a_better_validation_loss(
        self, tiny, dataset, patience, epochs
    ):
        """Where nothing is learned, no epoch is better than the first."""
        still = standing_still(tiny, epochs=6, patience=patience)

        outcome = train(still, dataset)

        assert outcome.state is State.FINISHED
        assert [row.epoch for row in outcome.rows] == list(range(1, epochs + 1))
        assert len({row.val_loss for row in outcome.rows}) == 1

    def test_patience_counts_the_epochs_before_an_interruption(self, tiny, dataset):
        still = standing_still(tiny, epochs=6, patience=2)
        whole = train(still, dataset)

        resumed = train(still, dataset, resume_from=whole.checkpoints[1], history=whole.rows[:2])

        assert [row.epoch for row in whole.rows] == [1, 2, 3]
        assert resumed.rows == whole.rows[2:]

    def test_patience_has_nothing_to_say_where_the_data_set_is_too_small_to_hold_any_image_out(self, tiny, dataset):
        """60,000 images asked for leave 12 to hold out; the stand-in's 1,497 leave none."""
        experiment = changed(tiny, train_size=60_000, validation_split=0.0002, patience=1)

        outcome = train(experiment, dataset)

        assert [(row.epoch, row.val_loss) for row in outcome.rows] == [(1, None), (2, None)]

    def test_patience_waits_while_the_validation_loss_gets_better(self, tiny, dataset):
        outcome = train(changed(tiny, optimizer=Adam(), learning_rate=0.002, epochs=4, patience=1), dataset)

        val_losses = [row.val_loss for row in outcome.rows]
        assert val_losses == sorted(val_losses, reverse=True)
        assert len(val_losses) == 4


class TestModel:
    def test_takes_raw_pixels_of_any_type_and_gives_probabilities(self, tiny, dataset):
        from core.model import keras_model

        network = keras_model.build(tiny)
        pixels = dataset.x_test[:20, ..., None]

        from_bytes = network.predict_on_batch(pixels)

        assert from_bytes.shape == (20, 10)
        assert from_bytes.dtype == np.float32
        np.testing.assert_allclose(from_bytes.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(network.predict_on_batch(pixels.astype(np.float32)), from_bytes, rtol=1e-6)

    def test_a_seed_gives_the_same_network_whatever_else_draws_random_numbers_meanwhile(self):
        """A network of every kind of layer, and one of every kind of initializer."""
        from core.model import keras_model

        with drawing_random_numbers():
            for experiment in EVERY_LAYER, EVERY_INITIALIZER:
                networks = [keras_model.variables(keras_model.build(experiment))[0] for _ in range(3)]
                other = keras_model.variables(keras_model.build(changed(experiment, seed=4)))[0]

                kernels = [name for name in networks[0] if name.endswith("kernel") or "seed_generator" in name]
                assert len(kernels) >= 7
                for name, values in networks[0].items():
                    assert all(np.array_equal(values, again[name]) for again in networks[1:]), name
                assert not any(np.array_equal(networks[0][name], other[name]) for name in kernels)

    def test_all_trainings_share_one_copy_of_the_images_and_none_is_compiled_in(self, tiny, dataset):
        from core.training import loop as training

        loops = [training._Loop(changed(tiny, seed=seed), dataset, *training._NOBODY) for seed in (1, 2)]
        for loop in loops:
            loop.take_steps(np.arange(64, dtype=np.int32), loop.learning_rates[:2], 0)
            loop.measure(loop.validation_indices)

        assert loops[0]._images[0] is loops[1]._images[0]
        compiled = [
            function.get_concrete_function().graph for loop in loops for function in (loop._take_steps, loop._measure)
        ]
        constants = [
            operation.outputs[0].shape.num_elements()
            for graph in compiled
            for operation in graph.get_operations()
            if operation.type == "Const"
        ]
        captured = [
            tensor.shape.num_elements()
            for graph in compiled
            for tensor, _ in graph.captures
            if tensor.dtype != "resource"
        ]
        assert max([*constants, *captured]) < dataset.x_train[0].size

    def test_an_impossible_stack_is_refused_before_anything_is_built(self):
        from core.errors import SpecError
        from core.model import keras_model

        with pytest.raises(SpecError, match=r"^The output layer: "):
            keras_model.build(Experiment(layers=()))

    def test_state_that_was_taken_can_be_given_to_a_network_of_the_same_kind(self, dataset, everything):
        from core.model import keras_model

        network = keras_model.build(EVERYTHING)

        keras_model.set_variables(network, everything.checkpoints[-1].weights, everything.checkpoints[-1].optimizer)

        assert_same_checkpoint(Checkpoint(21, *keras_model.variables(network)), everything.checkpoints[-1])
        pixels = dataset.x_test[:20, ..., None]
        np.testing.assert_array_equal(network.predict_on_batch(pixels), everything.network.predict_on_batch(pixels))

    def test_state_that_was_taken_does_not_change_with_the_network(self, tiny, dataset):
        from core.model import keras_model

        network = keras_model.build(tiny)
        weights, _ = keras_model.variables(network)
        before = {name: values.copy() for name, values in weights.items()}
        network.train_on_batch(dataset.x_train[:32, ..., None], dataset.y_train[:32])

        for name, values in weights.items():
            np.testing.assert_array_equal(values, before[name])

    def test_names_of_variables_do_not_depend_on_what_was_built_before(self, everything):
        from core.model import keras_model

        first, second = (list(keras_model.variables(keras_model.build(EVERYTHING))[0]) for _ in range(2))

        assert first == second == list(everything.checkpoints[0].weights)

    @pytest.mark.parametrize("optimizer", [Adam(), AdamW(), SGD(momentum=0.3, nesterov=True), RMSprop(rho=0.8)])
    def test_the_optimizer_gets_the_fields_of_its_spec(self, tiny, optimizer):
        from core.model import keras_model

        built = keras_model.build(changed(tiny, optimizer=optimizer)).optimizer.get_config()

        asked = {"learning_rate": 0.01, **optimizer.model_dump(exclude={"kind"})}
        assert {name: built[name] for name in asked} == {name: pytest.approx(value) for name, value in asked.items()}
