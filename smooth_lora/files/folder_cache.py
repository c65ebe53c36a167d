"""Results by key in a folder, deleted from the one longest unused on once they take too much room."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from .whole import remove_abandoned_drafts

_KEY = re.compile("[0-9a-f]{64}")
_Value = TypeVar("_Value")


class FolderCache(ABC, Generic[_Value]):
    """Values by key in a folder that several processes may share; those longest unused are deleted first.

    folder:      made when the first value is stored; other files in it are left alone
    limit_bytes: what all entries together may take on the disk; 0 turns the cache off
    raises:      ValueError if the limit is negative; `get` and `put` if a key is not 64 lower-case hexadecimal digits
    """

    kind: str  # begins every file's name

    @abstractmethod
    def load(self, path: Path) -> _Value:
        """Reads a value from a file.

        raises: ValueError if the file cannot be read
        """

    @abstractmethod
    def save(self, value: _Value, path: Path) -> None:
        """Writes a value to a file.

        raises: OSError or ValueError, then nothing is left of the file
        """

    @abstractmethod
    def size(self, value: _Value) -> int:
        """Returns the bytes that a file of this value takes at least, without writing it."""

    def __init__(self, folder: Path, limit_bytes: int):
        if limit_bytes < 0:
            raise ValueError(f"the cache cannot be limited to {limit_bytes} bytes; give 0 to turn it off")
        self.folder = folder
        self.limit_bytes = limit_bytes
        self._entry = re.compile(re.escape(self.kind) + r"_[0-9a-f]{64}\.safetensors")

    def get(self, key: str) -> _Value | None:
        """Returns the value stored under a key, which counts as used now; None if there is none.

        An entry that cannot be read is deleted.
        """
        path = self._path(key)
        if not self.limit_bytes:
            return None
        try:
            value = self.load(path)
        except ValueError:
            _delete(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return value

    def put(self, key: str, value: _Value) -> bool:
        """Stores a value, then deletes the entries longest unused beyond the limit, never this one.

        returns: False where nothing is stored: the cache is off, the value is larger than the limit, a file cannot
                 hold it, or the folder cannot be written to. None of these raises, so a result is never lost
        """
        path = self._path(key)
        if self.size(value) > self.limit_bytes or not self.limit_bytes:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.save(value, path)
        except (OSError, ValueError):
            return False
        if _bytes_on_disk(path) > self.limit_bytes:
            _delete(path)
            return False
        self._make_room(path)
        return True

    def _path(self, key: str) -> Path:
        if not (isinstance(key, str) and _KEY.fullmatch(key)):
            raise ValueError(
                f"a key of the cache must be 64 lower-case hexadecimal digits, got {key!r}; make it with content_key"
            )
        return self.folder / f"{self.kind}_{key}.safetensors"

    def _make_room(self, newest: Path) -> None:
        entries = sorted(self._files(self._entry), key=lambda file: (file.path == newest, file.used, file.path.name))
        total = sum(file.size for file in entries)
        for file in entries[:-1]:
            if total <= self.limit_bytes:
                break
            if _delete(file.path):
                total -= file.size
        remove_abandoned_drafts(self.folder)

    def _files(self, pattern: re.Pattern[str]) -> list[_File]:
        """Lists the folder's files of one kind, without those that another process deletes meanwhile."""
        files = []
        with suppress(OSError), os.scandir(self.folder) as folder:
            for item in folder:
                with suppress(OSError):
                    if pattern.fullmatch(item.name) and item.is_file(follow_symlinks=False):
                        state = item.stat(follow_symlinks=False)
                        files.append(_File(self.folder / item.name, state.st_size, state.st_mtime_ns))
        return files


@dataclass(frozen=True)
class _File:
    """A file, its bytes, and when it was last used in nanoseconds."""

    path: Path
    size: int
    used: int


def _delete(path: Path) -> bool:
    """Deletes a file; False where it stays, because another process holds it open."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False


def _bytes_on_disk(path: Path) -> int:
    """Size of a file; 0 if another process has deleted it since."""
    with suppress(OSError):
        return path.stat().st_size
    return 0
