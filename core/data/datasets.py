"""MNIST and its stand-ins: where the images come from, what shape they have, how they are split.

60,000 training and 10,000 test images of handwritten digits, (28, 28) uint8, ink 255 on paper 0, looked for in order:
1. the .npz file that the environment variable `DIGITLAB_MNIST` names; if that one is broken we say so and stop;
2. Keras' cache, `$KERAS_HOME/datasets/mnist.npz` (`~/.keras` unless set), shared with every Keras program of this user;
3. the download that Keras itself makes, kept in that cache (skipped with `DIGITLAB_OFFLINE=1`);
4. offline, scikit-learn's 1,797 digits made to look like MNIST: a stand-in, to be announced as one.

One process chooses, the one that serves the pages. What it chose is a `DatasetId`, which goes along with every question and training,
so that a worker answers for those digits or says that it hasn't got them; it never looks for others.
"""

import hashlib
import io
import logging
import os
import socket
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from core.data import download
from core.errors import DataError, DownloadFailed, EngineNotReady
from core.ink.preparation import Preparation, to_mnist

# Source: keras.datasets.mnist, whose download this is, byte for byte.
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
SIZE = 11_490_434  # bytes
ABANDONED_SECONDS = 600.0  # since the last write to a partial file, after which nobody is writing it any more

ARRAYS = ("x_train", "y_train", "x_test", "y_test")

STAND_IN_TEST_SHARE = 1 / 6  # about MNIST's own 1 in 7

log = logging.getLogger(__name__)


class Source(StrEnum):
    """The place that a data set came from."""

    FILE = "file"
    CACHE = "cache"
    DOWNLOAD = "download"
    STAND_IN = "stand-in"


@dataclass(frozen=True)
class DatasetId:
    """The identity of a data set, which is sent to a worker in its place.

    Attributes:
        digest: as in `Dataset`.
        source: where it came from.
        path: of its file on the machine that chose it; empty if there is none.
    """

    digest: str
    source: Source
    path: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of digits and their labels. The arrays are made read-only: every session and thread shares them.

    Attributes:
        x_train: (n, 28, 28) uint8, ink 255 on paper 0.
        y_train: (n,) uint8 in 0..9.
        x_test: (m, 28, 28) uint8.
        y_test: (m,) uint8 in 0..9.
        source: where it came from.
        path: of its file; empty where there is none.
        trouble: what went wrong on the way to MNIST and what to do about it, in sentences; empty where nothing did.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: Source
    path: str = ""
    trouble: str = ""

    def __post_init__(self) -> None:
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            array.setflags(write=False)

    @property
    def is_stand_in(self) -> bool:
        """True if these are scikit-learn's digits because MNIST could not be had."""
        return self.source is Source.STAND_IN

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the arrays, in hex digits: equal for equal images and labels in the same order, whatever file they are in."""
        found = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            found.update(repr((array.shape, array.dtype.str)).encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    @property
    def id(self) -> DatasetId:
        """Identity that is sent in its place."""
        return DatasetId(self.digest, self.source, self.path)


_lock, _searching = threading.Lock(), threading.Lock()
_loaded: Dataset | None = None


class _Own(Enum):
    """What a process is about that nobody named a data set to."""

    OWN = "own"


_OWN: Final = _Own.OWN
_asked: ContextVar[DatasetId | _Own | None] = ContextVar("asked", default=_OWN)


def load(on_progress: Callable[[float], None] | None = None) -> Dataset:
    """Return the data set in use: the one that `using` names, or else the one that this process chose.

    It is chosen on the first call as the module's docstring says, and stays; a stand-in stays until `look_again` finds
    MNIST. Calls during the first one wait for it. An error is not remembered.

    Args:
        on_progress: called while downloading with the share that has arrived, in [0, 1].

    Raises:
        DataError: if `DIGITLAB_MNIST` names a file that is missing, broken or foreign, or if the named data set isn't
            on this machine.
        EngineNotReady: if the process that asks doesn't know the data set yet.
    """
    global _loaded
    asked = _asked.get()
    if asked is None:
        raise EngineNotReady("The digits are still being fetched.")
    with _lock:
        if _loaded is None or (asked is not _OWN and _loaded.digest != asked.digest):
            _loaded = _find(on_progress or (lambda share: None)) if asked is _OWN else _same(asked)
        return _loaded


def look_again(on_progress: Callable[[float], None]) -> Dataset:
    """Look for MNIST once more; what is in use stays so meanwhile. Returns what is in use then.

    Raises:
        DataError: as `load`.
    """
    global _loaded
    with _searching:
        found = _find(on_progress)
        with _lock:
            _loaded = found
        return found


def chosen() -> DatasetId | None:
    """Return the identity of the data set that this process chose; None if it hasn't yet. Does not wait."""
    return None if _loaded is None else _loaded.id


