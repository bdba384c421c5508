"""Three drawings of one's own hand are kept by mouse, seen in Data, and a network goes on learning from them."""

from playwright.sync_api import expect

SECONDS = 1000
DRAWN = {
    7: [(0.24, 0.18), (0.70, 0.18), (0.62, 0.38), (0.52, 0.60), (0.42, 0.84)],
    1: [(0.5, 0.15), (0.5, 0.85)],
    4: [(0.35, 0.15), (0.25, 0.55), (0.7, 0.55), (0.6, 0.3), (0.6, 0.88)],
}


def test_three_drawings_are_kept_and_learned(server, page, lab, finished_run):
    page.set_viewport_size({"width": 1360, "height": 1300})  # so that nothing scrolls away under the mouse
    lab.open(page, server, "draw", finished_run)
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=60 * SECONDS)
    labels = page.locator("[class*=st-key-keep-] [role=radio]")
    for count, (digit, points) in enumerate(DRAWN.items(), start=1):
        lab.draw(page, *points)
        expect(labels).to_have_count(10)
        labels.nth(digit).click()
        expect(page.get_by_text(f"{count} kept, this as a {digit}")).to_be_visible()
        if digit == 1:
            page.locator(".st-key-undo-keeping button").click()
            expect(page.get_by_text("1 kept", exact=True)).to_be_visible()
            labels.nth(digit).click()
            expect(page.get_by_text("2 kept, this as a 1")).to_be_visible()
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()
        lab.settle(page)

    page.get_by_role("radio", name="My handwriting").click()
    expect(page.get_by_text(" of 3", exact=False).first).to_be_visible()
    before = page.url
    page.get_by_role("button", name="Fine-tune").click()
    page.wait_for_url(lambda url: "/train" in url and url != before)
    expect(lab.badge(page)).to_contain_text("my hand")
    expect(lab.badge(page)).to_contain_text("finished", timeout=60 * SECONDS)
    expect(page.get_by_text("At last it read a").first).to_be_visible()
    run = server.run(page.url.partition("run=")[2])
    assert run.experiment().fine_tuning.run_id == finished_run
    assert sorted(run.drawings().labels) == [1, 4, 7]

    lab.go(page, "Draw")
    expect(page.get_by_role("heading", name="Before and after")).to_be_visible()
    expect(page.get_by_text("it was trained on these: none were held out")).to_be_visible()
    expect(page.get_by_text("digits that neither network was trained on")).to_be_visible()

    lab.go(page, "Data")
    page.get_by_role("radio", name="My hand").click()
    expect(page.get_by_text("3 drawings of your own hand")).to_be_visible()
