"""One's own handwriting: how well networks classify it, and a network that learns it. The third part of the Draw page."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.data.handwriting import Handwriting
from core.data.splits import Split, held_out_count
from core.engine import engine
from core.errors import RunDamaged, RunNotFound
from core.evaluation import metrics
from core.evaluation.questions import AnswerHeldOut, ReadDrawings
from core.model.specs import Augmentation, replaced
from core.runs.contents import Drawings, Evaluation
from core.runs.network import Network
from core.runs.run import Run
from core.training import fine_tuning
from core.views import pictures
from ui import cached, digits, driving, guards, late_requests, messages, navigation, runs_menu
from ui.state import numbers, own_handwriting, runs, session
from ui.widgets import kept_drawings, mcnemar, waiting
from ui.widgets.number_field import number_field

FEW = 30
MOST_COMPARED = 5


def section(network: Network) -> None:
    """Show the drawings that were kept, how well networks classify them, and a network that learns them."""
    handwriting = own_handwriting.handwriting()
    if not len(handwriting):
        st.info(
            "Nothing is kept yet. Draw **One digit**, and keep it with what it was meant to be; or add a file of drawings.",
            icon=":material/bookmark_add:",
        )
        kept_drawings.files(handwriting)
        return
    st.caption(f"{kept_drawings.counted(len(handwriting))}. {kept_drawings.lasting()} Data shows them one by one.")
    left, right = st.columns(2, gap="large")
    with left:
        measured(network, handwriting)
    with right:
        compared(network.run, handwriting)
        learn_form(network, handwriting)
    if network.run.experiment().fine_tuning is not None:
        before_and_after(network)
    kept_drawings.files(handwriting)


def measured(network: Network, handwriting: Handwriting) -> None:
    """Show how many of the drawings a network classifies correctly, and which it doesn't."""
    st.subheader("Does it read my hand?", anchor=False)
    probabilities = _read(network, handwriting.images, "hand")
    if probabilities is None:
        return
    read = probabilities.argmax(axis=1)
    right = int((read == handwriting.labels).sum())
    st.metric(
        "Read right", f"{right} of {len(read)}", _interval(right, len(read)), delta_color="off", delta_arrow="off"
    )
    st.caption(
        "Your own hand, counted as it is: below the count, where the share of all such drawings lies with 95 % confidence "
        f"(Wilson's interval).{' With so few it says little.' if len(read) < FEW else ''}"
    )
    wrong = np.flatnonzero(read != handwriting.labels)
    if not len(wrong):
        st.markdown("It reads every one of them right.")
        return
    st.markdown("**Read wrong**")
    captions = [f"{handwriting.labels[k]} read as {read[k]}, {probabilities[k].max():.0%}" for k in wrong]
    st.html(pictures.captioned_digits(handwriting.images[wrong], captions, "Your drawings that it reads wrong"))


def compared(run: Run, handwriting: Handwriting) -> None:
    """Show the same count for other networks."""
    labels = {run_id: label for run_id, label in runs_menu.labels().items() if run_id != run.id}
    if not labels:
        return
    st.subheader("And other networks?", anchor=False)
    chosen = st.multiselect(
        "Networks",
        list(labels),
        format_func=labels.get,
        max_selections=MOST_COMPARED,
        key=f"hand-others-{len(labels)}",
        placeholder="Choose some",
        label_visibility="collapsed",
    )
    rows = []
    for run_id in chosen:
        try:
            other = runs.find_run(run_id)
            progress = engine.shared().progress(other)
            network = guards.network_of(other, progress)
        except (RunNotFound, RunDamaged) as error:
            st.caption(messages.plain(str(error)))
            continue
        if network is None:
            guards.await_first_epoch(other, progress)
            st.caption(f"{messages.name(labels[run_id])} hasn't finished its first epoch.")
            continue
        probabilities = _read(network, handwriting.images, run_id)
        if probabilities is not None:
            right = int((probabilities.argmax(axis=1) == handwriting.labels).sum())
            rows.append(
                {
                    "Network": labels[run_id],
                    "Right": f"{right} of {len(handwriting)}",
                    "95 %": _interval(right, len(handwriting)),
                }
            )
    if rows:
        st.dataframe(rows, hide_index=True)


def learn_form(network: Network, handwriting: Handwriting) -> None:
    """Draw the settings of a fine-tuning of the network in use, and the button that starts it."""
    st.subheader("Teach it my hand", anchor=False)
    run = network.run
    usual = fine_tuning.usual_training(run.experiment())
    count = len(handwriting)
    st.caption(
        f"A new run that begins with this network and learns from your {kept_drawings.counted(count)}, mixed with MNIST's own so that it "
        "doesn't forget those. "
        + (
            "A quarter of yours are held out to check on."
            if count >= fine_tuning.LEAST_TO_HOLD_OUT
            else f"With fewer than {fine_tuning.LEAST_TO_HOLD_OUT} none are held out: how it reads them afterwards says only that it "
            "learned them."
        )
    )
    with st.expander("How", icon=":material/tune:", key="fine-tuning-how"):
        epochs = st.slider("Epochs", 1, 10, usual.epochs, key="hand-epochs")
        rate_key = f"hand-rate-{run.id}"
        rate = numbers.number(rate_key, usual.learning_rate)
        number_field(
            "Learning rate",
            rate,
            min(1e-6, usual.learning_rate),
            0.1,
            rate_key,
            lambda new: numbers.set_number(rate_key, new),
            kind=float,
        )
        images = st.slider(
            "MNIST's images",
            0,
            20_000,
            5000,
            500,
            key="hand-images",
            help="Per epoch, or as many as there are. With none, it may forget.",
        )
        share = st.slider(
            "Share of your drawings",
            0.05,
            0.75,
            0.25,
            0.05,
            key="hand-share",
            help="Each is repeated as often as that takes.",
        )
        is_moved = st.toggle(
            "Move the images at random",
            value=True,
            key="hand-moved",
            help="So that a few drawings aren't learned by heart.",
        )
    if st.button("Fine-tune", type="primary", icon=":material/school:"):
        with messages.shown():
            changes = {"epochs": epochs, "learning_rate": rate}
            if not is_moved:
                changes["augmentation"] = Augmentation()
            tuned = fine_tuning.create(
                network,
                handwriting,
                replaced(usual, **changes),
                images,
                share,
                _named(run.record().name),
                session.visitor(),
            )
            driving.train(tuned)
            runs.use_run(tuned)
            late_requests.switch_page(navigation.TRAIN)


