"""Noise schedules and the two scales of a noisy latent: the only module that converts between them.

Variance-preserving (VP, the DDPM/DDIM papers):  x_vp = sqrt(alpha_bar) * x0 + sqrt(1 - alpha_bar) * eps
Variance-exploding (VE, ComfyUI's samplers):     x_ve = x0 + sigma * eps

They are one path seen through sigma = sqrt((1 - alpha_bar) / alpha_bar) and x_ve = x_vp * sqrt(1 + sigma^2).

Flow models:                                     x_flow = (1 - sigma) * x0 + sigma * eps

In all of them the probability-flow direction is dx/dsigma = (x - denoised) / sigma, so a step formula written in sigma
serves each; where they do differ is what `Scale` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

SD1_BETA_START, SD1_BETA_END, SD1_TIMESTEPS = 0.00085, 0.012, 1000  # SD1.x and SDXL training schedule


@dataclass(frozen=True)
class Scale:
    """Scale of a model's noisy latents: x = signal(sigma) * x0 + sigma * eps.

    kind:       "ve" for eps-, v- and x0-prediction in ComfyUI's samplers, "flow" for rectified flow
    sigma_data: standard deviation of the data that a VE model assumes (1 for eps and v, .5 for EDM)
    """

    kind: Literal["ve", "flow"] = "ve"
    sigma_data: float = 1.0

    def signal(self, sigma: float) -> float:
        """Share of x0 in x: 1, or 1 - sigma for flow models."""
        return 1.0 - sigma if self.kind == "flow" else 1.0

    def stretch(self, sigma: float) -> float:
        """Factor from the network's input to the latent: x = stretch(sigma) * input.

        sqrt(sigma^2 / sigma_data^2 + 1) in VE scale, where it is 1 / sqrt(alpha_bar) for sigma_data 1; a flow model
        sees the latent itself.
        """
        return 1.0 if self.kind == "flow" else math.hypot(sigma / self.sigma_data, 1.0)


def scaled_linear_alpha_bar(
    timesteps: int = SD1_TIMESTEPS, beta_start: float = SD1_BETA_START, beta_end: float = SD1_BETA_END
) -> Tensor:
    """Cumulative signal share of a schedule whose sqrt(beta) grows linearly, as Stable Diffusion's does.

    timesteps: number of training steps, >= 1
    beta_*:  noise variance added at the first and at the last step, in (0, 1)
    returns: [timesteps] float64, strictly falling; entry t is alpha_bar after t + 1 noising steps
    raises:  ValueError if the arguments describe no schedule
    source:  alpha_bar as the product of 1 - beta: DDPM, arXiv 2006.11239, section 2; linear in sqrt(beta):
             the training schedule of Stable Diffusion, arXiv 2112.10752
    """
    if timesteps < 1:
        raise ValueError(f"scaled_linear_alpha_bar: timesteps must be at least 1, got {timesteps}")
    if not (0 < beta_start < 1 and 0 < beta_end < 1):
        raise ValueError(f"scaled_linear_alpha_bar: betas must lie between 0 and 1, got {beta_start} and {beta_end}")
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, timesteps, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(dim=0)


def alpha_bar_to_sigma(alpha_bar: Tensor) -> Tensor:
    """Noise std in VE scale for a signal share.

    alpha_bar: any shape, 0 < alpha_bar <= 1
    returns: sigma >= 0, same shape and dtype
    raises:  ValueError outside that range (alpha_bar 0 would be an infinite sigma)
    """
    if not bool(((alpha_bar > 0) & (alpha_bar <= 1)).all()):
        raise ValueError(f"alpha_bar_to_sigma: alpha_bar must lie in (0, 1], got {_extent(alpha_bar)}")
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def sigma_to_alpha_bar(sigma: Tensor) -> Tensor:
    """Signal share for a noise std in VE scale: the inverse of `alpha_bar_to_sigma`.

    sigma: any shape, finite, >= 0
    returns: alpha_bar in (0, 1], same shape and dtype
    raises:  ValueError if a sigma is negative or not finite
    """
    if not bool((torch.isfinite(sigma) & (sigma >= 0)).all()):
        raise ValueError(f"sigma_to_alpha_bar: sigma must be finite and not negative, got {_extent(sigma)}")
    return 1 / (1 + sigma**2)


def vp_to_ve(x_vp: Tensor, sigma: Tensor) -> Tensor:
    """Converts a VP latent to VE scale.

    x_vp: [B, ...]; sigma: [B], noise std in VE scale
    returns: [B, ...] x0 + sigma * eps, dtype of x_vp
    """
    return x_vp * per_sample((1 + sigma**2).sqrt(), x_vp)


def ve_to_vp(x_ve: Tensor, sigma: Tensor) -> Tensor:
    """Converts a VE latent to VP scale, the input of an eps-predicting network of SD1.x.

    x_ve: [B, ...]; sigma: [B], noise std in VE scale
    returns: [B, ...] sqrt(alpha_bar) * x0 + sqrt(1 - alpha_bar) * eps, dtype of x_ve
    """
    return x_ve / per_sample((1 + sigma**2).sqrt(), x_ve)


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Shapes one number per sample so that it broadcasts over that sample.

    values: [B]; like: [B, ...]
    returns: [B, 1, ...] with as many dimensions, the dtype and the device of `like`
    raises:  ValueError if there is not one value per sample
    """
    if values.shape != like.shape[:1]:
        raise ValueError(f"per_sample: {like.shape[0]} samples need one value each, got shape {tuple(values.shape)}")
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))


def sample_norm(x: Tensor) -> Tensor:
    """L2 norm of each sample.

    x: [B, ...]
    returns: [B], dtype of x
    """
    norm: Tensor = x.flatten(1).norm(dim=1)
    return norm


def _extent(values: Tensor) -> str:
    return f"values from {values.min().item():g} to {values.max().item():g}"
