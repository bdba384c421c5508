"""The files of one run: read and written as a whole, and never written again after the run was deleted."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from core.errors import RunDamaged, RunNotFound
from core.runs import contents, storage
from core.runs.storage import Storage

T = TypeVar("T")
FIRST = "spec.json"  # of a run's files: any other would bring a deleted run back


@dataclass(frozen=True)
class Folder:
    """A run's folder. Reading methods raise RunDamaged, writing ones StorageFull, and RunNotFound once it was deleted."""

    id: str
    root: str

    @property
    def storage(self) -> Storage:
        """Storage of the runs' root."""
        return Storage(self.root)

    def exists(self, name: str = "") -> bool:
        """Return whether a file is there; without a name, whether the folder is."""
        return self.storage.exists(f"{self.id}/{name}")

    def read(self, name: str, parse: Callable[[bytes], T]) -> T:
        """Return what a file holds, as `parse` has it of its bytes."""
        try:
            return parse(self.storage.read(f"{self.id}/{name}"))
        except FileNotFoundError:
            raise RunDamaged(f"Run {self.id} has no {name}: it was never written, or someone removed it.") from None
        except contents.UNUSABLE as error:
            raise RunDamaged(f"Run {self.id}: {name} can't be read ({contents.reason(error)}).") from None

    def read_if_there(self, name: str, parse: Callable[[bytes], T]) -> T | None:
        """Return what a file holds; None where it was never written."""
        return self.read(name, parse) if self.exists(name) else None

    def names(self, folder: str) -> list[str]:
        """Return what lies in a folder of it."""
        try:
            return self.storage.names(f"{self.id}/{folder}")
        except OSError as error:
            raise RunDamaged(f"Run {self.id}: its {folder} can't be listed ({storage.reason(error)}).") from None

    def files(self, folder: str = "") -> dict[str, int]:
        """Return all files below a folder of it, by their names in that, with their sizes in bytes."""
        return self.storage.files(f"{self.id}/{folder}".rstrip("/"))

    def size(self) -> int:
        """Return how many bytes its files take; 0 where they can't be listed."""
        try:
            return sum(self.files().values())
        except OSError:
            return 0

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        if name != FIRST and not self.exists():
            raise RunNotFound(f"Run {self.id} is not there any more: it was deleted, so nothing of it is kept.")
        self.storage.write(f"{self.id}/{name}", content, f"Run {self.id}: {name}")

    def write_arrays(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Write arrays by their names as an .npz file."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for key, values in arrays.items():
                with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)
        self.write(name, buffer.getvalue())

    def copy_from(self, folder: Path) -> None:
        """Take over a run's folder on this machine, in the place of what is here; its state.json, which names the version, comes
        last."""
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        for name in sorted(set(names) - {"state.json"}, key=FIRST.__ne__):
            self.write(name, (folder / name).read_bytes())
        for name in self.files():
            if name not in names and not name.endswith(".part"):
                self.remove(name)
        self.write("state.json", (folder / "state.json").read_bytes())

    def remove(self, name: str = "") -> None:
        """Remove a file; without a name, the folder with all that is in it."""
        self.storage.remove(f"{self.id}/{name}".rstrip("/"))

    def remove_oldest(self, folder: str, most: int) -> None:
        """Remove the files of a folder that were written longest ago, until no more than `most` are left."""
        kept = [f"{folder}/{name}" for name in self.storage.names(f"{self.id}/{folder}")]
        if len(kept) > most:
            for name in sorted(kept, key=lambda name: self.storage.modified(f"{self.id}/{name}"))[:-most]:
                self.remove(name)
