"""From a digit to the arithmetic behind it and to what would change it, in the browser."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.e2e.places import box, click_point

SECONDS = 1000


def feature_map(page) -> Locator:
    """The map, in view."""
    shown = page.get_by_role("application", name="The chosen unit sees")
    expect(shown).to_be_visible(timeout=60 * SECONDS)
    shown.scroll_into_view_if_needed()
    return shown


def middle(shown: Locator, row: int, column: int, side: int = 26) -> dict[str, float]:
    """Where on the map a unit stands."""
    sheet = box(shown)
    return {"x": (column + 0.5) * sheet["width"] / side, "y": (row + 0.5) * sheet["height"] / side}


def frames(page, place: str) -> list[list[int]]:
    """Of what is framed on the `.map` of 26 or on the `.digit` of 28 units: the first row and column, and those after the last."""
    return page.locator(f"{place} b:visible").evaluate_all(
        """frames => frames.map(frame => {
            const box = frame.getBoundingClientRect(), whole = frame.parentElement.getBoundingClientRect()
            const side = frame.parentElement.matches(".map") ? 26 : 28
            return [box.top + 1 - whole.top, box.left + 1 - whole.left, box.bottom - 1 - whole.top, box.right - 1 - whole.left]
                .map(place => Math.round(side * place / whole.height))
        })"""
    )


def three_digits(value: str) -> str:
    """A number of the page's, rounded as the arithmetic is."""
    return f"{float(value.replace('−', '-')):.3g}".replace("-", "−")


def test_a_map_is_clicked_then_a_unit_and_the_sum_is_there(page, server, lab, finished_run):
    lab.open(page, server, "explain", finished_run)
    expect(page.get_by_text("Keras says")).to_be_visible(timeout=60 * SECONDS)

    click_point(page.locator("[class*=st-key-explain-sheet] .js-plotly-plot"), 3)
    expect(page.get_by_role("heading", name=re.compile("conv2d, map 3"))).to_be_visible()
    lab.settle(page)
    shown = feature_map(page)
    shown.click(position=middle(shown, 5, 7))

    expect(page.get_by_text("How row 5, column 7 of map 3")).to_be_visible()
    expect(page.get_by_text("Keras says")).to_be_visible()
    expect(page.get_by_role("img", name="sees rows 5 to 7 and columns 7 to 9")).to_be_visible()


def test_the_pointer_on_a_unit_shows_its_window(page, server, lab, finished_run):
    lab.open(page, server, "explain", finished_run)
    shown = feature_map(page)
    shown.click(position=middle(shown, 20, 3))
    expect(page.get_by_text("How row 20, column 3 of")).to_be_visible()

    shown.hover(position=middle(shown, 10, 12))
    expect(
        page.get_by_text(re.compile("^row 10, column 12: .+, sees rows 10 to 12 and columns 12 to 14$"))
    ).to_be_visible()
    assert frames(page, ".map") == [[20, 3, 21, 4], [10, 12, 11, 13]]
    assert frames(page, ".digit") == [[20, 3, 23, 6], [10, 12, 13, 15]]

    page.mouse.move(0, 0)
    expect(
        page.get_by_text(re.compile("^row 20, column 3: .+, sees rows 20 to 22 and columns 3 to 5$"))
    ).to_be_visible()
    assert frames(page, ".map") == [[20, 3, 21, 4]]
    assert frames(page, ".digit") == [[20, 3, 23, 6]]


