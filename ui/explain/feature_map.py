"""A feature map to be pointed at: each unit's value, its window in the digit beside it, and a click that chooses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from core.views import network_html, pictures
from ui.state import session
from ui.widgets.components import component, place

MAP_SIZE, DIGIT_SIZE = 300, 140  # CSS pixels of the longer side; the map is smaller where both would not fit
NARROW = 360  # CSS pixels: up to here the digit stands below the map
Span = tuple[int, int]
_KEY = "explain-map"  # the same for every digit, so that a new digit is put into the existing map
_HTML = """
<div class="unit">
  <div class="views">
    <div class="map" tabindex="0" role="application" aria-describedby="how"><img alt="" decoding="sync"><b></b><b></b></div>
    <div class="digit" role="img"><img alt="" decoding="sync"><b></b><b></b></div>
  </div>
  <p class="line"></p>
  <p id="how">By keyboard: arrows move from unit to unit, Enter chooses one, Escape goes back to the chosen one.</p>
</div>
"""
_CSS = f"""
.unit {{ container-type: inline-size; }}
.views {{ display: flex; align-items: flex-start; gap: 16px; }}
.map, .digit {{ position: relative; max-width: 100%; border-radius: 4px; }}
.map {{ touch-action: pan-y pinch-zoom; cursor: crosshair; -webkit-tap-highlight-color: transparent; }}
.map:focus {{ outline: none; }}
.map:focus-visible {{ outline: 3px solid var(--st-primary-color); outline-offset: 3px; }}
.digit {{ flex: none; width: {DIGIT_SIZE}px; aspect-ratio: 1; }}
img {{ display: block; width: 100%; height: 100%; image-rendering: pixelated; border-radius: 4px; user-select: none;
  pointer-events: none; }}
b {{ position: absolute; box-sizing: border-box; margin: -1px; pointer-events: none; border: 2px solid {pictures.RED};
  border-radius: 2px; }}
b:last-of-type {{ border-color: {pictures.TEAL}; }}
b[hidden] {{ display: none; }}
.digit b {{ background: {pictures.RED}26; }}
.digit b:last-of-type {{ background: {pictures.TEAL}47; }}
p {{ margin: 0; font: .875rem/1.4 var(--st-font); color: var(--st-text-color); }}
.line {{ height: 2.8em; margin-top: .75rem; font-variant-numeric: tabular-nums; }}
@container (max-width: {NARROW}px) {{ .views {{ flex-wrap: wrap; }} }}
#how {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
"""


def feature_map(
    image: np.ndarray,
    values: np.ndarray,
    rows: Sequence[Span],
    columns: Sequence[Span],
    chosen: tuple[int, int],
    worked_out: tuple[int, int],
    said: str,
    on_chosen: Callable[[int, int], None],
    on_pointed: Callable[[int, int], None],
) -> None:
    """Show a map large, and the digit with what the chosen unit sees of it.

    Args:
        image: the digit, (28, 28) uint8.
        values: the map, (h, w) float.
        rows, columns: of every row and column of the map, the first pixel of the digit it sees and the one after the last.
        chosen: the row and column of a unit.
        worked_out: those of the unit whose arithmetic the page shows, which is the last that `on_pointed` was told.
        said: what map it is.
        on_chosen: callback, is given the row and column of the unit that was chosen.
        on_pointed: callback, is given those of the unit that is pointed at, some times a second; of the chosen one once none is.
    """

    def heard(event: str, tell: Callable[[int, int], None]) -> None:
        unit = place(session.component_value(_KEY).get(event), (len(rows), len(columns)))
        if unit is not None:
            tell(*unit)

    seen_rows, seen_columns = _in_words("row", rows), _in_words("column", columns)
    component(__file__, _HTML, _CSS)(
        key=_KEY,
        data={
            "map": pictures.data_url(pictures.png(network_html.signed(values))),
            "digit": pictures.data_url(pictures.png(image)),
            "side": len(image),
            "size": MAP_SIZE,
            "values": [[_number(value) for value in row] for row in values.tolist()],
            "rows": seen_rows,
            "columns": seen_columns,
            "chosen": chosen,
            "workedOut": worked_out,
            "said": said,
            "seen": f"The chosen unit sees {seen_rows[chosen[0]][2]} and {seen_columns[chosen[1]][2]} of the digit.",
        },
        on_chosen_change=lambda: heard("chosen", on_chosen),
        on_pointed_change=lambda: heard("pointed", on_pointed),
        height="content",
    )


def _in_words(axis: str, spans: Sequence[Span]) -> list[tuple[int, int, str]]:
    """Return spans with their names: `rows 3 to 5`."""
    return [
        (first, after, f"{axis} {first}" if after - first == 1 else f"{axis}s {first} to {after - 1}")
        for first, after in spans
    ]


def _number(value: float) -> str:
    """Return a number with four significant digits and a true minus sign."""
    return f"{value + 0.0:.4g}".replace("-", "−") if np.isfinite(value) else "not a number"
