"""The doctor finds what is wrong with recorded trainings, and nothing else; what it advises can be trained."""

import math
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.model import ledger
from core.model.specs import (
    SGD,
    Adam,
    Augmentation,
    Conv2D,
    Cosine,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    Residual,
    Training,
    replaced,
)
from core.runs.progress import EpochEnded, HyperparameterChanged, Progress, Snapshot, State
from core.training import doctor
from core.training.doctor import Finding, findings
from tests.core.training.record_histories import RECORDED, read
from tests.strategies import experiments, specs_of, stacks

# What is found at each recording's end, and what it leads to.
FOUND = {
    "healthy": {},
    "healthy_sgd": {},
    "exploded": {"The loss exploded": "Learning rate 0.05"},
    "zeros": {"Nothing is learned": "Random first weights"},
    "sigmoids": {"Nothing is learned": "ReLU for sigmoid"},
    "died": {"Nothing is learned": "Learning rate 0.007", "Many units are dead": "Leaky ReLU"},
    "collapsed": {"Some digits are never read": "Learning rate 0.007", "Many units are dead": "Leaky ReLU"},
    "rate_too_high": {"The learning rate is too high": "Learning rate 0.005"},
    "rate_too_low": {"Learning is slow": "Learning rate 0.0001"},
    "dead": {"Many units are dead": "Leaky ReLU"},
    "large_batch": {"The batches are too large for this learning rate": "Learning rate 0.008"},
    "overfitting": {"The network overfits": "Dropout 0.5 before the output"},
    "standing_still": {"No more progress": "Cosine schedule"},
}
SHOWN_BY = {
    doctor.exploded: "exploded",
    doctor.guesses: "zeros",
    doctor.collapsed: "collapsed",
    doctor.rate_is_too_high: "rate_too_high",
    doctor.dead_units: "dead",
    doctor.batch_is_too_large: "large_batch",
    doctor.learns_slowly: "rate_too_low",
    doctor.overfits: "overfitting",
    doctor.stands_still: "standing_still",
}

SMALL = Experiment(layers=(Flatten(), Dense(units=16)), training=Training(train_size=5000))


def the_finding(experiment: Experiment, progress: Progress) -> Finding:
    (finding,) = findings(experiment, progress)
    return finding


def changed(experiment: Experiment, **training: object) -> Experiment:
    return replaced(experiment, training=replaced(experiment.training, **training))


def level(loss: float, accuracy: float, batches: int = 400, **others: object) -> Progress:
    """A training whose every batch was alike, with 100 steps per epoch."""
    return Progress(
        **{"steps_per_epoch": 100, "epochs": 10, "batch_size": 32, "step": batches, **others},
        loss=array("f", [loss] * batches),
        accuracy=array("f", [accuracy] * batches),
    )


def rows(
    *val_losses: float, accuracy: float = 0.99, val_accuracy: float = 0.95, rate: float = 0.001
) -> list[EpochEnded]:
    """A history whose training loss falls all the time."""
    return [
        EpochEnded(epoch, 1 / epoch, accuracy, val_loss, val_accuracy, rate, 1.0)
        for epoch, val_loss in enumerate(val_losses, start=1)
    ]


def confusion(*read_digits: int, share: float = 1.0) -> tuple[int, ...]:
    """500 held-out images, 50 of each digit, `share` of them read as these digits in turn and the others right."""
    matrix = np.zeros((10, 10), int)
    for true in range(10):
        wrong = round(50 * share)
        matrix[true, true] += 50 - wrong
        matrix[true, read_digits[true % len(read_digits)]] += wrong
    return tuple(matrix.ravel().tolist())


