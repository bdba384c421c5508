"""The drawings that are kept: how many, for how long, and their files."""

from __future__ import annotations

import streamlit as st

from core.data import handwriting as own_hand
from core.data.handwriting import MOST_BYTES, MOST_DRAWINGS, Handwriting
from core.errors import DataError
from core.runs.visits import FORGOTTEN_DAYS
from ui import messages
from ui.state import own_handwriting, session
from ui.widgets import uploads


def lasting() -> str:
    """Return how long the drawings are kept, in a sentence."""
    if session.is_local():
        return "They are kept on this machine, beside the runs."
    if session.is_lasting():
        return f"They are kept for this browser until it was away for {FORGOTTEN_DAYS} days: download them to have them elsewhere."
    return "They are kept while this tab is open: download them to have them again."


def counted(count: int) -> str:
    """Return a number of drawings in words."""
    return f"{count:,} drawing{'s' if count != 1 else ''}"


def files(handwriting: Handwriting) -> None:
    """Offer the drawings as a file, and take drawings from one."""
    with st.expander("As a file", icon=":material/folder_zip:", key="hand-files", expanded=not len(handwriting)):
        if len(handwriting):
            st.download_button(
                "My handwriting (.npz)",
                lambda: own_hand.to_npz(handwriting),
                file_name="handwriting.npz",
                icon=":material/download:",
                on_click="ignore",
                help="x (n, 28, 28) uint8 and y (n,) uint8, for np.load.",
            )
        given = st.file_uploader(
            f"Add drawings: an .npz of x (n, 28, 28) uint8 and y (n,), at most {MOST_DRAWINGS:,}",
            type="npz",
            max_upload_size=MOST_BYTES // 1_000_000,
            key=f"hand-upload-{len(handwriting)}",
        )
        uploads.failures()
        if given is not None:
            with messages.shown():
                _read_file(given.getvalue(), handwriting)


def _read_file(content: bytes, handwriting: Handwriting) -> None:
    try:
        _add(own_hand.from_npz(content), handwriting)
    except DataError as refused:
        if refused.line:  # to be copied as it is, which a message is not
            st.code(refused.line, language="python")
        raise


def _add(new: Handwriting, handwriting: Handwriting) -> None:
    both = handwriting.added(new)
    added = len(both) - len(handwriting)
    if not added:
        st.caption("All of these are kept already.")
        return
    own_handwriting.change_handwriting(lambda now: now.added(new))
    inverted = f" {new.inverted} came dark on light and were inverted." if new.inverted else ""
    known = f", {len(new) - added} were kept already" if len(new) > added else ""
    session.say(f"{counted(added)} added{known}.{inverted}")
    st.rerun()
