"""The pack as the registry publishes it: everything but what .comfyignore names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from devtools.layout import PACK, PACK_NAME

# Git has a file in place of its folder in a second work tree, and hypothesis keeps a folder beside running tests.
NEVER = {".git", ".host", "demo-out", "__pycache__", ".ruff_cache", ".pytest_cache", ".hypothesis"}


def ignored() -> set[str]:
    """The paths that .comfyignore lists; it uses no other kind of pattern."""
    lines = (PACK / ".comfyignore").read_text(encoding="utf-8").splitlines()
    return {line.strip().rstrip("/") for line in lines if line.strip() and not line.startswith("#")}


def published_files() -> Iterator[Path]:
    """Every published file, relative to the pack's root."""
    leave_out = ignored()
    for folder, folders, files in os.walk(PACK):
        here = Path(folder).relative_to(PACK)
        folders[:] = [name for name in folders if name not in NEVER and (here / name).as_posix() not in leave_out]
        yield from (here / name for name in files if name not in NEVER and (here / name).as_posix() not in leave_out)


def copy_published(parent: Path) -> Path:
    """A copy of the published pack under its own name below `parent`."""
    copy = parent / PACK_NAME
    for file in published_files():
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACK / file, copy / file)
    return copy
