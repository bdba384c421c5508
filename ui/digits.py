"""The data set, fetched beside the script: a page that needs it shows how far it is and comes back by itself."""

from __future__ import annotations

import threading

import streamlit as st

from core import data
from core.errors import DataError

PATIENCE_SECONDS = 2.0  # a file on this machine is there within it


class _Loading:
    def __init__(self) -> None:
        self.share, self.dataset, self.error = 0.0, None, None
        self._thread = threading.Thread(target=self._load, name="data-load", daemon=True)
        self._thread.start()

    def _load(self) -> None:
        try:
            self.dataset = data.load(on_progress=lambda share: setattr(self, "share", share))
        except DataError as error:
            self.error = error

    def is_done(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()


_current: _Loading | None = None
_current_lock = threading.Lock()


def prefetch() -> _Loading:
    """Begin to load the data set, once for the whole process."""
    global _current
    with _current_lock:
        if _current is None:
            _current = _Loading()
        return _current


def _forget() -> None:
    global _current
    _current = None


def dataset() -> data.Dataset:
    """MNIST or its stand-in. While it is being fetched the page stops here, and goes on when it has come.

    Raises:
        DataError: if there is no usable data set; the next call tries again.
    """
    loading = prefetch()
    if not loading.is_done(PATIENCE_SECONDS):
        _wait_for(loading)
        st.stop()
    if loading.error is not None:
        _forget()
        raise loading.error
    return loading.dataset


def banner() -> None:
    """Say on every page that the digits are the stand-in, where they are and as soon as that is known."""
    loading = prefetch()
    if loading.dataset is not None and loading.dataset.is_stand_in:
        st.warning(
            "MNIST could not be fetched, so these are scikit-learn's 1,797 small digits scaled up to 28 × 28. Everything works, "
            "but figures are not MNIST's. Go online and start again, or set DIGITLAB_MNIST to an mnist.npz.",
            icon=":material/cloud_off:",
        )


@st.fragment(run_every=0.5)
def _wait_for(loading: _Loading) -> None:
    if loading.is_done(0):
        st.rerun()
    st.progress(loading.share, "Fetching MNIST, 11 MB, once for this machine …")
