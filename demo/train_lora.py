"""Stage `lora`: the first Smooth-LoRA, by the plain published loss with a double backward pass."""
from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from contexts import cached_contexts
from latents import cached_latents
from lora_layers import add_lora, published_keys
from torch import Tensor, nn
from train_unet import Batch, draw_batch
from training import cosine_lr
from unet import new_unet, predict_eps

from smooth_lora.schedule import alpha_bar_to_sigma, per_sample, scaled_linear_alpha_bar, ve_to_vp
from smooth_lora.variation import eps_of, step_variation, updated_mean, variation_penalty

STEPS = 400
BATCH = 16
LEARNING_RATE = 1e-3  # the paper's 1e-4 is for 30,000 steps
PENALTY_WEIGHT = 1.0
SEED = 4
COLUMNS = ["eps loss", "penalty", "mean r", "running mean of r"]


def load_unet(folder: Path) -> nn.Module:
    """The trained UNet (its averaged weights), rounded to float16 as the released checkpoint has it."""
    weights = torch.load(folder / "unet.pt", weights_only=True)["ema"]
    unet = new_unet()
    unet.load_state_dict({name: weight.half().float() for name, weight in weights.items()})
    return unet.to(memory_format=torch.channels_last)


def lora_losses(unet: nn.Module, batch: Batch, sigmas: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
    """Per-sample eps error [B] and variation [B], from one shared forward pass."""
    sigma = sigmas[batch.t]
    x = batch.x0 + per_sample(sigma, batch.x0) * batch.eps

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return x - per_sample(sigma, x) * predict_eps(unet, ve_to_vp(x, sigma), batch.t, batch.context)

    denoised, r = step_variation(denoise, x, sigma, probe)
    errors = ((eps_of(x, denoised, sigma) - batch.eps) ** 2).flatten(1).mean(dim=1)
    return errors, r


def train_lora(folder: Path) -> None:
    """Train from scratch; write the published-style weights to folder/lora.pt and a JSON log beside it."""
    sigmas = alpha_bar_to_sigma(scaled_linear_alpha_bar()).float()
    latents, contexts = cached_latents(folder), cached_contexts(folder)
    generator = torch.Generator().manual_seed(SEED)
    unet = load_unet(folder)
    layers = add_lora(unet, generator)
    weights = [weight for layer in layers.values() for weight in (layer.down, layer.up)]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=1e-4)
    mean_r, rows, started = None, [], time.monotonic()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = cosine_lr(step, STEPS, LEARNING_RATE, warmup=10)
        batch = draw_batch(latents, contexts, BATCH, generator)
        errors, r = lora_losses(unet, batch, sigmas, torch.randn(batch.x0.shape, generator=generator))
        mean_r = updated_mean(mean_r, r)
        loss = errors.mean() + PENALTY_WEIGHT * variation_penalty(r, mean_r)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        row = (errors.mean(), variation_penalty(r, mean_r), r.mean(), mean_r)
        rows.append([value.item() for value in row])
        if step % 20 == 19:
            recent = torch.tensor(rows[-20:]).mean(dim=0).tolist()
            words = ", ".join(f"{name} {value:.4f}" for name, value in zip(COLUMNS, recent, strict=True))
            print(f"lora {step + 1}/{STEPS} {time.monotonic() - started:.0f} s {words}", flush=True)
    torch.save(published_keys(layers), folder / "lora.pt")
    record = {"steps": STEPS, "seconds": round(time.monotonic() - started),
              "columns": COLUMNS,
              "rows_of_40": torch.tensor(rows).reshape(-1, 40, 4).mean(dim=1).tolist()}
    (folder / "lora.json").write_text(json.dumps(record), encoding="ascii")
