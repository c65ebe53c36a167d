"""Plain DDIM inversion and its replay."""

from __future__ import annotations

import torch
from torch import Tensor

from ..sampling.ddim import ddim_move
from ..sampling.denoise import Denoise, OnStep, eps_of, notify
from ..sampling.scale import Scale


def rescaled(x: Tensor, sigma_from: float, sigma_to: float, scale: Scale) -> Tensor:
    """The latent at another noise level that gives the network the very same input."""
    return x * (scale.stretch(sigma_to) / scale.stretch(sigma_from))


def invert_ddim(
    denoise: Denoise, x0: Tensor, sigmas: list[float], scale: Scale, on_step: OnStep | None = None
) -> Tensor:
    """DDIM inversion: N model calls, never one at sigma 0.

    x0:      [B, ...] clean latents in model units, at sigmas[N]; float64 keeps the arithmetic exact
    sigmas:  [N + 1], falling
    returns: states [N + 1, B, ...], states[N] is x0
    source:  arXiv 2105.05233 appendix F, in the convention of Null-text Inversion (arXiv 2211.09794) and of diffusers'
             DDIMInverseScheduler: the network sees the unchanged input at the noise level that is being reached
    """
    states = [x0]
    for step, (to, source) in enumerate(rising(sigmas)):
        x = states[-1]
        eps = first_guess(denoise, x, source, to, scale)
        states.append(ddim_move(x, eps, source, to))
        notify(on_step, step, states[-1], states[-1] - to * eps)
    return torch.stack(states[::-1])


def first_guess(denoise: Denoise, x: Tensor, source: float, to: float, scale: Scale) -> Tensor:
    """eps at a noise level that x has not reached yet, from x as the network would see it there."""
    ahead = rescaled(x, source, to, scale)
    return eps_of(ahead, denoise(ahead, to), to)


def rising(sigmas: list[float]) -> list[tuple[float, float]]:
    """The moves of an inversion as (noise level to reach, noise level to leave), from sigmas[N] up to sigmas[0]."""
    return [(sigmas[k - 1], sigmas[k]) for k in range(len(sigmas) - 1, 0, -1)]


def replay_ddim(denoise: Denoise, x: Tensor, sigmas: list[float], on_step: OnStep | None = None) -> Tensor:
    """Plain DDIM sampling without added noise.

    x:       [B, ...] at sigmas[0]
    returns: states [N + 1, B, ...], states[0] is x
    source:  DDIM, arXiv 2010.02502 eq. 12 with eta 0
    """
    states = [x]
    for k, (sigma, to) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        denoised = denoise(states[-1], sigma)
        states.append(ddim_move(states[-1], eps_of(states[-1], denoised, sigma), sigma, to))
        notify(on_step, k, states[-1], denoised)
    return torch.stack(states)
