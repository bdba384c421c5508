"""The training's fields are the draft's, the buttons drive the run, and the page says how the run is."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.engine.cluster import Phase
from core.errors import DataError, WorkerLost
from core.evaluation.questions import held_out_images
from core.model import link, script
from core.model.presets import FAST_99, FIRST_CNN, PRESETS
from core.model.specs import SGD, AdamW, Augmentation, Conv2D, Dropout, Flatten, OneCycle, Training, replaced
from core.runs import registry
from core.runs.contents import Checkpoint
from core.runs.progress import Command, EpochEnded, HyperparameterChanged, State, StateChanged
from core.runs.run import Run
from core.training import doctor
from core.training.doctor import Finding
from core.training.range_test import RangeTest
from core.views import pictures
from tests import strategies
from tests.page_fields import fill, held, part
from ui import driving
from ui.state.editing import Editing

STEPS_PER_EPOCH = 4  # of the runs that `make_run` makes


def texts(elements) -> list[str]:
    return [element.value for element in elements]


def button(at, label: str):
    return next(button for button in at.button if button.label == label)


def field(at, label: str):
    return all_fields(at)[label]


def labels(at) -> list[str]:
    return list(all_fields(at))


def kinds_of(name: str) -> tuple:
    """The classes that a field of the training may hold."""
    return get_args(Training.model_fields[name].annotation)


def all_fields(at) -> dict:
    """By their labels."""
    return {field.label: field for field in (*at.text_input, *at.slider, *at.selectbox, *at.toggle)}


def marks(at) -> list[str]:
    """What is said below fields of the preset's values."""
    return re.findall(r":orange\[was [^]]*\]", "".join(texts(at.caption)))


def started(at, press) -> Run:
    """The run that a click on Start makes of what the page shows."""
    press(at, "Start training")
    return registry.find(at.query_params["run"])


def heading(at) -> str:
    return next(text for text in texts(at.markdown) if text.startswith("####"))


def slider(at):
    return next(slider for slider in at.get("select_slider") if slider.label == "After")


def keep(run: Run, *steps: int) -> None:
    """As its worker does while it goes on."""
    for step in steps:
        run.write_weights(Checkpoint(step, {"01_conv2d.0.kernel": np.full((3, 3, 1, 4), step, np.float32)}, None))


@pytest.fixture
def dropping_run(make_run) -> Run:
    """A run under way whose recipe drops a half."""
    run = make_run(State.RUNNING)
    recipe = replaced(run.experiment(), layers=(Flatten(), Dropout(rate=0.5)))
    Path(run.root, run.id, "spec.json").write_text(recipe.model_dump_json())
    return run


def curves(at) -> list[str]:
    return [chart.proto.alt for chart in at.get("plotly_chart")]


