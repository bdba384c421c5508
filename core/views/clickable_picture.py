"""A picture in a chart whose cells can be clicked.

Plotly sends no selections from pictures; an invisible square in each cell sends one, with its `customdata`. The layout
is given to a figure complete: each part that is added to a figure later copies those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

_UNSEEN = {"marker": {"opacity": 0.01}}


def squares(x: Any, y: Any, size: Any, customdata: Any, names: Sequence[str]) -> go.Scatter:
    """Return the invisible squares that are clicked.

    Args:
        x, y: (n,) their centres, in the picture's units.
        size: pixels of the screen, one for all or (n,).
        customdata: what a click on each tells.
        names: what hovering over each says.
    """
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "square", "size": size, "opacity": 0.01},
        selected=_UNSEEN,
        unselected=_UNSEEN,
        customdata=customdata,
        text=names,
        hovertemplate="%{text}<extra></extra>",
    )


def picture(url: str, width: float, height: float) -> dict[str, Any]:
    """Return a picture that fills this much of the plane, its upper left corner at (0, 0)."""
    place = {"x": 0, "y": 0, "sizex": width, "sizey": height, "xref": "x", "yref": "y", "yanchor": "top"}
    return {"source": url, **place, "layer": "below", "sizing": "stretch"}


def frame(left: float, top: float, right: float, bottom: float, colour: str) -> dict[str, Any]:
    """Return a frame around a cell."""
    corners = {"x0": left, "y0": top, "x1": right, "y1": bottom}
    return {"type": "rect", **corners, "line": {"color": colour, "width": 3}}


def layout(x_range: Sequence[float], y_range: Sequence[float], height: int) -> dict[str, Any]:
    """Return a layout without axes that is no larger than its picture and can't be moved.

    Args:
        x_range, y_range: what of the plane is shown, `y_range` from bottom to top.
        height: CSS pixels.
    """
    return {
        "xaxis": {"visible": False, "range": x_range, "fixedrange": True},
        "yaxis": {
            "visible": False,
            "range": y_range,
            "fixedrange": True,
            "scaleanchor": "x",
            "constrain": "domain",
            "constraintoward": "top",
        },
        "height": height,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "dragmode": False,
        "clickmode": "event+select",
    }
