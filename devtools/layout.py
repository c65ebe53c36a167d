"""Places of everything: the pack, and the real ComfyUI that `install.py host` makes beside it."""

from __future__ import annotations

import os
from pathlib import Path

PACK_NAME = "smooth-diffusion"  # the folder name in custom_nodes; the page's help URLs break on a dot
PACK = Path(__file__).resolve().parent.parent
HOST = PACK / ".host"
NEWEST_COMFY = "0.30.0"


def comfy_folder(version: str = NEWEST_COMFY) -> Path:
    """The folder of a version of ComfyUI."""
    return HOST / "ComfyUI" if version == NEWEST_COMFY else HOST / "hosts" / version


def page_folder(comfy: Path) -> Path:
    """The folder of the page of an older ComfyUI; the newest has its own in the environment."""
    return comfy.with_name(comfy.name + "-page")


COMFY = comfy_folder(os.environ.get("SMOOTH_COMFY", NEWEST_COMFY))  # the one that tests run against
VENV = HOST / "venv"
BASE = HOST / "base"
DEMO_MODELS = HOST / "demo-models"
DEMO_SDXL = HOST / "demo-models-sdxl"
DEMO_BUILD = HOST / "demo-build"  # resumable state of its training; safe to delete
DEMO_OUT = PACK / "demo-out"
# By default torch's threads spin while they wait for each other. Beside any other busy process that makes small steps a
# hundred times slower; asleep they cost some microseconds.
SHARE_CORES = {"OMP_WAIT_POLICY": "PASSIVE"}


def venv_python(venv: Path = VENV) -> Path:
    """The Python of a virtual environment, on Windows as elsewhere."""
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def link_folder(link: Path, target: Path) -> None:
    """Make `link` point to the folder `target`, replacing a link that points elsewhere.

    raises:  FileExistsError when something that is not a link stands there
    """
    if link.exists() and link.resolve() == target.resolve():
        return
    if is_link(link):
        remove_link(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    if os.name == "nt":  # a symbolic link needs an administrator there, a junction does not
        import _winapi

        _winapi.CreateJunction(str(target.resolve()), str(link))
    else:
        link.symlink_to(target.resolve(), target_is_directory=True)


def is_link(path: Path) -> bool:
    """True for a symbolic link and for a Windows junction, broken or not."""
    if path.is_symlink():
        return True
    return os.name == "nt" and path.exists() and path.resolve() != path.parent.resolve() / path.name


def remove_link(link: Path) -> None:
    """Remove the link, never what it points to."""
    if os.name == "nt":
        os.rmdir(link)
    else:
        link.unlink()