class TestFields:
    def test_they_show_the_drafts_training(self, visit):
        at = visit("train")

        shown = {label: held(field(at, label)) for label in labels(at) if label != "Network in use"}
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
            "Scale": 0.0,
            "Elastic": 0.0,
            "Thickness": 0.0,
            "Noise": 0.0,
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
        assert held(field(at, "Weight decay")) == AdamW().weight_decay
        assert "Momentum" not in labels(at)
        choose(at, "Optimizer", "RMSprop")

        assert held(field(at, "Rho")) == 0.9
        assert held(field(at, "Momentum")) == 0.0
        assert "Weight decay" not in labels(at)

    def test_two_that_are_set_at_once_are_both_kept(self, visit, press):
        """As by someone quicker than the page."""
        at = visit("train")
        fill(field(at, "Epochs"), 3)
        fill(field(at, "Images used"), 5000)
        fill(field(at, "Rotation"), 10.0)
        fill(field(at, "Optimizer"), "SGD")

        at.run()

        assert started(at, press).experiment().training == Training(
            epochs=3, train_size=5000, augmentation=Augmentation(rotation=10.0), optimizer=SGD()
        )

    @pytest.mark.parametrize("typed", ["0,005", "0.005", "5e-3", " 0,0050 "])
    def test_a_comma_is_a_decimal_comma(self, visit, choose, press, typed):
        at = choose(visit("train"), "Learning rate", typed)

        assert field(at, "Learning rate").value == "0.005"
        assert started(at, press).experiment().training == Training(learning_rate=0.005)

    @pytest.mark.parametrize(
        ("label", "typed", "said"),
        [
            (
                "Learning rate",
                "quick",
                "“quick” is no number. Write it as 0.001, 0,001 or 1e-3, without marks for thousands.",
            ),
            ("Learning rate", "20", "20 is too large. The largest is 10."),
            ("Batch size", "64,5", "“64,5” is no whole number. Write it as 64, or 1000."),
        ],
    )
    def test_what_is_no_number_for_it_stays_in_its_field_with_a_sentence(
        self, visit, choose, press, label, typed, said
    ):
        at = choose(visit("train"), label, typed)
        stays = {"Learning rate": "0.001", "Batch size": "32"}[label]

        assert field(at, label).value == typed
        assert f":red[{said} It stays {stays}.]" in texts(at.caption)
        visit("data", session=at)
        visit("train", session=at)
        assert field(at, label).value == typed
        assert not any(text.startswith(":red[") for text in texts(choose(at, label, stays).caption))
        assert started(at, press).experiment().training == Training()

    def test_one_that_is_refused_gives_way_to_another_value(self, visit, choose, press):
        at = choose(visit("train"), "Learning rate", "0,01")
        choose(at, "Learning rate", "fast")

        press(at, "Undo")

        assert field(at, "Learning rate").value == "0.001"
        assert not any(text.startswith(":red[") for text in texts(at.caption))

    def test_an_empty_one_is_as_it_was_or_as_usual(self, visit, choose, press):
        at = choose(visit("train"), "Early stopping", 2)
        choose(at, "Epochs", "")
        assert field(at, "Epochs").value == "10"

        choose(at, "Early stopping", "")

        assert started(at, press).experiment().training == Training()

    def test_they_are_there_after_a_visit_to_another_page(self, visit, choose):
        at = visit("train")
        choose(at, "Epochs", 3)
        choose(at, "Optimizer", "SGD")
        choose(at, "Momentum", 0.5)

        visit("data", session=at)
        visit("train", session=at)

        assert held(field(at, "Epochs")) == 3
        assert held(field(at, "Momentum")) == 0.5

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

        assert held(field(at, "Early stopping")) is None

    @pytest.mark.parametrize("is_highest", [False, True], ids=["lowest", "highest"])
    @pytest.mark.parametrize(
        ("optimizer", "schedule"),
        list(zip(kinds_of("optimizer"), kinds_of("schedule"), strict=True)),
        ids=lambda kind: kind.__name__,
    )
    def test_they_show_the_numbers_at_their_bounds(self, visit, still_engine, optimizer, schedule, is_highest):
        choices = {
            name: strategies.extreme(kind, is_highest)
            for name, kind in (("optimizer", optimizer), ("schedule", schedule))
        }
        augmentation = strategies.extreme(Augmentation, is_highest)
        given = {} if is_highest else {"patience": None}
        training = strategies.extreme(Training, is_highest, augmentation=augmentation, **choices, **given)
        at = visit("start")
        at.query_params["net"] = link.link_text(replaced(FIRST_CNN.experiment, training=training))

        visit("train", session=at)

        assert not at.exception
        for spec in (training, augmentation, *choices.values()):
            numbers = {name: value for name, value in spec if isinstance(value, int | float)}
            titles = {name: type(spec).model_fields[name].title for name in numbers}
            assert {name: held(field(at, title)) for name, title in titles.items()} == numbers

    def test_the_data_page_shows_the_images_held_out_here(self, visit, choose):
        at = visit("train")
        choose(at, "Images used", 1000)
        choose(at, "Held out for validation", 0.2)

        visit("data", session=at)
        next(one for one in at.segmented_control if one.label == "Split").set_value("Validation").run()

        assert any("200 digits, sheet 1 of" in text for text in texts(at.main.markdown))


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

    def test_a_batch_that_fits_no_memory_is_refused_before_the_click(self, visit, choose, press, still_engine):
        at = visit("train")
        wide = replaced(
            FIRST_CNN.experiment, layers=(Conv2D(filters=128, padding="same"), *FIRST_CNN.experiment.layers[1:])
        )
        at.query_params["net"] = link.link_text(wide)
        choose(at.run(), "Batch size", 1024)

        assert button(at, "Start training").disabled
        assert button(at, "Start paused").disabled
        assert "Choose a batch size of 422 or less" in at.error[0].value
        assert held(field(at, "Batch size")) == 1024

        press(at, "Batch size 422")

        assert not at.error
        assert started(at, press).experiment().training.batch_size == 422

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
        assert at.progress[0].proto.text == "Epoch 2 of 3 · 1 min 5 s left · 1,234 images a second"
        assert {metric.label: metric.value for metric in at.metric} == {
            "Loss": "1.5000",
            "Val. loss": "1.2500",
            "Val. accuracy": "62.50%",
            "Best, epoch 1": "62.50%",
        }
        assert curves(at) == ["Loss after 1 of 3 epochs", "Accuracy after 1 of 3 epochs"]

    def test_one_that_ended_before_its_first_batch_is_loading_nothing(self, visit, make_run):
        at = visit("train", make_run(State.STOPPED, epochs=0))

        assert at.progress[0].proto.text == "It ended before its first batch."

    def test_it_grows_with_what_the_worker_says(self, visit, make_run, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)

        still_engine.hear(run, EpochEnded(2, 1.0, 0.75, 0.875, 0.8125, 0.005, 2.25))
        at.run()

        assert {metric.label: metric.value for metric in at.metric}["Val. accuracy"] == "81.25%"
        assert curves(at) == ["Loss after 2 of 3 epochs", "Accuracy after 2 of 3 epochs"]

    def test_a_run_without_validation_images_shows_none(self, visit, make_run, still_engine):
        run = make_run(State.RUNNING, epochs=0)
        still_engine.hear(run, EpochEnded(1, 1.5, 0.5, None, None, 0.01, 2.5))

        at = visit("train", run)

        assert not at.exception
        assert [metric.label for metric in at.metric] == ["Loss"]

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

    def test_beside_a_network_s_file_stands_how_to_use_it(self, visit, finished_run, still_engine):
        at = visit("train", finished_run)

        (download,) = at.get("download_button")
        assert "pixels from 0 to 255" in download.proto.help
        assert [code.value for code in at.code] == [
            script.usage(f"{finished_run.record().name} {finished_run.id[:6]}.keras")
        ]


