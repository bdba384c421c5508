"""A training driven by hand, and what the doctor says of a bad one."""

import re

from playwright.sync_api import expect

SOON = 60_000


def test_a_training_is_driven_by_hand(page, server, lab):
    lab.open(page, server, "train")
    lab.set(page, "Epochs", 20)
    lab.set(page, "Images used", 6000)
    page.get_by_role("button", name="Start paused").click()
    page.wait_for_url(re.compile("run="))
    expect(lab.badge(page)).to_contain_text("paused", timeout=SOON)
    page.get_by_text("Time machine", exact=True).click()
    expect(page.get_by_text("It opens after the first batches.")).to_be_visible()
    lab.badge(page).click()  # a switch that has the focus keeps the keys to itself
    lab.settle(page)

    page.keyboard.press("Alt+b")  # one batch
    expect(page.get_by_text("1 batches taken")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("slider", name="After")).to_be_visible()  # by itself
    page.get_by_text("Time machine", exact=True).click()
    page.get_by_role("button", name="One batch").click()
    expect(page.get_by_text("2 batches taken")).to_be_visible()
    expect(page.get_by_text("After 2 batches.")).to_be_visible()  # the look inside

    page.get_by_role("button", name="One epoch").click()
    expect(page.get_by_text("169 batches taken")).to_be_visible(timeout=SOON)

    page.get_by_text("Turn while it runs").click()
    lab.set(page, "Learning rate now", 0.0005)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Resume").click()
    expect(lab.badge(page)).to_contain_text("training")
    mark = page.locator("[class*=st-key-loss-]").get_by_text("learning rate 0.0005")
    expect(mark.first).to_be_visible(timeout=SOON)  # a chart that is drawn anew stands there twice for a moment
    lab.wait_for_curve(page, beyond=2.5)

    page.get_by_role("button", name="Stop and keep").click()
    expect(lab.badge(page)).to_contain_text("stopped, kept", timeout=SOON)
    run = server.run(page.url.partition("run=")[2])
    assert [(turn.step, turn.name, turn.value) for turn in run.progress().changes] == [(169, "learning_rate", 0.0005)]
    assert run.steps()[:9] == [0, 1, 2, 4, 8, 16, 32, 64, 128]


def test_again_leads_to_the_new_run(page, server, lab, finished_run):
    lab.open(page, server, "train", run=finished_run)
    expect(lab.badge(page)).to_contain_text("finished")

    page.get_by_test_id("stMain").get_by_role("button", name="Again").click()

    page.wait_for_url(lambda url: "run=" in url and finished_run not in url)
    again = page.url.partition("run=")[2]
    expect(lab.badge(page)).to_contain_text(re.compile("waiting|training"))
    expect(lab.badge(page)).to_contain_text("finished", timeout=SOON)
    assert server.run(again).experiment() == server.run(finished_run).experiment()


def test_the_time_machine_goes_back_to_the_first_batches(page, server, lab, finished_run):
    lab.open(page, server, "train", run=finished_run)
    page.get_by_text("Time machine", exact=True).click()
    expect(page.get_by_text("What it reads in a 0")).to_be_visible(timeout=SOON)
    shown = page.get_by_text(re.compile("held-out digits right"))
    expect(shown).to_be_visible(timeout=SOON)
    at_the_end = float(shown.inner_text().partition("%")[0])

    page.get_by_role("slider", name="After").press("Home")

    expect(shown).not_to_contain_text(f"{at_the_end}%", timeout=SOON)
    assert float(shown.inner_text().partition("%")[0]) < 40 < at_the_end


def test_what_the_doctor_advises_becomes_the_next_recipe(page, server, lab):
    lab.open(page, server, "train")
    lab.set(page, "Images used", 6000)
    lab.set(page, "Learning rate", 1)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile("run="))
    advice = page.locator("[class*=st-key-try-]").get_by_role("button", name="Learning rate")
    expect(advice).to_be_visible(timeout=SOON)

    advice.click()

    expect(page.get_by_text("Changed for the next run:")).to_be_visible(timeout=SOON)
    expect(page.get_by_role("textbox", name="Learning rate", exact=True)).not_to_have_value("1")
    page.get_by_role("button", name=re.compile("Stop and keep")).click()


def test_a_decimal_comma_is_typed_and_meant(server, page, lab):
    lab.open(page, server, "train")
    rate = page.get_by_role("textbox", name="Learning rate", exact=True)
    rate.click()
    rate.press("Control+a")
    page.keyboard.type("0,005")
    page.keyboard.press("Enter")

    expect(page.get_by_text("was 0.001")).to_be_visible()
    expect(rate).to_have_value("0.005")
    lab.settle(page)
    rate.press("Control+a")
    page.keyboard.type("1.000,5")
    page.keyboard.press("Tab")

    expect(page.get_by_text("“1.000,5” is no number.")).to_contain_text("It stays 0.005.")
    expect(rate).to_have_value("1.000,5")
    lab.settle(page)
    lab.set(page, "Batch size", "1.000")
    expect(page.get_by_role("textbox", name="Batch size", exact=True)).to_have_value("1000")
    lab.go(page, "Build")
    page.get_by_text("Take it as Keras code").click()

    expect(page.get_by_text("LEARNING_RATE = 0.005")).to_be_visible()
    expect(page.get_by_text("BATCH_SIZE = 1000")).to_be_visible()
