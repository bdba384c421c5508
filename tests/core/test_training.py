"""Training learns, repeats itself exactly, obeys, survives interruption, and takes the very steps that Keras would."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest

from core import data, runs, specs
from core.errors import LossNotFinite, RunDamaged
from core.progress import Advanced, Command, EpochEnded, Event, Progress, Started, State, StateChanged
from core.runs import Checkpoint
from core.specs import (
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


@dataclass(frozen=True)
class Outcome:
    """All that a training told and left."""

    network: Any
    state: State
    events: list[Event]
    checkpoints: list[Checkpoint]

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


def train(experiment: Experiment, dataset: data.Dataset, **options: Any) -> Outcome:
    from core import training

    events, checkpoints = [], []
    usual = {"on_event": events.append, "on_checkpoint": checkpoints.append}
    network, state = training.train(experiment, dataset, **{**usual, **options})
    return Outcome(network, state, events, checkpoints)


def changed(experiment: Experiment, **changes: Any) -> Experiment:
    """The experiment with some of its training's fields changed."""
    return specs.replaced(experiment, training=specs.replaced(experiment.training, **changes))


def assert_same_checkpoint(checkpoint: Checkpoint, expected: Checkpoint) -> None:
    assert checkpoint.epoch == expected.epoch
    assert list(checkpoint.weights) == list(expected.weights)
    for name, values in expected.weights.items():
        np.testing.assert_array_equal(checkpoint.weights[name], values, err_msg=name, strict=True)
    for values, expected_values in zip(checkpoint.optimizer, expected.optimizer, strict=True):
        np.testing.assert_array_equal(values, expected_values, strict=True)


