"""Cost of one training step by each estimator, at SD1.5's full shapes with random weights: time, and peak memory.

Batch 1, float32, rank 8 on the attention of the whole UNet, through the nodes' own code in the host. "plain" is the
base loss alone, an ordinary LoRA step. Each measurement runs in a process of its own, one after the other in turn, so
that a busy machine slows all alike: read the ratios. Peak is above the loaded model; time is the second of two steps.

    .host/venv/bin/python benchmarks/training.py [latent side] [rounds]
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from benchmarks._bench import in_processes, report
from benchmarks._full_size import full_size_model
from devtools.in_process import HostPack, use_host

VARIANTS = ("plain", "exact", "first_order", "first_order_low_memory")
RANK, SIGMA = 8, 2.0


def measure(variant: str, side: int) -> dict[str, float]:
    """Seconds of a step and peak bytes above the loaded model, in this process."""
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base, torch.inference_mode():
        use_host(Path(base))
        module, found = HostPack().module, {}
        model = full_size_model(torch.float32, random=True)
        estimator = "exact" if variant == "exact" else "first_order"
        shapes = module("nodes.training.targets").target_shapes(model.model.diffusion_model, "attention")
        with torch.inference_mode(False):
            pairs = module("smooth_lora.training.trained_pairs").new_pairs(shapes, RANK, seed=0)
            noise = [torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(k)) for k in range(3)]
        text = [[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(3)), {}]]

        def job(network) -> None:
            with module("nodes.host.peak").PeakMemory(torch.device("cpu")) as peak:
                for _ in range(2):
                    started = time.perf_counter()
                    _step(module, network, noise, estimator, weight=0.0 if variant == "plain" else 1.0)
                    found["seconds"] = time.perf_counter() - started
            found["peak"] = peak.bytes

        module("nodes.training.network").run_on_network(
            model, [text], pairs, job, empty=text, shape=(1, 4, side, side), estimator=estimator,
            low_memory=variant.endswith("low_memory"))
    return found


def _step(module, network, noise: list[torch.Tensor], estimator: str, weight: float) -> None:
    gradients, scale = module("smooth_lora.training.estimators"), module("smooth_lora.sampling.scale").Scale()
    sigma = torch.tensor([SIGMA], dtype=torch.float64)
    sample = gradients.TrainingSample(*noise[:2], sigma, noise[2], gradients.base_share(sigma, scale))
    gradients.accumulate(estimator, network.denoiser_for([0], [False]), sample, scale, weight=weight,
                         mean_of=lambda r: 0.5 * r.mean())


def main(side: int = 48, rounds: int = 3) -> None:
    results = in_processes(__file__, VARIANTS, rounds, side)
    for variant, runs in results.items():
        ratios = {f"{what}_over_{base}": round(statistics.median(
            run[key] / other[key] for run, other in zip(runs, results[base], strict=True)), 3)
            for base in ("plain", "exact") for what, key in (("time", "seconds"), ("memory", "peak"))}
        report({"benchmark": "training", "variant": variant, "model": "SD1.5 shapes, random weights", "latent": side,
                "batch": 1, "rank": RANK, "rounds": rounds, "seconds": round(statistics.median(
                    run["seconds"] for run in runs), 1), "peak_MB": round(statistics.median(
                        run["peak"] for run in runs) / 2 ** 20), **ratios})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]))))
    else:
        main(*map(int, sys.argv[1:]))
