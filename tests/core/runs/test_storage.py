"""Where runs are kept: nothing outside is read or written, and what is no place for files is a sentence."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import RunDamaged, RunNotFound, StorageFull
from core.runs import registry
from core.runs.contents import Checkpoint, Record
from core.runs.progress import State
from core.runs.run import Run
from core.runs.storage import Storage

FOREIGN = "root:x:0:0:a secret"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that runs have nothing to do with, with a file in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "state.json").write_text(FOREIGN)
    return folder


@pytest.fixture
def run(tiny) -> Run:
    return registry.create(tiny, "A run")


def folder(run: Run) -> Path:
    return Path(run.root, run.id)


class TestLinks:
    """Below the root none is followed out of it; the root itself may be one."""

    @pytest.mark.parametrize("name", ["spec.json", "state.json", "history.json", "turns.json", "curve.npz"])
    def test_one_in_place_of_a_file_is_not_read(self, run, outside, name):
        (folder(run) / name).unlink(missing_ok=True)
        (folder(run) / name).symlink_to(outside / "state.json")

        said = ""
        try:
            run.progress()
        except RunDamaged as damage:
            said = str(damage)

        assert "secret" not in said
        assert ("link" in said) == (name in ("spec.json", "state.json"))  # the others are taken for not being there

    def test_one_in_place_of_a_file_is_not_written_through(self, run, outside):
        (folder(run) / "turns.json").symlink_to(outside / "state.json")

        with pytest.raises(StorageFull, match="link"):
            run.write_changes(run.progress())

        assert (outside / "state.json").read_text() == FOREIGN

    def test_one_in_place_of_a_run_is_no_run(self, run, outside):
        alias = Run("a" * 16, run.root)
        folder(alias).symlink_to(outside)

        assert list(registry.all_runs()) == [run]
        with pytest.raises(RunNotFound):
            registry.find(alias.id)
        with pytest.raises((StorageFull, RunNotFound)):
            alias.folder.write("spec.json", b"{}")
        with pytest.raises(RunDamaged) as damage:
            alias.record()
        with pytest.raises(StorageFull):
            alias.delete()
        assert "secret" not in str(damage.value)
        assert [path.name for path in outside.iterdir()] == ["state.json"]

    def test_one_in_place_of_a_folder_of_a_run_is_not_listed_or_written(self, run, outside):
        (outside / "00000004.npz").write_bytes(b"PK")
        (folder(run) / "checkpoints").symlink_to(outside)

        with pytest.raises(RunDamaged, match="link"):
            run.steps()
        with pytest.raises(StorageFull, match="link"):
            run.write_weights(Checkpoint(5, {}, None))
        assert sorted(path.name for path in outside.iterdir()) == ["00000004.npz", "state.json"]

    def test_a_deleted_run_leaves_what_its_links_lead_to(self, run, outside):
        (folder(run) / "checkpoints").symlink_to(outside)

        run.delete()

        assert not folder(run).exists()
        assert (outside / "state.json").read_text() == FOREIGN

    def test_the_root_may_be_one(self, tiny, tmp_path):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

        run = registry.create(tiny, "A run", str(tmp_path / "link"))

        assert registry.find(run.id, str(tmp_path / "link")).record().name == "A run"
        assert list(registry.all_runs(str(tmp_path / "link"))) == [run]

    def test_one_that_leads_to_itself_ends(self, run):
        (folder(run) / "state.json").unlink()
        (folder(run) / "state.json").symlink_to(folder(run) / "state.json")

        with pytest.raises(RunDamaged):
            run.record()


class TestWhatIsNoFile:
    @pytest.mark.parametrize("name", ["spec.json", "state.json"])
    def test_a_named_pipe_does_not_keep_the_reader_waiting(self, run, name):
        (folder(run) / name).unlink()
        os.mkfifo(folder(run) / name)

        with pytest.raises(RunDamaged, match=f"{name} can't be read .it is no file."):
            run.progress()

    def test_a_folder_in_a_checkpoints_place_is_named(self, run):
        (folder(run) / "checkpoints" / "00000004.npz").mkdir(parents=True)

        assert run.steps() == [4]
        with pytest.raises(RunDamaged, match="it is no file"):
            run.weights(4)


class TestRoots:
    """Whatever DIGITLAB_RUNS names."""

    @pytest.mark.parametrize(
        ("named", "said"),
        [
            ("s3://bucket/runs", "the package for the kind of storage .* isn't installed here"),
            ("nonsense://runs", "no kind of storage that is known"),
            ("zip::file://runs.zip", "chains two places"),
            ("a::b", "chains two places"),
            ("/proc/x", "No such file or directory"),
            ("/etc/passwd", "Not a directory"),
            ("/etc/passwd/runs", "Not a directory"),
        ],
    )
    def test_what_is_no_place_for_files_holds_no_runs_and_is_a_sentence(self, tiny, monkeypatch, named, said):
        monkeypatch.setenv("DIGITLAB_RUNS", named)

        assert list(registry.all_runs()) == []
        with pytest.raises(RunNotFound):
            registry.find("a" * 16)
        with pytest.raises(StorageFull, match=said) as refusal:
            registry.create(tiny, "A run")
        assert named not in str(refusal.value)
        assert str(refusal.value).endswith("name a folder that can be written to.")

    @pytest.mark.parametrize(
        ("named", "root"),
        [
            ("", "{home}/.digitlab/runs"),
            ("  ", "{home}/.digitlab/runs"),
            ("~", "{home}"),
            ("~/my runs", "{home}/my runs"),
            ("runs", "{here}/runs"),
            ("./runs/../others", "{here}/others"),
            ("/somewhere/", "/somewhere"),
            ("memory://runs", "memory://runs"),
        ],
    )
    def test_a_folder_is_meant_from_here_and_from_home(self, monkeypatch, tmp_path, named, root):
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("DIGITLAB_RUNS", named)
        monkeypatch.chdir(tmp_path)

        assert registry.root() == root.format(home=tmp_path / "home", here=tmp_path)

    def test_errors_of_a_kind_of_storage_are_told_like_those_of_a_disk(self, run, monkeypatch):
        class Expired(Exception):
            """As a cloud's client raises, with a path in its words."""

        def fail(*_, **__):
            raise Expired(run.root)

        monkeypatch.setattr(type(run.folder.storage.fs), "cat_file", fail)
        monkeypatch.setattr(type(run.folder.storage.fs), "pipe_file", fail)

        with pytest.raises(RunDamaged, match=r"state.json can't be read \(Expired\)\.$"):
            run.record()
        with pytest.raises(StorageFull, match=r"can't be written: Expired\."):
            run.write_record(Record("Another"))


