"""DDIM inversion with each step solved instead of guessed.

DDIM sampling from x at sigma `to` down to `source` uses eps(x, to). The latent that it carries exactly onto the known
one is the fixed point of

    F(y) = x_source + (to - source) eps(y, to)

Plain inversion stops at F of a guess. Here F is called again and again, with Anderson mixing of depth one and weights
of its own for every sample. How often differs: at nearly all noise levels two calls leave no visible error, at the few
smallest ones, where the model's prediction changes fastest, twenty do not. So the steps share one budget of K calls
each, and a step takes up to half of what those after it can spare.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_range
from ..sampling.ddim import ddim_move
from ..sampling.denoise import Denoise, OnStep, eps_of, notify
from ..sampling.scale import Scale, per_sample
from .plain import rescaled, rising

MAX_ITERATIONS = 50
# A residual this small beside x, in every sample, ends a step: far below what the picture shows.
SOLVED = 1e-5
# A step whose smallest residual is larger has not settled.
FAILED = 1e-2
# What every later step keeps of the budget, and the share of the rest that one step may take.
RESERVE, SHARE = 2, 0.5
# Two residuals this near to each other, relative, carry no direction: mixing would divide rounding by rounding.
PARALLEL = 1e-12


@dataclass(frozen=True)
class Solved:
    """states [N + 1, B, ...] as of `invert_ddim`; diverged [B] bool: some step, tried more than
    once, did not settle."""

    states: Tensor
    diverged: Tensor


def invert_fixed_point(
    denoise: Denoise, x0: Tensor, sigmas: list[float], scale: Scale, iterations: int, on_step: OnStep | None = None
) -> Solved:
    """DDIM inversion that DDIM sampling undoes, up to the residuals that are left after K * N calls.

    x0:         [B, ...] clean latents in model units, at sigmas[N]
    sigmas:     [N + 1], falling
    iterations: K, 1 to 50 model calls a step on average; 1 is `invert_ddim`
    raises:     ValueError for K outside that range
    source:     AIDI (arXiv 2309.04907), which mixes by Anderson's rule; FPI (arXiv 2312.12540). Deviations: the calls
                are shared out unevenly, see the module; depth one, weights per sample; the first guess of a step
                goes on along the last one; a step keeps the best of what it tried
    """
    require_range("iterations", iterations, 1, MAX_ITERATIONS)
    states, diverged = [x0], torch.zeros(x0.shape[0], dtype=torch.bool, device=x0.device)
    moves, direction = rising(sigmas), None
    left = iterations * len(moves)
    for step, (to, source) in enumerate(moves):
        x = states[-1]
        ahead = (
            rescaled(x, source, to, scale)
            if direction is None or iterations == 1
            else ddim_move(x, direction, source, to)
        )
        solved, failed, calls = _solve(denoise, x, ahead, source, to, _allowed(left, len(moves) - 1 - step, iterations))
        left -= calls
        diverged |= failed
        direction = (solved - x) / (to - source)
        states.append(solved)
        notify(on_step, step, solved, solved - to * direction)
    return Solved(torch.stack(states[::-1]), diverged)


def _allowed(left: int, later: int, iterations: int) -> int:
    """Calls that the present step may take, of what is left for it and the `later` ones."""
    least = min(RESERVE, iterations)
    spare = left - least * (later + 1)
    return left if later == 0 else least + int(SHARE * spare)


def _solve(
    denoise: Denoise, x: Tensor, guess: Tensor, source: float, to: float, calls: int
) -> tuple[Tensor, Tensor, int]:
    """The latent at `to`, the samples [B] that diverged, and the calls it took."""

    def tried(guess: Tensor) -> tuple[Tensor, Tensor]:
        image = ddim_move(x, eps_of(guess, denoise(guess, to), to), source, to)
        return image, image - guess

    image, residual = tried(guess)
    # Always beside the first image: beside its own, an image that runs away would look better and better.
    length = _length(image)
    size = best_size = _length(residual) / length
    best, guess, call = image, image, 1
    while call < calls and not float(size.max()) < SOLVED:  # goes on at NaN
        call += 1
        new_image, new_residual = tried(guess)
        size = _length(new_residual) / length
        best, best_size = _where(size < best_size, new_image, best), torch.minimum(size, best_size)
        guess = _mixed(new_image, image, new_residual, residual)
        image, residual = new_image, new_residual
    # The mix lies ahead of the last image; a sample whose last residual was not its best takes its best image.
    failed = best_size > FAILED if call > 1 else torch.zeros_like(best_size, dtype=torch.bool)
    return _where(size > best_size, best, guess), failed, call


def _mixed(image: Tensor, before: Tensor, residual: Tensor, residual_before: Tensor) -> Tensor:
    """Anderson's mix of depth one: the point on the line through both images where the residual would be smallest."""
    change = residual - residual_before
    square = (change * change).flatten(1).sum(1)
    along = (residual * change).flatten(1).sum(1)
    usable = square > PARALLEL * (residual_before**2).flatten(1).sum(1)
    share = torch.where(usable, along / square.clamp_min(torch.finfo(square.dtype).tiny), 0.0)
    return image - per_sample(share, image) * (image - before)


def _length(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def _where(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)