class TestRecordings:
    @pytest.mark.parametrize("name", RECORDED)
    def test_are_of_the_experiments_they_say(self, name):
        assert read(name)[0] == RECORDED[name]

    @pytest.mark.parametrize("name", RECORDED)
    def test_show_what_is_wrong_and_nothing_else(self, name):
        assert {finding.title: finding.try_this for finding in findings(*read(name))} == FOUND[name]

    @pytest.mark.parametrize("name", RECORDED)
    def test_lead_to_experiments_that_can_be_trained(self, name):
        experiment, progress = read(name)

        for finding in findings(experiment, progress):
            ledger.check(finding.experiment)
            assert finding.experiment != experiment

    @pytest.mark.parametrize("rule", doctor.RULES, ids=lambda rule: rule.__name__)
    def test_show_every_rule_at_work(self, rule):
        assert rule(*read(SHOWN_BY[rule])) is not None

    @pytest.mark.parametrize("rule", doctor.RULES, ids=lambda rule: rule.__name__)
    @pytest.mark.parametrize("name", ["healthy", "healthy_sgd"])
    def test_of_good_trainings_show_nothing_at_any_moment(self, rule, name):
        experiment, whole = read(name)

        for step in range(0, whole.step + 1, 7):
            past = replace(
                whole,
                state=State.RUNNING,
                step=step,
                history=[row for row in whole.history if whole.step_of(row.epoch) <= step],
                loss=whole.loss[:step],
                accuracy=whole.accuracy[:step],
            )

            assert rule(experiment, past) is None


class TestFindings:
    def test_of_nothing_yet_are_none(self):
        assert findings(SMALL, Progress()) == ()

    def test_are_at_most_three_the_worst_first(self):
        """Everything at once: it guesses, units are dead, batches are huge, and held-out images get worse."""
        experiment = changed(SMALL, batch_size=1024, learning_rate=0.05)
        progress = level(
            9.0,
            0.1,
            history=rows(0.5, 0.4, 0.5, 0.6),
            snapshot=Snapshot(399, {}, {"02_dense": 1.0}, None, None, {}),
        )
        progress.loss[0] = 2.3

        titles = [finding.title for finding in findings(experiment, progress)]

        assert titles == ["The loss exploded", "Many units are dead", "The network overfits"]

    def test_no_two_lead_to_the_same(self):
        experiment = changed(SMALL, learning_rate=0.5)
        progress = level(9.0, 0.1)
        progress.loss[0] = 2.3

        assert doctor.guesses(experiment, progress).experiment == doctor.exploded(experiment, progress).experiment
        assert [finding.title for finding in findings(experiment, progress)] == ["The loss exploded"]

    def test_the_rate_turned_to_counts_not_the_recipes(self):
        turned = level(
            2.3,
            0.1,
            changes=[HyperparameterChanged(5, "learning_rate", 0.0002), HyperparameterChanged(6, "dropout", 0.5)],
        )

        assert the_finding(SMALL, turned).experiment == changed(SMALL, learning_rate=0.002)

    def test_back_to_the_recipe_is_no_change(self):
        turned = level(2.3, 0.1, changes=[HyperparameterChanged(5, "learning_rate", SMALL.training.learning_rate / 10)])

        assert the_finding(SMALL, turned).experiment is None

    @pytest.mark.parametrize("rate", [1e-6, 5e-6])
    def test_where_a_rate_can_go_no_lower_there_is_no_button(self, rate):
        finding = doctor.exploded(changed(SMALL, learning_rate=rate), level(math.nan, 0.1))

        assert (finding.try_this, finding.experiment) == (None, None)

    def test_where_a_rate_can_go_no_higher_there_is_no_button(self):
        experiment = changed(SMALL, learning_rate=8.0, batch_size=1024, optimizer=SGD(momentum=0.0))
        small = replaced(experiment, training=replaced(experiment.training, learning_rate=0.1))
        slow = Progress(steps_per_epoch=5, history=rows(1.0, accuracy=0.5, val_accuracy=0.5))

        assert doctor.batch_is_too_large(small, slow).try_this == "Learning rate 0.8"
        assert doctor.batch_is_too_large(experiment, slow).try_this == "Batch size 128"
        assert doctor._with_rate(experiment, 80.0) is None


