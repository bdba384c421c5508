"""A run's files are whole or not there, what is damaged is told by name alone, and nothing brings a deleted run back."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem

from core.errors import RunDamaged, RunNotFound, StorageFull
from core.runs.folder import FIRST, Folder


@pytest.fixture
def folder(tmp_path) -> Folder:
    made = Folder("a" * 26, str(tmp_path))
    made.write(FIRST, b"{}")
    return made


def test_what_was_written_is_read(folder):
    folder.write("answers/a.json", b"[1, 2]")

    assert folder.read("answers/a.json", json.loads) == [1, 2]
    assert folder.read_if_there("answers/b.json", json.loads) is None
    assert folder.exists()
    assert folder.exists("answers/a.json")
    assert not folder.exists("answers/b.json")


def test_a_file_that_is_missing_or_makes_no_sense_is_damage_without_its_content(folder):
    folder.write("state.json", b'{"secret": ')

    with pytest.raises(RunDamaged, match=r"has no history\.json: it was never written, or someone removed it"):
        folder.read("history.json", json.loads)
    with pytest.raises(RunDamaged, match=r"state\.json can't be read") as raised:
        folder.read("state.json", json.loads)
    assert "secret" not in str(raised.value)


def test_arrays_are_those_that_numpy_reads(folder):
    arrays = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "b": np.array(3), "c": np.zeros((0, 28), np.uint8)}
    folder.write_arrays("curve.npz", arrays)

    found = folder.read("curve.npz", lambda content: dict(np.load(io.BytesIO(content), allow_pickle=False)))

    assert list(found) == list(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values, strict=True)


def test_objects_are_not_written(folder):
    with pytest.raises(ValueError, match="pickle"):
        folder.write_arrays("curve.npz", {"a": np.array([{}], object)})

    assert not folder.exists("curve.npz")


def test_files_are_listed_by_their_names_with_their_sizes(folder):
    folder.write("checkpoints/1.npz", b"abc")
    folder.write("checkpoints/2.npz", b"a")

    assert folder.files() == {"spec.json": 2, "checkpoints/1.npz": 3, "checkpoints/2.npz": 1}
    assert folder.files("checkpoints") == {"1.npz": 3, "2.npz": 1}
    assert sorted(folder.names("checkpoints")) == ["1.npz", "2.npz"]


def test_nothing_is_written_into_a_deleted_run(folder):
    folder.remove()

    with pytest.raises(RunNotFound, match="it was deleted"):
        folder.write("state.json", b"{}")
    with pytest.raises(RunNotFound):
        folder.write_arrays("curve.npz", {"a": np.zeros(1)})
    assert not folder.exists()
    assert not Path(folder.root, folder.id).exists()


def test_a_disk_without_room_is_full_and_the_folder_keeps_what_it_had(folder, monkeypatch):
    folder.write("state.json", b"before")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LocalFileSystem, "pipe_file", fail)
    with pytest.raises(StorageFull, match="No space left on device"):
        folder.write("state.json", b"after")

    assert folder.read("state.json", bytes) == b"before"
    assert folder.files() == {"spec.json": 2, "state.json": 6}


def test_the_oldest_files_go_first(folder):
    for age, name in enumerate("edcba"):
        folder.write(f"answers/{name}", b"")
        os.utime(Path(folder.root, folder.id, "answers", name), (1000 - age, 1000 - age))  # `e` the youngest

    folder.remove_oldest("answers", 2)

    assert sorted(folder.names("answers")) == ["d", "e"]
    folder.remove_oldest("answers", 2)
    assert sorted(folder.names("answers")) == ["d", "e"]
