"""The ISTD benchmark without its pictures: what is to be scored, what was scored, and what it amounts to."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from .smoothness import CAVEATS, Smoothness, aligned, from_distances, step_name

SEEDS = 2 ** 64
ENDINGS = ("_rows.jsonl", ".csv", ".json")  # the journal, and what a run leaves
# Part of every key: rows of another definition of the score or of the walk are not taken for this one's.
DEFINITION = "ISTD v1: slerp of two noises, linear, open; L2 on [0, 1], ddof 0"
HEADER = {"format": "Smooth Diffusion ISTD rows", "version": 1}
MEASURES = {"istd": "ISTD [0, 1]", "istd_pm1": "ISTD [-1, 1]", "istd_rms": "ISTD per value",
            "cv": "cv (std / mean)", "mean_distance": "mean step d", "path": "path length",
            "max_over_mean": "max / mean", "smoothness": "1 - Gini"}


@dataclass(frozen=True)
class Conditions:
    """Everything that decides the frames of one walk, and so its score.

    prompt, negative: texts; seeds: of the walk's two noises
    model, text, vae: fingerprints of the model, of what the prompts were encoded to, and of the VAE
    The number of frames that go through the model together is not among them: it changes no frame.
    """

    prompt: str
    negative: str
    seeds: tuple[int, int]
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    width: int
    height: int
    frames: int
    model: str
    text: str
    vae: str
    definition: str = DEFINITION

    @cached_property
    def key(self) -> str:
        """SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Row:
    """One scored walk; stored as its step lengths, from which every score follows."""

    conditions: Conditions
    scores: Smoothness

    def to_json(self) -> str:
        """One line of JSON; numbers keep all their digits."""
        return json.dumps({"key": self.conditions.key, "conditions": asdict(self.conditions),
                           "size": self.scores.size, "distances": self.scores.distances}, sort_keys=True)

    @classmethod
    def from_json(cls, line: str) -> "Row":
        """The row that `to_json` wrote.

        raises: ValueError, KeyError or TypeError if it is anything else, or was changed since
        """
        stored = json.loads(line)
        given = dict(stored["conditions"])
        conditions = Conditions(**{**given, "seeds": tuple(given["seeds"])})
        if conditions.key != stored["key"]:
            raise ValueError("its key does not fit its conditions")
        scores = from_distances(stored["distances"], tuple(stored["size"]))
        if scores.frames != conditions.frames:
            raise ValueError("its step lengths do not fit its number of frames")
        return cls(conditions, scores)


def prompt_lines(text: str) -> tuple[str, ...]:
    """The prompts of a text, one per line; empty lines do not count.

    raises: ValueError if there is none
    """
    prompts = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not prompts:
        raise ValueError("prompts is empty: write at least one prompt, one per line")
    return prompts


def pair_seeds(seed: int, index: int) -> tuple[int, int]:
    """Seeds of the two noises of prompt `index` (from 0): seed + 2 * index and the next one, modulo 2^64."""
    return (seed + 2 * index) % SEEDS, (seed + 2 * index + 1) % SEEDS


class Journal:
    """Finished rows in a file, one JSON line each, written as soon as each is finished.

    A killed process can leave at most its last line cut short: that one is dropped and scored again. Anything
    else that is not a row of this format is refused, because it may be somebody's file or a damaged disk.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> dict[str, Row]:
        """Finished rows by key; empty if there is no file yet.

        raises: ValueError if the file is not a journal or one of its whole lines is damaged
        """
        if not self.path.exists():
            return {}
        complete = self._complete(self.path.read_bytes())
        rows = {}
        for number, line in enumerate(complete.splitlines()[1:], start=2):
            try:
                row = Row.from_json(line.decode())
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
                reason = str(error).partition("\n")[0][:200]
                raise ValueError(f"line {number} of {self.path.name} is damaged ({reason}); delete that line, "
                                 "or give another filename_prefix to start anew") from error
            rows[row.conditions.key] = row
        return rows

    def append(self, row: Row) -> None:
        """Add a row; when this returns, it is on the disk.

        raises: ValueError if the file is not a journal
        """
        kept = len(self._complete(self.path.read_bytes())) if self.path.exists() else 0
        head = "" if kept else json.dumps(HEADER) + "\n"
        with open(self.path, "ab") as file:
            file.truncate(kept)
            file.write((head + row.to_json() + "\n").encode())
            file.flush()
            os.fsync(file.fileno())

    def _complete(self, content: bytes) -> bytes:
        """The content without a last line cut short; nothing if even the header is."""
        header = (json.dumps(HEADER) + "\n").encode()
        if not content.startswith(header) and not header.startswith(content):
            raise ValueError(f"{self.path.name} exists and is not a file of finished benchmark rows; move it "
                             "away, or give another filename_prefix")
        return content[:content.rfind(b"\n") + 1]


@dataclass(frozen=True)
class Spread:
    """A measure over the prompts: mean and population standard deviation."""

    mean: float
    std: float


def summarise(rows: Sequence[Row]) -> dict[str, Spread]:
    """Mean and spread over the prompts of every measure; the mean of istd is the paper's ISTD.

    rows: of one model, at least one
    """
    values = {name: np.array([getattr(row.scores, name) for row in rows]) for name in MEASURES}
    return {name: Spread(float(v.mean()), float(v.std())) for name, v in values.items()}


def table(results: Mapping[str, Sequence[Row]]) -> str:
    """Means, spreads and every prompt as lines of text, one column per model.

    results: name of the model -> its rows, the same prompts in the same order for all
    """
    summaries = {name: summarise(rows) for name, rows in results.items()}
    prompts = len(next(iter(results.values())))
    lines = [f"Mean +- standard deviation over {prompts} prompt{'s' if prompts > 1 else ''}",
             *aligned([("", list(results))] + [
                 (label, [f"{s[name].mean:.4g} +- {s[name].std:.2g}" for s in summaries.values()])
                 for name, label in MEASURES.items()]),
             "", "ISTD, cv and mean step of every prompt"]
    per_prompt = [("", list(results))]
    for number, rows in enumerate(zip(*results.values(), strict=True), start=1):
        seeds = " and ".join(map(str, rows[0].conditions.seeds))
        per_prompt.append((f"{number}. {_short(rows[0].conditions.prompt)} (seeds {seeds})", [
            f"{r.scores.istd:.4g}, {r.scores.cv:.3g}, {r.scores.mean_distance:.4g}" for r in rows]))
    return "\n".join([*lines, *aligned(per_prompt), *_remarks(results), "", *CAVEATS])


def mean_istd(rows: Sequence[Row]) -> float:
    """The paper's number: the mean of istd over the prompts."""
    return summarise(rows)["istd"].mean


