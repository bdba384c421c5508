"""A run is driven from the page, outlives it, and is taken up again where a dead worker left it."""

import re

import pytest
from playwright.sync_api import expect

from core.runs.progress import State
from tests.e2e.places import wait_until

SECONDS = 1000
SOON = 30 * SECONDS
PAUSE = re.compile("^Pause")  # and not "Start paused"


def button(page, name):
    return page.get_by_test_id("stMain").get_by_role("button", name=name)


@pytest.fixture
def long_run(server, page, lab) -> str:
    """A run on the page that goes on for as long as a test needs, and was seen to move."""
    lab.open(page, server, "train")
    run_id = lab.start_training(page, images=5000, epochs=100)
    lab.wait_for_curve(page, beyond=0)
    yield run_id
    if not server.run(run_id).record().state.is_over and not page.is_closed():
        button(page, "Stop and keep").click()
        expect(lab.badge(page)).to_contain_text("stopped")


def test_it_pauses_goes_on_and_stops(server, page, lab, long_run):
    button(page, PAUSE).click()
    expect(lab.badge(page)).to_contain_text("paused", timeout=SOON)
    batches = page.get_by_text("batches taken").inner_text().partition(" · ")[2].partition(" ")[0]
    stood = int(batches.replace(",", "")) / server.run(long_run).progress().steps_per_epoch
    page.reload()
    expect(lab.badge(page)).to_contain_text("paused")
    assert lab.wait_for_curve(page, beyond=stood - 0.05) < stood + 0.05  # its last point is a mean of some batches
    assert server.run(long_run).record().state is State.PAUSED

    button(page, "Resume").click()
    expect(lab.badge(page)).to_contain_text("training", timeout=SOON)
    lab.wait_for_curve(page, beyond=stood + 1)

    button(page, "Stop and keep").click()
    expect(lab.badge(page)).to_contain_text("stopped, kept", timeout=SOON)
    expect(button(page, "Model (.keras)")).to_be_visible()
    expect(button(page, re.compile("Go on from epoch"))).to_be_visible()
    assert server.run(long_run).record().state is State.STOPPED
    lab.go(page, "Draw")
    lab.draw_seven(page)
    expect(page.get_by_role("heading", name="This is a")).to_be_visible()


def test_alt_p_pauses_and_resumes_and_p_alone_does_nothing(page, lab, long_run):
    page.keyboard.press("x")  # once stopped a run
    page.keyboard.press("Alt+p")
    expect(lab.badge(page)).to_contain_text("paused", timeout=SOON)
    expect(button(page, "Resume")).to_be_enabled()
    lab.settle(page)

    page.keyboard.press("p")
    page.keyboard.press("Alt+p")

    expect(lab.badge(page)).to_contain_text("training", timeout=SOON)


def test_another_visitor_with_the_link_sees_the_same_run_and_cannot_drive_it(server, page, lab, long_run, new_context):
    other = new_context().new_page()
    lab.open(other, server, "train", long_run)
    expect(lab.badge(other)).to_contain_text("training")
    far = lab.wait_for_curve(other, beyond=lab.epochs_drawn(page))
    lab.wait_for_curve(other, beyond=far)

    expect(other.get_by_text("You can watch this run, but not drive it")).to_be_visible()
    expect(button(other, PAUSE)).to_be_disabled()
    expect(button(other, "Stop and keep")).to_be_disabled()
    button(page, PAUSE).click()
    expect(lab.badge(other)).to_contain_text("paused", timeout=SOON)
    expect(button(other, "Resume")).to_be_disabled()
    expect(button(page, "Resume")).to_be_enabled()
    lab.settle(page)
    button(page, "Resume").click()
    expect(lab.badge(other)).to_contain_text("training", timeout=SOON)


def test_a_second_run_waits_for_the_first(page, lab, long_run, server):
    second = lab.start_training(page, images=500, epochs=1)
    expect(lab.badge(page)).to_contain_text("waiting")
    expect(page.get_by_text("Place 1 in the queue")).to_be_visible()
    assert second != long_run

    lab.open(page, server, "train", long_run)
    button(page, "Stop and keep").click()
    expect(lab.badge(page)).to_contain_text("stopped")
    lab.open(page, server, "train", second)

    expect(lab.badge(page)).to_contain_text("finished")


def test_it_goes_on_to_its_end_when_the_tab_is_closed(server, new_context, lab):
    context = new_context()
    page = context.new_page()
    lab.open(page, server, "train")
    run_id = lab.start_training(page, images=3000, epochs=6)
    lab.wait_for_curve(page, beyond=0)
    context.close()
    assert not server.run(run_id).record().state.is_over

    wait_until(lambda: server.run(run_id).record().state.is_over, 60)

    assert server.run(run_id).record().state is State.FINISHED
    assert len(server.run(run_id).progress().history) == 6


@pytest.mark.parametrize("rubbish", ["../../etc/passwd", "a" * 16, "<b>run</b>"])
def test_a_link_to_no_run_says_so(server, page, lab, rubbish):
    lab.open(page, server, "train", rubbish)

    expect(page.get_by_test_id("stAlert")).to_contain_text(re.compile("is no run's id|There is no run"))
    expect(button(page, "Start training")).to_be_enabled()
    assert "run=" not in page.url


class TestKilledWorker:
    def test_the_run_is_interrupted_the_next_just_works_and_the_first_goes_on(self, server, page, lab):
        lab.open(page, server, "train")
        lost = lab.start_training(page, images=2000, epochs=6)
        wait_until(lambda: server.run(lost).progress().history, 60)
        server.worker().kill()

        expect(lab.badge(page)).to_contain_text("interrupted", timeout=SOON)
        go_on = button(page, re.compile(r"Go on from epoch \d+"))
        expect(go_on).to_be_enabled()
        assert server.run(lost).record().state is State.INTERRUPTED
        kept = server.run(lost).progress().history

        lab.start_training(page, images=500, epochs=1)
        expect(lab.badge(page)).to_contain_text("finished", timeout=120 * SECONDS)

        lab.open(page, server, "train", lost)
        expect(lab.badge(page)).to_contain_text("interrupted")
        expect(go_on).to_have_text(re.compile(f"Go on from epoch {kept[-1].epoch}"))
        go_on.click()
        expect(lab.badge(page)).to_contain_text("finished", timeout=120 * SECONDS)
        assert len(server.run(lost).progress().history) == 6
        assert len(server.run(lost).progress().loss) == 6 * server.run(lost).progress().steps_per_epoch
