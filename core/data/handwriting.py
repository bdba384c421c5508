"""One's own handwriting as a data set: drawings prepared the way MNIST's digits were, each with its label.

It is saved and loaded as a plain `.npz` of two arrays, `x` (n, 28, 28) uint8 and `y` (n,) integers 0..9. A file can
come from anyone: nothing in it is unpickled, and nothing is unpacked before its size, type and shape are known to be
right. Other layouts are accepted if their meaning is clear; otherwise the error shows the line of NumPy that corrects
the file.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from core.errors import DataError
from core.model.specs import CLASSES, IMAGE_SHAPE
from core.runs.arrays import UNREADABLE
from core.runs.storage import Storage, reason

MOST_DRAWINGS = 1000
MOST_BYTES = 2_000_000  # of a file; as many drawings as there may be take 785,000, unpacked
FILE = "handwriting.npz"  # beside the runs
_SIDE, _PIXELS = IMAGE_SHAPE[:2], IMAGE_SHAPE[0] * IMAGE_SHAPE[1]
LIGHT_RIM = 0.9  # of an image's outermost pixels are light where it is dark on light
_HEADER_BYTES = 4096  # of an array's header, at most
_changing = threading.Lock()


def _no_images() -> np.ndarray:
    return np.zeros((0, *_SIDE), np.uint8)


def _no_labels() -> np.ndarray:
    return np.zeros(0, np.uint8)


@dataclass(frozen=True, eq=False)
class Handwriting:
    """Drawings in the order they were kept, no two with the same pixels: `images` (n, 28, 28) uint8, ink 255 on paper 0, and what
    they were meant to be, `labels` (n,) uint8 in 0..9; n is at most `MOST_DRAWINGS`. `inverted` of them came dark on light."""

    images: np.ndarray = field(default_factory=_no_images)
    labels: np.ndarray = field(default_factory=_no_labels)
    inverted: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, image: np.ndarray) -> int | None:
        """Return the place of a drawing, (28, 28) uint8; None if it isn't kept."""
        found = np.flatnonzero((self.images == image).all(axis=(1, 2)))
        return int(found[0]) if len(found) else None

    def kept(self, image: np.ndarray, label: int) -> Handwriting:
        """Return the handwriting with one more drawing; one that is kept already takes the new label.

        Args:
            image: (28, 28) uint8, ink 255 on 0.
            label: 0..9.

        Raises:
            DataError: if there is no room.
        """
        place = self.index(image)
        if place is not None:
            return self.relabelled(place, label)
        if len(self) >= MOST_DRAWINGS:
            raise DataError(
                f"Your handwriting holds {MOST_DRAWINGS:,} drawings, which is as many as it can. Remove some on the page Data."
            )
        return Handwriting(np.concatenate([self.images, image[None]]), np.append(self.labels, np.uint8(label)))

    def relabelled(self, place: int, label: int) -> Handwriting:
        """Return the handwriting with another label for the drawing at `place`."""
        labels = self.labels.copy()
        labels[place] = label
        return replace(self, labels=labels)

    def without(self, place: int) -> Handwriting:
        """Return the handwriting without the drawing at `place`."""
        return Handwriting(np.delete(self.images, place, axis=0), np.delete(self.labels, place))

    def added(self, other: Handwriting) -> Handwriting:
        """Return the handwriting with another's drawings that aren't kept yet; those that are keep the label they have
        here.

        Raises:
            DataError: if there is no room for all of them.
        """
        both = _unlike(np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels]))
        if len(both) > MOST_DRAWINGS:
            raise DataError(
                f"Expected at most {MOST_DRAWINGS:,} drawings in all, received {len(other):,} beside the {len(self):,} that are "
                "kept. Remove some on the page Data, or add a smaller file."
            )
        return both


