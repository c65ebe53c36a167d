"""`install.py test`: the demo checkpoint, a browser, then pytest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from . import browser
from .archives import ARCHIVES
from .demo import assemble_demo
from .host import make_other_host
from .layout import HOST, PACK, SHARE_CORES, venv_python
from .report import say

TESTS = "tests"
HOST_TESTS = "tests/host"
PAGE_TESTS = "tests/web"
# The oldest ComfyUI is in every full run with a part of the host's tests: all nodes load, run, refuse, and draw the
# pictures that the newest draws.
OLDEST = next(iter(ARCHIVES))
ON_THE_OLDEST = tuple(f"{HOST_TESTS}/pack/test_{name}.py" for name in ("pack_loads", "bad_inputs", "goldens"))


def run_tests(arguments: Sequence[str], *, web: bool, hosts: Sequence[str] = ()) -> int:
    """Run pytest in `.host/venv`; its exit code, or 1 where page tests were wanted but no browser can be had.

    arguments: for pytest; without a path among them, all tests run
    web:       False leaves the page tests out
    hosts:     versions of ComfyUI beside the newest, against which the host's tests run as well; with no arguments at
               all a part of them runs against the oldest in any case
    """
    assemble_demo()
    codes = [_run_newest(arguments, web=web), *(_run_on(version, arguments) for version in hosts)]
    if not arguments and OLDEST not in hosts:
        codes.append(_run_on(OLDEST, ON_THE_OLDEST))
    return max(codes)


def _run_on(version: str, arguments: Sequence[str]) -> int:
    """The host's tests against another version of ComfyUI, in the newest one's environment."""
    make_other_host(version)
    chosen = [argument for argument in arguments if not _is_path(argument) or argument.startswith(HOST_TESTS)]
    if any(map(_is_path, arguments)) and not any(map(_is_path, chosen)):
        return 0
    say(f"the host's tests against ComfyUI {version}")
    command = [str(venv_python()), "-m", "pytest", *([] if any(map(_is_path, chosen)) else [HOST_TESTS]), *chosen]
    return subprocess.run(
        command, cwd=PACK, stdin=subprocess.DEVNULL, check=False, env={**_environment(), "SMOOTH_COMFY": version}
    ).returncode


def _run_newest(arguments: Sequence[str], *, web: bool) -> int:
    paths = [argument for argument in arguments if _is_path(argument)]
    command = [str(venv_python()), "-m", "pytest", *([] if paths else [TESTS]), *arguments]
    without_browser = False
    if not web:
        say(f"--no-web: the page tests in {PAGE_TESTS} are left out")
    elif not paths or any(_has_page_tests(path) for path in paths):
        without_browser = browser.obtain(venv_python(), say, HOST / "install.log") is None
        if without_browser:
            _name_page_tests()
    if not web or without_browser:
        command.append(f"--ignore={PAGE_TESTS}")
    done = subprocess.run(command, cwd=PACK, stdin=subprocess.DEVNULL, check=False, env=_environment())
    return done.returncode or int(without_browser)


def _is_path(argument: str) -> bool:
    return (PACK / argument.split("::")[0]).exists()


def _has_page_tests(path: str) -> bool:
    chosen, pages = (PACK / path.split("::")[0]).resolve(), (PACK / PAGE_TESTS).resolve()
    return pages in [chosen, *chosen.parents] or chosen in pages.parents


def _name_page_tests() -> None:
    say(
        "no Chromium can be had here, so these page tests do not run and this run counts as failed; install "
        "Chromium, or say --no-web:"
    )
    command = [str(venv_python()), "-m", "pytest", PAGE_TESTS, "--collect-only", "-q"]
    listed = subprocess.run(
        command, cwd=PACK, stdin=subprocess.DEVNULL, check=False, env=_environment(), capture_output=True, text=True
    )
    for line in listed.stdout.splitlines():
        if "::" in line:
            say(f"  {line}")


def _environment() -> dict[str, str]:
    return {**os.environ, **SHARE_CORES, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
