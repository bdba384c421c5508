"""The settings of the next run: its fields, a search for its learning rate, and a look at its augmentation."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.model import ledger
from core.model.draft import Draft
from core.model.presets import PRESETS
from core.model.specs import IMAGE_SHAPE, Experiment, Training, replaced
from core.training.questions import Augment, FindRange
from core.training.range_test import RangeTest, suggestion
from core.views import charts, pictures
from ui import digits
from ui.state import editing, exploring, session
from ui.widgets import fields, history, waiting

PREVIEWED, CHANGES = 4, 3


def editor(draft: Draft) -> None:
    """Draw all settings, one below the other."""
    st.subheader("How the next run learns", anchor=False)
    with st.container(horizontal=True):
        history.undo_and_redo()
    original = PRESETS[draft.preset].experiment.training
    fields.editor(editing.training, f"training-{editing.draft_version()}", editing.edit_training, 1, original)
    if draft.training.augmentation.is_active:
        _preview(draft.training)


def learning_rate_finder(experiment: Experiment) -> None:
    """Draw a button and what it found; if nothing can be trained, the button tells why."""
    question, why_not = FindRange(experiment), ledger.refusal(experiment)
    if why_not is not None or not session.is_wanted(question, False):
        st.button(
            "Find a learning rate",
            icon=":material/troubleshoot:",
            wrap=True,
            on_click=session.want,
            args=(question, True),
            disabled=why_not is not None,
            help=why_not or "Takes a hundred batches with a rising rate, and looks where the loss falls fastest.",
        )
        return
    said = "A hundred batches with a rising learning rate"
    test = waiting.result(question, "range", said, "Find a learning rate")
    if test is not None:
        _found(test)


def _found(test: RangeTest) -> None:
    suggested = suggestion(test)
    st.markdown("**The loss as the learning rate rises**")
    said = f"suggested: {suggested:g}" if suggested else "no rate brings the loss down"
    st.plotly_chart(
        charts.range_test(test, suggested), key="range-test", config={"displayModeBar": False}, alt=f"Loss; {said}"
    )
    if suggested is None:
        st.caption("No rate brings the loss down: this network may not learn as it is.")
    else:
        st.button(f"Use {suggested:g}", icon=":material/check:", on_click=_use, args=(suggested,), key="use-rate")
        st.caption("Where it falls fastest. Source: Smith 2017, arXiv:1506.01186.")


def _use(learning_rate: float) -> None:
    editing.edit_training(replaced(editing.training(), learning_rate=learning_rate))


def _preview(training: Training) -> None:
    """Show some digits, each unchanged and as some steps would see it."""
    augmentation, first = training.augmentation, training.seed + exploring.preview_seed() * CHANGES
    question = Augment(augmentation, tuple(range(PREVIEWED)), tuple(range(first, first + CHANGES)))
    changes = waiting.result(question, "preview", "Changing some digits", "Change some digits")
    if changes is None:
        return
    st.markdown("**As the network would see them**")
    images = np.stack([digits.dataset().x_train[:PREVIEWED], *changes], axis=1).reshape(-1, *IMAGE_SHAPE[:2])
    sheet = pictures.data_url(pictures.png(pictures.sheet(images, columns=1 + CHANGES), scale=2))
    st.image(sheet, width="stretch", alt="Four digits, each before and after three random changes.")
    st.caption("Left as they are, then as three steps of the training would see them.")
    st.button("Other changes", icon=":material/casino:", on_click=exploring.other_preview)