class TestButtons:
    def test_pause_tells_the_worker(self, visit, make_run, press, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)

        press(at, "Pause")

        assert not at.exception
        assert still_engine.told == [(run.id, Command(is_paused=True))]

    def test_an_order_that_the_worker_has_not_taken_is_said_to_be_remembered(self, visit, make_run, still_engine):
        run = make_run(State.RUNNING)
        still_engine.trainings.orders._untold[run.id] = Command(is_paused=True), ("is_paused",)

        at = visit("train", run)

        said = "The worker doesn't answer yet. It does what you asked for as soon as it does."
        assert said in [info.value for info in at.info]
        still_engine.trainings.orders._untold.clear()
        assert said not in [info.value for info in at.run().info]

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

        assert still_engine.told == [(run.id, Command(is_paused=state is State.PAUSED, is_stopping=True))]

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
        assert heading(at) == "#### A run :gray-badge[:material/stop: stopped]"
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
        monkeypatch.delattr(still_engine.trainings.orders, "tell")

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
        still_engine.trainings._progress[run.id].loss.extend(values)
        still_engine.trainings._progress[run.id].accuracy.extend(values)

    at = visit("train", run)

    assert not at.exception
    assert all(len(chart.proto.spec) < 40_000 for chart in at.get("plotly_chart"))


