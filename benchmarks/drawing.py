"""How well hand-drawn digits are read: `python -m benchmarks.drawing --strokes FILE [--width 18] [--all]`, or `--images CSV`.

Strokes are replayed on a canvas of 320 pixels, and go the way that every drawing goes: preparation, and the network's
answer as it is judged. The file is a JSON list of `label`, `box` (w, h), `strokes` (lists of points) and, if known,
`writer`. Pictures are named in a CSV with the columns `path`, from its folder on, and `label`.

The last line has `accuracy`; `ece`, the expected calibration error; `confident_wrong`, the share of the wrong answers that claim
90 % or more; and `refused`, the share of digits called none, which count as read, right or wrong. A picture that can't be read
is wrong and refused. `--all` changes width, size, place and angle, one after another. Half of the writers are called held out:
let changes to the preparation be chosen by the others.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import limit, report
from core import shipped
from core.errors import DrawingError
from core.evaluation import metrics, rejection
from core.ink import preparation
from core.ink.preparation import Ink
from core.ink.strokes import Sheet
from core.model.specs import CLASSES
from core.runs import registry
from core.runs.network import Network

CANVAS = 320  # pixels
CONFIDENT = 0.9
WIDTHS, SIZES, ANGLES = (6, 12, 18, 24, 30), (0.25, 0.4, 0.65, 0.9), (-15, -8, 8, 15)
MIXED = ((0.25, 6), (0.25, 12), (0.4, 30), (0.9, 6), (0.9, 30))  # a pen of 30 px leaves nothing open at a size of 25 %
CORNERS = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1), "bottom right": (1, 1)}


@dataclass(frozen=True, eq=False)
class Digit:
    """Recorded strokes: `strokes` as lists of points in a box of (w, h)."""

    label: int
    writer: str
    box: Sequence[float]
    strokes: list[np.ndarray]


@dataclass(frozen=True)
class Way:
    """The way in which digits are drawn.

    Attributes:
        width: the pen's diameter in pixels.
        size: the longer side as a share of the canvas; None for the recorded size.
        corner: the corner that it is moved into, or None.
        angle: its rotation in degrees, clockwise.
    """

    name: str
    width: float = 18
    size: float | None = None
    corner: tuple[int, int] | None = None
    angle: float = 0


@dataclass(frozen=True, eq=False)
class Answers:
    """The predictions: `labels` (n,) int, `probabilities` (n, 10) float32, `refused` (n,) bool."""

    labels: np.ndarray
    probabilities: np.ndarray
    refused: np.ndarray

    def figures(self) -> dict[str, float]:
        """Return the figures of the last line."""
        top = self.probabilities.max(axis=1)
        is_wrong = self.probabilities.argmax(axis=1) != self.labels
        return {
            "accuracy": 1 - is_wrong.mean(),
            "ece": metrics.calibration(self.labels, self.probabilities).error,
            "confident_wrong": (is_wrong & (top >= CONFIDENT)).sum() / max(is_wrong.sum(), 1),
            "refused": self.refused.mean(),
        }


def main() -> None:
    """Read strokes or pictures, and print how well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strokes", type=Path, help="a JSON file of recorded strokes")
    parser.add_argument("--images", type=Path, help="a CSV file of pictures: path, label")
    parser.add_argument("--width", type=float, default=18, help="the pen's diameter, of a canvas of 320 pixels")
    parser.add_argument("--run", help="a run's id; without it, the network that is shipped")
    parser.add_argument("--step", type=int, help="after how many batches; without it, the run's best epoch")
    parser.add_argument("--all", action="store_true", help="a table of widths, sizes, places and angles, too")
    arguments = parser.parse_args()
    if (arguments.strokes is None) == (arguments.images is None):
        parser.error("give either --strokes or --images")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    network = _network(arguments.run, arguments.step)
    if arguments.images:
        answers = read(network, pictures_from(arguments.images))
    else:
        digits = strokes_from(arguments.strokes)
        if arguments.all:
            _table(network, digits)
        answers = read(network, drawn(digits, Way("as recorded", arguments.width)))
        _table_of_writers(digits, answers)
    _table_of_recall(answers)
    report.result(**answers.figures())


def strokes_from(path: Path) -> list[Digit]:
    """Return the digits of a JSON file of strokes.

    Raises:
        SystemExit: with a sentence, if it isn't one.
    """
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path} can't be read as JSON: {error}.") from None
    if not isinstance(records, list) or not records:
        raise SystemExit(f"{path} holds no digits: expected a JSON list of them.")
    return [_digit(record, f"{path}, digit {place}") for place, record in enumerate(records, 1)]


def _digit(record: dict, where: str) -> Digit:
    try:
        width, height = map(float, record["box"])
        strokes = [np.asarray(stroke, float) for stroke in record["strokes"] if len(stroke)]
        if any(stroke.ndim != 2 or stroke.shape[1] != 2 for stroke in strokes):
            raise ValueError("a stroke whose points are not [x, y]")
        label, writer = record["label"], str(record.get("writer", ""))
    except (KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"{where}: expected a label, a box [w, h] and strokes, lists of points [x, y], but received otherwise ({error!r})."
        ) from None
    if not strokes or not np.isfinite([(width, height), *np.concatenate(strokes)]).all() or not min(width, height) > 0:
        raise SystemExit(f"{where}: expected strokes in a box larger than nothing, but received none.")
    return Digit(_label(label, where), writer, (width, height), strokes)


def _label(given: object, where: str) -> int:
    if str(given) not in map(str, range(CLASSES)):
        raise SystemExit(f"{where}: expected a digit, 0 to 9, as the label, but received {given!r}.")
    return int(given)