class TestExploded:
    @pytest.mark.parametrize(
        "message", ["The loss became nan at batch 9.", "The validation loss became inf at the end."]
    )
    def test_is_said_of_a_training_that_failed_with_it_before_any_batch(self, message):
        finding = the_finding(SMALL, Progress(state=State.FAILED, message=message))

        assert finding.title == "The loss exploded"
        assert finding.experiment == changed(SMALL, learning_rate=0.0001)

    def test_is_not_said_of_another_failure(self):
        assert findings(SMALL, Progress(state=State.FAILED, message="The worker was lost.")) == ()

    @pytest.mark.parametrize(
        ("last", "is_found"), [(2.3, False), (4.5, False), (4.8, True), (1e30, True), (math.inf, True)]
    )
    def test_is_said_above_twice_the_loss_of_a_guess(self, last, is_found):
        progress = Progress(loss=array("f", [2.3] + [last] * 5))

        assert (doctor.exploded(SMALL, progress) is not None) == is_found

    def test_a_penalty_on_weights_that_is_large_from_the_start_is_no_explosion(self):
        assert doctor.exploded(SMALL, level(50.0, 0.9)) is None


class TestGuesses:
    def test_tells_the_figures(self):
        assert the_finding(SMALL, level(2.31, 0.104)) == Finding(
            "Nothing is learned",
            "After 400 batches the loss is 2.31 and 10% are right; pure guessing has 2.30 and 10%. Steps of 0.001 may be too short.",
            "Learning rate 0.01",
            changed(SMALL, learning_rate=0.01),
        )

    @pytest.mark.parametrize(
        ("rate", "optimizer", "advised"),
        [
            (0.001, Adam(), 0.01),
            (0.002, Adam(), 0.0002),
            (0.01, SGD(momentum=0.9), 0.1),
            (0.02, SGD(momentum=0.9), 0.002),
            (0.05, SGD(momentum=0.0), 0.5),
        ],
    )
    def test_a_high_rate_is_lowered_and_another_raised(self, rate, optimizer, advised):
        experiment = changed(SMALL, learning_rate=rate, optimizer=optimizer)

        assert the_finding(experiment, level(2.3, 0.1)).experiment.training.learning_rate == advised

    @pytest.mark.parametrize(
        ("loss", "accuracy", "batches"),
        [(2.3, 0.1, 199), (2.1, 0.1, 400), (2.3, 0.3, 400)],
        ids=["early", "loss", "hits"],
    )
    def test_needs_batches_enough_and_both_figures(self, loss, accuracy, batches):
        assert doctor.guesses(SMALL, level(loss, accuracy, batches)) is None

    def test_zeros_in_any_kind_of_layer_are_drawn_at_random_instead(self):
        layers = (
            Residual(filters=4, kernel_initializer="zeros"),
            Flatten(),
            Dense(units=8, kernel_initializer="he_normal"),
        )
        random = (Residual(filters=4), *layers[1:])

        assert the_finding(replaced(SMALL, layers=layers), level(2.3, 0.1)).experiment.layers == random


class TestCollapsed:
    def seen(self, counts: tuple[int, ...] | None, accuracy: float = 0.5) -> Progress:
        row = EpochEnded(4, 1.5, accuracy, 1.5, 0.5, 0.001, 1.0, confusion=counts)
        return level(1.5, 0.5, history=[row])

    def test_is_said_where_almost_all_is_read_as_two_digits(self):
        finding = doctor.collapsed(SMALL, self.seen(confusion(8, 3, share=0.9)))

        assert finding.title == "Almost all is read as two digits"
        assert finding.reason.startswith("After epoch 4, 92% of the held-out images are read as 3 or 8.")
        assert finding.experiment == changed(SMALL, learning_rate=0.0001)

    @pytest.mark.parametrize(
        ("others", "said"), [(range(1, 10), "none is read as 0."), (range(3, 10), "none is read as 0, 1 or 2.")]
    )
    def test_is_said_where_digits_are_never_read(self, others, said):
        finding = doctor.collapsed(SMALL, self.seen(confusion(*others)))

        assert finding.title == "Some digits are never read"
        assert said in finding.reason

    @pytest.mark.parametrize(
        "counts",
        [confusion(0, share=0.0), confusion(1, 3, share=0.5), (0,) * 100, (1,) * 99, None],
        ids=["all right", "half", "empty", "not a matrix", "not validated"],
    )
    def test_is_not_said_of_what_is_no_collapse(self, counts):
        assert doctor.collapsed(SMALL, self.seen(counts)) is None

    def test_needs_enough_images_of_a_digit(self):
        few = np.array(confusion(*range(1, 10))).reshape(10, 10)
        few[0] = 0
        few[0, 1] = 9

        assert doctor.collapsed(SMALL, self.seen(tuple(few.ravel().tolist()))) is None

    def test_is_not_said_where_training_itself_goes_well(self):
        """The moving means of BatchNormalization lag: held-out images look bad for an epoch or two."""
        assert doctor.collapsed(SMALL, self.seen(confusion(1, 2), accuracy=0.95)) is None

    def test_is_not_said_where_learning_is_but_slow(self):
        assert doctor.collapsed(changed(SMALL, learning_rate=1e-5), self.seen(confusion(1, 2))) is None


