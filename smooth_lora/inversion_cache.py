"""A folder of inversions that need not be made again, and the keys that say whether it is the same inversion."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from types import NoneType

import numpy as np
from torch import Tensor

from .inversion import Inversion
from .inversion_file import load_inversion, save_inversion
from .packing import DEPTH_MOST, DTYPES, bytes_of, called, tensor_fault

KEY = re.compile("[0-9a-f]{64}")
ENTRY = re.compile(r"inversion_[0-9a-f]{64}\.safetensors")
DRAFT = re.compile(ENTRY.pattern + r"\.[0-9a-f]+\.part")
DRAFT_SECONDS = 3600  # a draft as old as that was left by a process that was killed
LEAVES: dict[type, tuple[bytes, Callable[..., bytes]]] = {  # kind of a value -> its tag and its bytes
    NoneType: (b"n", lambda _: b""),
    bool: (b"b", lambda value: b"1" if value else b"0"),
    int: (b"i", lambda value: hex(value).encode()),
    float: (b"f", lambda value: struct.pack("<d", value)),
    str: (b"s", lambda value: value.encode("utf-8", "surrogatepass")),
}


def content_key(**parts: object) -> str:
    """A name for everything that decides a result: equal for equal content in any process and on any device.

    parts:   Tensors, None, bool, int, float, str, and lists, tuples and dicts (text keys) of these. Types, bits,
             nesting and order count; the order within a dict and the strides of a tensor do not
    returns: SHA-256, 64 hexadecimal digits
    raises:  TypeError for any other object, naming the part
    """
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(_framed(b"p", name.encode("utf-8", "surrogatepass")))
        for chunk in _chunks(parts[name], name):
            digest.update(chunk)
    return digest.hexdigest()


class InversionCache:
    """Inversions by key in a folder that several processes may share; the ones longest unused go first.

    folder:      made when the first inversion is stored; files that are none of the cache's are left alone
    limit_bytes: what all entries together may take on the disk; 0 turns the cache off
    raises:      ValueError if the limit is negative; `get` and `put` if a key is not 64 lower-case hexadecimal digits
    """

    def __init__(self, folder: Path, limit_bytes: int):
        if limit_bytes < 0:
            raise ValueError(f"the inversion cache cannot be limited to {limit_bytes} bytes: give 0 to turn it off")
        self.folder = folder
        self.limit_bytes = limit_bytes

    def get(self, key: str) -> Inversion | None:
        """The inversion stored under a key, which counts as used now; None if there is none.

        An entry that cannot be read is deleted.
        """
        path = self._path(key)
        if not self.limit_bytes:
            return None
        try:
            inversion = load_inversion(path)
        except ValueError:
            _delete(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return inversion

    def put(self, key: str, inversion: Inversion) -> bool:
        """Store an inversion, then delete the entries longest unused beyond the limit, never this one.

        returns: False, and nothing is stored, if the cache is off, if the inversion is larger than the limit, if a
                 file cannot hold it, or if the folder cannot be written to; nothing is raised, so it is never lost
        """
        path = self._path(key)
        if _tensor_bytes(inversion) > self.limit_bytes or not self.limit_bytes:
            return False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_inversion(inversion, path)
        except (OSError, ValueError):
            return False
        if _bytes_on_disk(path) > self.limit_bytes:
            _delete(path)
            return False
        self._make_room(path)
        return True

    def _path(self, key: str) -> Path:
        if not (isinstance(key, str) and KEY.fullmatch(key)):
            raise ValueError(f"a key of the inversion cache must be 64 lower-case hexadecimal digits, got {key!r}: "
                             "make it with content_key")
        return self.folder / f"inversion_{key}.safetensors"

    def _make_room(self, newest: Path) -> None:
        entries = sorted(self._files(ENTRY), key=lambda file: (file.path == newest, file.used, file.path.name))
        total = sum(file.size for file in entries)
        for file in entries[:-1]:
            if total <= self.limit_bytes:
                break
            if _delete(file.path):
                total -= file.size
        for file in self._files(DRAFT):
            if file.used < time.time_ns() - DRAFT_SECONDS * 10 ** 9:
                _delete(file.path)

    def _files(self, pattern: re.Pattern) -> list[_File]:
        """The folder's files of one kind; one that another process deletes meanwhile is left out."""
        found = []
        with suppress(OSError), os.scandir(self.folder) as folder:
            for item in folder:
                with suppress(OSError):
                    if pattern.fullmatch(item.name) and item.is_file(follow_symlinks=False):
                        state = item.stat(follow_symlinks=False)
                        found.append(_File(self.folder / item.name, state.st_size, state.st_mtime_ns))
        return found


@dataclass(frozen=True)
class _File:
    """A file, its bytes, and when it was last used in nanoseconds."""

    path: Path
    size: int
    used: int


def _delete(path: Path) -> bool:
    """Whether the file is gone now; another process may hold it open."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        return True
    return False


def _bytes_on_disk(path: Path) -> int:
    """0 if another process has deleted it since."""
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _tensor_bytes(inversion: Inversion) -> int:
    """What the tensors take beside those of the texts: less than the file, and known without writing it."""
    tensors = [getattr(inversion, field.name) for field in fields(inversion)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, Tensor))


def _chunks(value: object, name: str, depth: int = 0) -> Iterator[bytes | np.ndarray]:
    """Bytes of a value, every part opened by its kind and its length, so that different values cannot meet."""
    kind = type(value)
    if depth > DEPTH_MOST:
        raise TypeError(f"content_key: {name} is nested more than {DEPTH_MOST} deep")
    if kind in LEAVES:
        tag, to_bytes = LEAVES[kind]
        yield _framed(tag, to_bytes(value))
    elif kind in (list, tuple):
        yield _counted(b"l" if kind is list else b"t", value)
        for index, item in enumerate(value):
            yield from _chunks(item, f"{name}[{index}]", depth + 1)
    elif kind is dict and all(type(key) is str for key in value):
        yield _counted(b"d", value)
        for key in sorted(value):
            yield from _chunks(key, name, depth + 1)
            yield from _chunks(value[key], f"{name}[{key!r}]", depth + 1)
    elif isinstance(value, Tensor) and tensor_fault(value) is None:
        yield _framed(b"x", f"{DTYPES[value.dtype]} {tuple(value.shape)}".encode())
        yield bytes_of(value)
    else:
        what = (tensor_fault(value) if isinstance(value, Tensor) else None) or called(value)
        raise TypeError(f"content_key: {name} is {what}, which has no content to go by")


def _framed(tag: bytes, payload: bytes) -> bytes:
    return tag + len(payload).to_bytes(8, "little") + payload


def _counted(tag: bytes, items: list | tuple | dict) -> bytes:
    return tag + len(items).to_bytes(8, "little")
