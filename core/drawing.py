"""From a drawing to a picture that MNIST could have held: cropped, scaled to 20x20, centred by mass in 28x28.

A network that learned MNIST has only ever seen pictures made in one way, so a drawing has to be made in that way too.
"Ink" is a float32 array in [0, 1], 0 where the canvas is bare and 1 where the pen covered a pixel fully.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", http://yann.lecun.com/exdb/mnist/: scaled to 20x20 keeping
the aspect ratio, grey from anti-aliasing, the centre of mass moved to the centre of 28x28. What that page leaves open
(averaging areas, shifts by whole pixels) follows C. Yadav, L. Bottou, "Cold Case: the Lost MNIST Digits", NeurIPS 2019,
whose reconstruction matches MNIST image by image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from core.errors import DrawingError

SIDE = 28
BOX = 20
CENTRE = 14.0  # not 13.5: in all 60,000 training images the centre of mass lies in [13.48, 14.50], counted from pixel 0
EDGE = 0.25  # of the darkest ink; paler is a stroke's rim, or what an anti-aliased eraser left: at most c (1 - c)
SUPERSAMPLING = 4


@dataclass(frozen=True, eq=False)
class Steps:
    """How a drawing became an MNIST picture, one picture per step.

    Attributes:
        crop: (h, w) float32 in [0, 1], the ink's bounding box.
        scaled: (20, 20) uint8, the crop with its longer side at 20 pixels, its darkest pixel at 255.
        centred: (28, 28) uint8, the same pixels shifted so that their centre of mass is the picture's.
    """

    crop: np.ndarray
    scaled: np.ndarray
    centred: np.ndarray


def ink_from_rgba(rgba: np.ndarray) -> np.ndarray:
    """How much ink lies on each pixel of a transparent canvas.

    A canvas keeps in alpha the pen's opacity times the share of the pixel that its stroke covers, which is the ink; the
    colour says nothing, so that a pen may follow the theme. An eraser must therefore take ink away
    (`destination-out`): paint in the background's colour is ink too.

    Args:
        rgba: (h, w, 4) uint8, straight (not premultiplied) RGBA on a transparent background.

    Returns:
        (h, w) float32 in [0, 1].

    Raises:
        DrawingError: it is not such an array.
    """
    if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.dtype != np.uint8:
        raise DrawingError(
            "The drawing can't be read: expected an RGBA picture, (height, width, 4) of uint8, "
            f"but received {rgba.shape} of {rgba.dtype}. Clear the canvas and draw again."
        )
    return rgba[:, :, 3].astype(np.float32) / 255


def ink_from_strokes(
    strokes: Sequence[Sequence[Sequence[float]]], box: Sequence[float], size: int = 280, width: float = 14
) -> np.ndarray:
    """Draw recorded pen strokes on a square canvas, anti-aliased, with round caps and joins.

    The whole box is scaled to fit the canvas and centred in it, so that digits keep the size at which they were drawn.
    A width of 14 on 280 gives about MNIST's amount of ink (a mean of 34, MNIST 33) to 550 digits drawn by 55 people,
    whose median longer side is 101 pixels there. Of these digits a support vector machine trained on 10,000 MNIST
    images reads 94% at a width of 8, 96% from 12 to 16, 95% at 18 and 91% at 24.

    Args:
        strokes: a list of points [x, y] per stroke, in the box's units; a stroke of one point is a dot.
        box: [w, h], the sheet that the strokes were drawn on.
        size: the canvas's side in pixels.
        width: the pen's diameter in canvas pixels.

    Returns:
        (size, size) float32 in [0, 1].
    """
    side, diameter = size * SUPERSAMPLING, max(1, round(width * SUPERSAMPLING))
    scale, radius = side / max(box), diameter / 2
    left, top = ((side - length * scale) / 2 for length in box)
    sheet = Image.new("L", (side, side))
    pen = ImageDraw.Draw(sheet)
    for stroke in strokes:
        points = [(left + x * scale, top + y * scale) for x, y in stroke]
        if len(points) > 1:
            pen.line(points, fill=255, width=diameter)
        for x, y in points:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(sheet.reduce(SUPERSAMPLING), dtype=np.float32) / 255


def steps(ink: np.ndarray) -> Steps:
    """Make the MNIST picture of a drawing, keeping what it looked like on the way.

    Args:
        ink: (h, w) float32 in [0, 1].

    Raises:
        DrawingError: there is no ink.
    """
    if not ink.any():
        raise DrawingError("There is nothing to classify: the canvas is empty. Draw one digit on it, then try again.")
    crop = _crop(ink)
    scaled = _scale(crop)
    return Steps(crop, scaled, _centre(scaled))


def to_mnist(ink: np.ndarray) -> np.ndarray:
    """The picture of a drawing that a network trained on MNIST expects.

    Size and place on the canvas don't matter: a dot becomes a disc of 20 pixels, as MNIST would have made it.

    Args:
        ink: (h, w) float32 in [0, 1], as `ink_from_rgba` gives it.

    Returns:
        (28, 28) uint8, ink 255 on 0.

    Raises:
        DrawingError: there is no ink.
    """
    return steps(ink).centred


def _crop(ink: np.ndarray) -> np.ndarray:
    """Cut out the ink's bounding box: (h, w) float32."""
    inked = ink >= EDGE * ink.max()
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _scale(crop: np.ndarray) -> np.ndarray:
    """Fit a crop into the middle of 20x20, its longer side filling it: (20, 20) uint8.

    Grey is the share of a pixel's area that is inked, as in MNIST. Pillow's filters miss that: they blur (the mean grey
    of drawn digits is 173 here, 166 with BICUBIC, 149 with BILINEAR, 124 with LANCZOS, and 174 in MNIST), and BOX,
    which counts a pixel in or out by its middle, can lose a hairline. On drawn digits all are about equally accurate.
    The darkest pixel is stretched to 255, as it is (254 or 255) in every MNIST image, or thin strokes would fade away.
    """
    rows, columns = (_overlaps(length, max(crop.shape)) for length in crop.shape)
    scaled = rows @ crop @ columns.T
    return np.rint(scaled * (255 / scaled.max())).astype(np.uint8)


