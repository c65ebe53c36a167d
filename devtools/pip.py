"""Commands that make `.host/`, run without a terminal, with what they print at the end of one log."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from . import layout
from .report import Failure


def pip(python: Path, arguments: Sequence[str], complaint: str) -> None:
    """Run pip.

    raises: Failure with the complaint and pip's own last error
    """
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    if run_logged(command) != 0:
        errors = [
            line
            for line in log_file().read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("ERROR")
        ]
        raise Failure(f"{complaint}: {errors[-1] if errors else 'no reason given'} (all of it: {log_file()})")


def run_logged(command: Sequence[str]) -> int:
    """The exit code of a command, its output at the end of the log."""
    with log_file().open("ab") as log:
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
        ).returncode


def log_file() -> Path:
    return layout.HOST / "install.log"