class TestDriving:
    @pytest.mark.parametrize(
        ("label", "until_step"), [("One batch", STEPS_PER_EPOCH + 3), ("One epoch", 2 * STEPS_PER_EPOCH)]
    )
    def test_a_paused_run_takes_a_step(self, visit, make_run, press, still_engine, label, until_step):
        run = make_run(State.PAUSED)
        at = visit("train", run)

        press(at, label)

        assert still_engine.told == [(run.id, Command(is_paused=True, until_step=until_step))]

    @pytest.mark.parametrize("is_begun_here", [False, True])
    def test_a_run_paused_elsewhere_stays_paused_and_turned(
        self, visit, make_run, choose, press, still_engine, is_begun_here
    ):
        """As after a restart of the server, or by another one on the same scheduler."""
        run = make_run(State.PAUSED)
        still_engine.hear(run, HyperparameterChanged(5, "learning_rate", 0.25))
        if is_begun_here:
            still_engine.trainings._commands[run.id] = Command(is_paused=True, learning_rate=0.25)
        at = visit("train", run)
        assert held(field(at, "Learning rate now")) == 0.25

        press(at, "Slow motion")
        choose(at, "Learning rate now", 0.125)

        assert [command for _, command in still_engine.told] == [
            Command(is_paused=True, batches_per_second=3.0, learning_rate=0.25),
            Command(is_paused=True, batches_per_second=3.0, learning_rate=0.125),
        ]

    def test_two_steps_asked_for_at_once_are_both_taken(self, visit, make_run, press, still_engine):
        run = make_run(State.PAUSED)
        at = visit("train", run)

        press(at, "One batch")
        press(at, "One batch")

        assert [command.until_step for _, command in still_engine.told] == [STEPS_PER_EPOCH + 3, STEPS_PER_EPOCH + 4]

    def test_only_a_paused_run_can_be_stepped(self, visit, make_run):
        at = visit("train", make_run(State.RUNNING))

        assert button(at, "One batch").disabled
        assert button(at, "One epoch").disabled

    def test_slow_motion_is_switched_on_and_off(self, visit, make_run, press, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)

        press(at, "Slow motion")
        press(at, "Full speed")

        assert [command.batches_per_second for _, command in still_engine.told] == [3.0, None]

    def test_a_run_can_start_paused(self, visit, press, still_engine):
        at = visit("train")

        press(at, "Start paused")

        assert still_engine.commanded(still_engine.trained[0]) == Command(is_paused=True)

    def test_again_makes_a_new_run_of_the_same_recipe(self, visit, finished_run, press, still_engine):
        at = visit("train", finished_run)

        press(at, "Again")

        again = registry.find(at.query_params["run"])
        assert again != finished_run
        assert again.experiment() == finished_run.experiment()
        assert still_engine.trained == [again.id]

    def test_a_turned_knob_is_told_to_the_worker_and_leaves_the_recipe(self, visit, make_run, choose, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)

        choose(at, "Learning rate now", 0.125)

        assert still_engine.told == [(run.id, Command(learning_rate=0.125))]
        assert held(field(at, "Learning rate")) == FIRST_CNN.experiment.training.learning_rate

    def test_a_knob_turned_to_zero_stands_at_zero(self, visit, dropping_run, still_engine):
        assert field(visit("train", dropping_run), "Dropout now").value == 0.5

        still_engine.hear(dropping_run, HyperparameterChanged(5, "dropout", 0.0))

        assert field(visit("train", dropping_run), "Dropout now").value == 0.0

    def test_a_knob_told_to_be_zero_stands_at_zero(self, visit, dropping_run, still_engine):
        still_engine.trainings._commands[dropping_run.id] = Command(dropout=0.0)

        assert field(visit("train", dropping_run), "Dropout now").value == 0.0

    def test_the_lowest_learning_rate_of_a_recipe_can_be_turned(self, visit, make_run):
        run = make_run(State.RUNNING)
        lowest = Training.model_json_schema()["properties"]["learning_rate"].get("minimum", 1e-7)
        recipe = replaced(run.experiment(), training=Training(epochs=3, learning_rate=lowest))
        Path(run.root, run.id, "spec.json").write_text(recipe.model_dump_json())

        at = visit("train", run)

        assert not at.exception
        assert held(field(at, "Learning rate now")) == lowest

    def test_a_network_without_dropout_has_none_to_turn(self, visit, make_run):
        at = visit("train", make_run(State.RUNNING))

        assert field(at, "Dropout now").disabled

    def test_an_order_after_another_keeps_it(self, visit, make_run, choose, press, still_engine):
        run = make_run(State.RUNNING)
        at = visit("train", run)

        choose(at, "Learning rate now", 0.125)
        press(at, "Pause")

        assert still_engine.told[-1] == (run.id, Command(is_paused=True, learning_rate=0.125))

    def test_a_waiting_run_says_its_place_and_when_it_begins(self, visit, make_run, still_engine):
        running = make_run(State.RUNNING)
        waiting = make_run(State.QUEUED, epochs=0)

        at = visit("train", waiting)

        assert at.progress[0].proto.text == "Place 1 in the queue: should begin in 1 min 5 s …"
        assert running.id not in str(at)

    def test_a_run_that_waits_for_a_paused_one_says_no_time(self, visit, make_run):
        make_run(State.PAUSED)
        waiting = make_run(State.QUEUED, epochs=0)

        at = visit("train", waiting)

        said = at.progress[0].proto.text
        assert said == "Place 1 in the queue: one ahead is paused or slowed; left alone, it goes on after 10 min 0 s …"


