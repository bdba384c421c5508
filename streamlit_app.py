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

from core.engine import engine
from ui import digits
from ui.headers import Headers
from ui.late_requests import LateRequests


def load_code() -> None:
    """Load what the first page takes: the frame, what one draws on, and pandas, which Streamlit loads for any component's data."""
    for name in ("ui.app", "ui.widgets.single_digit", "pandas"):
        importlib.import_module(name)


@asynccontextmanager
async def lifespan(app):
    """Load digits and code while the first browser is still loading; let the workers go when the server is told to end."""
    digits.prefetch()
    threading.Thread(target=load_code, name="code-load", daemon=True).start()
    yield
    engine.close_shared()


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
