"""Two networks beside each other: the choice of the other, and whether they differ by more than chance."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.data.splits import Split
from core.engine import engine
from core.errors import RunDamaged, RunNotFound
from core.evaluation import metrics
from core.runs.contents import Evaluation
from core.runs.network import Network
from core.runs.run import Run
from core.views import pictures
from ui import guards, messages, runs_menu
from ui.evaluate import report
from ui.state import runs
from ui.widgets import mcnemar

NONE = "none"
FEW = 500  # digits, on which two networks of 99 and 97 % can hardly be told apart


def other_run(run: Run) -> tuple[Network, str] | None:
    """Return which other run's network this one is compared with, and what it is called; None without one."""
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
        other = runs.find_run(chosen)
        progress = engine.shared().progress(other)
        network = guards.network_of(other, progress)
    except (RunNotFound, RunDamaged) as error:
        st.markdown(messages.plain(str(error)))
        return None
    if network is None:
        guards.await_first_epoch(other, progress)
        st.markdown("It hasn't finished its first epoch, so there is nothing to compare with yet.")
        return None
    return network, labels[chosen]


def verdict(answers: Evaluation, source: Split, other: tuple[Network, str]) -> None:
    """Show both networks on the digits that neither was trained on, and the result of McNemar's test, in words."""
    network, name = other
    if source is Split.TEST and not runs.is_test_open(network):
        st.markdown("The test set is closed for the other run.")
        st.caption(report.openings(network.run))
        st.button(
            "Open the test set for it too",
            icon=":material/lock_open:",
            on_click=report.open_test,
            args=(network,),
            key="open-test-other",
        )
        return
    others = report.answered(network, source, "answers-of-other")
    if others is None:
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
    what = "test digits" if source is Split.TEST else "digits that both held out of their training"
    st.markdown(
        f"On {found.images:,} {what}, this network is right on **{is_right[0].mean():.2%}** and the other on "
        f"**{is_right[1].mean():.2%}**. {mcnemar.in_words(found)}"
    )
    few = " These are few: the test set can tell more." if found.images < FEW and source is Split.VALIDATION else ""
    st.caption(f"Digits that one alone has right.{few}")
    st.html(pictures.one_alone(found.only_first, found.only_second, "this network", name))
