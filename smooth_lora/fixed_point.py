"""DDIM inversion with each step solved instead of guessed.

DDIM sampling from x at sigma `to` down to `source` uses eps(x, to). The latent that it carries exactly onto the known
one is the fixed point of

    F(y) = x_source + (to - source) eps(y, to)

Plain inversion stops at F of a guess. Here F is called up to K times a step, with Anderson mixing of depth one, for
every sample by itself, and a sample whose residual grows falls back to the plain step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import require_range
from .ddim import Denoise, OnStep, ddim_move, eps_of, first_guess, notify, rescaled, rising
from .schedule import Scale, per_sample

MAX_ITERATIONS = 50
# A residual this small beside x, per sample, is the rounding of the model's float32: a further call cannot help.
SOLVED = 1e-7
# Two residuals this near to each other, relative, carry no direction: mixing would divide rounding by rounding.
PARALLEL = 1e-12


@dataclass(frozen=True)
class Solved:
    """states [N + 1, B, ...] as of `invert_ddim`; diverged [B] bool: some step fell back to the plain one."""

    states: Tensor
    diverged: Tensor


def invert_fixed_point(denoise: Denoise, x0: Tensor, sigmas: list[float], scale: Scale, iterations: int,
                       on_step: OnStep | None = None) -> Solved:
    """DDIM inversion that DDIM sampling undoes, up to the residual that is left after K calls a step.

    x0:         [B, ...] clean latents in model units, at sigmas[N]
    sigmas:     [N + 1], falling
    iterations: K, 1 to 50 model calls a step at most; 1 is `invert_ddim`
    raises:     ValueError for K outside that range
    source:     AIDI (arXiv 2309.04907), which mixes by Anderson's rule; FPI (arXiv 2312.12540). Deviations: depth one,
                weights per sample; a sample whose residual grows takes the plain step instead of going on; a step
                whose residual is down to float32 rounding in all samples ends early
    """
    require_range("iterations", iterations, 1, MAX_ITERATIONS)
    states, diverged = [x0], torch.zeros(x0.shape[0], dtype=torch.bool, device=x0.device)
    for step, (to, source) in enumerate(rising(sigmas)):
        x, failed = _solve(denoise, states[-1], source, to, scale, iterations)
        diverged |= failed
        states.append(x)
        notify(on_step, step, x, states[-2])
    return Solved(torch.stack(states[::-1]), diverged)


def _solve(denoise: Denoise, x: Tensor, source: float, to: float, scale: Scale, iterations: int) -> tuple[Tensor, Tensor]:
    """The latent at `to` after up to K calls of F, and which samples fell back."""
    y = rescaled(x, source, to, scale)
    plain = image = ddim_move(x, first_guess(denoise, x, source, to, scale), source, to)
    residual = image - y
    going = _length(residual) > SOLVED * _length(image)
    failed = torch.zeros_like(going)
    best = image
    guess = image
    for _ in range(1, iterations):
        if not bool(going.any()):
            break
        new_image = ddim_move(x, eps_of(guess, denoise(guess, to), to), source, to)
        new_residual = new_image - guess
        grown = going & (_length(new_residual) > _length(residual))
        failed |= grown
        going = going & ~grown
        mixed = _mixed(new_image, image, new_residual, residual)
        best = _where(going, mixed, best)
        going = going & (_length(new_residual) > SOLVED * _length(new_image))
        image, residual, guess = new_image, new_residual, mixed
    return _where(failed, plain, best), failed


def _mixed(image: Tensor, before: Tensor, residual: Tensor, residual_before: Tensor) -> Tensor:
    """Anderson's mix of depth one: the point on the line through both images where the residual would be smallest."""
    change = residual - residual_before
    square = (change * change).flatten(1).sum(1)
    along = (residual * change).flatten(1).sum(1)
    usable = square > PARALLEL * (residual_before ** 2).flatten(1).sum(1)
    share = torch.where(usable, along / square.clamp_min(torch.finfo(square.dtype).tiny), 0.0)
    return image - per_sample(share, image) * (image - before)


def _length(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def _where(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)
