"""From a layer's argument to a drawn digit, as a visitor goes it."""

import re

from playwright.sync_api import expect

SECONDS = 1000


def test_from_a_layer_to_a_seven(server, page, lab):
    lab.open(page, server, "build")
    parameters = page.get_by_test_id("stMetric").filter(has_text="Parameters").get_by_test_id("stMetricValue")
    expect(parameters).to_have_text("607,394")

    page.get_by_role("button", name="1 Conv2D").click()
    lab.set(page, "Filters", 16)
    expect(parameters).to_have_text("347,690")
    expect(page.get_by_role("img", name="Makes 26 × 26 × 16. 160 parameters")).to_be_visible()

    lab.go(page, "Train")
    run_id = lab.start_training(page, images=5000, epochs=8)
    expect(lab.badge(page)).to_contain_text("training", timeout=60 * SECONDS)
    first = lab.wait_for_curve(page, beyond=0)
    second = lab.wait_for_curve(page, beyond=first)

    page.reload()
    assert lab.wait_for_curve(page, beyond=second) > second
    expect(lab.badge(page)).to_contain_text("First CNN")
    assert page.url.endswith(f"?run={run_id}")
    expect(lab.badge(page)).to_contain_text("finished", timeout=60 * SECONDS)
    lab.wait_for_curve(page, beyond=7.9)
    expect(page.get_by_role("button", name="Model (.keras)")).to_be_visible()

    lab.go(page, "Evaluate")
    expect(page.get_by_role("heading", name="Digit by digit")).to_be_visible()
    accuracy = page.get_by_test_id("stMetric").filter(has_text="Accuracy").get_by_test_id("stMetricValue")
    assert float(accuracy.inner_text().rstrip("%")) > 80
    expect(page.get_by_role("heading", name="Surest mistakes")).to_be_visible()
    said = page.get_by_text("Most often, a").inner_text()
    true, predicted, count = re.search(r"a (\d) is read as a (\d): (\d+) time", said).groups()
    lab.click_cell(page, int(true), int(predicted))
    expect(page.get_by_role("heading", name=f"{true} read as {predicted}")).to_be_visible()
    expect(page.get_by_text(f"{count} digit")).to_be_visible()
    expect(page.locator(".st-key-gallery")).to_contain_text(f"{true} → {predicted}")
    lab.click_cell(page, int(true), int(predicted))
    expect(page.get_by_role("heading", name="Surest mistakes")).to_be_visible()

    lab.go(page, "Draw")
    lab.draw_seven(page)
    expect(page.locator("[data-digit='7']")).to_be_visible()
    expect(page.get_by_role("heading", name="This is a 7")).to_be_visible()
    expect(page.get_by_alt_text("The drawing as 28 by 28 pixels.")).to_be_visible()


class TestCanvas:
    def test_it_is_there_after_a_visit_to_another_page(self, server, page, lab, finished_run):
        lab.open(page, server, "draw", finished_run)
        lab.draw_seven(page)
        answer = page.get_by_role("heading", name="This is a")
        expect(answer).to_be_visible()
        said = answer.inner_text()

        lab.go(page, "Data")
        lab.go(page, "Draw")

        expect(answer).to_have_text(said)
        expect(page.get_by_alt_text("The drawing as 28 by 28 pixels.")).to_be_visible()
