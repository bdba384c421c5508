"""The conditions of a page: if something is missing, the page says so and shows the way to it."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from core.engine import engine
from core.errors import RunDamaged
from core.runs.network import Network
from core.runs.progress import Progress
from core.runs.run import Run
from ui import digits, navigation
from ui.state import runs

LOOK_SECONDS = 1.0


def trained_network(purpose: str) -> Network:
    """Return the network in use: that of its run's best epoch, unless another was chosen. The page stops here where no epoch is
    finished.

    Args:
        purpose: what such a network does on this page, for the sentence.
    """
    run = runs.run_in_use()
    if run is None:
        _stop(f"There is no network yet that {purpose}.", "Train one")
    progress = engine.shared().progress(run)
    network = network_of(run, progress)
    if network is None:
        await_first_epoch(run, progress)
        _stop(
            f"The network in use hasn't finished its first epoch ({progress.state}). After it, it {purpose}.",
            "Watch it learn" if not progress.state.is_over else "Train another",
        )
    if digits.is_of_other(run):
        st.info(
            "This network was trained on other digits than those in use now. Figures and digits here are of those in use now.",
            icon=":material/swap_horiz:",
        )
    return network


def network_in_use() -> Network | None:
    """Return the network in use; None if there is none yet, or its run can't be read, which the sidebar tells."""
    run = runs.run_in_use()
    if run is None:
        return None
    with suppress(RunDamaged):
        run.experiment()  # whose splits are looked at
        return network_of(run, engine.shared().progress(run))
    return None


def network_of(run: Run, progress: Progress) -> Network | None:
    """Return the network that is meant where a run is: as chosen, where that is still kept, else at its best epoch's end; None where
    no epoch is finished.

    Raises:
        RunDamaged: if that one isn't there any more.
    """
    if not progress.history:
        return None
    kept, best = run.steps(), progress.step_of(progress.best.epoch)
    step = next((step for step in (runs.chosen_step(run.id), best) if step in kept), None)
    if step is None:
        raise RunDamaged(
            f"Run {run.id} has lost the network of its best epoch. Choose another epoch of it in the sidebar, or another run."
        )
    return Network(run, step)


def await_first_epoch(run: Run, progress: Progress) -> None:
    """Draw the page again once the run has finished an epoch, or has ended without."""
    if not progress.state.is_over:
        st.fragment(_look, run_every=LOOK_SECONDS)(run)


def _look(run: Run) -> None:
    with suppress(RunDamaged):
        progress = engine.shared().progress(run)
        if not (progress.history or progress.state.is_over):
            return
    st.rerun()


def _stop(said: str, way: str) -> None:
    st.info(said, icon=":material/model_training:")
    st.page_link(navigation.TRAIN, label=way, icon=":material/arrow_forward:")
    st.stop()
