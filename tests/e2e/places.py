"""Where things are in the page, told once they have come to rest: what is drawn again in between is neither missed nor missed by."""

from __future__ import annotations

import time
from collections.abc import Callable

from playwright.sync_api import FloatRect, Locator

SECONDS = 60  # something takes to come to rest, at most


def wait_until(is_so: Callable[[], bool], seconds: float) -> None:
    """Ask ten times a second, and give up after so many seconds."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} seconds"
        time.sleep(0.1)


def box(shown: Locator) -> FloatRect:
    """The box of what is in view, once there is one of it alone, which has kept its place for a tenth of a second."""
    return _at_rest(lambda: shown.bounding_box() if shown.count() == 1 else None)


def click_point(chart: Locator, place: int) -> None:
    """Click the point of a plotly chart that stands at this place among the points of its first trace."""
    _click(chart, "[trace.x[place], trace.y[place]]", place)


def click_values(chart: Locator, x: str, y: str) -> None:
    """Click a plotly chart where these values of its axes meet."""
    _click(chart, "place", [x, y])


def _click(chart: Locator, values: str, place: object) -> None:
    chart.scroll_into_view_if_needed()
    find = f"""(chart, place) => {{
        const {{xaxis, yaxis}} = chart._fullLayout ?? {{}}, trace = chart._fullData?.[0]
        if (!trace) return null
        const [x, y] = {values}, box = chart.getBoundingClientRect()
        return [box.left + xaxis._offset + xaxis.d2p(x), box.top + yaxis._offset + yaxis.d2p(y)]
    }}"""
    chart.page.mouse.click(*_at_rest(lambda: chart.evaluate(find, place)))


def _at_rest(where: Callable[[], FloatRect | list[float] | None]) -> FloatRect | list[float]:
    places: list[FloatRect | list[float] | None] = []

    def is_at_rest() -> bool:
        places.append(where())
        return places[-1] is not None and places[-2:] == [places[-1]] * 2

    wait_until(is_at_rest, SECONDS)
    return places[-1]
