"""The loss of drawn walks: it makes walks that the model itself samples move evenly.

The step-wise variation (see `variation`) looks at noised training images. A walk goes elsewhere: between two images
its half-denoised latents lie between both, where noised images hardly ever lie, and there the walk jumps. So this loss
samples a part of a walk with the weights as they are, guidance included, and compares the steps between neighbouring
frames with their mean,

    d_k = | D(x_{k+1}, sigma) - D(x_k, sigma) |,     loss = mean_k (d_k / mean(d) - 1)^2 + lambda mean(d) / sqrt(n)

with D the guided denoiser, n the number of its values, lambda STEP_LENGTH_WEIGHT, and x_k the sampler's latent at
sigma, held constant: at every sigma the denoiser is asked to move evenly from there. No second derivative is needed.
mean(d) is differentiated with the rest, so that the first term does not change when all steps grow or shrink alike;
held constant, it would reward walks that stand still. Alone, the first term rewards slow steps made longer by things
that come and go: after many steps it painted smudges into the demo's images. The second term prefers the shorter of
two even walks; more of it makes images dull (demo/README.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..sampling.denoise import DenoiseRows
from ..sampling.scale import Scale
from ..walks.arc import slerp
from .draws import generator_for

WALK_FRAMES = 6  # of a drawn walk
FRAME_SPACING = 0.1  # from one frame to the next, as a share of a walk from noise to noise
SAMPLING_STEPS = 12
# Shares of the table of sigmas between which frames come apart: above, they all look alike; below, they only lose
# their noise. From 0.4 on was not enough: what was even there had become uneven by the end.
LOWEST_LEVEL, HIGHEST_LEVEL = 0.1, 0.9
LOSS_LEVELS = 2  # sigmas of a drawn walk at which the loss is taken
SMALLEST_MEAN_STEP = 1e-12  # below it, the steps have no unevenness
STEP_LENGTH_WEIGHT = 1.0  # of the mean step, in root-mean-square values of latents, which are about 1


@dataclass(frozen=True)
class DrawnWalk:
    """The start and the sigmas of a drawn walk, decided by the seed and its number alone.

    x: [WALK_FRAMES, ...] the sampler's first latents; sigmas: falling; levels: places among them at which the loss is
    taken, rising
    """

    x: Tensor
    sigmas: list[float]
    levels: list[int]


def draw_walk(table: Tensor, shape: tuple[int, ...], scale: Scale, *, seed: int, number: int) -> DrawnWalk:
    """Draws the start of a walk.

    table:  [T] the model's sigmas, rising, on the CPU; shape: of a latent
    number: of the walk, counted from 0 over the whole training
    """
    generator = generator_for(seed, "stretch", number)
    first, second = (torch.randn(1, *shape, generator=generator) for _ in range(2))
    start = float(torch.rand((), generator=generator)) * (1 - FRAME_SPACING * (WALK_FRAMES - 1))
    noise = torch.cat([slerp(first, second, start + FRAME_SPACING * frame) for frame in range(WALK_FRAMES)])
    rows = torch.linspace(len(table) - 1, 0, SAMPLING_STEPS + 1).round().long()[:-1]
    low, high = LOWEST_LEVEL * len(table), HIGHEST_LEVEL * len(table)
    usable = [k for k, row in enumerate(rows.tolist()) if low <= row <= high]
    chosen = torch.randperm(len(usable), generator=generator)[:LOSS_LEVELS].tolist()
    sigmas: list[float] = table[rows].double().tolist()
    length = scale.stretch(sigmas[0]) if scale.kind == "ve" else sigmas[0]
    return DrawnWalk(length * noise, sigmas, sorted(usable[k] for k in chosen))


def unevenness(denoised: Tensor) -> Tensor:
    """Squared coefficient of variation of the steps between neighbouring frames; 0 for even steps.

    denoised: [F, ...], F > 2
    """
    steps = _steps(denoised)
    deviation: Tensor = steps / steps.mean().clamp(min=SMALLEST_MEAN_STEP) - 1
    return deviation.square().mean()


def drawn_walk_loss(denoised: Tensor) -> Tensor:
    """The loss at one sigma: the unevenness of the steps, and their mean length.

    denoised: [F, ...], F > 2
    """
    values: float = denoised[0].numel() ** 0.5
    return unevenness(denoised) + STEP_LENGTH_WEIGHT * _steps(denoised).mean() / values


def _steps(denoised: Tensor) -> Tensor:
    lengths: Tensor = (denoised[1:] - denoised[:-1]).flatten(1).norm(dim=1)
    return lengths


def accumulate_drawn_walk(denoise: DenoiseRows, walk: DrawnWalk, *, cfg: float, weight: float) -> float:
    """Adds the gradient of weight * drawn_walk_loss to the .grad of every parameter that the denoiser depends on.

    denoise: (x [2 * WALK_FRAMES, ...], sigma [2 * WALK_FRAMES]) -> denoised; the first half of its rows has the prompt,
             the second half the empty one. At cfg 1 it is called with the first half alone
    cfg:     guidance scale that the walks are drawn with
    returns: the mean unevenness over the levels: the square of cv as `smoothness` defines it, but of denoised latents
    source:  our own
    """
    x, total = walk.x, 0.0
    guided = _guided(denoise, cfg)
    for step in range(walk.levels[-1] + 1):
        sigma = walk.sigmas[step]
        if step in walk.levels:
            denoised = guided(x, sigma)
            torch.autograd.backward(weight * drawn_walk_loss(denoised) / len(walk.levels))
            denoised = denoised.detach()
            total += float(unevenness(denoised)) / len(walk.levels)
        else:
            with torch.no_grad():
                denoised = guided(x, sigma)
        if step < walk.levels[-1]:
            x = x + (walk.sigmas[step + 1] - sigma) / sigma * (x - denoised)
    return total


def _guided(denoise: DenoiseRows, cfg: float) -> Callable[[Tensor, float], Tensor]:
    def with_prompt(x: Tensor, sigma: float) -> Tensor:
        return denoise(x, torch.full((len(x),), sigma, dtype=torch.float64))

    def guided(x: Tensor, sigma: float) -> Tensor:
        cond, uncond = with_prompt(torch.cat([x, x]), sigma).chunk(2)
        return uncond + cfg * (cond - uncond)

    return with_prompt if cfg == 1 else guided
