"""Steps of DDIM in sigma: towards data, towards noise, and with noise added.

Paper (VP)                               here (x as ComfyUI's samplers hold it, see schedule.py)
x_t / sqrt(alpha_bar_t)                  x
sqrt((1 - alpha_bar_t) / alpha_bar_t)    sigma
eps_theta(x_t, t)                        eps, with denoised = x - sigma * eps
t large .. 0                             sigmas[0] .. sigmas[N], falling; states[k] lies at sigmas[k]

DDIM's deterministic step is Euler's in sigma for eps-, v- and flow prediction alike.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .schedule import Scale

# (x [B, ...], sigma > 0) -> denoised [B, ...], guidance and text included; sample b of it depends on sample b alone.
Denoise = Callable[[Tensor, float], Tensor]
# (number of the step from 0, x it arrived at, denoised): shows progress, and may raise to stop.
OnStep = Callable[[int, Tensor, Tensor], None]


def eps_of(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """The direction dx/dsigma of the probability flow: the noise in x for VE scale, the velocity for flow models.

    x, denoised: [B, ...]; sigma: > 0
    source:  DDIM, arXiv 2010.02502 eq. 12 (eps_theta) in sigma; rectified flow, arXiv 2209.03003 eq. 1
    """
    return (x - denoised) / sigma


def ddim_move(x: Tensor, eps: Tensor, sigma_from: float, sigma_to: float) -> Tensor:
    """Carry x along eps from one noise level to another, towards data or towards noise.

    source:  DDIM, arXiv 2010.02502 eq. 13, divided by sqrt(alpha_bar); its own inverse while eps is held fixed
    """
    return x + (sigma_to - sigma_from) * eps


def rescaled(x: Tensor, sigma_from: float, sigma_to: float, scale: Scale) -> Tensor:
    """The latent at another noise level that gives the network the very same input."""
    return x * (scale.stretch(sigma_to) / scale.stretch(sigma_from))


def invert_ddim(denoise: Denoise, x0: Tensor, sigmas: list[float], scale: Scale,
                on_step: OnStep | None = None) -> Tensor:
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


def stochastic_split(sigma: float, to: float, eta: float, scale: Scale) -> tuple[float, float]:
    """How DDIM's noisy step divides the next noise level into old noise and fresh noise.

    sigma, to: > to >= 0; eta: 0 keeps all of the old noise, 1 is DDPM
    returns: (down, up), down^2 + up^2 = to^2: the next x is signal(to) * denoised + down * old noise + up * fresh noise
    source:  DDIM, arXiv 2010.02502 eq. 16 in sigma: up = eta * to * sqrt(1 - to^2 / sigma^2) in VE scale. For flow
             models, which have no such equation, the same with sigma / (1 - sigma) for sigma: our extension
    """
    ratio = (to * scale.signal(sigma)) / (sigma * scale.signal(to)) if scale.signal(to) else 1.0
    up = eta * to * max(0.0, 1.0 - ratio ** 2) ** 0.5
    return max(0.0, to ** 2 - up ** 2) ** 0.5, up


def notify(on_step: OnStep | None, step: int, x: Tensor, denoised: Tensor) -> None:
    """Call back, if anybody listens."""
    if on_step is not None:
        on_step(step, x, denoised)
