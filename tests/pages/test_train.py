"""The training's fields are the draft's, the buttons drive the run, and the page says how the run is."""

from __future__ import annotations

import numpy as np
import pytest

from core import runs
from core.engine import Phase
from core.presets import FIRST_CNN
from core.progress import Command, EpochEnded, State, StateChanged
from core.specs import SGD, AdamW, Augmentation, OneCycle, Training


def texts(elements) -> list[str]:
    return [element.value for element in elements]


def button(at, label: str):
    return next(button for button in at.button if button.label == label)


def field(at, label: str):
    return next(f for f in (*at.number_input, *at.slider, *at.selectbox, *at.toggle) if f.label == label)


def labels(at) -> list[str]:
    return [f.label for f in (*at.number_input, *at.slider, *at.selectbox, *at.toggle)]


def started(at, press) -> runs.Run:
    """The run that a click on Start makes of what the page shows."""
    press(at, "Start training")
    return runs.find(at.query_params["run"])


def heading(at) -> str:
    return next(text for text in texts(at.markdown) if text.startswith("####"))


def curves(at) -> list[str]:
    return [chart.proto.alt for chart in at.get("plotly_chart")]


class TestFields:
    def test_they_show_the_drafts_training(self, visit):
        at = visit("train")

        shown = {label: field(at, label).value for label in labels(at) if label != "Network in use"}
        assert shown == {
            "Epochs": 10,
            "Batch size": 32,
            "Optimizer": "Adam",
            "Learning rate": 0.001,
            "Schedule": "constant",
            "Label smoothing": 0.0,
            "Images used": 60_000,
            "Held out for validation": 0.1,
            "Early stopping": None,
            "Shift": 0.0,
            "Rotation": 0.0,
            "Zoom": 0.0,
            "Shear": 0.0,
            "Seed": 0,
        }

    def test_what_is_set_is_what_is_trained(self, visit, choose, press):
        at = visit("train")
        for label, value in {
            "Epochs": 3,
            "Batch size": 64,
            "Optimizer": "SGD",
            "Momentum": 0.8,
            "Nesterov": True,
            "Learning rate": 0.05,
            "Schedule": "one-cycle",
            "Warm-up": 0.2,
            "Label smoothing": 0.1,
            "Images used": 5000,
            "Held out for validation": 0.2,
            "Early stopping": 2,
            "Rotation": 10.0,
            "Seed": 7,
        }.items():
            choose(at, label, value)

        run = started(at, press)

        assert not at.exception
        assert not at.warning
        assert run.experiment().layers == FIRST_CNN.experiment.layers
        assert run.experiment().training == Training(
            epochs=3,
            batch_size=64,
            optimizer=SGD(momentum=0.8, nesterov=True),
            learning_rate=0.05,
            schedule=OneCycle(warmup=0.2),
            label_smoothing=0.1,
            train_size=5000,
            validation_split=0.2,
            patience=2,
            augmentation=Augmentation(rotation=10.0),
            seed=7,
        )

    def test_a_choice_shows_its_own_fields(self, visit, choose):
        at = visit("train")

        choose(at, "Optimizer", "AdamW")
        assert field(at, "Weight decay").value == AdamW().weight_decay
        assert "Momentum" not in labels(at)
        choose(at, "Optimizer", "RMSprop")

        assert field(at, "Rho").value == 0.9
        assert field(at, "Momentum").value == 0.0
        assert "Weight decay" not in labels(at)

    def test_two_that_are_set_at_once_are_both_kept(self, visit, press):
        """As by someone quicker than the page."""
        at = visit("train")
        field(at, "Epochs").set_value(3)
        field(at, "Images used").set_value(5000)
        field(at, "Rotation").set_value(10.0)
        field(at, "Optimizer").set_value("SGD")

        at.run()

        assert started(at, press).experiment().training == Training(
            epochs=3, train_size=5000, augmentation=Augmentation(rotation=10.0), optimizer=SGD()
        )

    def test_they_are_there_after_a_visit_to_another_page(self, visit, choose):
        at = visit("train")
        choose(at, "Epochs", 3)
        choose(at, "Optimizer", "SGD")
        choose(at, "Momentum", 0.5)

        visit("data", session=at)
        visit("train", session=at)

        assert field(at, "Epochs").value == 3
        assert field(at, "Momentum").value == 0.5

    def test_early_stopping_without_validation_is_refused_and_nothing_is_lost(self, visit, choose, press):
        at = visit("train")
        choose(at, "Epochs", 3)
        choose(at, "Held out for validation", 0.0)

        choose(at, "Early stopping", 2)

        assert len(at.warning) == 1
        assert "early stopping watches the validation loss" in at.warning[0].value
        assert "hold some images out, or switch it off" in at.warning[0].value
        assert started(at, press).experiment().training == Training(epochs=3, validation_split=0.0)

    def test_a_refused_value_does_not_stay_in_its_field(self, visit, choose):
        at = visit("train")
        choose(at, "Held out for validation", 0.0)

        choose(at, "Early stopping", 2)

        assert field(at, "Early stopping").value is None

    def test_the_data_page_shows_the_images_held_out_here(self, visit, choose):
        at = visit("train")
        choose(at, "Images used", 1000)
        choose(at, "Held out for validation", 0.2)

        visit("data", session=at)
        at.segmented_control[0].set_value("Validation").run()

        assert "200 images in this split" in at.main.caption[-1].value


