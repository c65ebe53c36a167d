"""Means, spreads and remarks of a benchmark, as tables, charts and files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..drawing.table import aligned
from ..files.whole import write_text
from .rows import Conditions, Row
from .scores_table import CAVEATS, step_name

MEASURES = {  # a score of Smoothness -> its label
    "istd": "ISTD [0, 1]",
    "istd_pm1": "ISTD [-1, 1]",
    "istd_rms": "ISTD per value",
    "cv": "cv (std / mean)",
    "mean_distance": "mean step d",
    "path": "path length",
    "max_over_mean": "max / mean",
    "smoothness": "1 - Gini",
}
CSV_CONDITIONS = [field.name for field in fields(Conditions) if field.name not in ("seeds", "definition", "model")]
PROMPT_LETTERS = 48  # of a prompt in the table


@dataclass(frozen=True)
class Spread:
    """Mean and population standard deviation of a measure over the prompts."""

    mean: float
    std: float


def summarise(rows: Sequence[Row]) -> dict[str, Spread]:
    """Computes mean and spread of every measure over the prompts; the mean of istd is the paper's ISTD.

    rows: of one model, at least one
    """
    values = {name: np.array([getattr(row.scores, name) for row in rows]) for name in MEASURES}
    return {name: Spread(float(v.mean()), float(v.std())) for name, v in values.items()}


def mean_istd(rows: Sequence[Row]) -> float:
    """The paper's number: the mean of istd over the prompts."""
    return summarise(rows)["istd"].mean


def benchmark_table(results: Mapping[str, Sequence[Row]]) -> str:
    """Returns means, spreads and every prompt as lines of text, one column per model.

    results: name of the model -> its rows, the same prompts in the same order for all
    """
    summaries = {name: summarise(rows) for name, rows in results.items()}
    prompts = len(next(iter(results.values())))
    means = [
        (label, [f"{s[name].mean:.4g} +- {s[name].std:.2g}" for s in summaries.values()])
        for name, label in MEASURES.items()
    ]
    header = ("", list(results))
    return "\n".join(
        [
            f"Mean +- standard deviation over {prompts} prompt{'s' if prompts > 1 else ''}",
            *aligned([header, *means]),
            "",
            "ISTD, cv and mean step of every prompt",
            *aligned([header, *_prompt_cells(results)]),
            *_remarks(results),
            "",
            *CAVEATS,
        ]
    )


def _prompt_cells(results: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, list[str]]]:
    """Yields the label and the cells of each prompt."""
    for number, rows in enumerate(zip(*results.values(), strict=True), start=1):
        given = rows[0].conditions
        label = f"{number}. {_short(given.prompt)} (seeds {' and '.join(map(str, given.seeds))})"
        yield label, [f"{r.scores.istd:.4g}, {r.scores.cv:.3g}, {r.scores.mean_distance:.4g}" for r in rows]


def benchmark_bars(results: Mapping[str, Sequence[Row]]) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """Returns the panels and the legend of `chart.bar_chart`: ISTD and cv of every prompt, and one line per model."""
    panels = {
        label: {name: [getattr(row.scores, measure) for row in rows] for name, rows in results.items()}
        for measure, label in (("istd", "ISTD"), ("cv", "cv"))
    }
    summaries = {name: summarise(rows) for name, rows in results.items()}
    return panels, [
        f"{name}:  ISTD {s['istd'].mean:.3g} +- {s['istd'].std:.2g}   cv {s['cv'].mean:.3g}"
        f"   mean d {s['mean_distance'].mean:.3g}"
        for name, s in summaries.items()
    ]


def benchmark_headline(results: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Returns means and spreads of every model, remarks on the run and caveats as plain JSON data."""
    return {
        "prompts": len(next(iter(results.values()))),
        "summary": {
            name: {measure: asdict(spread) for measure, spread in summarise(rows).items()}
            for name, rows in results.items()
        },
        "remarks": _remarks(results),
        "caveats": list(CAVEATS),
    }


def benchmark_report(results: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Returns the headline, and every row with its conditions and step lengths, as plain JSON data."""
    rows = [
        {**row_data(name, number, row), "conditions": {**asdict(row.conditions), "seeds": list(row.conditions.seeds)}}
        for name, rows in results.items()
        for number, row in enumerate(rows, start=1)
    ]
    return {**benchmark_headline(results), "rows": rows}


def row_data(model: str, number: int, row: Row) -> dict[str, Any]:
    """Returns one row and its step lengths as plain JSON data.

    number: of the prompt, from 1
    """
    return {
        "model": model,
        "prompt_number": number,
        "prompt": row.conditions.prompt,
        **_flat(row),
        "distances": list(row.scores.distances),
    }


def save_benchmark(results: Mapping[str, Sequence[Row]], csv_file: Path, json_file: Path) -> None:
    """Writes the rows as CSV and the report as JSON, each replacing its last version whole."""
    write_text(benchmark_csv(results), csv_file)
    write_text(json.dumps(benchmark_report(results), indent=1, allow_nan=False) + "\n", json_file)


def benchmark_csv(results: Mapping[str, Sequence[Row]]) -> str:
    """Returns the rows as comma-separated values with a header line, numbers with all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    before, after = ("model", "prompt_number", "seed_a", "seed_b"), ("largest_step", "jumps", "key")
    writer.writerow([*before, *CSV_CONDITIONS, "model_fingerprint", *MEASURES, *after])
    for model, rows in results.items():
        for number, row in enumerate(rows, start=1):
            flat, given = _flat(row), row.conditions
            conditions = [getattr(given, name) for name in CSV_CONDITIONS]
            measures = [flat[name] for name in MEASURES]
            ends = [flat["largest_step"], " ".join(flat["jumps"]), given.key]
            writer.writerow([model, number, *given.seeds, *conditions, given.model, *measures, *ends])
    return text.getvalue()


def _flat(row: Row) -> dict[str, Any]:
    return {
        **{name: getattr(row.scores, name) for name in MEASURES},
        "largest_step": step_name(row.scores.largest),
        "jumps": [step_name(i) for i in row.scores.jumps],
    }


def _remarks(results: Mapping[str, Sequence[Row]]) -> list[str]:
    """Lists sentences without which the numbers of this run mislead."""
    remarks = []
    for name, rows in results.items():
        still = [str(number) for number, row in enumerate(rows, start=1) if row.scores.still]
        if still:
            remarks.append(
                f"{name}: all frames of prompt {', '.join(still)} are the same picture, so "
                "nothing was scored there; its zeros lower the means."
            )
    models = [rows[0].conditions.model for rows in results.values()]
    if len(set(models)) < len(models):
        remarks.append("Both models are the same: weights and patches do not differ, so the scores cannot.")
    return remarks


def _short(prompt: str) -> str:
    return prompt if len(prompt) <= PROMPT_LETTERS else prompt[: PROMPT_LETTERS - 3] + "..."
