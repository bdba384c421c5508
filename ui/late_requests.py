"""Requests that come too late: from a fragment of a page that `st.switch_page` has left.

A fragment's clock goes on in the browser until that hears of the next page. Where one follows a link the browser stops the clocks
first; `st.switch_page` changes the page on the server. Streamlit 1.67 takes in what a clock asks for meanwhile, as long as the
new page is being drawn, and then begins a run for it under the old page's name. On hearing that name the browser takes the new
page's elements away, so that the next fragment to be drawn there finds no place: "Bad delta path index", and a white page.
Such a request has nothing left to draw, and is not passed on.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import streamlit as st
from google.protobuf.message import DecodeError
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.scriptrunner import get_script_run_ctx

# Of each open connection, by its WebSocket key: the hash of the page that its visitor has left, "" for none.
_left: dict[str, str] = {}


class LateRequests:
    """ASGI middleware that drops what fragments of a page ask for once their visitor has left it."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        key = dict(scope["headers"]).get(b"sec-websocket-key", b"").decode() if scope["type"] == "websocket" else ""
        if not key:
            return await self._app(scope, receive, send)

        async def receive_in_time():
            while _is_late(message := await receive(), key):
                pass
            return message

        _left[key] = ""
        try:
            return await self._app(scope, receive_in_time, send)
        finally:
            del _left[key]


def switch_page(page: str) -> NoReturn:
    """Go to a page, one of `ui.navigation`'s, and hear no more of this one's fragments."""
    context, key = get_script_run_ctx(), st.context.headers.get("Sec-WebSocket-Key")
    here = context.pages_manager.get_pages().get(context.page_script_hash)
    if here is not None and Path(here["script_path"]) == Path(page).resolve():
        st.rerun()
    leave(key, context.page_script_hash)
    st.switch_page(page)


def leave(key: str | None, page: str) -> None:
    """Ignore further requests of a page's fragments over the connection with this WebSocket key, if it is open.

    Args:
        key: of the connection.
        page: the page's hash.
    """
    if key in _left:
        _left[key] = page


def _is_late(message: dict, key: str) -> bool:
    request = _rerun_request(message)
    if request is None:
        return False
    if not request.fragment_id:
        _left[key] = ""  # the visitor is on the page that this one names
    return request.page_script_hash == _left[key] != ""


def _rerun_request(message: dict) -> ClientState | None:
    """Return the rerun that a message from the browser asks for; None if it asks for something else."""
    try:
        sent = BackMsg.FromString(message.get("bytes") or b"")
    except DecodeError:  # Streamlit ends the connection for it
        return None
    return sent.rerun_script if sent.HasField("rerun_script") else None
