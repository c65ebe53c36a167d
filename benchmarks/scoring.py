"""Scoring a walk against the bare norm of its frame differences.

The bare norm takes all differences at once and checks nothing; the score clamps, looks for NaN and Inf, and
takes a few frames at a time, in constant memory. The chart is not drawn.

    .host/venv/bin/python -m benchmarks.scoring [frames] [size]
"""

from __future__ import annotations

import torch

from smooth_lora.scores.smoothness import score

from ._bars import bar
from ._bench import command_line, pairs, ratio_fields, report

MOST_RATIO = 2  # of the time of the bare norm of all differences at once


def bare(images: torch.Tensor) -> torch.Tensor:
    """The naive baseline."""
    return (images[1:] - images[:-1]).flatten(1).norm(dim=1)


def bare_by_frame(images: torch.Tensor) -> torch.Tensor:
    """The same frame by frame, which stays in the processor's cache: the harder baseline."""
    return torch.stack([(b - a).flatten().norm() for a, b in zip(images[:-1], images[1:], strict=True)])


def main(frames: int = 48, size: int = 512) -> None:
    images = torch.rand(frames, size, size, 3, generator=torch.Generator().manual_seed(0))
    for baseline in (bare, bare_by_frame):
        fields = ratio_fields(pairs(lambda: score(images), lambda baseline=baseline: baseline(images)))
        held = {"bars": {"ratio_median": bar(fields["ratio_median"], at_most=MOST_RATIO)}} if baseline is bare else {}
        report({"benchmark": "scoring", "baseline": baseline.__name__, "shape": list(images.shape), **fields, **held})


if __name__ == "__main__":
    command_line(main, __doc__)
