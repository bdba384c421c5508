"""The parts of a report on a network: the digits that it was asked about, its figures, the digits behind them, its
certainty.
"""

from __future__ import annotations

import math
import time

import numpy as np
import streamlit as st

from core.data.datasets import Dataset
from core.data.splits import Split, held_out_count
from core.evaluation import metrics
from core.runs.contents import Evaluation
from core.runs.network import Network
from core.runs.run import Run
from core.views import charts, digit_sheet, pictures
from ui import cached, late_requests, messages, navigation
from ui.state import exploring, runs, session
from ui.widgets import waiting

SURE, UNSURE, SUSPECTED = "Surest mistakes", "Least sure", "Suspected label errors"
WHAT_THEY_ARE = {
    SURE: "Read wrong, the surest first.",
    UNSURE: "Right or wrong: those first between whose two leading classes it could least decide.",
    SUSPECTED: "The network is confident, by its own standard for each digit, of another than the label. Judge yourself.",
}
COLUMNS, ROWS = 5, 4
PER_PAGE = COLUMNS * ROWS
_OFTEN = ("never", "once", "twice")


def choose_source(dataset: Dataset, network: Network) -> Split:
    """Let the visitor choose the digits to evaluate on. The page stops here if there are none, or if the test set is
    closed.
    """
    source = st.segmented_control(
        "Asked about",
        [Split.VALIDATION, Split.TEST],
        default=Split.VALIDATION,
        required=True,
        key="asked-about",
        persist_state="session",
        help="Validation: held out of the training. Test: never to be looked at while you are still choosing.",
    )
    if source == Split.TEST:
        _opened_test(dataset, network)
        return Split.TEST
    count = held_out_count(network.run, len(dataset.y_train))
    if not count:
        st.markdown(
            "This run held no images out of its training, so there are none to check on while you work. Choose **Test** "
            "above, or train with a validation share on the Train page."
        )
        st.stop()
    st.caption(f"{count:,} images that this run held out of its training. Look at them as often as you like.")
    return Split.VALIDATION


def answers(network: Network, source: Split) -> Evaluation:
    """Return the network's answers; the page stops here while they are being computed, and if they are NaN."""
    found = answered(network, source, "answers")
    if found is None:
        st.stop()
    nothing = metrics.without_answer(found.probabilities)
    if nothing:
        st.markdown(
            f"For {nothing:,} of {len(found.y_true):,} digits this network's probabilities are no numbers: its weights have "
            "become NaN or infinite, so it reads nothing. Choose an earlier epoch in the sidebar, or train it again with a "
            "lower learning rate."
        )
        st.stop()
    return found


def answered(network: Network, source: Split, key: str) -> Evaluation | None:
    """Return a network's answers; None while they are being found, which is shown here."""
    kept = cached.answers(network, source)
    if kept is not None:
        return kept
    said, offer = "The network reads digits it has never seen", "Have the network read them"
    return waiting.result(cached.question(network, source), key, said, offer)


def openings(run: Run) -> str:
    """Return how often the test set was opened for a run, in words."""
    opened = run.test_openings()
    if not opened:
        return "The test set was never opened for this run."
    times = _OFTEN[len(opened)] if len(opened) < len(_OFTEN) else f"{len(opened)} times"
    last = time.strftime("%d %b %H:%M", time.localtime(opened[-1].at))
    networks = len({opening.step for opening in opened})
    of = f", with {networks} of its networks" if networks > 1 else ""
    return f"The test set was opened {times} for this run{of}, last on {last}."


def figures(answers: Evaluation, matrix: np.ndarray) -> None:
    """Show the answers in a few figures, and the commonest mistakes in words."""
    y_true, probabilities = answers.y_true, answers.probabilities
    interval, wrong = metrics.accuracy_interval(y_true, probabilities), matrix.sum() - np.trace(matrix)
    row = st.grid(min_column_width=150)
    row.metric(
        "Accuracy",
        f"{metrics.accuracy(y_true, probabilities):.2%}",
        f"{interval.low:.1%} to {interval.high:.1%}",
        delta_color="off",
        delta_arrow="off",
        help="Below it, where the accuracy on all such digits lies with 95 % confidence (Wilson's interval).",
        border=True,
    )
    row.metric(
        "Mistakes",
        f"{wrong:,}",
        f"of {matrix.sum():,}",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )
    row.metric(
        "Top two",
        f"{metrics.top_accuracy(y_true, probabilities):.2%}".replace("100.00%", "100%"),  # for which there is room
        "one is right",
        delta_color="off",
        delta_arrow="off",
        help="How often the right digit is one of the two likeliest.",
        border=True,
    )
    row.metric(
        "Loss",
        f"{metrics.loss(y_true, probabilities):.4f}",
        "a guess: 2.3026",
        delta_color="off",
        delta_arrow="off",
        help="Mean cross-entropy.",
        border=True,
    )
    row.metric(
        "Miscalibrated",
        f"{metrics.calibration(y_true, probabilities).error:.2%}",
        "0 is honest",
        delta_color="off",
        delta_arrow="off",
        help="Expected calibration error: how far how sure it is and how often it is right lie apart, on average.",
        border=True,
    )
    said = [
        f"a **{true}** is read as a **{predicted}**: {_times(n)}" for true, predicted, n in metrics.confusions(matrix)
    ]
    if said:
        st.markdown(f"Most often, {said[0]}" + (f"; then {', '.join(said[1:])}." if said[1:] else "."))
    unread = [str(digit) for digit in np.flatnonzero(matrix.sum(axis=0) == 0)]
    if unread:
        st.markdown(f"It never reads a digit as {' or '.join(unread)}, so there is no precision to tell for that.")


