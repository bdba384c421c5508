"""The drawing surfaces: the canvases and the live pad, their content, and which is in use."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.errors import DrawingError
from core.ink import canvas_record
from core.ink.preparation import Ink
from core.ink.strokes import Sheet
from ui.state import drawings
from ui.state.drawings import DRAW_SOURCES
from ui.state.photos import Photos
from ui.state.session import MAX_UNDO, part

DRAW_PARTS = ("One digit", "A whole number", "My handwriting")
BARE = {
    "digit": Sheet((), 400, 400),
    "number": Sheet((), 640, 280),
    "pad": Sheet((), 400, 400),
}  # CSS pixels, on a wide screen


@dataclass
class Canvas:
    """A standard canvas.

    Attributes:
        sheet: its content.
        told: the content that it was last told to show.
        number: of the drawing on it.
        orders: number of the last order to show something.
        heard: number of the last stroke that was taken from it.
        undo, redo: sheets with their drawings' numbers.
    """

    sheet: Sheet
    told: Sheet
    number: int = 0
    orders: int = 0
    heard: float = 0
    undo: list[tuple[Sheet, int]] = field(default_factory=list)
    redo: list[tuple[Sheet, int]] = field(default_factory=list)


@dataclass
class Pad:
    """The live pad. `number` is that of the drawing on its sheet; `told` are the strokes of the last order, number
    `orders`.
    """

    sheet: Sheet = BARE["pad"]
    told: Sheet = BARE["pad"]
    orders: int = 0
    number: int = 0


@dataclass
class Surfaces:
    """The content of each surface, and the surface in use.

    Attributes:
        canvases: by their names, as in `BARE`.
        number_ink: the ink that is classified as a whole number instead of that canvas' content.
        pen: the canvas' pen, by its name.
        page: the path of the page that is drawn.
        canvas_round: how often the surfaces were made anew.
    """

    draw_part: str = DRAW_PARTS[0]
    draw_source: str = DRAW_SOURCES[0]
    canvases: dict[str, Canvas] = field(
        default_factory=lambda: {name: Canvas(BARE[name], BARE[name]) for name in ("digit", "number")}
    )
    pad: Pad = field(default_factory=Pad)
    number_ink: Ink | None = None
    pen: str = "Medium"
    page: str = ""
    canvas_round: int = 0


def draw_part() -> str:
    """Return which part of the Draw page is shown, one of `DRAW_PARTS`."""
    return part(Surfaces).draw_part


def choose_draw_part(name: str) -> None:
    """Show another part of the Draw page, one of `DRAW_PARTS`."""
    part(Surfaces).draw_part = name
    renew_surfaces()


def draw_source() -> str:
    """Return the surface or source in use, one of `DRAW_SOURCES`."""
    return part(Surfaces).draw_source


def choose_draw_source(source: str) -> None:
    """Choose another surface or source; what is on it already becomes the drawing."""
    part(Surfaces).draw_source = source
    part(Photos).faults = []
    renew_surfaces()


def read_as_number(ink: Ink) -> None:
    """Classify what was drawn as one digit as a whole number, until another is written."""
    choose_draw_part(DRAW_PARTS[1])
    part(Surfaces).number_ink = ink


def number_ink() -> Ink | None:
    """Return the ink that is classified as a whole number instead of the wide canvas' content; None if it is the
    canvas'.
    """
    return part(Surfaces).number_ink


def write_number() -> None:
    """Make the content of the wide canvas the whole number again."""
    part(Surfaces).number_ink = None
    renew_surfaces()


def enter_page(path: str) -> None:
    """Tell which page is about to be drawn; a canvas on a newly opened page is a new one, with the old drawing."""
    surfaces = part(Surfaces)
    if surfaces.page != path:
        surfaces.page = path
        renew_surfaces()


def pen() -> str:
    """Return the pen for the canvas, by its name."""
    return part(Surfaces).pen


def take_pen(name: str) -> None:
    """Choose the pen for the canvas, by its name."""
    part(Surfaces).pen = name


def canvas_key(sheet: str) -> str:
    """Return the key of a canvas' component; it is new only when the canvas is opened anew, or two would be visible for
    a moment."""
    return f"canvas-{sheet}-{part(Surfaces).canvas_round}"


def sheet(name: str) -> Sheet:
    """Return the content of a canvas."""
    return part(Surfaces).canvases[name].sheet


def told_canvas(name: str) -> dict:
    """Return the record that a canvas has to show, at once whenever this changes."""
    held = part(Surfaces).canvases[name]
    return canvas_record.shown(held.told.strokes, held.orders)


def canvas_order(name: str) -> tuple[int, float]:
    """Return the number of the last order to a canvas, and of the last stroke that was taken from it."""
    held = part(Surfaces).canvases[name]
    return held.orders, held.heard


def hear_canvas(name: str, drawn: list[canvas_record.Drawn]) -> None:
    """Take new strokes from a canvas; those that were taken already are left out.

    Strokes come only from the page and are removed only by an order. So a stroke that was begun before an order came is
    drawn all the same, and the canvas is told to show it again.

    Raises:
        DrawingError: if there is then more on it than a drawing can hold; the strokes beyond that are not taken.
    """
    held = part(Surfaces).canvases[name]
    for one in drawn:
        if one.number <= held.heard:
            continue
        held.heard = one.number
        before, begun_under = held.sheet, held.orders
        try:
            after = before.erased(one.stroke) if one.is_erasing else before.drawn(one.stroke)
            canvas_record.require_room(after)
        except DrawingError:
            tell_canvas(name, before)
            raise
        if after != before:
            note_for_undo(name)
            if not before.any():
                held.number = drawings.begin_drawing()
            held.sheet = after
        if one.is_erasing or one.order != begun_under:
            tell_canvas(name, after)


def clear_canvas(name: str = "digit") -> None:
    """Wipe a canvas; `undo_stroke` brings back what was on it."""
    note_for_undo(name)
    tell_canvas(name, BARE[name])


def undo_stroke(name: str) -> None:
    """Bring back the content of a canvas before its last change; without one nothing happens."""
    held = part(Surfaces).canvases[name]
    if held.undo:
        held.redo.append((held.sheet, held.number))
        sheet, held.number = held.undo.pop()
        tell_canvas(name, sheet)


def redo_stroke(name: str) -> None:
    """Take back the last `undo_stroke`; after another change there is none to take back."""
    held = part(Surfaces).canvases[name]
    if held.redo:
        held.undo.append((held.sheet, held.number))
        sheet, held.number = held.redo.pop()
        tell_canvas(name, sheet)


def can_undo_stroke(sheet: str) -> bool:
    """Return whether a canvas has a change to undo."""
    return bool(part(Surfaces).canvases[sheet].undo)


def can_redo_stroke(sheet: str) -> bool:
    """Return whether a canvas has an undo to take back."""
    return bool(part(Surfaces).canvases[sheet].redo)


def pad_sheet() -> Sheet:
    """Return the content of the live pad."""
    return part(Surfaces).pad.sheet


def hear_pad(sheet: Sheet) -> None:
    """Take the content that the live pad has sent."""
    pad = part(Surfaces).pad
    if sheet.any() and not pad.sheet.any():
        pad.number = _number_on_pad(sheet) or drawings.begin_drawing()
    pad.sheet = sheet


def pad_key() -> str:
    """Return the key of the live pad's component; like a canvas', it is new only when the pad is opened anew."""
    return f"pad-{part(Surfaces).canvas_round}"


def told_pad() -> tuple[int, Sheet]:
    """Return the strokes that the live pad has to show, and the number of that order, which it obeys once."""
    pad = part(Surfaces).pad
    return pad.orders, pad.told


def renew_surfaces() -> None:
    """Make the surfaces' components anew, with the same content."""
    surfaces = part(Surfaces)
    surfaces.canvas_round += 1
    for held in surfaces.canvases.values():
        held.told, held.orders = held.sheet, held.orders + 1
    surfaces.pad.orders, surfaces.pad.told = surfaces.pad.orders + 1, surfaces.pad.sheet


def tell_canvas(name: str, sheet: Sheet) -> None:
    """Tell a canvas to show a sheet."""
    held = part(Surfaces).canvases[name]
    held.orders += 1
    held.sheet = held.told = sheet


def note_for_undo(sheet: str) -> None:
    """Keep the content of a canvas for undo, before it is changed by hand or by order."""
    held = part(Surfaces).canvases[sheet]
    held.undo = [*held.undo[-MAX_UNDO:], (held.sheet, held.number)]
    held.redo.clear()


def _number_on_pad(sheet: Sheet) -> int | None:
    """Return the number of the drawing that begins with exactly these strokes, if undo or redo put them back; or a new
    one."""
    earlier = (one for one in drawings.drawn() if one.source == "Live pad")
    count = len(sheet.strokes)
    return next((one.number for one in earlier if one.ink.strokes[:count] == sheet.strokes), None)
