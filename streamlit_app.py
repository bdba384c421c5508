"""The way in: `streamlit run streamlit_app.py`.

`app` is what Streamlit serves. Its script is `ui/app.py` and not this file, because Streamlit runs any script that has a
`pages/` folder beside it the old way: a deep link as a fresh server's first request would then show a page without its
frame. Beside `ui/app.py` there is no such folder.
"""

import importlib
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware

from ui import last_messages, lean_start
from ui.headers import Headers
from ui.late_requests import LateRequests

FIRST = ("ui.app", "ui.widgets.single_digit")  # the first page's: its frame, and what one draws on


def load() -> None:
    """Load the code of the first page, and then the digits."""
    for name in FIRST:
        importlib.import_module(name)
    importlib.import_module("ui.digits").prefetch()


@asynccontextmanager
async def lifespan(app):
    """Listen at once, and load while the first browser is loading Streamlit's frontend; let the workers go when the server is told to
    end.
    """
    last_messages.deliver()
    lean_start.prepare()
    threading.Thread(target=load, name="first-load", daemon=True).start()
    yield
    importlib.import_module("core.engine.engine").close_shared()


SCRIPT = Path(__file__).absolute().parent / "ui" / "app.py"
# Streamlit puts the script's folder on the path for each run and takes it off again, unless it is there. Another thread that looks for
# a module just then passes over a folder of the path, the installed packages' say, and finds "No module named 'yaml'".
sys.path.append(str(SCRIPT.parent))

app = st.App(
    SCRIPT,
    lifespan=lifespan,
    middleware=[Middleware(Headers), Middleware(LateRequests)],
)

if __name__ == "__main__":  # run as a plain script: by tests, or by a host that doesn't know st.App
    importlib.import_module("ui.app").main()
