"""A training in words: what changed from its first to its last tenth, and how true its gradient was."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .training import COLUMNS, Settings

ROWS = (("base loss", "base"), ("penalty", "penalty"), ("variation r", "r"), ("spread of r", "r_spread"),
        ("gradient", "gradient"))
ESTIMATED = "first_order"
LARGE_SLIP = 0.01  # of the derivative: beyond it a smaller step may be worth a try
ENOUGH = 10  # steps, for their mean to say something
RISEN = 1.10  # base loss, last tenth over first


def training_report(name: str, settings: Settings, log: Sequence[Sequence[float]], *, layers: int, numbers: int,
                    rank: int, resumed: int, notes: Sequence[str] = ()) -> str:
    """The report of a training.

    log: one row of training.COLUMNS per step; layers, numbers: how many are trained; resumed: steps done before
    """
    tenth = max(1, len(log) // 10)
    first, last = _means(log[:tenth]), _means(log[-tenth:])
    lines = [f"{name}: {len(log)} steps of {settings.batch_size * settings.accumulation} pictures, lambda "
             f"{settings.svr_lambda:g}, {settings.estimator}, rank {rank} on {layers} layers, {numbers:,} numbers.", "",
             f"{'mean over':<14}{'first ' + str(tenth):>14}{'last ' + str(tenth):>14}"]
    lines += [f"{label:<14}{_number(first[column]):>14}{_number(last[column]):>14}" for label, column in ROWS]
    lines += ["", *_remarks(settings, tenth, first, last, _means(log)["slip"])]
    if resumed:
        lines.append(f"It was taken up again after step {resumed}.")
    return "\n".join([*lines, *notes])


def _remarks(settings: Settings, tenth: int, first: dict, last: dict, slip: float) -> list[str]:
    remarks = []
    if settings.svr_lambda and settings.estimator == ESTIMATED:
        remarks.append(f"Along the variation, whose slope is known, the differences strayed from it by {slip:.2%}.")
        if slip > LARGE_SLIP:
            remarks.append("That is much: a smaller difference_step, or a wider precision, brings it down.")
    if tenth >= ENOUGH and last["base"] > RISEN * first["base"]:
        remarks.append("The base loss has risen: pictures may lose contrast or stop following the text; train fewer "
                       "steps, or with a lower lambda or learning rate.")
    return remarks


def _means(log: Sequence[Sequence[float]]) -> dict[str, float]:
    return {name: math.fsum(row[place] for row in log) / len(log) if log else math.nan
            for place, name in enumerate(COLUMNS)}


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
