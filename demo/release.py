"""Write trained weights as the safetensors file that the repository carries."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .assemble import UNET_VAE

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."


def _half(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: weight.detach().half().contiguous() for name, weight in weights.items()}


def release_unet_vae(unet: dict[str, Tensor], vae: dict[str, Tensor], target: Path, card: dict[str, object]) -> None:
    """UNet and VAE in float16 under an SD1.x checkpoint's keys.

    All that is said about them is one metadata entry: several would be stored in a random order.
    """
    weights = {**_half(unet, UNET_PREFIX), **_half(vae, VAE_PREFIX)}
    save_file(weights, target, metadata={"smooth_demo": json.dumps(card, sort_keys=True)})


def release(folder: Path) -> None:
    """Write the repository's checkpoint file from the results of the training stages in `folder`."""
    unet = torch.load(folder / "unet.pt", weights_only=True)
    vae = torch.load(folder / "decoder.pt", weights_only=True)
    release_unet_vae(unet["ema"], vae, UNET_VAE, {"model": "smooth demo", "unet_steps": unet["step"]})
