"""Values that are read from a run's folder, or computed of the digits, and code that is loaded, once for all sessions."""

from __future__ import annotations

import threading
from functools import cache
from importlib import import_module

import numpy as np
import streamlit as st

from core.data import datasets, measures
from core.data.datasets import Dataset
from core.data.measures import Neighbours
from core.data.splits import Split, is_of
from core.errors import RunDamaged
from core.evaluation.questions import AnswerHeldOut, AnswerTest, BreakIt
from core.model.specs import Training
from core.runs.contents import Evaluation, Readings, Robustness
from core.runs.network import Network
from ui import digits


@cache
def load_beside(module: str) -> None:
    """Begin to load a module that takes long, on a thread, before a script needs it."""
    threading.Thread(target=import_module, args=(module,), name=f"load-{module}", daemon=True).start()


def question(network: Network, split: Split) -> AnswerTest | AnswerHeldOut:
    """Return the question for a network's answers on the test or the validation images."""
    return AnswerTest(network) if split is Split.TEST else AnswerHeldOut(network)


def answers(network: Network, split: Split) -> Evaluation | None:
    """Return the answers that are kept beside the run; None where there are none, they can't be read, or are of another data set."""
    try:
        return _answers(network, split, digits.dataset().digest)
    except (LookupError, RunDamaged):
        return None


def robustness(network: Network) -> Robustness | None:
    """Return the network's predictions for damaged digits, if they are kept and for the data set in use."""
    try:
        return _robustness(network, digits.dataset().digest)
    except (LookupError, RunDamaged):
        return None


def readings(dataset: Dataset, network: Network) -> Readings | None:
    """Return the network's predictions for all digits of the training file, if they are kept and for this data set."""
    try:
        return _readings(network, dataset.digest, dataset)
    except (LookupError, RunDamaged):
        return None


def split_of(dataset: Dataset, training: Training, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a split's images (m, 28, 28) and labels (m,), those of its whole file, and which of them are the split's, (n,) int64."""
    if split is Split.TEST:
        return dataset.x_test, dataset.y_test, np.arange(len(dataset.y_test))
    labels = dataset.y_train
    trained_on, held_out = _split(labels, len(labels), training.train_size, training.validation_split, training.seed)
    return dataset.x_train, labels, trained_on if split is Split.TRAINING else held_out


def nearest_by_pixels(dataset: Dataset, image: np.ndarray, but: int | None) -> Neighbours:
    """Return the digits of the training file nearest to one, (28, 28) uint8; `but` an index to leave out."""
    return _nearest(dataset.x_train, len(dataset.x_train), image.tobytes(), but)


# An error, unlike None, is not cached.


@st.cache_data(max_entries=8, show_spinner=False)
def _answers(network: Network, split: Split, dataset: str) -> Evaluation:
    return _found(question(network, split).kept())


@st.cache_data(max_entries=8, show_spinner=False)
def _robustness(network: Network, dataset: str) -> Robustness:
    return _found(BreakIt(network).kept())


@st.cache_resource(max_entries=2, show_spinner=False)
def _readings(network: Network, digest: str, _dataset: Dataset) -> Readings:
    found = network.readings()
    return _found(found if found is not None and is_of(found, _dataset, _dataset.y_train) else None)


def _found(answer):
    if answer is None:
        raise LookupError
    return answer


@st.cache_data(max_entries=8, show_spinner=False)
def _split(
    _labels: np.ndarray, size: int, train_size: int, validation_split: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `datasets.split` does: the labels are told apart by their number, of which each data set has its own."""
    trained_on, held_out = datasets.split(_labels, train_size, validation_split, seed)
    return np.sort(trained_on), np.sort(held_out)


@st.cache_data(max_entries=100, show_spinner=False)
def _nearest(_images: np.ndarray, count: int, image: bytes, but: int | None) -> Neighbours:
    """Return what `measures.nearest` does: the images are told apart by their number, of which each data set has its own."""
    return measures.nearest(_images, np.frombuffer(image, np.uint8), but=but)
