"""The benchmarks: each runs to its end on its smallest setting, and says what is wrong with a file before it measures anything."""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks import drawing
from core.data import datasets
from core.views.pictures import png

ROOT = Path(__file__).parents[1]
DIGIT = {"label": 3, "box": [10, 10], "strokes": [[[1, 1], [5, 5]], [[2, 8]]]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture of an upright stroke."""
    pixels = np.full((60, 60), 255, np.uint8)
    pixels[10:50, 28:34] = 0
    (tmp_path / "one.png").write_bytes(png(pixels))
    return tmp_path


def named(folder: Path, content: str | bytes, name: str = "file") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_pictures_are_found_beside_the_file_that_names_them_a_spreadsheets_mark_or_not(folder, capsys):
    path = named(folder, codecs.BOM_UTF8 + b"path,label\none.png,1\nnone.png, 2\nno\0ne.png,3\n")

    (label, ink), (other, missing), (third, unnamed) = drawing.pictures_from(path)

    assert (label, other, missing, third, unnamed) == (1, 2, None, 3, None)
    assert ink.any()
    assert capsys.readouterr().out.startswith("none.png: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no path"),
        ("path,label\n", "names no pictures"),
        ("file,label\none.png,1\n", "no path"),
        ("path;label\none.png;1\n", "no path"),
        ("path,digit\none.png,1\n", "no label"),
        ("path,label\none.png,1\none.png,x\n", "row 3: expected a digit, 0 to 9, as the label, but received 'x'"),
        ("path,label\none.png,10\n", "row 2: expected a digit"),
        ("path,label\none.png\n", "row 2: expected a digit"),
        (b"path,label\n\xff\xfe,1\n", "can't be read as CSV"),
    ],
)
def test_a_wrong_list_of_pictures_is_told_in_a_sentence(folder, content, told):
    with pytest.raises(SystemExit, match=told):
        drawing.pictures_from(named(folder, content))


def test_strokes_are_lists_of_points_a_mark_or_not(tmp_path):
    (digit,) = drawing.strokes_from(named(tmp_path, codecs.BOM_UTF8 + json.dumps([DIGIT]).encode()))

    assert (digit.label, digit.writer, list(digit.box)) == (3, "", [10, 10])
    assert [stroke.tolist() for stroke in digit.strokes] == DIGIT["strokes"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "holds no digits"),
        ("3", "holds no digits"),
        (json.dumps([DIGIT, [1]]), "digit 2: expected a label, a box"),
        (json.dumps([{**DIGIT, "box": 3}]), "digit 1: expected a label, a box"),
        (json.dumps([{**DIGIT, "box": [0, 10]}]), "digit 1: expected strokes in a box"),
        (json.dumps([{**DIGIT, "strokes": []}]), "digit 1: expected strokes in a box"),
        (json.dumps([{**DIGIT, "strokes": [[]]}]), "digit 1: expected strokes in a box"),
        (json.dumps([{**DIGIT, "strokes": [[[1, 2, 3]]]}]), "digit 1: expected a label, a box"),
        (json.dumps([{**DIGIT, "strokes": [[[1, 2, 3], [4, 5, 6]]]}]), "digit 1: expected a label, a box"),
        (json.dumps([{**DIGIT, "box": [float("inf"), 100]}]), "digit 1: expected strokes in a box"),
        (json.dumps([{**DIGIT, "label": 10}]), "digit 1: expected a digit, 0 to 9, as the label, but received 10"),
        (json.dumps([{**DIGIT, "label": 3.5}]), "digit 1: expected a digit"),
    ],
)
def test_a_wrong_file_of_strokes_is_told_in_a_sentence(tmp_path, content, told):
    with pytest.raises(SystemExit, match=told):
        drawing.strokes_from(named(tmp_path, content))


def test_one_that_waits_for_ever_is_ended_with_all_that_it_started():
    waiting = (
        "import subprocess, sys, threading; from benchmarks import limit\n"
        "def main():\n"
        "    print(subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE).pid, flush=True)\n"
        "    threading.Event().wait()\n"
        "limit.run(main, minutes=1 / 60)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", waiting], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode == 1
    assert "Not done within 0.0166667 minutes" in ended.stderr
    assert "in main" in ended.stderr
    assert not psutil.pid_exists(int(ended.stdout))


# By module: the arguments of its smallest setting, and the figures of its last line.
SMALLEST = {
    "drawing": (["--strokes", "STROKES"], {"accuracy", "confident_wrong", "ece", "refused"}),
    "evaluation": (["--turns", "1"], {"ratio", "ratio_same_batch", "seconds"}),
    "first_paint": (["--pairs", "1"], {"ratio", "seconds", "hello_seconds"}),
    "interaction": (
        ["--samples", "1"],
        {
            "rerun_p95_ms",
            "stroke_p95_idle_ms",
            "stroke_p95_training_ms",
            *(f"rerun_p95_{page}_ms" for page in ("start", "data", "build", "train", "evaluate", "explain", "draw")),
        },
    ),
    "refusal": (["--strokes", "STROKES", "--count", "1"], {"accepted", "ece", "refused", "refused_unseen"}),
    "time_to_accuracy": (
        ["--article-epochs", "1", "--seeds", "1"],
        {"ratio", "accuracy", "seconds", "article_seconds"},
    ),
    "training": (
        ["--pairs", "1", "--memory-epochs", "1", "--growth-runs", "4"],
        {"ratio_b32", "ratio_b128", "peak_rss_mb", "growth_mb_per_run"},
    ),
}


@pytest.fixture(scope="module")
def little(tmp_path_factory) -> dict[str, str]:
    """Two files that benchmarks measure with: some of the data set's images, and a few strokes."""
    folder, digits = tmp_path_factory.mktemp("little"), datasets.load()
    np.savez(
        folder / "digits.npz",
        x_train=digits.x_train[:1400],
        y_train=digits.y_train[:1400],
        x_test=digits.x_test[:300],
        y_test=digits.y_test[:300],
    )
    strokes = [
        {"label": 1, "writer": f"writer {x}", "box": [100, 100], "strokes": [[[x, 10], [50, 90]]]} for x in (40, 50, 60)
    ]
    (folder / "strokes.json").write_text(json.dumps(strokes))
    return {"DIGITLAB_MNIST": str(folder / "digits.npz"), "STROKES": str(folder / "strokes.json")}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SMALLEST)
def test_each_runs_to_its_end(name, little):
    arguments, figures = SMALLEST[name]
    given = [little.get(argument, argument) for argument in arguments]

    ended = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *given],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DIGITLAB_REFERENCE"}
        | {"DIGITLAB_MNIST": little["DIGITLAB_MNIST"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    assert figures <= json.loads(ended.stdout.splitlines()[-1]).keys()


def test_none_is_left_out():
    programs = {path.stem for path in ROOT.glob("benchmarks/*.py") if "__main__" in path.read_text(encoding="utf-8")}

    assert programs == SMALLEST.keys()


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.stem)
def test_each_has_has_a_limit(path):
    source = path.read_text(encoding="utf-8")

    assert "__main__" not in source or "    limit.run(main, minutes=" in source
