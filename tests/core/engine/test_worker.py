"""What runs in a worker, called here: a training on few images, orders and looks, and what crosses back."""

import errno
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from core.engine import worker
from core.errors import EngineError, RunNotFound, StorageFull
from core.model.specs import replaced
from core.runs import checkpoints, progress, registry
from core.runs.progress import (
    Advanced,
    Command,
    EpochEnded,
    HyperparameterChanged,
    Snapshot,
    Started,
    State,
    StateChanged,
)

SNAPSHOT = Snapshot(5, {}, {}, np.zeros((0, 0, 0)), np.zeros((28, 28)), {})


def test_no_exception_of_another_library_leaves_the_worker():
    def explode():
        raise ZeroDivisionError("of a kind that must stay there")

    answer = worker.in_worker(None, explode)

    with pytest.raises(EngineError, match="ZeroDivisionError: of a kind that must stay there"):
        worker.unwrapped(answer)


class TestOrders:
    def test_change_in_the_worker_what_was_changed_alone(self, monkeypatch):
        """As where another server has paused it since."""
        monkeypatch.setattr(worker, "_commands", {})
        worker.set_command("run", Command())
        worker.set_command("run", Command(is_paused=True), ("is_paused",))
        worker.set_command("run", Command(learning_rate=0.5), ("learning_rate",))

        assert worker._commands == {"run": Command(is_paused=True, learning_rate=0.5)}


