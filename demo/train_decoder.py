"""Stage `decoder`: sharpen the VAE's decoder on the latents as they are, so that the UNet stays valid."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn

from .latents import load_vae
from .train_vae import picture_batch
from .training import Ema, cosine_lr

STEPS = 1200
BATCH = 8
LEARNING_RATE = 5e-4
LATENT_NOISE = 0.06  # std in model units, where latents have a std of one: about what the UNet leaves
EMA_DECAY = 0.99
SEED = 5


def train_decoder(folder: Path) -> None:
    """Train on from the VAE stage's decoder; write the whole VAE to folder/decoder.pt."""
    generator = torch.Generator().manual_seed(SEED)
    vae = load_vae(folder)
    decoder = vae.taesd_decoder
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    ema = Ema(decoder, EMA_DECAY)
    losses, started = [], time.monotonic()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = cosine_lr(step, STEPS, LEARNING_RATE, warmup=20)
        pictures = picture_batch(BATCH, generator).to(memory_format=torch.channels_last)
        with torch.no_grad():
            latent = vae.taesd_encoder(pictures)
        noise = LATENT_NOISE * torch.randn(latent.shape, generator=generator)
        error = decoder(latent + noise) - pictures
        loss = error.abs().mean() + (error**2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        ema.update(decoder)
        losses.append(loss.item())
        if step % 25 == 24:
            recent, seconds = sum(losses[-25:]) / 25, time.monotonic() - started
            print(f"decoder {step + 1}/{STEPS} {seconds:.0f} s loss {recent:.4f}", flush=True)
    decoder.load_state_dict(ema.weights)
    torch.save(vae.state_dict(), folder / "decoder.pt")
