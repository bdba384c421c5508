"""The frame of every page: page config, login where configured, navigation, the network in use, the status strip."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ui import digits, messages, navigation, runs_menu, status
from ui.state import editing, runs, surfaces, visit
from ui.widgets import keys

# Streamlit makes this script Python's `__main__` while it runs, and a worker process that starts meanwhile would run it again
# from its file; without the file's name it does not.
ROOT = Path(globals().pop("__file__")).parent.parent
LOGO = ROOT / "ui" / "static" / "logo.svg"
# Streamlit stacks columns where the window is narrow. Beside an open sidebar, as on a tablet, the page is narrower than the window.
STACKED = """<style>.stMainBlockContainer { container: page / inline-size; }
@container page (max-width: 640px) { .stColumn { min-width: calc(100% - 1.5rem); } }</style>"""


def main() -> None:
    """Draw the frame of the page, check the login, and run the page."""
    st.set_page_config(page_title="Digit Lab", page_icon=str(ROOT / "ui" / "static" / "icon.svg"), layout="wide")
    st.logo(str(LOGO), size="large")
    st.html(STACKED)
    if _needs_login():
        _login()
        return
    visit.begin()
    page = navigation.navigation()
    editing.follow_url()
    runs.follow_url()
    surfaces.enter_page(page.url_path)
    visit.keep_visit()
    with st.sidebar:
        runs_menu.choose_run()
        status.strip()
        keys.keep_for_fields()
    notice = st.container()
    with messages.shown():
        is_told = digits.banner(notice)
        messages.waiting()
        page.run()
        if not is_told:  # the data set may have come meanwhile
            digits.banner(notice)


def _needs_login() -> bool:
    """Return whether the host configured a login ([auth] in its secrets) that this visitor has not passed."""
    # A secrets file that can't be read raises here: the wall then stays closed.
    is_configured = any(Path(file).exists() for file in st.get_option("secrets.files")) and "auth" in st.secrets
    return is_configured and not getattr(st.user, "is_logged_in", False)


def _login() -> None:
    st.title("Digit Lab")
    st.write("This lab asks who you are before it starts.")
    st.button("Log in", type="primary", icon=":material/login:", on_click=st.login)


if __name__ == "__main__":
    main()