class TestLooks:
    def test_serves_each_visitor_with_a_look_at_what_that_one_asked_for(self, monkeypatch):
        for kept in ("_commands", "_watched", "_snapshots"):
            monkeypatch.setattr(worker, kept, {})
        visitors, drawing = [(3, b""), (7, b""), (7, b"a drawing")], b"a drawing"
        for digit, drawing in visitors:
            worker.look("run", digit, drawing)

        for step in range(1, 7):
            asked = worker.read_command("run")
            worker.keep_look("run", replace(SNAPSHOT, step=step, digit=asked.digit, drawing=asked.drawing))

        looks = [worker.look("run", *one) for one in visitors]
        assert [(look.digit, look.drawing) for look in looks] == visitors
        assert sorted(look.step for look in looks) == [4, 5, 6]

    def test_ends_soon_after_the_last_one_asked(self, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
        for kept in ("_commands", "_watched", "_snapshots"):
            monkeypatch.setattr(worker, kept, {})
        commanded = Command(is_paused=True, until_step=5, learning_rate=0.5)
        worker.set_command("run", commanded)
        worker.keep_look("run", replace(SNAPSHOT, digit=3))

        assert worker.read_command("run") == commanded
        assert worker.look("run", 3) == replace(SNAPSHOT, digit=3)
        assert worker.read_command("run") == replace(commanded, is_watched=True, digit=3)
        now[0] += worker.WATCHED_SECONDS - 1
        assert worker.look("run", 4) is None
        now[0] += worker.WATCHED_SECONDS - 1
        assert worker.read_command("run") == replace(commanded, is_watched=True, digit=4)
        now[0] += 1
        assert worker.read_command("run") == commanded
        assert worker.read_command("another") == Command()


class TestTrainingInAWorker:
    """`worker.train` called here, on few images, in place of a worker."""

    @pytest.fixture
    def sent(self, monkeypatch, dataset):
        """The events sent, in order."""
        from core.data import datasets
        from core.training import loop

        events = []
        sending = SimpleNamespace(log_event=lambda topic, message: events.append(progress.from_wire(message)))
        monkeypatch.setattr("distributed.get_worker", lambda: sending)
        monkeypatch.setattr(worker, "warm_up", lambda: None)
        monkeypatch.setattr(datasets, "load", lambda: dataset)
        monkeypatch.setattr(loop, "FIRST_CHUNK_STEPS", 1)
        monkeypatch.setattr(loop, "MAX_CHUNK_STEPS", 1)
        return events

    @staticmethod
    def losses(sent):
        return [loss for event in sent if isinstance(event, Advanced) for loss in event.loss]

    def commanded(self, monkeypatch, sent, commands):
        """Have the last command obeyed whose batch has been reached."""

        def read_command(run_id):
            step = next(event.step for event in reversed(sent) if isinstance(event, Started | Advanced))
            return commands[max(first for first in commands if first <= step)]

        monkeypatch.setattr(worker, "read_command", read_command)

    def test_leaves_the_network_of_its_best_epoch_for_keras(self, monkeypatch, sent, tiny, root, tmp_path):
        import keras

        from core.training import loop

        val_accuracies, train = {1: 0.5, 2: 0.75, 3: 0.25}, loop.train

        def judged(experiment, dataset, on_event, **options):
            def tell(event):
                is_end = isinstance(event, EpochEnded)
                on_event(replace(event, val_accuracy=val_accuracies[event.epoch]) if is_end else event)

            return train(experiment, dataset, tell, **options)

        monkeypatch.setattr(loop, "train", judged)
        run = registry.create(replaced(tiny, training=replaced(tiny.training, epochs=3)), "test", root)

        worker.train(run)

        (tmp_path / "model.keras").write_bytes(run.keras_file())
        kernel = keras.saving.load_model(tmp_path / "model.keras").get_layer("01_conv2d").get_weights()[0]
        assert run.steps()[-3:] == [13, 26, 39]
        np.testing.assert_array_equal(kernel, run.weights(26)["01_conv2d.0.kernel"])
        assert not np.array_equal(kernel, run.weights(39)["01_conv2d.0.kernel"])

    def test_goes_on_with_the_knobs_turned_before_its_last_epochs_end_and_forgets_later_ones(
        self, monkeypatch, sent, tiny, root
    ):
        turned, again = (registry.create(tiny, name, root) for name in ("turned and stopped", "turned"))
        commands = {0: Command(), 5: Command(learning_rate=0.05)}
        self.commanded(monkeypatch, sent, {**commands, 16: Command(learning_rate=0.001), 18: Command(is_stopping=True)})

        worker.train(turned)

        assert turned.progress().changes == [
            HyperparameterChanged(5, "learning_rate", 0.05),
            HyperparameterChanged(16, "learning_rate", 0.001),
        ]

        sent.clear()
        self.commanded(monkeypatch, sent, {0: Command()})
        worker.train(turned)
        resumed = self.losses(sent)
        sent.clear()
        self.commanded(monkeypatch, sent, commands)
        worker.train(again)

        assert turned.progress().changes == [HyperparameterChanged(5, "learning_rate", 0.05)]
        assert resumed == self.losses(sent)[13:]
        assert turned.progress().loss == again.progress().loss

    def test_stopped_in_its_first_epoch_keeps_its_network_until_that_is_trained_anew(
        self, monkeypatch, sent, tiny, root
    ):
        stopped, never = (registry.create(tiny, name, root) for name in ("stopped", "never stopped"))
        self.commanded(monkeypatch, sent, {0: Command(), 5: Command(is_stopping=True)})

        worker.train(stopped)

        assert stopped.steps() == [0, 1, 2, 4, 5]
        assert list(stopped.progress().loss) == self.losses(sent)
        assert len(self.losses(sent)) == stopped.progress().step == 5
        assert stopped.last_checkpoint() is None
        assert stopped.record().state is State.STOPPED
        assert stopped.record().message.startswith("Stopped in epoch 1, after 5 batches. The time machine keeps")
        assert stopped.record().message.endswith("going on begins with the first batch.")

        sent.clear()
        self.commanded(monkeypatch, sent, {0: Command(), 18: Command(is_stopping=True)})
        worker.train(stopped)

        assert stopped.steps() == [0, 1, 2, 4, 8, 13, 18]
        assert stopped.last_checkpoint().step == 13
        assert stopped.record().message.endswith("going on begins after epoch 1.")

        for run in (stopped, never):
            sent.clear()
            self.commanded(monkeypatch, sent, {0: Command()})
            worker.train(run)

        assert stopped.steps() == never.steps() == [0, 1, 2, 4, 8, 13, 26]
        assert stopped.record().message == ""
        assert stopped.progress().loss == never.progress().loss

    def test_turns_a_knob_again_that_was_turned_in_an_unfinished_epoch(self, monkeypatch, sent, tiny, root, offline):
        run = registry.create(tiny, "turned and stopped", root)
        commands = {0: Command(), 16: Command(learning_rate=0.001), 18: Command(is_stopping=True)}
        self.commanded(monkeypatch, sent, commands)
        worker.train(run)
        sent.clear()

        offline.train(run)
        self.commanded(monkeypatch, sent, {0: offline.commanded(run.id)})
        worker.train(run)

        assert run.progress().changes == [HyperparameterChanged(13, "learning_rate", 0.001)]
        assert {event.learning_rate for event in sent if isinstance(event, Advanced)} == {float(np.float32(0.001))}

    def test_leaves_no_more_checkpoints_of_its_first_epoch_than_there_is_room_for(self, monkeypatch, sent, tiny, root):
        monkeypatch.setattr(checkpoints, "MAX_CHECKPOINT_BYTES", 0)
        run = registry.create(tiny, "test", root)
        self.commanded(monkeypatch, sent, {0: Command(), 9: Command(is_stopping=True)})

        worker.train(run)

        assert run.steps() == [0, 9]

    @pytest.mark.parametrize("is_state_written", [True, False])
    def test_a_full_disk_interrupts_it_and_it_goes_on_from_its_last_whole_epoch(
        self, monkeypatch, sent, tiny, root, is_state_written
    ):
        run, never = (registry.create(tiny, name, root) for name in ("interrupted", "never interrupted"))
        write = LocalFileSystem.pipe_file

        def full_after_one_epoch(self, path, value, **options):
            has_begun_second = any(isinstance(event, EpochEnded) for event in sent)
            if has_begun_second and not (is_state_written and "/state.json" in path):
                raise OSError(errno.ENOSPC, "No space left on device", path)
            write(self, path, value, **options)

        with monkeypatch.context() as full:
            full.setattr(LocalFileSystem, "pipe_file", full_after_one_epoch)
            with pytest.raises(StorageFull):
                worker.train(run)

        ended = sent[-1]
        assert ended.state is State.INTERRUPTED
        assert ended.state.is_resumable
        assert re.search(r"No space left on device.*Delete runs.*last whole epoch is kept", ended.message)
        assert root not in ended.message
        assert (run.record().state, run.record().message) == (
            (State.INTERRUPTED, ended.message) if is_state_written else (State.RUNNING, "")
        )
        assert run.last_checkpoint().step == 13

        for one in (run, never):
            sent.clear()
            worker.train(one)

        assert run.record().state is State.FINISHED
        assert run.progress().loss == never.progress().loss

    def test_a_full_disk_at_its_very_end_costs_no_epoch(self, monkeypatch, sent, tiny, root):
        run = registry.create(tiny, "test", root)

        def fail(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device", root)

        with monkeypatch.context() as full:
            full.setattr("keras.Model.save", fail)
            with pytest.raises(StorageFull):
                worker.train(run)
        interrupted, _ = run.record().state, sent.clear()
        worker.train(run)

        assert interrupted is State.INTERRUPTED
        assert run.record().state is State.FINISHED
        assert self.losses(sent) == []
        assert run.has_keras_file()

    @pytest.mark.parametrize("look_seconds", [0.0, 1e9], ids=["seen at once", "seen when it writes"])
    def test_stops_when_its_folder_is_deleted_and_writes_nothing_back(
        self, monkeypatch, sent, tiny, root, look_seconds
    ):
        monkeypatch.setattr(worker, "GONE_SECONDS", look_seconds)
        run = registry.create(tiny, "deleted", root)

        def read_command(run_id):
            if sum(isinstance(event, Advanced) for event in sent) == 9 and run.exists():
                run.delete()
            return Command()

        monkeypatch.setattr(worker, "read_command", read_command)
        with pytest.raises(RunNotFound):
            worker.train(run)

        assert sent[-1] == StateChanged(State.STOPPED, f"Run {run.id} was deleted.")
        assert len(self.losses(sent)) == (10 if look_seconds == 0 else 13)
        assert not Path(root, run.id).exists()

    @pytest.mark.parametrize("told", [None, Command(is_stopping=True)], ids=["told nothing", "told to stop"])
    def test_obeys_what_it_was_told_and_else_the_order_that_came_with_it(self, monkeypatch, sent, tiny, root, told):
        run = registry.create(tiny, "test", root)
        monkeypatch.setattr(worker, "_commands", {} if told is None else {run.id: told})

        worker.train(run, Command(is_stopping=told is None))

        assert (run.progress().state, run.progress().step) == (State.STOPPED, 0)

    def test_one_deleted_while_it_waited_is_over(self, sent, tiny, root):
        run = registry.create(tiny, "deleted", root)
        run.delete()

        worker.train(run)

        assert [event.state for event in sent] == [State.FAILED]
        assert not Path(root, run.id).exists()

    def test_leaves_nothing_in_the_worker(self, sent, tiny, root):
        run = registry.create(tiny, "test", root)
        worker.set_command(run.id, Command())
        worker.look(run.id, 3)

        worker.train(run)

        for kept in (worker._commands, worker._watched, worker._snapshots):
            assert run.id not in kept
