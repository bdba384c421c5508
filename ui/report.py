"""The parts of a test report."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core import charts, engine, evaluation, pictures, runs
from core.data import Dataset
from ui import messages

MOST_SHOWN = 40
POLL_SECONDS = 0.5


def answers(run: runs.Run, epoch: int) -> runs.Evaluation:
    """The network's answers on the test set; the page stops here while they are being computed, and comes back."""
    found = _evaluation(run, epoch)
    if found is None:
        st.fragment(_wait, run_every=POLL_SECONDS)(run, epoch)
        st.stop()
    return found


def figures(answers: runs.Evaluation, matrix: np.ndarray) -> None:
    """The test in four figures, and its commonest mistake in words."""
    wrong = matrix.sum() - np.trace(matrix)
    row = st.grid(min_column_width=130)
    row.metric("Test accuracy", f"{evaluation.accuracy(answers.y_true, answers.probabilities):.2%}", border=True)
    row.metric(
        "Test loss",
        f"{evaluation.loss(answers.y_true, answers.probabilities):.4f}",
        help="Mean cross-entropy.",
        border=True,
    )
    row.metric("Mistakes", f"{wrong:,} of {matrix.sum():,}", border=True)
    row.metric("Epochs learned", answers.epoch, border=True)
    confused = evaluation.most_confused(matrix)
    if confused:
        true, predicted, count = confused
        st.markdown(f"Most often, a **{true}** is read as a **{predicted}**: {count} times.")


def matrix(matrix: np.ndarray, run: runs.Run, epoch: int) -> tuple[int, int] | None:
    """The confusion matrix; the cell (true, predicted) that is chosen in it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Confusion matrix", anchor=False, width="stretch")
        unit = st.segmented_control(
            "Cells as", ["Counts", "Shares"], default="Counts", required=True, label_visibility="collapsed"
        )
        st.download_button(
            "PDF",
            lambda: charts.printed_confusion_matrix(matrix, f"{run.record().name}, epoch {epoch}"),
            file_name=f"confusion matrix {run.id[:6]}.pdf",
            icon=":material/download:",
            on_click="ignore",
        )
    chosen = st.plotly_chart(
        charts.confusion_matrix(matrix, unit == "Shares"),
        key=f"matrix-{run.id}-{epoch}",
        on_select="rerun",
        selection_mode="points",
        config={"displayModeBar": False},
        alt=_in_words(matrix),
    )
    points = chosen["selection"]["points"]
    return (int(points[0]["customdata"][0]), int(points[0]["customdata"][1])) if points else None


def gallery(dataset: Dataset, answers: runs.Evaluation, cell: tuple[int, int] | None) -> None:
    """The test images of a cell, or, without one, the mistakes the network was surest of."""
    if cell is None:
        st.subheader("Surest mistakes", anchor=False)
        st.caption("Click a cell of the matrix to see its digits.")
        indices = evaluation.mistakes(answers.y_true, answers.probabilities)
    else:
        true, predicted = cell
        st.subheader(f"{true} read as {predicted}" if true != predicted else f"{true} read right", anchor=False)
        indices = evaluation.images_of_cell(answers.y_true, answers.probabilities, true, predicted)
        st.caption(f"{len(indices):,} of the test images, the surest first. Click the cell again to let go.")
    shown = indices[:MOST_SHOWN]
    if not len(shown):
        st.markdown("None.")
        return
    predicted = answers.probabilities[shown].argmax(axis=1)
    captions = [
        f"{true} → {read}, {share:.0%}"
        for true, read, share in zip(
            answers.y_true[shown], predicted, answers.probabilities[shown].max(axis=1), strict=True
        )
    ]
    with st.container(height=440, border=False, key="gallery"):
        st.html(pictures.captioned_digits(dataset.x_test[shown], captions, "Test digits with what the network read"))


def scores(scores: evaluation.ClassScores) -> None:
    """Precision, recall and F1 of every digit."""
    st.subheader("Digit by digit", anchor=False)
    share = st.column_config.ProgressColumn
    low = float(np.floor(np.nanmin([scores.precision, scores.recall, scores.f1]) * 20) / 20)
    st.dataframe(
        {
            "Digit": np.arange(10),
            "Precision": scores.precision,
            "Recall": scores.recall,
            "F1": scores.f1,
            "Images": scores.support,
        },
        hide_index=True,
        column_config={
            "Digit": st.column_config.NumberColumn(width="small"),
            "Precision": share(
                format="percent", min_value=low, max_value=1, help="Of those read as this digit, how many were it."
            ),
            "Recall": share(
                format="percent",
                min_value=low,
                max_value=1,
                help="Of those that were this digit, how many were read so.",
            ),
            "F1": share(format="percent", min_value=low, max_value=1, help="The harmonic mean of both."),
        },
    )
    if low:
        st.caption(f"Bars begin at {low:.0%}.")


@st.cache_data(max_entries=4, show_spinner=False)
def _kept_evaluation(run_id: str, root: str, epoch: int) -> runs.Evaluation:
    found = runs.Run(run_id, root).evaluation(epoch)
    if found is None:
        raise LookupError  # which, unlike None, is not kept
    return found


def _evaluation(run: runs.Run, epoch: int) -> runs.Evaluation | None:
    try:
        return _kept_evaluation(run.id, run.root, epoch)
    except LookupError:
        return None


def _wait(run: runs.Run, epoch: int) -> None:
    with messages.shown():
        found = engine.shared().evaluation(run, epoch)
        st.progress(1.0 if found else 0.5, "The network reads 10,000 digits it has never seen …")
        if found is not None:
            st.rerun()


def _in_words(matrix: np.ndarray) -> str:
    rows = [f"{k}: {matrix[k, k]} of {matrix[k].sum()} right" for k in range(len(matrix))]
    return "Confusion matrix. " + "; ".join(rows)
