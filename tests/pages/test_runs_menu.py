"""A visitor sees the runs that they made or opened; all of them on their own machine alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.engine.cluster import Phase
from core.runs import registry
from core.runs.allowance import Allowance
from core.runs.progress import State
from tests.page_fields import held_by_widgets


def menu(at) -> list[str]:
    """The runs that the sidebar offers."""
    return [option for select in at.sidebar.selectbox if select.label == "Network in use" for option in select.options]


def in_use(at) -> str | None:
    return at.query_params.get("run")


@pytest.fixture
def two_runs(make_run):
    return make_run(State.FINISHED, 2, name="The first"), make_run(State.INTERRUPTED, 1, name="The second")


def test_what_one_visitor_trains_another_does_not_see(visit, press):
    mine = press(visit("train"), "Start training")

    theirs = visit("train")

    assert len(menu(mine)) == 1
    assert menu(theirs) == []
    assert in_use(theirs) is None


def test_a_link_shows_its_run_and_no_other(visit, two_runs):
    at = visit("train", two_runs[0])

    assert len(menu(at)) == 1
    assert menu(at)[0].startswith("The first · ")
    assert in_use(at) == two_runs[0].id


def test_a_second_link_adds_to_the_list_and_is_in_use(visit, two_runs):
    at = visit("train", two_runs[0])

    visit("train", two_runs[1], session=at)

    assert len(menu(at)) == 2
    assert in_use(at) == two_runs[1].id
    assert at.sidebar.caption[0].value == "interrupted, 1 epoch, 62.50% on validation"


def test_a_clock_that_has_not_heard_of_the_next_run_yet_does_not_bring_the_last_one_back(visit, press, still_engine):
    at = press(visit("train"), "Start training")
    before = held_by_widgets(at)
    press(press(at.main, "Take out of the queue").main, "Start training")

    at._run(before)

    assert in_use(at) == still_engine.trained[1]


def test_in_local_mode_all_runs_are_there(visit, two_runs, monkeypatch):
    monkeypatch.setenv("DIGITLAB_LOCAL", "1")

    at = visit("train")

    assert sorted(label.split(" · ")[0] for label in menu(at)) == ["The first", "The second"]
    assert in_use(at) is None


def test_the_menu_changes_the_run_in_use_and_the_address(visit, two_runs):
    at = visit("train", two_runs[0])
    visit("train", two_runs[1], session=at)

    at.sidebar.selectbox[0].set_value(two_runs[0].id).run()

    assert not at.exception
    assert in_use(at) == two_runs[0].id
    assert at.sidebar.caption[0].value == "2 epochs, 81.25% on validation"
    assert any("The first" in text.value for text in at.main.markdown)


def test_the_run_in_use_follows_from_page_to_page(visit, two_runs):
    at = visit("train", two_runs[0])

    visit("evaluate", session=at)
    visit("start", session=at)

    assert in_use(at) == two_runs[0].id


def test_an_address_that_names_no_run_leaves_the_one_in_use(visit, two_runs):
    at = visit("train", two_runs[0])

    visit("train", "nonsense", session=at)

    assert len(at.warning) == 1
    assert in_use(at) == two_runs[0].id


def test_runs_of_one_name_and_second_are_told_apart(visit, make_run, monkeypatch):
    monkeypatch.setenv("DIGITLAB_LOCAL", "1")
    for _ in range(4):
        make_run(State.FINISHED)

    at = visit("train")

    assert len(set(menu(at))) == 4


def test_a_damaged_run_is_listed_as_such(visit, two_runs, monkeypatch):
    monkeypatch.setenv("DIGITLAB_LOCAL", "1")
    Path(two_runs[1].root, two_runs[1].id, "state.json").write_text("{")

    at = visit("train")

    assert not at.exception
    assert f"damaged · {two_runs[1].id}" in menu(at)


class TestDeletion:
    """One's own run, once it is over, asked once more."""

    def labels(self, at) -> list[str]:
        return [button.label for button in at.sidebar.button]

    def test_a_visitor_deletes_their_own_run_once_it_is_over(self, visit, press, still_engine):
        at = press(visit("train"), "Start training")
        run = registry.find(still_engine.trained[0])

        press(at.sidebar, "Delete for good")

        assert run.exists()
        assert any("under way. Stop it first" in warning.value for warning in at.warning)

        press(at.main, "Take out of the queue")
        press(at.sidebar, "Delete for good")

        assert not at.exception
        assert not run.exists()
        assert menu(at) == []
        assert in_use(at) is None
        assert not at.warning

    def test_the_newest_that_is_left_takes_its_place(self, visit, press, still_engine):
        at = press(visit("train"), "Start training")
        press(press(at.main, "Take out of the queue").main, "Start training")
        press(at.main, "Take out of the queue")
        older, newer = still_engine.trained

        assert in_use(at) == newer

        press(at.sidebar, "Delete for good")

        assert not at.exception
        assert in_use(at) == older

    def test_nobody_deletes_another_visitors_run_or_the_shipped_one(self, visit, two_runs, shipped):
        two_runs[0].write_record(replace(two_runs[0].record(), owner="another visitor"))

        assert "Delete for good" not in self.labels(visit("train", two_runs[0]))
        assert "Delete for good" not in self.labels(visit("draw", shipped))

    def test_on_ones_own_machine_any_may_go_damaged_ones_too(self, visit, press, two_runs, monkeypatch):
        monkeypatch.setenv("DIGITLAB_LOCAL", "1")
        for run in two_runs:
            at = visit("build", run)
            Path(run.root, run.id, "state.json").write_text("{")
            press(at.sidebar, "Delete for good")

            assert not at.exception
            assert not run.exists()

    def test_where_room_is_short_one_is_asked_to(self, visit, two_runs, still_engine, monkeypatch):
        still_engine._allowance = Allowance(used=12_300_000_000, most=10_000_000_000)

        assert not [text for text in visit("train").sidebar.caption if "Runs take" in text.value]

        monkeypatch.setenv("DIGITLAB_LOCAL", "1")

        assert [text for text in visit("train").sidebar.caption if "Runs take 12.3 GB of the 10.0 GB" in text.value]


def test_a_deleted_run_is_listed_no_more(visit, two_runs):
    at = visit("train", two_runs[0])
    visit("train", two_runs[1], session=at)
    two_runs[0].delete()

    assert [label.split(" · ")[0] for label in menu(at.run())] == ["The second"]


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.OFF, ":gray[:material/circle:] Engine asleep"),
        (Phase.STARTING, ":orange[:material/circle:] Engine starting"),
        (Phase.WARMING, ":orange[:material/circle:] TensorFlow loading"),
        (Phase.READY, ":green[:material/check_circle:] Engine ready"),
        (Phase.FAILED, ":red[:material/error:] Engine out of order"),
    ],
)
def test_the_strip_says_how_the_engine_is(visit, still_engine, phase, said):
    still_engine.be(phase)

    at = visit("train")

    assert at.sidebar.caption[0].value == said
