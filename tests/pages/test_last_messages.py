"""All that a script run sent arrives, also where a fragment's clock asks for the next run at its very end."""

from __future__ import annotations

import threading
import time
import warnings

import pytest
import streamlit as st
from starlette.middleware import Middleware
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession, AppSessionState
from streamlit.runtime.scriptrunner import ScriptRunnerEvent

from ui import last_messages

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for another HTTP library, and no HTTP is spoken here
    from starlette.testclient import TestClient

LINES = 50
AT_WORK = 0.4  # seconds, in which the clock asks
PAGE = f"""
import time
import streamlit as st

@st.fragment
def drawing():
    time.sleep({AT_WORK})
    for line in range({LINES}):
        st.text(f"line {{line}}")

@st.fragment
def clock():
    st.text("tick")

drawing()
clock()
"""


class BusyBeforeClocks:
    """Middleware that keeps the event loop busy before a clock's request is handled, as a busy server is, until the run before has ended:
    what it sent waits."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def receive_late():
            message = await receive()
            if BackMsg.FromString(message.get("bytes") or b"").rerun_script.is_auto_rerun:
                while any(thread.name == "ScriptRunner.scriptThread" for thread in threading.enumerate()):
                    time.sleep(0.01)  # between two looks
            return message

        await self._app(scope, receive_late if scope["type"] == "websocket" else receive, send)


@pytest.fixture
def socket(tmp_path, monkeypatch):
    """A WebSocket to a server of the page."""
    page = tmp_path / "page.py"
    page.write_text(PAGE)
    monkeypatch.setattr(Runtime, "_instance", None)
    for name in ("_create_scriptrunner", "_handle_scriptrunner_event_on_event_loop"):
        monkeypatch.setattr(AppSession, name, getattr(AppSession, name))
    last_messages.deliver()
    app = st.App(page, middleware=[Middleware(BusyBeforeClocks)])
    with TestClient(app) as client, client.websocket_connect("/_stcore/stream", subprotocols=["streamlit"]) as socket:
        yield socket


def ask(socket, **request) -> None:
    socket.send_bytes(BackMsg(rerun_script=ClientState(**request)).SerializeToString())


def texts(socket) -> dict[str, str]:
    """The texts that arrive until a run is finished, with the fragments that they are of."""
    found = {}
    while (message := ForwardMsg.FromString(socket.receive_bytes())).WhichOneof("type") != "script_finished":
        if message.delta.new_element.HasField("text"):
            found[message.delta.new_element.text.body] = message.delta.fragment_id
    return found


def test_a_run_that_has_ended_is_delivered_before_the_next(socket):
    ask(socket)
    fragments = texts(socket)

    ask(socket, fragment_id=fragments["line 0"])
    ask(socket, fragment_id=fragments["tick"], is_auto_rerun=True)

    assert list(texts(socket)) == [f"line {line}" for line in range(LINES)]
    assert list(texts(socket)) == ["tick"]

    ask(socket, fragment_id=fragments["tick"])
    assert list(texts(socket)) == ["tick"]


class Runner:
    """A script runner, as far as events have one."""


class Session:
    """What of Streamlit's session is used: the current runner, and the session's state."""

    def __init__(self) -> None:
        self._scriptrunner, self._state = None, AppSessionState.APP_IS_RUNNING


@pytest.fixture
def heard(monkeypatch) -> list[tuple[Runner, Runner, ScriptRunnerEvent]]:
    """Every event that Streamlit is given, with its sender and the runner that is the current one to it."""
    events = []
    monkeypatch.setattr(last_messages, "_create", lambda session, made: setattr(session, "_scriptrunner", made))
    monkeypatch.setattr(
        last_messages, "_handle", lambda session, sender, event: events.append((session._scriptrunner, sender, event))
    )
    return events


SAID, STARTED = ScriptRunnerEvent.ENQUEUE_FORWARD_MSG, ScriptRunnerEvent.SCRIPT_STARTED


def test_what_a_runner_sent_counts_until_the_next_begins_and_its_end_does_not(heard):
    session, first, second = Session(), Runner(), Runner()
    last_messages._create_next(session, first)
    last_messages._create_next(session, second)

    for sender, event in [(first, SAID), (first, ScriptRunnerEvent.SHUTDOWN), (second, STARTED), (first, SAID)]:
        last_messages._handle_all(session, sender, event)

    # Streamlit ignores an event of another runner than the current one.
    ignored = [current is not sender for current, sender, _ in heard]
    assert ignored == [False, True, False, True]
    assert session._scriptrunner is second


def test_nothing_more_is_taken_from_it_when_the_session_ends(heard):
    session, first, second = Session(), Runner(), Runner()
    last_messages._create_next(session, first)
    last_messages._create_next(session, second)
    session._state = AppSessionState.SHUTDOWN_REQUESTED

    last_messages._handle_all(session, first, SAID)

    assert heard == [(second, first, SAID)]


def test_a_runner_that_was_told_to_stop_is_not_heard(heard):
    session, first, second = Session(), Runner(), Runner()
    last_messages._create_next(session, first)
    session._scriptrunner = None  # as Streamlit does then
    last_messages._create_next(session, second)

    last_messages._handle_all(session, first, SAID)

    assert heard == [(second, first, SAID)]
