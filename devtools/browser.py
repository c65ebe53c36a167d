"""Find, or get, a Chromium for the page tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
ASK_PLAYWRIGHT = (
    "from playwright.sync_api import sync_playwright\nwith sync_playwright() as p: print(p.chromium.executable_path)"
)


def find(python: Path) -> Path | None:
    """A Chromium that is there and runs: SMOOTH_CHROMIUM, the system's, or one that Playwright downloaded.

    python:  the Python that has Playwright, of `.host/venv`
    """
    named = os.environ.get("SMOOTH_CHROMIUM")
    for candidate in [named] if named else [*map(shutil.which, NAMES), MAC, _playwrights(python)]:
        if candidate and _runs(candidate):
            return Path(candidate)
    return None


def obtain(python: Path, say: Callable[[str], None], log: Path) -> Path | None:
    """`find`, else let Playwright download one, else install Debian's package; None where none can be had."""
    found = find(python)
    if found is not None or os.environ.get("SMOOTH_CHROMIUM"):
        return found
    say("no Chromium here: asking Playwright to download one")
    # Playwright would wait half a minute for each of its servers on a machine without internet.
    slow = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "8000"}
    download = [str(python), "-m", "playwright", "install", "chromium"]
    if _succeeds(download, log, slow) and (found := find(python)):
        return found
    if _may_install_packages():
        say("Playwright has none: installing Debian's chromium package")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        _succeeds(["apt-get", "update", "-q"], log, quiet)
        _succeeds(["apt-get", "install", "-y", "-q", "chromium"], log, quiet)
    return find(python)


def _playwrights(python: Path) -> str | None:
    answer = subprocess.run(
        [str(python), "-c", ASK_PLAYWRIGHT], stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
    )
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _runs(executable: str) -> bool:
    """A browser may be there and yet lack a system library, so ask it for its version."""
    if not Path(executable).is_file():
        return False
    try:
        answer = subprocess.run(
            [executable, "--version"], stdin=subprocess.DEVNULL, check=False, capture_output=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _may_install_packages() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _succeeds(command: list[str], log: Path, environment: dict[str, str]) -> bool:
    with log.open("ab") as output:
        try:
            return (
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                    timeout=600,
                    check=False,
                ).returncode
                == 0
            )
        except subprocess.TimeoutExpired:
            return False