@contextmanager
def using(asked: DatasetId | None) -> Iterator[None]:
    """Make `load` return this data set and no other, for this thread's work inside the context.

    Args:
        asked: the data set, or None for one that isn't known yet.
    """
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def read_npz(source: str | os.PathLike[str] | bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read an .npz file in the layout of Keras' mnist.npz. Nothing in it is ever unpickled; other arrays are ignored.

    Args:
        source: the file's path, or its bytes.

    Returns:
        x_train (n, 28, 28) uint8, y_train (n,) uint8 in 0..9, x_test (m, 28, 28) uint8, y_test (m,) uint8 in 0..9.

    Raises:
        DataError: it can't be read, isn't an .npz file, or an array is missing or has another shape, type or range.
    """
    name = "The data set" if isinstance(source, bytes) else f"The data set {source}"
    try:
        content = source if isinstance(source, bytes) else Path(os.path.expanduser(source)).read_bytes()
    except OSError as error:
        raise _data_error(name, "a file that can be read", error.strerror or error) from error
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise _data_error(name, "an .npz file", f"{len(content):,} bytes of something else, or of a damaged one")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {key: np.asarray(archive[key]) for key in ARRAYS if key in archive}
    except Exception as error:  # damaged bytes drive zipfile and numpy into a dozen types of error
        raise _data_error(name, "an .npz file", f"a damaged one ({error})") from error
    if missing := [key for key in ARRAYS if key not in arrays]:
        raise _data_error(name, f"the arrays {', '.join(ARRAYS)}", f"no {', '.join(missing)}")
    x_train, y_train, x_test, y_test = (arrays[key] for key in ARRAYS)
    return *_checked(name, "train", x_train, y_train), *_checked(name, "test", x_test, y_test)


def split(y: np.ndarray, train_size: int | None, validation_split: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose which images to train on and which to hold out for validation, both stratified by class.

    The images used in all hold each class with its share of y to within one image, and the held-out ones each class
    with its share of the used to within one image (largest remainders, the lower class first among equals). Same
    arguments, same indices.

    Args:
        y: (n,) integer, the class of every image there is.
        train_size: how many images to use in all, held-out ones included; None or n and more for all of them.
        validation_split: the share of the used images to hold out, in [0, 0.5]; rounded to whole images, so that of
            very few images it may be none.
        seed: which images of a class are chosen.

    Returns:
        Training and validation indices into y: (k,) and (l,) int64, each ascending, without an image in common.

    Raises:
        ValueError: an argument is out of its range.
    """
    if len(y) == 0 or (train_size is not None and train_size < 1) or not 0 <= validation_split <= 0.5:
        raise ValueError(
            "Expected images, a train_size of 1 or more (or None) and a validation_split in [0, 0.5], "
            f"but received {len(y)} images, {train_size=} and {validation_split=}."
        )
    size = len(y) if train_size is None else min(train_size, len(y))
    rng = np.random.default_rng(seed)
    used = _draw(y, np.arange(len(y), dtype=np.int64), size, rng)
    validation = _draw(y, used, round(size * validation_split), rng)
    return np.setdiff1d(used, validation, assume_unique=True), validation


def _draw(y: np.ndarray, indices: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `size` of the indices, each class with its share of them: (size,) int64, ascending."""
    classes, counts = np.unique(y[indices], return_counts=True)
    sizes, remainders = np.divmod(size * counts, len(indices))
    sizes[np.argsort(-remainders, kind="stable")[: size - sizes.sum()]] += 1
    drawn = [rng.choice(indices[y[indices] == c], n, replace=False) for c, n in zip(classes, sizes, strict=True)]
    return np.sort(np.concatenate(drawn))


def _find(on_progress: Callable[[float], None]) -> Dataset:
    """Look in one place after the other."""
    if path := os.environ.get("DIGITLAB_MNIST"):
        return Dataset(*read_npz(path), Source.FILE, os.path.abspath(os.path.expanduser(path)))
    try:
        return _cached() or _downloaded(on_progress)
    except DownloadFailed as error:
        log.warning("MNIST could not be downloaded: %s", error)
        return _stand_in(str(error))


def _same(asked: DatasetId) -> Dataset:
    """Return the data set that another process chose, found on this machine.

    Raises:
        DataError: if it isn't here.
    """
    why = ""
    for path in dict.fromkeys(filter(None, (asked.path, os.environ.get("DIGITLAB_MNIST"), str(_cache())))):
        with suppress(DataError):
            found = Dataset(*read_npz(path), asked.source, path)
            if found.digest == asked.digest:
                return found
    try:
        if asked.source is Source.STAND_IN and (found := _stand_in()).digest == asked.digest:
            return found
        if asked.source in (Source.CACHE, Source.DOWNLOAD) and (found := _downloaded()).digest == asked.digest:
            return found
    except DownloadFailed as error:
        why = f" {error}"
    raise DataError(
        f"The worker on {socket.gethostname()} does not have the digits that this lab uses (SHA-256 {asked.digest[:12]} …), so it "
        f"can't work with them. Let DIGITLAB_MNIST name the same file for the server and every worker.{why}"
    )


def _cache() -> Path:
    """Return the path at which Keras keeps the file."""
    return Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"), "datasets", "mnist.npz")


def _cached() -> Dataset | None:
    """Return MNIST from Keras' cache; None if it isn't there, or isn't MNIST."""
    try:
        content = _cache().read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() == SHA256:
        return Dataset(*read_npz(content), Source.CACHE, str(_cache()))
    log.warning("%s is not Keras' MNIST file (another SHA-256), so it is downloaded again.", _cache())
    return None


def _downloaded(on_progress: Callable[[float], None] = lambda share: None) -> Dataset:
    """Download MNIST from Keras' own address and keep it in Keras' cache if possible.

    Raises:
        DownloadFailed: with the reason why it can't be had.
    """
    if os.environ.get("DIGITLAB_OFFLINE") == "1":
        raise DownloadFailed("DIGITLAB_OFFLINE=1 keeps this lab from fetching it: start the lab without that.")
    content = download.fetch(URL, SIZE, SHA256, on_progress)
    trouble = _keep(content, _cache())
    return Dataset(*read_npz(content), Source.DOWNLOAD, "" if trouble else str(_cache()), trouble)


def _keep(content: bytes, path: Path) -> str:
    """Write a file whole or not at all, also when several processes do so at once. Why it could not be, and what to do, in
    sentences; empty where it was.

    Named, not made by tempfile: a file that others may share needs the umask's permissions, not tempfile's 0600.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned_parts(path)
        part.write_bytes(content)
        os.replace(part, path)
        return ""
    except OSError as error:
        log.warning("MNIST could not be kept in %s: %s", path, error)
        return (
            f"MNIST is here, but could not be kept for the next start ({error.strerror or error}). Free some space for Keras' "
            "cache, or let KERAS_HOME name another folder."
        )
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _remove_abandoned_parts(path: Path) -> None:
    """Remove what processes that were killed while they wrote the file left of it."""
    for part in path.parent.glob(f"{path.name}.*.part"):
        with suppress(OSError):  # its writer was quicker
            if time.time() - part.stat().st_mtime > ABANDONED_SECONDS:
                part.unlink()


def _stand_in(trouble: str = "") -> Dataset:
    """Return scikit-learn's 1,797 digits of 8x8, 0..16, made to look like MNIST, 1,497 of them for training.

    They go through the same steps as a drawing, except for the width of strokes, which 8x8 pixels hardly show. That
    matters: trained on them, a support vector machine classifies 80% of 550 drawn digits correctly, but 67% to 71% if
    they are only enlarged to 20x20 in the middle.

    Source: sklearn.datasets.load_digits, from E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI.
    """
    from sklearn.datasets import load_digits  # slow to import, and needed here only

    digits = load_digits()
    # A Bunch, unless asked for a tuple.
    images = (digits.images / 16).astype(np.float32)  # pyright: ignore[reportAttributeAccessIssue]
    y = digits.target.astype(np.uint8)  # pyright: ignore[reportAttributeAccessIssue]
    x = np.stack([to_mnist(image, Preparation(strokes=False)) for image in images])
    train, test = split(y, None, STAND_IN_TEST_SHARE, seed=0)
    return Dataset(x[train], y[train], x[test], y[test], Source.STAND_IN, trouble=trouble)


def _checked(name: str, part: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of one part, the labels as uint8, if they are valid."""
    if x.ndim != 3 or x.shape[1:] != (28, 28) or x.dtype != np.uint8 or len(x) == 0:
        raise _data_error(name, f"x_{part} of shape (n, 28, 28), n > 0, and type uint8", f"{x.shape} {x.dtype}")
    if y.shape != x.shape[:1] or not np.issubdtype(y.dtype, np.integer):
        raise _data_error(name, f"y_{part} of shape ({len(x)},) and an integer type", f"{y.shape} {y.dtype}")
    if y.min() < 0 or y.max() > 9:
        raise _data_error(name, f"y_{part} in 0..9", f"{y.min()}..{y.max()}")
    return x, y.astype(np.uint8)


def _data_error(name: str, expected: str, received: object) -> DataError:
    return DataError(
        f"{name} can't be used: expected {expected}, received {received}. "
        "Let DIGITLAB_MNIST name a file like Keras' mnist.npz, or unset it to have MNIST downloaded."
    )
