"""How many frames go through the model at once, and whether model and VAE can stay loaded together."""

import math

import comfy.model_management
import comfy.sampler_helpers

# More frames per batch gain little and make previews and the stop button slow.
MOST_FRAMES_PER_BATCH = 16
# On a CPU more large pictures at once take more memory and no less time.
LATENT_PIXELS_PER_BATCH_ON_CPU = 64 * 64
PIXELS_PER_DECODING_ON_CPU = 256 * 256
# The host itself splits a batch whose estimate exceeds free memory / 1.5.
_HOST_MARGIN = 1.5


def frames_per_batch(model_patcher, conds: dict[str, list[dict]], sample_shape, frames: int, beside: int = 0) -> int:
    """The largest batch up to MOST_FRAMES_PER_BATCH that the host's own estimate fits into free memory; on a CPU fewer
    large frames.

    sample_shape: shape of one frame's latent, [C, ...]; beside: frames that go through the model with every batch
    returns: at least 1
    """
    free = comfy.model_management.get_free_memory(model_patcher.load_device)
    free -= max(0, model_patcher.model_size() - model_patcher.loaded_size())
    batch = min(frames, MOST_FRAMES_PER_BATCH)
    if comfy.model_management.is_device_cpu(model_patcher.load_device):
        batch = min(batch, max(1, LATENT_PIXELS_PER_BATCH_ON_CPU // math.prod(sample_shape[1:])))
    while batch > 1 and _needed(model_patcher, conds, [batch + beside, *sample_shape]) * _HOST_MARGIN > free:
        batch = (batch + 1) // 2
    return batch


def _needed(model_patcher, conds: dict[str, list[dict]], shape: list[int]) -> float:
    both, _ = comfy.sampler_helpers.estimate_memory(model_patcher, shape, conds)
    return both


def frames_per_decoding(vae, latents_shape, device) -> int:
    """How many frames of a batch are decoded together: on a CPU few, elsewhere all, which the host cuts as memory asks.

    latents_shape: [n, C, ...]; those of a video (5-D) are never cut
    """
    if len(latents_shape) != 4 or not comfy.model_management.is_device_cpu(device):
        return max(1, latents_shape[0])
    pixels = latents_shape[-1] * latents_shape[-2] * vae.spacial_compression_decode() ** 2
    return max(1, int(PIXELS_PER_DECODING_ON_CPU // pixels))


def fit_together(model_patcher, vae, conds: dict[str, list[dict]], shape: list[int]) -> bool:
    """Whether model and VAE fit on the device at once; if not, alternating them would reload both every chunk.

    shape: [n, C, ...] latents of one chunk
    """
    device = model_patcher.load_device
    if comfy.model_management.is_device_cpu(device):
        return True
    working = max(_needed(model_patcher, conds, shape), vae.memory_used_decode(shape, vae.vae_dtype))
    need = model_patcher.model_size() + vae.patcher.model_size() + working
    return need + comfy.model_management.extra_reserved_memory() < comfy.model_management.get_total_memory(device)
