"""The last messages of a script run: delivered, though the next run has begun.

Streamlit 1.67 gives each run, and those that are asked for while it lasts, a script runner of their own. What a runner sends waits for the
server's event loop. A request that is taken up between a runner's end and its last messages begins a new runner, and from then on
all that the old one sent is thrown away. The rest of a fragment then stays as it was, for good: a sheet that was cleared, beside the
bars of the drawing that was on it. A fragment's clock is such a request, and there are some on most pages.
A runner that was told to stop is another matter: the run that follows draws all of it anew.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from streamlit.runtime.app_session import AppSession, AppSessionState
from streamlit.runtime.scriptrunner import ScriptRunner, ScriptRunnerEvent

_create, _handle = AppSession._create_scriptrunner, AppSession._handle_scriptrunner_event_on_event_loop
# Of each session, the runners that had ended when the next was made, until that one begins: by then all that they sent has come.
_ended: WeakKeyDictionary[AppSession, list[ScriptRunner]] = WeakKeyDictionary()


def deliver() -> None:
    """Have Streamlit deliver what a runner that has ended by itself still had to say."""
    AppSession._create_scriptrunner, AppSession._handle_scriptrunner_event_on_event_loop = _create_next, _handle_all


def _create_next(session: AppSession, *arguments: Any) -> None:
    if session._scriptrunner is not None:  # else the one before was told to stop, or has said all
        _ended.setdefault(session, []).append(session._scriptrunner)
    _create(session, *arguments)


def _handle_all(session: AppSession, sender: ScriptRunner | None, event: ScriptRunnerEvent, *arguments: Any) -> None:
    """Handle an event of the current runner, or of one that ended before it: they come in the order of their sending."""
    current = session._scriptrunner
    if sender is current and event is ScriptRunnerEvent.SCRIPT_STARTED:
        _ended.pop(session, None)
    is_last = sender is not current and sender in _ended.get(session, ()) and event is not ScriptRunnerEvent.SHUTDOWN
    if not is_last or session._state is AppSessionState.SHUTDOWN_REQUESTED:
        return _handle(session, sender, event, *arguments)
    session._scriptrunner = sender
    try:
        return _handle(session, sender, event, *arguments)
    finally:
        if session._scriptrunner is sender:
            session._scriptrunner = current
