"""Two networks beside each other: which other is meant, and whether they differ by more than chance."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.engine import engine
from core.errors import RunDamaged, RunNotFound
from core.evaluation import metrics
from core.evaluation.metrics import McNemar
from core.runs.contents import Evaluation
from core.runs.run import Run
from core.views import pictures
from ui import guards, messages, runs_menu
from ui.evaluate import report
from ui.state import session

NONE = "none"
FEW = 500  # digits, on which two networks of 99 and 97 % can hardly be told apart


def other_run(run: Run) -> tuple[Run, int, str] | None:
    """Which other run this one is compared with, after how many batches its network is meant, and what it is called; None
    without one."""
    labels = {run_id: label for run_id, label in runs_menu.labels().items() if run_id != run.id}
    st.subheader("Beside another run", anchor=False)
    if not labels:
        st.caption("As soon as you have trained a second network you can compare the two here.")
        return None
    chosen = st.selectbox(
        "Compare with",
        [NONE, *labels],
        format_func=lambda run_id: "no other" if run_id == NONE else labels[run_id],
        key=f"other-{run.id}-{len(labels)}",
        persist_state="session",
    )
    if chosen == NONE:
        st.caption(
            "Choose one, to know whether the difference is more than chance; its curves are laid over these below."
        )
        return None
    try:
        other = session.find_run(chosen)
        progress = engine.shared().progress(other)
        step = guards.step_in_use(other, progress) if progress.history else None
    except (RunNotFound, RunDamaged) as error:
        st.markdown(messages.plain(str(error)))
        return None
    if step is None:
        guards.await_first_epoch(other, progress)
        st.markdown("It hasn't finished its first epoch, so there is nothing to compare with yet.")
        return None
    return other, step, labels[chosen]


def verdict(answers: Evaluation, source: str, other: tuple[Run, int, str]) -> None:
    """Both networks on the digits that neither was trained on, and what McNemar's test says, in words."""
    run, step, name = other
    if source == report.TEST and not session.is_test_open(run.id, step):
        st.markdown("The test set is closed for the other run.")
        st.caption(report.openings(run))
        st.button(
            "Open the test set for it too",
            icon=":material/lock_open:",
            on_click=report.open_test,
            args=(run, step),
            key="open-test-other",
        )
        return
    others = report.kept_answers(run, step, source)
    if others is None:
        st.fragment(_wait, run_every=report.POLL_SECONDS)(run, step, source)
        return
    common, here, there = np.intersect1d(answers.indices, others.indices, return_indices=True)
    if not len(common):
        st.markdown("The two hold no digits out in common. Choose **Test** above to compare them.")
        return
    if metrics.without_answer(others.probabilities):
        st.markdown("The other network reads nothing: its weights are NaN or infinite.")
        return
    y_true = answers.y_true[here]
    is_right = [one.probabilities[at].argmax(axis=1) == y_true for one, at in ((answers, here), (others, there))]
    found = metrics.mcnemar(*is_right)
    what = "test digits" if source == report.TEST else "digits that both held out of their training"
    st.markdown(
        f"On {found.images:,} {what}, this network is right on **{is_right[0].mean():.2%}** and the other on "
        f"**{is_right[1].mean():.2%}**. {in_words(found)}"
    )
    few = " These are few: the test set can tell more." if found.images < FEW and source == report.VALIDATION else ""
    st.caption(f"Digits that one alone has right.{few}")
    st.html(pictures.one_alone(found.only_first, found.only_second, "this network", name))


def in_words(found: McNemar) -> str:
    """What McNemar's test says."""
    if not found.only_first + found.only_second:
        return "**They are right on exactly the same digits.**"
    if found.is_within_chance:
        return (
            f"**The difference is within chance**: two networks equally good would be at least this far apart in {_often(found.p)} "
            "(McNemar's exact test)."
        )
    better = "This network" if found.only_first > found.only_second else "The other network"
    return (
        f"**{better} is better**, by more than chance: were both equally good, they would be at least so far apart in "
        f"{_often(found.p)} (McNemar's exact test)."
    )


def _often(p: float) -> str:
    return f"{p:.0%} of such comparisons" if p >= 0.01 else "fewer than 1 % of such comparisons"


def _wait(run: Run, step: int, source: str) -> None:
    with messages.shown():
        found = report.asked(run, step, source)
        st.caption("The other network reads the same digits …")
        if found is not None:
            st.rerun()