class TestInside:
    VIEWS = ("Kernels", "Feature maps", "Confusion", "Ten wrongest", "Gradients", "Dead ReLUs", "Learning rate")

    def all_of(self, at):
        return at.pills[0].set_value(list(self.VIEWS)).run()

    @pytest.mark.parametrize("trained_on", ["", "f" * 64], ids=["an older run", "a run that says so"])
    def test_the_wrongest_of_another_data_set_are_not_looked_up_in_this_one(self, visit, make_run, trained_on):
        """As where MNIST's numbers are looked up among 1,497 digits that stand in for it."""
        run = make_run(State.FINISHED)
        row = replace(
            run.progress().history[0], confusion=(1,) * 100, wrongest=((5 if trained_on else 59_999, 3, 0.75),)
        )
        Path(run.root, run.id, "history.json").write_text(json.dumps([asdict(row)]))
        run.write_state(State.FINISHED, dataset=trained_on)

        at = visit("train", run)
        at = at.pills[0].set_value(["Ten wrongest"]).run()

        assert not at.exception
        assert "These are digits of another data set than the one in use now, so they can't be shown." in texts(
            at.caption
        )

    def test_every_view_shows_what_was_seen(self, visit, make_run, still_engine, digits, snapshot):
        run = make_run(State.RUNNING)
        row = EpochEnded(
            2, 1.0, 0.75, 0.875, 0.8125, 0.005, 2.25, tuple([3] + [0] * 98 + [4]), ((0, 3, 0.75), (1, 8, 0.5))
        )
        still_engine.hear(run, row)
        still_engine.progress(run).snapshot = snapshot

        at = self.all_of(visit("train", run))

        assert not at.exception
        shown = " ".join(element.proto.body for element in at.get("html"))
        assert "The 2 kernels of the first convolution" in shown
        assert "Feature maps of one digit, layer by layer" in shown
        assert "Confusion matrix of held-out digits: 7 of 7 right." in shown
        assert f"{digits.y_train[0]} read as 3, 75%" in shown
        assert "Gradient norm: 1 conv2d 0.5; output 0.01" in shown
        assert "Dead ReLUs: 3 dense 25%" in shown
        assert "Learning rate by epochs, at most 0.01. Now 0.01." in shown
        assert still_engine.watched[-1] == (run.id, 7)

    @pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.FINISHED])
    def test_before_there_is_anything_to_see_each_says_so(self, visit, make_run, state):
        at = self.all_of(visit("train", make_run(state, epochs=0 if state is not State.FINISHED else 1)))

        assert not at.exception

    def test_nothing_is_watched_where_nothing_of_it_is_shown(self, visit, make_run, still_engine):
        at = visit("train", make_run(State.RUNNING))
        still_engine.watched.clear()

        at.pills[0].set_value(["Confusion"]).run()

        assert still_engine.watched == []


