"""How many digits are accepted and how many other things refused: `python -m benchmarks.refusal --strokes FILE`.

The things that are no digits are drawn here: letters and signs as strokes of an unsteady hand, with pens of many widths, and
scribbles, textures and two digits at once. They go the way of every drawing. Of the families in `KIN` the score was fitted with
relatives, drawn by `core.data.non_digits`; of the others it has seen none.

The last line is JSON: `accepted` by the pen's width, `ece` of the digits, `refused` by family, `refused_unseen` their mean over
the families that the score has not seen.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks import limit
from core import shipped
from core.data.non_digits import LETTERS, Strokes, smooth, strokes_of, unsteady
from core.evaluation import metrics, rejection
from core.ink import preparation
from core.ink.preparation import Ink
from core.ink.strokes import Sheet
from core.runs import registry
from core.runs.network import Network

CANVAS = 280
SIGNS = {
    "tick": "15 39 90",
    "plus": "40 49/05 95",
    "hash": "30 29/70 69/03 93/06 96",
    "question": "~22 40 70 72 45 47/49 49",
    "star": "40 79 03 93 19 40",
    "heart": "~43 20 02 15 49/~43 70 92 75 49",
    "arrow": "05 95/62 95 68",
    "arrow up": "49 40/13 40 73",
    "face": "~50 10 05 19 59 99 95 80 50/33 34/73 74/~26 48 68 86",
    "face, round": "~50 05 59 95 50/34 34/74 74/~36 57 76",
    "triangle": "40 09 99 40",
    "square": "10 19 99 90 10",
    "ampersand": "~99 21 40 51 17 49 96",
    "at": "~63 44 46 66 63 67 97 93 50 05 29 79",
    "equals": "03 93/07 97",
    "percent": "90 09/~20 02 23 41 20/~76 58 79 97 76",
    "house": "04 40 94 89 19 04",
    "lightning": "60 25 65 29",
    "wave": "~05 22 48 62 85",
    "cross": "00 99/90 09",
    "asterisk": "40 49/11 88/81 18",
    "moon": "~60 11 05 28 69 46 43 60",
    "flower": "~44 30 61 44 92 85 44 69 38 44 06 12 44",
    "spiral": "~44 54 55 35 33 63 67 27 21 81 89 09",
    "pound": "~82 60 32 38 19 89/15 65",
    "fish": "~03 34 72 94 76 35 07/94 94",
}
KIN = ("letters", "printed letters", "scribbles", "two digits")
WIDTHS = (5, 8, 14, 18, 22, 26)  # of the pen, in pixels of a canvas 280 wide


def ink(strokes: Strokes, rng: np.random.Generator) -> Sheet:
    """Return strokes on a canvas, 280 by 280 pixels, with a pen of any width."""
    return preparation.sheet_of_strokes([points.tolist() for points in strokes], (10, 10), CANVAS, rng.uniform(8, 28))


def scribble(rng: np.random.Generator) -> Strokes:
    """Return a random line, of one of three kinds."""
    count = int(rng.integers(5, 16))
    match rng.integers(3):
        case 0:
            return [smooth(rng.uniform(1, 9, (count, 2)))]
        case 1:
            x = np.linspace(1, 9, count)
            return [np.column_stack([x, np.where(np.arange(count) % 2, 8, 2) + rng.normal(0, 0.8, count)])]
        case _:
            return [rng.uniform(1, 9, (int(rng.integers(2, 5)), 2)) for _ in range(rng.integers(3, 7))]


def texture(rng: np.random.Generator) -> np.ndarray:
    """Return a picture of a camera without paper, (280, 280) float32: noise of some size, or bars."""
    side = int(rng.choice([7, 14, 28, 70, 280]))
    if rng.random() < 0.3:
        bars = (np.arange(CANVAS) // rng.integers(10, 40) % 2).astype(np.float32)
        return np.tile(bars, (CANVAS, 1)) if rng.random() < 0.5 else np.tile(bars[:, None], (1, CANVAS))
    return np.kron(rng.random((side, side)), np.ones((CANVAS // side,) * 2)).astype(np.float32)


def printed(letter: str, rng: np.random.Generator) -> np.ndarray:
    """Return a printed letter, (280, 280) float32."""
    sheet = Image.new("L", (CANVAS, CANVAS))
    font = ImageFont.load_default(int(rng.integers(110, 230)))
    ImageDraw.Draw(sheet).text((140, 140), letter, fill=255, font=font, anchor="mm", stroke_width=int(rng.integers(6)))
    turned = sheet.rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
    return np.asarray(turned, np.float32) / 255


def two_digits(digits: list[dict], rng: np.random.Generator) -> Strokes:
    """Return two digits of a strokes file on one sheet, beside each other or, rarely, one above the other."""
    together: Strokes = []
    is_stacked = rng.random() < 0.2
    for place, one in enumerate(rng.choice(len(digits), 2)):
        strokes = [np.array(points, float) for points in digits[one]["strokes"]]
        every = np.vstack(strokes)
        low, size = every.min(axis=0), np.ptp(every, axis=0).max()
        offset = np.array([2, 0.3 + 4.8 * place]) if is_stacked else np.array([0.5 + 4.6 * place, 2])
        scale = rng.uniform(3.4, 4.4)
        together += [(points - low) / max(size, 1) * scale + offset for points in strokes]
    return together


def families(digits: list[dict], count: int, seed: int = 0) -> Iterator[tuple[str, Ink]]:
    """Yield things that are no digits, each with its family's name, about `count` of each, on a canvas of 280 by 280
    pixels.
    """
    rng = np.random.default_rng(seed)

    def of(shapes: dict[str, str]) -> Callable[[int], Ink]:
        names = list(shapes)
        return lambda i: ink(unsteady(strokes_of(shapes[names[i % len(names)]]), rng), rng)

    letters = [name for name in LETTERS if len(name) == 1]
    makers: dict[str, Callable[[int], Ink]] = {
        "letters": of(LETTERS),
        "scribbles": lambda i: ink(scribble(rng), rng),
        "two digits": lambda i: ink(two_digits(digits, rng), rng),
        "signs": of(SIGNS),
        "printed letters": lambda i: printed(letters[i % len(letters)], rng),
        "textures": lambda i: texture(rng),
    }
    for name, make in makers.items():
        for i in range(count):
            yield name, make(i)


def inks_of(drawn: list[dict], width: float) -> list[Ink]:
    """Return recorded digits on a canvas, 280 by 280 pixels."""
    return [preparation.sheet_of_strokes(digit["strokes"], digit["box"], CANVAS, width) for digit in drawn]


def read(network: Network, inks: list[Ink]) -> list[rejection.Reading]:
    """Return the page's prediction for each drawing."""
    readings = rejection.read(network, np.stack([preparation.to_mnist(ink) for ink in inks]))
    return [rejection.of_drawing(preparation.seen(ink), reading) for ink, reading in zip(inks, readings, strict=True)]


