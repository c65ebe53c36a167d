"""The contract between methods and networks: a denoiser, and a listener that hears of each step."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Denoise(Protocol):
    """A denoiser, guidance and text included: x [B, ...] and one sigma > 0 -> denoised [B, ...].

    Sample b of it depends on sample b alone.
    """

    def __call__(self, x: Tensor, sigma: float, /) -> Tensor: ...


class DenoiseRows(Protocol):
    """A denoiser whose rows have sigmas of their own: x [B, ...] and sigma [B] -> denoised [B, ...]."""

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor: ...


class OnStep(Protocol):
    """Called after each step with its number from 0, the x it arrived at and denoised; it may raise to stop."""

    def __call__(self, step: int, x: Tensor, denoised: Tensor, /) -> None: ...


def eps_of(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """Direction dx/dsigma of the probability flow: the noise in x for VE scale, the velocity for flow models.

    x, denoised: [B, ...]; sigma: > 0
    source:  DDIM, arXiv 2010.02502 eq. 12 (eps_theta) in sigma; rectified flow, arXiv 2209.03003 eq. 1
    """
    return (x - denoised) / sigma


def notify(on_step: OnStep | None, step: int, x: Tensor, denoised: Tensor) -> None:
    """Calls on_step, if there is one."""
    if on_step is not None:
        on_step(step, x, denoised)
