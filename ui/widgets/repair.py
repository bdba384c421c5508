"""The reason why a network can't be trained, and the button that repairs it."""

import streamlit as st

from core.model import specs
from core.model.ledger import Ledger, refusal
from ui.state import editing


def problem(experiment: specs.Experiment, ledger: Ledger) -> None:
    """Show why this can't be trained, with its repair at hand; nothing where it can."""
    reason = refusal(experiment)
    if reason is None:
        return
    title, repair, largest = "This stack can't be built yet", None, ledger.largest_batch
    if ledger.problem is None:
        title, repair = "This batch is too large", (f"Batch size {largest}", _use_batch, largest)
    elif ledger.problem.repair is not None:
        repair = (ledger.problem.repair.label, editing.use_network, ledger.problem.repair.layers)
    said, place = st.columns([5, 2], vertical_alignment="center")
    said.error(reason, title=title, icon=":material/build:")
    if repair is not None:
        label, mend, *arguments = repair
        place.button(
            label,
            icon=":material/auto_fix_high:",
            type="primary",
            key="repair",
            wrap=True,
            on_click=mend,
            args=arguments,
        )


def _use_batch(batch_size: int) -> None:
    editing.edit_training(specs.replaced(editing.training(), batch_size=batch_size))
