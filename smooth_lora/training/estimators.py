"""Estimators of the gradient of the smooth training loss, with and without differentiating twice.

    loss = mean(share * mean((denoised - x0)^2)) + weight * mean((r - mean_r)^2)

with r the step-wise variation (see `variation`), one r per sample, and share the base loss's weight at each sigma.
r is a length, r = |g| with g = c J^T n, J the Jacobian of the denoiser by x. With u = g / |g| held fixed

    d r / d theta = d / d theta  c <n, J u>        (because the derivative of |g| by g is u)

and J u is a directional derivative of the denoiser along u, which needs no second derivative: a central difference of
two ordinary calls, or forward-mode differentiation of one. Three estimators give the same gradient:

    exact        double backward through the denoiser; fused attention cannot do it
    first_order  central difference, error O(step^2); ordinary calls only, one graph in memory at a time
    forward      forward mode; exact as well, but every operation of the denoiser needs a forward rule
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from ..sampling.denoise import DenoiseRows
from ..sampling.scale import Scale, per_sample, sample_norm
from .variation import factor_of_r, require_gradients, stretches, variation_penalty

ESTIMATORS = ("first_order", "exact", "forward")
SMALLEST_R = 1e-12  # below it, r has no direction, and its sample no regularisation
# Steps of the central difference, in root-mean-square change of the network's input: a balance of truncation,
# which grows with the square of the step, and rounding, which grows with its inverse. A trained network is steep along
# u (it chooses between images there): on the demo checkpoint 2e-3 leaves 3 % of the gradient and more. Half precision
# cannot take steps that small: with these it gets even the direction wrong (benchmarks/gradient.py).
DIFFERENCE_STEPS = {torch.float64: 2e-7, torch.float32: 6e-5, torch.float16: 3e-2, torch.bfloat16: 1e-1}
# Between these values of sigma / signal the steps widen with its square: little is left there for the network to
# choose, it turns smooth, and the difference of two results drowns in rounding.
WIDE_FROM, WIDE_TO = 6.0, 15.0


@dataclass(frozen=True)
class TrainingSample:
    """A batch of training samples.

    x0:    [B, ...] clean latents in model units
    eps:   [B, ...] the noise that is added
    sigma: [B] noise std, > 0, float64 like share, and like it on the CPU: other devices may have no float64
    probe: [B, ...] standard normal noise of the regulariser, independent of eps
    share: [B] the base loss's weight of (denoised - x0)^2: 1 / sigma^2 makes it the eps loss of eps-prediction and the
           velocity loss of flow models, see `base_share`
    """

    x0: Tensor
    eps: Tensor
    sigma: Tensor
    probe: Tensor
    share: Tensor

    def noisy(self, scale: Scale) -> Tensor:
        """Noisy latents [B, ...]: x = signal * x0 + sigma * eps."""
        signal = torch.tensor([scale.signal(float(sigma)) for sigma in self.sigma], dtype=torch.float64)
        return per_sample(signal, self.x0) * self.x0 + per_sample(self.sigma, self.x0) * self.eps


@dataclass(frozen=True)
class Losses:
    """Losses of one batch, without a graph.

    base: [B] each sample's base loss; r: [B] each sample's variation; penalty: scalar, mean((r - mean_r)^2)
    slip: [B] relative error of first_order's difference as an estimate of the derivative, |difference / r - 1|: r is
          that derivative, so the check costs nothing. 0 for the other estimators, which take no difference
    """

    base: Tensor
    r: Tensor
    penalty: Tensor
    slip: Tensor


def base_share(sigma: Tensor, scale: Scale, v_prediction: bool = False) -> Tensor:
    """Weight that turns (denoised - x0)^2 into the loss that a model was trained with.

    sigma:        [B], > 0
    v_prediction: True if the network predicts v = sqrt(alpha_bar) * eps - sqrt(1 - alpha_bar) * x0
    returns:      [B] 1 / sigma^2 for eps-prediction and flow; stretch^2 / sigma^2 for v-prediction
    source:       eps_hat - eps = (x0 - x0_hat) / sigma in VE scale, and the velocity of x = (1 - sigma) x0 + sigma eps
                  likewise; v: arXiv 2202.00512 appendix D
    """
    share: Tensor = 1 / sigma.double() ** 2
    if v_prediction:
        share = share * stretches(sigma, scale) ** 2
    return share


def base_loss(denoised: Tensor, sample: TrainingSample) -> Tensor:
    """Base loss [B]: each sample's mean of share * (denoised - x0)^2."""
    loss: Tensor = ((denoised - sample.x0) ** 2).flatten(1).mean(dim=1) * sample.share.to(sample.x0)
    return loss