def test_the_sum_slides_with_the_pointer_and_nothing_else_moves(page, server, lab, finished_run):
    lab.open(page, server, "explain", finished_run)
    shown = feature_map(page)
    shown.click(position=middle(shown, 20, 3))
    chosen = page.get_by_text("How row 20, column 3 of")
    expect(chosen).to_be_visible()
    lab.settle(page)
    main, sheet = page.get_by_test_id("stMain"), page.locator("[class*=st-key-explain-sheet] .js-plotly-plot")
    sheet.evaluate("sheet => (sheet.isTheFirst = true)")
    before = main.evaluate("main => [main.scrollTop, main.scrollHeight]")

    for row, column in ((10, 12), (11, 12), (13, 17)):
        shown.hover(position=middle(shown, row, column))
        expect(page.get_by_text(f"How row {row}, column {column} of")).to_be_visible()
        (value,) = re.findall(f"row {row}, column {column}: (.+), sees", page.locator(".line").inner_text())
        expect(page.get_by_text(f"Keras says {three_digits(value)}.")).to_be_visible()
        assert main.evaluate("main => [main.scrollTop, main.scrollHeight]") == before
    assert sheet.evaluate("sheet => sheet.isTheFirst")
    expect(page.get_by_role("slider", name="Row")).to_have_value("20")
    expect(shown).to_have_accessible_name(re.compile("The chosen unit sees rows 20 to 22"))

    page.mouse.move(0, 0)
    expect(chosen).to_be_visible()

    shown.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text("How row 20, column 4 of")).to_be_visible()
    page.keyboard.press("Escape")
    expect(chosen).to_be_visible()


def test_a_unit_is_chosen_by_keyboard(page, server, lab, finished_run):
    lab.open(page, server, "explain", finished_run)
    shown = feature_map(page)
    shown.click(position=middle(shown, 0, 1))
    expect(page.get_by_text("How row 0, column 1 of")).to_be_visible()
    page.mouse.move(0, 0)

    for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowDown", "ArrowRight"):  # twice against the edge
        page.keyboard.press(key)
    expect(page.get_by_text(re.compile("^row 2, column 1: .+, sees rows 2 to 4 and columns 1 to 3$"))).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("How row 2, column 1 of")).to_be_visible()

    page.keyboard.press("ArrowRight")  # the map is focused still
    page.keyboard.press("Space")
    expect(page.get_by_text("How row 2, column 2 of")).to_be_visible()
    expect(shown).to_be_focused()
    expect(shown).to_have_accessible_name(
        re.compile("The chosen unit sees rows 2 to 4 and columns 2 to 4 of the digit.")
    )


def test_another_digit_is_put_into_the_map_that_stands_there(page, server, lab, finished_run):
    lab.open(page, server, "explain", finished_run)
    shown = feature_map(page)
    digit = page.locator(".digit img")
    shown.evaluate("map => (map.isTheFirst = true)")
    before = digit.get_attribute("src")
    page.get_by_role("button", name="Another").click()

    expect(digit).not_to_have_attribute("src", before)
    assert shown.evaluate("map => map.isTheFirst")


def test_by_finger_a_tap_chooses(new_context, server, lab, finished_run):
    page = new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True).new_page()
    lab.open(page, server, "explain", finished_run)
    shown = feature_map(page)
    shown.tap(position=middle(shown, 5, 7))

    expect(page.get_by_text("How row 5, column 7 of")).to_be_visible()
    assert frames(page, ".map") == [[5, 7, 6, 8]]


def test_the_maps_come_with_their_checks_and_the_mind_is_changed(page, server, lab, console_errors, finished_run):
    errors = console_errors(page)
    lab.open(page, server, "explain", finished_run)
    page.get_by_text("Why this digit").click()
    expect(page.get_by_role("group", name=re.compile("Five maps"))).to_be_visible(timeout=60 * SECONDS)
    expect(page.get_by_text(re.compile("once all is forgotten|with nothing learned"))).to_have_count(
        5, timeout=60 * SECONDS
    )

    page.get_by_text("What would change its mind").click()
    expect(page.get_by_text(re.compile("Now it reads a"))).to_be_visible(timeout=60 * SECONDS)
    expect(page.get_by_role("group", name=re.compile("thinks each digit"))).to_be_visible(timeout=60 * SECONDS)

    assert errors == []
