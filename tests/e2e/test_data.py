"""The digits by keys and by lasso, with a network that reads them all."""

import re

from playwright.sync_api import expect

from core.data import datasets
from tests.e2e.places import box

SOON = 90_000


def test_one_leafs_by_keys_and_clicks_and_the_network_sorts(
    page, server, lab, environment, finished_run, console_errors
):
    errors = console_errors(page)
    lab.open(page, server, "data", run=finished_run)
    y_train = datasets.read_npz(environment["DIGITLAB_MNIST"])[1]
    training = server.run(finished_run).experiment().training
    trained_on, _ = datasets.split(y_train, training.train_size, training.validation_split, training.seed)
    first, second, third = (f"number {index:,}," for index in trained_on[:3])
    number = page.get_by_text(re.compile(r"image number \d"))
    expect(number).to_contain_text(first)
    expect(page.get_by_text(re.compile("reads a"))).to_be_visible(timeout=SOON)
    lab.settle(page)
    # The first by the mouse: keys are heard some hundred milliseconds after the page stands.
    page.get_by_role("button", name=re.compile("^On")).click()
    expect(number).to_contain_text(second)
    lab.settle(page)
    page.keyboard.press("ArrowRight")
    expect(number).to_contain_text(third)
    page.keyboard.press("Shift+ArrowRight")
    expect(page.get_by_role("button", name="Sheet back")).to_be_enabled()
    lab.settle(page)
    drawn = page.locator("[class*=st-key-sheet-] .nsewdrag")
    expect(drawn).to_have_count(1)  # the sheet before it is gone
    sheet = box(drawn)
    before = number.inner_text()

    page.mouse.click(sheet["x"] + 0.46 * sheet["width"], sheet["y"] + 0.3 * sheet["height"])

    expect(number).not_to_have_text(before)
    page.get_by_role("combobox", name="Sorted by").click()
    page.get_by_role("option", name="Hardest first").click()
    expect(page.get_by_text("Nearest to the network")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("group", name="Training digits nearest by what")).to_be_visible(timeout=SOON)

    page.get_by_role("button", name="Explain").click()

    expect(page.locator("h1")).to_have_text("Explain")
    assert errors == []


def test_a_lasso_on_the_map_shows_its_digits(page, server, lab, finished_run, console_errors):
    errors = console_errors(page)
    lab.open(page, server, "data", run=finished_run)
    page.get_by_text("Map", exact=True).click()
    digits = page.locator("canvas.map")
    expect(digits).to_be_visible(timeout=SOON)
    page.get_by_text("t-SNE", exact=True).click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(digits).to_have_attribute("aria-label", re.compile("t-SNE of pixels"), timeout=SOON)
    lab.settle(page)
    sheet = box(digits)
    at = [
        (sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["height"])
        for x, y in ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
    ]

    page.mouse.move(*at[0])
    page.mouse.down()
    for corner in [*at[1:], at[0]]:
        page.mouse.move(*corner, steps=5)
    page.mouse.up()

    expect(page.get_by_text(re.compile(r"[1-9][\d,]* picked"))).to_be_visible()
    expect(page.get_by_role("group", name="The picked digits").get_by_role("img").first).to_be_visible()

    page.get_by_text("Error", exact=True).click()

    expect(page.get_by_text(re.compile("read wrong"))).to_be_visible(timeout=SOON)
    assert errors == []


def test_the_map_is_walked_by_keyboard_and_a_cancelled_pointer_draws_no_lasso(page, server, lab, finished_run):
    lab.open(page, server, "data", run=finished_run)
    page.get_by_text("Map", exact=True).click()
    digits = page.locator("canvas.map")
    expect(digits).to_be_visible(timeout=SOON)
    lab.settle(page)
    digits.scroll_into_view_if_needed()
    sheet = box(digits)
    page.mouse.move(sheet["x"] + 0.2 * sheet["width"], sheet["y"] + 0.2 * sheet["height"])
    page.mouse.down()
    page.mouse.move(sheet["x"] + 0.8 * sheet["width"], sheet["y"] + 0.5 * sheet["height"], steps=5)
    digits.dispatch_event("pointercancel")
    page.mouse.move(sheet["x"] + 0.2 * sheet["width"], sheet["y"] + 0.8 * sheet["height"], steps=5)
    page.mouse.up()
    expect(page.get_by_text("Nothing is picked.")).to_be_visible()
    page.mouse.move(0, 0)

    digits.focus()
    shown = page.locator("figcaption")
    for key in ["ArrowRight"] * 8 + ["ArrowUp"] * 8:
        page.keyboard.press(key)
        if shown.is_visible():
            break
    expect(shown).to_be_visible()
    digit = shown.inner_text().partition(" ")[0]
    page.keyboard.press("Enter")

    expect(page.get_by_text(f"1 picked: 1 × {digit}")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Nothing is picked.")).to_be_visible()
