"""Files that others see either as they were or complete, also when the process or the machine stops in the middle.

A file is written in the folder where it belongs under a name that no other process uses, flushed to the disk, and then
renamed. The only module that replaces files or flushes them.
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

# Age at which a draft counts as abandoned where its process cannot be checked, on another machine for example.
DRAFT_SECONDS = 3600
# The first version's names had neither machine nor process.
_DRAFT = re.compile(r".+\.(?:([0-9a-f]{8})-([0-9a-f]+)-)?[0-9a-f]{8}\.part")


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Yields the path of a draft, which replaces the file when the block ends, and is removed when the block raises.

    raises: OSError where the draft cannot be flushed or renamed
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
            f"'{path.name}' could not be written ({error}); see that the folder {path.parent} exists, has "
            "room and may be written to"
        ) from error


def write_text(text: str, path: Path) -> None:
    """Writes a text file in UTF-8, line endings unchanged.

    raises: OSError
    """
    with draft_of(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def append_flushed(data: bytes, path: Path, size: int) -> None:
    """Adds to the end of a file, made where there is none; when this returns, the data is on the disk.

    size:   bytes of the file that stay; later ones are cut off first
    raises: OSError
    """
    with open(path, "ab") as file:
        file.truncate(size)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_abandoned_drafts(folder: Path) -> None:
    """Removes the drafts of killed processes from a folder; those of running processes stay."""
    with suppress(OSError), os.scandir(folder) as items:
        for item in items:
            with suppress(OSError):
                if item.is_file(follow_symlinks=False) and _is_abandoned(item):
                    Path(item.path).unlink(missing_ok=True)


def _is_abandoned(item: os.DirEntry[str]) -> bool:
    draft = _DRAFT.fullmatch(item.name)
    if draft is None:
        return False
    if item.stat(follow_symlinks=False).st_mtime < time.time() - DRAFT_SECONDS:
        return True
    return draft[1] == _machine() and not _runs(int(draft[2], 16))


def _runs(process: int) -> bool:
    """True for a process that runs on this machine, and on Windows, where the check would end it."""
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
    """Returns eight digits for this machine: a folder may be shared with others, whose processes cannot be checked."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
