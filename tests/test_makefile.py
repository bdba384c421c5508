"""What `make run` starts ends with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.e2e.places import wait_until

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_ending_make_ends_the_server(tmp_path):
    python, number = tmp_path / "python", tmp_path / "number"
    python.write_text(f'#!/bin/sh\necho $$ > "{number}"\nexec sleep 600\n')
    python.chmod(0o755)
    make = subprocess.Popen(["make", "run", f"PYTHON={python}", "--assume-old=.venv/.requirements"], cwd=ROOT)
    wait_until(lambda: number.exists() and number.read_text().endswith("\n"), 30)
    server = psutil.Process(int(number.read_text()))

    make.terminate()

    make.wait(30)
    gone, alive = psutil.wait_procs([server], timeout=10)
    for process in alive:
        process.kill()
    assert gone == [server]
