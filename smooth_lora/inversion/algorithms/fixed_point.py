"""DDIM inversion with each step solved instead of guessed.

DDIM sampling from x at sigma `to` down to `source` uses eps(x, to). The latent that it carries exactly onto the known
one is the fixed point of

    F(y) = x_source + (to - source) eps(y, to)

Plain inversion stops at F of a guess. Here F is called again and again, with Anderson mixing of depth one and weights
of its own for every sample. How often differs: at nearly all sigmas two calls leave no visible error, at the few
smallest ones, where the model's prediction changes fastest, twenty do not. So the steps share one budget of K calls
each, and a step takes up to half of what those after it can spare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...checks import require_range
from ...sampling.ddim import ddim_move
from ...sampling.denoise import Denoise, OnStep, eps_of, notify
from ...sampling.scale import Scale, per_sample, sample_norm
from ..contract import InversionTask, Inverted, Setting
from .plain import rescaled, rising

# A residual this small, relative to x in every sample, ends a step: far below what the image shows.
SOLVED_RESIDUAL = 1e-5
# A step whose smallest residual is larger has not settled.
FAILED_RESIDUAL = 1e-2
# Calls that every later step keeps of the budget, and the share of the other calls that one step may take.
RESERVED_CALLS, SPARE_SHARE = 2, 0.5
# Two residuals this near to each other, relative, carry no direction: mixing would divide rounding by rounding.
PARALLEL_RESIDUALS = 1e-12
ITERATIONS = Setting(
    "iterations",
    default=3,
    low=1,
    high=50,
    tooltip="fixed_point: model calls a step on average; steps at little noise take more.",
)


@dataclass(frozen=True)
class SolvedPath:
    """The path of a solved inversion.

    states:   [N + 1, B, ...] as `invert_ddim` returns them
    diverged: [B] bool: some step, tried more than once, did not settle
    """

    states: Tensor
    diverged: Tensor


def invert_fixed_point(
    denoise: Denoise,
    x0: Tensor,
    sigmas: Sequence[float],
    scale: Scale,
    *,
    iterations: int,
    on_step: OnStep | None = None,
) -> SolvedPath:
    """DDIM inversion that DDIM sampling undoes, up to the residuals that are left after K * N calls.

    x0:         [B, ...] clean latents in model units, at sigmas[N]
    sigmas:     [N + 1], falling
    iterations: K, 1 to 50 model calls a step on average; 1 is `invert_ddim`
    raises:     ValueError for K outside that range
    source:     AIDI (arXiv 2309.04907), which mixes by Anderson's rule; FPI (arXiv 2312.12540). Deviations: the calls
                are shared out unevenly, see the module; depth one, weights per sample; the first guess of a step
                goes on along the last one; a step keeps the best of what it tried
    """
    require_range("iterations", iterations, ITERATIONS.low, ITERATIONS.high)
    states, diverged = [x0], torch.zeros(x0.shape[0], dtype=torch.bool, device=x0.device)
    moves, direction = rising(sigmas), None
    left = iterations * len(moves)
    for step, (to, source) in enumerate(moves):
        x = states[-1]
        if direction is None or iterations == 1:
            guess = rescaled(x, source, to, scale)
        else:
            guess = ddim_move(x, direction, source, to)
        calls = _allowed(left, len(moves) - 1 - step, iterations)
        solved = _Step(denoise, x, source, to).solved(guess, calls)
        left -= solved.calls
        diverged |= solved.failed
        direction = (solved.x - x) / (to - source)
        states.append(solved.x)
        notify(on_step, step, solved.x, solved.x - to * direction)
    return SolvedPath(torch.stack(states[::-1]), diverged)


def fixed_point_inversion(denoise: Denoise, task: InversionTask) -> Inverted:
    """Inverts by `invert_fixed_point`, and names the images that did not settle."""
    iterations = task.settings[ITERATIONS]
    solved = invert_fixed_point(denoise, task.x0, task.sigmas, task.scale, iterations=iterations, on_step=task.on_step)
    notes = tuple(
        f"Picture {row + 1}: the fixed point did not settle at some steps, so the picture "
        "may not come back; take more iterations, a lower cfg, or exact."
        for row in solved.diverged.nonzero().flatten().tolist()
    )
    return Inverted(solved.states, notes=notes)


def _allowed(left: int, later: int, iterations: int) -> int:
    """Calls that the present step may take, of what is left for it and the `later` ones."""
    reserved = min(RESERVED_CALLS, iterations)
    spare = left - reserved * (later + 1)
    return left if later == 0 else reserved + int(SPARE_SHARE * spare)


@dataclass(frozen=True)
class _SolvedStep:
    """The latent that was found, the samples [B] that did not settle, and the calls it took."""

    x: Tensor
    failed: Tensor
    calls: int


@dataclass(frozen=True)
class _Step:
    """One step of the inversion: from x at sigma `source` up to `to`."""

    denoise: Denoise
    x: Tensor
    source: float
    to: float

    def image(self, guess: Tensor) -> tuple[Tensor, Tensor]:
        """Returns F of a guess, and its residual: how far F moves the guess."""
        image = ddim_move(self.x, eps_of(guess, self.denoise(guess, self.to), self.to), self.source, self.to)
        return image, image - guess

    def solved(self, guess: Tensor, calls: int) -> _SolvedStep:
        """Calls F until its residual is small or the calls are spent."""
        image, residual = self.image(guess)
        # Always relative to the first image: relative to its own, an image that runs away would look better and better.
        length = sample_norm(image)
        size = best_size = sample_norm(residual) / length
        best, guess, call = image, image, 1
        while call < calls and not float(size.max()) < SOLVED_RESIDUAL:  # goes on at NaN
            call += 1
            new_image, new_residual = self.image(guess)
            size = sample_norm(new_residual) / length
            best, best_size = _where(size < best_size, new_image, best), torch.minimum(size, best_size)
            guess = _anderson_mix(new_image, image, new_residual, residual)
            image, residual = new_image, new_residual
        # The mix lies ahead of the last image; a sample whose last residual was not its best takes its best image.
        failed = best_size > FAILED_RESIDUAL if call > 1 else torch.zeros_like(best_size, dtype=torch.bool)
        return _SolvedStep(_where(size > best_size, best, guess), failed, call)


def _anderson_mix(image: Tensor, before: Tensor, residual: Tensor, residual_before: Tensor) -> Tensor:
    """Anderson's mix of depth one: the point on the line through both images where the residual would be smallest.

    source: Anderson, Iterative procedures for nonlinear integral equations (Journal of the ACM 12, 1965); AIDI, arXiv
            2309.04907, uses it for inversion
    """
    change = residual - residual_before
    square = (change * change).flatten(1).sum(1)
    along = (residual * change).flatten(1).sum(1)
    usable = square > PARALLEL_RESIDUALS * (residual_before**2).flatten(1).sum(1)
    share = torch.where(usable, along / square.clamp_min(torch.finfo(square.dtype).tiny), 0.0)
    return image - per_sample(share, image) * (image - before)


def _where(chosen: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Takes each sample from a where chosen [B], else from b."""
    return torch.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)
