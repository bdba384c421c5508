"""The loop from data to drawing: its steps, and the start of a run."""

from __future__ import annotations

import streamlit as st

from core.engine import engine
from core.model import ledger
from core.model.draft import Draft
from core.runs import registry
from core.runs.progress import Command, Progress
from core.runs.run import Run
from core.training import fine_tuning
from ui import driving, navigation
from ui.state import runs, session


def start_training(draft: Draft, command: Command = engine.FULL_SPEED) -> None:
    """Make a run of a draft, queue it, and take it into use.

    Args:
        command: what it is to do from its first batch on.

    Raises:
        SpecError: if it can't be built.
        StorageFull: if its folder can't be written.
    """
    ledger.check(draft.experiment)
    run = registry.create(draft.experiment, draft.preset, owner=session.visitor())
    driving.train(run, command)
    runs.use_run(run)


def start_again(run: Run) -> None:
    """Start a new run of a run's recipe, from the same initial weights, and use it.

    Raises:
        DigitLabError: as `start_training`; RunDamaged if the recipe can't be read.
    """
    experiment = run.experiment()
    is_fine_tuning = experiment.fine_tuning is not None
    owner = session.visitor()
    again = (
        fine_tuning.again(run, owner) if is_fine_tuning else registry.create(experiment, run.record().name, owner=owner)
    )
    driving.train(again)
    runs.use_run(again)


def steps(progress: Progress | None) -> None:
    """Show the four steps as cards, those done ticked, the next one marked."""
    has_begun = progress is not None
    has_learned = has_begun and bool(progress.history)
    cards = [
        (navigation.BUILD, "Build", "account_tree", "Stack layers; see at once what each one costs.", has_begun),
        (navigation.TRAIN, "Train", "model_training", "Watch the loss fall, pause, go on.", has_learned),
        (navigation.EVALUATE, "Evaluate", "fact_check", "Find the digits it mistakes, and for what.", has_learned),
        (navigation.DRAW, "Draw", "draw", "Your hand, its answer.", False),
    ]
    next_step = next(place for place, card in enumerate(cards) if not card[-1])
    grid = st.grid(min_column_width=150)
    for place, (page, title, icon, said, is_done) in enumerate(cards):
        with grid.container(border=True, height="stretch"):
            mark = ":green[:material/check_circle:]" if is_done else ":material/arrow_circle_right:"
            st.page_link(page, label=f"**{place + 1}  {title}**", icon=f":material/{icon}:")
            st.caption(f"{mark if is_done or place == next_step else ''} {said}")
