"""The checkpoints that a run keeps are those that training and pages need, as far as there is room."""

from dataclasses import replace

import pytest

from core.errors import RunDamaged
from core.runs import checkpoints, registry
from core.runs.contents import Checkpoint
from core.runs.network import Network
from core.runs.progress import EpochEnded, Progress
from core.runs.run import Run
from tests.core.runs.conftest import assert_same_arrays, checkpoint


class TestThinning:
    """There is room for four checkpoints."""

    @pytest.fixture
    def thinned(self, tiny, root, monkeypatch) -> Run:
        run = registry.create(tiny, "A run", root)
        run.write_weights(replace(checkpoint(0), optimizer=None))
        size = run.folder.storage.fs.size(run.folder.storage.path(f"{run.id}/checkpoints/00000000.npz"))
        monkeypatch.setattr(checkpoints, "MAX_CHECKPOINT_BYTES", 4 * size)
        return run

    @staticmethod
    def write(run: Run, *val_accuracies: float | None) -> list[list[int]]:
        """An epoch of two batches for each validation accuracy; which checkpoints there are after each."""
        rows, kept = [], []
        for epoch, val_accuracy in enumerate(val_accuracies, start=1):
            rows.append(EpochEnded(epoch, 1.0, 0.5, 1.0, val_accuracy, 0.01, 1.0))
            run.write_epoch(Progress(steps_per_epoch=2, history=rows), checkpoint(epoch))
            kept.append(run.steps())
        return kept

    def test_removes_the_oldest_but_the_first_the_best_and_the_last(self, thinned):
        kept = self.write(thinned, 0.5, 0.75, 0.25, 0.25, 0.25, 0.25)

        assert kept == [[0, 2], [0, 2, 4], [0, 2, 4, 6], [0, 4, 6, 8], [0, 4, 8, 10], [0, 4, 10, 12]]

    def test_lets_the_best_go_once_another_is_better(self, thinned):
        kept = self.write(thinned, 0.75, 0.5, 0.5, 0.5, 0.875, 0.5, 0.5)

        assert kept[3:] == [[0, 2, 6, 8], [0, 6, 8, 10], [0, 8, 10, 12], [0, 10, 12, 14]]

    def test_keeps_the_last_ones_where_nothing_is_held_out(self, thinned):
        assert self.write(thinned, *[None] * 5)[-1] == [0, 6, 8, 10]

    def test_early_ones_go_first(self, thinned):
        thinned.write_weights(Checkpoint(1, checkpoint(0).weights, None))

        assert self.write(thinned, 0.5, 0.75, 0.5)[-1] == [0, 2, 4, 6]

    def test_in_an_unfinished_epoch_leaves_what_training_and_pages_need(self, thinned):
        self.write(thinned, 0.75, 0.5, 0.5)
        rows = [EpochEnded(epoch, 1.0, 0.5, 1.0, 0.75 / epoch, 0.01, 1.0) for epoch in (1, 2, 3)]
        thinned.write_weights(Checkpoint(7, checkpoint(0).weights, None))

        checkpoints.thin(thinned.folder, Progress(steps_per_epoch=2, history=rows))

        assert thinned.steps() == [0, 2, 6, 7]

    def test_before_the_first_epochs_end_leaves_the_first_and_the_last(self, thinned):
        for step in (1, 2, 4, 8):
            thinned.write_weights(Checkpoint(step, checkpoint(0).weights, None))
            checkpoints.thin(thinned.folder, Progress(steps_per_epoch=100))

        assert thinned.steps() == [0, 2, 4, 8]

    def test_keeps_what_it_must_even_where_that_is_too_much(self, thinned, monkeypatch):
        monkeypatch.setattr(checkpoints, "MAX_CHECKPOINT_BYTES", 0)

        assert self.write(thinned, 0.75, 0.5, 0.5)[-1] == [0, 2, 6]

    def test_leaves_a_run_that_can_go_on_and_be_read(self, thinned):
        self.write(thinned, 0.5, 0.75, 0.25, 0.25, 0.25)

        assert_same_arrays(thinned.last_checkpoint().weights, checkpoint(5).weights)
        assert_same_arrays(thinned.weights(4), checkpoint(2).weights)
        with pytest.raises(RunDamaged, match=r"has no checkpoints/00000002\.npz"):
            thinned.weights(2)


class TestForgetting:
    def test_what_is_known_of_networks_in_an_epoch_that_is_taken_anew_goes_with_them(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        for step in (0, 1, 2, 4, 5):
            run.write_weights(Checkpoint(step, checkpoint(0).weights, None))
            Network(run, step).answered("a question", int, lambda: 1)

        checkpoints.forget_unfinished(run.folder, Progress(steps_per_epoch=4, step=1))

        assert run.steps() == [0, 1, 4]
        assert len(run.folder.storage.fs.ls(run.folder.storage.path(f"{run.id}/answers"))) == 3
