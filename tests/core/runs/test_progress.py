"""Events cross a wire unchanged, and a record built of them says what a screen shows."""

import json
import math
from array import array

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.runs.progress import (
    Advanced,
    EpochEnded,
    HyperparameterChanged,
    Progress,
    Started,
    State,
    StateChanged,
    from_wire,
    to_wire,
)

numbers = st.floats(allow_nan=False)
batches = st.lists(numbers, max_size=5).map(tuple)
counts = st.lists(st.integers(0, 60_000), min_size=100, max_size=100).map(tuple)
wrongest = st.lists(st.tuples(st.integers(0, 59_999), st.integers(0, 9), numbers), max_size=3).map(tuple)
EVENTS = st.one_of(
    st.builds(Started, *[st.integers(0, 2**40)] * 4),
    st.builds(Advanced, st.integers(0, 2**40), batches, batches, numbers, numbers, numbers),
    st.builds(
        EpochEnded,
        epoch=st.integers(1, 100),
        loss=numbers,
        accuracy=numbers,
        val_loss=st.none() | numbers,
        val_accuracy=st.none() | numbers,
        learning_rate=numbers,
        seconds=numbers,
        confusion=st.none() | counts,
        wrongest=st.none() | wrongest,
    ),
    st.builds(HyperparameterChanged, st.integers(0, 2**40), st.sampled_from(["learning_rate", "dropout"]), numbers),
    st.builds(StateChanged, st.sampled_from(State), st.text()),
)

STARTED = Started(steps_per_epoch=4, epochs=2, batch_size=32, step=0)
FIRST_HALF = Advanced(
    step=2, loss=(2.5, 2.0), accuracy=(0.125, 0.25), learning_rate=0.01, images_per_second=100.0, seconds_left=3.0
)
SECOND_HALF = Advanced(
    step=4, loss=(1.5, 1.0), accuracy=(0.5, 0.75), learning_rate=0.005, images_per_second=200.0, seconds_left=2.0
)
FIRST_EPOCH = EpochEnded(
    epoch=1, loss=1.75, accuracy=0.4, val_loss=1.25, val_accuracy=0.5, learning_rate=0.005, seconds=1.5
)


class TestWire:
    @given(EVENTS)
    def test_an_event_comes_back_from_json(self, event):
        assert from_wire(json.loads(json.dumps(to_wire(event)))) == event

    @given(EVENTS)
    def test_an_event_comes_back_from_msgpack_with_what_the_carrier_added(self, event):
        """Dask adds keys of its own to a dict that is logged."""
        message = msgpack.loads(msgpack.dumps({**to_wire(event), "stamp": 1.5, "worker": "tls://127.0.0.1:1"}))

        assert from_wire(message) == event

    def test_reads_a_changed_hyperparameter_as_older_workers_sent_it(self):
        sent = {"kind": "Turned", "fields": {"step": 3, "name": "dropout", "value": 0.25}}

        assert from_wire(sent) == HyperparameterChanged(3, "dropout", 0.25)

    def test_an_event_comes_back_with_its_own_types(self):
        changed = from_wire(json.loads(json.dumps(to_wire(StateChanged(State.PAUSED, "why")))))
        advanced = from_wire(json.loads(json.dumps(to_wire(FIRST_HALF))))

        assert type(changed.state) is State
        assert type(advanced.loss) is tuple

    def test_an_unknown_kind_is_not_taken_for_another(self):
        with pytest.raises(KeyError):
            from_wire({"kind": "Exploded", "fields": {}})


class TestState:
    def test_what_is_over_and_what_can_go_on(self):
        assert {state for state in State if state.is_over} == {
            State.FINISHED,
            State.STOPPED,
            State.FAILED,
            State.INTERRUPTED,
        }
        assert {state for state in State if state.is_resumable} == {State.STOPPED, State.INTERRUPTED}


