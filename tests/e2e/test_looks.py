"""Every page fits its window in both themes, on a desk, a tablet and a phone, and nothing in it fails."""

import tomllib
from pathlib import Path

import pytest
from playwright.sync_api import expect

CONFIG = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())
PATHS = ["", "data", "build", "train", "evaluate", "explain", "draw"]
WINDOWS = {
    "desktop": {"width": 1360, "height": 900},
    "tablet": {"width": 820, "height": 1180},  # beside the sidebar, which stays open
    "phone": {"width": 390, "height": 844},
}
# The buttons whose label is cut, or wider than they are.
CUT_LABELS = """main => [...main.querySelectorAll("button")].filter(button => button.checkVisibility()
    && [...button.querySelectorAll("*")].some(part => part.clientWidth && part.scrollWidth > part.clientWidth + 1))
    .map(button => button.textContent)"""


@pytest.mark.parametrize("window", WINDOWS)
def test_every_page_fits(server, new_context, lab, console_errors, finished_run, window):
    is_handheld = window != "desktop"
    context = new_context(color_scheme="light", viewport=WINDOWS[window], has_touch=is_handheld, is_mobile=is_handheld)
    page = context.new_page()
    errors = console_errors(page)
    for path in PATHS:
        page.emulate_media(color_scheme="light")
        lab.open(page, server, path, finished_run)
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        for theme in ("light", "dark"):  # which the app follows at once
            page.emulate_media(color_scheme=theme)
            background = rgb(CONFIG["theme"][theme]["backgroundColor"])
            expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
            expect(page.locator(".js-plotly-plot:not(:has(.main-svg))")).to_have_count(0)

            assert page.get_by_test_id("stException").count() == 0, (path, theme)
            width = page.evaluate("document.scrollingElement.scrollWidth")
            assert width <= WINDOWS[window]["width"], f"/{path} is {width} wide"
            inner = page.get_by_test_id("stMain").evaluate("main => [main.scrollWidth, main.clientWidth]")
            assert inner[0] <= inner[1], f"/{path} scrolls sideways: {inner}"
            assert page.get_by_test_id("stMain").evaluate(CUT_LABELS) == [], f"/{path}"
            assert errors == [], (path, theme)


def test_every_page_fits_a_phone_before_there_is_any_run(server, new_context, lab, console_errors):
    page = new_context(viewport=WINDOWS["phone"], has_touch=True, is_mobile=True).new_page()
    errors = console_errors(page)
    for path in PATHS:
        lab.open(page, server, path)

        assert page.get_by_test_id("stException").count() == 0, path
        assert page.get_by_test_id("stMain").evaluate("main => main.scrollWidth <= main.clientWidth"), path
        assert errors == [], path


def test_tensorflow_stays_out_of_the_servers_process(server, finished_run):
    """Its libraries are not even mapped there, after all that was done with the server so far."""
    try:
        libraries = [region.path for region in server.process.memory_maps()]
    except AttributeError:
        pytest.skip("psutil can't see this system's memory maps")

    assert any("numpy" in path for path in libraries)
    assert not [path for path in libraries if "tensorflow" in path]


def rgb(colour: str) -> str:
    """`#0E121C` as `rgb(14, 18, 28)`, which is how a browser says it."""
    return f"rgb({', '.join(str(int(colour[k : k + 2], 16)) for k in (1, 3, 5))})"
