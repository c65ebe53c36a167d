"""The page of results, made of the files in results/ and of nothing else.

NAME.jsonl has a heading in its first line: `title`; `note`, by which the numbers are to be read; `commands`, each a
module with its arguments; `by`, the fields that name a row; and `gpu` if it needs one. Every other line is a result as
a benchmark printed it. page.json has the page's title and note, and its chapters with their files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._bars import relation_of

KEPT = Path(__file__).resolve().parent / "results"
MADE = "<!-- Made by `python -m benchmarks.run --page` from the files in results/: what is changed here is lost. -->"
CONDITIONS = ("cpu", "dtype", "device", "torch", "threads", "date", "commit", "entered")
WORDS = {"at_most": "at most", "at_least": "at least", "equals": "must be"}


@dataclass(frozen=True)
class Results:
    """One file: its name, its heading, and the results."""

    name: str
    heading: dict
    lines: list[dict]

    @staticmethod
    def read(name: str, folder: Path = KEPT) -> Results:
        heading, *lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return Results(name, json.loads(heading), [json.loads(line) for line in lines])

    def write(self, folder: Path = KEPT) -> None:
        lines = [json.dumps(line) + "\n" for line in (self.heading, *self.lines)]
        (folder / f"{self.name}.jsonl").write_text("".join(lines), encoding="utf-8")

    def row_of(self, line: dict) -> str:
        """The words that name a row, such as "frames 16"."""
        return ", ".join(f"{key} {_cell(line[key])}" for key in self.heading["by"] if key in line)


def names(folder: Path = KEPT) -> list[str]:
    """All files of the page, in its order."""
    chapters = json.loads((folder / "page.json").read_text(encoding="utf-8"))["chapters"]
    return [name for chapter in chapters for name in chapter["files"]]


def page(folder: Path = KEPT) -> str:
    """The text of the page."""
    plan = json.loads((folder / "page.json").read_text(encoding="utf-8"))
    files = {name: Results.read(name, folder) for name in names(folder)}
    parts = [f"# {plan['title']}", MADE, plan["note"], *_bars(list(files.values()))]
    for chapter in plan["chapters"]:
        parts += [f"## {chapter['title']}", chapter["note"]]
        parts += [part for name in chapter["files"] for part in section(files[name])]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(results: Results) -> list[str]:
    """Title, note, a table of the fields in which the rows differ, and under it the fields that all rows share."""
    heading, lines = results.heading, results.lines
    commands = dict.fromkeys(line["command"] for line in lines)
    if not lines:
        return [f"### {heading['title']}", heading["note"], "Not measured yet."]
    hidden = {"benchmark", "command", "bars", *CONDITIONS}
    keys = dict.fromkeys([*heading["by"], *(key for line in lines for key in line)])
    fields = [key for key in keys if key not in hidden]
    same = [key for key in fields if len(lines) > 1 and len(_different(lines, key)) == 1]
    columns = [key for key in fields if key not in same]
    rows = [[_cell(line.get(key)) for key in columns] for line in lines]
    if any("bars" in line for line in lines):
        columns = [*columns, "bar"]
        rows = [[*row, _verdicts(line.get("bars", {}))] for row, line in zip(rows, lines, strict=True)]
    told = [f"{key} {' and '.join(_different(lines, key))}" for key in (*same, *CONDITIONS)]
    under = ", ".join(
        [*(f"`python -m {command}`" for command in commands), *(text for text in told if text[-1] != " ")]
    )
    return [f"### {heading['title']}", heading["note"], _table(columns, rows), under]


def _bars(files: Sequence[Results]) -> list[str]:
    """The bars that are missed, and how many are met."""
    held = [(results, line, *named) for results in files for line in results.lines for named in _named(line)]
    missed = [
        [results.heading["title"], results.row_of(line), name, _cell(bar["value"]), _asked(bar)]
        for results, line, name, bar in held
        if not bar["met"]
    ]
    said = f"{len(held) - len(missed)} of {len(held)} bars are met."
    if not missed:
        return ["## Bars", said]
    return ["## Bars", f"{said} **Missed:**", _table(("what", "row", "of", "measured", "bar"), missed)]


def _named(line: dict) -> Iterable[tuple[str, dict]]:
    return line.get("bars", {}).items()


def _verdicts(bars: dict[str, dict]) -> str:
    """All bars of a row, each with what it asks for and whether that is met."""
    return "<br>".join(f"{name} {_asked(bar)}: {'met' if bar['met'] else '**missed**'}" for name, bar in bars.items())


def _asked(bar: dict) -> str:
    relation, bound = relation_of(bar)
    return f"{WORDS[relation]} {_cell(bound)}"


def _different(lines: Sequence[dict], key: str) -> list[str]:
    """All different values of a field, as cells."""
    return list(dict.fromkeys(_cell(line.get(key)) for line in lines))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