def drawn(digits: Iterable[Digit], way: Way) -> list[tuple[int, Ink | None]]:
    """Label and strokes of each digit, drawn this way on a canvas."""
    return [(digit.label, sheet(digit, way)) for digit in digits]


def sheet(digit: Digit, way: Way) -> Sheet:
    """Return the canvas with the digit's strokes, 320 by 320 pixels."""
    points = np.concatenate(digit.strokes)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    fitted = CANVAS / max(digit.box)
    if way.size is not None:
        fitted = (way.size * CANVAS - way.width) / max(float(np.ptp(points, axis=0).max()), 1e-6)
    cos, sin = np.cos(np.radians(way.angle)), np.sin(np.radians(way.angle))
    turn = fitted * np.array([[cos, sin], [-sin, cos]])
    place = np.full(2, CANVAS / 2)
    if way.size is None:
        place += (middle - np.array(digit.box) / 2) * fitted
    turned = (points - middle) @ turn
    if way.corner is not None:
        low, high = turned.min(axis=0) - way.width / 2, turned.max(axis=0) + way.width / 2
        place = np.where(np.array(way.corner) == 0, -low, CANVAS - high)
    strokes = [((stroke - middle) @ turn + place).tolist() for stroke in digit.strokes]
    return preparation.sheet_of_strokes(strokes, (CANVAS, CANVAS), CANVAS, way.width)


def pictures_from(path: Path) -> list[tuple[int, Ink | None]]:
    """Label and ink of each picture that a CSV file names; None and a line that says why, where there is no ink. A sentence ends
    the program where it isn't such a file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets begin with a mark
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise SystemExit(f"{path} can't be read as CSV: {error}.") from None
    if missing := [name for name in ("path", "label") if name not in columns]:
        raise SystemExit(f"{path}: expected columns path and label, named in row 1, but received no {missing[0]}.")
    if not rows:
        raise SystemExit(f"{path} names no pictures.")
    labels = [_label((row["label"] or "").strip(), f"{path}, row {number}") for number, row in enumerate(rows, 2)]
    return [(label, _ink(path.parent, row["path"] or "")) for label, row in zip(labels, rows, strict=True)]


def _ink(folder: Path, name: str) -> np.ndarray | None:
    try:
        return preparation.ink_from_picture((folder / name).read_bytes())
    except (DrawingError, OSError, ValueError) as error:  # a path may be none
        report.progress(f"{name}: {error}")
        return None


def _network(run_id: str | None, step: int | None) -> Network:
    run = registry.find(run_id) if run_id else shipped.installed(registry.root())[0]
    if run is None:
        raise SystemExit("No network is shipped with this checkout: name a run with --run.")
    return Network(run, run.steps()[-1] if step is None else step)


def read(network: Network, given: list[tuple[int, Ink | None]]) -> Answers:
    """Return the network's predictions; if a picture could not be read, all digits are equally likely and it is
    refused.
    """
    probabilities, refused = np.full((len(given), CLASSES), 1 / CLASSES, np.float32), np.ones(len(given), bool)
    readable = [place for place, (_, ink) in enumerate(given) if ink is not None and ink.any()]
    if readable:
        images = np.stack([preparation.to_mnist(given[place][1]) for place in readable])
        readings = rejection.read(network, images)
        probabilities[readable] = [reading.probabilities for reading in readings]
        inks = (preparation.seen(given[place][1]) for place in readable)
        found = (rejection.of_drawing(ink, reading) for ink, reading in zip(inks, readings, strict=True))
        refused[readable] = [not reading.is_digit for reading in found]
    return Answers(np.array([label for label, _ in given]), probabilities, refused)


def _table(network: Network, digits: list[Digit]) -> None:
    ways = [Way(f"pen {width} px", width=width) for width in WIDTHS]
    ways += [Way(f"size {size:.0%}", size=size) for size in SIZES]
    ways += [Way(f"{name} corner", size=0.4, corner=corner) for name, corner in CORNERS.items()]
    ways += [Way(f"turned by {angle}°", angle=angle) for angle in ANGLES]
    ways += [Way(f"size {size:.0%}, pen {width} px", width=width, size=size) for size, width in MIXED]
    rows = []
    for way in ways:
        figures = read(network, drawn(digits, way)).figures()
        rows.append([way.name, *(f"{value:.2%}" for value in figures.values())])
        report.progress("  ".join(rows[-1]))
    report.table(f"{len(digits)} digits drawn otherwise", ["", *figures], rows)


def _table_of_writers(digits: list[Digit], answers: Answers) -> None:
    writers = sorted({digit.writer for digit in digits})
    if len(writers) < 2:
        return
    rows = []
    for name, half in (("development", writers[0::2]), ("held out", writers[1::2])):
        chosen = np.array([digit.writer in half for digit in digits])
        part = Answers(answers.labels[chosen], answers.probabilities[chosen], answers.refused[chosen])
        rows.append([name, len(half), *(f"{value:.2%}" for value in part.figures().values())])
    report.table("By writer", ["", "writers", *answers.figures()], rows)


def _table_of_recall(answers: Answers) -> None:
    matrix = metrics.confusion_matrix(answers.labels, answers.probabilities.argmax(axis=1))
    rows = [[str(digit), int(row.sum()), f"{row[digit] / max(row.sum(), 1):.1%}"] for digit, row in enumerate(matrix)]
    report.table("Recall", ["digit", "drawn", "read right"], rows)


if __name__ == "__main__":
    limit.run(main, minutes=90)
