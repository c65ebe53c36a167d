"""Null-text inversion: at every step, an empty text that makes guided sampling follow the inversion's path.

With w the guidance scale, D_c the prediction with the picture's text and D(t) that with a text t in place of the
negative one, a guided DDIM step goes to

    x[k+1] = x[k] + (sigmas[k+1] - sigmas[k]) (x[k] - w D_c - (1 - w) D(t)) / sigmas[k]

D_c does not depend on t, so it is computed once a step, and the step lands on the path where D(t) equals one known
target. That is a least-squares fit, for which L-BFGS needs fewer passes than the published Adam; neighbouring steps are
so alike that what it learnt of the curvature at one is kept for the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..sampling.ddim import ddim_move
from ..sampling.denoise import Denoise, OnStep, eps_of, notify
from ..sampling.scale import Scale

# The published early stop: mean squared error of the next latent in VP scale, by step.
STOP_BASE, STOP_GROWTH = 1e-5, 2e-5
PAIRS = 20  # pairs of L-BFGS that are kept: 40 texts, 9 MB for SD1.5
PROBE = 1e-3  # length of the first probe step, in lengths of the text
CURVED = 1e-10  # a pair must show at least this much curvature, relative, to be kept
SHORTEST, LONGEST = 0.1, 0.5  # how far a step that went too far is taken back

# (text [1, T, D], x [R, ...], sigma) -> denoised [R, ...] with that text alone, a graph from the text to it
TextDenoise = Callable[[Tensor, Tensor, float], Tensor]


@dataclass
class Effort:
    """Rows that went through the network, without and with a way back, and the fits that met their aim."""

    forward: int = 0
    backward: int = 0
    inner: int = 0
    met: int = 0


@dataclass
class Curvature:
    """What L-BFGS remembers: pairs of a move of the text and the change of gradient it made."""

    pairs: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)

    def add(self, move: Tensor, change: Tensor) -> None:
        """Keep a pair if it shows curvature."""
        along = float((move * change).sum())
        if along > CURVED * float((change * change).sum()):
            self.pairs = [*self.pairs, (move, change, along)][-PAIRS:]

    def step(self, gradient: Tensor) -> Tensor:
        """The quasi-Newton step, by the two-loop recursion.

        source: Nocedal, Updating quasi-Newton matrices with limited storage (Math. Comp. 35, 1980)
        """
        step, weights = -gradient, []
        for move, change, along in reversed(self.pairs):
            weights.append(float((move * step).sum()) / along)
            step = step - weights[-1] * change
        _, change, along = self.pairs[-1]
        step = step * (along / float((change * change).sum()))
        for (move, change, along), weight in zip(self.pairs, reversed(weights), strict=True):
            step = step + (weight - float((change * step).sum()) / along) * move
        return step


def optimise_nulls(
    cond: Denoise,
    uncond: TextDenoise,
    path: Tensor,
    sigmas: list[float],
    text: Tensor,
    *,
    cfg: float,
    scale: Scale,
    iterations: int,
    tolerance: float,
    on_step: OnStep | None = None,
    on_inner: Callable[[], None] | None = None,
) -> tuple[Tensor, Effort]:
    """The text of every step, one for all rows of the path together.

    cond:       denoised with the pictures' own texts, no guidance
    uncond:     denoised with a given text; called with gradients on
    path:       [N + 1, R, ...] float64 states of a cfg-1 inversion; R = 2 is the dual version with a shared text
    text:       [1, T, D] float32, the empty text
    cfg:        guidance scale of the replay; at 1 the text has no effect and is returned as it is
    iterations: inner steps at most
    tolerance:  of the published early stop; 1 stops as early as published, 0 never
    on_inner:   called after each pass of the network with gradients; may raise to stop
    returns:    [N, 1, T, D], and the effort
    raises:     ValueError if gradients are off, or the model predicts NaN
    source:     Mokady et al., arXiv 2211.09794 algorithm 1; two pictures: the demo of Smooth Diffusion (arXiv
                2312.04410). Deviations: see the module for the optimiser; the error is that of the step's own result,
                with the published weight 1 / (1 + sigma^2); the accepted text is the best one that was evaluated, and
                its prediction is used for the step instead of being computed again
    """
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise ValueError(
            "null text: gradients are off, call it under torch.inference_mode(False) and torch.enable_grad()"
        )
    effort, curvature, kept, x = Effort(), Curvature(), [], path[0]
    for k, (sigma, to) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        with torch.no_grad():
            conditional = cond(x, sigma)
        effort.forward += x.shape[0]
        if cfg == 1.0:
            denoised = conditional
        else:
            wanted = x - sigma * eps_between(x, path[k + 1], sigma, to)
            target = (cfg * conditional - wanted) / (cfg - 1)
            weight = ((cfg - 1) * (sigma - to) / (sigma * scale.stretch(to))) ** 2
            stop = tolerance * (STOP_BASE + STOP_GROWTH * k) / weight

            def predict(text: Tensor, x: Tensor = x, sigma: float = sigma) -> Tensor:
                return uncond(text, x, sigma)

            text, negative = fit_text(predict, text, target, stop, iterations, curvature, effort, on_inner)
            denoised = cfg * conditional + (1 - cfg) * negative
        kept.append(text)
        x = ddim_move(x, eps_of(x, denoised, sigma), sigma, to)
        notify(on_step, k, x, denoised)
    return torch.stack(kept), effort


def eps_between(x: Tensor, after: Tensor, sigma: float, to: float) -> Tensor:
    """The direction that carries x onto `after`."""
    return (after - x) / (to - sigma)


def fit_text(
    predict: Callable[[Tensor], Tensor],
    text: Tensor,
    target: Tensor,
    stop: float,
    iterations: int,
    curvature: Curvature,
    effort: Effort,
    on_inner: Callable[[], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The text whose prediction is nearest to a target, by L-BFGS with an exact first step.

    predict: text -> prediction, shape of target, differentiable
    stop:    mean squared error that is good enough
    returns: the best text that was evaluated, and its prediction, both without a graph; never worse than the start
    """
    best_error, best = math.inf, (text, target)
    before: tuple[Tensor, Tensor, float] | None = None
    move = torch.zeros_like(text)
    for turn in range(iterations + 1):
        wanted = turn < iterations
        candidate = text.detach().clone().requires_grad_(wanted)
        prediction = predict(candidate)
        residual = prediction.detach() - target
        error = float((residual**2).mean())
        effort.forward += target.shape[0]
        if not math.isfinite(error):
            raise ValueError(
                "null text: the model's prediction is not finite (NaN or infinity), so no text can be "
                "fitted; load the model in a wider precision, such as float32 or bfloat16"
            )
        if error < best_error:
            best_error, best = error, (candidate.detach(), prediction.detach())
        if error <= stop or not wanted:
            effort.met += error <= stop
            break
        gradient = _gradient(prediction, candidate, residual)
        effort.backward += target.shape[0]
        effort.inner += 1
        if on_inner is not None:
            on_inner()
        if before is not None:
            curvature.add(text - before[0], gradient - before[1])
            if error > before[2]:
                move = move * _taken_back(before, move, error)
                text = before[0] + move
                continue
        before = (text, gradient, error)
        move = (
            curvature.step(gradient)
            if curvature.pairs
            else _first_step(predict, text, prediction, residual, gradient, effort)
        )
        text = text + move
    return best


