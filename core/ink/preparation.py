"""From a drawing to a picture as in MNIST: cropped, scaled to 20x20, centred by mass in 28x28.

A network that learned MNIST has only ever seen pictures made in one way, so a drawing has to be prepared in that way
too. "Ink" is a float32 array in [0, 1], 0 where the canvas is bare and 1 where the pen covered a pixel fully.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", http://yann.lecun.com/exdb/mnist/: scaled to 20x20 keeping
the aspect ratio, grey from anti-aliasing, the centre of mass moved to the centre of 28x28. What that page leaves open
(averaging areas, shifts by whole pixels) follows C. Yadav, L. Bottou, "Cold Case: the Lost MNIST Digits", NeurIPS 2019,
whose reconstruction matches MNIST image by image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from core.errors import DrawingError
from core.ink import skeleton, strokes
from core.ink.photo import ink_from_picture as ink_from_picture
from core.ink.strokes import Sheet, Stroke

SIDE = 28
BOX = 20
CENTRE = 14.0  # not 13.5: in all 60,000 training images the centre of mass lies in [13.48, 14.50], counted from pixel 0
EDGE = 0.25  # of the darkest ink; paler is a stroke's rim, or what an anti-aliased eraser left: at most c (1 - c)
EDGE_OF_STROKE = 0.4  # of the darkest ink: here a stroke ends
STROKE_WIDTH = 2.5  # of 20 pixels: the median of MNIST's training images, 2.48 by `measures.traits`; redrawn digits have 2.5 to 2.6
THIN_SHARE = 0.3  # of the strokes' length: this much is no thicker than the pen was
BLOT = 0.5  # of the longer side: thicker ink has no strokes, and is left unchanged
OF_PHOTO = ("light", "lines", "specks")  # steps of `Preparation` that a photo needs
FINE = 4 * BOX  # pixels: size at which a digit is thinned

Ink = np.ndarray | Sheet  # what is drawn: (h, w) float32 in [0, 1], or the strokes where they are known


@dataclass(frozen=True)
class Preparation:
    """The steps from ink to a picture like MNIST's that are taken; a step that is off leaves the picture as it is.

    Attributes:
        light, lines, specks: steps for a photo, as in `photo.steps`; a drawing needs none of them.
        strokes: whether strokes are drawn again as wide as MNIST's.
        crop: whether the ink's bounding box is fitted to 20x20, or else the whole sheet to 28x28.
        centre: whether the centre of mass is moved to the middle.
    """

    light: bool = True
    lines: bool = True
    specks: bool = True
    strokes: bool = True
    crop: bool = True
    centre: bool = True

    @property
    def of_photo(self) -> dict[str, bool]:
        """The steps for a photo, as keyword arguments of `photo.steps`."""
        return {name: getattr(self, name) for name in OF_PHOTO}


@dataclass(frozen=True, eq=False)
class Stage:
    """A drawing after one of the steps.

    Attributes:
        name: of the step, for people.
        picture: (h, w) uint8, what it made, ink 255 on 0.
        image: (28, 28) uint8, what a network would be given if the preparation ended here.
    """

    name: str
    picture: np.ndarray
    image: np.ndarray


@dataclass(frozen=True, eq=False)
class Prepared:
    """A drawing prepared for a network, and the steps to it.

    Attributes:
        image: (28, 28) uint8, ink 255 on 0.
        stages: the sheet as it was drawn, or the steps by which its ink was found, then one for each step taken.
    """

    image: np.ndarray
    stages: tuple[Stage, ...]


def sheet_of_strokes(
    recorded: Sequence[Sequence[Sequence[float]]], box: Sequence[float], size: int = 280, width: float = 14
) -> Sheet:
    """Return recorded pen strokes as a sheet, a square canvas.

    The whole box is scaled to fit the canvas and centred in it, so that digits keep the size at which they were drawn.
    A width of 14 on 280 gives about MNIST's amount of ink (a mean of 34, MNIST 33) to 550 digits drawn by 55 people,
    whose median longer side is 101 pixels there. Of these digits a support vector machine trained on 10,000 MNIST
    images classifies 94% correctly at a width of 8, 96% from 12 to 16, 95% at 18 and 91% at 24.

    Args:
        recorded: a list of points [x, y] per stroke, in the box's units; a stroke of one point is a dot.
        box: [w, h], the size of the sheet that the strokes were drawn on.
        size: the canvas's side in pixels.
        width: the pen's diameter in canvas pixels.
    """
    scale = size / max(box)
    left, top = ((size - length * scale) / 2 for length in box)
    lines = [tuple((left + x * scale, top + y * scale) for x, y in stroke) for stroke in recorded]
    return Sheet(tuple(Stroke(line, width) for line in lines), size, size)


def ink_from_strokes(
    recorded: Sequence[Sequence[Sequence[float]]], box: Sequence[float], size: int = 280, width: float = 14
) -> np.ndarray:
    """Return the visible ink of `sheet_of_strokes`: (size, size) float32 in [0, 1], anti-aliased, with round caps and
    joins."""
    return sheet_of_strokes(recorded, box, size, width).ink


def prepare(
    ink: Ink, preparation: Preparation = Preparation(), found: Sequence[tuple[str, np.ndarray]] = ()
) -> Prepared:
    """Make the picture of a drawing that a network trained on MNIST expects, keeping what it looked like on the way.

    Size and place on the sheet don't matter. Nor does it how thick the pen was: not at all where the strokes are known, and as
    long as the holes of the digit are open where they are not. A dot becomes a disc of 20 pixels, as MNIST would have made it.

    Args:
        found: where it was found in a photo, the steps, as `scan.steps` gives them.

    Raises:
        DrawingError: there is no ink.
    """
    _require_ink(ink)
    sheet = seen(ink)
    stages = [Stage(name, _grey(on_sheet), _shrunk(on_sheet)) for name, on_sheet in found or [("As drawn", sheet)]]
    digit, image = sheet, stages[-1].image
    if preparation.strokes:
        if isinstance(ink, Sheet):
            sheet = digit = strokes.redrawn(ink, BOX, STROKE_WIDTH)
        else:
            sheet, digit = _redrawn(ink)
        image = _shrunk(sheet)
        stages.append(Stage("Strokes as wide as MNIST's", _grey(sheet), image))
    if preparation.crop:
        scaled = _fitted(ink) if preparation.strokes and isinstance(ink, Sheet) else _scale(_crop(digit))
        image = np.pad(scaled, (SIDE - BOX) // 2)
        stages.append(Stage("Cropped, 20 × 20", scaled, image))
    if preparation.centre:
        image = _centre(image)
        stages.append(Stage("Centred by mass, 28 × 28", image, image))
    return Prepared(image, tuple(stages))


def to_mnist(ink: Ink, preparation: Preparation = Preparation()) -> np.ndarray:
    """Return the picture of `prepare` alone, without its steps: (28, 28) uint8, ink 255 on 0."""
    if not (isinstance(ink, Sheet) and preparation.strokes and preparation.crop):
        return prepare(ink, preparation).image
    _require_ink(ink)
    image = np.pad(_fitted(ink), (SIDE - BOX) // 2)  # needs no picture of the sheet, which takes three times as long
    return _centre(image) if preparation.centre else image


def seen(ink: Ink) -> np.ndarray:
    """Return the visible ink of a drawing: (h, w) float32 in [0, 1]."""
    return ink.ink if isinstance(ink, Sheet) else ink


def _require_ink(ink: Ink) -> None:
    if not ink.any():
        raise DrawingError("There is nothing to classify: the canvas is empty. Draw one digit on it, then try again.")


def _fitted(sheet: Sheet) -> np.ndarray:
    """Return the strokes' lines fitted to 20x20 and drawn as wide as MNIST's, (20, 20) uint8, the brightest pixel
    255.
    """
    ink = strokes.fitted(sheet.strokes, BOX, STROKE_WIDTH)
    return np.rint(ink * (255 / ink.max())).astype(np.uint8)


def _grey(ink: np.ndarray) -> np.ndarray:
    """Return ink as a picture, (h, w) uint8."""
    return np.rint(ink * (255 / ink.max())).astype(np.uint8)


def _shrunk(ink: np.ndarray) -> np.ndarray:
    """Return the whole sheet fitted to 28x28, the brightest pixel 255: (28, 28) uint8."""
    return _scale(ink, SIDE)


def _redrawn(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw the strokes again as wide as MNIST's would be: thinned to their centre lines, then inked.

    The pen is as wide as `STROKE_WIDTH` is in 20x20, and therefore grows with the digit. Where a thick pen's strokes
    have run into each other, a line down their middle would be another digit. There the ink is only made thinner on
    each side by as much as the pen was too thick, so that a blot stays a blot. Of 550 digits drawn with 30 pixels on
    320 a network classified 494 correctly by their centre lines alone, 527 as they were and 537 in this way.

    Returns:
        The sheet (h, w) float32 in [0, 1], and the digit alone (a, b) float32, finer than 20x20.
    """
    rows, columns = _bounds(ink)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    scale = FINE / max(height, width)
    coarse = Image.fromarray(ink[rows, columns]).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR
    )
    grey = np.asarray(coarse)
    mask = grey >= EDGE_OF_STROKE * grey.max()
    lines, depths = skeleton.skeleton(mask), skeleton.depths(mask)
    depth = float(np.quantile(depths[lines], THIN_SHARE))
    if 2 * depth > BLOT * FINE:
        return ink, ink[rows, columns]
    length = max(np.ptp(places) for places in np.nonzero(lines))
    radius = max(STROKE_WIDTH / (BOX - STROKE_WIDTH) * (length + 1) / 2, 0.5)
    fine, margin = skeleton.inked(lines, radius), skeleton.margin(radius)
    if (spare := depth - radius) > 0:
        own = fine[margin:-margin, margin:-margin]
        np.maximum(own, np.clip(depths - spare, 0, 1), out=own)
    sheet = Image.new("F", ink.shape[::-1])
    reach = round(margin / scale)
    redrawn = Image.fromarray(fine).resize((width + 2 * reach, height + 2 * reach), Image.Resampling.BILINEAR)
    sheet.paste(redrawn, (columns.start - reach, rows.start - reach))
    return np.asarray(sheet), fine


