"""A finished training: its LoRA, and its report, record and loss graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...smooth_lora.training.loop import LOG_COLUMNS
from ...smooth_lora.training.settings import TrainingRun, TrainingSettings
from ...smooth_lora.training.training_report import training_record, training_report
from .stretches import TRAINING_ENDING


@dataclass(frozen=True)
class TrainedLora:
    """A finished training.

    settings, run: as it was asked for; facts: identify the model and the images
    lora:    the pairs as float32 tensors by the host's names
    log:     one row of LOG_COLUMNS for each step; checks: one row of CHECK_COLUMNS for each check
    strips:  [checks, H, W, 3] the first walk at each check; None without a check, and in all processes but the first
    resumed: steps that an earlier run had done; empty_text: True if there was an empty prompt
    """

    settings: TrainingSettings
    run: TrainingRun
    facts: Mapping[str, str]
    lora: dict[str, Tensor]
    log: tuple[tuple[float, ...], ...]
    checks: tuple[tuple[float, ...], ...]
    strips: Tensor | None
    resumed: int
    empty_text: bool

    @property
    def processes(self) -> int:
        """Number of processes that trained together."""
        return int(self.facts.get("processes", 1))

    def report(self) -> str:
        """Describes the training for its user."""
        settings = self.settings
        notes = [f"Kept as {self.run.name}{TRAINING_ENDING} in ComfyUI's user folder: the same name goes on from here."]
        if not self.empty_text:
            notes.append(
                "No empty_text was wired, so no caption was left empty: the LoRA acts on the positive text alone, "
                "which a cfg above 1 may show."
            )
        if self.processes > 1:
            notes.append(
                f"{self.processes} processes trained together, so a step was of "
                f"{self.processes * settings.batch_size * settings.accumulation} pictures in all."
            )
        return training_report(
            self.run.name,
            settings,
            self.log,
            layers=len(self.lora) // 2,
            rank=self.run.rank,
            numbers=sum(tensor.numel() for tensor in self.lora.values()),
            resumed=self.resumed,
            checks=self.checks,
            notes=notes,
        )

    def record(self) -> str:
        """Writes the training as JSON, for the file of its LoRA."""
        facts = {
            "name": self.run.name,
            "base_model": self.facts["model"],
            "data": self.facts["pictures"],
            "rank": self.run.rank,
            "targets": self.run.targets,
            "processes": self.processes,
        }
        return json.dumps({**facts, **training_record(self.settings, self.log, self.checks)}, indent=1)

    def loss_map(self) -> dict[str, list[float]]:
        """Returns the base losses, for the host's loss graph."""
        return {"loss": [row[LOG_COLUMNS.index("base")] for row in self.log]}
