"""What a fragment asks for, once its page was left, is not passed on; all else is."""

from __future__ import annotations

import asyncio

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState

from ui import late_requests
from ui.late_requests import LateRequests

START, TRAIN = "505214", "df30ea"
LEFT = "left"  # what stands for the moment at which the script leaves Start


def rerun(page: str, fragment: str = "") -> bytes:
    return BackMsg(rerun_script=ClientState(page_script_hash=page, fragment_id=fragment)).SerializeToString()


def passed_on(*sent: bytes | str, key: bytes = b"a connection") -> list[bytes]:
    """What of these the app receives: bytes from the browser, with the moment of leaving among them."""
    waiting, received = list(sent), []

    async def receive() -> dict:
        while waiting and waiting[0] == LEFT:
            waiting.pop(0)
            late_requests.leave(key.decode(), START)
        if not waiting:
            return {"type": "websocket.disconnect"}
        return {"type": "websocket.receive", "bytes": waiting.pop(0)}

    async def app(scope, receive, send) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            received.append(message["bytes"])

    headers = [(b"host", b"localhost"), (b"sec-websocket-key", key)] if key else []
    asyncio.run(LateRequests(app)({"type": "websocket", "headers": headers}, receive, None))
    return received


CLOCK, CLICK, NEW_CLOCK = rerun(START, "clock"), rerun(START), rerun(TRAIN, "clock")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([CLICK, CLOCK, CLOCK], [CLICK, CLOCK, CLOCK]),
        ([CLICK, CLOCK, LEFT, CLOCK, NEW_CLOCK, CLOCK], [CLICK, CLOCK, NEW_CLOCK]),
        ([CLICK, LEFT, CLOCK, NEW_CLOCK, CLICK, CLOCK], [CLICK, NEW_CLOCK, CLICK, CLOCK]),  # and back by a link
        ([LEFT, b"\xff", BackMsg(clear_cache=True).SerializeToString()], [b"\xff", b"(\x01"]),
    ],
)
def test_only_what_the_page_left_asks_for_is_dropped(sent, expected):
    assert passed_on(*sent) == expected


def test_a_connection_that_has_no_key_is_passed_on_whole():
    assert passed_on(CLICK, CLOCK, key=b"") == [CLICK, CLOCK]


def test_nothing_is_kept_of_a_connection_that_has_ended():
    passed_on(CLICK, LEFT, CLOCK)
    late_requests.leave("a connection", START)

    assert late_requests._left == {}