def test_a_file_larger_than_there_is_room_for_leaves_the_old_one():
    """In a process of its own, that may write no file beyond so many bytes, as on a full disk."""
    script = f"""
import resource, signal, sys, tempfile
from core.errors import StorageFull
from core.runs.storage import Storage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = tempfile.mkdtemp()
storage = Storage(folder)
storage.write("run/file", b"old", "A file")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.RLIM_INFINITY}))
try:
    storage.write("run/file", b"x" * 10_000, "A file")
except StorageFull as full:
    print(full)
print(storage.files("run"), storage.read("run/file"))
storage.remove("run")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120
    )

    assert done.stdout.splitlines() == [
        "A file (0.0 MB) can't be written: File too large. Delete runs that you don't need any more, then try again.",
        "{'file': 3} b'old'",
    ]


def test_a_full_disk_says_what_helps(run, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", run.root)

    monkeypatch.setattr(type(run.folder.storage.fs), "pipe_file", full)

    with pytest.raises(StorageFull, match=r"No space left on device\. Delete runs that you don't need") as refusal:
        run.write_state(State.STOPPED)
    assert run.root not in str(refusal.value)


def test_names_of_a_folder_that_is_not_there(tmp_path):
    assert Storage(str(tmp_path)).names("nothing") == []
    assert Storage(str(tmp_path)).files("nothing") == {}
