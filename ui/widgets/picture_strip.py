"""Small pictures in a row that can be chosen from, by mouse, finger and keyboard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.views import pictures
from ui.widgets.components import component

_HTML = '<div class="strip" role="group"></div>'
_CSS = """
.strip { display: flex; flex-wrap: wrap; gap: .5rem; min-height: 92px; font-family: var(--st-font); }
button { padding: 4px; border: 1px solid var(--st-border-color); border-radius: 8px; background: transparent; cursor: pointer;
  color: var(--st-text-color); font: 12px/1.4 var(--st-font); }
button:hover, button:focus-visible { border-color: var(--st-primary-color); outline: 2px solid var(--st-primary-color); }
img { display: block; width: 56px; height: 56px; border-radius: 4px; image-rendering: pixelated; }
"""


def strip(
    images: Sequence[np.ndarray], ids: Sequence[int], captions: Sequence[str], label: str, said: str, key: str
) -> int | None:
    """Show the pictures.

    Args:
        images: (n, 28, 28) uint8.
        ids: n numbers that tell them apart.
        captions: n short texts, one under each.
        label: what they are; `said` what choosing one does, before its caption.

    Returns: the id of the one that was chosen just now, else None.
    """
    items = [
        {"id": int(k), "src": pictures.data_url(pictures.png(image)), "caption": caption, "said": f"{said} {caption}"}
        for image, k, caption in zip(images, ids, captions, strict=True)
    ]
    shown = component(__file__, _HTML, _CSS)
    result = shown(key=key, data={"label": label, "items": items}, on_chosen_change=lambda: None, height="content")
    chosen = result.chosen
    return chosen if type(chosen) is int and chosen in ids else None  # anything else was not sent by this page
