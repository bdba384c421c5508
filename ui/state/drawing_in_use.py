"""The drawing in use, on any surface: its ink, its preparation, its prediction, and the return of earlier drawings."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np

from core.ink.preparation import Ink, Preparation, to_mnist
from core.ink.strokes import Sheet
from ui.state.drawings import MOST_DRAWN, Drawings, begin_drawing, drawn, keep_drawn
from ui.state.photos import Photos
from ui.state.session import part
from ui.state.surfaces import DRAW_PARTS, Pad, Surfaces, note_for_undo, renew_surfaces, tell_canvas


@dataclass
class DrawingInUse:
    """The preparation and the prediction of the drawing in use.

    Attributes:
        preparation: the steps that are on.
        is_preparation_shown: whether the visitor looks at the steps.
        last_read: the prepared drawing, (28, 28) uint8, and the predicted digit; None for no digit.
        read_at: the time of the last prediction, in seconds on the monotonic clock.
    """

    preparation: Preparation = field(default_factory=Preparation)
    is_preparation_shown: bool = False
    last_read: tuple[np.ndarray, int | None] | None = None
    read_at: float = 0.0


def ink() -> Ink | None:
    """Return the drawing on the surface in use or in the uploaded picture; it stays after a visit to another page."""
    surfaces = part(Surfaces)
    on_surfaces = {"Canvas": surfaces.canvases["digit"].sheet, "Live pad": surfaces.pad.sheet}
    return on_surfaces.get(surfaces.draw_source, part(Photos).ink)


def is_ink(shown: Ink | None) -> bool:
    """Return whether the drawing in use is still this one, as `ink` returned it."""
    here = ink()
    return here is shown or (isinstance(here, Sheet) and isinstance(shown, Sheet) and here == shown)


def image() -> np.ndarray | None:
    """Return the drawing in use as a network sees it, (28, 28) uint8; None where there is none."""
    here = ink()
    return None if here is None or not here.any() else to_mnist(here, preparation())


def drawing_number() -> int:
    """Return the number of the drawing in use, which tells it apart from the others of this session."""
    surfaces = part(Surfaces)
    on_surfaces = {"Canvas": surfaces.canvases["digit"].number, "Live pad": surfaces.pad.number}
    return on_surfaces.get(surfaces.draw_source, part(Photos).number)


def keep_picture(photo: np.ndarray, ink: np.ndarray) -> None:
    """Make the ink that was found in a picture the drawing.

    Args:
        photo: the picture, (h, w) float32 0..1.
        ink: of the same shape and type.
    """
    photos = part(Photos)
    photos.ink, photos.number = ink, begin_drawing()
    photos.photo = photos.number, np.rint(photo * 255).astype(np.uint8)
    photos.unread.append((photos.number, part(Surfaces).draw_source, ink))
    del photos.unread[:-MOST_DRAWN]


def photo() -> np.ndarray | None:
    """Return the picture that the drawing in use was found in, (h, w) float32 0..1; None if it was drawn, or the
    picture is gone.
    """
    photos = part(Photos)
    is_there = photos.photo is not None and photos.photo[0] == drawing_number()
    return photos.photo[1].astype(np.float32) / 255 if is_there else None


def drawings() -> dict[int, np.ndarray]:
    """Return this visitor's drawings by their numbers, the newest first: each as a network sees it, (28, 28) uint8.

    The drawing in use is among them even if no network has classified it.
    """
    earlier = {one.number: one.image for one in reversed(drawn())}
    here = image()
    if here is None:
        return earlier
    number = drawing_number()
    return {number: here} | {k: v for k, v in earlier.items() if k != number}


def preparation() -> Preparation:
    """Return which steps of the preparation are on."""
    return part(DrawingInUse).preparation


def prepare_by(step: str, is_on: bool) -> None:
    """Switch a step of the preparation on or off, by its name in `Preparation`."""
    part(DrawingInUse).preparation = replace(preparation(), **{step: is_on})


def is_preparation_shown() -> bool:
    """Return whether this visitor looks at the preparation step by step."""
    return part(DrawingInUse).is_preparation_shown


def show_preparation(is_shown: bool) -> None:
    """Show the preparation step by step, or the prepared drawing alone."""
    part(DrawingInUse).is_preparation_shown = is_shown


def keep_reading(image: np.ndarray, digit: int | None) -> None:
    """Remember the prediction for the drawing, and the drawing among those of this session.

    Args:
        image: the prepared drawing, (28, 28) uint8.
        digit: the prediction; None for no digit.
    """
    in_use = part(DrawingInUse)
    if in_use.last_read is None or not np.array_equal(in_use.last_read[0], image):
        in_use.read_at = time.monotonic()
    in_use.last_read = image, digit
    part(Photos).unread.clear()
    keep_drawn(drawing_number(), part(Surfaces).draw_source, ink(), image, digit)


def last_drawing() -> np.ndarray | None:
    """Return the drawing classified last, on any surface, as the network saw it: (28, 28) uint8."""
    return part(DrawingInUse).last_read[0] if part(DrawingInUse).last_read else None


def last_digit() -> int | None:
    """Return the last prediction; None for no digit."""
    return part(DrawingInUse).last_read[1] if part(DrawingInUse).last_read else None


def seconds_since_reading() -> float:
    """Return how many seconds ago the last prediction changed."""
    return time.monotonic() - part(DrawingInUse).read_at


def bring_back(number: int) -> None:
    """Make an earlier drawing the drawing in use, on the surface that it was drawn on."""
    drawings, surfaces, photos = part(Drawings), part(Surfaces), part(Photos)
    found = next((one for one in drawings.drawn if one.number == number), None)
    if found is None:
        return
    is_elsewhere = (surfaces.draw_source, surfaces.draw_part) != (found.source, DRAW_PARTS[0])
    surfaces.draw_source, surfaces.draw_part = found.source, DRAW_PARTS[0]
    if found.source == "Canvas":
        note_for_undo("digit")
        tell_canvas("digit", found.ink)
        surfaces.canvases["digit"].number = number
    elif found.source == "Live pad":
        surfaces.pad = Pad(found.ink, found.ink, surfaces.pad.orders + 1, number)
    else:
        photos.ink, photos.number = found.ink.astype(np.float32) / 255, number
    if is_elsewhere:
        renew_surfaces()
    drawings.drawn = [*(one for one in drawings.drawn if one is not found), found]
