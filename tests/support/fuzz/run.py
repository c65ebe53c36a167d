"""Coverage-guided fuzzing of every parser (atheris), until so many inputs were tried or one was answered by anything
else than a sentence.

    .host/venv/bin/python -m pip install atheris
    .host/venv/bin/python -m tests.support.fuzz.run [executions] [target ...]

Without names the executions are shared by all targets. A crash leaves its input in .host/fuzz/crashes; put it into
tests/unit/walks/test_hostile_inputs.py once it is mended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORK = ROOT / ".host" / "fuzz"
SLOWEST = 10  # seconds for one input; more counts as hanging
MOST_MEMORY = 4096  # MB of the process
LONGEST = 4096  # bytes of an input


def fuzz_one(name: str, executions: int) -> int:
    """Fuzz a target in a process of its own; its exit code."""
    corpus = WORK / "corpus" / name
    crashes = WORK / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.fuzz.run",
            "--child",
            name,
            str(corpus),
            f"-runs={executions}",
            f"-timeout={SLOWEST}",
            f"-rss_limit_mb={MOST_MEMORY}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={crashes}/{name}-",
            "-verbosity=0",
            "-print_final_stats=1",
        ],
        cwd=ROOT,
        check=False,
    ).returncode


def child(name: str, corpus: Path, options: list[str]) -> None:
    """The fuzzed process: atheris never returns from it."""
    import atheris

    with atheris.instrument_imports(include=["smooth_lora", "json"]):
        from . import targets
    for number, good in enumerate(targets.examples()[name]):
        (corpus / f"good-{number}").write_bytes(good)
    target = targets.TARGETS[name]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: target(data) and None)
    atheris.Fuzz()


def main(executions: int = 2_000_000, *names: str) -> None:
    from .targets import TARGETS

    chosen = names or tuple(TARGETS)
    each, failed = -(-executions // len(chosen)), []
    for name in chosen:
        start = time.monotonic()
        code = fuzz_one(name, each)
        print(
            json.dumps(
                {"fuzz": name, "executions": each, "crashed": code != 0, "seconds": round(time.monotonic() - start)}
            ),
            flush=True,
        )
        failed += [name] * (code != 0)
    if failed:
        sys.exit(f"not every input was answered by a sentence: {', '.join(failed)}; see {WORK / 'crashes'}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    else:
        main(*map(int, sys.argv[1:2]), *sys.argv[2:])
