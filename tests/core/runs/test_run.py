"""A run's folder gives back what was put in, says what is damaged in it, and is never half written."""

import errno
import io
import re
import zipfile
from array import array
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from core.errors import RunDamaged, RunNotFound, StorageFull
from core.runs import registry
from core.runs.contents import Evaluation, Record
from core.runs.network import Network
from core.runs.progress import EpochEnded, HyperparameterChanged, Progress, State
from core.runs.run import Run
from tests.core.runs.conftest import ROWS, assert_same_arrays, checkpoint, write_all


def read_all(run: Run) -> None:
    run.record()
    run.experiment()
    run.progress()
    run.last_checkpoint()
    Network(run, 4).evaluation()
    run.keras_file()


def folder(run: Run) -> Path:
    return Path(run.root, run.id)


class TestRoundTrips:
    def test_an_epoch(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        write_all(run)

        last = run.last_checkpoint()

        assert run.steps() == [0, 2, 4]
        assert_same_arrays(run.weights(2), checkpoint(1).weights)
        assert last.step == 4
        assert_same_arrays(last.weights, checkpoint(2).weights)
        assert_same_arrays(last.optimizer, checkpoint(2).optimizer)

    def test_changed_live_hyperparameters(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        changes = [
            HyperparameterChanged(0, "dropout", 0.25),
            HyperparameterChanged(3, "learning_rate", 1e-6),
            HyperparameterChanged(3, "dropout", 0.0),
        ]

        run.write_changes(Progress(changes=changes))

        assert run.progress().changes == changes

    def test_what_an_epoch_says_of_the_images_held_out(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        row = replace(ROWS[0], confusion=tuple(range(100)), wrongest=((59_999, 7, 0.125), (3, 0, 1.0)))
        run.write_state(State.RUNNING, steps_per_epoch=2)

        curve = array("f", [0.5, 0.5])
        run.write_epoch(Progress(steps_per_epoch=2, history=[row], loss=curve, accuracy=curve), checkpoint(1))

        assert run.progress().history == [row]

    def test_progress(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        write_all(run)
        run.write_state(State.FINISHED, "done", steps_per_epoch=2)

        assert run.progress() == Progress(
            state=State.FINISHED,
            message="done",
            steps_per_epoch=2,
            epochs=2,
            batch_size=32,
            step=4,
            learning_rate=0.005,
            images_per_second=2 * 32 / 2.25,  # batches of the last epoch, over its seconds
            history=ROWS,
            changes=[HyperparameterChanged(1, "learning_rate", 0.5)],
            loss=array("f", [2.5, 1.5, 1, 1]),
            accuracy=array("f", [0.25, 0.5, 0.75, 0.75]),
        )

    def test_a_loss_that_is_not_finite(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        row = EpochEnded(1, float("inf"), 0.5, float("nan"), 0.625, 0.01, 2.5)
        run.write_state(State.RUNNING, steps_per_epoch=1)

        run.write_epoch(
            Progress(history=[row], loss=array("f", [float("nan")]), accuracy=array("f", [0])), checkpoint(1)
        )

        assert repr(run.progress().history) == repr([row])

    def test_a_state_keeps_the_rest_of_the_record(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        before = run.record()

        run.write_state(State.RUNNING, steps_per_epoch=13)
        running = run.record()
        run.write_state(State.STOPPED, "asked to")
        stopped = run.record()

        assert running == Record("A run", State.RUNNING, "", before.began, None, 13)
        assert stopped == Record("A run", State.STOPPED, "asked to", before.began, stopped.ended, 13)
        assert stopped.ended >= stopped.began

    def test_an_evaluation_is_of_one_step(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        write_all(run)

        evaluation = Network(run, 4).evaluation()

        assert evaluation.step == 4
        np.testing.assert_array_equal(evaluation.probabilities, np.full((3, 10), 0.1, np.float32), strict=True)
        np.testing.assert_array_equal(evaluation.y_true, np.uint8([7, 2, 1]), strict=True)
        assert Network(run, 2).evaluation() is None

    def test_a_keras_file(self, tiny, root):
        run = registry.create(tiny, "A run", root)
        write_all(run)

        assert run.has_keras_file()
        assert run.keras_file() == b"PK a network"

    def test_a_deleted_run_is_gone(self, tiny, root):
        run, other = registry.create(tiny, "A run", root), registry.create(tiny, "Another", root)
        write_all(run)

        run.delete()

        assert list(registry.all_runs(root)) == [other]
        with pytest.raises(RunNotFound):
            registry.find(run.id, root)

    def test_leaves_nothing_but_the_files_of_a_run(self, run):
        files = sorted(str(path.relative_to(folder(run))) for path in folder(run).rglob("*") if path.is_file())

        assert files == [
            "checkpoints/00000000.npz",
            "checkpoints/00000002.npz",
            "checkpoints/00000004.npz",
            "curve.npz",
            "evaluations/00000004.npz",
            "history.json",
            "model.keras",
            "optimizer.npz",
            "spec.json",
            "state.json",
            "turns.json",
        ]


FILES = [
    "spec.json",
    "state.json",
    "history.json",
    "curve.npz",
    "turns.json",
    "checkpoints/00000004.npz",
    "optimizer.npz",
    "evaluations/00000004.npz",
]


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


class TestDamage:
    def test_without_any_everything_can_be_read(self, run):
        read_all(run)

    def test_a_finished_run_without_its_history_is_damaged_and_a_queued_one_is_not(self, run):
        (folder(run) / "history.json").unlink()

        assert run.progress().history == []
        run.write_state(State.FINISHED)
        with pytest.raises(RunDamaged, match=f"^Run {run.id} has no history.json: "):
            run.progress()

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
    def test_a_file_that_is_no_archive_is_called_that(self, run, content):
        (folder(run) / "curve.npz").write_bytes(content)

        with pytest.raises(RunDamaged) as damage:
            run.progress()

        assert str(damage.value) == f"Run {run.id}: curve.npz can't be read (it is no .npz file, or cut short)."

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{", b"[1]", b"null", b"PK\x03\x04", b"\x80\x04K\x01."])
    def test_other_content_is_named(self, run, name, content):
        (folder(run) / name).write_bytes(content)

        with pytest.raises(RunDamaged, match=f"^Run {run.id}: {re.escape(name)} can't be read "):
            read_all(run)

    @pytest.mark.parametrize("name", FILES)
    def test_a_file_that_ends_early_is_named(self, run, name):
        path = folder(run) / name
        whole = path.read_bytes()
        for length in range(0, len(whole), max(1, len(whole) // 50)):
            path.write_bytes(whole[:length])

            with pytest.raises(RunDamaged, match=f"^Run {run.id}: {re.escape(name)} can't be read "):
                read_all(run)

    @pytest.mark.parametrize("name", FILES)
    def test_any_changed_byte_is_named_or_does_no_harm(self, run, name):
        path = folder(run) / name
        whole = path.read_bytes()
        for position in range(len(whole)):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0b1001]) + whole[position + 1 :])

            with suppress(RunDamaged):
                read_all(run)

    def test_any_turned_bit_before_a_long_curve_is_named_or_does_no_harm(self, run):
        """Of a long array NumPy reads the description before its checksum can be known."""
        curve = array("f", [0.5] * 3000)
        run.write_curve(Progress(loss=curve, accuracy=curve))
        path = folder(run) / "curve.npz"
        whole = path.read_bytes()
        for bit in range(8 * 230):
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(changed)

            with suppress(RunDamaged):
                run.progress()

    @pytest.mark.parametrize("name", ["spec.json", "state.json", "checkpoints/00000004.npz"])
    def test_a_missing_file_is_named(self, run, name):
        (folder(run) / name).unlink()

        with pytest.raises(RunDamaged, match=f"^Run {run.id} has no {re.escape(name)}: "):
            read_all(run)

    def test_a_missing_keras_file_is_named(self, run):
        (folder(run) / "model.keras").unlink()

        with pytest.raises(RunDamaged, match=f"^Run {run.id} has no model.keras: "):
            run.keras_file()

    def test_a_folder_in_a_files_place_is_named(self, run):
        (folder(run) / "state.json").unlink()
        (folder(run) / "state.json").mkdir()

        with pytest.raises(RunDamaged, match=f"^Run {run.id}: state.json can't be read "):
            run.record()

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("spec.json", b'{"layers": [{"kind": "Lambda"}]}'),
            ("state.json", b'{"name": "A run", "state": "exploded"}'),
            ("state.json", b'{"name": 5}'),
            ("state.json", b'{"state": "queued"}'),
            ("state.json", b'{"name": "A run", "began": "yesterday"}'),
            ("history.json", b'[{"epoch": 1}]'),
            ("history.json", b'{"epoch": 1}'),
            ("history.json", b"[[1, 2, 3, 4, 5, 6, 7]]"),
            (
                "history.json",
                b'[{"epoch": 1, "loss": "low", "accuracy": 1, "val_loss": 1, "val_accuracy": 1, '
                b'"learning_rate": 1, "seconds": 1}]',
            ),
            ("curve.npz", npz(loss=[1.0])),
            ("curve.npz", npz(loss=[1.0], accuracy=[1.0, 2.0])),
            ("curve.npz", npz(loss=[[1.0]], accuracy=[[1.0]])),
            ("curve.npz", npz(loss=["low"], accuracy=["high"])),
            ("optimizer.npz", npz(**{"0": 1})),
            ("optimizer.npz", npz(**{"step": 4, "0": 1, "2": 1})),
            ("optimizer.npz", npz(step="two")),
            ("evaluations/00000004.npz", npz(step=4, probabilities=np.ones((3, 10)))),
            ("evaluations/00000004.npz", npz(step=4, probabilities=np.ones((3, 9)), y_true=np.ones(3))),
            ("evaluations/00000004.npz", npz(step=4, probabilities=np.ones((3, 10)), y_true=np.ones(4))),
        ],
    )
    def test_content_that_is_whole_but_foreign_is_named(self, run, name, content):
        (folder(run) / name).write_bytes(content)

        with pytest.raises(RunDamaged, match=f"^Run {run.id}: {re.escape(name)} can't be read ") as damage:
            read_all(run)

        assert len(str(damage.value).splitlines()) == 1

    def test_an_encrypted_member_is_named(self, run):
        path = folder(run) / "optimizer.npz"
        content = bytearray(path.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of a member, and of its entry
            content[content.index(signature) + offset] |= 1
        path.write_bytes(content)

        with pytest.raises(RunDamaged, match=r"optimizer.npz can't be read .*encrypted"):
            run.last_checkpoint()

    def test_what_is_no_checkpoint_is_not_counted_as_one(self, run):
        (folder(run) / "checkpoints" / "00000006.npz.0a1b.part").write_bytes(b"half")
        (folder(run) / "checkpoints" / "²").write_bytes(b"")

        assert run.steps() == [0, 2, 4]

    def test_a_run_cut_short_between_two_files_goes_on_from_its_last_whole_epoch(self, run):
        """The optimizer is written last, so all else may be an epoch ahead of it."""
        progress = Progress(
            steps_per_epoch=2, history=[*ROWS, ROWS[1]], loss=array("f", [0.5] * 6), accuracy=array("f", [0.5] * 6)
        )
        optimizer = (folder(run) / "optimizer.npz").read_bytes()
        run.write_epoch(progress, checkpoint(3))
        (folder(run) / "optimizer.npz").write_bytes(optimizer)

        assert run.last_checkpoint().step == 4


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestPickles:
    @pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".npz")])
    @pytest.mark.parametrize("wrapping", ["npz", "npy"])
    def test_are_never_opened(self, run, tmp_path, name, wrapping):
        file = io.BytesIO()
        trap = np.array([Trap(tmp_path / "sprung")], dtype=object)
        if wrapping == "npz":
            keys = zipfile.ZipFile(folder(run) / name).namelist()
            np.savez(file, allow_pickle=True, **{key.removesuffix(".npy"): trap for key in keys})
        else:
            np.save(file, trap, allow_pickle=True)
        (folder(run) / name).write_bytes(file.getvalue())

        with pytest.raises(RunDamaged, match=re.escape(name)):
            read_all(run)

        assert not (tmp_path / "sprung").exists()

    def test_are_never_written(self, run):
        with pytest.raises(ValueError, match="Object arrays cannot be saved"):
            Network(run, 1).keep_evaluation(Evaluation(1, np.array([object()]), np.zeros(1)))


class TestFullStorage:
    """A write that fails leaves the old file as it was, and nothing beside it."""

    @pytest.fixture(params=["at once", "halfway", "at the end"])
    def full(self, request, monkeypatch) -> None:
        write = LocalFileSystem.pipe_file

        def fail(self, path, value, **options):
            if request.param != "at once":
                write(self, path, value[: len(value) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        def fail_to_rename(*paths):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

        if request.param == "at the end":
            monkeypatch.setattr("os.replace", fail_to_rename)
        else:
            monkeypatch.setattr(LocalFileSystem, "pipe_file", fail)

    @pytest.mark.parametrize(
        "write",
        [
            lambda run: run.write_state(State.FINISHED),
            lambda run: run.write_epoch(Progress(history=ROWS), checkpoint(2)),
            lambda run: Network(run, 1).keep_evaluation(Evaluation(1, np.ones((1, 10)), np.ones(1))),
            lambda run: run.write_keras_file(b"another network"),
        ],
        ids=["state", "epoch", "evaluation", "keras file"],
    )
    def test_leaves_the_old_file_whole(self, run, full, write):
        before = {path: path.read_bytes() for path in folder(run).rglob("*") if path.is_file()}

        with pytest.raises(
            StorageFull, match=rf"^Run {run.id}: .* can't be written: .*(No space|quota).*Delete runs"
        ) as refusal:
            write(run)

        assert run.root not in str(refusal.value)
        assert {path: path.read_bytes() for path in folder(run).rglob("*") if path.is_file()} == before

    def test_fails_to_begin_a_run(self, tiny, full, runs_root):
        with pytest.raises(StorageFull, match=r"spec.json .* can't be written"):
            registry.create(tiny, "A run")

        assert [path for path in runs_root.rglob("*") if path.is_file()] == []

    def test_a_file_in_a_folders_place_is_no_crash(self, tiny):
        run = registry.create(tiny, "A run")
        (folder(run) / "checkpoints").write_text("not a folder")

        with pytest.raises(StorageFull, match=r"checkpoints/00000002\.npz"):
            run.write_epoch(Progress(history=ROWS), checkpoint(1))
        assert run.steps() == []

    def test_is_told_where_no_folder_is_involved(self, tiny, monkeypatch):
        run = registry.create(tiny, "A run", "memory://full")
        monkeypatch.setattr(
            MemoryFileSystem,
            "pipe_file",
            lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES, "denied")),
        )

        with pytest.raises(StorageFull, match="can't be written: denied"):
            run.write_state(State.RUNNING)

        assert run.record().state is State.QUEUED
        MemoryFileSystem.store.clear()


def test_each_opening_of_the_test_set_is_noted(run):
    assert run.test_openings() == []

    run.open_test(4)
    run.open_test(8)

    assert [opening.step for opening in run.test_openings()] == [4, 8]
    assert run.test_openings()[0].at <= run.test_openings()[1].at


def test_openings_that_can_not_be_read_are_told(run):
    Path(run.root, run.id, "openings.json").write_text("[{")

    with pytest.raises(RunDamaged, match=r"openings.json"):
        run.test_openings()
