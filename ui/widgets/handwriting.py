"""One's own handwriting: drawings kept with their label, networks measured on them, a network that learns them."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np
import streamlit as st

from core.data import handwriting as own_hand
from core.data.handwriting import MOST_BYTES, MOST_DRAWINGS, Handwriting
from core.data.splits import Split, held_out_count
from core.engine import engine
from core.errors import DataError, RunDamaged, RunNotFound
from core.evaluation import metrics
from core.evaluation.questions import AnswerHeldOut, ReadDrawings
from core.model.specs import CLASSES, Augmentation, replaced
from core.runs.contents import Drawings, Evaluation
from core.runs.network import Network
from core.runs.run import Run
from core.runs.visits import FORGOTTEN_DAYS
from core.training import fine_tuning
from core.views import charts, pictures
from ui import cached, digits, driving, guards, late_requests, messages, navigation, runs_menu
from ui.state import session
from ui.widgets import mcnemar, uploads, waiting
from ui.widgets.number_field import number_field

FEW = 30  # drawings, with which an interval is wide
MOST_COMPARED = 5


# --- keeping a drawing --------------------------------------------------------------------------------------------------


def keep_form(image: np.ndarray, guess: int | None) -> None:
    """A row that keeps a drawing with its label, in one click; one kept already shows its label and takes another.

    Args:
        image: the drawing as the network saw it, (28, 28) uint8.
        guess: what it was read as; None for no digit.
    """
    with messages.caption():
        handwriting = session.handwriting()
        place = handwriting.index(image)
        label = None if place is None else int(handwriting.labels[place])
        st.pills(
            "Into my handwriting, as a",
            range(CLASSES),
            default=label,
            **session.showing(f"keep-{zlib.crc32(image.tobytes())}", label, partial(_keep_chosen, image)),
            help="Click what it was meant to be; another click corrects it, a second one on the same takes it out again.",
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            with st.container(width="content"):  # else the caption would be seen twice, in its old and in its new place
                if label is None and guess is not None:
                    st.button(
                        f"Keep it as a {guess}", icon=":material/bookmark_add:", on_click=_keep, args=(image, guess)
                    )
                elif session.can_undo_keeping(image):
                    st.button("Undo keeping", icon=":material/undo:", on_click=_undo, key="undo-keeping")
            st.caption(
                f"{len(handwriting):,} kept" + ("" if label is None else f", this as a {label}"), width="content"
            )


def _keep_chosen(image: np.ndarray, label: int | None) -> None:
    with messages.kept():
        if label is None:
            session.change_handwriting(lambda now: _removed(now, image))
        else:
            session.keep_in_handwriting(image, label)


def _removed(handwriting: Handwriting, image: np.ndarray) -> Handwriting:
    place = handwriting.index(image)
    return handwriting if place is None else handwriting.without(place)


def _keep(image: np.ndarray, label: int) -> None:
    with messages.kept():
        session.keep_in_handwriting(image, label)


def _undo() -> None:
    with messages.kept():
        session.undo_keeping()


# --- the third part of the Draw page ------------------------------------------------------------------------------------


def section(network: Network) -> None:
    """The drawings that were kept, how well networks read them, and a network that learns them."""
    handwriting = session.handwriting()
    if not len(handwriting):
        st.info(
            "Nothing is kept yet. Draw **One digit**, and keep it with what it was meant to be; or add a file of drawings.",
            icon=":material/bookmark_add:",
        )
        files(handwriting)
        return
    st.caption(f"{_counted(len(handwriting))}. {lasting()} Data shows them one by one.")
    left, right = st.columns(2, gap="large")
    with left:
        measured(network, handwriting)
    with right:
        compared(network.run, handwriting)
        learn_form(network, handwriting)
    if network.run.experiment().fine_tuning is not None:
        before_and_after(network)
    files(handwriting)


def measured(network: Network, handwriting: Handwriting) -> None:
    """How many of the drawings a network reads right, and which it doesn't."""
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
    """The same count for other networks."""
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
            other = session.find_run(run_id)
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


# --- learning it --------------------------------------------------------------------------------------------------------