class TestStart:
    def test_it_makes_a_run_and_takes_it_into_use(self, visit, press, still_engine):
        at = visit("train")

        run = started(at, press)

        assert not at.exception
        assert still_engine.trained == [run.id]
        assert run.record().name == FIRST_CNN.name
        assert run.record().state is State.QUEUED
        assert heading(at) == "#### First CNN :orange-badge[:material/schedule: waiting]"
        assert at.sidebar.caption[0].value == "queued"

    def test_another_run_keeps_the_first(self, visit, press, still_engine):
        at = visit("train")

        first, second = started(at, press), started(at, press)

        assert first != second
        assert still_engine.trained == [first.id, second.id]
        assert len(at.sidebar.selectbox[0].options) == 2

    def test_a_batch_that_fits_no_memory_is_refused(self, visit, choose, press, still_engine):
        at = visit("build")
        choose(at, "Start from", "Keras convnet")
        choose(at.expander[0], "Padding", "same")
        choose(at.expander[0], "Filters", 128)
        visit("train", session=at)
        choose(at, "Batch size", 1024)

        press(at, "Start training")

        assert not at.exception
        assert "Choose a batch size of" in at.error[0].value
        assert still_engine.trained == []
        assert field(at, "Batch size").value == 1024

    def test_runs_that_can_not_be_kept_are_told(self, visit, press, monkeypatch, tmp_path, still_engine):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("DIGITLAB_RUNS", str(tmp_path / "file"))
        at = visit("train")

        press(at, "Start training")

        assert not at.exception
        assert "DIGITLAB_RUNS" in at.error[0].value
        assert still_engine.trained == []


class TestPanel:
    def test_before_the_first_run_it_invites(self, visit):
        at = visit("train")

        assert any("**Start training**, and two curves begin to grow here" in text for text in texts(at.markdown))
        assert curves(at) == ["Loss after 0 of 10 epochs", "Accuracy after 0 of 10 epochs"]

    def test_it_shows_a_run_as_it_goes(self, visit, make_run):
        at = visit("train", make_run(State.RUNNING))

        assert heading(at) == "#### A run :blue-badge[:material/play_arrow: training]"
        assert at.progress[0].proto.text == "Epoch 2 of 3 · 1 min 5 s left"
        assert {metric.label: metric.value for metric in at.metric} == {
            "Loss": "1.5000",
            "Validation loss": "1.2500",
            "Validation accuracy": "62.50%",
            "Images a second": "1,234",
        }
        assert curves(at) == ["Loss after 1 of 3 epochs", "Accuracy after 1 of 3 epochs"]

    def test_it_grows_with_what_the_worker_says(self, visit, make_run, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)

        still_engine.hear(run, EpochEnded(2, 1.0, 0.75, 0.875, 0.8125, 0.005, 2.25))
        at.run()

        assert {metric.label: metric.value for metric in at.metric}["Validation accuracy"] == "81.25%"
        assert curves(at) == ["Loss after 2 of 3 epochs", "Accuracy after 2 of 3 epochs"]

    def test_a_run_without_validation_images_shows_none(self, visit, make_run, still_engine):
        run = make_run(State.RUNNING, epochs=0)
        still_engine.hear(run, EpochEnded(1, 1.5, 0.5, None, None, 0.01, 2.5))

        at = visit("train", run)

        assert not at.exception
        assert [metric.label for metric in at.metric] == ["Loss", "Images a second"]

    @pytest.mark.parametrize(
        ("phase", "said"),
        [(Phase.STARTING, "The engine is starting …"), (Phase.READY, "Waiting for a free worker …")],
    )
    def test_a_run_that_waits_says_for_what(self, visit, make_run, still_engine, phase, said):
        still_engine.be(phase)

        at = visit("train", make_run(State.QUEUED, epochs=0))

        assert at.progress[0].proto.text == said

    def test_nan_is_said_to_be_the_reason(self, visit, make_run):
        said = "The loss became nan at batch 3. Try a lower learning rate, or add BatchNormalization."

        at = visit("train", make_run(State.FAILED, epochs=0, message=said))

        assert heading(at) == "#### A run :red-badge[:material/error: failed]"
        assert texts(at.error) == [said]
        assert button(at, "Pause").disabled
        assert button(at, "Stop and keep").disabled

    def test_a_run_whose_server_went_away_is_interrupted(self, visit, make_run):
        run = make_run(State.STOPPED)
        run.write_state(State.RUNNING)  # as the folder of a run says whose server was killed

        at = visit("train", run)

        assert heading(at) == "#### A run :red-badge[:material/power_off: interrupted]"
        assert texts(at.error) == ["Its worker or server went away before it was done."]
        assert not button(at, "Go on from epoch 1").disabled

    def test_a_run_that_ends_while_one_looks_is_drawn_whole(self, visit, finished_run, still_engine):
        at = visit("train", finished_run)

        assert heading(at) == "#### A run :green-badge[:material/check: finished]"
        assert [download.label for download in at.get("download_button")] == ["Model (.keras)"]


