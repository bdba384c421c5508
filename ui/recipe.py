"""How the next run is to learn: its fields, a search for its learning rate, and a look at its augmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import streamlit as st

from core import charts, engine, ledger, pictures
from core.draft import Draft
from core.errors import DigitLabError, EngineNotReady
from core.presets import PRESETS
from core.range_test import RangeTest, suggestion
from core.specs import IMAGE_SHAPE, Augmentation, Experiment, Training, replaced
from ui import digits, fields, messages, stack, state

T = TypeVar("T")

POLL_SECONDS = 0.5
PREVIEWED, CHANGES = 4, 3


def editor(draft: Draft) -> None:
    """All of it, one below the other."""
    st.subheader("How the next run learns", anchor=False)
    with st.container(horizontal=True):
        stack.undo_and_redo()
    original = PRESETS[draft.preset].experiment.training
    fields.editor(state.training, f"training-{state.draft_version()}", state.edit_training, 1, original)
    if draft.training.augmentation.is_active:
        _preview(draft.training)


def learning_rate_finder(experiment: Experiment) -> None:
    """A button, and what it found; where nothing can be trained, the button says why."""
    question, why_not = ("learning rate", experiment), ledger.refusal(experiment)
    if why_not is not None or not state.is_wanted(question, False):
        has_failed = not state.is_wanted(question, True)
        st.button(
            "Try again to find a learning rate" if has_failed else "Find a learning rate",
            icon=":material/troubleshoot:",
            on_click=state.want,
            args=(question, True),
            disabled=why_not is not None,
            help=why_not or "Takes a hundred batches with a rising rate, and looks where the loss falls fastest.",
        )
        return
    said = "A hundred batches with a rising learning rate …"
    test = _answered(question, said, lambda: engine.shared().range_test(experiment))
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
    state.edit_training(replaced(state.training(), learning_rate=learning_rate))


def _preview(training: Training) -> None:
    """Some digits, each as it is and as some steps would see it."""
    augmentation, first = training.augmentation, training.seed + state.preview_seed() * CHANGES
    question = ("augmentation", augmentation, first)
    if not state.is_wanted(question, True):
        st.button("Try again to change some digits", on_click=state.want, args=(question, True))
        return
    changes = _answered(question, "Changing some digits …", lambda: _changed(augmentation, first))
    if changes is None:
        return
    st.markdown("**As the network would see them**")
    images = np.stack([digits.dataset().x_train[:PREVIEWED], *changes], axis=1).reshape(-1, *IMAGE_SHAPE[:2])
    sheet = pictures.data_url(pictures.png(pictures.sheet(images, columns=1 + CHANGES), scale=2))
    st.image(sheet, width="stretch", alt="Four digits, each before and after three random changes.")
    st.caption("Left as they are, then as three steps of the training would see them.")
    st.button("Other changes", icon=":material/casino:", on_click=state.other_preview)


def _changed(augmentation: Augmentation, first: int) -> list[np.ndarray] | None:
    """The digits as `CHANGES` steps would see them, each (PREVIEWED, 28, 28) uint8; None while that is found out."""
    indices = tuple(range(PREVIEWED))
    changes = [engine.shared().augmented(augmentation, indices, first + k) for k in range(CHANGES)]
    return None if any(change is None for change in changes) else changes


# --- what the engine is asked -------------------------------------------------------------------------------------------


def _answered(question: tuple, said: str, ask: Callable[[], T | None]) -> T | None:
    """The engine's answer; None while it is at it, which is shown. Where it fails that is said, and the question isn't wanted any
    more, or it would be asked again and again."""
    answer, _ = _asked(question, ask)
    if answer is None:
        st.fragment(_waiting, run_every=POLL_SECONDS)(question, said, ask)
    return answer


def _waiting(question: tuple, said: str, ask: Callable[[], T | None]) -> None:
    answer, why_not = _asked(question, ask)
    if answer is not None:
        st.rerun()  # the page is drawn once more, without this clock
    st.progress(0.5, why_not or said)


def _asked(question: tuple, ask: Callable[[], T | None]) -> tuple[T | None, str]:
    """The engine's answer, and why there is none yet where it still starts."""
    try:
        return ask(), ""
    except EngineNotReady as error:
        return None, messages.plain(str(error))
    except DigitLabError as error:
        state.want(question, False)
        state.say(str(error))
        st.rerun()
