"""Run the benchmarks of walks, and write what they say into RESULTS.md.

    .host/venv/bin/python benchmarks/run.py [name ...]    run these, or all; hours on a CPU
    .host/venv/bin/python benchmarks/run.py --page        only write the page from what is kept

What a benchmark prints, one line of JSON per measurement, is kept in benchmarks/results/NAME.jsonl, and the part of
RESULTS.md between its two marks is made of these files alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
PAGE, KEPT = HERE / "RESULTS.md", HERE / "results"
MARKS = ("<!-- made by benchmarks/run.py -->", "<!-- end of what run.py makes -->")
# Of each: its title on the page, the script with its arguments, and what the numbers are to be read by.
BENCHMARKS = {
    "pacing": (
        "Even pacing, 50 walks of the demo checkpoint",
        ("pacing.py", "50", "0"),
        "Bound: a median cv 5 times lower at cost 2.0 and 2 times at 1.5. A gap is called one after twelve "
        "halvings that leave 75 %. Measured in three parts at commit 53ef222, which paces as this.",
    ),
    "pacing_lora": (
        "Plain, with the demo's Smooth-LoRA, evenly paced, and both: 21 walks",
        ("pacing.py", "21", "0", "0", "1"),
        "The first 21 of the 50, measured in parts. The demo's LoRA is weak; demo/README.md has 72 walks of it.",
    ),
    "stock": (
        "Against what people use without this pack",
        ("stock.py", "4"),
        "Latent Interpolate fades one finished picture into the other. Four walks.",
    ),
    "attention": (
        "The Attention Walk on walks between prompts",
        ("attention.py", "3"),
        "Three walks: enough to see that it does next to nothing for the demo model, and no more.",
    ),
    "recipe": (
        "Against the published recipe in diffusers, full size",
        ("recipe.py", "8", "2", "3"),
        "Bound with torch's attention on both sides: not slower, memory at most 0.5 of the recipe's; then each "
        "side's best. The best ones ran once, not three times.",
    ),
    "recipe_240": (
        "The same with 240 frames",
        ("recipe.py", "240", "1", "1", "recipe sdpa", "ours sdpa"),
        "One round, 25 minutes a side; small editing went on beside it on both sides.",
    ),
    "outside": (
        "Time outside the network and the VAE, full size",
        ("outside.py", "4", "2", "32", "3"),
        "Bound: at most 0.02 more than the bare host sampler.",
    ),
    "outside_gpu": (
        "The same on a GPU: 512 px, bfloat16, batches of 1 to 64",
        ("outside.py", "64", "20", "64", "3", "bfloat16", "1", "2", "4", "8", "16", "32", "64"),
        "",
    ),
    "growth": (
        "Growth: frames, batch, size, keyframes",
        ("growth.py",),
        "Bound: the memory of the whole process at 2,400 frames within 1.03 of that at 240.",
    ),
    "scrubbing": (
        "Scrubbing 1,000 frames on the page",
        ("scrubbing.py", "1000", "3", "20"),
        "Bound: at most 0.02 of the animation frames dropped in a full sweep; memory does not grow with "
        "every replay. dropped_idle is what the machine drops while nothing happens. Chromium without GPU.",
    ),
    "killed_video": ("A video walk killed and resumed", ("killed_video.py", "500", "3"), "Bound: bit equal."),
}
ON_GPU = {"outside_gpu"}
HIDDEN = ("benchmark", "cpu", "dtype", "device", "torch", "threads", "commit")


def run(name: str) -> None:
    """Run one and keep its lines; those of an earlier run are replaced once it has ended well."""
    _, (script, *arguments), _ = BENCHMARKS[name]
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.jsonl").write_text(done.stdout, encoding="utf-8")


def section(name: str, lines: Sequence[dict]) -> str:
    """One benchmark of the page: conditions, and a table of what differs between its lines."""
    title, command, reading = BENCHMARKS[name]
    columns = [key for key in dict.fromkeys(key for line in lines for key in line) if key not in HIDDEN]
    same = [key for key in columns if len(lines) > 1 and len({json.dumps(line.get(key)) for line in lines}) == 1]
    columns = [key for key in columns if key not in same]
    conditions = [
        f"`benchmarks/{' '.join(command)}`",
        *(f"{key} {_cell(lines[0].get(key))}" for key in same),
        *(f"{key} {_cell(lines[0].get(key))}" for key in HIDDEN[1:]),
    ]
    table = [_row(columns), _row("---" for _ in columns)]
    table += [_row(_cell(line.get(key)) for key in columns) for line in lines]
    return "\n".join([f"### {title}", "", *([reading, ""] if reading else []), *table, "", ", ".join(conditions), ""])


def write_page() -> None:
    """Put the sections of all kept results between the marks of the page.

    raises: ValueError if the page has no marks
    """
    text = PAGE.read_text(encoding="utf-8")
    if any(text.count(mark) != 1 for mark in MARKS):
        raise ValueError(f"{PAGE.name} needs the lines {' and '.join(MARKS)}, each once")
    kept = {name: KEPT / f"{name}.jsonl" for name in BENCHMARKS if (KEPT / f"{name}.jsonl").is_file()}
    made = [
        section(name, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
        for name, path in kept.items()
    ]
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    PAGE.write_text(f"{before}{MARKS[0]}\n\n" + "\n".join(made) + f"\n{MARKS[1]}{after}", encoding="utf-8")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def main(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"there is no benchmark {unknown[0]}; these are: {', '.join(BENCHMARKS)}")
    for name in names or (name for name in BENCHMARKS if torch.cuda.is_available() or name not in ON_GPU):
        run(name)
        write_page()


if __name__ == "__main__":
    if sys.argv[1:] == ["--page"]:
        write_page()
    else:
        main(sys.argv[1:])