class TestProgress:
    def test_begins_queued_with_nothing_done(self):
        assert Progress.of([]) == Progress(state=State.QUEUED, step=0, history=[], loss=array("f"), accuracy=array("f"))
        assert (Progress().share, Progress().epoch, Progress().best_val_accuracy) == (0.0, 1, None)

    def test_gathers_what_the_events_say(self):
        events = [StateChanged(State.RUNNING), STARTED, FIRST_HALF, SECOND_HALF, FIRST_EPOCH]

        progress = Progress.of(events)

        assert progress == Progress(
            state=State.RUNNING,
            message="",
            steps_per_epoch=4,
            epochs=2,
            batch_size=32,
            step=4,
            learning_rate=0.005,
            images_per_second=200.0,
            seconds_left=2.0,
            history=[FIRST_EPOCH],
            loss=array("f", [2.5, 2.0, 1.5, 1.0]),
            accuracy=array("f", [0.125, 0.25, 0.5, 0.75]),
        )

    def test_says_why_the_state_is_what_it_is(self):
        progress = Progress.of([StateChanged(State.FAILED, "The loss became nan."), StateChanged(State.QUEUED)])

        assert (progress.state, progress.message) == (State.QUEUED, "")

    @pytest.mark.parametrize(
        ("step", "share", "epoch"), [(0, 0.0, 1), (1, 1 / 8, 1), (3, 3 / 8, 1), (4, 0.5, 2), (7, 7 / 8, 2), (8, 1.0, 2)]
    )
    def test_counts_epochs_from_one_and_stays_in_the_last(self, step, share, epoch):
        progress = Progress(steps_per_epoch=4, epochs=2, step=step)

        assert (progress.share, progress.epoch) == (share, epoch)

    def test_best_val_accuracy_is_the_highest_so_far(self):
        rows = [EpochEnded(i + 1, 1.0, 0.5, 1.0, value, 0.1, 1.0) for i, value in enumerate([0.5, 0.75, 0.625])]

        assert Progress(history=rows).best_val_accuracy == 0.75

    def test_best_val_accuracy_is_none_without_validation(self):
        assert Progress(history=[EpochEnded(1, 1.0, 0.5, None, None, 0.1, 1.0)]).best_val_accuracy is None

    @pytest.mark.parametrize(
        ("val_accuracies", "best"),
        [
            ([], None),
            ([0.5, 0.75, 0.625], 2),
            ([0.5, 0.75, 0.75, 0.625], 3),
            ([None, None], 2),
            ([0.0, 0.0], 2),
            ([math.nan, 0.25, 0.125], 2),
            ([0.25, math.nan, 0.5, math.nan], 3),
            ([math.nan, math.nan], 2),
        ],
        ids=["none", "highest", "later of equals", "no validation", "all wrong", "NaN first", "NaN between", "all NaN"],
    )
    def test_the_best_epoch_is_the_later_of_those_with_the_highest_val_accuracy(self, val_accuracies, best):
        rows = [EpochEnded(i, 1.0, 0.5, 1.0, value, 0.1, 1.0) for i, value in enumerate(val_accuracies, start=1)]

        assert Progress(history=rows).best == (rows[best - 1] if best else None)

    def test_counts_an_epochs_batches(self):
        assert Progress(steps_per_epoch=4, epochs=3).step_of(2) == 2 * 4

    def test_gathers_the_knobs_turned(self):
        changes = [
            HyperparameterChanged(2, "learning_rate", 0.5),
            HyperparameterChanged(2, "dropout", 0.25),
            HyperparameterChanged(3, "learning_rate", 0.125),
        ]

        progress = Progress.of([STARTED, FIRST_HALF, *changes])

        assert progress.changes == changes
        assert progress.turned_learning_rates == [(2, 0.5), (3, 0.125)]

    def test_says_where_each_knob_stands(self):
        changes = [
            HyperparameterChanged(2, "learning_rate", 0.5),
            HyperparameterChanged(3, "dropout", 0.0),
            HyperparameterChanged(4, "learning_rate", 0.125),
        ]

        assert Progress(changes=changes).live_hyperparameters == {"learning_rate": 0.125, "dropout": 0.0}
        assert Progress(changes=[HyperparameterChanged(2, "no such knob", 0.5)]).live_hyperparameters == {}

    def test_a_resume_forgets_the_knobs_turned_after_the_epoch_it_goes_on_from(self):
        changes = [
            HyperparameterChanged(3, "dropout", 0.25),
            HyperparameterChanged(4, "learning_rate", 0.5),
            HyperparameterChanged(5, "learning_rate", 0.125),
        ]

        progress = Progress.of([STARTED, *changes, Started(steps_per_epoch=4, epochs=2, batch_size=32, step=4)])

        assert progress.changes == changes[:2]

    def test_a_resume_forgets_what_came_after_the_epoch_it_goes_on_from(self):
        part_of_the_second = Advanced(6, (9.0, 9.0), (0.0, 0.0), 0.005, 200.0, 1.0)
        again = Advanced(5, (0.5,), (0.875,), 0.004, 200.0, 1.5)

        progress = Progress.of(
            [
                STARTED,
                FIRST_HALF,
                SECOND_HALF,
                FIRST_EPOCH,
                part_of_the_second,
                StateChanged(State.INTERRUPTED),
                Started(steps_per_epoch=4, epochs=2, batch_size=32, step=4),
                again,
            ]
        )

        assert progress.step == 5
        assert progress.history == [FIRST_EPOCH]
        assert progress.loss == array("f", [2.5, 2.0, 1.5, 1.0, 0.5])
        assert progress.accuracy == array("f", [0.125, 0.25, 0.5, 0.75, 0.875])

    def test_a_resume_from_the_start_forgets_everything(self):
        progress = Progress.of([STARTED, FIRST_HALF, SECOND_HALF, FIRST_EPOCH, STARTED])

        assert (progress.step, progress.history, len(progress.loss), len(progress.accuracy)) == (0, [], 0, 0)