def _bounds(ink: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of the ink's bounding box."""
    inked = ink >= EDGE * ink.max()
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _crop(ink: np.ndarray) -> np.ndarray:
    """Cut out the ink's bounding box: (h, w) float32."""
    return ink[_bounds(ink)]


def _scale(crop: np.ndarray, side: int = BOX) -> np.ndarray:
    """Fit a crop into the middle of a square, its longer side filling it: (side, side) uint8.

    Grey is the share of a pixel's area that is inked, as in MNIST. Pillow's filters miss that: they blur (the mean grey
    of drawn digits is 173 here, 166 with BICUBIC, 149 with BILINEAR, 124 with LANCZOS, and 174 in MNIST), and BOX,
    which counts a pixel in or out by its middle, can lose a hairline. On drawn digits all are about equally accurate.
    The darkest pixel is stretched to 255, as it is (254 or 255) in every MNIST image, or thin strokes would fade away.
    """
    longest = max(crop.shape)
    scaled = _cells(_cells(crop, longest, side).T, longest, side).T
    return np.rint(scaled * (255 / scaled.max())).astype(np.uint8)


def _cells(rows: np.ndarray, longest: int, side: int) -> np.ndarray:
    """Return the mean of the rows that fall into each of `side` cells, which divide `longest` rows evenly around the
    middle.

    Rows at a cell's edge count in part. No matrix product is used: its threads would wait for a busy machine's cores.

    Args:
        rows: (length, n); beyond them is bare paper.

    Returns:
        (side, n) float64.
    """
    length = len(rows)
    edges = np.clip((length + np.linspace(-longest, longest, side + 1)) / 2, 0, length)
    whole = np.minimum(edges.astype(int), length - 1)
    sums = np.add.reduceat(rows, whole, axis=0)[:-1]
    sums[whole[:-1] == whole[1:]] = 0  # here reduceat returns the row itself
    return (sums + np.diff((edges - whole)[:, None] * rows[whole], axis=0)) * (side / longest)


def _centre(image: np.ndarray) -> np.ndarray:
    """Move the ink of 28x28 so that its centre of mass is within half a pixel of the centre: (28, 28) uint8.

    The shift is by whole pixels, as MNIST's was, which keeps the picture sharp. It stops at the picture's edge: a very
    lopsided drawing stays whole and a little off centre, where MNIST lost a row.
    """
    (rows, to_rows), (columns, to_columns) = (_span(image.sum(axis=axis)) for axis in (1, 0))
    centred = np.zeros((SIDE, SIDE), np.uint8)
    centred[to_rows, to_columns] = image[rows, columns]
    return centred


def _span(profile: np.ndarray) -> tuple[slice, slice]:
    """Return where the ink lies along one axis, and where it has to lie.

    Args:
        profile: (28,), the ink in each row or column.
    """
    inked = np.flatnonzero(profile)
    first, length = inked[0], inked[-1] + 1 - inked[0]
    shift = np.ceil(CENTRE - 0.5 - np.average(np.arange(SIDE), weights=profile))
    start = int(np.clip(first + shift, 0, SIDE - length))
    return slice(first, first + length), slice(start, start + length)
