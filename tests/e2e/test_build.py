"""The editor under the keyboard, and the browser's part in keeping what was typed."""

from playwright.sync_api import expect


def parameters(page):
    return page.get_by_test_id("stMetric").filter(has_text="Parameters").get_by_test_id("stMetricValue")


def test_ctrl_z_undoes_and_ctrl_shift_z_redoes(server, page, lab):
    lab.open(page, server, "build")
    page.get_by_test_id("stMain").get_by_role("button", name="Flatten").click()
    problem = page.get_by_text("This stack can't be built yet")
    expect(problem).to_be_visible()
    lab.settle(page)

    page.keyboard.press("Control+z")
    expect(problem).to_have_count(0)
    expect(parameters(page)).to_have_text("607,394")
    expect(page.get_by_role("button", name="Redo")).to_be_enabled()
    lab.settle(page)
    page.keyboard.press("Control+Shift+Z")

    expect(problem).to_be_visible()


def test_what_is_typed_in_a_hurry_is_kept(server, page, lab):
    """Two fields, the second before the page has answered for the first."""
    lab.open(page, server, "build")
    page.get_by_text("1 Conv2D").click()
    filters, kernel_size = (page.get_by_role("spinbutton", name=name).first for name in ("Filters", "Kernel size"))

    filters.fill("8")
    filters.press("Tab")
    kernel_size.fill("5")
    kernel_size.press("Tab")

    expect(page.get_by_text("24 × 24 × 8 · 208 parameters")).to_be_visible()
    expect(filters).to_have_value("8")
    expect(kernel_size).to_have_value("5")