class TestButtons:
    def test_pause_tells_the_worker(self, visit, make_run, press, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)

        press(at, "Pause")

        assert not at.exception
        assert still_engine.told == [(run.id, Command(is_paused=True))]

    def test_a_paused_run_is_resumed(self, visit, make_run, press, still_engine):
        run = make_run(State.PAUSED)
        at = visit("train", run)
        assert heading(at) == "#### A run :orange-badge[:material/pause: paused]"

        press(at, "Resume")

        assert still_engine.told == [(run.id, Command())]

    @pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED])
    def test_stop_and_keep_tells_the_worker(self, visit, make_run, press, still_engine, state):
        run = make_run(state)
        at = visit("train", run)

        press(at, "Stop and keep")

        assert still_engine.told == [(run.id, Command(is_stopping=True))]

    def test_a_stopping_run_takes_no_more_orders(self, visit, make_run):
        at = visit("train", make_run(State.STOPPING))

        assert button(at, "Pause").disabled
        assert button(at, "Stop and keep").disabled

    def test_a_waiting_run_leaves_the_queue(self, visit, make_run, press, still_engine):
        run = make_run(State.QUEUED, epochs=0)
        at = visit("train", run)
        assert button(at, "Pause").disabled

        press(at, "Take out of the queue")

        assert still_engine.told == []
        assert run.record().state is State.STOPPED
        assert heading(at) == "#### A run :gray-badge[:material/stop: stopped, kept]"
        assert texts(at.info) == ["Taken out of the queue before it began."]

    @pytest.mark.parametrize(
        ("state", "epochs", "label"),
        [
            (State.INTERRUPTED, 1, "Go on from epoch 1"),
            (State.STOPPED, 2, "Go on from epoch 2"),
            (State.INTERRUPTED, 0, "Start it again"),
        ],
    )
    def test_a_run_that_ended_early_goes_on(self, visit, make_run, press, still_engine, state, epochs, label):
        run = make_run(state, epochs)
        at = visit("train", run)

        press(at, label)

        assert not at.exception
        assert still_engine.trained == [run.id]
        assert heading(at) == "#### A run :orange-badge[:material/schedule: waiting]"

    def test_an_order_without_a_worker_is_answered(self, visit, make_run, press, still_engine, monkeypatch):
        at = visit("train", make_run(State.RUNNING))
        monkeypatch.delattr(type(still_engine), "_tell_workers")

        press(at, "Pause")

        assert not at.exception
        assert texts(at.warning) == ["There is no connection to the workers yet."]

    def test_a_run_that_ends_under_ones_eyes_offers_what_its_end_offers(self, visit, make_run, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)
        run.write_state(State.STOPPED)
        run.write_keras_file(b"PK a network")

        still_engine.hear(run, StateChanged(State.STOPPED))
        at.run()

        assert heading(at) == "#### A run :gray-badge[:material/stop: stopped, kept]"
        assert button(at, "Go on from epoch 1")
        assert at.get("download_button")


def test_a_curve_of_many_batches_stays_small(visit, make_run, still_engine):
    run = make_run(State.RUNNING)
    for values in np.full((100, 1000), 1.5):
        still_engine._progress[run.id].loss.extend(values)
        still_engine._progress[run.id].accuracy.extend(values)

    at = visit("train", run)

    assert not at.exception
    assert all(len(chart.proto.spec) < 40_000 for chart in at.get("plotly_chart"))
