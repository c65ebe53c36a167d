"""Protocols of the objects on the host's wires, as far as our nodes use them.

The host has classes for these, but any pack may wire an object of its own that answers alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

# A LATENT: samples [B, C, ...], noise_mask, batch_index and the entries of other nodes.
Latent = dict[str, Any]
# A CONDITIONING: entries [embedding [B, T, D], values by the host's names].
Conditioning = list[list[Any]]


class Noise(Protocol):
    """A NOISE."""

    @property
    def seed(self) -> int:
        """The seed that step noise is drawn from."""

    def generate_noise(self, input_latent: Latent, /) -> Tensor:
        """Draws noise [B, C, ...] for a LATENT."""


class Sampler(Protocol):
    """A SAMPLER."""

    sample: Callable[..., Tensor]  # called by a guider; from noise [B, C, ...] over sigmas [steps + 1]


class Guider(Protocol):
    """A GUIDER."""

    model_patcher: ModelPatcher
    original_conds: dict[str, list[dict[str, Any]]]
    model_options: dict[str, Any]
    sample: Callable[..., Tensor]  # (noise, latent, sampler, sigmas [steps + 1], and what the host's has by name)


class Clip(Protocol):
    """A CLIP."""

    def tokenize(self, text: str, /) -> Mapping[str, Any]:
        """Cuts a prompt into tokens."""

    def encode_from_tokens_scheduled(self, tokens: Mapping[str, Any], /, *, show_pbar: bool = True) -> Conditioning:
        """Encodes tokens into a CONDITIONING."""


class Vae(Protocol):
    """A VAE."""

    device: torch.device
    vae_dtype: torch.dtype
    patcher: ModelPatcher
    memory_used_decode: Callable[[Any, torch.dtype], float]

    def encode(self, pixels: Tensor, /) -> Tensor:
        """Encodes images [B, H, W, C] into latents [B, C, ...]."""

    def decode(self, latents: Tensor, /) -> Tensor:
        """Decodes latents [B, C, ...] into images [B, H, W, C], of a video [B, T, H, W, C]."""

    def vae_encode_crop_pixels(self, pixels: Tensor, /) -> Tensor:
        """Crops images to whole values of their latents."""

    def spacial_compression_encode(self) -> int:
        """Returns the pixels of an image, along each axis, that encode into a value of its latent."""

    def spacial_compression_decode(self) -> int:
        """Returns the pixels of an image, along each axis, that a value of its latent stands for."""

    def get_sd(self) -> dict[str, Tensor]:
        """Returns the weights by name."""


class ModelSampling(Protocol):
    """A model's sampling: the scale of its sigmas."""

    sigmas: Tensor  # [T], rising
    sigma_max: Tensor

    def percent_to_sigma(self, percent: float, /) -> float:
        """Returns the sigma at a share of the sampling range, 0 its noisy end."""