def accumulate(
    estimator: str,
    denoise: DenoiseRows,
    sample: TrainingSample,
    scale: Scale,
    *,
    weight: float,
    mean_of: Callable[[Tensor], Tensor],
    part: float = 1.0,
    step: float | None = None,
) -> Losses:
    """Adds the gradient of part * loss to the .grad of every parameter that the denoiser depends on.

    estimator: one of ESTIMATORS
    denoise:   (x [B, ...], sigma [B]) -> denoised [B, ...], differentiable by x and by its parameters; sample b of it
               depends on sample b alone
    weight:    of the regulariser; 0 leaves it out, and then one call is made and r is not measured (NaN)
    mean_of:   r [B] without a graph -> the running mean that it is compared with, this batch included
    part:      of the loss, 1 / accumulation steps
    step:      of the central difference, see `difference_steps`; None takes the one for the type of x0
    returns:   the losses, not multiplied by part
    raises:    ValueError for an unknown estimator, if gradients are off, or if forward cannot differentiate the
               denoiser; what the denoiser raises
    source:    arXiv 2312.04410 eq. 9 and 10. The first-order and forward estimators are our own. Deviations from the
               published training script: the running mean is held constant in the penalty (there the newest batch's
               share of it carries a gradient)
    """
    require_gradients("accumulate")
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be {', '.join(ESTIMATORS[:-1])} or {ESTIMATORS[-1]}, got {estimator!r}")
    if not weight:
        return _base_only(denoise, sample, scale, part)
    run = {"exact": _exact, "first_order": _first_order, "forward": _forward}[estimator]
    return run(denoise, sample, scale, _Objective(weight, mean_of, part, step))


@dataclass(frozen=True)
class _Objective:
    """The loss that an estimator differentiates; fields as in `accumulate`."""

    weight: float
    mean_of: Callable[[Tensor], Tensor]
    part: float
    step: float | None


def _base_only(denoise: DenoiseRows, sample: TrainingSample, scale: Scale, part: float) -> Losses:
    base = base_loss(denoise(sample.noisy(scale), sample.sigma), sample)
    torch.autograd.backward(base.mean() * part)
    nothing = torch.full_like(base.detach(), torch.nan)
    return Losses(base.detach(), nothing, nothing.mean(), nothing)


def _exact(denoise: DenoiseRows, sample: TrainingSample, scale: Scale, objective: _Objective) -> Losses:
    denoised, g = _denoised_and_g(denoise, sample, scale, create_graph=True)
    r, base = sample_norm(g), base_loss(denoised, sample)
    penalty = variation_penalty(r, objective.mean_of(r.detach()))
    torch.autograd.backward((base.mean() + objective.weight * penalty) * objective.part)
    return Losses(base.detach(), r.detach(), penalty.detach(), torch.zeros_like(r))


