"""Cost of one training step by each estimator, at SD1.5's full shapes with random weights: time, and peak memory.

Batch 1, float32, rank 8 on the attention of the whole UNet, through the nodes' own code in the host. "plain" is the
base loss alone, an ordinary LoRA step. Each measurement runs in a process of its own, one after the other in turn, so
that a busy machine slows all alike: read the ratios. Peak is above the loaded model; time is the second of two steps.

    .host/venv/bin/python -m benchmarks.training [latent side] [rounds]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch

from devtools.in_process import HostPack, use_host

from ._bars import bar
from ._bench import command_line, in_processes, report
from ._full_size import full_size_model

VARIANTS = ("plain", "exact", "first_order", "first_order_low_memory")
RANK, SIGMA = 8, 2.0
MOST = {  # by the side of the latent and the variant
    (48, "first_order"): {
        "time_over_exact": 0.75,
        "memory_over_exact": 0.25,
        "time_over_plain": 2.8,
        "memory_over_plain": 1.2,
    },
    (48, "first_order_low_memory"): {"memory_over_exact": 0.25},
    (32, "first_order"): {"time_over_exact": 1.0},
}


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
            with module("nodes.host.memory_peak").PeakMemory(torch.device("cpu")) as peak:
                for _ in range(2):
                    started = time.perf_counter()
                    _step(module, network, noise, estimator, weight=0.0 if variant == "plain" else 1.0)
                    found["seconds"] = time.perf_counter() - started
            found["peak"] = peak.bytes

        module("nodes.training.network").run_on_network(
            model,
            [text],
            pairs,
            job,
            empty=text,
            shape=(1, 4, side, side),
            estimator=estimator,
            low_memory=variant.endswith("low_memory"),
        )
    return found


def _step(module, network, noise: list[torch.Tensor], estimator: str, weight: float) -> None:
    gradients, scale = module("smooth_lora.training.estimators"), module("smooth_lora.sampling.scale").Scale()
    sigma = torch.tensor([SIGMA], dtype=torch.float64)
    sample = gradients.TrainingSample(*noise[:2], sigma, noise[2], gradients.base_share(sigma, scale))
    gradients.accumulate(
        estimator, network.denoiser_for([0], [False]), sample, scale, weight=weight, mean_of=lambda r: 0.5 * r.mean()
    )


def bars_of(side: int, variant: str, ratios: dict[str, float]) -> dict[str, dict]:
    """The bars of a variant at a side, where there are any."""
    held = {name: bar(ratios[name], at_most=most) for name, most in MOST.get((side, variant), {}).items()}
    return {"bars": held} if held else {}


def main(side: int = 48, rounds: int = 3) -> None:
    results = in_processes("training", VARIANTS, rounds, side)
    for variant, runs in results.items():
        ratios = {
            f"{what}_over_{base}": round(
                statistics.median(run[key] / other[key] for run, other in zip(runs, results[base], strict=True)), 3
            )
            for base in ("plain", "exact")
            for what, key in (("time", "seconds"), ("memory", "peak"))
        }
        report(
            {
                "benchmark": "training",
                "variant": variant,
                "model": "SD1.5 shapes, random weights",
                "latent": side,
                "batch": 1,
                "rank": RANK,
                "rounds": rounds,
                "seconds": round(statistics.median(run["seconds"] for run in runs), 1),
                "peak_GB": round(statistics.median(run["peak"] for run in runs) / 2**30, 2),
                **ratios,
                **bars_of(side, variant, ratios),
            }
        )


if __name__ == "__main__":
    command_line(main, __doc__, measure=measure)
