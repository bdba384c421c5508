"""From a picture file to ink: a photo, a scan or a screenshot of something written, dark on light or light on dark.

What a camera adds is removed step by step: the picture's rotation, uneven light, the paper's lines, the table around
the paper, specks. Ink is (h, w) float32, 0 for paper and 1 for full ink.
"""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageFilter, ImageOps, TiffImagePlugin

from core.errors import DrawingError
from core.ink import signatures
from core.ink.components import components

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
MAX_BYTES, MAX_PIXELS = 10_000_000, 25_000_000
MAX_PIXELS_JPEG = 50_000_000  # of a phone's photo, which is decoded at a quarter of its sides or less
MAX_PIXELS_WEBP = 12_500_000  # its decoder holds a picture four times, as that of AVIF does
_EXPECTED = "a PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF file"
SIDE = 560  # pixels: a larger picture is shrunk to this longer side
LEAST_CONTRAST = 0.15  # of white against black
PAPER_SIDE = 64  # pixels: longer side of the shrunk picture in which the paper's brightness is measured
PAPER_WINDOW = 21  # of these pixels: a third of the picture, wider than any stroke
EDGE_WINDOW = 13  # of them: how far a window's paper reaches beyond a shadow's edge
PAPER_RANK = 0.8  # of the window's pixels that are darker than its paper
SOFTNESS = 0.4  # of the threshold: from this far below to this far above it, ink rises from none to full
EDGE = 0.25  # of full ink: paler ink is left out
LINE_SLOPES = np.linspace(-0.1, 0.1, 41)  # 6 degrees either way
LINE_COVER = 0.8  # of the picture's width: a ruled line is visible on at least this much
LINE_THICKNESS = 0.015  # of the picture's longer side, at most
SPECK = 0.1  # of the longest piece's length: a shorter piece is a speck
WORTHY = 0.12  # of the picture's longer side: pieces this long, away from the edge, are writing


def ink_from_picture(content: bytes) -> np.ndarray:
    """Return how much ink lies on each pixel of a picture of something written.

    Of several frames the first is used. A transparent picture is put on the background that its own colours stand out
    from.

    Args:
        content: a PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF file.

    Returns:
        (h, w) float32 in [0, 1], at most SIDE pixels a side.

    Raises:
        DrawingError: if it is no such file, too large or damaged, or if nothing stands out in it.
    """
    return ink_on_paper(grey_from_picture(content))


def grey_from_picture(content: bytes) -> np.ndarray:
    """Return a picture in grey, upright: (h, w) float32, 0 black, 1 white, at most SIDE pixels a side.

    Args:
        content: a file as `ink_from_picture` takes it.

    Raises:
        DrawingError: if it is no such file, too large or damaged.
    """
    return _grey(_opened(content))


def ink_on_paper(grey: np.ndarray, light: bool = True, lines: bool = True, specks: bool = True) -> np.ndarray:
    """Return how much ink lies on each pixel, (h, w) float32 in [0, 1]: the last of `steps`."""
    return steps(grey, light, lines, specks)[-1][1]


def steps(
    grey: np.ndarray, light: bool = True, lines: bool = True, specks: bool = True
) -> list[tuple[str, np.ndarray]]:
    """Find ink where light is uneven, paper is ruled, or a table shows around it.

    Args:
        grey: (h, w) float32, 0 black, 1 white.
        light: whether ink is compared with the paper around it, or else with that of the whole picture.
        lines: whether the paper's ruled lines are removed.
        specks: whether specks are removed, and ink at the picture's edge.

    Returns:
        Each step's name for people with the ink it finds, (h, w) float32 in [0, 1]; the picture itself comes first.

    Raises:
        DrawingError: if nothing stands out.
    """
    smooth = _smooth(grey)
    is_dark_on_light = _is_dark_on_light(smooth)
    contrast = _contrast(smooth, is_dark_on_light, light)
    most = float(np.quantile(contrast, max(0, 1 - 4 / contrast.size)))
    if most < LEAST_CONTRAST:
        raise DrawingError("Nothing stands out in the picture: expected one digit, dark on light or light on dark.")
    # Never so high that no ink is full: in a picture of two plain colours, any value between them separates them.
    threshold = min(max(_between(contrast[contrast > LEAST_CONTRAST / 3]), most / 4), most / (1 + SOFTNESS))
    ink = np.clip((contrast / threshold - 1 + SOFTNESS) / (2 * SOFTNESS), 0, 1).astype(np.float32)
    ink[ink < EDGE] = 0
    taken = [("The picture", 1 - grey if is_dark_on_light else grey), ("Paper taken away", ink)]
    if lines:
        ink = np.where(_without_lines(ink > 0), ink, 0)
        taken.append(("Ruled lines taken away", ink))
    if specks:
        ink = np.where(_written(ink > 0), ink, 0)
        taken.append(("Specks and rim taken away", ink))
    return taken


# --- the file ---------------------------------------------------------------------------------------------------------


