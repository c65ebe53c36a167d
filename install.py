"""Smooth Diffusion's one script.

    python install.py          check and change nothing: what ComfyUI-Manager and A1111 run at your place
    python install.py host     make .host/, a real ComfyUI with this pack in it
    python install.py demo     render a walk there, and leave frames, a video and the scores in demo-out/
    python install.py test     run the tests there; --fast or --all for fewer or all

The last three need the repository, not just the published pack.
"""

from __future__ import annotations

import importlib
import sys

NEEDS = ("torch", "safetensors", "numpy", "PIL")  # all of them come with ComfyUI
OLDEST_PYTHON = (3, 10)


def fault_of(module: str) -> str | None:
    """Why a module cannot be imported here, or None."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library that the module itself loads is missing
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None


def check() -> int:
    """Say in one line whether this Python has what the pack needs; 0 if so, else 1."""
    if sys.version_info < OLDEST_PYTHON:
        print(
            f"Smooth Diffusion needs Python 3.10 or newer and this is {sys.version.split()[0]}: "
            "update ComfyUI's Python."
        )
        return 1
    faults = {module: fault for module in NEEDS if (fault := fault_of(module)) is not None}
    if not faults:
        print("Smooth Diffusion: everything it needs is here.")
        return 0
    said = ", ".join(f"{module} ({fault})" for module, fault in faults.items())
    print(
        f"Smooth Diffusion cannot import {said}; these come with ComfyUI, so run this with ComfyUI's own Python, "
        "or repair that installation."
    )
    return 1


def main(arguments: list[str]) -> int:
    """Check when there is nothing to do, else hand over to the commands of the repository."""
    if not arguments:
        return check()
    if sys.version_info < OLDEST_PYTHON:
        return check()
    try:
        commands = importlib.import_module("devtools.commands")
    except ModuleNotFoundError as error:
        if error.name not in ("devtools", "devtools.commands"):
            raise
        print(f"`install.py {arguments[0]}` is for the repository; the published pack has only `install.py`.")
        return 2
    return commands.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
