"""Memory of null-text inversion at full size: SD1.5's shapes with random weights, a 512 px picture, float32, CPU.

One inner step of one picture, in a process of its own for each variant: the published way (the network's weights
trainable as they are there, or frozen) against the nodes' own code, speed first and memory first. Peak above the loaded
model. Needs about 20 GB of free memory and ten minutes.

    .host/venv/bin/python -m benchmarks.null_text_memory [latent side]
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from devtools.in_process import HostPack, use_host

from ._bars import bar
from ._bench import command_line, in_processes, report
from ._full_size import full_size_model

CFG, SIGMAS = 7.5, (5.0, 4.0)
VARIANTS = ("published_trainable", "published_frozen", "speed_first", "memory_first")

MOST_PEAK = 0.6  # of the published procedure's, the network trainable


def measure(variant: str, side: int) -> dict[str, float]:
    """Seconds and peak bytes above the loaded model, in this process."""
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base, torch.inference_mode():
        use_host(Path(base))
        module = HostPack().module
        with torch.inference_mode(not variant.startswith("published")):
            model = full_size_model(torch.float32, random=True)
        texts = torch.randn(2, 1, 77, 768, generator=torch.Generator().manual_seed(1))
        latent = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(2))
        started = time.perf_counter()
        with module("nodes.host.memory_peak").PeakMemory(torch.device("cpu")) as peak:
            if variant.startswith("published"):
                _published(model.model.diffusion_model, latent, texts, variant.endswith("trainable"))
            else:
                _ours(module, model, latent, texts, variant == "memory_first")
        return {"seconds": time.perf_counter() - started, "peak": peak.bytes}


def _published(network, latent: torch.Tensor, texts: torch.Tensor, trainable: bool) -> None:
    """The conditional pass, one step of Adam on the empty text, and the two passes of the step itself."""
    with torch.inference_mode(False), torch.enable_grad():
        network.requires_grad_(trainable)
        x, level, text = latent.clone(), torch.tensor([600.0]), texts[0].clone()
        null = texts[1].clone().requires_grad_()
        optimiser = torch.optim.Adam([null], lr=1e-2)
        with torch.no_grad():
            conditional = network(x, level, text, transformer_options={})
        empty = network(x, level, null, transformer_options={})
        loss = torch.nn.functional.mse_loss(empty + CFG * (conditional - empty), x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            network(x, level, null, transformer_options={})
            network(x, level, text, transformer_options={})


def _ours(module, model, latent: torch.Tensor, texts: torch.Tensor, low_memory: bool) -> None:
    import comfy.samplers

    inversion, adapter = module("smooth_lora.inversion.record"), module("nodes.inversion.null_text")
    positive, negative = [[texts[0], {}]], [[texts[1], {}]]
    path = torch.stack([latent.double() * 5, latent.double() * 4.1])
    made = inversion.Inversion(
        "null_text",
        CFG,
        torch.tensor(SIGMAS, dtype=torch.float64),
        path,
        latent,
        module("smooth_lora.sampling.scale").Scale(),
        "",
        positive,
        negative,
        {"inner_steps": 1, "tolerance": 0.0, "low_memory": low_memory},
    )

    def guider_for(rows: slice):
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(CFG)
        return guider, latent

    adapter.optimise(made, guider_for, module("nodes.host.progress").WalkProgress(model, 1))


def bars_of(variant: str, ratios: dict[str, float]) -> dict[str, dict]:
    """The bar of our own variants."""
    name = "peak_over_published_trainable"
    return {} if variant.startswith("published") else {"bars": {name: bar(ratios[name], at_most=MOST_PEAK)}}


def main(side: int = 64) -> None:
    results = in_processes("null_text_memory", VARIANTS, 1, side)
    for variant, (found,) in results.items():
        ratios = {f"peak_over_{base}": round(found["peak"] / results[base][0]["peak"], 3) for base in VARIANTS[:2]}
        report(
            {
                "benchmark": "null_text_memory",
                "variant": variant,
                "model": "SD1.5 shapes, random weights",
                "latent": side,
                "peak_GB": round(found["peak"] / 2**30, 2),
                "seconds": round(found["seconds"], 1),
                **ratios,
                **bars_of(variant, ratios),
            }
        )


if __name__ == "__main__":
    command_line(main, __doc__, measure=measure)
