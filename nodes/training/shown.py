"""Shows a training on the page while it runs: its losses, its checks and their strips."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from ...smooth_lora.training.loop import CHECK_COLUMNS, Trainer
from ...smooth_lora.training.training_report import SHOWN_COLUMNS, curves, plain
from ..host.api import io
from ..page.page import Page, ShownFolder, not_shown
from .check import TrainingCheck

TRAINING_EVENT = "smooth_diffusion.training"
SECONDS_BETWEEN_MESSAGES = 0.5  # at least
MESSAGE_TIME_SHARE = 0.02  # of the time may go into messages, which grow with the steps
Rows = Sequence[Sequence[float]]


class TrainingShown:
    """Sends the page of a node everything that it shows of a training, whole each time, for pages opened later.

    cls: the node; folder, name: of the training's file; check: whose strips are shown, if any
    """

    def __init__(self, cls: type[io.ComfyNode], folder: Path, name: str, check: TrainingCheck | None):
        self._page, self._shown, self._check = Page(cls), ShownFolder(), check
        self._folder, self._name = folder, name
        self._strips: dict[int, str] = {}  # step -> file
        self._next, self._checks = -math.inf, -1  # when a message is due, and the number of checks that were sent

    def watch(self, trainer: Trainer) -> None:
        """Sends a message after a step or a check, if one is due."""
        now = time.monotonic()
        if now < self._next and len(trainer.checks) == self._checks:
            return
        self._checks = len(trainer.checks)
        self._page.tell(TRAINING_EVENT, self.data(trainer.step, trainer.settings.steps, trainer.log, trainer.checks))
        sent = time.monotonic()
        self._next = sent + max(SECONDS_BETWEEN_MESSAGES, (sent - now) / MESSAGE_TIME_SHARE)

    def data(self, step: int, steps: int, log: Rows, checks: Rows) -> dict[str, object]:
        """Returns everything that the page shows, as plain JSON data.

        log: one row of LOG_COLUMNS per step; checks: one row of CHECK_COLUMNS each
        """
        if self._check is not None:
            for row in checks:
                self._copy_strip(self._check, int(row[0]))
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

    def _copy_strip(self, check: TrainingCheck, step: int) -> None:
        strip = check.strip_path(self._folder, self._name, step)
        if step in self._strips or not strip.exists():
            return
        name = f"{step:08}.png"
        try:
            shutil.copyfile(strip, self._shown.file(name))
        except OSError as error:
            not_shown(f"the strip of step {step}", error)
        else:
            self._strips[step] = name
