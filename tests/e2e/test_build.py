"""The editor under the keyboard and the mouse, and the browser's part in keeping what was typed."""

import re

import pytest
from playwright.sync_api import expect

from core.model import ledger
from core.model.presets import FIRST_CNN, LENET_5


@pytest.fixture
def parameters():
    """A function of a page: where it says how many parameters the stack has."""
    return lambda page: page.get_by_test_id("stMetric").filter(has_text="Parameters").get_by_test_id("stMetricValue")


def layers(page):
    """The layers' headings, in order."""
    return page.locator("[class*=st-key-open-]").get_by_role("button")


def row(page, what: str):
    """What a row says in words of its pictures."""
    return page.get_by_role("img", name=what)


def plain(heading: str) -> str:
    """A heading without what it says of the preset."""
    return " ".join(heading.replace("added", "").split())


def add(page, lab, kind: str) -> None:
    before = layers(page).count()
    page.locator(f".st-key-add-{kind}").get_by_role("button").click()
    expect(layers(page)).to_have_count(before + 1)
    lab.settle(page)


def choose(page, lab, label: str, option: str) -> None:
    """Of the layer added last, which is open."""
    box = page.get_by_role("combobox", name=label).last
    box.evaluate("box => box.scrollIntoView({ block: 'center' })")
    lab.settle(page)
    box.click()
    page.get_by_role("option", name=option, exact=True).click()
    expect(box).to_have_value(option)
    lab.settle(page)


def set_number(page, lab, label: str, value: int) -> None:
    box = page.get_by_role("textbox", name=label).last
    box.fill(str(value))
    box.press("Enter")
    expect(page.get_by_test_id("stTextInput").filter(has_text="Press Enter")).to_have_count(0)
    lab.settle(page)


def close_last(page, lab) -> None:
    layers(page).last.click()
    expect(page.get_by_role("button", name="Duplicate")).to_have_count(0)
    lab.settle(page)


def add_convolution(page, lab, filters: int, padding: str) -> None:
    add(page, lab, "Conv2D")
    set_number(page, lab, "Filters", filters)
    set_number(page, lab, "Kernel size", 5)
    choose(page, lab, "Activation", "tanh")
    if padding != "valid":
        choose(page, lab, "Padding", padding)
    close_last(page, lab)


def add_plain(page, lab, kind: str) -> None:
    add(page, lab, kind)
    close_last(page, lab)


def add_dense(page, lab, units: int) -> None:
    add(page, lab, "Dense")
    set_number(page, lab, "Units", units)
    choose(page, lab, "Activation", "tanh")
    close_last(page, lab)


def test_lenet_5_is_built_by_hand_undone_redone_and_shared(server, new_context, lab, parameters):
    page = new_context().new_page()
    lab.open(page, server, "build")
    page.get_by_role("button", name="Clear").click()
    expect(layers(page)).to_have_count(0)
    lab.settle(page)

    add_convolution(page, lab, 6, "same")
    add_plain(page, lab, "AveragePooling2D")
    add_convolution(page, lab, 16, "valid")
    add_plain(page, lab, "AveragePooling2D")
    add_plain(page, lab, "Flatten")
    add_dense(page, lab, 120)
    add_dense(page, lab, 84)

    whole = f"{ledger.read(LENET_5.experiment.layers).parameters:,}"
    expect(parameters(page)).to_have_text(whole)
    headings = layers(page).all_inner_texts()

    page.get_by_role("heading", name="Layers").click()  # a field that has the focus keeps the keys to itself
    page.keyboard.press("Control+z")
    expect(row(page, "Makes 84. ")).to_have_count(1)
    expect(parameters(page)).to_have_text(whole)
    lab.settle(page)
    page.keyboard.press("Control+z")
    expect(row(page, "Makes 84. ")).to_have_count(0)
    lab.settle(page)
    page.keyboard.press("Control+Shift+Z")
    expect(row(page, "Makes 84. ")).to_have_count(1)
    lab.settle(page)
    page.keyboard.press("Control+Shift+Z")
    expect(layers(page).last).to_contain_text("84 units, tanh")
    lab.settle(page)

    page.get_by_text("Share it").click()
    address = page.get_by_test_id("stCode").filter(has_text="?net=").inner_text().strip()
    assert address.startswith(f"{server.url}/build?net=")
    assert len(address) < 2000

    other = new_context().new_page()
    other.goto(address)
    expect(parameters(other)).to_have_text(whole)

    assert [plain(text) for text in layers(other).all_inner_texts()] == [plain(text) for text in headings]


