"""Round trips of all methods on pictures that the demo model knows: latent error and PSNR, invert and replay.

Every line is what the node's own receipt says, over all pictures together: 50 steps, ddim_uniform, defaults otherwise.
`curve` is fixed_point with K = 1 .. 10.

    .host/venv/bin/python -m benchmarks.inversion [pictures] [cfg,cfg..] [method,method.. or curve]
"""

from __future__ import annotations

import statistics

import torch

from ._bench import command_line, report
from ._inversions import Bench

STEPS = 50


def run(bench: Bench, method: str, cfg: float, **settings) -> None:
    """Invert all pictures with one method, and print what the receipts say; the dual method takes them two by two."""
    receipts = [made.receipt for made in bench.all_inverted(method, cfg, STEPS, **settings)]
    pictures = [picture for receipt in receipts for picture in receipt.pictures]
    errors = [picture.latent_error for picture in pictures]
    psnrs = [picture.against_input.psnr for picture in pictures]
    gaps = [picture.ceiling.psnr - picture.against_input.psnr for picture in pictures]
    report(
        {
            "benchmark": "inversion",
            "model": "demo checkpoint",
            "method": method,
            "cfg": cfg,
            "steps": STEPS,
            **settings,
            "pictures": len(pictures),
            "latent_error_median": statistics.median(errors),
            "latent_error_worst": max(errors),
            "psnr_median": round(statistics.median(psnrs), 2),
            "psnr_worst": round(min(psnrs), 2),
            "below_vae_ceiling_median": round(statistics.median(gaps), 2),
            "below_vae_ceiling_worst": round(max(gaps), 2),
            "calls": receipts[0].calls,
            "replay_calls": receipts[0].replay_calls,
        }
    )


def main(pictures: int = 24, cfgs: str = "1,7.5", methods: str = "") -> None:
    bench = Bench(pictures)
    chosen = methods.split(",") if methods else [*bench.module("smooth_lora.inversion.methods").METHODS, "curve"]
    for cfg in map(float, cfgs.split(",")):
        for method in chosen:
            if method == "curve":
                for iterations in range(1, 11):
                    run(bench, "fixed_point", cfg, iterations=iterations)
            else:
                run(bench, method, cfg)


if __name__ == "__main__":
    with torch.inference_mode():
        command_line(main, __doc__)
