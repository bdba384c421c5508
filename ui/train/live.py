"""The live view of a run: its curves as they grow, looks inside its network, and the buttons that control it."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import streamlit as st

from core.engine import engine
from core.engine.cluster import Phase
from core.engine.trainings import ABANDONED_SECONDS
from core.model import script, specs
from core.model.draft import Draft
from core.runs.progress import Progress, Snapshot, State
from core.runs.run import Run
from core.training import doctor
from core.views import charts, moving_lines, network_html, pictures
from ui import digits, driving, late_requests, messages, navigation
from ui.state import drawing_in_use, editing, exploring, session
from ui.train import prediction_history
from ui.widgets import fields, run_start
from ui.widgets.number_field import number_field

TICK_SECONDS = 1.0
# Of the views inside the network, at full speed: where the browser shares two cores with the training, each picture slows that.
LOOK_SECONDS = 4.0 if (os.cpu_count() or 1) < 4 else TICK_SECONDS
SLOW_BATCHES_PER_SECOND = 3.0
MOST_FINDINGS = 3

_SAYINGS = {
    State.QUEUED: ":orange-badge[:material/schedule: waiting]",
    State.RUNNING: ":blue-badge[:material/play_arrow: training]",
    State.PAUSED: ":orange-badge[:material/pause: paused]",
    State.STOPPING: ":orange-badge[:material/stop: stopping]",
    State.FINISHED: ":green-badge[:material/check: finished]",
    State.STOPPED: ":gray-badge[:material/stop: stopped]",
    State.FAILED: ":red-badge[:material/error: failed]",
    State.INTERRUPTED: ":red-badge[:material/power_off: interrupted]",
}


def panel(run: Run) -> None:
    """Show everything about one run; keeps itself up to date until the run is over."""
    look_seconds = _look_seconds(run, engine.shared().progress(run))
    st.fragment(_panel, run_every=look_seconds and TICK_SECONDS)(run, look_seconds)
    st.fragment(_inside, run_every=look_seconds)(run)


def _look_seconds(run: Run, progress: Progress) -> float | None:
    """Return after how many seconds the looks inside are drawn again; None if the run is over."""
    if progress.state.is_over:
        return None
    return TICK_SECONDS if engine.shared().is_held(run.id) else LOOK_SECONDS


def invitation(draft: Draft) -> None:
    """Show empty curves before the first run."""
    empty = Progress(epochs=draft.experiment.training.epochs)
    st.markdown("No run is open. **Start training**, and two curves begin to grow here.")
    _curves(empty, "empty", is_log=False)


def _panel(run: Run, look_seconds: float | None) -> None:
    destination = session.take_destination()
    if destination is not None:
        page, message = destination
        session.say(message)
        late_requests.switch_page(page)
    with messages.shown():
        progress, experiment = engine.shared().progress(run), run.experiment()
        st.markdown(f"#### {messages.name(run.record().name)} {_saying(progress)}")
        _drive(run, progress)
        st.progress(progress.share, _where(run, progress))
        if engine.shared().is_unanswered(run.id):
            st.info(
                "The worker doesn't answer yet. It does what you asked for as soon as it does.",
                icon=":material/hourglass_top:",
            )
        if progress.message:
            kind = st.error if progress.state in (State.FAILED, State.INTERRUPTED) else st.info
            kind(messages.plain(progress.message))
        _live_hyperparameters(run, progress, experiment)
        _figures(progress)
        is_log = st.toggle("Loss on a logarithmic scale", key=f"log-{run.id}")
        _curves(progress, run.id, is_log)
        _findings(run, progress, experiment)
        if _look_seconds(run, progress) != look_seconds:  # it ended, is paused, or goes on
            st.rerun()


def _saying(progress: Progress) -> str:
    is_kept = progress.state is State.STOPPED and progress.history
    return ":gray-badge[:material/stop: stopped, kept]" if is_kept else _SAYINGS[progress.state]


# --- driving ------------------------------------------------------------------------------------------------------------


def _drive(run: Run, progress: Progress) -> None:
    is_allowed = driving.is_allowed(run)
    order_button = partial(_order_button, run, is_allowed)
    if not is_allowed and (progress.state.is_resumable or not progress.state.is_over):
        st.caption(driving.NOT_YOURS)
    is_moving, is_paused = progress.state in (State.RUNNING, State.PAUSED), progress.state is State.PAUSED
    with st.container(horizontal=True, gap="small"):
        if is_paused:
            order_button("Resume", "play_arrow", "resume", "Alt+P", is_paused=False, until_step=0)
        else:
            order_button(
                "Pause", "pause", "pause", "Alt+P", progress.state is State.RUNNING, is_paused=True, until_step=0
            )
        asked = max(progress.step, engine.shared().commanded(run.id).until_step)
        batch = {"until_step": asked + 1}
        order_button("One batch", "skip_next", "step-batch", "Alt+B", is_paused, _ONLY_PAUSED, **batch)
        epoch = {"until_step": progress.step_of(asked // max(progress.steps_per_epoch, 1) + 1)}
        order_button("One epoch", "fast_forward", "step-epoch", "Alt+E", is_paused, _ONLY_PAUSED, **epoch)
        is_slow = engine.shared().commanded(run.id).batches_per_second is not None
        order_button(
            "Full speed" if is_slow else "Slow motion",
            "speed" if is_slow else "slow_motion_video",
            "slow",
            "Alt+S",
            not progress.state.is_over,
            f"Slow motion takes {SLOW_BATCHES_PER_SECOND:g} batches a second.",
            batches_per_second=None if is_slow else SLOW_BATCHES_PER_SECOND,
        )
        order_button(
            "Take out of the queue" if progress.state is State.QUEUED else "Stop and keep",
            "stop",
            "stop",
            "Alt+X",
            is_moving or progress.state is State.QUEUED,
            "Ends its wait; nothing is trained." if progress.state is State.QUEUED else _KEEPS,
            is_stopping=True,
        )
        if progress.state.is_resumable:
            st.button(
                f"Go on from epoch {len(progress.history)}" if progress.history else "Start it again",
                icon=":material/resume:",
                on_click=_resume,
                args=(run,),
                type="primary",
                disabled=not is_allowed,
                shortcut="Alt+G",
                key="go-on",
            )
        if progress.state.is_over:
            st.button(
                "Again",
                icon=":material/replay:",
                on_click=_again,
                args=(run,),
                shortcut="Alt+A",
                key="again",
                help=_AGAIN_SHIPPED
                if run.record().is_shipped
                else "A new run of the same recipe, from the same initial weights.",
            )
        if run.has_keras_file():
            _keras_file(run)


def _keras_file(run: Run) -> None:
    file_name = f"{messages.file_name(run.record().name)} {run.id[:6]}.keras"
    st.download_button(
        "Model (.keras)",
        run.keras_file,
        file_name=file_name,
        icon=":material/download:",
        on_click="ignore",
        key="keras",
        help="The network of the best epoch. It takes pixels from 0 to 255, and divides by 255 itself.",
    )
    with st.popover("How to use it", icon=":material/code:", key="keras-usage"):
        st.code(script.usage(file_name), language="python", wrap_lines=True)


_AGAIN_SHIPPED = (
    "A new run of the same layers and settings, on MNIST's images alone. The one that is shipped has seen them redrawn by other "
    "hands and pens too."
)
_KEEPS = "Ends now. Finished epochs are kept, and the network as it is for the time machine. It can go on after the last epoch."
_ONLY_PAUSED = "Takes one, and waits again. Pause first."


def _order_button(
    run: Run,
    is_allowed: bool,
    label: str,
    icon: str,
    key: str,
    shortcut: str,
    is_possible: bool = True,
    said: str | None = None,
    **changes: object,
) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        on_click=_order,
        args=(run,),
        kwargs=changes,
        disabled=not (is_possible and is_allowed),
        help=f"{said or ''} {shortcut.replace('+', ' + ')}".strip() if is_allowed else driving.NOT_YOURS,
        shortcut=shortcut,
        key=key,
    )


def _live_hyperparameters(run: Run, progress: Progress, experiment: specs.Experiment) -> None:
    """Draw the live hyperparameters, which may be changed while a run trains; any other change needs another run."""
    if progress.state.is_over:
        return
    training, is_allowed = experiment.training, driving.is_allowed(run)
    rates = [layer.rate for layer in experiment.layers if getattr(layer, "rate", 0)]
    with st.expander("Turn while it runs", icon=":material/tune:", key=f"knobs-{run.id}"):
        left, right = st.columns(2)
        with left:
            number_field(
                "Learning rate now",
                _value_of(run.id, progress, "learning_rate", training.learning_rate),
                *fields.bounds(specs.Training.model_fields["learning_rate"]),
                f"knob-rate-{run.id}",
                lambda rate: _order(run, learning_rate=rate),
                kind=float,
                disabled=not is_allowed,
                help="The schedule, if there is one, goes on with it.",
            )
        key = f"knob-dropout-{run.id}"
        right.slider(
            "Dropout now",
            0.0,
            0.95,
            _value_of(run.id, progress, "dropout", max(rates, default=0.0)),
            0.05,
            key=key,
            on_change=lambda: _order(run, dropout=session.widget_value(key)),
            disabled=not (rates and is_allowed),
            help="Of every layer that drops something." if rates else "This network has no dropout layer to turn.",
        )
        st.caption(
            "Each turn is marked on the curves. Everything else is set before: it makes a new run, and this one stays."
        )


def _value_of(run_id: str, progress: Progress, name: str, of_recipe: float) -> float:
    """Return the value of a live hyperparameter: as it was last ordered or changed, or else as the recipe has it."""
    told = getattr(engine.shared().commanded(run_id), name)
    return progress.live_hyperparameters.get(name, of_recipe) if told is None else told


def _order(run: Run, **changes: object) -> None:
    with messages.kept():
        driving.command(run, **changes)


def _resume(run: Run) -> None:
    with messages.kept():
        driving.train(run)


def _again(run: Run) -> None:
    with messages.kept():
        run_start.start_again(run)
        st.rerun()  # the whole page is about another run, not only the fragment with the button


# --- findings -----------------------------------------------------------------------------------------------------------


def _figures(progress: Progress) -> None:
    last, best = (progress.history[-1], progress.best) if progress.history else (None, None)
    row = st.grid(min_column_width=130)
    row.metric(
        "Loss", f"{last.loss:.4f}" if last else "–", help="Of the training images in the last whole epoch.", border=True
    )
    if last is None or last.val_accuracy is not None:
        row.metric("Val. loss", f"{last.val_loss:.4f}" if last else "–", border=True)
        row.metric("Val. accuracy", f"{last.val_accuracy:.2%}" if last else "–", border=True)
        row.metric(
            f"{'In use' if progress.is_fine_tuning else 'Best'}, epoch {best.epoch}" if best else "Best epoch",
            f"{best.val_accuracy:.2%}" if best else "–",
            help="The last epoch of a fine-tuning. Evaluate and Draw use its network, unless you choose another in the sidebar."
            if progress.is_fine_tuning
            else "By validation accuracy. Evaluate and Draw use its network, unless you choose another in the sidebar.",
            border=True,
        )


def _curves(progress: Progress, key: str, is_log: bool) -> None:
    loss, accuracy = st.columns(2)
    config = {"displayModeBar": False}
    said = f"after {len(progress.history)} of {progress.epochs} epochs"
    loss.plotly_chart(
        charts.loss_curve(progress, is_log), key=f"loss-{key}-{is_log}", config=config, alt=f"Loss {said}"
    )
    accuracy.plotly_chart(charts.accuracy_curve(progress), key=f"accuracy-{key}", config=config, alt=f"Accuracy {said}")


def _findings(run: Run, progress: Progress, experiment: specs.Experiment) -> None:
    """Show the doctor's findings, with the change to try."""
    for number, finding in enumerate(doctor.findings(experiment, progress)[:MOST_FINDINGS]):
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"finding-{run.id}-{number}"):
            st.markdown(f":material/stethoscope: **{finding.title}** {finding.reason}", width="stretch")
            if finding.experiment is not None:
                st.button(
                    finding.try_this,
                    icon=":material/science:",
                    key=f"try-{run.id}-{finding.try_this}",  # so that a click acts on the finding that was read, even if others have come
                    on_click=_try,
                    args=(finding, experiment),
                )


