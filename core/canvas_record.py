"""What the surfaces to draw on tell of themselves: the canvas a record of its strokes, as Fabric.js writes it, and their picture;
the live pad its strokes."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image, ImageColor

from core import drawing
from core.errors import DrawingError

INK = "#5566F5"  # the theme's ultramarine, readable on paper and on blue-black
PAPERS = {"light": "#FBFAF7", "dark": "#0E121C"}  # the page's ground in either theme, in which the eraser paints
BLURRED = 0.02  # of the pen's ink: what a picture's whole numbers leave of it where it is wiped off
MOST_STROKES, MOST_POINTS = 200, 8000
MOST_PIXELS = 4_000_000  # of a canvas' picture: twice the widest sheet on a screen of three pixels to one
SHAPE = ("path", "left", "top", "scaleX", "scaleY", "angle")


def erased(record: dict | None) -> dict:
    """A record, None for an empty one, in which the eraser's strokes take away what is under them instead of hiding it: right in
    either theme."""
    strokes = (record or {}).get("objects", [])
    wiping = {"stroke": "#000", "globalCompositeOperation": "destination-out"}
    return {**(record or {}), "objects": [{**one, **(wiping if _is_erasers(one) else {})} for one in strokes]}


def is_same(record: dict | None, other: dict | None) -> bool:
    """Whether two records, None for an empty one, are of the same strokes, whatever their colour."""
    return _shapes(record) == _shapes(other)


def ink(url: str | None, record: dict | None = None) -> np.ndarray | None:
    """The ink of a canvas' picture, (h, w) float32 0..1; None where there is none, or no more than an eraser's rims.

    Args:
        url: that holds a PNG, transparent where the canvas is bare.
        record: the canvas' own of the same.

    Raises:
        DrawingError: if it is cut short, or no such picture.
    """
    try:
        content = base64.b64decode((url or "").partition(";base64,")[2], validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > MOST_PIXELS:  # read from its head, before anything is unpacked
                raise DrawingError(
                    f"The canvas sent a picture that is too large: expected at most {MOST_PIXELS:,} pixels, received "
                    f"{picture.width} × {picture.height}. Load the page again."
                )
            pixels = np.asarray(picture.convert("RGBA"))
            is_painted_over = any(map(_is_erasers, (record or {}).get("objects", [])))
            found = _ink_of_pen(pixels) if is_painted_over else drawing.ink_from_rgba(pixels)
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise DrawingError(
            f"The canvas sent a picture that can't be read ({error}). What you drew is still on it: add a stroke."
        ) from None
    return found if found.max() >= drawing.EDGE else None


def _is_erasers(stroke: dict) -> bool:
    return stroke.get("stroke") in PAPERS.values()


def _shapes(record: dict | None) -> list[tuple]:
    return [tuple(one.get(field) for field in SHAPE) for one in (record or {}).get("objects", [])]


def _ink_of_pen(rgba: np.ndarray) -> np.ndarray:
    """What paint in the page's ground leaves to be seen of the pen's ink: the pen's part in the mixture that each pixel is.

    Args:
        rgba: (h, w, 4) uint8, straight.
    """
    parts = np.linalg.pinv(np.array([[*ImageColor.getrgb(colour), 255] for colour in (INK, *PAPERS.values())]) / 255)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mixed = np.concatenate([rgba[..., :3] / 255 * alpha, alpha], axis=-1)
    found = np.clip(mixed @ parts[:, 0], 0, 1).astype(np.float32)
    return np.where(found < BLURRED, 0, found)


def strokes(sent: object) -> list[list[list[float]]]:
    """What the live pad sent, as strokes of points [x, y] in shares of its side.

    Raises:
        DrawingError: if it is something else, or too much.
    """
    try:
        found = [np.clip(np.array(stroke, np.float32).reshape(-1, 2), 0, 1) for stroke in sent if len(stroke)]
    except (TypeError, ValueError):
        raise DrawingError("The pad sent something else than strokes. Clear it and draw again.") from None
    if len(found) > MOST_STROKES or sum(map(len, found)) > MOST_POINTS:
        raise DrawingError(f"There is more on the pad than {MOST_STROKES} strokes. Clear it and draw one digit.")
    if not all(np.isfinite(stroke).all() for stroke in found):
        raise DrawingError("The pad sent something else than strokes. Clear it and draw again.")
    return [stroke.tolist() for stroke in found]
