"""Estimates from free memory: the frames of a batch, and whether model and VAE can stay loaded together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.sampler_helpers
import torch
from comfy.model_patcher import ModelPatcher

from .protocols import Vae

Conds = dict[str, list[dict[str, Any]]]  # as a guider keeps them

# More frames per batch gain little and make previews and the stop button slow.
MOST_FRAMES_PER_BATCH = 16
# On a CPU more large frames at once take more memory and no less time.
LATENT_PIXELS_PER_BATCH_ON_CPU = 64 * 64
PIXELS_PER_DECODING_ON_CPU = 256 * 256
# The host itself splits a batch whose estimate exceeds free memory / 1.5.
_HOST_MARGIN = 1.5


def frames_per_batch(
    model: ModelPatcher, conds: Conds, sample_shape: Sequence[int], frames: int, *, extra: int = 0
) -> int:
    """Returns the largest batch that the host's own estimate fits into free memory, on a CPU a smaller one.

    sample_shape: [C, ...] of one frame's latent
    frames:       of the walk
    extra:        frames that go through the model with every batch
    returns:      1 to MOST_FRAMES_PER_BATCH
    """
    free = comfy.model_management.get_free_memory(model.load_device)
    free -= max(0, model.model_size() - model.loaded_size())
    batch = min(frames, MOST_FRAMES_PER_BATCH)
    if comfy.model_management.is_device_cpu(model.load_device):
        batch = min(batch, max(1, LATENT_PIXELS_PER_BATCH_ON_CPU // math.prod(sample_shape[1:])))
    while batch > 1 and _needed(model, conds, [batch + extra, *sample_shape]) * _HOST_MARGIN > free:
        batch = (batch + 1) // 2
    return batch


def _needed(model: ModelPatcher, conds: Conds, shape: list[int]) -> float:
    both, _ = comfy.sampler_helpers.estimate_memory(model, shape, conds)
    return both


def frames_per_decoding(vae: Vae, latents_shape: Sequence[int], device: torch.device) -> int:
    """Returns the number of frames to decode together: on a CPU few, elsewhere all, which the host splits as needed.

    latents_shape: [n, C, ...]; those of a video (5-D) are never split
    """
    if len(latents_shape) != 4 or not comfy.model_management.is_device_cpu(device):
        return max(1, latents_shape[0])
    pixels = latents_shape[-1] * latents_shape[-2] * vae.spacial_compression_decode() ** 2
    return max(1, int(PIXELS_PER_DECODING_ON_CPU // pixels))


def fit_together(model: ModelPatcher, vae: Vae, conds: Conds, shape: list[int]) -> bool:
    """True if model and VAE fit on the device at once; if not, alternating them would reload both every chunk.

    shape: [n, C, ...] latents of one chunk
    """
    device = model.load_device
    if comfy.model_management.is_device_cpu(device):
        return True
    working = max(_needed(model, conds, shape), vae.memory_used_decode(shape, vae.vae_dtype))
    need = model.model_size() + vae.patcher.model_size() + working
    return need + comfy.model_management.extra_reserved_memory() < comfy.model_management.get_total_memory(device)
