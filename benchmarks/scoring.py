"""Scoring a walk against the bare norm of its frame differences.

The bare norm takes all differences at once and checks nothing; the score clamps, looks for NaN and Inf, and
takes a few frames at a time, in constant memory. The chart is not drawn.

    python benchmarks/scoring.py [frames] [size]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._bench import pairs, ratio_fields, report
from smooth_lora.scores.smoothness import score


def bare(images: torch.Tensor) -> torch.Tensor:
    """The naive baseline."""
    return (images[1:] - images[:-1]).flatten(1).norm(dim=1)


def bare_by_frame(images: torch.Tensor) -> torch.Tensor:
    """The same frame by frame, which stays in the processor's cache: the harder baseline."""
    return torch.stack([(b - a).flatten().norm() for a, b in zip(images[:-1], images[1:], strict=True)])


def main(frames: int = 48, size: int = 512) -> None:
    images = torch.rand(frames, size, size, 3, generator=torch.Generator().manual_seed(0))
    for baseline in (bare, bare_by_frame):
        ratios = pairs(lambda: score(images), lambda baseline=baseline: baseline(images))
        report(
            {"benchmark": "scoring", "baseline": baseline.__name__, "shape": list(images.shape), **ratio_fields(ratios)}
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
