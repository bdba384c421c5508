"""Storage for runs: a folder of this machine or any fsspec URL, and the files in it by their names.

No link is followed out of it, only regular files are opened, and a file is written completely or not at all. Messages
contain no path, since visitors read them; the log does.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import fsspec

from core.errors import StorageFull

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DELETE = "Delete runs that you don't need any more, then try again."
_ELSEWHERE = "Whoever runs this lab can have DIGITLAB_RUNS name a folder that can be written to."

logger = logging.getLogger("digitlab.storage")


class Storage:
    """The files below a root, which need be no place for files: reading methods raise OSError, writing ones StorageFull."""

    def __init__(self, root: str) -> None:
        self.root = root

    @cached_property
    def _opened(self) -> tuple[fsspec.AbstractFileSystem, str]:
        try:
            if "::" in self.root:
                raise OSError(errno.EINVAL, "DIGITLAB_RUNS chains two places")
            return fsspec.core.url_to_fs(self.root)
        except ImportError:
            why = "the package for the kind of storage that DIGITLAB_RUNS names isn't installed here"
        except ValueError:
            why = "DIGITLAB_RUNS names no kind of storage that is known here"
        raise OSError(errno.EINVAL, why)

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """File system that the storage is on."""
        with _as_os_errors():
            return self._opened[0]

    @property
    def _is_local(self) -> bool:
        return "file" in self.fs.protocol

    def path(self, name: str) -> str:
        """Return a file's path for the file system.

        Raises:
            OSError: if a link on the way leads out of the root.
        """
        with _as_os_errors():
            top = self._opened[1]
        path = f"{top}/{name}".rstrip("/")
        if self._is_local:
            top, real = os.path.realpath(top), os.path.realpath(path)
            if os.path.commonpath([top, real]) != top:
                raise OSError(errno.ELOOP, "a link leads out of where runs are kept")
        return path

    def exists(self, name: str = "") -> bool:
        """Return whether there is a file or folder of this name; False if that can't be found out."""
        try:
            return self.fs.exists(self.path(name))
        except OSError:
            return False

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            OSError: if it can't be read or is no regular file.
        """
        with _as_os_errors():
            path = self.path(name)
            # To open a named pipe would wait for a writer.
            if self._is_local and not stat.S_ISREG(os.stat(path).st_mode):
                raise OSError(errno.EINVAL, "it is no file")
            return self.fs.cat_file(path)  # pyright: ignore[reportReturnType]  # fsspec opens it as "rb", untold

    def names(self, folder: str = "") -> list[str]:
        """Return the names of what is in a folder; empty if there is no such folder."""
        with _as_os_errors():
            path = self.path(folder)
            return (
                [entry.rstrip("/").rpartition("/")[2] for entry in self.fs.ls(path, detail=False)]
                if self.fs.isdir(path)
                else []
            )

    def files(self, folder: str) -> dict[str, int]:
        """Return all files in a folder and below it: name relative to the folder -> size in bytes."""
        with _as_os_errors():
            path = self.path(folder)
            found = dict(self.fs.find(path, detail=True))
            return {name.removeprefix(path + "/"): info["size"] or 0 for name, info in found.items()}

    def modified(self, name: str) -> float:
        """Return when a file was last written, in seconds since 1970, UTC."""
        with _as_os_errors():
            return self.fs.modified(self.path(name)).timestamp()

    def write(self, name: str, content: bytes, said: str) -> None:
        """Write a file, whole or not at all; on a disk for this user alone.

        Args:
            said: what it is, for the message.
        """
        try:
            self._write(self.path(name), content)
        except OSError as error:
            raise self._refusal(f"{said} ({len(content) / 1e6:.1f} MB) can't be written", error) from None

    def _write(self, target: str, content: bytes) -> None:
        beside = f"{target}.{secrets.token_hex(4)}.part"
        with _as_os_errors():
            try:
                if self._is_local:
                    _make_private(Path(target).parent)
                    Path(beside).touch(mode=0o600)
                    self.fs.pipe_file(beside, content)
                    os.replace(beside, target)
                else:
                    self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
                    self.fs.pipe_file(beside, content)
                    self.fs.mv(beside, target)
            except BaseException:
                if self.fs.exists(beside):
                    self.fs.rm_file(beside)
                raise

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing where another process was first."""
        try:
            with suppress(FileNotFoundError), _as_os_errors():
                self.fs.rm(self.path(name), recursive=True)
        except OSError as error:
            raise self._refusal(f"{name} can't be removed", error) from None

    def _refusal(self, said: str, error: OSError) -> StorageFull:
        logger.warning("%s in %s: %s", said, self.root, error)
        return StorageFull(f"{said}: {reason(error)}. {_DELETE if error.errno in FULL else _ELSEWHERE}")


def reason(error: OSError) -> str:
    """Return the reason of an error without a path."""
    return error.strerror or type(error).__name__


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone: whoever can list runs can open them."""
    if not folder.exists():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Turn every error that a file system raises into an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # each kind of storage has errors of its own
        raise OSError(errno.EIO, type(error).__name__) from error
