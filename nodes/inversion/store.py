"""Inversions on disk: the user's own files in the host's folders, and the folder of the cache."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...smooth_lora.wording import shortened
from ..host.folders import output_files, user_folder

INVERSION_ENDING = ".inversion.safetensors"
OUTPUT_MARK = " [output]"  # how the host names a file of its output folder


def cache_folder() -> Path:
    """Folder of finished inversions, which no page can read."""
    return user_folder("inversions")


def saved_names() -> list[str]:
    """Lists the inversion files of the input and the output folder, as the Load node shows them."""
    listed = []
    for folder, mark in ((folder_paths.get_input_directory(), ""), (folder_paths.get_output_directory(), OUTPUT_MARK)):
        root = Path(folder)
        listed += sorted(path.relative_to(root).as_posix() + mark for path in root.rglob("*" + INVERSION_ENDING))
    return listed


def missing_file(name: str) -> str | None:
    """Says in a sentence what is wrong with a name; None if it is a file of the input or output folder."""
    known = isinstance(name, str) and name.removesuffix(OUTPUT_MARK).endswith(INVERSION_ENDING)
    if known and folder_paths.exists_annotated_filepath(name):
        return None
    return (
        f"Load Inversion: {shortened(str(name), 80)!r} is no inversion file (*{INVERSION_ENDING}) in the input or "
        "output folder; save an inversion first, press R, and choose it from the list"
    )


def saved_path(name: str) -> Path:
    """Returns the file of a listed name.

    raises: ValueError if it leads out of its folder, does not exist, or is no inversion file
    """
    if fault := missing_file(name):
        raise ValueError(fault)
    return Path(folder_paths.get_annotated_filepath(name))


def file_stamp(name: str) -> str:
    """Size and time of change of a file, without its path, since the host saves it in images."""
    if missing_file(name):
        return ""
    stat = saved_path(name).stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def new_path(filename_prefix: str) -> tuple[Path, str]:
    """Returns the next free file of a prefix in the output folder, numbered as images are, and its listed name."""
    first = output_files(filename_prefix, [INVERSION_ENDING])[0]
    stem = first.name.removesuffix(INVERSION_ENDING)
    number = 1
    while (path := first.with_name(f"{stem}_{number:05}{INVERSION_ENDING}")).exists():
        number += 1
    inside = path.resolve().relative_to(Path(folder_paths.get_output_directory()).resolve())
    return path, inside.as_posix() + OUTPUT_MARK
