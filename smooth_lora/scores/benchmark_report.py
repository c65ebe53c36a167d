"""What a benchmark amounts to: means, spreads, remarks, tables and files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from ..drawing.table import aligned
from ..files.whole import write_text
from .rows import Conditions, Row
from .smoothness import CAVEATS, step_name

MEASURES = {
    "istd": "ISTD [0, 1]",
    "istd_pm1": "ISTD [-1, 1]",
    "istd_rms": "ISTD per value",
    "cv": "cv (std / mean)",
    "mean_distance": "mean step d",
    "path": "path length",
    "max_over_mean": "max / mean",
    "smoothness": "1 - Gini",
}


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
    lines = [
        f"Mean +- standard deviation over {prompts} prompt{'s' if prompts > 1 else ''}",
        *aligned(
            [("", list(results))]
            + [
                (label, [f"{s[name].mean:.4g} +- {s[name].std:.2g}" for s in summaries.values()])
                for name, label in MEASURES.items()
            ]
        ),
        "",
        "ISTD, cv and mean step of every prompt",
    ]
    per_prompt = [("", list(results))]
    for number, rows in enumerate(zip(*results.values(), strict=True), start=1):
        seeds = " and ".join(map(str, rows[0].conditions.seeds))
        per_prompt.append(
            (
                f"{number}. {_short(rows[0].conditions.prompt)} (seeds {seeds})",
                [f"{r.scores.istd:.4g}, {r.scores.cv:.3g}, {r.scores.mean_distance:.4g}" for r in rows],
            )
        )
    return "\n".join([*lines, *aligned(per_prompt), *_remarks(results), "", *CAVEATS])


def mean_istd(rows: Sequence[Row]) -> float:
    """The paper's number: the mean of istd over the prompts."""
    return summarise(rows)["istd"].mean


def bars(results: Mapping[str, Sequence[Row]]) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """What chart.bar_chart draws: ISTD and cv of every prompt, and one legend line per model."""
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


def headline(results: Mapping[str, Sequence[Row]]) -> dict:
    """Means and spreads of every model, remarks on the run and caveats, as plain JSON data."""
    return {
        "prompts": len(next(iter(results.values()))),
        "summary": {
            name: {measure: asdict(spread) for measure, spread in summarise(rows).items()}
            for name, rows in results.items()
        },
        "remarks": _remarks(results),
        "caveats": list(CAVEATS),
    }


def report(results: Mapping[str, Sequence[Row]]) -> dict:
    """The headline, and every row with its conditions and step lengths, as plain JSON data."""
    rows = [
        {**row_data(name, number, row), "conditions": {**asdict(row.conditions), "seeds": list(row.conditions.seeds)}}
        for name, rows in results.items()
        for number, row in enumerate(rows, start=1)
    ]
    return {**headline(results), "rows": rows}


def row_data(model: str, number: int, row: Row) -> dict:
    """One row and its step lengths as plain JSON data.

    number: of the prompt, from 1
    """
    return {
        "model": model,
        "prompt_number": number,
        "prompt": row.conditions.prompt,
        **_flat(row),
        "distances": list(row.scores.distances),
    }


def save(results: Mapping[str, Sequence[Row]], csv_file: Path, json_file: Path) -> None:
    """Write the rows as CSV and the report as JSON, each replacing its last version whole."""
    write_text(csv_text(results), csv_file)
    write_text(json.dumps(report(results), indent=1, allow_nan=False) + "\n", json_file)


def csv_text(results: Mapping[str, Sequence[Row]]) -> str:
    """The rows as comma-separated values with a header line, numbers with all their digits."""
    out = io.StringIO()
    names = [field.name for field in fields(Conditions) if field.name not in ("seeds", "definition", "model")]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            "model",
            "prompt_number",
            "seed_a",
            "seed_b",
            *names,
            "model_fingerprint",
            *MEASURES,
            "largest_step",
            "jumps",
            "key",
        ]
    )
    for model, rows in results.items():
        for number, row in enumerate(rows, start=1):
            flat, given = _flat(row), row.conditions
            writer.writerow(
                [
                    model,
                    number,
                    *given.seeds,
                    *(getattr(given, name) for name in names),
                    given.model,
                    *(flat[name] for name in MEASURES),
                    flat["largest_step"],
                    " ".join(flat["jumps"]),
                    given.key,
                ]
            )
    return out.getvalue()


def _flat(row: Row) -> dict:
    return {
        **{name: getattr(row.scores, name) for name in MEASURES},
        "largest_step": step_name(row.scores.largest),
        "jumps": [step_name(i) for i in row.scores.jumps],
    }


def _remarks(results: Mapping[str, Sequence[Row]]) -> list[str]:
    """What a reader of the numbers has to know about this run."""
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


def _short(prompt: str, most: int = 48) -> str:
    return prompt if len(prompt) <= most else prompt[: most - 3] + "..."
