"""A worker's folder goes with its server, or with the next one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from core.engine import scratch
from core.engine.scratch import Scratch

ROOT = Path(__file__).parents[3]
HOLD = "from core.engine.scratch import Scratch; print(Scratch().path, flush=True); input()"


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The system's temporary folder, for this process and those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def server() -> tuple[subprocess.Popen, Path]:
    """Another process with a folder of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def test_it_goes_when_it_is_closed(temporary):
    kept = Scratch()
    assert kept.path.parent == temporary
    (kept.path / "__autograph_generated_file.py").touch()

    kept.close()

    assert list(temporary.iterdir()) == []


def test_that_of_a_killed_server_goes_when_the_next_starts_and_no_others():
    killed, left = server()
    live, held = server()
    foreign = held.with_name(f"{scratch.PREFIX}without-a-lock")
    foreign.mkdir()
    end(killed)
    assert left.exists()

    own = Scratch()

    assert not left.exists()
    assert held.exists()
    assert foreign.exists()
    own.close()
    end(live)


def test_a_lock_that_is_a_link_is_left_alone(temporary):
    outside = temporary / "outside"
    outside.mkdir()
    (outside / "file").touch()
    link = temporary / f"{scratch.PREFIX}link"
    link.mkdir()
    (link / "server.lock").symlink_to(outside / "file")

    scratch.clear_abandoned()

    assert (outside / "file").exists()
    assert link.exists()