def mistakes(dataset: Dataset, answers: Evaluation, run: Run, source: Split) -> None:
    """Show the confusion matrix as a menu, the digits of the chosen cell, and one of these."""
    st.fragment(_mistakes)(dataset, answers, run, source)


def download(answers: Evaluation, matrix: np.ndarray, run: Run, source: Split) -> None:
    """Offer every figure of the report as CSV, and the matrix for print."""
    of = f"{source.lower()} {run.id[:6]} after {answers.step} batches"
    with st.container(horizontal=True):
        st.download_button(
            "All figures (CSV)",
            lambda: metrics.table(answers.y_true, answers.probabilities),
            file_name=f"{of}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Confusion matrix (PDF)",
            lambda: charts.printed_confusion_matrix(
                matrix,
                f"{messages.shortened(run.record().name)} after {answers.step:,} batches, {source.lower()} digits",
            ),
            file_name=f"confusion matrix {of}.pdf",
            icon=":material/download:",
            on_click="ignore",
        )


def scores(matrix: np.ndarray, key: str) -> None:
    """Show precision, recall and F1 of every digit, with their intervals."""
    found, intervals = metrics.class_scores(matrix), metrics.class_intervals(matrix)
    st.subheader("Digit by digit", anchor=False)
    st.caption(
        "Precision: of those read as this digit, how many were it. Recall: of those that were it, how many were read so. F1: "
        "the harmonic mean of both. Lines are 95 % intervals."
    )
    st.plotly_chart(
        charts.class_scores(found, intervals),
        key=f"scores-{key}",
        config={"displayModeBar": False},
        alt="; ".join(
            f"{k}: "
            + ", ".join(
                f"{name} {_within(getattr(found, field)[k], getattr(intervals, field)[k])}"
                for name, field in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
            )
            for k in range(10)
        ),
    )


def certainty(answers: Evaluation, key: str) -> None:
    """Show certainty beside accuracy, and what the network would gain by abstaining."""
    bins = metrics.calibration(answers.y_true, answers.probabilities)
    abstaining = metrics.abstention(answers.y_true, answers.probabilities)
    believed, refused = st.columns(2, gap="large")
    with believed:
        st.subheader("Can its certainty be believed?", anchor=False)
        surer = float(np.nansum(bins.confidence * bins.counts) / bins.counts.sum()) - metrics.accuracy(
            answers.y_true, answers.probabilities
        )
        said = f"On the whole it is **{abs(surer):.1%} too {'sure' if surer > 0 else 'modest'}**."
        if abs(surer) < 0.0005:
            said = "On the whole it is as sure as it is right."
        st.markdown(f"{said} On the dotted line it would be right as often as it is sure.")
        st.plotly_chart(
            charts.reliability(bins, metrics.wilson(np.rint(np.nan_to_num(bins.accuracy) * bins.counts), bins.counts)),
            key=f"reliability-{key}",
            config={"displayModeBar": False},
            alt="Reliability diagram. " + said.replace("*", ""),
        )
    with refused:
        st.subheader("If it may abstain", anchor=False)
        k = min(int(np.searchsorted(abstaining.coverage, 0.95 - 1e-9)), len(abstaining.coverage) - 1)
        said = (
            f"Where it is sure of {_at_least(abstaining.threshold[k])} or more, which is for {abstaining.coverage[k]:.0%} of the "
            f"digits, it is right on **{abstaining.accuracy[k]:.2%}**."
        )
        st.markdown(said)
        st.plotly_chart(
            charts.abstention(abstaining),
            key=f"abstention-{key}",
            config={"displayModeBar": False},
            alt="Accuracy over coverage. " + said.replace("*", ""),
        )


