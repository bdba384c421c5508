"""Before anything is trained, the network that came with the lab is in use: every page has something to show."""

from __future__ import annotations

import pytest

from core import shipped as reference
from core.runs import registry
from core.runs.progress import State

SHIPPED = "Reference (shipped)"


def menu(at) -> list[str]:
    """The runs that the sidebar offers."""
    return [option for select in at.sidebar.selectbox if select.label == "Network in use" for option in select.options]


@pytest.mark.parametrize("page", ["draw", "evaluate", "explain", "data"])
def test_a_page_is_about_it(visit, shipped, page):
    at = visit(page)

    assert not at.exception
    assert menu(at) == [SHIPPED]
    assert at.sidebar.selectbox[0].value == shipped.id
    assert "There is no network yet" not in "".join(info.value for info in at.info)
    assert "run" not in at.query_params


def test_the_first_page_draws_with_it_and_offers_to_train_one_s_own(visit, press, shipped, still_engine):
    at = visit("start")

    assert "#### Draw a digit" in [text.value for text in at.markdown]
    at = press(at, "Train my first network")
    assert still_engine.trained == [at.query_params["run"][0]] or still_engine.trained == [at.query_params["run"]]
    assert len(menu(at)) == 2


def test_train_is_about_what_one_trains_oneself(visit, shipped):
    at = visit("train")

    assert any("No run is open" in text.value for text in at.main.markdown)


def test_its_figures_stand_below_the_menu(visit, shipped):
    at = visit("draw")

    assert at.sidebar.caption[0].value.endswith(f"{reference.figures()['test']:.2%} on the test set")


def test_one_s_own_run_goes_before_it(visit, shipped, finished_run):
    at = visit("draw", finished_run)

    assert len(menu(at)) == 2
    assert at.sidebar.selectbox[0].value == finished_run.id


def test_a_link_may_name_it(visit, shipped):
    at = visit("train", shipped)

    assert at.query_params["run"] in (shipped.id, [shipped.id])
    assert any(f"#### {reference.NAME}" in text.value for text in at.main.markdown)


def test_in_local_mode_it_is_listed_once(visit, shipped, make_run, monkeypatch):
    monkeypatch.setenv("DIGITLAB_LOCAL", "1")
    make_run(State.FINISHED)

    assert menu(visit("draw")).count(SHIPPED) == 1


@pytest.mark.parametrize("named", ["{tmp_path}/file", "/proc/x", "s3://bucket/runs", "nonsense://runs", "a::b"])
def test_where_runs_can_t_be_kept_one_is_told_once_and_draws_with_it(visit, press, monkeypatch, tmp_path, named):
    monkeypatch.delenv("DIGITLAB_REFERENCE")
    (tmp_path / "file").write_text("no folder")
    named = named.format(tmp_path=tmp_path)
    monkeypatch.setenv("DIGITLAB_RUNS", named)

    at = visit("draw")

    assert not at.exception
    assert not at.error
    assert menu(at) == [SHIPPED]
    assert len(at.warning) == 1
    assert at.warning[0].value.startswith("Runs can't be kept here, only used for now. ")
    assert not list(registry.all_runs())
    at = visit("train", session=at)
    assert not at.warning
    refused = press(at, "Start training")
    assert ["can't be written" in error.value for error in refused.error] == [True]
    assert named not in "".join(element.value for element in [*refused.error, *at.warning])


def test_it_may_be_chosen_where_runs_can_t_be_kept(visit, monkeypatch):
    monkeypatch.delenv("DIGITLAB_REFERENCE")
    monkeypatch.setenv("DIGITLAB_RUNS", "/proc/x")

    at = visit("evaluate", reference.RUN_ID)

    assert not at.exception
    assert at.sidebar.selectbox[0].value == reference.RUN_ID
    assert not [warning for warning in at.warning if "There is no run" in warning.value]