def test_ctrl_z_undoes_and_ctrl_shift_z_redoes(server, page, lab, parameters):
    lab.open(page, server, "build")
    page.locator(".st-key-add-Flatten").get_by_role("button").click()
    problem = page.get_by_text("This stack can't be built yet")
    expect(problem).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_be_enabled()
    lab.settle(page)

    page.keyboard.press("Control+z")
    expect(problem).to_have_count(0)
    expect(parameters(page)).to_have_text("607,394")
    expect(page.get_by_role("button", name="Redo")).to_be_enabled()
    lab.settle(page)
    page.keyboard.press("Control+Shift+Z")

    expect(problem).to_be_visible()


def test_ctrl_z_in_a_field_is_the_fields_own(server, page, lab):
    lab.open(page, server, "build")
    page.locator(".st-key-add-Flatten").get_by_role("button").click()
    problem = page.get_by_text("This stack can't be built yet")
    expect(problem).to_be_visible()
    page.get_by_role("button", name="1 Conv2D").click()
    filters = page.get_by_role("textbox", name="Filters").first
    expect(filters).to_be_visible()
    lab.settle(page)

    filters.press_sequentially("1")
    filters.press("Control+z")
    filters.press("Control+z")
    lab.settle(page)

    expect(page.get_by_role("button", name="Redo")).to_be_disabled()
    expect(problem).to_be_visible()
    page.get_by_role("heading", name="Layers").click()
    lab.settle(page)
    page.keyboard.press("Control+z")
    expect(problem).to_have_count(0)


def test_what_is_typed_in_a_hurry_is_kept(server, page, lab):
    """Two fields, the second before the page has answered for the first."""
    lab.open(page, server, "build")
    page.get_by_role("button", name="1 Conv2D").click()
    filters, kernel_size = (page.get_by_role("textbox", name=name).first for name in ("Filters", "Kernel size"))

    filters.fill("8")
    filters.press("Tab")
    kernel_size.fill("5")
    kernel_size.press("Tab")

    expect(row(page, "Makes 24 × 24 × 8. 208 parameters")).to_be_visible()
    expect(filters).to_have_value("8")
    expect(kernel_size).to_have_value("5")


def test_undo_gives_an_open_layer_its_old_values_and_leaves_it_open(server, page, lab):
    lab.open(page, server, "build")
    page.get_by_role("button", name="1 Conv2D").click()
    filters = page.get_by_role("textbox", name="Filters")
    filters.fill("8")
    filters.press("Enter")
    expect(row(page, "Makes 26 × 26 × 8. ")).to_have_count(1)
    filters.evaluate("field => { field.isTheSame = true; }")
    lab.settle(page)

    page.get_by_role("button", name="Undo").click()

    expect(filters).to_have_value("28")
    assert filters.evaluate("field => field.isTheSame")


def test_a_layer_is_opened_and_changed_with_the_keyboard_alone(server, page, lab):
    lab.open(page, server, "build")
    page.get_by_role("button", name="1 Conv2D").focus()
    page.keyboard.press("Enter")
    filters = page.get_by_role("textbox", name="Filters")
    expect(filters).to_be_visible()
    lab.settle(page)

    for _ in range(6):
        page.keyboard.press("Tab")
        if filters.evaluate("field => field === document.activeElement"):
            break
    page.keyboard.type("9")
    page.keyboard.press("Enter")

    expect(row(page, "Makes 26 × 26 × ")).not_to_have_count(0)
    expect(filters).to_have_value(re.compile("9"))


def test_an_epoch_is_measured_when_the_stack_is_left_alone(server, page, lab):
    lab.open(page, server, "build")

    epoch = page.get_by_test_id("stMetric").filter(has_text="Epoch here").get_by_test_id("stMetricValue")

    expect(epoch).to_have_text(re.compile(r"≈ [\d.,]+ s"), timeout=90_000)


def test_nothing_of_one_preset_stays_under_another(server, page, lab):
    """Whatever the page's clocks do meanwhile: an epoch is being measured, and the status strip looks every few seconds."""
    lab.open(page, server, "build")
    for turn in range(5):
        preset = (LENET_5, FIRST_CNN)[turn % 2]
        page.get_by_role("combobox", name="Start from").click()
        page.get_by_role("option", name=preset.name).click()
        expect(page.get_by_text(preset.about)).to_be_visible()
        page.wait_for_timeout(700 + 250 * turn)
        lab.settle(page)

        assert layers(page).count() == len(preset.experiment.layers)
