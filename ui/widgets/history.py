"""Undo and redo of what is edited: layers and their training."""

from __future__ import annotations

import streamlit as st

from ui.state import editing


def undo_and_redo() -> None:
    """Take back what was last done to the layers or their training, and bring it back."""
    st.button("Undo", icon=":material/undo:", on_click=editing.undo, disabled=not editing.can_undo(), shortcut="Ctrl+Z")
    st.button(
        "Redo", icon=":material/redo:", on_click=editing.redo, disabled=not editing.can_redo(), shortcut="Ctrl+Shift+Z"
    )
