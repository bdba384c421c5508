"""A benchmark's end, also where it waits for something that does not come."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil


def run(main: Callable[[], None], minutes: float) -> None:
    """Run a benchmark; after so many minutes end this process and all that it started, with an error that says where it stood."""
    timer = threading.Timer(60 * minutes, _give_up, [minutes])
    timer.daemon = True
    timer.start()
    main()
    timer.cancel()


def _give_up(minutes: float) -> None:
    print(f"\nNot done within {minutes:g} minutes, its limit. It stood here:", file=sys.stderr, flush=True)
    faulthandler.dump_traceback()
    started = psutil.Process().children(recursive=True)
    for process in started:
        with suppress(psutil.Error):  # it ended meanwhile
            process.kill()
    psutil.wait_procs(started, timeout=10)
    os._exit(1)  # the main thread may wait in a way that nothing else ends