def bars(results: Mapping[str, Sequence[Row]]) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """What chart.bar_chart draws: ISTD and cv of every prompt, and one legend line per model."""
    panels = {label: {name: [getattr(row.scores, measure) for row in rows] for name, rows in results.items()}
              for measure, label in (("istd", "ISTD"), ("cv", "cv"))}
    summaries = {name: summarise(rows) for name, rows in results.items()}
    return panels, [f"{name}:  ISTD {s['istd'].mean:.3g} +- {s['istd'].std:.2g}   cv {s['cv'].mean:.3g}"
                    f"   mean d {s['mean_distance'].mean:.3g}" for name, s in summaries.items()]


def headline(results: Mapping[str, Sequence[Row]]) -> dict:
    """Means and spreads of every model, remarks on the run and caveats, as plain JSON data."""
    return {
        "prompts": len(next(iter(results.values()))),
        "summary": {name: {measure: asdict(spread) for measure, spread in summarise(rows).items()}
                    for name, rows in results.items()},
        "remarks": _remarks(results),
        "caveats": list(CAVEATS),
    }


def report(results: Mapping[str, Sequence[Row]]) -> dict:
    """The headline, and every row with its conditions and step lengths, as plain JSON data."""
    rows = [{**row_data(name, number, row),
             "conditions": {**asdict(row.conditions), "seeds": list(row.conditions.seeds)}}
            for name, rows in results.items() for number, row in enumerate(rows, start=1)]
    return {**headline(results), "rows": rows}


def row_data(model: str, number: int, row: Row) -> dict:
    """One row and its step lengths as plain JSON data.

    number: of the prompt, from 1
    """
    return {"model": model, "prompt_number": number, "prompt": row.conditions.prompt, **_flat(row),
            "distances": list(row.scores.distances)}


def save(results: Mapping[str, Sequence[Row]], csv_file: Path, json_file: Path) -> None:
    """Write the rows as CSV and the report as JSON, each replacing its last version whole."""
    write_whole(csv_file, csv_text(results))
    write_whole(json_file, json.dumps(report(results), indent=1, allow_nan=False) + "\n")


def csv_text(results: Mapping[str, Sequence[Row]]) -> str:
    """The rows as comma-separated values with a header line, numbers with all their digits."""
    out = io.StringIO()
    names = [field.name for field in fields(Conditions) if field.name not in ("seeds", "definition", "model")]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "prompt_number", "seed_a", "seed_b", *names, "model_fingerprint", *MEASURES,
                     "largest_step", "jumps", "key"])
    for model, rows in results.items():
        for number, row in enumerate(rows, start=1):
            flat, given = _flat(row), row.conditions
            writer.writerow([model, number, *given.seeds, *(getattr(given, name) for name in names),
                             given.model, *(flat[name] for name in MEASURES), flat["largest_step"],
                             " ".join(flat["jumps"]), given.key])
    return out.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file that others see either as it was or complete."""
    draft = path.with_name(path.name + ".part")
    with open(draft, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _flat(row: Row) -> dict:
    return {**{name: getattr(row.scores, name) for name in MEASURES},
            "largest_step": step_name(row.scores.largest), "jumps": [step_name(i) for i in row.scores.jumps]}


def _remarks(results: Mapping[str, Sequence[Row]]) -> list[str]:
    """What a reader of the numbers has to know about this run."""
    remarks = []
    for name, rows in results.items():
        still = [str(number) for number, row in enumerate(rows, start=1) if row.scores.still]
        if still:
            remarks.append(f"{name}: all frames of prompt {', '.join(still)} are the same picture, so "
                           "nothing was scored there; its zeros lower the means.")
    models = [rows[0].conditions.model for rows in results.values()]
    if len(set(models)) < len(models):
        remarks.append("Both models are the same: weights and patches do not differ, so the scores cannot.")
    return remarks


def _short(prompt: str, most: int = 48) -> str:
    return prompt if len(prompt) <= most else prompt[:most - 3] + "..."
