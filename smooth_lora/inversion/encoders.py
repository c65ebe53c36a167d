"""Stochastic encoders: a noisy DDIM path of the picture, and what each step of the model leaves out of it.

A step with eta > 0 goes from x[k] to

    mu(x[k]) = signal(sigmas[k+1]) denoised + down * (x[k] - signal(sigmas[k]) denoised) / sigmas[k]

plus fresh noise. An encoder lays a path x[0] .. x[N] = picture through the noise levels and keeps the residuals
x[k+1] - mu(x[k]). Sampling that adds them instead of fresh noise comes back to the picture, whatever the model, the
guidance and eta; with another text it comes to an edited one. The encoders differ only in the path.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..sampling.ddim import stochastic_split
from ..sampling.denoise import Denoise, OnStep, notify
from ..sampling.scale import Scale


def edit_friendly_path(x0: Tensor, sigmas: list[float], scale: Scale, seeds: list[int]) -> Tensor:
    """Every noise level by itself: x[k] is the picture with noise of its own.

    x0:      [B, ...] clean latents in model units, at sigmas[N]
    seeds:   [B], one per sample
    returns: states [N + 1, B, ...]
    source:  Huberman-Spiegelglas et al., arXiv 2304.06140 eq. 6
    """
    streams = [_stream(seed) for seed in seeds]
    noisy = [scale.signal(sigma) * x0 + sigma * _drawn(streams, x0) for sigma in sigmas[:-1]]
    return torch.stack([*noisy, x0])


def dpm_encoder_path(x0: Tensor, sigmas: list[float], eta: float, scale: Scale, seeds: list[int]) -> Tensor:
    """The path that sampling itself would take if the model knew the picture: each x[k+1] follows from x[k].

    returns: states [N + 1, B, ...]
    source:  CycleDiffusion, arXiv 2210.05559, the DPM-Encoder of section 3: x[N-1..] drawn from q(x_(t-1) | x_t, x_0)
    """
    streams = [_stream(seed) for seed in seeds]
    states = [scale.signal(sigmas[0]) * x0 + sigmas[0] * _drawn(streams, x0)]
    for k in range(len(sigmas) - 2):
        _, up = stochastic_split(sigmas[k], sigmas[k + 1], eta, scale)
        states.append(mu(states[-1], x0, sigmas, k, eta, scale) + up * _drawn(streams, x0))
    return torch.stack([*states, x0])


def mu(x: Tensor, denoised: Tensor, sigmas: list[float], k: int, eta: float, scale: Scale) -> Tensor:
    """Where step k goes before noise is added.

    source:  DDIM, arXiv 2010.02502 eq. 12 in sigma. With eta between 0 and 1 it is eta^2 that stands under the root
             there; the published code of both encoders has eta, which agrees at 0 and 1 only
    """
    down, _ = stochastic_split(sigmas[k], sigmas[k + 1], eta, scale)
    old_noise = (x - scale.signal(sigmas[k]) * denoised) / sigmas[k]
    return scale.signal(sigmas[k + 1]) * denoised + down * old_noise


def residuals_of(
    denoise: Denoise, states: Tensor, sigmas: list[float], eta: float, scale: Scale, on_step: OnStep | None = None
) -> Tensor:
    """What each step of the model leaves out of a path: N model calls.

    states:  [N + 1, B, ...]
    returns: [N, B, ...] residuals x[k+1] - mu(x[k]), the noise's share not divided out: at the last step it would be
             zero over zero. The published edit-friendly code drops that residual, this does not
    source:  arXiv 2304.06140 eq. 5, arXiv 2210.05559 section 3
    """
    kept = []
    for k in range(len(sigmas) - 1):
        denoised = denoise(states[k], sigmas[k])
        kept.append(states[k + 1] - mu(states[k], denoised, sigmas, k, eta, scale))
        notify(on_step, k, states[k + 1], denoised)
    return torch.stack(kept)


def replay_residuals(
    denoise: Denoise,
    x: Tensor,
    residuals: Tensor,
    sigmas: list[float],
    eta: float,
    scale: Scale,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sampling with the kept residuals in place of fresh noise.

    x:         [B, ...] at sigmas[0]
    residuals: [N, B, ...] for the steps of `sigmas`
    returns:   states [N + 1, B, ...]
    """
    states = [x]
    for k in range(len(sigmas) - 1):
        denoised = denoise(states[-1], sigmas[k])
        states.append(mu(states[-1], denoised, sigmas, k, eta, scale) + residuals[k])
        notify(on_step, k, states[-1], denoised)
    return torch.stack(states)


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _drawn(streams: list[torch.Generator], like: Tensor) -> Tensor:
    """Unit noise like x0, each sample from its own stream on the CPU."""
    drawn = [torch.randn(like.shape[1:], generator=stream, dtype=torch.float32) for stream in streams]
    return torch.stack(drawn).to(like)