def _opened(content: bytes) -> Image.Image:
    """Return the first frame, upright, at most SIDE pixels a side, of mode L, LA, RGB or RGBA."""
    if len(content) > MAX_BYTES:
        raise DrawingError(
            f"The picture is too large: expected at most {MAX_BYTES // 1_000_000} MB, received "
            f"{len(content) / 1e6:.1f} MB. Save it smaller."
        )
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _check_size(picture)
            picture.draft(None, (2 * SIDE, 2 * SIDE))  # a JPEG is unpacked no larger than it has to be
            plain = _plain(picture)
            turn = picture.getexif().get(ExifTags.Base.Orientation, 1)
            plain.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR)
            if turn not in range(2, 9):
                return plain
            plain.getexif()[ExifTags.Base.Orientation] = turn
            return ImageOps.exif_transpose(plain)
    except DrawingError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DrawingError(
            f"The picture is too large: expected at most {MAX_PIXELS / 1e6:.0f} million pixels, received several times as "
            "many. Save it smaller."
        ) from None
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        struct.error,
        RuntimeError,  # of a damaged AVIF file
        Warning,
    ):
        raise DrawingError(_unreadable(content)) from None


def _unreadable(content: bytes) -> str:
    """Return why a file can't be read and what to do about it, judged by its content and not by its name."""
    kind = signatures.kind(content)
    begin = f"The picture can't be read: expected {_EXPECTED}, received"
    if not content:
        return f"{begin} an empty file. Choose it again."
    if not kind:
        return f"{begin} something else. Save the picture as a PNG or JPEG file."
    if kind.removesuffix(" picture").upper().partition(" ")[2] in FORMATS:
        return f"{begin} {kind} that is damaged or cut short. Open it in another program and save it anew."
    if kind == "an SVG picture":
        return f"{begin} {kind}, which holds shapes and no pixels. Save it as a PNG file."
    if kind in ("a HEIC picture", "a HEIF picture"):
        return (
            f"{begin} {kind}. Save it as a JPEG file, or take a screenshot of it. An iPhone takes JPEGs under Settings, Camera, "
            "Formats, Most Compatible."
        )
    if kind.endswith("picture"):
        return f"{begin} {kind}. Save it as a PNG or JPEG file, or take a screenshot of it."
    return f"{begin} {kind}. Take a screenshot of the digit, or save its picture alone as a PNG file."


