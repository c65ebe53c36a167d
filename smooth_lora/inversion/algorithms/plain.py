"""Plain DDIM inversion and its replay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...sampling.ddim import ddim_move
from ...sampling.denoise import Denoise, OnStep, eps_of, notify
from ...sampling.scale import Scale
from ..contract import InversionTask, Inverted, ReplayTask


def rescaled(x: Tensor, sigma_from: float, sigma_to: float, scale: Scale) -> Tensor:
    """Latent at another sigma that gives the network the very same input."""
    return x * (scale.stretch(sigma_to) / scale.stretch(sigma_from))


def invert_ddim(
    denoise: Denoise, x0: Tensor, sigmas: Sequence[float], scale: Scale, *, on_step: OnStep | None = None
) -> Tensor:
    """DDIM inversion: N model calls, never one at sigma 0.

    x0:      [B, ...] clean latents in model units, at sigmas[N]; float64 keeps the arithmetic exact
    sigmas:  [N + 1], falling
    returns: states [N + 1, B, ...], states[N] is x0
    source:  arXiv 2105.05233 appendix F, in the convention of Null-text Inversion (arXiv 2211.09794) and of diffusers'
             DDIMInverseScheduler: the network sees the unchanged input at the sigma that is being reached
    """
    states = [x0]
    for step, (to, source) in enumerate(rising(sigmas)):
        x = states[-1]
        eps = first_guess(denoise, x, source, to, scale=scale)
        states.append(ddim_move(x, eps, source, to))
        notify(on_step, step, states[-1], states[-1] - to * eps)
    return torch.stack(states[::-1])


def first_guess(denoise: Denoise, x: Tensor, source: float, to: float, *, scale: Scale) -> Tensor:
    """Predicts eps at a sigma that x has not reached yet, from x as the network would see it there."""
    ahead = rescaled(x, source, to, scale)
    return eps_of(ahead, denoise(ahead, to), to)


def rising(sigmas: Sequence[float]) -> list[tuple[float, float]]:
    """Moves of an inversion as (sigma to reach, sigma to leave), from sigmas[N] up to sigmas[0]."""
    return [(sigmas[k - 1], sigmas[k]) for k in range(len(sigmas) - 1, 0, -1)]


def replay_ddim(denoise: Denoise, x: Tensor, sigmas: Sequence[float], *, on_step: OnStep | None = None) -> Tensor:
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


def ddim_inversion(denoise: Denoise, task: InversionTask) -> Inverted:
    """Inverts by `invert_ddim`."""
    return Inverted(invert_ddim(denoise, task.x0, task.sigmas, task.scale, on_step=task.on_step))


def ddim_replay(denoise: Denoise, task: ReplayTask) -> Tensor:
    """Replays by `replay_ddim`, from any noise."""
    return replay_ddim(denoise, task.x, task.sigmas, on_step=task.on_step)