def before_and_after(network: Network) -> None:
    """Show how a fine-tuning changed the accuracy on one's own hand, and on MNIST's digits."""
    st.subheader("Before and after", anchor=False)
    with messages.shown():
        drawings = network.run.drawings()
        own, mnist = st.columns(2, gap="large")
        with own:
            _on_own_hand(network, drawings)
        with mnist:
            _on_mnist(network)


def _on_own_hand(network: Network, drawings: Drawings) -> None:
    is_checked = bool(drawings.is_held_out.any())
    chosen = drawings.is_held_out if is_checked else np.ones(len(drawings.labels), bool)
    images, labels = drawings.images[chosen], drawings.labels[chosen]
    st.markdown("**Your hand**")
    st.caption(
        f"The {kept_drawings.counted(len(labels))} that {'was' if len(labels) == 1 else 'were'} held out: it never learned from them."
        if is_checked
        else f"All {kept_drawings.counted(len(labels))}, and it was trained on these: none were held out. Draw new ones to check it."
    )
    before = _read(Network(network.run, 0), images, "before")
    after = _read(network, images, "after")
    if before is None or after is None:
        return
    was, read = before.argmax(axis=1), after.argmax(axis=1)
    _two_counts(int((was == labels).sum()), int((read == labels).sum()), len(labels))
    captions = [_changed(int(label), int(one), int(other)) for label, one, other in zip(labels, was, read, strict=True)]
    st.html(pictures.captioned_digits(images, captions, "Your drawings, and how they were read before and after"))


def _on_mnist(network: Network) -> None:
    st.markdown("**MNIST's held-out digits**")
    if not held_out_count(network.run, 1 << 30):
        st.caption(
            "The network that it began with held no images out of its training, so there are none to check on. Evaluate can "
            "open the test set."
        )
        return
    found = [
        _held_out(Network(network.run, 0), "mnist-before"),
        _held_out(network, "mnist-after"),
    ]
    if None in found:
        return
    before, after = found
    is_right = [one.probabilities.argmax(axis=1) == one.y_true for one in (after, before)]
    st.caption(f"{len(after.y_true):,} digits that neither network was trained on.")
    _two_counts(int(is_right[1].sum()), int(is_right[0].sum()), len(after.y_true))
    told = metrics.mcnemar(*is_right)
    st.caption(
        mcnemar.in_words(told).replace("This network", "The new network").replace("The other network", "The old one")
    )
    lost = np.flatnonzero(is_right[1] & ~is_right[0])[:10]
    if len(lost):
        st.markdown("**Forgotten**")
        x = digits.dataset().x_train[after.indices[lost]]
        captions = [f"{after.y_true[k]} read as {after.probabilities[k].argmax()}" for k in lost]
        st.html(pictures.captioned_digits(x, captions, "MNIST's digits that it read right before"))


def _held_out(network: Network, key: str) -> Evaluation | None:
    """Return the answers on MNIST's held-out digits; None while they are being computed, which is shown."""
    kept = cached.answers(network, Split.VALIDATION)
    if kept is not None:
        return kept
    return waiting.result(AnswerHeldOut(network), key, "It reads MNIST's digits", "Have it read them")


def _two_counts(before: int, after: int, of: int) -> None:
    row = st.grid(min_column_width=140)
    for label, right in (("Before", before), ("After", after)):
        row.metric(
            label,
            f"{right:,} of {of:,}",
            _interval(right, of),
            delta_color="off",
            delta_arrow="off",
            border=True,
        )


def _changed(label: int, was: int, read: int) -> str:
    if was == read:
        return f"{label}: {'right' if read == label else f'as {read}'} as before"
    return f"{label}: {was} → {read}{' ✓' if read == label else ''}"


def _read(network: Network, images: np.ndarray, key: str) -> np.ndarray | None:
    """Return a network's probabilities for drawings, (n, 10); None if they are unknown yet or NaN, which is shown."""
    question = ReadDrawings(network, images.tobytes())
    found = waiting.result(question, f"read-{key}", "It reads your drawings", "Have it read your drawings")
    if found is not None and metrics.without_answer(found):
        st.caption(
            "This network's answers are no numbers any more (NaN). Choose an earlier epoch of it in the sidebar."
        )
        return None
    return found


def _interval(right: int, of: int) -> str:
    low, high = metrics.wilson(right, of)
    return f"{low:.0%} to {high:.0%}" if of < 500 else f"{low:.1%} to {high:.1%}"


def _named(name: str) -> str:
    return name if name.endswith(", my hand") else f"{name}, my hand"
