"""The measures of change between neighbouring frames, by which a walk can be paced."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..scores.quality import ssim


@dataclass(frozen=True)
class PacingMetric:
    """A measure of change between two frames.

    name:       shown to users
    distance:   of two images or latents, >= 0, the same both ways
    by_images:  whether it is measured on images; else on latents
    step_share: share of the sampling steps after which it is measured, from the first
    """

    name: str
    distance: Callable[[Tensor, Tensor], float]
    by_images: bool = False
    step_share: float = 1.0

    @property
    def early(self) -> bool:
        """Returns whether it is measured before the last step, on frames that are not finished."""
        return self.step_share < 1

    def steps_measured(self, steps: int) -> int:
        """Number of steps, of so many, after which it is measured."""
        return max(1, math.ceil(self.step_share * steps)) if self.early else steps

    def probes(self, frames: int, steps: int) -> int:
        """Number of measurements in the time that so many frames take, of so many steps each."""
        return frames * steps // self.steps_measured(steps) if self.early else frames


def difference_length(first: Tensor, second: Tensor) -> float:
    """Euclidean length of the difference of two tensors."""
    return float(torch.linalg.vector_norm(first.float() - second.float()))


def structure_distance(first: Tensor, second: Tensor) -> float:
    """Root of 1 - SSIM of two images [1, H, W, C]: 1 - SSIM grows like a squared distance where little changes."""
    return math.sqrt(max(0.0, 1.0 - float(ssim(first, second).mean())))


_METRICS = (
    PacingMetric("pixels", difference_length, by_images=True),
    PacingMetric("structure", structure_distance, by_images=True),
    PacingMetric("latents", difference_length),
    PacingMetric("early latents", difference_length, step_share=0.5),
)
PACING_METRICS: dict[str, PacingMetric] = {metric.name: metric for metric in _METRICS}
