"""What a worker writes to the terminal, and what it leaves out."""

import asyncio
import logging
import threading

from distributed.comm.core import CommClosedError

from core.engine import worker_log
from core.engine.engine import Engine
from tests.core.engine.engines import PATIENCE, until


def record(error: Exception | None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, None)
    return logging.LogRecord("distributed.worker", logging.ERROR, "", 0, "a message", None, exc_info)


def test_other_errors_than_a_closed_connection_are_written():
    assert worker_log.is_not_about_the_end(record(None))
    assert worker_log.is_not_about_the_end(record(ValueError("of a task")))
    assert not worker_log.is_not_about_the_end(record(CommClosedError("in <TLS>: Stream is closed")))


def test_a_worker_that_waits_for_an_answer_when_the_server_ends_writes_no_traceback(root, capfd):
    made, is_asked = Engine(), threading.Event()
    try:
        made.start()
        until(lambda: made.status().workers == 1)

        async def never(**said):
            is_asked.set()
            await asyncio.sleep(PATIENCE)

        made.cluster.local.scheduler.handlers["heartbeat_worker"] = never
        assert is_asked.wait(PATIENCE)
    finally:
        made.close()

    assert "Traceback" not in capfd.readouterr().err
