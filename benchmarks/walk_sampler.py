"""The Walk Sampler against the bare host sampler: the same frames, the same batches, the same noise and text.

The bare side gets its noise and text laid out beforehand, and its results are kept, as a user's would be: what is
measured is all that the Walk Sampler does beside sampling. The demo checkpoint is the hardest case: its model calls
are a hundred times shorter than those of SD1.5 at 512 px, so anything around them weighs the more.

    .host/venv/bin/python -m benchmarks.walk_sampler [frames] [frames per batch]
"""

from __future__ import annotations

import torch

from ._bars import bar
from ._bench import command_line, pairs, ratio_fields, report
from ._demo import STEPS, Demo

MOST_RATIO = 1.03  # of the bare sampler's time


def main(frames: int = 24, batch: int = 8) -> None:
    demo = Demo()
    run = demo.walk(frames)

    def walked() -> torch.Tensor:
        return run.rendered(batch).latent["samples"]

    def bare() -> torch.Tensor:
        return torch.cat([run.sampled(start, min(start + batch, frames)) for start in range(0, frames, batch)])

    run.lay_out(batch)
    difference = float((walked() - bare()).abs().max())
    fields = ratio_fields(pairs(walked, bare))
    report(
        {
            "benchmark": "walk_sampler",
            "baseline": "bare host sampler",
            "model": "demo checkpoint",
            "frames": frames,
            "batch": batch,
            "steps": STEPS,
            "cfg": 3.0,
            "sampler": "euler",
            "largest_difference": difference,
            **fields,
            "bars": {"ratio_median": bar(fields["ratio_median"], at_most=MOST_RATIO)},
        }
    )


if __name__ == "__main__":
    with torch.inference_mode():
        command_line(main, __doc__)