class TestTimeMachine:
    def test_it_goes_to_the_moment_that_is_chosen(self, visit, finished_run, choose, still_engine):
        at = choose(visit("train", finished_run), "Time machine", True)
        assert not at.exception
        assert still_engine.visited == [2 * STEPS_PER_EPOCH]

        named = next(slider for slider in at.get("select_slider") if slider.label == "After")
        named.set_value(STEPS_PER_EPOCH).run()

        assert still_engine.visited == [2 * STEPS_PER_EPOCH, STEPS_PER_EPOCH]
        assert "50 of 50" not in str(at.exception)
        assert "100.0% of 50 held-out digits right." in texts(at.caption)

    def test_its_digits_are_of_those_held_out(self, visit, finished_run, choose, digits):
        held_out = held_out_images(finished_run, digits.y_train)
        zero = held_out[np.flatnonzero(digits.y_train[held_out] == 0)[0]]

        at = choose(visit("train", finished_run), "Time machine", True)

        shown = [html.proto.body for html in at.get("html")]
        assert pictures.digit(digits.x_train[zero], 112, "in a 0") in shown

    def test_it_stays_where_it_was_put_while_the_run_goes_on(self, visit, make_run, choose, still_engine):
        run = make_run(State.RUNNING)
        keep(run, 1, 2)
        at = choose(visit("train", run), "Time machine", True)
        slider(at).set_value(1)  # as drawn before the next network was kept
        keep(run, 3)
        at.run()

        assert not at.exception
        assert still_engine.visited == [STEPS_PER_EPOCH, 1]
        assert slider(at).value == 1
        assert slider(at).options == ["batch 1", "batch 2", "batch 3", "epoch 1"]

    def test_it_follows_the_run_until_it_is_put_somewhere(self, visit, make_run, choose, still_engine):
        run = make_run(State.RUNNING)
        keep(run, 1)
        at = choose(visit("train", run), "Time machine", True)
        keep(run, 6)
        at.run()

        assert slider(at).value == 6
        assert still_engine.visited == [STEPS_PER_EPOCH, 6]

    def test_it_goes_to_the_nearest_network_where_the_chosen_one_was_thinned_out(self, visit, make_run, choose):
        run = make_run(State.RUNNING)
        keep(run, 1, 2)
        at = choose(visit("train", run), "Time machine", True)
        slider(at).set_value(1).run()
        Path(run.root, run.id, "checkpoints", "00000001.npz").unlink()
        at.run()

        assert not at.exception
        assert slider(at).value == 2

    def test_it_stays_shut_before_there_is_a_way_to_go(self, visit, make_run, choose, still_engine):
        at = choose(visit("train", make_run(State.RUNNING, epochs=0)), "Time machine", True)

        assert "It opens after the first batches." in texts(at.caption)
        assert still_engine.visited == []


class TestDoctor:
    def test_what_it_suggests_for_another_preset_s_network_is_called_after_that(
        self, visit, make_run, monkeypatch, press
    ):
        run, lenet = make_run(State.RUNNING), PRESETS["LeNet-5"].experiment
        changed = replaced(lenet, training=replaced(lenet.training, learning_rate=0.5))
        finding = Finding("Too slow.", "The loss hardly falls.", "Raise the learning rate", changed)
        monkeypatch.setattr(doctor, "findings", lambda experiment, progress: (finding,))

        at = press(visit("train", run), "Raise the learning rate")

        assert part(at, Editing).draft.preset == "LeNet-5"

    def test_what_it_suggests_becomes_the_next_recipe(self, visit, make_run, monkeypatch, press):
        run = make_run(State.RUNNING)
        changed = replaced(run.experiment(), training=Training(epochs=3, learning_rate=0.5))
        finding = Finding("Too slow.", "The loss hardly falls.", "Raise the learning rate", changed)
        monkeypatch.setattr(doctor, "findings", lambda experiment, progress: (finding,))
        at = visit("train", run)

        press(at, "Raise the learning rate")

        assert held(field(at, "Learning rate")) == 0.5
        assert any("Raise the learning rate" in warning for warning in texts(at.warning))


