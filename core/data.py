"""MNIST and its stand-ins: where the images come from, what shape they have, how they are split.

60,000 training and 10,000 test images of handwritten digits, (28, 28) uint8, ink 255 on paper 0, looked for in order:
1. the .npz file that the environment variable `DIGITLAB_MNIST` names; if that one is broken we say so and stop;
2. Keras' cache, `$KERAS_HOME/datasets/mnist.npz` (`~/.keras` unless set), shared with every Keras program of this user;
3. the download that Keras itself makes, kept in that cache (skipped with `DIGITLAB_OFFLINE=1`);
4. offline, scikit-learn's 1,797 digits made to look like MNIST: a stand-in, to be announced as one.
"""

import hashlib
import http.client
import io
import logging
import os
import threading
import urllib.request
import uuid
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from core.drawing import Preparation, to_mnist
from core.errors import DataError

# Source: keras.datasets.mnist, whose download this is, byte for byte.
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"

TIMEOUT = 10.0  # seconds without a single byte; a slow line is not a dead one
CHUNK = 256 * 1024  # bytes between two reports of progress, about 2% of the file

ARRAYS = ("x_train", "y_train", "x_test", "y_test")

STAND_IN_TEST_SHARE = 1 / 6  # about MNIST's own 1 in 7

log = logging.getLogger(__name__)


class Source(StrEnum):
    """Where a data set came from."""

    FILE = "file"
    CACHE = "cache"
    DOWNLOAD = "download"
    STAND_IN = "stand-in"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of digits and what they show. The arrays are made read-only: every session and thread shares them.

    Attributes:
        x_train: (n, 28, 28) uint8, ink 255 on paper 0.
        y_train: (n,) uint8 in 0..9.
        x_test: (m, 28, 28) uint8.
        y_test: (m,) uint8 in 0..9.
        source: where it came from.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: Source

    def __post_init__(self) -> None:
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            array.setflags(write=False)

    @property
    def is_stand_in(self) -> bool:
        """Whether these are scikit-learn's digits because MNIST was out of reach."""
        return self.source is Source.STAND_IN


_lock = threading.Lock()
_loaded: Dataset | None = None


def load(on_progress: Callable[[float], None] | None = None) -> Dataset:
    """The data set of this process, found on the first call as the module's docstring says.

    Later calls return the same object, a stand-in too: restart the app to look for MNIST again. Calls that come while
    the first is under way wait for it. An error is not remembered.

    Args:
        on_progress: called while downloading with the share that has arrived, in [0, 1].

    Raises:
        DataError: `DIGITLAB_MNIST` names a file that is missing, broken or foreign.
    """
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _find(on_progress or (lambda share: None))
        return _loaded


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
    with its share of the used to within one image (largest remainders, the lower class first among equals).
    Same arguments, same indices.

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
        return Dataset(*read_npz(path), Source.FILE)
    cache = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"), "datasets", "mnist.npz")
    with suppress(OSError):
        content = cache.read_bytes()
        if _is_genuine(content):
            return Dataset(*read_npz(content), Source.CACHE)
        log.warning("%s is not Keras' MNIST file (another SHA-256), so it is downloaded again.", cache)
    if os.environ.get("DIGITLAB_OFFLINE") != "1" and (content := _download(on_progress)):
        _keep(content, cache)
        return Dataset(*read_npz(content), Source.DOWNLOAD)
    return _stand_in()


def _is_genuine(content: bytes) -> bool:
    """Whether these bytes are Keras' mnist.npz."""
    return hashlib.sha256(content).hexdigest() == SHA256


def _download(on_progress: Callable[[float], None]) -> bytes | None:
    """Keras' mnist.npz from its own address, or None, with the reason in the log, if it can't be had."""
    content = bytearray()
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT) as response:
            total = response.length
            while chunk := response.read(CHUNK):
                content += chunk
                if total:
                    on_progress(min(len(content) / total, 1.0))
    except (OSError, http.client.HTTPException) as error:
        log.warning("MNIST could not be downloaded from %s: %s", URL, error)
        return None
    if not _is_genuine(content):
        log.warning("%s gave %d bytes that are not Keras' MNIST file (another SHA-256).", URL, len(content))
        return None
    return bytes(content)


def _keep(content: bytes, path: Path) -> None:
    """Write a file whole or not at all, also when several processes do so at once. Failing to is no more than logged.

    Named, not made by tempfile: a file that others may share needs the umask's permissions, not tempfile's 0600.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        log.warning("MNIST could not be kept in %s, so the next start downloads it again: %s", path, error)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _stand_in() -> Dataset:
    """scikit-learn's 1,797 digits of 8x8, 0..16, as MNIST would look, 1,497 of them for training.

    They go through the same steps as a drawing, but for the width of strokes, which 8x8 pixels hardly hold. That matters:
    trained on them, a support vector machine reads 80% of 550 drawn digits, but 67% to 71% if they are only enlarged to
    20x20 in the middle.

    Source: sklearn.datasets.load_digits, from E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI.
    """
    from sklearn.datasets import load_digits  # slow to import, and needed here only

    digits = load_digits()
    x = np.stack([to_mnist(image, Preparation(strokes=False)) for image in (digits.images / 16).astype(np.float32)])
    y = digits.target.astype(np.uint8)
    train, test = split(y, None, STAND_IN_TEST_SHARE, seed=0)
    return Dataset(x[train], y[train], x[test], y[test], Source.STAND_IN)


def _checked(name: str, part: str, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of one part, the labels as uint8, if they are what they have to be."""
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
