"""The folder for temporary files of a server's worker, TensorFlow's generated ones too. It is removed with the server;
that of a server which was killed is removed when the next one starts.

Each holds a file that its server keeps locked. The system releases the lock however a process ends, and gives it to
nobody while the process lives, whatever its process id and whichever container it is in.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where such a folder stays after a kill
    fcntl = None

PREFIX = "digitlab-worker-"
_LOCK = "server.lock"


class Scratch:
    """A folder of its own in the system's temporary one, at `path`."""

    def __init__(self) -> None:
        clear_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        beginning = self.path / "beginning"
        self._lock = os.open(beginning, os.O_RDWR | os.O_CREAT, 0o600)
        if fcntl is not None:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        beginning.rename(self.path / _LOCK)  # it is there under its name only while, or after, it was locked

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def clear_abandoned() -> None:
    """Remove the folders of servers that have ended without doing so. Those of other users aren't touched."""
    if fcntl is None:
        return
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # another user's, another server's, or just removed by another that starts
            held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(held)
