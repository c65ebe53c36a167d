"""Error of the first-order gradient of the training loss, on the trained network of the demo checkpoint.

One batch of pictures of the demo's kind at noise levels spread evenly over the table, a LoRA of rank 8 on the attention
that is not zero, lambda 1. The gradient of all its weights by central differences is held against double backward in
float64, and against double backward in the same precision, which shows how much of the error is rounding of its own.
bfloat16: the network's products alone, as the trainer's `precision` does it.

    .host/venv/bin/python -m benchmarks.gradient [batch] [batches]
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from demo.pictures import PROMPTS, random_pictures
from devtools.in_process import HostPack, use_host

from ._bars import bar
from ._bench import command_line, report

STEPS = {
    "float64": (1e-3, 1e-4, 1e-5, 1e-6, 2e-7),
    "float32": (1e-3, 4e-4, 2e-4, 1e-4, 6e-5, 3e-5),
    "bfloat16": (3e-2, 6e-2, 1e-1, 2e-1),
}
MOST_ERROR = {"float64": 1e-6, "float32": 3e-4}  # of differences with the trainer's own step
LEAST_COSINE = {"bfloat16": 0.995}
RANK, UP = 8, 0.02


class Network:
    """The demo's UNet in a precision, with the pairs beside its layers, as a denoiser of a batch's texts."""

    def __init__(self, pack: HostPack, precision: str):
        self.module, self.precision = pack.module, precision
        model, clip, vae = pack.node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.own_step = self.module("smooth_lora.training.estimators").STEPS[self.dtype]
        self.unet = model.model.diffusion_model.to(self.dtype).requires_grad_(False)
        self.unet.dtype = self.dtype
        self.encode = lambda text: clip.encode_from_tokens(clip.tokenize(text)).detach()
        self.latents = lambda pictures: model.model.process_latent_in(vae.encode(pictures))
        self.sigmas = model.get_model_object("model_sampling").sigmas.double()
        shapes = self.module("nodes.training.targets").target_shapes(self.unet, "attention")
        self.pairs = self.module("smooth_lora.training.trained_pairs").new_pairs(shapes, RANK, seed=0)
        generator = torch.Generator().manual_seed(1)
        for pair in self.pairs.values():
            pair.up.data.copy_(torch.randn(pair.up.shape, generator=generator) * UP)
            for weight in (pair.down, pair.up):
                weight.data = weight.data.to(self.dtype)

    def gradient(self, batch: dict, estimator: str, step: float | None = None) -> Tensor:
        """[N] of the whole LoRA, float64."""
        gradients = self.module("smooth_lora.training.estimators")
        scale, sigma = self.module("smooth_lora.sampling.scale").Scale(), self.sigmas[batch["levels"]]
        x0, eps, probe = (batch[name].to(self.dtype) for name in ("x0", "eps", "probe"))
        sample = gradients.TrainingSample(x0, eps, sigma, probe, gradients.base_share(sigma, scale))
        context, levels = batch["context"].to(self.dtype), batch["levels"]

        def denoise(x: Tensor, _: Tensor) -> Tensor:
            wide = sigma.to(x)[:, None, None, None]
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
                eps = self.unet(
                    x / (1 + wide**2).sqrt(),
                    timesteps=levels,
                    context=context,
                    transformer_options={"optimized_attention_override": plain_attention},
                )
            return x - wide * eps.to(x.dtype)

        addition = self.module("nodes.model.layers")
        additions = [addition.Addition(path, (pair.down, pair.up, None)) for path, pair in self.pairs.items()]
        weights = [weight for pair in self.pairs.values() for weight in (pair.down, pair.up)]
        for weight in weights:
            weight.grad = None
        with addition.added(self.unet, additions):
            gradients.accumulate(
                estimator, denoise, sample, scale, weight=1.0, mean_of=lambda r: 0.8 * r.mean(), step=step
            )
        return torch.cat([weight.grad.double().flatten() for weight in weights])


def plain_attention(_, q: Tensor, k: Tensor, v: Tensor, heads: int, *args, **kwargs) -> Tensor:
    """Matrix products in the precision that they come in; the host's own computes parts of it in float32."""
    q, k, v = (rows.unflatten(-1, (heads, -1)).transpose(1, 2) for rows in (q, k, v))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def drawn(network: Network, batch: int, number: int) -> dict:
    """Pictures, texts, noises and levels of one batch."""
    generator = torch.Generator().manual_seed(number)
    prompts = [PROMPTS[(number * batch + k) * 7 % len(PROMPTS)] for k in range(batch)]
    with torch.inference_mode():
        pictures = torch.cat([random_pictures(prompt, 1, generator) for prompt in prompts])
        x0, context = network.latents(pictures), torch.cat([network.encode(prompt.text) for prompt in prompts])
    return {
        "x0": x0.clone(),
        "context": context.clone(),
        "eps": torch.randn(x0.shape, generator=generator),
        "probe": torch.randn(x0.shape, generator=generator),
        "levels": ((torch.arange(batch) + torch.rand(batch, generator=generator)) * 1000 / batch).long(),
    }


def compared(found: Tensor, truth: Tensor) -> dict[str, float]:
    return {
        "error": float((found - truth).norm() / truth.norm()),
        "cosine": float(torch.nn.functional.cosine_similarity(found, truth, dim=0)),
    }


def summary(measures: list[dict[str, float]]) -> dict[str, float]:
    return {
        "error": round(statistics.median(m["error"] for m in measures), 12),
        "worst_error": round(max(m["error"] for m in measures), 12),
        "worst_cosine": round(min(m["cosine"] for m in measures), 9),
    }


def bars_of(row: dict, own_step: float) -> dict[str, dict]:
    """Bars against double backward in float64: of the error with the trainer's own step, and of bfloat16's cosines."""
    precision, held = row["precision"], {}
    if row["against"] == "exact float64" and precision in MOST_ERROR and row["step"] == own_step:
        held["error"] = bar(row["error"], at_most=MOST_ERROR[precision])
    if row["against"] == "exact float64" and precision in LEAST_COSINE:
        held["worst_cosine"] = bar(row["worst_cosine"], at_least=LEAST_COSINE[precision])
    return {"bars": held} if held else {}


def main(batch: int = 8, batches: int = 3) -> None:
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base:
        use_host(Path(base))
        pack = HostPack()
        first = Network(pack, "float64")
        sets = [drawn(first, batch, number) for number in range(batches)]
        truth = [first.gradient(one, "exact") for one in sets]
        for precision, steps in STEPS.items():
            network = Network(pack, precision)
            rows = {"exact": [network.gradient(one, "exact") for one in sets]}
            rows |= {step: [network.gradient(one, "first_order", step) for one in sets] for step in steps}
            for step, found in rows.items():
                for against, known in (("exact float64", truth), (f"exact {precision}", rows["exact"])):
                    measures = [compared(one, other) for one, other in zip(found, known, strict=True)]
                    row = {"precision": precision, "step": step, "against": against, **summary(measures)}
                    held = bars_of(row, network.own_step)
                    report({"benchmark": "gradient", "batch": batch, "batches": batches, **row, **held})


if __name__ == "__main__":
    command_line(main, __doc__)
