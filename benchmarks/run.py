"""Run benchmarks, keep what they print, and write RESULTS.md.

    .host/venv/bin/python -m benchmarks.run [name ...]    run these, or all; hours on a CPU
    .host/venv/bin/python -m benchmarks.run --page        only write the page from what is kept

The names are those of the files in benchmarks/results/, of which the page is made; _page.py says what is in them. After
a run read the note in the file's first line again: it speaks of the numbers that were there before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from devtools.layout import PACK

from ._page import KEPT, Results, names, page

PAGE = Path(__file__).resolve().parent / "RESULTS.md"


def run(name: str, folder: Path = KEPT) -> None:
    """Run one and keep its lines; those of an earlier run are replaced once all its commands have ended well."""
    kept, lines = Results.read(name, folder), []
    for module, *arguments in kept.heading["commands"]:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        done = subprocess.run(command, cwd=PACK, check=True, stdout=subprocess.PIPE, text=True)
        lines += map(json.loads, done.stdout.splitlines())
    replace(kept, lines=lines).write(folder)


def main(chosen: Sequence[str]) -> None:
    """Run these, or all that this machine can run, and write the page after each.

    raises: SystemExit if there is none of a name
    """
    known = names()
    unknown = [name for name in chosen if name not in known]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]}; these are: {', '.join(known)}")
    for name in chosen or [
        name for name in known if torch.cuda.is_available() or "gpu" not in Results.read(name).heading
    ]:
        run(name)
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run benchmarks, keep what they print, and write RESULTS.md.")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(names())}; all of them if none is named")
    parser.add_argument("--page", action="store_true", help="only write the page from what is kept")
    given = parser.parse_args()
    if given.page:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        main(given.names)
