"""One's own handwriting as a data set: drawings prepared the way MNIST's digits were, each with what it was meant to be.

It leaves and comes as a plain `.npz` of two arrays, `x` (n, 28, 28) uint8 and `y` (n,) integers 0..9. A file is a stranger's:
nothing in it is unpickled, and nothing is unpacked before its size, type and shape are known to be right.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from core.arrays import UNREADABLE
from core.errors import DataError
from core.specs import CLASSES, IMAGE_SHAPE
from core.storage import Storage, reason

MOST_DRAWINGS = 1000
MOST_BYTES = 2_000_000  # of a file; as many drawings as there may be take 785,000, unpacked
FILE = "handwriting.npz"  # beside the runs
_SIDE = IMAGE_SHAPE[:2]
_HEADER_BYTES = 4096  # that an array's description may take
_changing = threading.Lock()


def _no_images() -> np.ndarray:
    return np.zeros((0, *_SIDE), np.uint8)


def _no_labels() -> np.ndarray:
    return np.zeros(0, np.uint8)


@dataclass(frozen=True, eq=False)
class Handwriting:
    """Drawings in the order they were kept, no two with the same pixels: `images` (n, 28, 28) uint8, ink 255 on paper 0, and what
    they were meant to be, `labels` (n,) uint8 in 0..9; n is at most `MOST_DRAWINGS`."""

    images: np.ndarray = field(default_factory=_no_images)
    labels: np.ndarray = field(default_factory=_no_labels)

    def __len__(self) -> int:
        return len(self.labels)

    def index(self, image: np.ndarray) -> int | None:
        """The place of a drawing, (28, 28) uint8; None where it isn't kept."""
        found = np.flatnonzero((self.images == image).all(axis=(1, 2)))
        return int(found[0]) if len(found) else None

    def kept(self, image: np.ndarray, label: int) -> Handwriting:
        """With one drawing more; one that is kept already takes the new label.

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
        labels = self.labels.copy()
        labels[place] = label
        return replace(self, labels=labels)

    def without(self, place: int) -> Handwriting:
        return Handwriting(np.delete(self.images, place, axis=0), np.delete(self.labels, place))

    def added(self, other: Handwriting) -> Handwriting:
        """With those of another that aren't kept yet; those that are keep the label they have here.

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
    """The drawings as a compressed `.npz`: `x` (n, 28, 28) uint8 and `y` (n,) uint8."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=handwriting.images, y=handwriting.labels)
    return buffer.getvalue()


def from_npz(content: bytes) -> Handwriting:
    """What `to_npz` wrote, or anyone's file in this form; labels may be of any integer type. Of drawings with the same pixels the
    first is taken.

    Raises:
        DataError: saying what is wrong, what was expected and what was received.
    """
    if len(content) > MOST_BYTES:
        raise _wrong(f"a file of at most {MOST_BYTES / 1e6:g} MB", f"{len(content) / 1e6:.1f} MB")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            images = _array(archive, "x", np.prod(_SIDE))
            labels = _array(archive, "y", np.dtype(np.int64).itemsize)
    except UNREADABLE:
        raise _wrong("an .npz file, as np.savez writes it", "something else, or a damaged one") from None
    if images.dtype != np.uint8 or images.shape[1:] != _SIDE or not len(images):
        raise _wrong("x of shape (n, 28, 28), n > 0, and type uint8", f"{images.shape} of {images.dtype}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise _wrong(f"y of shape ({len(images)},) and an integer type", f"{labels.shape} of {labels.dtype}")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise _wrong(f"labels y from 0 to {CLASSES - 1}", f"{labels.min()} to {labels.max()}")
    return _unlike(images, labels.astype(np.uint8))


def at(root: str) -> Handwriting:
    """The handwriting that is kept beside the runs; an empty one where there is none yet.

    Raises:
        DataError: if its file can't be used; it is left as it is.
    """
    try:
        content = Storage(root).read(FILE)
    except FileNotFoundError:
        return Handwriting()
    except OSError as error:
        raise DataError(f"Your handwriting in {root}/{FILE} can't be read: {reason(error)}.") from None
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
        handwriting = changed(at(root))
        content = to_npz(handwriting) if len(handwriting) else b""
        Storage(root).write(FILE, content, "Your handwriting")


def _array(archive: zipfile.ZipFile, name: str, bytes_each: int) -> np.ndarray:
    """An array of an archive, its size, type and shape looked at before it is unpacked."""
    member = next((info for info in archive.infolist() if info.filename == f"{name}.npy"), None)
    if member is None:
        names = ", ".join(info.filename[:20] for info in archive.infolist()[:4]) or "nothing"
        raise _wrong("the arrays x and y", f"no {name} but {names}")
    most = int(MOST_DRAWINGS * bytes_each) + _HEADER_BYTES
    if member.file_size > most:
        raise _wrong(f"at most {MOST_DRAWINGS:,} drawings", f"{member.file_size / 1e6:,.1f} MB of {name}")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others may ask for gigabytes to unpack
        raise _wrong("an .npz file, as np.savez writes it", "one packed otherwise")
    with archive.open(member) as stream:
        raw = stream.read(most + 1)
    try:
        return np.lib.format.read_array(_checked(raw, name), allow_pickle=False, max_header_size=_HEADER_BYTES)
    except UNREADABLE:
        raise _wrong(f"{name} as NumPy writes an array of numbers", "something else, or a damaged one") from None


def _checked(raw: bytes, name: str) -> io.BytesIO:
    """The bytes of an array whose description asks for no more than there is: NumPy makes room for what it is told."""
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


def _unlike(images: np.ndarray, labels: np.ndarray) -> Handwriting:
    """Without drawings whose pixels came before."""
    _, first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)
    kept = np.sort(first)
    return Handwriting(images[kept], labels[kept])


def _wrong(expected: str, received: object) -> DataError:
    return DataError(f"These drawings can't be used: expected {expected}, received {received}.")