def _first_order(denoise: DenoiseRows, sample: TrainingSample, scale: Scale, objective: _Objective) -> Losses:
    """Adds the gradient by a central difference along u of two ordinary calls.

    source: our own; derived in the module
    """
    ready = _prepared(denoise, sample, scale, objective)
    losses, u = ready.losses, ready.u
    step = DIFFERENCE_STEPS[sample.x0.dtype] if objective.step is None else objective.step
    # In x, which is stretch times what the network sees.
    length = difference_steps(step, sample.sigma, scale) * stretches(sample.sigma, scale) * sample.x0[0].numel() ** 0.5
    moved = per_sample(length, u) * u
    difference = torch.zeros_like(u, dtype=torch.promote_types(u.dtype, torch.float32))
    for sign in (1.0, -1.0):
        denoised = denoise(sample.noisy(scale) + sign * moved, sample.sigma)
        # The base loss has no call of its own: the mean of its gradients at both ends is the one in the middle, up to
        # the square of the step.
        pull = ready.by_tangent * (sign / 2) / per_sample(length, u) + ready.by_denoised / 2
        torch.autograd.backward(denoised, pull.to(denoised.dtype))
        difference += sign * denoised.detach()
    along = (difference * sample.probe).flatten(1).sum(dim=1)
    estimate = along * (factor_of_r(sample.sigma, sample.x0, scale) / (2 * length)).to(along)
    return replace(losses, slip=torch.where(losses.r > SMALLEST_R, (estimate / losses.r - 1).abs(), 0.0).to(losses.r))


def difference_steps(step: float, sigma: Tensor, scale: Scale) -> Tensor:
    """Steps [B] of the central difference at each sigma.

    step: at small sigmas; sigma: [B], see WIDE_FROM for the large ones
    """
    signal = torch.tensor([scale.signal(float(level)) for level in sigma], dtype=sigma.dtype)
    steps: Tensor = step * ((sigma / signal).clamp(WIDE_FROM, WIDE_TO) / WIDE_FROM) ** 2
    return steps


def _forward(denoise: DenoiseRows, sample: TrainingSample, scale: Scale, objective: _Objective) -> Losses:
    ready = _prepared(denoise, sample, scale, objective)
    try:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(sample.noisy(scale), ready.u)  # type: ignore[no-untyped-call]  # torch has none
            out = denoise(dual, sample.sigma)
            denoised, tangent = forward_ad.unpack_dual(out)  # type: ignore[no-untyped-call]  # torch has none
            total = (denoised * ready.by_denoised).sum() + (tangent * ready.by_tangent).sum()
        torch.autograd.backward(total)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # torch's own softmax, for one
        raise ValueError(
            "the estimator forward cannot differentiate this network, because torch has no such rule for "
            f"one of its operations ({str(error).splitlines()[0]}); choose first_order or "
            "exact"
        ) from error
    return ready.losses


@dataclass(frozen=True)
class _Prepared:
    """The losses, and what the gradient is made of.

    u: [B, ...] of length 1; by_tangent, by_denoised: gradients of part * loss by J u and by the denoised latents
    """

    losses: Losses
    u: Tensor
    by_tangent: Tensor
    by_denoised: Tensor


def _prepared(denoise: DenoiseRows, sample: TrainingSample, scale: Scale, objective: _Objective) -> _Prepared:
    denoised, g = _denoised_and_g(denoise, sample, scale, create_graph=False)
    denoised, r = denoised.detach(), sample_norm(g)
    mean_r, part, weight = objective.mean_of(r), objective.part, objective.weight
    u = g / per_sample(r.clamp(min=SMALLEST_R), g)
    by_r = torch.where(r > SMALLEST_R, part * weight * 2 / len(r) * (r - mean_r), 0.0)
    by_tangent = per_sample(by_r * factor_of_r(sample.sigma, sample.x0, scale).to(by_r), g) * sample.probe
    by_denoised = per_sample(part * 2 / len(r) * sample.share, g) * (denoised - sample.x0) / g[0].numel()
    losses = Losses(base_loss(denoised, sample), r, variation_penalty(r, mean_r), torch.zeros_like(r))
    return _Prepared(losses, u, by_tangent, by_denoised)


def _denoised_and_g(
    denoise: DenoiseRows, sample: TrainingSample, scale: Scale, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Returns denoised, and g [B, ...] whose lengths are r, from one call."""
    x = sample.noisy(scale).detach().requires_grad_()
    denoised = denoise(x, sample.sigma)
    (gradient,) = torch.autograd.grad(denoised, x, sample.probe.to(denoised.dtype), create_graph=create_graph)
    return denoised, gradient * per_sample(factor_of_r(sample.sigma, x, scale), x)
