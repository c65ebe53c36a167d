"""`install.py test`: the demo checkpoint, a browser, then pytest, part by part."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from . import browser
from .archives import ARCHIVES
from .demo import assemble_demo
from .host import make_other_host
from .layout import HOST, PACK, SHARE_CORES, venv_python
from .report import say

Tier = Literal["fast", "usual", "all"]
UNIT_TESTS, HOST_TESTS, FAULT_TESTS, PAGE_TESTS = "tests/unit", "tests/host", "tests/faults", "tests/web"
# Of the host's tests those that say within seconds that the pack loads, has its inputs, and walks.
FAST_HOST_TESTS = tuple(
    f"{HOST_TESTS}/{name}.py"
    for name in (
        "pack/test_pack_loads",
        "pack/test_snapshot",
        "pack/test_locales",
        "pack/test_docs",
        "walks/test_noise_mix",
        "attention/test_attention_walk",
    )
)
# The oldest ComfyUI is in every run but the fast one with a part of the host's tests: all nodes load and draw the
# images that the newest draws; in a full run they also refuse what the newest refuses.
OLDEST = next(iter(ARCHIVES))
ON_THE_OLDEST = tuple(f"{HOST_TESTS}/pack/test_{name}.py" for name in ("pack_loads", "goldens"))
ALL_ON_THE_OLDEST = (*ON_THE_OLDEST, f"{HOST_TESTS}/pack/test_bad_inputs.py")
NOT_FULL = ("-m", "not full")
MOST_WORKERS = 4
NO_TESTS = 5  # pytest's exit code where it collected none


@dataclass(frozen=True)
class Part:
    """A run of pytest.

    name: for the table of seconds; arguments: for pytest; host: version of ComfyUI, "" for the newest
    """

    name: str
    arguments: tuple[str, ...]
    host: str = ""


def run_tests(arguments: Sequence[str], *, tier: Tier = "usual", web: bool = True, hosts: Sequence[str] = ()) -> int:
    """Runs pytest in `.host/venv`; its exit code, or 1 where page tests were wanted but no browser can be had.

    arguments: for pytest; with a path among them, these tests alone run, whatever the tier
    web:       False leaves the page tests out
    hosts:     versions of ComfyUI, besides the newest, against which the host's tests run as well
    """
    assemble_demo()
    parts = _named(arguments, hosts) if any(map(_is_path, arguments)) else _parts(tier, arguments, hosts, web)
    without_browser = False
    if not web:
        say(f"--no-web: the page tests in {PAGE_TESTS} are left out")
    elif any(_has_page_tests(argument) for part in parts for argument in part.arguments if _is_path(argument)):
        without_browser = browser.obtain(venv_python(), say, HOST / "install.log") is None
    if without_browser:
        _name_page_tests()
    if not web or without_browser:
        parts = [part for part in (_without_page_tests(part) for part in parts) if part]
    codes, seconds = [], []
    for part in parts:
        start = time.monotonic()
        codes.append(_run(part))
        seconds.append(f"{part.name} {time.monotonic() - start:.0f}")
    say(f"seconds: {', '.join(seconds)}")
    ran = [code for code in codes if code != NO_TESTS] or codes  # a filter may leave nothing of one part
    return max(ran, default=0) or int(without_browser)


def _parts(tier: Tier, arguments: Sequence[str], hosts: Sequence[str], web: bool) -> list[Part]:
    chosen = (*(() if tier == "all" else NOT_FULL), *arguments)
    more = (*_side_by_side(), *chosen)
    if tier == "fast":
        return [Part("unit", (UNIT_TESTS, *more)), Part("host", (*FAST_HOST_TESTS, *more))]
    parts = [Part("unit", (UNIT_TESTS, *more)), Part("host", (HOST_TESTS, FAULT_TESTS, *more))]
    if web:
        parts.append(Part("page", (PAGE_TESTS, *chosen)))  # a browser without a GPU draws with all cores by itself
    parts += [Part(f"ComfyUI {version}", (HOST_TESTS, *more), version) for version in hosts]
    if OLDEST not in hosts:
        oldest = ALL_ON_THE_OLDEST if tier == "all" else ON_THE_OLDEST
        parts.append(Part(f"ComfyUI {OLDEST}", (*oldest, *more), OLDEST))
    return parts


def _named(arguments: Sequence[str], hosts: Sequence[str]) -> list[Part]:
    """The parts of tests that were named: on the newest host, and those of the host on others, too."""
    parts = [Part("tests", tuple(arguments))]
    chosen = tuple(item for item in arguments if not _is_path(item) or item.startswith(HOST_TESTS))
    if any(map(_is_path, chosen)):
        parts += [Part(f"ComfyUI {version}", chosen, version) for version in hosts]
    return parts


def _side_by_side() -> tuple[str, ...]:
    """Options of pytest-xdist for a process per core, up to MOST_WORKERS.

    A file stays in one process, with the models and workflows that its tests share.
    """
    workers = min(os.cpu_count() or 1, MOST_WORKERS)
    return ("-n", str(workers), "--dist", "loadfile") if workers > 1 else ()


def _run(part: Part) -> int:
    if part.host:
        make_other_host(part.host)
        say(f"the host's tests against ComfyUI {part.host}")
    command = [str(venv_python()), "-m", "pytest", *part.arguments]
    environment = _environment("-n" in part.arguments) | ({"SMOOTH_COMFY": part.host} if part.host else {})
    return subprocess.run(command, cwd=PACK, stdin=subprocess.DEVNULL, check=False, env=environment).returncode


def _without_page_tests(part: Part) -> Part | None:
    """The part without its page tests; None where nothing is left."""
    paths = [item for item in part.arguments if _is_path(item)]
    if all((PACK / path.split("::")[0]).resolve().is_relative_to((PACK / PAGE_TESTS).resolve()) for path in paths):
        return None
    return Part(part.name, (*part.arguments, f"--ignore={PAGE_TESTS}"), part.host)


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
        command,
        cwd=PACK,
        stdin=subprocess.DEVNULL,
        check=False,
        env=_environment(False),
        capture_output=True,
        text=True,
    )
    for line in listed.stdout.splitlines():
        if "::" in line:
            say(f"  {line}")


def _environment(side_by_side: bool) -> dict[str, str]:
    """The environment of a run; processes side by side compute with one thread each."""
    threads = {"OMP_NUM_THREADS": "1"} if side_by_side else {}
    return {**threads, **os.environ, **SHARE_CORES, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
