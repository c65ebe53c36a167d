"""Shows the page a training while it runs: its losses, its checks and their pictures."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

from ...smooth_lora.training.loop import CHECK_COLUMNS, Trainer
from ...smooth_lora.training.training_report import SHOWN_COLUMNS, curves, plain
from ..host.api import io
from ..page.page import Page, ShownFolder, not_shown
from .check import TrainingCheck

EVENT = "smooth_diffusion.training"
SECONDS = 0.5  # between two messages, at least
SHARE = 0.02  # of the time may go into messages, which grow with the steps


class TrainingShown:
    """Tells the page of a node everything that it shows of a training, whole each time: a page that was opened later
    has missed nothing.

    cls: the node; folder, name: where the training is kept, and under what name; check: of its strips, if any
    """

    def __init__(self, cls: type[io.ComfyNode], folder: Path, name: str, check: TrainingCheck | None):
        self._page, self._shown, self._check = Page(cls), ShownFolder(), check
        self._folder, self._name = folder, name
        self._strips: dict[int, str] = {}  # step -> file
        self._next, self._checks = -math.inf, -1  # when a message is due, and the checks that were told

    def watch(self, trainer: Trainer) -> None:
        """After every step and every check."""
        now = time.monotonic()
        if now < self._next and len(trainer.checks) == self._checks:
            return
        self._checks = len(trainer.checks)
        self._page.tell(EVENT, self.data(trainer.step, trainer.settings.steps, trainer.log, trainer.checks))
        told = time.monotonic()
        self._next = told + max(SECONDS, (told - now) / SHARE)

    def data(self, step: int, steps: int, log, checks) -> dict:
        """What the page shows, as plain JSON data.

        log: one row of training.COLUMNS per step; checks: one row of CHECK_COLUMNS each
        """
        if self._check is not None:
            for row in checks:
                self._copy_strip(int(row[0]))
        return {
            "name": self._name,
            "step": step,
            "steps": steps,
            "columns": ["step", *SHOWN_COLUMNS],
            "rows": curves(log),
            "check_columns": list(CHECK_COLUMNS),
            "checks": [list(map(plain, row)) for row in checks],
            "strips": {str(step): file for step, file in self._strips.items()},
            "subfolder": self._shown.subfolder,
        }

    def _copy_strip(self, step: int) -> None:
        kept = self._check.strip_path(self._folder, self._name, step)
        if step in self._strips or not kept.exists():
            return
        name = f"{step:08}.png"
        try:
            shutil.copyfile(kept, self._shown.file(name))
        except OSError as error:
            not_shown(f"the strip of step {step}", error)
        else:
            self._strips[step] = name
