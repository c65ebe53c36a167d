"""Null-text inversion: at every step, an empty text that makes guided sampling follow the inversion's path.

With w the guidance scale, D_c the prediction with the image's prompt and D(t) that with a text t in place of the
negative one, a guided DDIM step goes to

    x[k+1] = x[k] + (sigmas[k+1] - sigmas[k]) (x[k] - w D_c - (1 - w) D(t)) / sigmas[k]

D_c does not depend on t, so it is computed once a step, and the step lands on the path where D(t) equals one known
target. That is a least-squares fit, for which L-BFGS needs fewer passes than the published Adam; neighbouring steps are
so alike that what it learnt of the curvature at one is kept for the next.

source: Mokady et al., arXiv 2211.09794 algorithm 1; two images: the demo of Smooth Diffusion (arXiv 2312.04410).
        Deviations: the optimiser; the error is that of the step's own result, with the published weight
        1 / (1 + sigma^2); the accepted text is the best one that was evaluated, and its prediction is used for the step
        instead of being computed again
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from ...sampling.ddim import ddim_move
from ...sampling.denoise import Denoise, OnStep, eps_of, notify
from ...sampling.scale import Scale
from ..contract import Setting
from .text_fit import Curvature, Effort, fit_text

# The published early stop: mean squared error of the next latent in VP scale, by step.
STOP_BASE, STOP_GROWTH = 1e-5, 2e-5
INNER_STEPS = Setting(
    "inner_steps",
    default=10,
    low=1,
    high=200,
    tooltip="null_text: steps of the optimiser at each sampling step, at most.",
)
TOLERANCE = Setting(
    "tolerance",
    default=0.3,
    low=0.0,
    high=10.0,
    step=0.01,
    tooltip="null_text: when the optimiser stops early, in parts of the published bound. 1 is as published, 0 never.",
)
LOW_MEMORY = Setting(
    "low_memory",
    default=False,
    low=False,
    high=True,
    tooltip="null_text: compute the network's blocks twice instead of keeping what is inside them; less memory, about "
    "a third slower.",
)

# (text [1, T, D], x [R, ...], sigma) -> denoised [R, ...] with that text alone, a graph from the text to it
TextDenoise = Callable[[Tensor, Tensor, float], Tensor]


def optimise_nulls(
    cond: Denoise,
    uncond: TextDenoise,
    path: Tensor,
    sigmas: Sequence[float],
    *,
    text: Tensor,
    cfg: float,
    scale: Scale,
    iterations: int,
    tolerance: float,
    on_step: OnStep | None = None,
    on_inner: Callable[[], None] | None = None,
) -> tuple[Tensor, Effort]:
    """Fits the text of every step, one for all rows of the path together.

    cond:       denoises with the images' own prompts, no guidance
    uncond:     denoises with a given text; called with gradients on
    path:       [N + 1, R, ...] float64 states of a cfg-1 inversion; R = 2 is the dual version with a shared text
    text:       [1, T, D] float32, the empty text; iterations, tolerance: see INNER_STEPS and TOLERANCE
    cfg:        guidance scale of the replay; at 1 the text has no effect and is returned as it is
    on_inner:   called after each pass of the network with gradients; may raise to stop
    returns:    [N, 1, T, D], and the effort
    raises:     ValueError if gradients are off, or the model predicts NaN
    """
    effort, curvature, nulls, x = Effort(), Curvature(), [], path[0]
    fit = partial(fit_text, iterations=iterations, curvature=curvature, effort=effort, on_inner=on_inner)
    for k, (sigma, to) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        with torch.no_grad():
            denoised = cond(x, sigma)
        effort.forward += x.shape[0]
        if cfg != 1.0:
            target = (cfg * denoised - denoised_towards(path[k + 1], x, sigma, to)) / (cfg - 1)
            stop = tolerance * (STOP_BASE + STOP_GROWTH * k) / _weight(sigma, to, cfg, scale)
            text, negative = fit(_with_text(uncond, x, sigma), text, target, stop=stop)
            denoised = cfg * denoised + (1 - cfg) * negative
        nulls.append(text)
        x = ddim_move(x, eps_of(x, denoised, sigma), sigma, to)
        notify(on_step, k, x, denoised)
    return torch.stack(nulls), effort


def denoised_towards(after: Tensor, x: Tensor, sigma: float, to: float) -> Tensor:
    """Prediction at x with which a DDIM step from sigma lands on `after` at `to`."""
    return x - sigma * ((after - x) / (to - sigma))


def _with_text(uncond: TextDenoise, x: Tensor, sigma: float) -> Callable[[Tensor], Tensor]:
    """Prediction at x as a function of the text alone."""
    return lambda text: uncond(text, x, sigma)


def _weight(sigma: float, to: float, cfg: float, scale: Scale) -> float:
    """Factor from the squared error of the prediction D(t) to that of the step's result, in VP scale."""
    return ((cfg - 1) * (sigma - to) / (sigma * scale.stretch(to))) ** 2
