"""The run in use, and those of a session."""

from __future__ import annotations

import pytest

from core.errors import RunError, RunNotFound
from core.runs import registry
from core.runs.network import Network
from ui.state import runs, session
from ui.state.runs import Runs


@pytest.fixture
def three(tiny) -> list:
    """Three runs that were taken into use, one after the other."""
    made = [registry.create(tiny, name) for name in ("One", "Two", "Three")]
    for run in made:
        runs.use_run(run)
    return made


@pytest.fixture
def address(monkeypatch) -> dict[str, str | None]:
    """What the page's address says."""
    address: dict[str, str | None] = {}
    monkeypatch.setattr(session, "parameter", address.get)
    monkeypatch.setattr(session, "set_parameter", address.__setitem__)
    return address


def test_there_is_no_run_at_first():
    assert runs.run_in_use() is None
    assert runs.visible_runs() == []


def test_without_a_choice_the_shipped_run_is_in_use(shipped):
    assert runs.chosen_run() is None
    assert runs.run_in_use() == shipped
    assert runs.visible_runs() == [shipped]


def test_the_last_is_in_use_and_the_newest_stands_first(three):
    one, two, last = three

    assert runs.run_in_use() == last
    assert runs.visible_runs() == [last, two, one]


def test_a_run_of_others_is_not_seen_but_on_one_s_own_machine(tiny, three, monkeypatch):
    other = registry.create(tiny, "Another's")

    assert other not in runs.visible_runs()
    monkeypatch.setenv("DIGITLAB_LOCAL", "1")
    assert other in runs.visible_runs()


def test_the_newest_takes_the_place_of_one_that_is_forgotten(three):
    one, two, last = three

    runs.forget_run(last.id)
    runs.forget_run(one.id)

    assert runs.chosen_run() == two
    runs.forget_run(two.id)
    assert runs.chosen_run() is None


def test_a_run_that_is_gone_is_said_once_and_forgotten(three):
    three[-1].delete()

    assert runs.chosen_run() is None
    assert len(session.take_messages()) == 1
    assert runs.chosen_run() == three[1]
    assert session.take_messages() == []


def test_the_address_opens_a_run_and_names_the_one_in_use(tiny, three, address):
    opened = registry.create(tiny, "Opened")
    address["run"] = opened.id

    runs.follow_url()
    assert runs.chosen_run() == opened
    runs.use_run(three[0])
    runs.follow_url()

    assert runs.chosen_run() == three[0]
    assert address["run"] == three[0].id


def test_an_address_that_names_no_run_is_said_and_mended(three, address):
    address["run"] = "nosuchrunatallanywhere"

    runs.follow_url()

    assert len(session.take_messages()) == 1
    assert address["run"] == three[-1].id


def test_a_run_that_is_nowhere_is_not_found():
    with pytest.raises(RunNotFound):
        runs.find_run("nosuchrunatallanywhere")


def test_a_step_is_chosen_for_each_run():
    assert runs.chosen_step("one") is None
    runs.choose_step("one", 8)
    assert (runs.chosen_step("one"), runs.chosen_step("another")) == (8, None)


def test_the_time_machine_is_at_the_kept_step_nearest_to_the_chosen_one():
    steps = [0, 4, 8, 16]

    assert runs.moment("one", steps) == 16
    runs.go_to_moment("one", 5)
    assert runs.moment("one", steps) == 4


def test_opening_the_test_set_is_counted_once_for_each_network(three):
    network = Network(three[0], 0)

    runs.open_test(network)
    runs.open_test(network)

    assert runs.is_test_open(network)
    assert not runs.is_test_open(Network(three[1], 0))
    assert session.part(Runs).open_tests == {network}


def test_the_test_set_of_a_run_that_is_gone_stays_closed(three):
    network = Network(three[0], 0)
    three[0].delete()

    with pytest.raises(RunError):
        runs.open_test(network)
    assert not runs.is_test_open(network)