def _try(finding: doctor.Finding, experiment: specs.Experiment) -> None:
    editing.use_experiment(finding.experiment)
    session.head_for(
        navigation.BUILD if finding.experiment.layers != experiment.layers else navigation.TRAIN,
        f"Changed for the next run: {finding.try_this}. Undo on Build brings the old recipe back.",
    )


def _where(run: Run, progress: Progress) -> str:
    if progress.state is State.QUEUED:
        if engine.shared().status().phase in (Phase.OFF, Phase.STARTING):
            return "The engine is starting …"
        place, seconds = engine.shared().place_in_queue(run.id)
        ahead = engine.shared().status().training
        if place < 2 and not ahead:
            return "Waiting for a free worker …"
        when = f": should begin in {_duration(seconds)}" if seconds is not None else ""
        if any(map(engine.shared().is_held, ahead)):
            when = f": one ahead is paused or slowed; left alone, it goes on after {_duration(ABANDONED_SECONDS)}"
        return f"Place {place} in the queue{when} …"
    epoch = f"Epoch {progress.epoch} of {progress.epochs}"
    if progress.state.is_over:
        return epoch if progress.step else "It ended before its first batch."
    if not progress.steps_per_epoch or (progress.state is State.RUNNING and not progress.images_per_second):
        return "Loading TensorFlow and compiling the network …"
    if progress.seconds_left is None:
        return epoch
    if progress.state is State.PAUSED:
        return f"{epoch} · {progress.step:,} batches taken"
    return f"{epoch} · {_duration(progress.seconds_left)} left · {progress.images_per_second:,.0f} images a second"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


