"""What Dask's own worker writes to the terminal. A worker loads this module before it connects (`preload`)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from distributed.comm.core import CommClosedError

if TYPE_CHECKING:
    from distributed import Worker


def dask_setup(worker: Worker) -> None:
    """Keep silent about a connection that is closed: the embedded worker's scheduler is its server, which has ended then, and
    ends it, too.

    Dask writes a traceback where it happened to wait for the answer to its sign of life.
    """
    logging.getLogger("distributed.worker").addFilter(is_not_about_the_end)


def is_not_about_the_end(record: logging.LogRecord) -> bool:
    """Return whether a record tells something else than that the connection was closed."""
    return record.exc_info is None or not isinstance(record.exc_info[1], CommClosedError)
