"""Shared by the benchmarks: a start by name, alternating pairs, and one JSON line with the conditions of a result."""

from __future__ import annotations

import argparse
import datetime
import inspect
import json
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_type_hints

import torch

from devtools.layout import PACK

WARM_UPS = 2


def command_line(main: Callable, text: str, **instead: Callable) -> None:
    """Call `main` with what the command line says; --help shows the names.

    text:    the module's docstring
    instead: called in place of `main` after --NAME as the first argument; the result of `measure` is printed, for
             in_processes
    """
    given = sys.argv[1:]
    option = given[0].removeprefix("--") if given and given[0].startswith("--") else ""
    called = instead.get(option, main)
    parser = argparse.ArgumentParser(
        prog=f"python -m {_module()}", description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = get_type_hints(called)
    for name, parameter in inspect.signature(called).parameters.items():
        many = parameter.kind is parameter.VAR_POSITIONAL
        default = None if many else parameter.default
        told = "any number of them" if many else f"{default!r} if not given"
        parser.add_argument(name, nargs="*" if many else "?", type=kinds[name], default=default, help=told)
    chosen = vars(parser.parse_args(given[1:] if option in instead else given)).values()
    result = called(*(value for one in chosen for value in (one if isinstance(one, list) else [one])))
    if option == "measure":
        print(json.dumps(result))


def pairs(a: Callable[[], object], b: Callable[[], object], n: int = 7) -> list[float]:
    """Time of a over time of b, measured n times side by side.

    a, b:    do the work once; both run WARM_UPS times unmeasured first
    n:       pairs; every other pair runs b first, so that a machine that slows down favours neither
    returns: n ratios; report their median. On a shared machine nothing but such ratios means anything
    """
    for _ in range(WARM_UPS):
        a()
        b()
    ratios = []
    for i in range(n):
        if i % 2:
            time_b, time_a = seconds(b), seconds(a)
        else:
            time_a, time_b = seconds(a), seconds(b)
        ratios.append(time_a / time_b)
    return ratios


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, the device's queue emptied before and after."""
    _wait_for_device()
    start = time.perf_counter()
    work()
    _wait_for_device()
    return time.perf_counter() - start


def in_processes(name: str, variants: Sequence[str], rounds: int, *args: object) -> dict[str, list[dict]]:
    """The last lines of `python -m benchmarks.NAME --measure VARIANT args`, a process for each measurement.

    So that memory is a variant's own, and a machine that slows down favours none: each round measures all in turn
    """
    results: dict[str, list[dict]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            command = [sys.executable, "-m", f"benchmarks.{name}", "--measure", variant, *map(str, args)]
            done = subprocess.run(command, cwd=PACK, check=True, capture_output=True, text=True)
            results[variant].append(json.loads(done.stdout.splitlines()[-1]))
    return results


def process_bytes(name: str) -> int:
    """A field of /proc/self/status, such as VmRSS or VmHWM, in bytes. Linux only."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def ratio_fields(ratios: list[float]) -> dict[str, object]:
    """The fields that are reported of the ratios that `pairs` gives."""
    return {
        "ratio_median": round(statistics.median(ratios), 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_max": round(max(ratios), 4),
        "pairs": len(ratios),
    }


def report(fields: dict[str, object]) -> None:
    """Print the fields and the conditions of this run as one line of JSON.

    fields: the result; "device" and "dtype" where they are not cpu and float32; "bars" where there are any, by their
            names, see _bars.py
    """
    print(json.dumps({**conditions(), **fields}), flush=True)


def conditions() -> dict[str, object]:
    """Command, date, commit, torch, threads, device, dtype and processor."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "command": shlex.join([_module(), *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device,
        "dtype": "float32",
        "cpu": cpu_name(),
    }


def commit() -> str:
    """Short hash of the checked-out commit, a plus after it where files differ; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        described = subprocess.run(command, cwd=PACK, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def cpu_name() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _module() -> str:
    """The name by which Python was told to start, such as benchmarks.pacing."""
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).name


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
