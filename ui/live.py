"""A run under one's eyes: its curves as they grow, and the buttons that drive it."""

from __future__ import annotations

import streamlit as st

from core import charts, engine, runs
from core.engine import Phase
from core.progress import Command, Progress, State
from ui import messages, state

TICK_SECONDS = 0.5

_SAYINGS = {
    State.QUEUED: ":orange-badge[:material/schedule: waiting]",
    State.RUNNING: ":blue-badge[:material/play_arrow: training]",
    State.PAUSED: ":orange-badge[:material/pause: paused]",
    State.STOPPING: ":orange-badge[:material/stop: stopping]",
    State.FINISHED: ":green-badge[:material/check: finished]",
    State.STOPPED: ":gray-badge[:material/stop: stopped, kept]",
    State.FAILED: ":red-badge[:material/error: failed]",
    State.INTERRUPTED: ":red-badge[:material/power_off: interrupted]",
}


def panel(run: runs.Run) -> None:
    """Everything about one run; keeps itself up to date until the run is over."""
    is_over = engine.shared().progress(run).state.is_over
    st.fragment(_panel, run_every=None if is_over else TICK_SECONDS)(run, is_over)


def invitation(draft: state.Draft) -> None:
    """What stands where the curves will be, before the first run."""
    empty = Progress(epochs=draft.experiment.training.epochs)
    st.markdown("Nothing has been trained yet. **Start training**, and two curves begin to grow here.")
    _curves(empty, "empty")


def _panel(run: runs.Run, was_over: bool) -> None:
    with messages.shown():
        progress = engine.shared().progress(run)
        st.markdown(f"#### {run.record().name} {_SAYINGS[progress.state]}")
        _drive(run, progress)
        st.progress(progress.share, _where(progress))
        if progress.message:
            kind = st.error if progress.state in (State.FAILED, State.INTERRUPTED) else st.info
            kind(progress.message)
        _figures(progress)
        _curves(progress, run.id)
        if progress.state.is_over is not was_over:  # it ended, or goes on after all
            st.rerun()


def _drive(run: runs.Run, progress: Progress) -> None:
    is_moving = progress.state in (State.RUNNING, State.PAUSED)
    with st.container(horizontal=True):
        if progress.state is State.PAUSED:
            st.button(
                "Resume",
                icon=":material/play_arrow:",
                on_click=_command,
                args=(run.id, Command()),
                shortcut="P",
                key="resume",
            )
        else:
            st.button(
                "Pause",
                icon=":material/pause:",
                on_click=_command,
                args=(run.id, Command(is_paused=True)),
                disabled=progress.state is not State.RUNNING,
                shortcut="P",
                key="pause",
            )
        st.button(
            "Take out of the queue" if progress.state is State.QUEUED else "Stop and keep",
            icon=":material/stop:",
            on_click=_command,
            args=(run.id, Command(is_stopping=True)),
            disabled=not (is_moving or progress.state is State.QUEUED),
            help="Ends now and keeps the last finished epoch.",
            key="stop",
        )
        if progress.state.is_resumable:
            st.button(
                f"Go on from epoch {len(progress.history)}" if progress.history else "Start it again",
                icon=":material/resume:",
                on_click=_resume,
                args=(run,),
                type="primary",
                key="go-on",
            )
        if run.has_keras_file():
            st.download_button(
                "Model (.keras)",
                run.keras_file,
                file_name=f"{run.record().name} {run.id[:6]}.keras",
                icon=":material/download:",
                on_click="ignore",
                key="keras",
            )


def _figures(progress: Progress) -> None:
    last = progress.history[-1] if progress.history else None
    row = st.grid(min_column_width=130)
    row.metric(
        "Loss", f"{last.loss:.4f}" if last else "–", help="Of the training images in the last whole epoch.", border=True
    )
    if last is None or last.val_accuracy is not None:
        row.metric("Validation loss", f"{last.val_loss:.4f}" if last else "–", border=True)
        row.metric("Validation accuracy", f"{last.val_accuracy:.2%}" if last else "–", border=True)
    row.metric(
        "Images a second", f"{progress.images_per_second:,.0f}" if progress.images_per_second else "–", border=True
    )


def _curves(progress: Progress, key: str) -> None:
    loss, accuracy = st.columns(2)
    config = {"displayModeBar": False}
    said = f"after {len(progress.history)} of {progress.epochs} epochs"
    loss.plotly_chart(charts.loss_curve(progress), key=f"loss-{key}", config=config, alt=f"Loss {said}")
    accuracy.plotly_chart(charts.accuracy_curve(progress), key=f"accuracy-{key}", config=config, alt=f"Accuracy {said}")


def _where(progress: Progress) -> str:
    if progress.state is State.QUEUED:
        ahead = len(engine.shared().status().training)
        phase = engine.shared().status().phase
        if phase in (Phase.OFF, Phase.STARTING):
            return "The engine is starting …"
        return f"Waiting for {ahead} other run{'s' if ahead > 1 else ''} …" if ahead else "Waiting for a free worker …"
    if not progress.steps_per_epoch or (progress.state is State.RUNNING and not progress.images_per_second):
        return "Loading TensorFlow and compiling the network …"
    epoch = f"Epoch {progress.epoch} of {progress.epochs}"
    if progress.state.is_over or progress.seconds_left is None:
        return epoch
    return f"{epoch} · {_duration(progress.seconds_left)} left"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _command(run_id: str, command: Command) -> None:
    with messages.kept():
        engine.shared().command(run_id, command)


def _resume(run: runs.Run) -> None:
    with messages.kept():
        engine.shared().train(run)
