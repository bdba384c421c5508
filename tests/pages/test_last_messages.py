"""All that a script run sent arrives, also where a fragment's clock asks for the next run at its very end."""

from __future__ import annotations

import time
import warnings

import pytest
import streamlit as st
from starlette.middleware import Middleware
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession

from ui import last_messages

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for another HTTP library, and no HTTP is spoken here
    from starlette.testclient import TestClient

LINES = 50
AT_WORK, BUSY = 0.4, 1.5  # seconds
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
    """Middleware that keeps the event loop busy before a clock's request is handled, as a busy server is: the run before ends meanwhile,
    and what it sent waits."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def receive_late():
            message = await receive()
            if BackMsg.FromString(message.get("bytes") or b"").rerun_script.is_auto_rerun:
                time.sleep(BUSY)
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