def _opened_test(dataset: Dataset, network: Network) -> None:
    """Stop the page if the test set is closed for this network."""
    run = network.run
    if runs.is_test_open(network):
        st.caption(f"{len(dataset.y_test):,} test images. {openings(run)}")
        return
    with st.container(border=True):
        st.markdown(
            "**The test set is closed.** Its figure is honest as long as nothing was chosen by it. Choose and compare networks on "
            "the validation images, and open it once, for the one you settle on."
        )
        st.caption(openings(run))
        st.button(
            "Open the test set",
            type="primary",
            icon=":material/lock_open:",
            on_click=open_test,
            args=(network,),
            key="open-test",
        )
    st.stop()


def open_test(network: Network) -> None:
    """Open the test set for a network; show the error if that fails."""
    with messages.kept():
        runs.open_test(network)


def _mistakes(dataset: Dataset, answers: Evaluation, run: Run, source: Split) -> None:
    matrix = metrics.confusion_matrix(answers.y_true, answers.probabilities.argmax(axis=1))
    key = f"{run.id}-{answers.step}-{source}"
    menu, shown = st.columns([1, 1], gap="large")
    with menu:
        cell = _matrix(matrix, key)
    with shown:
        _gallery(dataset, answers, matrix, cell, source, key)


def _matrix(matrix: np.ndarray, key: str) -> tuple[int, int] | None:
    """Show the confusion matrix; return the cell (true, predicted) that is chosen in it."""
    st.subheader("Confusion matrix", anchor=False)
    with st.container(horizontal=True, vertical_alignment="center"):
        unit = st.segmented_control(
            "Cells as",
            ["Counts", "Shares"],
            default="Counts",
            required=True,
            label_visibility="collapsed",
            key="matrix-unit",
            persist_state="session",
        )
        is_dim = st.toggle(
            "Dim the diagonal",
            key="dim-diagonal",
            persist_state="session",
            help="Leaves what was read right out of the colours, so that the mistakes can be told apart.",
        )
    chosen = st.plotly_chart(
        charts.confusion_matrix(matrix, unit == "Shares", is_dim),
        key=f"matrix-{key}",
        on_select="rerun",
        selection_mode="points",
        config={"displayModeBar": False},
        alt=_in_words(matrix),
    )
    points = chosen["selection"]["points"]
    return (int(points[0]["customdata"][0]), int(points[0]["customdata"][1])) if points else None


