"""The first page says where one is in the loop, and begins it with one click."""

from __future__ import annotations

import pytest

from core.model.presets import FAST_99
from core.runs import registry
from core.runs.progress import State


def cards(at) -> list[tuple[str, str]]:
    """The four steps: what each is called, and its mark."""
    titles = [link.label.strip("*").split()[-1] for link in at.get("page_link") if link.label.startswith("**")]
    marks = [caption.value.split(" ")[0] for caption in at.main.caption][-4:]
    return list(zip(titles, ["done" if "check" in m else "next" if "arrow" in m else "" for m in marks], strict=True))


def test_one_click_trains_a_first_network(visit, press, still_engine):
    at = press(visit("start"), "Train my first network")

    run = registry.find(at.query_params["run"])
    assert not at.exception
    assert at.title[0].value == "Train"
    assert run.experiment() == FAST_99.experiment
    assert still_engine.trained == [run.id]


@pytest.mark.parametrize(
    ("state", "epochs", "marks"),
    [
        (None, 0, ["next", "", "", ""]),
        (State.QUEUED, 0, ["done", "next", "", ""]),
        (State.RUNNING, 0, ["done", "next", "", ""]),
        (State.FINISHED, 2, ["done", "done", "done", "next"]),
    ],
)
def test_the_steps_say_what_is_done_and_what_is_next(visit, make_run, state, epochs, marks):
    at = visit("start", make_run(state, epochs) if state else None)

    assert cards(at) == list(zip(["Build", "Train", "Evaluate", "Draw"], marks, strict=True))


def test_with_a_network_one_draws_right_here(visit, finished_run):
    at = visit("start", finished_run)

    assert "Train my first network" not in [button.label for button in at.button]
    assert "#### Draw a digit" in [text.value for text in at.markdown]