class TestCurve:
    def test_of_few_batches_is_every_batch_at_its_middle(self):
        epochs, means = Progress(steps_per_epoch=4).curve(array("f", [3.0, 1.0, 2.0]))

        np.testing.assert_array_equal(epochs, [0.5 / 4, 1.5 / 4, 2.5 / 4])
        np.testing.assert_array_equal(means, [3.0, 1.0, 2.0])

    def test_of_many_batches_is_means_of_neighbours_and_of_the_rest(self):
        epochs, means = Progress(steps_per_epoch=4).curve(array("f", [3.0, 1.0, 2.0, 7.0, 5.0]), points=2)

        np.testing.assert_array_equal(epochs, [(0 + 3 / 2) / 4, (3 + 2 / 2) / 4])
        np.testing.assert_array_equal(means, [(3 + 1 + 2) / 3, (7 + 5) / 2])

    def test_of_nothing_is_empty(self):
        epochs, means = Progress().curve(array("f"))

        assert (epochs.shape, means.shape) == ((0,), (0,))
        assert [part.shape for part in Progress().extremes(array("f"))] == [(0,), (0,)]

    def test_a_batch_that_stands_out_is_among_the_extremes(self):
        losses = array("f", [3.0, 1.0, 2.0, 7.0, 5.0])

        epochs, extremes = Progress(steps_per_epoch=4).extremes(losses, points=2)

        np.testing.assert_array_equal(epochs, np.repeat([(0 + 3 / 2) / 4, (3 + 2 / 2) / 4], 2))
        np.testing.assert_array_equal(extremes, [1.0, 3.0, 5.0, 7.0])

    def test_extremes_of_few_batches_are_the_batches(self):
        losses = array("f", [3.0, 1.0, 2.0])

        for extremes, means in zip(Progress().extremes(losses), Progress().curve(losses), strict=True):
            np.testing.assert_array_equal(extremes, means)

    @given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=300), st.integers(1, 50))
    def test_keeps_the_mean_and_the_number_of_points(self, values, points):
        progress = Progress(steps_per_epoch=7)
        group = -(-len(values) // points)

        epochs, means = progress.curve(array("f", values), points)

        counts = [len(values[start : start + group]) for start in range(0, len(values), group)]
        assert len(epochs) == len(means) == len(counts) <= points
        np.testing.assert_allclose(np.average(means, weights=counts), np.mean(values), atol=1e-4)
        assert (np.diff(epochs) > 0).all()