def learn_form(network: Network, handwriting: Handwriting) -> None:
    """How the network in use is to go on from here, and the button that makes it."""
    st.subheader("Teach it my hand", anchor=False)
    run = network.run
    usual = fine_tuning.usual_training(run.experiment())
    count = len(handwriting)
    st.caption(
        f"A new run that begins with this network and learns from your {_counted(count)}, mixed with MNIST's own so that it "
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
        rate = session.number(rate_key, usual.learning_rate)
        number_field(
            "Learning rate",
            rate,
            min(1e-6, usual.learning_rate),
            0.1,
            rate_key,
            lambda new: session.set_number(rate_key, new),
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
            session.use_run(tuned.id)
            late_requests.switch_page(navigation.TRAIN)


def before_and_after(network: Network) -> None:
    """What a fine-tuning did to the reading of one's own hand, and to that of MNIST's digits."""
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
        f"The {_counted(len(labels))} that {'was' if len(labels) == 1 else 'were'} held out: it never learned from them."
        if is_checked
        else f"All {_counted(len(labels))}, and it was trained on these: none were held out. Draw new ones to check it."
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
    """Return the answers on MNIST's held-out digits; None while they are being found, which is said here."""
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


# --- as a data set ------------------------------------------------------------------------------------------------------


def summary(handwriting: Handwriting) -> None:
    """How many there are of each digit, and the files."""
    if len(handwriting):
        counts = np.bincount(handwriting.labels, minlength=CLASSES)
        st.markdown(f"**{_counted(len(handwriting))} of your own hand**")
        st.plotly_chart(
            charts.class_balance(counts),
            key="hand-balance",
            config={"displayModeBar": False},
            alt="; ".join(f"{n} of {k}" for k, n in enumerate(counts)),
        )
        st.caption(lasting())
    files(handwriting)


def correct(handwriting: Handwriting, place: int) -> None:
    """Give a drawing another label, or remove it."""
    image, label = handwriting.images[place], int(handwriting.labels[place])
    shown = session.showing(f"label-{zlib.crc32(image.tobytes())}", label, partial(_relabel, image))
    st.pills("It is a", range(CLASSES), default=label, required=True, **shown)
    st.button("Remove it", icon=":material/delete:", on_click=_remove, args=(image,), key="remove-drawing")


def _relabel(image: np.ndarray, label: int) -> None:
    with messages.kept():
        session.change_handwriting(lambda now: now.kept(image, label))


def _remove(image: np.ndarray) -> None:
    with messages.kept():
        session.change_handwriting(lambda now: _removed(now, image))


def files(handwriting: Handwriting) -> None:
    """The drawings as a file, and drawings from one."""
    with st.expander("As a file", icon=":material/folder_zip:", key="hand-files", expanded=not len(handwriting)):
        if len(handwriting):
            st.download_button(
                "My handwriting (.npz)",
                lambda: own_hand.to_npz(handwriting),
                file_name="handwriting.npz",
                icon=":material/download:",
                on_click="ignore",
                help="x (n, 28, 28) uint8 and y (n,) uint8, for np.load.",
            )
        given = st.file_uploader(
            f"Add drawings: an .npz of x (n, 28, 28) uint8 and y (n,), at most {MOST_DRAWINGS:,}",
            type="npz",
            max_upload_size=MOST_BYTES // 1_000_000,
            key=f"hand-upload-{len(handwriting)}",
        )
        uploads.failures()
        if given is not None:
            with messages.shown():
                _read_file(given.getvalue(), handwriting)


def _read_file(content: bytes, handwriting: Handwriting) -> None:
    try:
        _add(own_hand.from_npz(content), handwriting)
    except DataError as refused:
        if refused.line:  # to be copied as it is, which a message is not
            st.code(refused.line, language="python")
        raise


def _add(new: Handwriting, handwriting: Handwriting) -> None:
    both = handwriting.added(new)
    added = len(both) - len(handwriting)
    if not added:
        st.caption("All of these are kept already.")
        return
    session.change_handwriting(lambda now: now.added(new))
    inverted = f" {new.inverted} came dark on light and were inverted." if new.inverted else ""
    known = f", {len(new) - added} were kept already" if len(new) > added else ""
    session.say(f"{_counted(added)} added{known}.{inverted}")
    st.rerun()


def lasting() -> str:
    """How long the drawings are kept."""
    if session.is_local():
        return "They are kept on this machine, beside the runs."
    if session.is_lasting():
        return f"They are kept for this browser until it was away for {FORGOTTEN_DAYS} days: download them to have them elsewhere."
    return "They are kept while this tab is open: download them to have them again."


# --- shared -------------------------------------------------------------------------------------------------------------


def _read(network: Network, images: np.ndarray, key: str) -> np.ndarray | None:
    """What a network says to drawings, (n, 10); None where it isn't known yet or is no answer, which is said here."""
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


def _counted(count: int) -> str:
    return f"{count:,} drawing{'s' if count != 1 else ''}"


def _named(name: str) -> str:
    return name if name.endswith(", my hand") else f"{name}, my hand"
