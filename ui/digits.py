"""The data set, fetched beside the script: a page that needs it shows the progress and comes back by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.data import datasets, measures
from core.data.measures import Survey, Traits
from core.errors import DataError, RunDamaged
from core.runs.run import Run
from ui import messages

SURVEY_PATIENCE_SECONDS = 0.3
PATIENCE_SECONDS = 2.0  # seconds; a file on this machine is loaded within them


class _Loading:
    def __init__(self, load: Callable[..., datasets.Dataset] = datasets.load) -> None:
        self.share, self.dataset, self.error = 0.0, None, None
        self._done = threading.Event()
        threading.Thread(target=self._load, args=(load,), name="data-load", daemon=True).start()

    def _load(self, load: Callable[..., datasets.Dataset]) -> None:
        try:
            self.dataset = load(on_progress=lambda share: setattr(self, "share", share))
        except DataError as error:
            self.error = error
        self._done.set()

    def is_done(self, timeout: float) -> bool:
        return self._done.wait(timeout)


_current: _Loading | None = None
_again: _Loading | None = None  # another look for MNIST, while the stand-in is in use
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


def look_again() -> None:
    """Begin to look for MNIST once more, whoever asks; what is in use stays so meanwhile."""
    global _again
    with _current_lock:
        if _again is None or _again.is_done(0):
            _again = _Loading(datasets.look_again)


def _under_way() -> _Loading | None:
    """Return the search for MNIST that `look_again` began, or None; the data set it found is used from then on."""
    global _again, _current
    with _current_lock:
        if _again is not None and _again.is_done(0):
            if _again.dataset is not None:
                _current = _again
            _again = None
        return _again


def dataset() -> datasets.Dataset:
    """Return MNIST or its stand-in. While it is being fetched the page stops here, and goes on when it has come.

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


def banner(place: DeltaGenerator) -> bool:
    """Say on every page that the digits are the stand-in and why, as soon as that is known, or that MNIST could not be kept; whether
    anything was said."""
    again, dataset = _under_way(), prefetch().dataset
    if dataset is None or not (dataset.is_stand_in or dataset.trouble):
        return False
    with place:
        if dataset.is_stand_in:
            st.warning(
                "MNIST could not be fetched, so these are scikit-learn's 1,797 small digits scaled up to 28 × 28. Everything works, "
                f"but figures are not MNIST's. {messages.plain(dataset.trouble)} Or save {datasets.URL} in ~/.keras/datasets.",
                icon=":material/cloud_off:",
            )
        else:
            st.info(messages.plain(dataset.trouble), icon=":material/save:")
        if again is not None:
            _wait_for(again)
        elif dataset.is_stand_in:
            st.button("Try again", icon=":material/refresh:", key="look-for-mnist", on_click=look_again)
    return True


def is_of_other(run: Run) -> bool:
    """Return whether a run was trained on another data set than the one in use, as far as both are known."""
    chosen = datasets.chosen()
    with suppress(RunDamaged):
        return chosen is not None and run.record().dataset not in ("", chosen.digest)
    return False


@st.fragment(run_every=0.5)
def _wait_for(loading: _Loading) -> None:
    if loading.is_done(0):
        st.rerun()
    st.progress(loading.share, "Fetching MNIST, 11 MB, once for this machine …")


class _Surveying:
    """The training file's survey and the test file's traits, measured on a thread."""

    def __init__(self, dataset: datasets.Dataset) -> None:
        self.dataset, self.survey, self.test_traits = dataset, None, None
        self._thread = threading.Thread(target=self._measure, name="data-survey", daemon=True)
        self._thread.start()

    def _measure(self) -> None:
        self.test_traits = measures.traits(self.dataset.x_test)
        self.survey = measures.survey(self.dataset.x_train, self.dataset.y_train)

    def is_done(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()


_surveying: _Surveying | None = None


def survey(dataset: datasets.Dataset) -> tuple[Survey, Traits]:
    """Return the measures of the training file and the traits of the test file's images, computed once for the whole
    process.

    The first time the page stops here for some seconds, says so, and goes on when it is done.
    """
    global _surveying
    with _current_lock:
        if _surveying is None or _surveying.dataset.digest != dataset.digest:
            _surveying = _Surveying(dataset)
        under_way = _surveying
    if not under_way.is_done(SURVEY_PATIENCE_SECONDS):
        _wait_for_survey(under_way)
        st.stop()
    return under_way.survey, under_way.test_traits


@st.fragment(run_every=0.3)
def _wait_for_survey(under_way: _Surveying) -> None:
    if under_way.is_done(0):
        st.rerun()
    st.caption(f":material/hourglass_top: Measuring {len(under_way.dataset.x_train):,} digits, once …")