def to_npz(handwriting: Handwriting) -> bytes:
    """Return the drawings as a compressed `.npz`: `x` (n, 28, 28) uint8 and `y` (n,) uint8."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=handwriting.images, y=handwriting.labels)
    return buffer.getvalue()


def from_npz(content: bytes) -> Handwriting:
    """Return the handwriting in a file that `to_npz` wrote, or in one of the same kind.

    Pixels may be (n, 784), (n, 28, 28), (n, 28, 28, 1) or (n, 1, 28, 28), 0..255 or 0..1 of any type; labels (n,), (n,
    1) or one-hot (n, 10). Drawings that are dark on light are inverted. Of drawings with the same pixels the first is
    kept.

    Raises:
        DataError: with what is wrong, what was expected and what was received, and the line of NumPy that corrects it.
    """
    if len(content) > MOST_BYTES:
        raise _wrong(f"a file of at most {MOST_BYTES / 1e6:g} MB", f"{len(content) / 1e6:.1f} MB")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            images = _array(archive, "x", _PIXELS * np.dtype(float).itemsize)
            labels = _array(archive, "y", CLASSES * np.dtype(float).itemsize)
    except UNREADABLE:
        raise _wrong("an .npz file, as np.savez writes it", "something else, or a damaged one") from None
    images = _pixels(images)
    labels = _digits(labels, len(images))
    is_inverted = _is_dark_on_light(images)
    images[is_inverted] = 255 - images[is_inverted]
    return replace(_unlike(images, labels), inverted=int(is_inverted.sum()))


def at(root: str) -> Handwriting:
    """Return the handwriting that is kept beside the runs; an empty one if there is none yet.

    Raises:
        DataError: if its file can't be used; it is left as it is.
    """
    try:
        return _read(root, Storage(root).modified(FILE))
    except FileNotFoundError:
        return Handwriting()
    except OSError as error:
        raise DataError(f"Your handwriting in {root}/{FILE} can't be read: {reason(error)}.") from None


@lru_cache(maxsize=30)
def _read(root: str, modified: float) -> Handwriting:
    """Return what the file held when it was last written, since pages ask for it each time they are drawn."""
    content = Storage(root).read(FILE)
    try:
        return from_npz(content) if content else Handwriting()
    except DataError as error:
        raise DataError(f"Your handwriting in {root}/{FILE}: {error} Move the file away to begin anew.") from None


def change(root: str, changed: Callable[[Handwriting], Handwriting]) -> None:
    """Change the handwriting beside the runs, whichever tab did so before; the file is written whole or not at all.

    Raises:
        DataError: if there is one that can't be used, or no room for more drawings.
        StorageFull: if it can't be written.
    """
    with _changing:
        _read.cache_clear()  # a disk's clock may not tell two writes apart
        handwriting = changed(at(root))
        content = to_npz(handwriting) if len(handwriting) else b""
        Storage(root).write(FILE, content, "Your handwriting")
        _read.cache_clear()


def _array(archive: zipfile.ZipFile, name: str, bytes_each: int) -> np.ndarray:
    """Return an array of an archive, after checking its size, type and shape."""
    member = next((info for info in archive.infolist() if info.filename == f"{name}.npy"), None)
    if member is None:
        names = ", ".join(info.filename[:20] for info in archive.infolist()[:4]) or "nothing"
        raise _wrong("the arrays x and y", f"no {name} but {names}")
    most = int(MOST_DRAWINGS * bytes_each) + _HEADER_BYTES
    if member.file_size > most:
        raise _wrong(f"at most {MOST_DRAWINGS:,} drawings", f"{member.file_size / 1e6:,.1f} MB of {name}")
    if member.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):  # other compressions may need gigabytes to unpack
        raise _wrong("an .npz file, as np.savez writes it", "one packed otherwise")
    with archive.open(member) as stream:
        raw = stream.read(member.file_size + 1)  # no more than its header says, even if there is more
    try:
        return np.lib.format.read_array(_checked(raw, name), allow_pickle=False, max_header_size=_HEADER_BYTES)
    except UNREADABLE:
        raise _wrong(f"{name} as NumPy writes an array of numbers", "something else, or a damaged one") from None


def _checked(raw: bytes, name: str) -> io.BytesIO:
    """Return the bytes of an array if its header asks for no more values than there are: NumPy allocates what a header
    says."""
    stream = io.BytesIO(raw)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f"version {version}")
    shape, _, dtype = read_header[version](stream, max_header_size=_HEADER_BYTES)
    if dtype.hasobject:
        raise _wrong(f"{name} of plain numbers", "Python objects, which are never unpacked here")
    count = 1
    for side in shape:
        count *= side
    if count * dtype.itemsize != len(raw) - stream.tell():
        raise ValueError("another size than it says")
    stream.seek(0)
    return stream


def _pixels(x: np.ndarray) -> np.ndarray:
    """Return the images as (n, 28, 28) uint8, light or dark as they came."""
    if x.shape[1:] not in ((_PIXELS,), _SIDE, (*_SIDE, 1), (1, *_SIDE)) or not len(x):
        lines = {
            (*_SIDE, *x.shape[2:3]): "x = np.moveaxis(x, -1, 0)",
            _SIDE: "x, y = x[None], np.array([y])",
            (_PIXELS,): "x, y = x[None], np.array([y])",
            (*x.shape[:1], *_SIDE, 3): "x = x.mean(axis=3)",
            (*x.shape[:1], *_SIDE, 4): "x = x[..., :3].mean(axis=3)",
        }
        raise _wrong(
            "x of shape (n, 28, 28), n > 0, and type uint8", f"{x.shape} of {x.dtype.name}", lines.get(x.shape, "")
        )
    if len(x) > MOST_DRAWINGS:
        raise _wrong(
            f"at most {MOST_DRAWINGS:,} drawings", f"{len(x):,}", f"x, y = x[:{MOST_DRAWINGS}], y[:{MOST_DRAWINGS}]"
        )
    if x.dtype.kind not in "biuf":
        line = "x = x.astype(float)" if x.dtype.kind in "SU" else ""
        raise _wrong("x of numbers from 0 to 255", f"{x.shape} of {x.dtype.name}", line)
    x = x.reshape(-1, *_SIDE)
    if x.dtype == np.uint8 and x.max() > 1:
        return x.copy()
    if not np.isfinite(x).all():
        raise _wrong(
            "x of numbers from 0 to 255", "some that are NaN or infinite", "x = np.nan_to_num(x, posinf=0, neginf=0)"
        )
    least, most = float(x.min()), float(x.max())
    if least < 0 or most > 255:
        line = "x = (x + 1) * 127.5" if least >= -1 and most <= 1 else "x = (x - x.min()) / (x.max() - x.min()) * 255"
        raise _wrong("x of numbers from 0 to 255", f"{least:g} to {most:g}", line)
    return np.rint(x.astype(float) * (255 if most <= 1 else 1)).astype(np.uint8)


def _digits(y: np.ndarray, count: int) -> np.ndarray:
    """Return the labels of `count` images as (n,) uint8 in 0..9."""
    is_a_number = y.dtype.kind in "iuf"
    if y.shape == (count, CLASSES) and y.dtype.kind in "biuf":
        if not (((y != 0).sum(axis=1) == 1) & (y.max(axis=1) > 0)).all():
            raise _wrong(f"y of shape ({count},), or one-hot", f"{y.shape} that is not one-hot", "y = y.argmax(axis=1)")
        return y.argmax(axis=1).astype(np.uint8)
    if y.shape not in ((count,), (count, 1)) or not is_a_number:
        is_text = y.shape == (count,) and y.dtype.kind in "SU"
        raise _wrong(
            f"y of shape ({count},) and an integer type",
            f"{y.shape} of {y.dtype.name}",
            "y = y.astype(int)" if is_text else "",
        )
    y = y.reshape(count)
    if (y != np.floor(y)).any():  # NaN is no number's equal
        raise _wrong(f"labels y from 0 to {CLASSES - 1}", "some that are no whole numbers", "y = np.rint(y)")
    if y.min() < 0 or y.max() >= CLASSES:
        # MATLAB's files have 10 stand for 0.
        line = "y = y % 10" if y.min() == 1 and y.max() == CLASSES else ""
        raise _wrong(f"labels y from 0 to {CLASSES - 1}", f"{y.min():g} to {y.max():g}", line)
    return y.astype(np.uint8)


def _is_dark_on_light(images: np.ndarray) -> np.ndarray:
    """Return which images, (n, 28, 28) uint8, are ink 0 on paper 255, (n,) bool: those whose rim, where no digit
    reaches, is light.
    """
    rim = np.ones(_SIDE, bool)
    rim[1:-1, 1:-1] = False
    return (images[:, rim] > 127).mean(axis=1) > LIGHT_RIM


def _unlike(images: np.ndarray, labels: np.ndarray) -> Handwriting:
    """Return the handwriting without drawings whose pixels came before."""
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    kept = np.sort(first)
    return Handwriting(images[kept], labels[kept])


def _wrong(expected: str, received: object, line: str = "") -> DataError:
    mend = " A line of NumPy mends the file." if line else ""
    error = DataError(f"These drawings can't be used: expected {expected}, received {received}.{mend}")
    error.line = line
    return error
