"""The latents the UNet is trained on: pictures of every prompt through the trained VAE, in model units."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .pictures import PROMPTS, random_pictures
from .train_vae import LATENT_SCALE

PER_PROMPT = 96
SEED = 2


def load_vae(folder: Path) -> nn.Module:
    """The trained VAE of an earlier stage."""
    from comfy.taesd.taesd import TAESD

    vae = TAESD()
    vae.load_state_dict(torch.load(folder / "vae.pt", weights_only=True))
    return vae.to(memory_format=torch.channels_last)


@torch.inference_mode()
def make_latents(vae: nn.Module) -> Tensor:
    """PER_PROMPT random pictures of every prompt: [120, PER_PROMPT, 4, 8, 8], mean 0 and std 1 over all."""
    generator = torch.Generator().manual_seed(SEED)
    rows = []
    for prompt in PROMPTS:
        pictures = random_pictures(prompt, PER_PROMPT, generator).movedim(-1, 1)
        rows.append(vae.encode(pictures * 2 - 1) * LATENT_SCALE)
    return torch.stack(rows).contiguous()


def cached_latents(folder: Path) -> Tensor:
    """make_latents, remembered in the build folder."""
    path = folder / "latents.pt"
    if not path.is_file():
        torch.save(make_latents(load_vae(folder)), path)
    return torch.load(path, weights_only=True)
