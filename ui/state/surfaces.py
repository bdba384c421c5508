"""What one draws on: the canvases and the live pad, what is on each, and which is in use."""

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
    """A standard canvas. `sheet` is what is on it, `number` that drawing's; `told` is what it was last told to show, by the
    `orders`-th order; `heard` is the number of the last stroke that was taken from it. What can be undone and redone are sheets with
    their drawings' numbers."""

    sheet: Sheet
    told: Sheet
    number: int = 0
    orders: int = 0
    heard: float = 0
    undo: list[tuple[Sheet, int]] = field(default_factory=list)
    redo: list[tuple[Sheet, int]] = field(default_factory=list)


@dataclass
class Pad:
    """The live pad. `number` is that of the drawing on its sheet; `told` are strokes it was told to show, the `orders`-th time."""

    sheet: Sheet = BARE["pad"]
    told: Sheet = BARE["pad"]
    orders: int = 0
    number: int = 0


@dataclass
class Surfaces:
    """What is on each surface, and where one draws.

    Attributes:
        canvases: by their names, as in `BARE`.
        number_ink: what is read as a whole number in place of what is on that canvas.
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
    part(Surfaces).draw_part = name
    renew_surfaces()


def draw_source() -> str:
    """Return what one draws on, one of `DRAW_SOURCES`."""
    return part(Surfaces).draw_source


def choose_draw_source(source: str) -> None:
    """Draw on something else; what is on it already is the drawing."""
    part(Surfaces).draw_source = source
    part(Photos).faults = []
    renew_surfaces()


def read_as_number(ink: Ink) -> None:
    """Have what was drawn as one digit be read as a whole number, until another is written."""
    choose_draw_part(DRAW_PARTS[1])
    part(Surfaces).number_ink = ink


def number_ink() -> Ink | None:
    """Return what is read as a whole number in place of what is on that canvas; None where that is."""
    return part(Surfaces).number_ink


def write_number() -> None:
    """Have what is on the wide canvas be the whole number again."""
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
    part(Surfaces).pen = name


def canvas_key(sheet: str) -> str:
    """Return the key of a canvas' component; new where the canvas is opened anew, else it stays, or two would be seen for a moment."""
    return f"canvas-{sheet}-{part(Surfaces).canvas_round}"


def sheet(name: str) -> Sheet:
    """Return what is on a canvas."""
    return part(Surfaces).canvases[name].sheet


def told_canvas(name: str) -> dict:
    """Return the record that a canvas is to show first, and at once whenever this changes."""
    held = part(Surfaces).canvases[name]
    return canvas_record.shown(held.told.strokes, held.orders)


def canvas_order(name: str) -> tuple[int, float]:
    """Return the number of the order that a canvas was given last, and of the last stroke that was taken from it."""
    held = part(Surfaces).canvases[name]
    return held.orders, held.heard


def hear_canvas(name: str, drawn: list[canvas_record.Drawn]) -> None:
    """Take what was drawn on a canvas; what was taken already is left out. Strokes only ever come from the page and only ever go by
    an order, so one that was begun before an order was there is no less drawn, and the canvas is told to show it again.

    Raises:
        DrawingError: if there is more on it then than can be a drawing; what is too much is not taken.
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
    note_for_undo(name)
    tell_canvas(name, BARE[name])


def undo_stroke(name: str) -> None:
    held = part(Surfaces).canvases[name]
    if held.undo:
        held.redo.append((held.sheet, held.number))
        sheet, held.number = held.undo.pop()
        tell_canvas(name, sheet)


def redo_stroke(name: str) -> None:
    held = part(Surfaces).canvases[name]
    if held.redo:
        held.undo.append((held.sheet, held.number))
        sheet, held.number = held.redo.pop()
        tell_canvas(name, sheet)


def can_undo_stroke(sheet: str) -> bool:
    return bool(part(Surfaces).canvases[sheet].undo)


def can_redo_stroke(sheet: str) -> bool:
    return bool(part(Surfaces).canvases[sheet].redo)


def pad_sheet() -> Sheet:
    """Return what is on the live pad."""
    return part(Surfaces).pad.sheet


def hear_pad(sheet: Sheet) -> None:
    """Take what the live pad says is on it."""
    pad = part(Surfaces).pad
    if sheet.any() and not pad.sheet.any():
        pad.number = _number_on_pad(sheet) or drawings.begin_drawing()
    pad.sheet = sheet


def pad_key() -> str:
    return f"pad-{part(Surfaces).canvas_round}"


def told_pad() -> tuple[int, Sheet]:
    """Return what the live pad is to show, and the number of that order, which it obeys once."""
    pad = part(Surfaces).pad
    return pad.orders, pad.told


def renew_surfaces() -> None:
    """Have what one draws on be made anew, and show what was on it."""
    surfaces = part(Surfaces)
    surfaces.canvas_round += 1
    for held in surfaces.canvases.values():
        held.told, held.orders = held.sheet, held.orders + 1
    surfaces.pad.orders, surfaces.pad.told = surfaces.pad.orders + 1, surfaces.pad.sheet


def tell_canvas(name: str, sheet: Sheet) -> None:
    """Have a canvas show a sheet."""
    held = part(Surfaces).canvases[name]
    held.orders += 1
    held.sheet = held.told = sheet


def note_for_undo(sheet: str) -> None:
    """Note what is on a canvas, which is about to become something else, by hand or by order."""
    held = part(Surfaces).canvases[sheet]
    held.undo = [*held.undo[-MAX_UNDO:], (held.sheet, held.number)]
    held.redo.clear()


def _number_on_pad(sheet: Sheet) -> int | None:
    """Return the number of the drawing that begins with exactly these strokes: taken off the pad, and put back by its undo or redo."""
    earlier = (one for one in drawings.drawn() if one.source == "Live pad")
    count = len(sheet.strokes)
    return next((one.number for one in earlier if one.ink.strokes[:count] == sheet.strokes), None)