def main() -> None:
    """Read the arguments, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--strokes", required=True, help="a JSON file of drawn digits")
    parser.add_argument("--count", type=int, default=200, help="how many of each family that is no digit")
    parser.add_argument("--run", default=shipped.RUN_ID, help="whose network; the shipped one unless given")
    parser.add_argument("--root", default=str(shipped.ASSETS), help="where that run is kept")
    arguments = parser.parse_args()
    with open(arguments.strokes) as file:
        drawn = json.load(file)
    run = registry.find(arguments.run, arguments.root)
    progress = run.progress()
    network = Network(run, progress.step_of(progress.best.epoch))
    y_true = np.array([digit["label"] for digit in drawn])
    accepted, errors = {}, []
    for width in WIDTHS:
        readings = read(network, inks_of(drawn, width))
        probabilities = np.stack([reading.probabilities for reading in readings])
        accepted[width] = float(np.mean([reading.is_digit for reading in readings]))
        errors.append(metrics.calibration(y_true, probabilities).error)
        right = metrics.accuracy(y_true, probabilities)
        print(f"digits, pen {width:2d}: {accepted[width]:6.1%} accepted, {right:6.1%} right, ECE {errors[-1]:.2%}")
    others = defaultdict(list)
    for family, ink in families(drawn, arguments.count):
        others[family].append(ink)
    refused = {}
    for family, inks in others.items():
        readings = read(network, inks)
        refused[family] = float(np.mean([not reading.is_digit for reading in readings]))
        print(f"{family:16s}: {refused[family]:6.1%} refused{'' if family in KIN else ' (never seen)'}")
    unseen = float(np.mean([share for family, share in refused.items() if family not in KIN]))
    print(json.dumps({"accepted": accepted, "ece": max(errors), "refused": refused, "refused_unseen": unseen}))


if __name__ == "__main__":
    limit.run(main, minutes=60)
