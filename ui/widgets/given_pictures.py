"""Pictures in place of a drawing: files, the clipboard, the camera."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.errors import DrawingError
from core.ink import photo as scan
from core.views import pictures
from ui import messages
from ui.state import drawing_in_use, photos
from ui.widgets import uploads
from ui.widgets.components import component

MOST_FILES = 12
MOST_MEGABYTES = 10
SIDE = 400
_HTML = '<button type="button">Paste a picture</button><span role="status"></span>'
_CSS = """
button { font: inherit; font-family: var(--st-font); color: var(--st-text-color); min-height: 2.5rem; padding: .25rem .75rem;
  border-radius: 8px; cursor: pointer; background: var(--st-background-color); border: 1px solid var(--st-border-color); }
button:hover, button:focus-visible { border-color: var(--st-primary-color); outline: none; }
span { font: .875rem var(--st-font); color: var(--st-text-color); margin-left: .75rem; }
"""


def files() -> np.ndarray | None:
    """Show the upload of files and the clipboard; return the ink of the last picture, (h, w) float32 0..1."""
    given = st.file_uploader(
        "Pictures of one digit each, dark on light or light on dark",
        accept_multiple_files=True,
        max_upload_size=MOST_MEGABYTES,
        key="picture-files",
    )
    uploads.failures()
    pasted = component(__file__, _HTML, _CSS)(
        key="paste", data={"most": MOST_MEGABYTES}, on_pasted_change=lambda: None, height="content"
    ).pasted
    _take(given)
    if pasted:
        with messages.shown():
            _keep(_content(pasted))
    return _found()


def camera() -> np.ndarray | None:
    """Show the camera, which the browser is asked for only here; return the ink of the last photo, (h, w) float32
    0..1.
    """
    taken = st.camera_input("One digit, written large on plain paper", key="camera")
    uploads.failures()
    _take([] if taken is None else [taken], "The photo")
    return _found()


def _take(given: list[UploadedFile], called: str = "") -> None:
    """Make each new picture the drawing, the last one in the end; show which can't be used, until others are uploaded."""
    new = [file for file in given if not photos.has_picture_file(file.file_id)]
    if new:
        faults = []
        for file in new[:MOST_FILES]:
            try:
                _keep(file.getvalue())
            except DrawingError as error:
                faults.append(f"{messages.name(called or file.name)}: {messages.plain(str(error))}")
        if len(new) > MOST_FILES:
            faults.append(f"Only the first {MOST_FILES} files were read.")
        photos.note_picture_files([file.file_id for file in new], faults)
        _forget(new)
    for fault in photos.picture_faults():
        st.error(fault, icon=":material/error:")


def _forget(files: list[UploadedFile]) -> None:
    """Forget the files that were read: Streamlit keeps all of them until the visitor removes each from the list."""
    context = get_script_run_ctx()
    for file in files:
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


def _keep(content: bytes) -> None:
    photo = scan.grey_from_picture(content)
    drawing_in_use.keep_picture(photo, scan.ink_on_paper(photo, **drawing_in_use.preparation().of_photo))


def _found() -> np.ndarray | None:
    """Return the ink that was found, and show it."""
    ink = drawing_in_use.ink()
    if ink is not None:
        st.html(pictures.digit(np.rint(ink * 255).astype(np.uint8), SIDE, "The ink that was found in the picture."))
    return ink


def _content(url: object) -> bytes:
    try:
        return base64.b64decode(str(url).partition(";base64,")[2], validate=True)
    except (ValueError, binascii.Error):
        raise DrawingError("What was pasted arrived damaged. Paste it again.") from None