class TestRecipe:
    def test_each_field_has_its_value_as_its_default(self, visit, choose):
        at = choose(visit("train").main, "Epochs", 3)

        for slider in at.main.slider:
            assert list(slider.proto.default) == [slider.value], slider.label
        for number in at.main.text_input:
            assert number.proto.default == number.value, number.label

    def test_a_learning_rate_is_found_and_used(self, visit, press, still_engine):
        rates = np.geomspace(1e-6, 10, 100).astype(np.float32)
        losses = np.float32(2.3 - 2 / (1 + np.exp(-3 * (np.log10(rates) + 3))) + 5 * (rates > 1))
        at = press(visit("train"), "Find a learning rate")
        assert at.progress[-1].proto.text == "A hundred batches with a rising learning rate …"

        still_engine.answers["FindRange"] = RangeTest(rates, losses)
        at.run()
        use = next(button for button in at.button if button.label.startswith("Use "))
        use.click().run()

        assert held(field(at, "Learning rate")) == float(use.label.removeprefix("Use "))

    def test_augmentation_shows_what_it_does(self, visit, choose, still_engine):
        still_engine.answers["Augment"] = np.zeros((3, 4, 28, 28), np.uint8)

        at = choose(visit("train"), "Rotation", 10.0)

        assert not at.exception
        assert still_engine.asked.count("Augment") == 1
        assert any("as three steps of the training would see them" in text for text in texts(at.caption))

    def test_what_differs_from_the_preset_is_marked(self, visit, choose):
        at = choose(visit("train"), "Epochs", 3)
        choose(at, "Optimizer", "SGD")
        choose(at, "Rotation", 10.0)

        assert marks(at) == [":orange[was 10]", ":orange[was Adam]", ":orange[was 0]"]
        assert ":orange[changed]" in texts(at.caption)

        choose(at, "Rotation", 0.0)

        assert ":orange[changed]" not in texts(at.caption)

    def test_what_differs_within_the_presets_own_choice_is_marked_there(self, visit, choose):
        at = visit("start")
        at.query_params["net"] = link.link_text(FAST_99.experiment)
        choose(visit("train", session=at), "Warm-up", 0.2)

        assert marks(at) == [":orange[was 0.3]"]

    def test_it_is_undone_and_redone_as_on_build(self, visit, choose, press):
        at = choose(visit("train"), "Epochs", 3)
        choose(at, "Optimizer", "SGD")

        press(at, "Undo")
        assert held(field(at, "Optimizer")) == "Adam"
        press(at, "Undo")
        assert held(field(at, "Epochs")) == 10
        assert button(at, "Undo").disabled
        press(at, "Redo")

        assert held(field(at, "Epochs")) == 3

    def test_a_search_that_fails_is_told_once_and_begun_again_only_by_a_click(self, visit, press, still_engine):
        at = press(visit("train"), "Find a learning rate")
        still_engine.answers["FindRange"] = WorkerLost("The worker was lost over it. Try again.")
        at.run()
        assert not at.exception
        assert texts(at.error) == ["The worker was lost over it. Try again."]
        asked = still_engine.asked.count("FindRange")

        at.run()
        assert still_engine.asked.count("FindRange") == asked
        assert texts(at.error) == []

        still_engine.answers["FindRange"] = None
        press(at, "Find a learning rate")

        assert still_engine.asked.count("FindRange") > asked
        assert at.progress[-1].proto.text == "A hundred batches with a rising learning rate …"

    def test_no_learning_rate_is_searched_for_what_can_not_be_trained(self, visit, still_engine):
        at = visit("start")
        wide = replaced(FIRST_CNN.experiment, layers=(Conv2D(filters=256, padding="same"), Flatten()))
        wide = replaced(wide, training=Training(batch_size=1024))
        at.query_params["net"] = link.link_text(wide)

        visit("train", session=at)

        finder = button(at, "Find a learning rate")
        assert finder.disabled
        assert "Choose a batch size of" in finder.help

    def test_a_preview_that_fails_is_told_once_and_begun_again_only_by_a_click(
        self, visit, choose, press, still_engine
    ):
        still_engine.answers["Augment"] = DataError("The data set is broken.")

        at = choose(visit("train"), "Rotation", 10.0)
        assert not at.exception
        assert texts(at.error) == ["The data set is broken."]
        at.run()
        assert still_engine.asked.count("Augment") == 1

        still_engine.answers["Augment"] = np.zeros((3, 4, 28, 28), np.uint8)
        press(at, "Change some digits")

        assert any("as three steps of the training would see them" in text for text in texts(at.caption))