# --- looks inside -------------------------------------------------------------------------------------------------------

_KERNELS, _MAPS, _GRADIENTS, _DEAD = "Kernels", "Feature maps", "Gradients", "Dead ReLUs"
_RATE, _CONFUSION, _WRONGEST = "Learning rate", "Confusion", "Ten wrongest"
_MINE = "My digit"
VIEWS = (_KERNELS, _MAPS, _MINE, _CONFUSION, _WRONGEST, _GRADIENTS, _DEAD, _RATE)
_OF_SNAPSHOTS = {_KERNELS, _MAPS, _GRADIENTS, _DEAD}


def _inside(run: Run) -> None:
    """Show the chosen views side by side."""
    with messages.shown():
        _views(run, engine.shared().progress(run), run.experiment())


def _views(run: Run, progress: Progress, experiment: specs.Experiment) -> None:
    drawing = drawing_in_use.last_drawing()
    usual = [_KERNELS, _CONFUSION] if drawing is None else [_KERNELS, _MINE, _CONFUSION]
    chosen = st.pills("Look inside", VIEWS, selection_mode="multi", default=usual, key=f"views-{run.id}")
    snapshot = None
    if (_OF_SNAPSHOTS | {_MINE}) & set(chosen):
        is_watched = _MINE in chosen and drawing is not None
        snapshot = engine.shared().watch(run.id, exploring.watched_digit(), drawing if is_watched else None)
    columns = st.columns(2, gap="large")
    for place, view in enumerate(view for view in VIEWS if view in chosen):
        with columns[place % 2].container(key=f"view-{run.id}-{view}"):
            st.markdown(f"**{view}**")
            if view in _OF_SNAPSHOTS:
                _snapshot_view(view, snapshot, progress)
            elif view == _MINE:
                # The clock of this part stops with the run, when the last networks may not have answered yet.
                shown = (
                    prediction_history.panel
                    if progress.state.is_over and drawing is not None
                    else prediction_history.lines
                )
                shown(run, drawing)
            elif view == _RATE:
                rates = experiment.training.learning_rates(
                    progress.steps_per_epoch * progress.epochs, progress.turned_learning_rates
                )
                st.html(moving_lines.learning_rate(progress, rates))
            else:
                _validation_view(view, run, progress)


