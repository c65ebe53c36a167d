"""Settings of a training, as plain data: what decides its result, and how a run of it is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

LR_SCHEDULES = ("constant", "cosine")
COMPUTE_PRECISIONS = ("float32", "bfloat16")  # of the network's products, see TrainingSettings
FINAL_RATE_SHARE = 0.02  # of the learning rate, at the end of a cosine


@dataclass(frozen=True)
class TrainingSettings:
    """Settings that decide a training's result, given its data and its network.

    svr_lambda:   weight of the regulariser; 0 trains by the base loss alone
    steps:        optimiser steps
    batch_size:   images per call and process
    accumulation: calls per optimiser step
    lr_schedule:  of learning_rate, "constant", or "cosine" down to 2 %; warmup_steps: of linear rise before
    weight_decay, clip: of the optimiser, and the largest length of the gradient
    ema:          decay of the averaged weights; 0 keeps none
    empty_share:  probability that an image is trained with the empty prompt
    estimator, difference_step: see `estimators.accumulate`
    optimizer:    "adamw", or "adafactor", which keeps sums by rows and columns in place of whole matrices
    precision:    one of COMPUTE_PRECISIONS. bfloat16 rounds the calls whose results are not subtracted from each other:
                  those of drawn walks, and all others if svr_lambda is 0. The regulariser's own gradient does not
                  survive rounding
    pace_lambda:  weight of the loss of drawn walks, see `drawn_walks`; 0 draws none
    pace_cfg:     guidance scale that they are drawn with
    """

    svr_lambda: float = 1.0
    steps: int = 1000
    batch_size: int = 1
    accumulation: int = 1
    learning_rate: float = 1e-4
    lr_schedule: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.0
    empty_share: float = 0.1
    estimator: str = "first_order"
    difference_step: float | None = None
    optimizer: str = "adamw"
    seed: int = 0
    pace_lambda: float = 0.0
    pace_cfg: float = 7.5
    precision: str = "float32"

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TrainingSettings:
        """Builds settings of the values that have their names, in which a difference_step of 0 means none."""
        chosen = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        return cls(**{**chosen, "difference_step": values.get("difference_step") or None})


@dataclass(frozen=True)
class TrainingRun:
    """A run of a training, and the pairs that it trains.

    name: of its file; rank, targets: of the pairs; save_every, check_every: steps
    low_memory: computes the blocks of the network again in the backward pass
    """

    name: str
    rank: int = 8
    targets: str = "attention"
    save_every: int = 100
    low_memory: bool = False
    check_every: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TrainingRun:
        """Builds a run of the values that have the names of its fields."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Learning rate of one step, counted from 0."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.lr_schedule == "constant":
        return settings.learning_rate
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    falling = (1 - FINAL_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * done))
    return settings.learning_rate * (FINAL_RATE_SHARE + falling)
