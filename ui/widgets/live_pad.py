"""The live pad: drawn on by mouse, finger or keyboard, and classified while the stroke is drawn."""

from __future__ import annotations

from dataclasses import replace

from core.ink import canvas_record
from ui import messages
from ui.state import session, surfaces
from ui.widgets.components import component

SIDE = surfaces.BARE["pad"].width  # CSS pixels at most; on a phone as wide as the page
PEN = 0.075  # the pen's diameter, as a share of the side
_HTML = """
<div class="pad">
  <canvas tabindex="0" role="application" aria-describedby="how"></canvas>
  <div class="tools">
    <button type="button" data-act="undo">Undo</button>
    <button type="button" data-act="redo">Redo</button>
    <button type="button" data-act="clear">Clear</button>
  </div>
  <p id="how">By keyboard: arrows move the pen (with Shift in small steps), Space lowers and lifts it, Backspace undoes,
  Delete clears.</p>
  <p class="said" aria-live="polite"></p>
</div>
"""
_CSS = f"""
.pad {{ max-width: {SIDE}px; font-family: var(--st-font); color: var(--st-text-color); }}
canvas {{ display: block; box-sizing: border-box; width: 100%; aspect-ratio: 1; touch-action: none; cursor: crosshair;
  border: 1px solid var(--st-border-color); border-radius: 8px; }}
canvas:focus-visible {{ outline: 3px solid var(--st-primary-color); outline-offset: 2px; }}
.tools {{ display: flex; gap: .5rem; margin-top: .75rem; }}
button {{ font: inherit; color: inherit; min-height: 2.5rem; padding: .25rem .75rem; cursor: pointer; border-radius: 8px;
  background: var(--st-background-color); border: 1px solid var(--st-border-color); }}
button:hover, button:focus-visible {{ border-color: var(--st-primary-color); outline: none; }}
button:disabled {{ opacity: .4; cursor: default; }}
p {{ font-size: .875rem; line-height: 1.4; opacity: .75; margin: .75rem 0 0; }}
.said {{ position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }}
"""


def pad(said: str) -> None:
    """Draw the pad.

    Args:
        said: the answer to what is on it, for those who can't see it.
    """
    key = surfaces.pad_key()
    order, told = surfaces.told_pad()
    strokes = [[[x / SIDE, y / SIDE] for x, y in stroke.points] for stroke in told.strokes]
    component(__file__, _HTML, _CSS)(
        key=key,
        data={"order": order, "strokes": strokes, "pen": PEN, "ink": canvas_record.INK, "said": said},
        on_drawing_change=lambda: _heard(key),
        height="content",
    )


def _heard(key: str) -> None:
    """Take what was drawn on the pad, or removed from it. A callback."""
    with messages.kept():
        said = session.component_value(key)
        if "drawing" in said:
            strokes = canvas_record.strokes(said["drawing"], SIDE, PEN * SIDE)
            surfaces.hear_pad(replace(surfaces.BARE["pad"], strokes=strokes))
