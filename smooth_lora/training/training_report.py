"""Report of a training: the changes from its first to its last tenth, and the accuracy of its gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from .loop import CHECK_COLUMNS, LOG_COLUMNS
from .settings import TrainingSettings

REPORTED_COLUMNS = (
    ("base loss", "base"),
    ("penalty", "penalty"),
    ("variation r", "r"),
    ("spread of r", "r_spread"),
    ("gradient", "gradient"),
)
SHOWN_COLUMNS = ("base", "penalty", "r", "r_spread")  # of LOG_COLUMNS, drawn while it trains
CURVE_POINTS = 300  # at most
LARGE_SLIP = 0.01  # of the derivative: beyond it a smaller step may be worth a try
TREND_STEPS = 10  # of which two means can be compared
CHECK_LABELS = (("ISTD", "istd"), ("cv", "cv"), ("mean step", "step_length"), ("base loss", "base"))
HELD_OUT_RISE = 1.03  # base loss on held-out images, last check over first
TRAINING_RISE = 1.10  # base loss, last tenth over first


def training_report(
    name: str,
    settings: TrainingSettings,
    log: Sequence[Sequence[float]],
    *,
    layers: int,
    numbers: int,
    rank: int,
    resumed: int,
    checks: Sequence[Sequence[float]] = (),
    notes: Sequence[str] = (),
) -> str:
    """Writes the report of a training.

    log:     one row of LOG_COLUMNS per step; checks: one row of CHECK_COLUMNS each
    layers, numbers: of the trained pairs, counted; resumed: steps done by an earlier run; notes: more lines
    """
    tenth = max(1, len(log) // 10)
    first, last = _means(log[:tenth]), _means(log[-tenth:])
    lines = [
        f"{name}: {len(log)} steps of {settings.batch_size * settings.accumulation} pictures, lambda "
        f"{settings.svr_lambda:g}, {settings.estimator}, rank {rank} on {layers} layers, {numbers:,} numbers.",
        "",
        f"{'mean over':<14}{'first ' + str(tenth):>14}{'last ' + str(tenth):>14}",
    ]
    lines += [
        f"{label:<14}{_number(first[column]):>14}{_number(last[column]):>14}" for label, column in REPORTED_COLUMNS
    ]
    lines += _checks(checks)
    lines += ["", *_remarks(settings, tenth, first, last, _means(log)["slip"])]
    if resumed:
        lines.append(f"It was taken up again after step {resumed}.")
    return "\n".join([*lines, *notes])


def training_record(
    settings: TrainingSettings, log: Sequence[Sequence[float]], checks: Sequence[Sequence[float]]
) -> dict[str, object]:
    """Record of a training as plain JSON data: its settings, and the results of its checks at the start and the end.

    returns: r and base_loss are the means of the last tenth of the steps
    """
    last = _means(log[-max(1, len(log) // 10) :])
    record: dict[str, object] = {
        **asdict(settings),
        "steps": len(log),
        "r": plain(last["r"]),
        "base_loss": plain(last["base"]),
    }
    for when, step in (("before", 0), ("after", len(log))):
        for row in [row for row in checks if row[0] == step]:
            record |= {f"{name}_{when}": plain(value) for name, value in zip(CHECK_COLUMNS[1:], row[1:], strict=True)}
    return record


def plain(value: float) -> float | None:
    """Returns None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def curves(log: Sequence[Sequence[float]], most: int = CURVE_POINTS) -> list[list[float | None]]:
    """Curves of a training: means over parts of its steps, of equal length.

    log:     one row of LOG_COLUMNS per step
    returns: up to `most` rows of the last step of a part and its mean of each of SHOWN_COLUMNS; None where it is not
             finite
    """
    length = max(1, math.ceil(len(log) / most))
    rows = []
    for start in range(0, len(log), length):
        part = log[start : start + length]
        means = _means(part)
        rows.append([start + len(part), *(plain(means[name]) for name in SHOWN_COLUMNS)])
    return rows


def _checks(checks: Sequence[Sequence[float]]) -> list[str]:
    """Tabulates the checks, and the changes from the first to the last."""
    if not checks:
        return []
    lines = [
        "",
        "On texts and pictures held out:",
        "".join(f"{title:>13}" for title in ("step", "ISTD", "cv", "mean step", "base loss")),
    ]
    lines += ["".join([f"{row[0]:>13.0f}", *(f"{_number(value):>13}" for value in row[1:])]) for row in checks]
    if len(checks) > 1:
        first, last = (dict(zip(CHECK_COLUMNS, row, strict=True)) for row in (checks[0], checks[-1]))
        changes = [
            f"{label} {last[name] / first[name] - 1:+.1%}"
            for label, name in CHECK_LABELS
            if first[name] > 0 and math.isfinite(last[name])
        ]
        lines.append(f"From first to last: {', '.join(changes)}.")
        if math.isfinite(last["base"]) and last["base"] > HELD_OUT_RISE * first["base"]:
            lines.append(
                "The base loss on the held-out pictures has risen by more than 3 %: look whether the pictures "
                "still follow the text, and prefer an earlier check if they do not."
            )
    return lines


def _remarks(
    settings: TrainingSettings, tenth: int, first: Mapping[str, float], last: Mapping[str, float], slip: float
) -> list[str]:
    remarks = []
    if settings.svr_lambda and settings.estimator == "first_order":
        remarks.append(f"Along the variation, whose slope is known, the differences strayed from it by {slip:.2%}.")
        if slip > LARGE_SLIP:
            remarks.append("That is much: a smaller difference_step, or a wider precision, brings it down.")
    if tenth >= TREND_STEPS and last["base"] > TRAINING_RISE * first["base"]:
        remarks.append(
            "The base loss has risen: pictures may lose contrast or stop following the text; train fewer "
            "steps, or with a lower lambda or learning rate."
        )
    return remarks


def _means(log: Sequence[Sequence[float]]) -> dict[str, float]:
    return {
        name: math.fsum(row[column] for row in log) / len(log) if log else math.nan
        for column, name in enumerate(LOG_COLUMNS)
    }


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