def members(union: Any) -> tuple[type[Spec], ...]:
    """The classes of a discriminated union."""
    return get_args(get_args(union)[0])


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
        moving = changed(still, augmentation=Augmentation(shift=1.0, rotation=10.0, zoom=0.1, shear=0.1))

        outcome = train(moving, dataset)

        assert np.mean(outcome.losses[-5:]) < 0.75 * outcome.losses[0]
        assert outcome.losses[0] != train(still, dataset).losses[0]

    def test_without_validation_every_image_is_trained_on(self, tiny, dataset):
        outcome = train(changed(tiny, validation_split=0.0), dataset)

        assert outcome.events[0] == Started(steps_per_epoch=16, epochs=2, batch_size=32, step=0)  # 500 / 32 and a rest
        assert [(row.val_loss, row.val_accuracy) for row in outcome.rows] == [(None, None)] * 2
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

        ends = [(type(item), item.epoch) for item in told if isinstance(item, EpochEnded | Checkpoint)]
        assert ends == [(EpochEnded, 1), (Checkpoint, 1), (EpochEnded, 2), (Checkpoint, 2)]

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

        from core import model

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
        indices, _ = data.split(dataset.y_train, 64, 0.0, seed=0)
        indices = np.random.default_rng((0, 1)).permutation(indices)  # seed 0, epoch 1; sums in float32 mind the order
        network = model.build(experiment)
        y = dataset.y_train[indices]

        loss, accuracy = network.train_on_batch(
            dataset.x_train[indices, ..., None], keras.ops.one_hot(y, 10) if label_smoothing else y
        )
        outcome = train(experiment, dataset)

        assert outcome.losses == [pytest.approx(float(loss), rel=1e-5)]
        assert outcome.accuracies == [pytest.approx(float(accuracy))]
        weights, optimizer_variables = model.variables(network)
        for name, values in weights.items():
            np.testing.assert_allclose(outcome.checkpoints[0].weights[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
        for ours, theirs in zip(outcome.checkpoints[0].optimizer, optimizer_variables, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)

    def test_an_epochs_validation_is_what_evaluate_says(self, dataset, everything):
        from core import model

        unsmoothed = changed(EVERYTHING, label_smoothing=0.0)
        _, held_out = data.split(dataset.y_train, 250, 0.2, seed=3)
        for row, checkpoint in zip(everything.rows, everything.checkpoints, strict=True):
            network = model.build(unsmoothed)
            model.set_variables(network, checkpoint.weights)

            loss, accuracy = network.evaluate(
                dataset.x_train[held_out, ..., None], dataset.y_train[held_out], batch_size=7, verbose=0
            )

            assert len(held_out) == 50
            assert row.val_loss == pytest.approx(loss, rel=1e-5)
            assert row.val_accuracy == pytest.approx(accuracy)

    def test_an_epochs_loss_counts_every_image_once_though_the_last_batch_is_smaller(self, tiny, dataset):
        """With steps too small to change a float32, an epoch's means are those of all images at the initial weights."""
        from core import model

        still = changed(tiny, optimizer=SGD(momentum=0.0), learning_rate=1e-30)
        trained_on, _ = data.split(dataset.y_train, 500, 0.2, seed=0)

        outcome = train(still, dataset)
        loss, accuracy = model.build(still).evaluate(
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
        from core import training

        monkeypatch.setattr(training, "FIRST_CHUNK_STEPS", steps)
        monkeypatch.setattr(training, "MAX_CHUNK_STEPS", steps)

        outcome = train(EVERYTHING, dataset)

        assert max(len(event.loss) for event in outcome.events if isinstance(event, Advanced)) == min(steps, 7)
        assert outcome.rows == everything.rows
        assert outcome.losses == everything.losses
        assert_same_checkpoint(outcome.checkpoints[-1], everything.checkpoints[-1])

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_going_on_from_an_epochs_end_gives_the_numbers_of_a_training_never_interrupted(
        self, dataset, everything, runs_root, epoch
    ):
        run = runs.create(EVERYTHING, "Interrupted")
        for checkpoint in everything.checkpoints[:epoch]:
            run.write_epoch(Progress(), checkpoint)

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
        assert [checkpoint.epoch for checkpoint in outcome.checkpoints] == [1]
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


def after(told: list[Event], kind: type[Event], command: Command) -> Callable[[], Command]:
    """Nothing is asked for until an event of this kind has been told, then this."""
    return lambda: command if any(isinstance(event, kind) for event in told) else Command()


class TestEnds:
    def test_a_loss_that_is_not_finite_ends_it_and_earlier_epochs_are_kept(self, dataset):
        from core import training

        events, checkpoints = [], []

        with pytest.raises(LossNotFinite, match=r"^The .*loss became (nan|inf) .*\. Try a lower learning rate"):
            training.train(BURSTING, dataset, events.append, on_checkpoint=checkpoints.append)

        rows = [event for event in events if isinstance(event, EpochEnded)]
        assert 1 <= len(rows) < 40
        assert [checkpoint.epoch for checkpoint in checkpoints] == [row.epoch for row in rows]
        assert np.isfinite([row.loss for row in rows]).all()

    def test_no_epoch_is_kept_whose_network_has_burst(self, dataset):
        from core import training

        events, checkpoints = [], []

        with pytest.raises(LossNotFinite):
            training.train(BURSTING, dataset, events.append, on_checkpoint=checkpoints.append)

        rows = [event for event in events if isinstance(event, EpochEnded)]
        assert np.isfinite([row.val_loss for row in rows]).all()
        assert [checkpoint.epoch for checkpoint in checkpoints] == [row.epoch for row in rows]

    @pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (2, 3), (6, 6)])
    def test_patience_ends_it_after_as_many_epochs_without_a_better_validation_loss(
        self, tiny, dataset, patience, epochs
    ):
        """Steps too small to change a float32 make no epoch better than the first."""
        still = changed(tiny, optimizer=SGD(momentum=0.0), learning_rate=1e-30, epochs=6, patience=patience)

        outcome = train(still, dataset)

        assert outcome.state is State.FINISHED
        assert [row.epoch for row in outcome.rows] == list(range(1, epochs + 1))
        assert len({row.val_loss for row in outcome.rows}) == 1

    def test_patience_counts_the_epochs_before_an_interruption(self, tiny, dataset):
        still = changed(tiny, optimizer=SGD(momentum=0.0), learning_rate=1e-30, epochs=6, patience=2)
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
        from core import model

        network = model.build(tiny)
        pixels = dataset.x_test[:20, ..., None]

        from_bytes = network.predict_on_batch(pixels)

        assert from_bytes.shape == (20, 10)
        assert from_bytes.dtype == np.float32
        np.testing.assert_allclose(from_bytes.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(network.predict_on_batch(pixels.astype(np.float32)), from_bytes, rtol=1e-6)

    def test_an_impossible_stack_is_refused_before_anything_is_built(self):
        from core import model
        from core.errors import SpecError

        with pytest.raises(SpecError, match=r"^The output layer: "):
            model.build(Experiment(layers=()))

    def test_state_that_was_taken_can_be_given_to_a_network_of_the_same_kind(self, dataset, everything):
        from core import model

        network = model.build(EVERYTHING)

        model.set_variables(network, everything.checkpoints[-1].weights, everything.checkpoints[-1].optimizer)

        assert_same_checkpoint(Checkpoint(3, *model.variables(network)), everything.checkpoints[-1])
        pixels = dataset.x_test[:20, ..., None]
        np.testing.assert_array_equal(network.predict_on_batch(pixels), everything.network.predict_on_batch(pixels))

    def test_state_that_was_taken_does_not_change_with_the_network(self, tiny, dataset):
        from core import model

        network = model.build(tiny)
        weights, _ = model.variables(network)
        before = {name: values.copy() for name, values in weights.items()}
        network.train_on_batch(dataset.x_train[:32, ..., None], dataset.y_train[:32])

        for name, values in weights.items():
            np.testing.assert_array_equal(values, before[name])

    def test_names_of_variables_do_not_depend_on_what_was_built_before(self, everything):
        from core import model

        first, second = (list(model.variables(model.build(EVERYTHING))[0]) for _ in range(2))

        assert first == second == list(everything.checkpoints[0].weights)

    @pytest.mark.parametrize("optimizer", [Adam(), AdamW(), SGD(momentum=0.3, nesterov=True), RMSprop(rho=0.8)])
    def test_the_optimizer_gets_the_fields_of_its_spec(self, tiny, optimizer):
        from core import model

        built = model.build(changed(tiny, optimizer=optimizer)).optimizer.get_config()

        asked = {"learning_rate": 0.01, **optimizer.model_dump(exclude={"kind"})}
        assert {name: built[name] for name in asked} == {name: pytest.approx(value) for name, value in asked.items()}
