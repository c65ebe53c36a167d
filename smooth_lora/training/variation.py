"""Step-wise variation of a denoiser, the quantity that Smooth Diffusion (arXiv 2312.04410) makes constant.

A latent space is smooth when equally long steps in the noise move the predicted image equally far, wherever
they start. The paper measures that per training sample with one random projection of the Jacobian, and adds
the squared distance from its running mean to the training loss:

    r = | grad_eps <x0_hat, w> |,    w = sqrt(1 - alpha_bar) * n / sqrt(C*H*W),    n ~ N(0, I)
    loss = MSE(eps_hat, eps) + weight * mean((r - mean_r)^2)

Paper and code           here
x_t, epsilon             x in VE scale (x = x0 + sigma * eps), so the same gradient is taken by x and rescaled
sqrt(1 - alpha_bar)      sigma / sqrt(1 + sigma^2), which is sigma / stretch; for flow models sigma (our extension)
Delta x0_hat             w, built from `probe`
a (moving average)       mean_r

Everything here is differentiable twice if the denoiser is. Fused attention kernels are not: give the network
plain matrix-product attention, or take the gradient as `estimators` does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..sampling.denoise import DenoiseRows
from ..sampling.scale import Scale, per_sample

VE = Scale()
MEAN_RATE = 0.01  # share of the newest batch in the running mean, as published


def step_variation(
    denoise: DenoiseRows, x: Tensor, sigma: Tensor, probe: Tensor, *, scale: Scale = VE
) -> tuple[Tensor, Tensor]:
    """Denoises once and returns the step-wise variation, sharing the forward pass.

    denoise: (x [B, ...], sigma [B]) -> x0 prediction [B, ...]; sample b of it must depend on sample b alone
    x:       [B, ...] noisy latents in model units, float32 or float64
    sigma:   [B] noise std in model units, > 0
    probe:   [B, ...] standard normal noise, fresh for every call
    scale:   of the model's noisy latents
    returns: the denoised latents [B, ...] and the variation r [B] >= 0, both part of the autograd graph
    raises:  ValueError if the shapes differ, or if gradients are off (ComfyUI runs nodes in inference mode)
    source:  arXiv 2312.04410, the regulariser of eq. 9. With J the Jacobian of denoise by x,
             r = sigma^2 / stretch(sigma) * |J^T n| / sqrt(CHW). Deviation from the paper's text, shared
             with its published training script: n / sqrt(CHW) has length one in the mean only, not exactly
    """
    if x.shape != probe.shape:
        raise ValueError(
            f"step_variation: x and probe must have the same shape, got {tuple(x.shape)} and {tuple(probe.shape)}"
        )
    require_gradients("step_variation")
    x = x.detach().requires_grad_()
    denoised = denoise(x, sigma)
    (gradient,) = torch.autograd.grad(denoised, x, probe.to(denoised.dtype), create_graph=True)
    r: Tensor = (gradient * per_sample(factor_of_r(sigma, x, scale), x)).flatten(1).norm(dim=1)
    return denoised, r


def factor_of_r(sigma: Tensor, x: Tensor, scale: Scale) -> Tensor:
    """Factor [B] float64 from |J^T n| to r: sigma^2 / stretch(sigma) / sqrt(CHW)."""
    factor: Tensor = sigma.double() ** 2 / stretches(sigma, scale) / x[0].numel() ** 0.5
    return factor


def stretches(sigma: Tensor, scale: Scale) -> Tensor:
    """Ratio [B] float64 of each latent's length to that of the network's input."""
    return torch.tensor([scale.stretch(float(s)) for s in sigma], dtype=torch.float64, device=sigma.device)


def require_gradients(who: str) -> None:
    """Refuses to work where torch records no gradients.

    raises: ValueError
    """
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise ValueError(f"{who}: gradients are off; call it under torch.inference_mode(False) and torch.enable_grad()")


def updated_mean(mean_r: Tensor | None, r: Tensor, rate: float = MEAN_RATE) -> Tensor:
    """The running mean of r after one more batch.

    mean_r:  the mean so far, or None before the first batch
    r:       [B] variations of the new batch
    rate:    share of the new batch, 0 < rate <= 1
    returns: a scalar, detached from the graph
    raises:  ValueError if rate is out of range
    source:  arXiv 2312.04410, the moving average in the regulariser. Deviations from the published training
             script: it starts at the first batch's mean (there at 0, which first pulls every r towards 0),
             and it is detached (there the newest batch's share of it carries a gradient)
    """
    if not 0 < rate <= 1:
        raise ValueError(f"updated_mean: rate must lie in (0, 1], got {rate}")
    batch_mean = r.detach().mean()
    return batch_mean if mean_r is None else mean_r + rate * (batch_mean - mean_r)


def variation_penalty(r: Tensor, mean_r: Tensor) -> Tensor:
    """The regulariser: mean squared distance of the variations from their running mean.

    r: [B]; mean_r: scalar
    returns: a scalar, 0 where every sample varies alike
    source:  arXiv 2312.04410 eq. 9
    """
    return ((r - mean_r) ** 2).mean()