def _check_size(picture: Image.Image) -> None:
    """Refuse a picture that would take too much memory to unpack, by the size in its header."""
    of_format = {"JPEG": MAX_PIXELS_JPEG, "MPO": MAX_PIXELS_JPEG, "WEBP": MAX_PIXELS_WEBP, "AVIF": MAX_PIXELS_WEBP}
    most = of_format.get(picture.format or "", MAX_PIXELS)
    if "progressive" in picture.info:  # held as a whole before the first pixel is known
        most = MAX_PIXELS
    width, height = picture.size
    if isinstance(
        picture, TiffImagePlugin.TiffImageFile
    ):  # whose tiles are unpacked whole, however little of them is the picture
        tile = (picture.tag_v2.get(tag, 1) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
        width, height = map(max, (width, height), tile)
    if width * height > most:
        raise DrawingError(
            f"The picture is too large: expected at most {most / 1e6:.3g} million pixels, received {width} × {height}. "
            "Save it smaller."
        )


def _plain(picture: Image.Image) -> Image.Image:
    """Return the picture with 8 bits per channel, grey or RGB, with its transparency if it has any."""
    picture.load()
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        if picture.mode in ("I", "F"):
            picture = picture.reduce(max(1, max(picture.size) // (2 * SIDE)))
        values = np.asarray(picture)
        if values.dtype == np.uint16:
            return Image.fromarray((values >> 8).astype(np.uint8))
        least, most = float(values.min()), float(values.max())
        return Image.fromarray(((values - least) * (255 / max(most - least, 1e-9))).astype(np.uint8))
    if picture.has_transparency_data:
        return picture if picture.mode in ("LA", "RGBA") else picture.convert("RGBA")
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def _grey(picture: Image.Image) -> np.ndarray:
    """Return the picture in grey, (h, w) float32, 0 black, 1 white."""
    if picture.mode not in ("LA", "RGBA"):
        return np.asarray(picture.convert("L"), np.float32) / 255
    grey, alpha = (np.asarray(channel, np.float32) / 255 for channel in picture.convert("LA").split())
    is_dark = (grey * alpha).sum() <= 0.5 * alpha.sum()
    return grey * alpha + (1 - alpha) * np.float32(is_dark)


# --- paper and ink ----------------------------------------------------------------------------------------------------


def _smooth(grey: np.ndarray) -> np.ndarray:
    """Return the picture without a camera's noise, (h, w) float32."""
    picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(max(grey.shape) / 500)), np.float32) / 255


def _contrast(grey: np.ndarray, is_dark_on_light: bool, is_local: bool) -> np.ndarray:
    """Return how far each pixel stands out from the paper around it, or from that of the whole picture, (h, w) float32
    in [0, 1].

    The paper's brightness is a high (or low) quantile of the brightness around each pixel. Light falls on ink as on
    paper, so the share of light that ink takes away is the same in a shadow.
    """
    side = grey + 0.02 if is_dark_on_light else 1.02 - grey
    paper = _paper(side) if is_local else np.quantile(side, PAPER_RANK)
    return np.clip(1 - side / paper, 0, 1).astype(np.float32)


def _is_dark_on_light(grey: np.ndarray) -> bool:
    """Return whether ink is darker than its paper.

    Around a pixel there is more paper than ink, so the median there is paper, and what differs much from it is ink. The
    edge of a shadow differs as much to one side as to the other.
    """
    small = _small(grey)
    middle = np.asarray(small.filter(ImageFilter.MedianFilter(PAPER_WINDOW)), np.float32)
    return bool(((np.asarray(small, np.float32) - middle) ** 3).sum() <= 0)


def _paper(grey: np.ndarray) -> np.ndarray:
    """Return the brightness of the paper at each pixel, (h, w) float32, if ink is darker than paper.

    Windows that reach across the edge of a shadow find the lit paper there; the darkest of the windows around is the
    shadow's own.
    """
    height, width = grey.shape
    ranked = _small(grey).filter(ImageFilter.RankFilter(PAPER_WINDOW, round(PAPER_RANK * (PAPER_WINDOW**2 - 1))))
    ranked = ranked.filter(ImageFilter.MinFilter(EDGE_WINDOW))
    lightest = np.asarray(ranked, np.float32) / 200
    return np.maximum(np.asarray(Image.fromarray(lightest).resize((width, height), Image.Resampling.BILINEAR)), 1e-3)


def _small(grey: np.ndarray) -> Image.Image:
    """Return brightness 0..1.02 as a picture of 0..204, at most PAPER_SIDE pixels a side."""
    height, width = grey.shape
    scale = min(1, PAPER_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Image.fromarray(np.rint(grey * 200).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)


def _between(values: np.ndarray) -> float:
    """Return the threshold that best separates the values into two classes.

    Source: N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9(1), 1979.

    Args:
        values: (n,) float32 in [0, 1].
    """
    counts, edges = np.histogram(values, 100, (0, 1))
    middles = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    spread = np.nan_to_num(spread)
    return float(edges[1:][spread >= spread.max() * 0.999].mean())


# --- what is not handwriting ------------------------------------------------------------------------------------------


def _without_lines(mask: np.ndarray) -> np.ndarray:
    """Return the ink without the paper's ruled lines: (h, w) bool.

    A line runs from one side of the picture to the other. Where strokes cross it, the ink is thicker than the line, and
    stays.

    Source: C. Dalitz, M. Droettboom, B. Pranzas, I. Fujinaga, "A comparative study of staff removal algorithms", IEEE
    Trans. PAMI 30(5), 2008: the removal by the length of vertical runs.
    """
    cleaned = _without_level_lines(_without_level_lines(mask).T).T
    return cleaned if cleaned.any() else mask


def _without_level_lines(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    thickest = max(2, round(LINE_THICKNESS * max(mask.shape)))
    row, column = np.nonzero(mask & (_run_lengths(mask) <= 2 * thickest))
    found = np.zeros_like(mask)
    for slope in LINE_SLOPES:
        offset = np.rint(row - slope * (column - width / 2)).astype(int)
        inside = (offset >= 0) & (offset < height)
        # Columns in which a line of this slope is inked, whichever of two neighbouring rows it is in.
        seen = np.zeros((height, width), bool)
        seen[offset[inside], column[inside]] = True
        seen[1:] |= seen[:-1]
        for start in np.flatnonzero(seen.sum(axis=1) >= LINE_COVER * width):
            on_line = np.abs(offset - start) <= thickest
            found[row[on_line], column[on_line]] = True
    return mask & ~found


def _run_lengths(mask: np.ndarray) -> np.ndarray:
    """Return the length of the vertical run of ink that each pixel is in, (h, w) int64; 0 where there is no ink."""
    columns = np.pad(mask.T, ((0, 0), (1, 1)))
    changes = np.diff(columns.astype(np.int8), axis=1)
    lengths = np.nonzero(changes == -1)[1] - np.nonzero(changes == 1)[1]
    runs = np.zeros(mask.T.shape, np.int64)
    runs[mask.T] = np.repeat(lengths, lengths)
    return runs.T


def _written(mask: np.ndarray) -> np.ndarray:
    """Return the ink without specks, and without what touches the picture's edge if there is other ink: (h, w) bool."""
    height, width = mask.shape
    found = components(mask)
    left, top, right, bottom = found.boxes.T
    lengths = np.maximum(right - left, bottom - top)
    is_inside = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    kept = lengths > 0
    if (is_inside & (lengths >= WORTHY * max(mask.shape))).any():
        kept = is_inside
    return found.mask(kept & (lengths >= SPECK * lengths[kept].max(initial=0)))
