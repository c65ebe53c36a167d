"""The demo checkpoint's UNet: the host's own class in a small shape that the stock loader reads as SD1.x."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .training import reset_parameters

LATENT_SIDE = 8  # 64 px pictures at the VAE's factor of 8
UNET_CONFIG = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "context_dim": 768,
    "channel_mult": [1],
    "num_res_blocks": [1],
    "num_heads": 8,
    "use_spatial_transformer": True,
    "legacy": False,
    "transformer_depth": [1],
    "transformer_depth_output": [1, 1],
    "transformer_depth_middle": -2,
}


def new_unet() -> nn.Module:
    """A freshly initialised float32 UNet; every branch that adds to a residual starts at zero.

    Uses torch's global generator: the caller seeds it.
    """
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    unet = reset_parameters(UNetModel(**UNET_CONFIG, dtype=torch.float32, device="cpu"))
    for name, weight in unet.named_parameters():
        if name.startswith("out.2") or ".out_layers.3." in name or ".proj_out." in name:
            nn.init.zeros_(weight)
    return unet


def plain_attention(
    func: object, q: Tensor, k: Tensor, v: Tensor, heads: int, *args: object, **kwargs: object
) -> Tensor:
    """Attention written out in matrix products: differentiable twice, and quick at 64 tokens.

    q, k, v: [B, tokens, heads * dim]; installed as the host's optimized_attention_override
    """
    q, k, v = (tokens.unflatten(-1, (heads, -1)).transpose(1, 2) for tokens in (q, k, v))
    weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def predict_eps(unet: nn.Module, x_vp: Tensor, t: Tensor, context: Tensor) -> Tensor:
    """One call of the host's UNet. x_vp: [B, 4, 8, 8]; t: [B] timesteps; context: [B, 77, 768]."""
    options = {"optimized_attention_override": plain_attention}
    return unet(x_vp, timesteps=t, context=context, transformer_options=options)