class TestDeadUnits:
    def seen(self, step: int = 10, **dead: float) -> Progress:
        return Progress(steps_per_epoch=141, snapshot=Snapshot(step, {}, dead, None, None, {}))

    def test_let_a_little_pass_in_the_layers_concerned(self):
        relus = Experiment(
            layers=(Conv2D(), Residual(filters=4), Flatten(), Dense(units=8), Dense(units=8, activation="tanh")),
            training=SMALL.training,
        )
        dead = {"01_conv2d": 0.4, "02_residual_main_3_activation": 0.6, "04_dense": 0.9}

        finding = the_finding(relus, self.seen(**dead))

        assert finding.reason.startswith("90% of the units of 04_dense are zero for every image of a batch.")
        assert [getattr(layer, "activation", None) for layer in finding.experiment.layers] == [
            "relu",
            "leaky_relu",
            None,
            "leaky_relu",
            "tanh",
        ]

    @pytest.mark.parametrize("name", ["probabilities", "99_dense", "01_flatten", "", "-1_dense"])
    def test_of_unknown_layers_have_no_remedy(self, name):
        finding = the_finding(SMALL, self.seen(**{name: 0.9}))

        assert (finding.title, finding.experiment) == ("Many units are dead", None)

    def test_are_not_judged_by_small_batches(self):
        """4,500 images are 140 batches of 32 and one of 20."""
        assert doctor.dead_units(SMALL, self.seen(step=140, **{"02_dense": 0.9})) is not None
        assert doctor.dead_units(SMALL, self.seen(step=141, **{"02_dense": 0.9})) is None
        assert doctor.dead_units(changed(SMALL, batch_size=16), self.seen(**{"02_dense": 0.9})) is None


class TestRateIsTooHigh:
    FAST = changed(SMALL, learning_rate=0.02)

    def spread(self, dispersion: float, mean: float = 0.5, accuracy: float = 0.85) -> Progress:
        """400 batches of 32 whose losses vary by this much."""
        losses = np.random.default_rng(0).normal(mean, math.sqrt(dispersion * mean / 32), 400)
        return replace(level(mean, accuracy), loss=array("f", np.maximum(losses, 0).tolist()))

    @pytest.mark.parametrize(("dispersion", "is_found"), [(1.5, False), (2.5, False), (6.0, True), (10.0, True)])
    def test_is_seen_by_a_loss_that_jumps_more_than_images_differ(self, dispersion, is_found):
        assert (doctor.rate_is_too_high(self.FAST, self.spread(dispersion)) is not None) == is_found

    def test_a_steep_descent_is_no_jumping(self):
        falling = replace(level(0.0, 0.85), loss=array("f", np.linspace(2.3, 0.1, 400).tolist()))

        assert doctor.rate_is_too_high(self.FAST, falling) is None

    def test_is_seen_by_a_loss_that_stays_where_it_is(self):
        finding = the_finding(self.FAST, level(1.25, 0.55))

        assert finding.reason == (
            "The loss falls no more: its mean was 1.25, then 1.25 over the last 99 batches, of which only 55% are right. "
            "A learning rate of 0.02 is high for Adam."
        )
        assert finding.experiment == changed(SMALL, learning_rate=0.002)

    def test_a_usual_rate_is_not_to_blame(self):
        assert doctor.rate_is_too_high(SMALL, self.spread(10.0)) is None

    def test_jumps_at_the_end_of_good_training_are_let_be(self):
        assert doctor.rate_is_too_high(self.FAST, self.spread(10.0, mean=0.1, accuracy=0.97)) is None


