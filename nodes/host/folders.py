"""Folders of the host: files in its output folder, and the pack's own folder, which no page can read."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import folder_paths

from ...smooth_lora.files.whole import remove_abandoned_drafts
from ...smooth_lora.wording import shortened

NOT_IN_NAMES = re.compile(r'[<>:"|?*\x00-\x1f]')
EXAMPLE_PREFIX = "smooth_diffusion/first"
USER_FOLDER = "smooth_diffusion"
GIB = 1 << 30  # bytes; the unit of inputs that limit a cache
MAX_FILE_NAME = 200  # letters; file systems allow 255 bytes, endings included


def output_files(filename_prefix: str, endings: Sequence[str]) -> list[Path]:
    """Returns paths in the host's output folder that begin with a prefix, one per ending, and makes their folder.

    filename_prefix: a name, with folders before it if wanted; %year% and the like as in the host's Save Image
    raises:  ValueError if it names no file or leads out of the output folder, OSError if nothing can be written there
    """
    output = folder_paths.get_output_directory()
    wanted = os.path.join(output, os.path.normpath(filename_prefix))
    name = os.path.basename(wanted)
    if NOT_IN_NAMES.search(filename_prefix) or not name.strip(". ") or len(name) > MAX_FILE_NAME:
        raise ValueError(
            f"filename_prefix {shortened(filename_prefix, 80)!r} makes no file name; give one such as {EXAMPLE_PREFIX}"
        )
    # Resolved, so that a link inside the folder does not lead out of it; ComfyUI before 0.27 has nothing for that.
    if not all(Path(wanted + ending).resolve().is_relative_to(Path(output).resolve()) for ending in endings):
        raise ValueError(
            f"filename_prefix {shortened(filename_prefix, 80)!r} leads out of the output folder; give a "
            f"name inside it, such as {EXAMPLE_PREFIX}"
        )
    try:
        folder, name, *_ = folder_paths.get_save_image_path(filename_prefix, output)
        with tempfile.TemporaryFile(dir=folder):  # before hours of work have to be written
            pass
    except OSError as error:
        raise OSError(
            f"filename_prefix {shortened(filename_prefix, 80)!r} leads to a folder in which nothing can be written "
            f"({error.strerror}: {os.path.dirname(wanted)}); make it writable, or start ComfyUI with another "
            "--output-directory"
        ) from error
    remove_abandoned_drafts(Path(folder))
    return [Path(folder) / (name + ending) for ending in endings]


def output_place(path: Path) -> dict[str, str]:
    """Returns the address of a file of the output folder, as the host's /view takes it."""
    folder = path.parent.relative_to(folder_paths.get_output_directory())
    return {"filename": path.name, "subfolder": folder.as_posix() if folder.parts else "", "type": "output"}


def user_folder(*inside: str) -> Path:
    """Returns the pack's own folder in the host's user folder, which no page can read; it may not exist yet."""
    return Path(folder_paths.get_system_user_directory(USER_FOLDER), *inside)


def remove_old_drafts() -> None:
    """Removes half-written files of killed processes from the pack's own folder."""
    for folder, _, _ in os.walk(user_folder()):
        remove_abandoned_drafts(Path(folder))