def _overlaps(length: int, side: int) -> np.ndarray:
    """The share of each of 20 cells, which divide `side` pixels evenly, that each of the middle `length` pixels covers.

    Returns:
        (20, length) float64; a row adds up to 1 where its cell is wholly covered.
    """
    cells = (length + np.linspace(-side, side, BOX + 1)) / 2
    pixels = np.arange(length + 1)
    overlaps = np.minimum.outer(cells[1:], pixels[1:]) - np.maximum.outer(cells[:-1], pixels[:-1])
    return np.clip(overlaps, 0, None) * (BOX / side)


def _centre(scaled: np.ndarray) -> np.ndarray:
    """Move the ink of 20x20 in 28x28 so that its centre of mass is within half a pixel of the centre: (28, 28) uint8.

    The shift is by whole pixels, as MNIST's was, which keeps the picture sharp. It stops at the picture's edge: a very
    lopsided drawing stays whole and a little off centre, where MNIST lost a row.
    """
    (rows, to_rows), (columns, to_columns) = (_span(scaled.sum(axis=axis)) for axis in (1, 0))
    centred = np.zeros((SIDE, SIDE), np.uint8)
    centred[to_rows, to_columns] = scaled[rows, columns]
    return centred


def _span(profile: np.ndarray) -> tuple[slice, slice]:
    """Where the ink lies along one axis of 20x20, and where it has to lie in 28x28.

    Args:
        profile: (20,), the ink in each row or column.
    """
    inked = np.flatnonzero(profile)
    first, length = inked[0], inked[-1] + 1 - inked[0]
    shift = np.ceil(CENTRE - 0.5 - np.average(np.arange(BOX), weights=profile))
    start = int(np.clip(first + shift, 0, SIDE - length))
    return slice(first, first + length), slice(start, start + length)
