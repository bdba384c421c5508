"""Messages for chosen files that don't arrive, of which Streamlit tells only a number, or nothing at all."""

from __future__ import annotations

from ui.widgets.components import component

_HTML = '<p role="alert"></p>'
_CSS = "p { margin: 0; font: .875rem var(--st-font); color: var(--st-red-text-color); }"
FAILURES = {
    413: "The server in front of the lab takes no file as large as this one (413). Choose a smaller one: a photo of less than 1 MB is "
    "enough. Whoever runs the lab can raise the limit, as its README says.",
    403: "The lab was not allowed to take the file (403), which is so where it is shown in another site's frame. Open it in a tab of its "
    "own, and choose the file again there.",
    400: "The lab doesn't know this tab any more (400). Load the page again, then choose the file again.",
}
OTHERWISE = "The file did not arrive. See whether you are still connected, then choose it again."
AWAY = "The file did not arrive, since the connection was away when you chose it. Choose it again once the page is connected."


def failures() -> None:
    """Say, below a widget that takes files, why one did not arrive and what to do; nothing while all do. One on a page."""
    component(__file__, _HTML, _CSS)(
        key="upload-failures",
        data={
            "failures": {str(status): said for status, said in FAILURES.items()},
            "otherwise": OTHERWISE,
            "away": AWAY,
        },
        height="content",
    )
