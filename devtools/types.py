"""Types of the pack, by mypy: strict for the core, with protocols for what the host hands in for the nodes.

python -m devtools.types
"""

from __future__ import annotations

import os
import subprocess
import sys

from .layout import HOST, PACK, link_folder, venv_python

FOLDER = HOST / "typed"
PACKAGE = "smooth_diffusion"  # the pack's folder may have a name that is none for Python
FLOORS = ("smooth_lora", "nodes")


def check_types() -> str:
    """Returns mypy's complaints; empty where it has none."""
    link_folder(FOLDER / PACKAGE, PACK)
    command = [
        str(venv_python()),
        "-m",
        "mypy",
        "--config-file",
        str(PACK / "pyproject.toml"),
        "--cache-dir",
        str(HOST / "mypy_cache"),
        "--no-error-summary",
    ]
    for floor in FLOORS:
        command += ["-p", f"{PACKAGE}.{floor}"]
    done = subprocess.run(
        command,
        cwd=FOLDER,
        stdin=subprocess.DEVNULL,
        check=False,
        text=True,
        capture_output=True,
        env={**os.environ, "MYPYPATH": str(FOLDER)},
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr or f"mypy ended with {done.returncode}"


if __name__ == "__main__":
    complaints = check_types()
    print(complaints or "no complaints")
    sys.exit(bool(complaints))