class TestLearnsSlowly:
    SLOW = changed(SMALL, learning_rate=1e-5)

    def falling(self, end: float, **others: object) -> Progress:
        history = rows(1.9, accuracy=0.5, val_accuracy=0.6)
        falling = replace(level(0.0, 0.5), loss=array("f", np.linspace(2.3, end, 400).tolist()), history=history)
        return replace(falling, **others)

    def test_is_said_while_much_is_left_to_learn(self):
        assert the_finding(self.SLOW, self.falling(1.8)).experiment == changed(SMALL, learning_rate=1e-4)

    def test_is_not_said_before_the_first_epoch_is_over(self):
        assert doctor.learns_slowly(self.SLOW, self.falling(1.8, history=[])) is None

    def test_is_not_said_where_held_out_images_are_read_well(self):
        """Augmentation and dropout make training look worse than it is."""
        assert (
            doctor.learns_slowly(self.SLOW, self.falling(1.8, history=rows(0.5, accuracy=0.5, val_accuracy=0.85)))
            is None
        )

    def test_is_not_said_of_a_loss_that_falls_no_more(self):
        assert doctor.learns_slowly(self.SLOW, self.falling(2.295)) is None

    def test_sigmoids_are_to_blame_at_a_usual_rate(self):
        sigmoids = replaced(SMALL, layers=(Flatten(), *[Dense(units=8, activation="sigmoid")] * 3))

        assert doctor.learns_slowly(SMALL, self.falling(1.8)) is None
        assert doctor.learns_slowly(sigmoids, self.falling(1.8)).experiment == replaced(
            SMALL, layers=(Flatten(), *[Dense(units=8)] * 3)
        )


class TestOverfits:
    def advised(self, layers: tuple, **training: object) -> Experiment | None:
        experiment = Experiment(layers=layers, training=replaced(SMALL.training, **training))
        return the_finding(experiment, Progress(history=rows(0.2, 0.1, 0.11, 0.15))).experiment

    def test_tells_the_figures(self):
        assert the_finding(SMALL, Progress(history=rows(0.2, 0.1, 0.11, 0.15))).reason == (
            "Since epoch 2 the validation loss has risen from 0.1 to 0.15, while the training loss fell from 0.5 to 0.25. "
            "99.0% of the training images are right, but 95.0% of those held out."
        )

    def test_dropout_is_added_then_raised_then_images_are_moved_then_training_is_stopped(self):
        before, moved = SMALL.layers, Augmentation(shift=2.0, rotation=10.0)

        assert self.advised(before).layers == (*before, Dropout(rate=0.5))
        assert self.advised((*before, Dropout(rate=0.2))).layers == (*before, Dropout(rate=0.5))
        assert self.advised((*before, Dropout(rate=0.6))).training == replaced(SMALL.training, augmentation=moved)
        assert self.advised((*before, Dropout(rate=0.6)), augmentation=moved).training.patience == 2
        assert self.advised((*before, Dropout(rate=0.6)), augmentation=moved, patience=5) is None

    def test_a_full_stack_takes_no_more_layers(self):
        full = (Flatten(), *[Dense(units=8)] * 23)

        assert self.advised(full).training.augmentation.is_active

    @pytest.mark.parametrize(
        "history",
        [
            rows(0.2, 0.1, 0.15),
            rows(0.2, 0.1, 0.102, 0.104),
            rows(0.2, 0.1, 0.11, 0.15, val_accuracy=0.975),
            rows(0.2, 0.1, 0.11, 0.15, accuracy=0.85, val_accuracy=0.8),
            rows(0.2, 0.1, math.nan, math.inf),
        ],
        ids=["too soon", "hardly risen", "gap within chance", "not learned by heart", "not numbers"],
    )
    def test_is_not_said_where_it_might_be_chance(self, history):
        assert doctor.overfits(SMALL, Progress(history=history)) is None