def _gradient(prediction: Tensor, text: Tensor, residual: Tensor) -> Tensor:
    """Of the mean squared error, half of it: the residual goes back at unit size, so that half precision keeps it."""
    size = float(residual.square().mean().sqrt())
    if size == 0.0:
        return torch.zeros_like(text)
    (back,) = torch.autograd.grad(prediction, text, (residual / size).to(prediction.dtype))
    return back.to(text) * (size / residual.numel())


def _first_step(
    predict, text: Tensor, prediction: Tensor, residual: Tensor, gradient: Tensor, effort: Effort
) -> Tensor:
    """Down the gradient as far as the prediction's change along it, measured by one more pass, says is best."""
    length = float(gradient.norm())
    if length == 0.0:
        return torch.zeros_like(gradient)
    probe = PROBE * max(float(text.norm()), 1.0) / length
    with torch.no_grad():
        change = (predict(text - probe * gradient).to(residual) - prediction.detach()) / probe
    effort.forward += residual.shape[0]
    square = float((change**2).sum())
    return -gradient * (max(0.0, -float((residual * change).sum())) / square if square else 0.0)


def _taken_back(before: tuple[Tensor, Tensor, float], move: Tensor, error: float) -> float:
    """Which part of a step that went too far to keep: the minimum of the parabola through what is known of it."""
    slope = 2 * float((before[1] * move).sum())
    bend = error - before[2] - slope
    return min(max(-slope / (2 * bend), SHORTEST), LONGEST) if bend > 0 else SHORTEST
