"""Stage `vae`: train the host's TAESD on the pictures and spread its latents for diffusion."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from .pictures import PROMPTS, random_pictures
from .training import cosine_lr, reset_parameters

STEPS = 1400
BATCH = 8
LEARNING_RATE = 1e-3
SEED = 1
LATENT_NOISE = 0.1  # std of the noise the decoder learns to ignore; latents have a std of about one
SPREAD_WEIGHT = 0.05  # pull of every latent channel towards zero mean and unit std
LATENT_SCALE = 0.18215  # SD1.x latent scale factor (the host's SD15 latent format)
TINY = 1e-6  # inside the square root of a variance that could be zero on an untrained encoder


def picture_batch(count: int, generator: torch.Generator) -> Tensor:
    """Random prompts, one picture each: [count, 3, 64, 64] in 0..1."""
    chosen = torch.randint(len(PROMPTS), (count,), generator=generator).tolist()
    pictures = [random_pictures(PROMPTS[index], 1, generator) for index in chosen]
    return torch.cat(pictures).movedim(-1, 1).contiguous()


def spread_penalty(latent: Tensor) -> Tensor:
    """Distance of the latent channels from zero mean and unit std over a batch."""
    channels = latent.movedim(1, 0).flatten(1)
    std = (channels.var(dim=1) + TINY).sqrt()
    return (channels.mean(dim=1) ** 2 + (std - 1) ** 2).mean()


def vae_loss(vae: nn.Module, pictures: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Reconstruction (L1 + MSE, noise on the latent) and the whole loss."""
    latent = vae.taesd_encoder(pictures)
    noise = LATENT_NOISE * torch.randn(latent.shape, generator=generator)
    error = vae.taesd_decoder(latent + noise) - pictures
    reconstruction = error.abs().mean() + (error**2).mean()
    return reconstruction, reconstruction + SPREAD_WEIGHT * spread_penalty(latent)


@torch.no_grad()
def set_scale(vae: nn.Module, pictures: Tensor) -> None:
    """Choose vae_scale and vae_shift so that the host's process_latent_in(encode(x)) has mean 0 and std 1."""
    latent = vae.taesd_encoder(pictures)
    vae.vae_scale.fill_(LATENT_SCALE * latent.std())
    vae.vae_shift.fill_(-latent.mean() / vae.vae_scale)


def train_vae(target: Path) -> None:
    """Train from scratch and write the weights and a JSON log beside `target`."""
    from comfy.taesd.taesd import TAESD

    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    vae = reset_parameters(TAESD()).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        [*vae.taesd_encoder.parameters(), *vae.taesd_decoder.parameters()], lr=LEARNING_RATE, weight_decay=0.0
    )
    log, started = [], time.monotonic()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = cosine_lr(step, STEPS, LEARNING_RATE, warmup=30)
        pictures = picture_batch(BATCH, generator).to(memory_format=torch.channels_last)
        reconstruction, loss = vae_loss(vae, pictures, generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        log.append(reconstruction.item())
        if step % 25 == 24:
            recent, seconds = sum(log[-25:]) / 25, time.monotonic() - started
            print(f"vae {step + 1}/{STEPS} {seconds:.0f} s reconstruction {recent:.4f}", flush=True)
    set_scale(vae, picture_batch(256, generator))
    torch.save(vae.state_dict(), target)
    record = {
        "steps": STEPS,
        "batch": BATCH,
        "seconds": round(time.monotonic() - started),
        "reconstruction": [round(sum(log[i : i + 50]) / 50, 5) for i in range(0, STEPS, 50)],
    }
    target.with_suffix(".json").write_text(json.dumps(record), encoding="ascii")