class TestStandsStill:
    STILL = rows(0.5, 0.4, 0.401, 0.402, 0.403)

    def test_is_said_after_three_epochs_without_gain(self):
        assert the_finding(SMALL, Progress(history=self.STILL)).experiment == changed(SMALL, schedule=Cosine())
        assert findings(SMALL, Progress(history=self.STILL[:-1])) == ()

    def test_is_not_said_of_a_rate_that_changes(self):
        turned = [*self.STILL[:-1], replace(self.STILL[-1], learning_rate=0.0005)]

        assert findings(changed(SMALL, schedule=Cosine()), Progress(history=self.STILL)) == ()
        assert findings(SMALL, Progress(history=turned)) == ()


numbers = st.floats(width=32) | st.sampled_from([0.0, 0.1, 0.95, 2.3, math.nan, math.inf, -math.inf])
curves = st.builds(
    lambda some, times, rest: array("f", some * times + rest),
    st.lists(numbers, max_size=5),
    st.integers(0, 150),
    st.lists(numbers, max_size=5),
)
snapshots = st.builds(
    Snapshot,
    step=st.integers(0, 10**6),
    gradient_norms=st.just({}),
    dead=st.dictionaries(st.sampled_from(["01_conv2d", "02_dense", "99_dense", "1", "probabilities"]), numbers),
    kernels=st.none(),
    image=st.none(),
    maps=st.just({}),
)
wide = st.floats() | numbers
histories = st.lists(
    st.builds(
        EpochEnded,
        epoch=st.integers(1, 100),
        loss=wide,
        accuracy=wide,
        val_loss=st.none() | wide,
        val_accuracy=st.none() | wide,
        learning_rate=wide,
        seconds=wide,
        confusion=st.none() | st.lists(st.integers(0, 60_000), max_size=3).map(lambda counts: tuple(counts * 50)),
    ),
    max_size=6,
)
records = st.builds(
    Progress,
    state=st.sampled_from(State),
    message=st.sampled_from(["", "The loss became nan at batch 1."]),
    steps_per_epoch=st.integers(0, 300),
    epochs=st.integers(0, 100),
    history=histories,
    changes=st.lists(
        st.builds(HyperparameterChanged, st.integers(0, 100), st.sampled_from(["learning_rate", "dropout"]), numbers),
        max_size=2,
    ),
    snapshot=st.none() | snapshots,
    loss=curves,
    accuracy=curves,
)
possible = st.builds(Experiment, layers=stacks(), training=specs_of(Training))


class TestAnything:
    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(st.one_of(experiments(), possible), records)
    def test_that_a_record_may_say_is_taken_and_what_is_advised_can_be_trained(self, experiment, progress):
        found = findings(experiment, progress)

        assert len(found) <= 3
        for finding in found:
            assert (finding.try_this is None) == (finding.experiment is None)
            assert "nan" not in finding.title + finding.reason
            if finding.experiment is not None:
                ledger.check(finding.experiment)
                assert finding.experiment != experiment

    @pytest.mark.parametrize("name", RECORDED)
    @pytest.mark.parametrize("rule", doctor.RULES, ids=lambda rule: rule.__name__)
    def test_that_is_lacking_is_done_without(self, name, rule):
        experiment, progress = read(name)
        unvalidated = [
            replace(row, val_loss=None, val_accuracy=None, confusion=None, wrongest=None) for row in progress.history
        ]

        for lacking in (
            replace(progress, history=unvalidated),
            replace(progress, history=progress.history[:1]),
            replace(progress, loss=array("f"), accuracy=array("f")),
            replace(progress, accuracy=array("f")),
            replace(progress, snapshot=None, state=State.STOPPED),
            replace(progress, steps_per_epoch=0),
        ):
            finding = rule(experiment, lacking)

            assert finding is None or finding.title
