"""Fits a text to a target prediction by L-BFGS: least squares in the text, everything else constant."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

MOST_PAIRS = 20  # pairs of L-BFGS that are kept: 40 texts, 9 MB for SD1.5
PROBE_LENGTH = 1e-3  # of the first probe step, in lengths of the text
LEAST_CURVATURE = 1e-10  # a pair must show at least this much, relative, to be kept
SHORTEST_PART, LONGEST_PART = 0.1, 0.5  # of a step that went too far and is taken back

# text -> prediction, differentiable
Predict = Callable[[Tensor], Tensor]


@dataclass
class Effort:
    """Rows that went through the network, without and with a way back, and the fits that met their aim."""

    forward: int = 0
    backward: int = 0
    inner: int = 0
    met: int = 0


@dataclass
class Curvature:
    """The memory of L-BFGS: pairs of a move of the text and the change of gradient it made."""

    pairs: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)

    def add(self, move: Tensor, change: Tensor) -> None:
        """Keeps a pair if it shows curvature."""
        along = float((move * change).sum())
        if along > LEAST_CURVATURE * float((change * change).sum()):
            self.pairs = [*self.pairs, (move, change, along)][-MOST_PAIRS:]

    def step(self, gradient: Tensor) -> Tensor:
        """Returns the quasi-Newton step, by the two-loop recursion.

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


def fit_text(
    predict: Predict,
    text: Tensor,
    target: Tensor,
    *,
    stop: float,
    iterations: int,
    curvature: Curvature,
    effort: Effort,
    on_inner: Callable[[], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Fits the text whose prediction is nearest to a target, by L-BFGS with an exact first step.

    predict: text -> prediction, shape of target, differentiable
    stop:    mean squared error that is good enough
    returns: the best text that was evaluated, and its prediction, both without a graph; never worse than the start
    raises:  ValueError if gradients are off, or the prediction is not finite
    """
    _require_gradients()
    best = last = _Trial(text, target, target, math.inf)
    gradient_of_last = move = torch.zeros_like(text)
    for turn in range(iterations + 1):
        trial, gradient = _tried(predict, text, target, effort, stop=stop if turn < iterations else math.inf)
        best = trial if trial.error < best.error else best
        if gradient is None:
            break
        if on_inner is not None:
            on_inner()
        curvature.add(trial.text - last.text, gradient - gradient_of_last)
        if trial.error > last.error:
            move = move * _part_kept(gradient_of_last, move, trial.error - last.error)
        else:
            last, gradient_of_last = trial, gradient
            move = curvature.step(gradient) if curvature.pairs else _first_step(predict, trial, gradient, effort)
        text = last.text + move
    effort.met += best.error <= stop
    return best.text, best.prediction


def _require_gradients() -> None:
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise ValueError(
            "null text: gradients are off; call it under torch.inference_mode(False) and torch.enable_grad()"
        )


@dataclass(frozen=True)
class _Trial:
    """A text that was evaluated: its prediction, the residual to the target, and the mean squared error; no graph."""

    text: Tensor
    prediction: Tensor
    residual: Tensor
    error: float


def _tried(
    predict: Predict, text: Tensor, target: Tensor, effort: Effort, *, stop: float
) -> tuple[_Trial, Tensor | None]:
    """Evaluates a text, and the gradient of half its error; None in its place where the error is good enough.

    stop: mean squared error that is good enough, infinite where no gradient is wanted
    """
    candidate = text.detach().clone().requires_grad_(math.isfinite(stop))
    prediction = predict(candidate)
    residual = prediction.detach() - target
    error = float((residual**2).mean())
    effort.forward += target.shape[0]
    if not math.isfinite(error):
        raise ValueError(
            "null text: the model's prediction is not finite (NaN or infinity), so no text can be "
            "fitted; load the model in a wider precision, such as float32 or bfloat16"
        )
    trial = _Trial(candidate.detach(), prediction.detach(), residual, error)
    if error <= stop:
        return trial, None
    effort.backward += target.shape[0]
    effort.inner += 1
    return trial, _gradient(prediction, candidate, residual)


def _gradient(prediction: Tensor, text: Tensor, residual: Tensor) -> Tensor:
    """Gradient of half the mean squared error; the residual goes back at unit size, so that half precision keeps it."""
    size = float(residual.square().mean().sqrt())
    if size == 0.0:
        return torch.zeros_like(text)
    (back,) = torch.autograd.grad(prediction, text, (residual / size).to(prediction.dtype))
    return back.to(text) * (size / residual.numel())


def _first_step(predict: Predict, trial: _Trial, gradient: Tensor, effort: Effort) -> Tensor:
    """Best step down the gradient, as far as one more pass tells of the prediction's change along it."""
    length = float(gradient.norm())
    if length == 0.0:
        return torch.zeros_like(gradient)
    residual = trial.residual
    probe = PROBE_LENGTH * max(float(trial.text.norm()), 1.0) / length
    with torch.no_grad():
        change = (predict(trial.text - probe * gradient).to(residual) - trial.prediction) / probe
    effort.forward += residual.shape[0]
    square = float((change**2).sum())
    return -gradient * (max(0.0, -float((residual * change).sum())) / square if square else 0.0)


def _part_kept(gradient: Tensor, move: Tensor, rise: float) -> float:
    """Part of a step that went too far to keep: at the minimum of the parabola through what is known of it.

    gradient: where the step began; rise: of the error over the whole step, > 0
    """
    slope = 2 * float((gradient * move).sum())
    bend = rise - slope
    return min(max(-slope / (2 * bend), SHORTEST_PART), LONGEST_PART) if bend > 0 else SHORTEST_PART
