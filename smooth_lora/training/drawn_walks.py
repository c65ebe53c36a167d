"""The pace of walks that the model itself draws, as a loss.

The step-wise variation (see `variation`) looks at noised training pictures. A walk goes elsewhere: where it passes from
one picture to another, its half-denoised latents lie between both, a place that noised pictures hardly ever come to,
and there it jumps. So this loss goes there: it draws a stretch of a walk with the weights as they are, guidance
included, and holds the steps between neighbouring frames against their mean,

    d_k = | D(x_{k+1}, sigma) - D(x_k, sigma) |,     loss = mean_k (d_k / mean(d) - 1)^2 + LENGTH mean(d) / sqrt(n)

with D the guided denoiser, n the number of its values, and x_k where the sampler came to at noise level sigma, held
constant: at every level the denoiser is asked to move evenly from where it is. No second derivative is needed. mean(d)
is differentiated with the rest, so that the first term does not change when all steps grow or shrink alike; held
constant, it would reward walks that stand still. Alone it rewards slow steps made longer by things that come and go:
after many steps it painted smudges into the demo's pictures. The second term asks for the shorter of two even ways;
more of it makes pictures dull (demo/README.md).
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

FRAMES, SPACING = 6, 0.1  # of a stretch; one frame to the next, in shares of a walk from noise to noise
STEPS = 12  # of the sampler
# Shares of the table of noise levels between which frames come apart: above, they all look alike; below, they only lose
# their noise. From 0.4 on was not enough: what was even there had become uneven by the end.
LOWEST, HIGHEST = 0.1, 0.9
LEVELS = 2  # of a stretch that carry the loss
STILL = 1e-12  # a mean step below this has no pace
LENGTH = 1.0  # weight of the mean step, in root-mean-square values of latents, which are about 1


@dataclass(frozen=True)
class StretchPlan:
    """What is drawn, decided by the seed and a number alone.

    x: [FRAMES, ...] where the sampler starts; sigmas: its levels, falling; levels: places among them that carry the
    loss, rising
    """

    x: Tensor
    sigmas: list[float]
    levels: list[int]


def plan_stretch(table: Tensor, shape: tuple[int, ...], scale: Scale, seed: int, number: int) -> StretchPlan:
    """The stretch `number`, counted from 0 over the whole training.

    table: [T] the model's noise levels, rising, on the CPU; shape: of a latent
    """
    generator = generator_for(seed, "stretch", number)
    first, second = (torch.randn(1, *shape, generator=generator) for _ in range(2))
    start = float(torch.rand((), generator=generator)) * (1 - SPACING * (FRAMES - 1))
    noise = torch.cat([slerp(first, second, start + SPACING * frame) for frame in range(FRAMES)])
    places = torch.linspace(len(table) - 1, 0, STEPS + 1).round().long()[:-1]
    usable = [k for k, place in enumerate(places.tolist()) if LOWEST * len(table) <= place <= HIGHEST * len(table)]
    chosen = torch.randperm(len(usable), generator=generator)[:LEVELS].tolist()
    sigmas = table[places].double().tolist()
    return StretchPlan(
        scale.stretch(sigmas[0]) * noise if scale.kind == "ve" else sigmas[0] * noise,
        sigmas,
        sorted(usable[k] for k in chosen),
    )


def pace(denoised: Tensor) -> Tensor:
    """How uneven the steps between neighbouring frames are: 0 for an even pace.

    denoised: [F, ...], F > 2
    """
    steps = _steps(denoised)
    return (steps / steps.mean().clamp(min=STILL) - 1).square().mean()


def pace_loss(denoised: Tensor) -> Tensor:
    """Their unevenness, and how long they are, see above."""
    return pace(denoised) + LENGTH * _steps(denoised).mean() / denoised[0].numel() ** 0.5


def _steps(denoised: Tensor) -> Tensor:
    return (denoised[1:] - denoised[:-1]).flatten(1).norm(dim=1)


def accumulate_pace(denoise: DenoiseRows, plan: StretchPlan, *, cfg: float, weight: float) -> float:
    """Add the gradient of weight * pace_loss to the .grad of every parameter that the denoiser depends on.

    denoise: (x [2 * FRAMES, ...], sigma [2 * FRAMES]) -> denoised; the first half of its rows has the text, the other
             the empty one. At cfg 1 it is asked for the first half alone
    cfg:     guidance scale that the walks are drawn with
    returns: pace, the mean over the levels: the square of cv as `smoothness` defines it, but of denoised latents
    source:  our own
    """
    x, total = plan.x, 0.0
    guided = _guided(denoise, cfg)
    for place in range(plan.levels[-1] + 1):
        sigma = plan.sigmas[place]
        if place in plan.levels:
            denoised = guided(x, sigma)
            (weight * pace_loss(denoised) / len(plan.levels)).backward()
            denoised = denoised.detach()
            total += float(pace(denoised)) / len(plan.levels)
        else:
            with torch.no_grad():
                denoised = guided(x, sigma)
        if place < plan.levels[-1]:
            x = x + (plan.sigmas[place + 1] - sigma) / sigma * (x - denoised)
    return total


def _guided(denoise: DenoiseRows, cfg: float) -> Callable[[Tensor, float], Tensor]:
    def with_text(x: Tensor, sigma: float) -> Tensor:
        return denoise(x, torch.full((len(x),), sigma, dtype=torch.float64))

    def guided(x: Tensor, sigma: float) -> Tensor:
        cond, uncond = with_text(torch.cat([x, x]), sigma).chunk(2)
        return uncond + cfg * (cond - uncond)

    return with_text if cfg == 1 else guided
