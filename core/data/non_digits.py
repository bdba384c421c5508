"""Pictures that are no digits, from which it is learned how a network responds to what it doesn't know.

Some are made of digits: two on one sheet, halves that don't belong together, one upon another, mirrored and rotated
ones. Others are letters of an unsteady hand, and random lines, with pens of any width. All are prepared as drawings
are. The pens are those that `core.data.redraw` redraws digits with; otherwise thick strokes would be a sign of letters.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from core.data import redraw
from core.ink import preparation

Strokes = list[np.ndarray]  # (n, 2) float64 each, x to the right and y down, on a sheet 10 wide and 10 high

SIDE = preparation.SIDE
SHEET = 4 * SIDE  # pixels
UNMIRRORED = (0, 1, 3, 8)  # digits that look like a digit when they are mirrored or rotated
# Points as column and row, a stroke in each part; one that begins with ~ is a smooth curve through its points. Letters that
# many hands write as digits (O 0, I l 1, S s 5, Z z 2, b 6, q g 9) are not among them.
LETTERS = {
    "A": "09 40 89/26 66",
    "B": "10 19/~10 60 72 44 14/~14 64 86 69 19",
    "C": "~81 50 12 06 38 69 88",
    "D": "10 19/~10 51 84 68 19",
    "E": "80 10 19 89/14 64",
    "F": "80 10 19/14 64",
    "G": "~81 50 12 06 38 69 87/85 55/85 89",
    "H": "10 19/80 89/14 84",
    "J": "30 80/~60 66 58 39 17",
    "K": "10 19/80 14 89",
    "L": "10 19 79",
    "M": "09 10 45 80 99",
    "N": "19 10 89 80",
    "P": "10 19/~10 61 73 55 15",
    "Q": "~40 12 06 38 69 86 82 40/56 99",
    "R": "10 19/~10 61 73 55 15/45 89",
    "T": "00 90/40 49",
    "U": "~10 16 39 69 86 80",
    "V": "00 49 90",
    "W": "00 29 43 69 90",
    "X": "00 89/80 09",
    "Y": "00 44 80/44 49",
    "a": "~73 43 15 17 49 77 74/~74 77 89",
    "c": "~73 43 15 17 49 78",
    "d": "~74 44 16 28 58 76/70 79",
    "e": "~16 76 63 43 15 17 39 78",
    "f": "~70 50 42 49/24 64",
    "h": "20 29/~26 44 64 76 79",
    "j": "~54 58 49 28/51 51",
    "k": "20 29/73 26 79",
    "m": "14 19/~16 24 34 45 49/~46 64 74 85 89",
    "n": "24 29/~26 44 64 76 79",
    "p": "24 29 29/~24 54 76 57 27",
    "r": "24 29/~26 44 64",
    "t": "40 48 69/23 73",
    "u": "~24 27 39 59 76/74 79",
    "v": "14 49 84",
    "w": "04 29 45 69 94",
    "x": "14 79/74 19",
    "y": "14 46/84 29",
    "a, as printed": "~24 43 63 74 77 79/~75 45 26 17 28 49 68 77",
    "j, as printed": "53 58 49/51 51",
    "t, as printed": "~41 47 58 69/23 73",
}


def draw(images: np.ndarray, y_true: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw pictures that are no digits, half of them letters, prepared as drawings are.

    Args:
        images, y_true: digits (n, 28, 28) uint8 to make some of them from, and their labels (n,).
        rng: decides all that is random.
        count: how many.

    Returns:
        (count, 28, 28) uint8.
    """
    letters = list(LETTERS.values())
    return np.stack(
        [
            preparation.to_mnist(_drawn(unsteady(strokes_of(letters[i // 2 % len(letters)]), rng), rng))
            if i % 2
            else _fake(images, y_true, rng)
            for i in range(count)
        ]
    )


def strokes_of(text: str) -> Strokes:
    """Return the strokes that a text of points describes."""
    return [smooth(_points(part[1:])) if part[0] == "~" else _points(part) for part in text.split("/")]


def _points(text: str) -> np.ndarray:
    return np.array([[int(x), int(y)] for x, y in text.split()], float) + 0.5


def smooth(points: np.ndarray, between: int = 8) -> np.ndarray:
    """Return a Catmull-Rom curve through points; one that ends where it began is closed.

    Args:
        points: (n, 2) float64.
        between: number of points of the curve from one point to the next.
    """
    is_closed = np.array_equal(points[0], points[-1])
    first, last = (points[-2], points[1]) if is_closed else (points[0], points[-1])
    knots, t = np.vstack([first, points, last]), np.linspace(0, 1, between, endpoint=False)[:, None]
    pieces = [
        b + t * (c - a) / 2 + t**2 * (2 * a - 5 * b + 4 * c - d) / 2 + t**3 * (3 * (b - c) + d - a) / 2
        for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False)
    ]
    return np.vstack([*pieces, points[-1:]])


def unsteady(strokes: Strokes, rng: np.random.Generator) -> Strokes:
    """Return the same strokes as another hand would draw them: rotated, slanted, stretched, with more or less tremor."""
    angle, slant = rng.normal(0, 0.12), rng.normal(0, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[1, slant], [0, 1]]) @ np.diag(rng.uniform(0.7, 1.15, 2)) * rng.uniform(0.35, 0.9)
    tremor = rng.uniform(0.2, 1)
    waves = tremor * rng.normal(0, 0.18, (3, 2, 2))

    def moved(points: np.ndarray) -> np.ndarray:
        length = max(1, int(np.abs(np.diff(points, axis=0)).sum() * 2))
        at = np.linspace(0, len(points) - 1, max(length, len(points)))
        dense = np.column_stack([np.interp(at, np.arange(len(points)), points[:, axis]) for axis in (0, 1)])
        phase = dense @ np.array([[0.5], [0.37]])
        drift = sum(w[0] * np.sin((k + 1) * phase) + w[1] * np.cos((k + 1) * phase) for k, w in enumerate(waves))
        return (dense + drift - 5) @ matrix.T + 5 + rng.normal(0, 0.03, dense.shape) + place

    place = rng.uniform(-1, 1, 2)
    return [moved(points + tremor * rng.normal(0, 0.15, 2)) for points in strokes]


def _fake(images: np.ndarray, y_true: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    one, other = rng.choice(len(images), 2)
    a, b = images[one], images[other]
    match rng.integers(6) if y_true[one] != y_true[other] else 5:
        case 0:  # two on one sheet
            width = int(rng.integers(9, 13))
            picture = np.hstack([_fitted(a, width), np.zeros((28, 2), np.uint8), _fitted(b, width)])
            return _redrawn(picture.T if rng.random() < 0.2 else picture, rng)
        case 1:  # the upper half of one, the lower of another
            halves = np.vstack([a[:14], b[14:]]) if rng.random() < 0.5 else np.hstack([a[:, :14], b[:, 14:]])
            return _redrawn(halves, rng)
        case 2:  # one above another
            return _redrawn(np.maximum(a, np.roll(b, rng.integers(-4, 5, 2), (0, 1))), rng)
        case 3 if odd := [image for image, digit in ((a, y_true[one]), (b, y_true[other])) if digit not in UNMIRRORED]:
            # turned by a right angle, or mirrored
            return _redrawn(np.rot90(odd[0], rng.choice([1, 3])) if rng.random() < 0.5 else odd[0][:, ::-1], rng)
    return preparation.to_mnist(_scribble(rng))


def _fitted(image: np.ndarray, width: int) -> np.ndarray:
    """Return a digit's ink, shrunk to `width` columns of a sheet 28 high."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    ink = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    height = int(np.clip(round(ink.height * width / ink.width), 8, 20))
    sheet = np.zeros((28, width), np.uint8)
    top = (28 - height) // 2
    sheet[top : top + height] = np.asarray(ink.resize((width, height), Image.Resampling.BOX))
    return sheet


def _scribble(rng: np.random.Generator) -> np.ndarray:
    strokes = []
    for _ in range(rng.integers(1, 5)):
        points = rng.uniform(0, 10, (int(rng.integers(2, 9)), 2))
        if rng.random() < 0.4:
            t = np.linspace(0, 1, 40)[:, None]
            turns, size = rng.uniform(2, 9), rng.uniform(1.2, 4.8, 2)
            points = 5 + (0.3 + 0.7 * t) * size * np.column_stack([np.cos(turns * t), np.sin(turns * t + rng.normal())])
        strokes.append(points)
    return _drawn(strokes, rng)


def _drawn(strokes: Strokes, rng: np.random.Generator) -> np.ndarray:
    """Return strokes drawn with a round pen as wide as those that digits are redrawn with, (SHEET, SHEET) float32 ink."""
    sheet = Image.new("L", (SHEET, SHEET))
    longer = float(np.ptp(np.vstack(strokes), axis=0).max()) * 8
    pen, width = ImageDraw.Draw(sheet), max(2, round(longer * redraw.any_pen(rng)))
    for stroke in strokes:
        points = [tuple(point) for point in stroke * 8 + 16]
        if len(points) > 1:
            pen.line(points, fill=255, width=width, joint="curve")
        for x, y in points:
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return np.asarray(sheet, np.float32) / 255


def _redrawn(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a small picture (h, w) uint8 drawn with any pen and prepared; black if there is no ink."""
    if picture.max() <= redraw.EDGE * 255:
        return np.zeros((SIDE, SIDE), np.uint8)
    return redraw.with_pen(redraw.centre_lines(picture), redraw.any_pen(rng))
