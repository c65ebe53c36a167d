"""The processor and the threads that a run of the tests had, in one line: rounding differs from one to the next.

python -m devtools.machine
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Each names a set of instructions as the processor's own flags have it, the widest first.
WIDTHS = {"AVX-512": "avx512f", "AVX2": "avx2", "AVX": "avx", "SVE": "sve", "NEON": "asimd"}
# IsProcessorFeaturePresent of Windows, by winnt.h.
WINDOWS = {"sse2": 10, "avx": 39, "avx2": 40, "avx512f": 41, "asimd": 19}
# They choose the code that torch, its libraries and numpy's take, so they are named wherever they are set.
CHOICES = ("MKL_NUM_THREADS", "MKL_CBWR", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")


def described(threads: int | None = None) -> str:
    """Name the processor, its instructions, its cores and the threads.

    threads: of torch; None asks torch where this process has it already, and says so where it has not
    """
    if threads is None and "torch" in sys.modules:
        threads = sys.modules["torch"].get_num_threads()
    parts = [
        name(),
        *widest(flags()),
        f"{os.cpu_count()} cores",
        "torch not loaded" if threads is None else f"torch threads {threads}",
        f"OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'unset')}",
        *(f"{choice} {os.environ[choice]}" for choice in CHOICES if choice in os.environ),
    ]
    return ", ".join(parts)


def name() -> str:
    """Name the processor as its maker does, or at least its architecture."""
    found = _of_cpuinfo("model name") or _of_sysctl("machdep.cpu.brand_string") or platform.processor()
    return found or platform.machine() or "unknown processor"


def flags() -> set[str]:
    """Name the processor's features in small letters, as far as the system tells."""
    found = windows_flags()
    if found is not None:
        return found
    if CPUINFO.is_file():
        return set((_of_cpuinfo("flags") or _of_cpuinfo("Features")).split())
    told = _of_sysctl("machdep.cpu.features", "machdep.cpu.leaf7_features").lower().replace("avx1.0", "avx").split()
    return {*told, *(["asimd"] if platform.machine() == "arm64" else [])}


def windows_flags() -> set[str] | None:
    """Ask Windows for those that tell processors apart; None elsewhere."""
    if sys.platform != "win32":
        return None
    import ctypes

    return {flag for flag, number in WINDOWS.items() if ctypes.windll.kernel32.IsProcessorFeaturePresent(number)}


def widest(found: set[str]) -> list[str]:
    """Name the widest set of instructions among the flags, in a list that is empty where none is known."""
    return [width for width, flag in WIDTHS.items() if flag in found][:1]


def _of_cpuinfo(key: str) -> str:
    """Read what /proc/cpuinfo says of the first processor, or nothing."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next(
        (value.strip() for label, _, value in (line.partition(":") for line in lines) if label.strip() == key), ""
    )


def _of_sysctl(*keys: str) -> str:
    """Read values of macOS's own table, or nothing elsewhere."""
    if sys.platform != "darwin":
        return ""
    done = subprocess.run(
        ["sysctl", "-n", *keys], stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
    )
    return " ".join(done.stdout.split())


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        importlib.import_module("torch")
    print(described())
