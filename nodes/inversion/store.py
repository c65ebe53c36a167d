"""Where inversions lie on disk: the user's own files in the host's folders, and the cache."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...smooth_lora.wording import shortened
from ..host.folders import output_files, user_folder

ENDING = ".inversion.safetensors"
OUTPUT_MARK = " [output]"  # how the host names a file of its output folder


def cache_folder() -> Path:
    """Finished inversions, in a folder of the host that no page can read."""
    return user_folder("inversions")


def saved_names() -> list[str]:
    """Inversion files of the input and the output folder, as the Load node lists them."""
    listed = []
    for folder, mark in ((folder_paths.get_input_directory(), ""), (folder_paths.get_output_directory(), OUTPUT_MARK)):
        root = Path(folder)
        listed += sorted(path.relative_to(root).as_posix() + mark for path in root.rglob("*" + ENDING))
    return listed


def missing_file(name: str) -> str | None:
    """What is wrong with a name, as a sentence; None if it is a file of the input or output folder."""
    known = isinstance(name, str) and name.removesuffix(OUTPUT_MARK).endswith(ENDING)
    if known and folder_paths.exists_annotated_filepath(name):
        return None
    return (
        f"Load Inversion: {shortened(str(name), 80)!r} is no inversion file (*{ENDING}) in the input or output folder; "
        "save an inversion first, press R, and choose it from the list"
    )


def saved_path(name: str) -> Path:
    """The file of a listed name.

    raises: ValueError if it leads out of its folder, does not exist, or is no inversion file
    """
    if fault := missing_file(name):
        raise ValueError(fault)
    return Path(folder_paths.get_annotated_filepath(name))


def file_stamp(name: str) -> str:
    """The file's size and time of change. Holds no path, since the host saves it in pictures."""
    if missing_file(name):
        return ""
    stat = saved_path(name).stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def new_path(filename_prefix: str) -> tuple[Path, str]:
    """The next free file of this prefix in the output folder, numbered as saved pictures are, and its listed name."""
    first = output_files(filename_prefix, [ENDING])[0]
    stem = first.name.removesuffix(ENDING)
    number = 1
    while (path := first.with_name(f"{stem}_{number:05}{ENDING}")).exists():
        number += 1
    inside = path.resolve().relative_to(Path(folder_paths.get_output_directory()).resolve())
    return path, inside.as_posix() + OUTPUT_MARK