def _snapshot_view(view: str, snapshot: Snapshot | None, progress: Progress) -> None:
    if view == _MAPS:
        st.segmented_control(
            "Of a held-out",
            range(specs.CLASSES),
            default=exploring.watched_digit(),
            required=True,
            key="watched-digit",
            on_change=_watch_digit,
        )
    if snapshot is None:
        is_over = progress.state.is_over
        st.caption(
            "Looks are taken while it trains; the time machine below shows what was." if is_over else "First look …"
        )
        return
    st.html(_drawn(view, snapshot))
    of = (
        " Of the plain loss on one batch as it is, without penalties, dropout or augmentation."
        if view == _GRADIENTS
        else ""
    )
    st.caption(f"After {snapshot.step:,} batches.{of}")


def _drawn(view: str, snapshot: Snapshot) -> str:
    match view:
        case "Kernels":
            return network_html.kernels(snapshot.kernels)
        case "Feature maps":
            return network_html.feature_maps(snapshot.image, snapshot.maps)
        case "Gradients":
            return network_html.gradient_norms(snapshot.gradient_norms)
    return network_html.dead_shares(snapshot.dead)


def _validation_view(view: str, run: Run, progress: Progress) -> None:
    last = progress.history[-1] if progress.history else None
    if last is None:
        st.caption("Comes with the first epoch's end.")
    elif last.confusion is None:
        st.caption("This run holds no images out to check on.")
    elif view == _CONFUSION:
        st.html(network_html.confusion(np.array(last.confusion).reshape(specs.CLASSES, specs.CLASSES)))
        st.caption(f"Held-out digits after epoch {last.epoch}.")
    elif not last.wrongest:
        st.caption("It reads every held-out digit right.")
    elif digits.is_of_other(run) or max(index for index, _, _ in last.wrongest) >= len(digits.dataset().y_train):
        st.caption("These are digits of another data set than the one in use now, so they can't be shown.")
    else:
        images = digits.dataset().x_train[[index for index, _, _ in last.wrongest]]
        labels = digits.dataset().y_train[[index for index, _, _ in last.wrongest]]
        captions = [
            f"{true} read as {read}, {sure:.0%}" for true, (_, read, sure) in zip(labels, last.wrongest, strict=True)
        ]
        st.html(pictures.captioned_digits(images, captions, "The held-out digits it is most wrong about"))


def _watch_digit() -> None:
    exploring.watch_digit(session.widget_value("watched-digit"))
