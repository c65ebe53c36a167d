"""Files that others see either as they were or complete, also when the process or the machine stops in the middle.

A file is written beside its place under a name that nobody else has, flushed to the disk, and then takes its place. The
only module that replaces files or flushes them.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

# A draft whose process cannot be asked for, on another machine say, is left behind once it is as old as that.
DRAFT_SECONDS = 3600
# The first version's names had neither machine nor process.
_DRAFT = re.compile(r".+\.(?:([0-9a-f]{8})-([0-9a-f]+)-)?[0-9a-f]{8}\.part")


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yields the place of a draft, which replaces the file when the block ends well, and is removed when it does not.

    raises: OSError where it cannot be flushed or put in its place
    """
    draft = path.with_name(f"{path.name}.{_machine()}-{os.getpid():x}-{secrets.token_hex(4)}.part")
    try:
        yield draft
        with open(draft, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file.

    tensors: contiguous, sharing no memory
    raises:  OSError saying what to look at, then nothing is left of it
    """
    try:
        with draft_of(path) as draft:
            save_file(dict(tensors), draft, dict(metadata))
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"'{path.name}' could not be written ({error}): see that the folder {path.parent} exists, has "
            "room and may be written to"
        ) from error


def write_text(text: str, path: Path) -> None:
    """Writes a text file in UTF-8, its line endings as they are.

    raises: OSError
    """
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def append_flushed(data: bytes, path: Path, kept: int) -> None:
    """Adds to the end of a file, which is made where there is none; when this returns, it is on the disk.

    kept:   bytes of the file that stay; what comes after them is cut off first
    raises: OSError
    """
    with open(path, "ab") as file:
        file.truncate(kept)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_abandoned_drafts(folder: Path) -> None:
    """Removes drafts in a folder whose process was killed; those of processes that run are left alone."""
    with suppress(OSError), os.scandir(folder) as items:
        for item in items:
            with suppress(OSError):
                if item.is_file(follow_symlinks=False) and _is_abandoned(item):
                    Path(item.path).unlink(missing_ok=True)


def _is_abandoned(item: os.DirEntry[str]) -> bool:
    made = _DRAFT.fullmatch(item.name)
    if made is None:
        return False
    if item.stat(follow_symlinks=False).st_mtime < time.time() - DRAFT_SECONDS:
        return True
    return made[1] == _machine() and not _runs(int(made[2], 16))


def _runs(process: int) -> bool:
    """True for a process that runs on this machine, and where that cannot be asked: on Windows asking would end it."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _machine() -> str:
    """Eight digits for this machine: a folder may be shared with others, whose processes nobody here knows."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
