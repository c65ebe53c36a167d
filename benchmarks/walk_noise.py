"""Making the noise of a walk against one sampling step of its frames, at SD1.5's full size.

240 frames of noise at 64x64x4 are made in one go; one cfg step (two rows) of one such frame runs through ComfyUI's own
SD1.5 UNet with random weights, and counts 240 times, which favours neither: the host's time per frame does not fall
with the batch on a CPU. Needs 4 GB of free memory.

    .host/venv/bin/python -m benchmarks.walk_noise [frames]
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch

from devtools.in_process import use_host

from ._bars import bar
from ._bench import command_line, report, seconds
from ._full_size import full_size_model

RUNS = 3
MOST_SHARE = 0.01  # of the time of one cfg step


def main(frames: int = 240) -> None:
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base:
        use_host(Path(base))
        from smooth_lora.walks.noise import NoisePath, seed_noise
        from smooth_lora.walks.walk import schedule

        unet = full_size_model(torch.float32, random=True).model.diffusion_model
        rows, text, t = torch.randn(2, 4, 64, 64), torch.randn(2, 77, 768), torch.tensor([500.0, 500.0])
        unet(rows, t, text)
        step = statistics.median(seconds(lambda: unet(rows, t, text)) for _ in range(RUNS))
        for rule, count in (("slerp", 2), ("spline", 5), ("variance_exact", 3)):

            def make(rule=rule, count=count):
                keyframes = torch.cat([seed_noise(seed, (4, 64, 64)) for seed in range(count)])
                return NoisePath(keyframes, rule).at(schedule(frames))

            share = statistics.median(seconds(make) for _ in range(RUNS)) / (frames * step)
            report(
                {
                    "benchmark": "walk_noise",
                    "rule": rule,
                    "keyframes": count,
                    "frames": frames,
                    "shape": [4, 64, 64],
                    "weights": sum(w.numel() for w in unet.parameters()),
                    "share_of_one_step": round(share, 8),
                    "bars": {"share_of_one_step": bar(round(share, 8), at_most=MOST_SHARE)},
                }
            )


if __name__ == "__main__":
    with torch.inference_mode():
        command_line(main, __doc__)