def _gallery(
    dataset: Dataset,
    answers: Evaluation,
    matrix: np.ndarray,
    cell: tuple[int, int] | None,
    source: Split,
    key: str,
) -> None:
    """Show the images of a cell, or of one of the lists, and above them the chosen one, at first the first."""
    y_true, probabilities = answers.y_true, answers.probabilities
    cells = _cells(matrix)
    chosen = st.selectbox(
        "Show",
        [SURE, UNSURE, SUSPECTED, *cells],
        format_func=lambda name: f"{name} · {matrix[cells[name]]:,}" if name in cells else name,
        key=f"list-{key}",
        disabled=cell is not None,
        help="Every cell of the matrix in which there are digits is in this list: type 4 read as 9, or click the cell.",
    )
    if cell is None:
        cell = cells.get(chosen)
    if cell is not None:
        true, predicted = cell
        st.subheader(_cell_name(true, predicted), anchor=False)
        indices = metrics.images_of_cell(y_true, probabilities, true, predicted)
        said = "The surest first."
    else:
        st.subheader(chosen, anchor=False)
        indices, said = _listed(chosen, y_true, probabilities), WHAT_THEY_ARE[chosen]
    if not len(indices):
        st.markdown("None.")
        return
    st.caption(f"{len(indices):,} digit{'s' if len(indices) > 1 else ''}. {said}")
    order = f"{key}-{chosen if cell is None else cell}"
    place = exploring.place(order)
    page = place // PER_PAGE
    places = indices[page * PER_PAGE : (page + 1) * PER_PAGE]
    _choose_page(order, page, -(-len(indices) // PER_PAGE))
    _one(dataset, answers, int(indices[place]), source)
    with st.container(horizontal=True):
        if st.button("Explain this digit", icon=":material/psychology:", key="explain"):
            exploring.explain_digit(source, int(answers.indices[indices[place]]))
            late_requests.switch_page(navigation.EXPLAIN)
        _leaf(order, place, len(indices))
    _sheet(dataset, answers, places, source, order, page)


def _cells(matrix: np.ndarray) -> dict[str, tuple[int, int]]:
    """Return the cells (true, predicted) that contain digits, by name: the commonest mistakes first, correct ones last."""
    mistaken = [(true, predicted) for true, predicted, _ in metrics.confusions(matrix, matrix.size)]
    right = [(int(digit), int(digit)) for digit in np.flatnonzero(np.diag(matrix))]
    return {_cell_name(*cell): cell for cell in mistaken + right}


def _cell_name(true: int, predicted: int) -> str:
    return f"{true} read as {predicted}" if true != predicted else f"{true} read right"


def _choose_page(order: str, page: int, pages: int) -> None:
    key = f"page-{order}-{page}"

    def turned() -> None:
        exploring.go_to_place(order, (session.widget_value(key) - 1) * PER_PAGE)

    st.pagination(pages, default=page + 1, key=key, on_change=turned, max_visible_pages=5)


def _leaf(order: str, place: int, total: int) -> None:
    """Draw the buttons to the digit before and the one after."""
    for label, by, keys in (("Back", -1, "Left"), ("On", 1, "Right")):
        st.button(
            label,
            on_click=exploring.go_to_place,
            args=(order, place + by),
            disabled=not 0 <= place + by < total,
            shortcut=keys,
            type="tertiary",
        )


def _sheet(dataset: Dataset, answers: Evaluation, places: np.ndarray, source: Split, order: str, page: int) -> None:
    """Show a page of images that can be clicked, each with its two leading classes."""
    key = f"sheet-{order}-{page}"

    def clicked() -> None:
        points = session.widget_value(key)["selection"]["points"]
        exploring.click_place(order, page * PER_PAGE + int(points[0]["customdata"]) if points else None)

    probabilities = answers.probabilities
    classes, shares = metrics.leading_two(probabilities[places])
    true = answers.y_true[places]
    captions = [
        (f"{t} → <b>{a}</b> {_shortly(p)}", f"then {b} {_shortly(q)}")
        for t, (a, b), (p, q) in zip(true, classes, shares, strict=True)
    ]
    names = [
        f"{source} number {answers.indices[i]:,}: a {t}, read as {a} at {_share(p)}, then {b} at {_share(q)}"
        for i, t, (a, b), (p, q) in zip(places, true, classes, shares, strict=True)
    ]
    chosen = exploring.place(order) % PER_PAGE
    with st.container(key="gallery"):
        st.plotly_chart(
            digit_sheet.captioned(_images(dataset, answers, places, source), captions, names, COLUMNS, ROWS, chosen),
            key=key,
            on_select=clicked,
            selection_mode="points",
            config={"displayModeBar": False},
            alt="; ".join(names),
        )


def _one(dataset: Dataset, answers: Evaluation, place: int, source: Split) -> None:
    """Show one digit with the network's answer."""
    number, true = int(answers.indices[place]), int(answers.y_true[place])
    with st.container(horizontal=True, key="one"):
        image = _images(dataset, answers, np.array([place]), source)[0]
        with st.container(width=112):
            st.html(pictures.digit(image, 112, f"A handwritten {true}."))
            st.caption(f"A {true}. {source} number {number:,}.")
        with st.container(width=224):
            st.html(pictures.probability_bars(answers.probabilities[place]))


def _images(dataset: Dataset, answers: Evaluation, places: np.ndarray, source: Split) -> np.ndarray:
    return (dataset.x_test if source is Split.TEST else dataset.x_train)[answers.indices[places]]


def _listed(chosen: str, y_true: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    if chosen == SURE:
        return metrics.mistakes(y_true, probabilities)
    if chosen == UNSURE:
        return metrics.least_sure(probabilities)
    return metrics.suspected_label_errors(y_true, probabilities)


def _times(count: int) -> str:
    return f"{count:,} time{'s' if count > 1 else ''}"


def _within(share: float, interval: np.ndarray) -> str:
    """Return a share with its interval, if the share is defined."""
    return _defined(share) + ("" if np.isnan(share) else f" ({interval[0]:.1%} to {interval[1]:.1%})")


def _defined(share: float) -> str:
    """Return a share in per cent, if it is defined."""
    return "not defined" if np.isnan(share) else f"{share:.1%}"


def _at_least(probability: float) -> str:
    """Return a probability in per cent, rounded down, so that "at least" is true."""
    if probability < 0.99:
        return f"{math.floor(100 * probability) / 100:.0%}"
    return f"{math.floor(10_000 * probability) / 10_000:.2%}"


def _share(probability: float) -> str:
    """Return a probability in per cent, never rounded to nothing or to certainty."""
    if probability >= 0.995:
        return "over 99%"
    return "under 1%" if probability < 0.005 else f"{probability:.0%}"


def _shortly(probability: float) -> str:
    """Return a probability like `_share`, shorter, for a chart."""
    return _share(probability).replace("over 99%", "99%+").replace("under ", "&lt;")


def _in_words(matrix: np.ndarray) -> str:
    rows = [f"{k}: {matrix[k, k]} of {matrix[k].sum()} right" for k in range(len(matrix))]
    return "Confusion matrix. " + "; ".join(rows)
