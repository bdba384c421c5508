"""Runs are made under ids that nobody guesses, and found by them alone."""

import os
import stat
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from core.errors import RunNotFound, StorageFull
from core.runs import registry
from core.runs.contents import Record
from core.runs.network import Network
from core.runs.progress import Progress, State
from core.runs.run import Run
from tests.core.runs.conftest import write_all


def folder(run: Run) -> Path:
    return Path(run.root, run.id)


class TestCreate:
    def test_a_new_run_is_queued_and_has_nothing_but_its_experiment(self, tiny, root):
        run = registry.create(tiny, "Ünïcødé ✏️", root)

        record = run.record()

        assert run.experiment() == tiny
        assert record == Record("Ünïcødé ✏️", State.QUEUED, "", record.began, None, 0)
        assert run.progress() == Progress(State.QUEUED, epochs=2, batch_size=32)
        assert run.steps() == []
        assert run.last_checkpoint() is None
        assert Network(run, 1).evaluation() is None
        assert not run.has_keras_file()

    def test_goes_where_the_environment_says(self, tiny, runs_root):
        run = registry.create(tiny, "A run")

        assert run.root == str(runs_root)
        assert sorted(path.name for path in (runs_root / run.id).iterdir()) == ["spec.json", "state.json"]

    def test_an_id_is_130_random_bits_in_letters_that_are_not_mistaken_for_each_other(self, tiny):
        ids = {registry._new_id() for _ in range(1000)}

        assert len(ids) == 1000
        assert set("".join(ids)) == set("abcdefghijklmnopqrstuvwxyz234567")
        assert {len(run_id) for run_id in ids} == {26}

    @pytest.mark.parametrize("umask", [0o000, 0o022])
    def test_what_is_written_is_for_this_user_alone_from_its_first_byte(self, tiny, tmp_path, monkeypatch, umask):
        modes, write = [], LocalFileSystem.pipe_file

        def note_mode(self, path, value, **options):
            modes.append(stat.S_IMODE(Path(path).stat().st_mode))
            write(self, path, value, **options)

        monkeypatch.setattr(LocalFileSystem, "pipe_file", note_mode)
        before = os.umask(umask)
        try:
            run = registry.create(tiny, "A run", str(tmp_path / "made" / "runs"))
            write_all(run)
        finally:
            os.umask(before)

        made = [tmp_path / "made", *(tmp_path / "made").rglob("*")]
        assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}
        assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}
        assert set(modes) == {0o600}

    def test_a_folder_that_was_there_keeps_its_rights(self, tiny, tmp_path):
        tmp_path.chmod(0o750)

        registry.create(tiny, "A run", str(tmp_path))

        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750

    def test_says_that_there_is_no_room_and_leaves_where_to_the_log(self, tiny, tmp_path, caplog):
        (tmp_path / "file").write_text("not a folder")

        with pytest.raises(StorageFull, match=r"can't be written: Not a directory\. .*DIGITLAB_RUNS") as refusal:
            registry.create(tiny, "A run", str(tmp_path / "file"))

        assert str(tmp_path) not in str(refusal.value)
        assert str(tmp_path / "file") in caplog.text


class TestFind:
    def test_finds_what_was_made(self, tiny, root):
        run = registry.create(tiny, "A run", root)

        assert registry.find(run.id, root) == run

    def test_finds_a_run_of_an_older_version_by_its_shorter_id(self, tiny, root):
        run = Run("a" * 16, root)
        run.folder.write("spec.json", tiny.model_dump_json().encode())

        assert registry.find(run.id, root) == run
        assert list(registry.all_runs(root)) == [run]

    def test_says_that_there_is_no_such_run(self, tiny, root):
        registry.create(tiny, "Another", root)

        with pytest.raises(RunNotFound, match="There is no run aaaaaaaaaaaaaaaa here"):
            registry.find("a" * 16, root)

    @pytest.mark.parametrize(
        "run_id",
        [
            "",
            ".",
            "..",
            "../../../../etc",
            "/etc/passwd",
            "a" * 15,
            "a" * 17,
            "a" * 25,
            "a" * 27,
            "a" * 16 + "\n",
            "A" * 16,
            "0" * 16,
            "a" * 14 + "/.",
            "aaaaaaa/../bbbbb",
            "aaaaaaaa\x00aaaaaaa",
            "\uff41" * 16,  # a full-width a
            "%2e%2e%2f" + "a" * 7,
            "x" * 100_000,
        ],
        ids=lambda run_id: f"{len(run_id)} {run_id[:20]!a}",
    )
    def test_refuses_what_can_be_no_id(self, run_id, tmp_path):
        with pytest.raises(RunNotFound, match="is no run's id") as refusal:
            registry.find(run_id, str(tmp_path))

        assert len(str(refusal.value)) < 300


class TestAllRuns:
    def test_there_are_none_before_the_first(self, root):
        assert list(registry.all_runs(root)) == []

    def test_lists_every_run_and_nothing_else(self, tiny, root):
        made = {registry.create(tiny, name, root) for name in "abc"}
        fs, path = fsspec.core.url_to_fs(root)
        fs.makedirs(f"{path}/lost+found")
        fs.pipe_file(f"{path}/README.txt", b"Not a run.")

        assert set(registry.all_runs(root)) == made

    def test_lists_damaged_ones_too(self, run):
        (folder(run) / "state.json").unlink()

        assert list(registry.all_runs()) == [run]
