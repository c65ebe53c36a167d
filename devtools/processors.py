"""The unit tests as other processors and thread counts would run them, in a table.

    python -m devtools.processors [arguments for pytest]

Libraries choose their code by the processor and split sums by the threads, so the last digits differ from one to the
next. Their own switches make this processor compute as a lesser one; another thread count is another order of sums.
Without a path among the arguments all of tests/unit runs, but for what computes nothing (NOT_NUMERIC).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import machine
from .layout import PACK, SHARE_CORES, venv_python
from .report import say

THREADS = (1, 2)
UNIT_TESTS = "tests/unit"
# Linters, downloads, archives and words: no float of theirs depends on the processor.
NOT_NUMERIC = ("house", "walks/test_hostile_inputs.py")
COUNTED = re.compile(r"(\d+) (passed|failed|error)")


@dataclass(frozen=True)
class Setting:
    """One way to compute.

    needs: the processor's flag without which the libraries would ignore the variables; "" where any will do
    """

    name: str
    variables: dict[str, str] = field(default_factory=dict)
    needs: str = ""


SETTINGS = (
    Setting("as it is"),
    *(
        Setting(f"MKL_CBWR={value}", {"MKL_CBWR": value}, flag)
        for value, flag in (("COMPATIBLE", "sse2"), ("AVX2", "avx2"), ("AVX512", "avx512f"))
    ),
    *(
        Setting(f"ATEN_CPU_CAPABILITY={value}", {"ATEN_CPU_CAPABILITY": value}, flag)
        for value, flag in (("default", ""), ("avx2", "avx2"))
    ),
    Setting(
        "all libraries at their least",
        {
            "MKL_CBWR": "COMPATIBLE",
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
        "sse2",
    ),
)
ROW = "{:<32} {:>7} {:>7} {:>7} {:>8}"


def main(arguments: Sequence[str]) -> int:
    """Run the tests once for each setting and thread count; 1 if any is red."""
    say(machine.described())
    known = machine.flags()
    print(ROW.format("setting", "threads", "passed", "failed", "seconds"), flush=True)
    red: list[str] = []
    for setting in SETTINGS:
        if setting.needs and setting.needs not in known:
            print(f"{setting.name:<32} left out: this processor has no {setting.needs}")
            continue
        for threads in THREADS:
            red += _row(setting, threads, arguments)
    print("\n".join(["", *red]) if red else "\nall green")
    return int(bool(red))


def _row(setting: Setting, threads: int, arguments: Sequence[str]) -> list[str]:
    """Print one row; what pytest says of the tests that failed, each with the setting."""
    start = time.monotonic()
    code, words = _run(setting, threads, arguments)
    counts = {kind: int(number) for number, kind in COUNTED.findall(words.rstrip().rpartition("\n")[2])}
    bad = counts.get("failed", 0) + counts.get("error", 0)
    print(
        ROW.format(setting.name, threads, counts.get("passed", 0), bad, f"{time.monotonic() - start:.0f}"), flush=True
    )
    said = [line for line in words.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return [f"{setting.name}, {threads} threads: {line}" for line in said or ([words[-2000:]] if code else [])]


def _run(setting: Setting, threads: int, arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of pytest, and everything that it wrote."""
    chosen = {choice for choice in machine.CHOICES if choice not in setting.variables}
    environment = {
        **{name: value for name, value in os.environ.items() if name not in chosen},
        **SHARE_CORES,
        **setting.variables,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
    }
    paths = any((PACK / argument.split("::")[0]).exists() for argument in arguments)
    left_out = [] if paths else [f"--ignore={UNIT_TESTS}/{name}" for name in NOT_NUMERIC]
    with tempfile.TemporaryFile() as output:  # a pipe would be held open by a process that a test left behind
        code = subprocess.run(
            [
                str(venv_python()),
                "-m",
                "pytest",
                "-q",
                "--color=no",
                "-p",
                "no:cacheprovider",
                *([] if paths else [UNIT_TESTS]),
                *left_out,
                *arguments,
            ],
            cwd=PACK,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
        output.seek(0)
        return code, output.read().decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