ORDERS = """
from core.runs import registry
from ui import driving, messages
run = registry.find({run_id!r})
with messages.shown():
    driving.{order}
"""


class TestAnothersRun:
    """Whoever has a run's link may read it, and drive it only where they began it."""

    @pytest.mark.parametrize(
        ("state", "epochs", "driven"),
        [
            (State.RUNNING, 1, {"Pause", "Slow motion", "Stop and keep", "Learning rate now"}),
            (State.PAUSED, 1, {"Resume", "One batch", "One epoch", "Stop and keep", "Learning rate now"}),
            (State.QUEUED, 0, {"Take out of the queue", "Learning rate now"}),
            (State.INTERRUPTED, 1, {"Go on from epoch 1"}),
        ],
    )
    def test_it_is_shown_and_can_t_be_driven(self, visit, make_run, state, epochs, driven):
        own, others = (make_run(state, epochs, owner=owner) for owner in ("a visitor", "someone else"))

        mine, theirs = visit("train", own), visit("train", others)

        assert driven <= self.enabled(mine)
        assert not driven & self.enabled(theirs)
        assert "You can watch this run, but not drive it" in " ".join(texts(theirs.caption))
        assert "You can watch" not in " ".join(texts(mine.caption))
        assert len(curves(theirs)) == 2

    def test_a_new_run_of_its_recipe_is_one_s_own(self, visit, make_run, press, still_engine):
        at = visit("train", make_run(State.STOPPED, owner="someone else"))

        press(at, "Again")

        assert registry.find(still_engine.trained[-1]).record().owner == "a visitor"

    @pytest.mark.parametrize(
        "order", ["command(run, is_stopping=True)", "command(run, learning_rate=1.0)", "train(run)"]
    )
    def test_no_order_passes_that_a_browser_makes_up(self, make_run, still_engine, order):
        run = make_run(State.INTERRUPTED, owner="someone else")

        at = AppTest.from_string(ORDERS.format(run_id=run.id, order=order)).run()

        assert texts(at.error) == [driving.NOT_YOURS]
        assert (still_engine.told, still_engine.trained) == ([], [])

    def test_on_one_s_own_machine_every_run_is_one_s_own(self, visit, make_run, monkeypatch):
        monkeypatch.setenv("DIGITLAB_LOCAL", "1")

        at = visit("train", make_run(State.RUNNING, owner="someone else"))

        assert {"Pause", "Stop and keep"} <= self.enabled(at)

    def test_a_run_of_an_older_version_is_nobody_s(self, visit, make_run):
        assert "Pause" not in self.enabled(visit("train", make_run(State.RUNNING, owner="")))

    @staticmethod
    def enabled(at) -> set[str]:
        return {one.label for one in [*at.button, *at.text_input] if not one.disabled}
