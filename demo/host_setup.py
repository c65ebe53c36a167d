"""Find the real host in .host/ and make its modules importable, on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOST = ROOT / ".host" / "ComfyUI"
BUILD = ROOT / ".host" / "demo-build"  # resumable training state; git-ignored, safe to delete


def use_host() -> None:
    """Put the host first on the path and the repository last, then choose the CPU.

    The order matters: the repository has a `nodes` package, and the host's own `nodes.py` must win.
    raises: FileNotFoundError if the host has not been built
    """
    if not (HOST / "comfy").is_dir():
        raise FileNotFoundError(f"no host at {HOST}: run `python install.py host` first")
    sys.path[:] = [str(HOST), *(p for p in sys.path if p not in (str(HOST), str(ROOT))), str(ROOT)]
    from comfy.cli_args import args

    args.cpu = True
