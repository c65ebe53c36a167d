"""Differences between images or latents: MSE, PSNR, SSIM, relative error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_finite, require_floats, require_same_shape
from ..precision import widened
from ..wording import size_text

# Wang et al. 2004: an 11x11 Gaussian window of standard deviation 1.5 pixels, C = (K * range)^2, range 1 here.
SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_SSIM_C1 = 0.01**2
_SSIM_C2 = 0.03**2


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error of each pair of images.

    a, b:    [B, H, W, C] floats on 0..1, compared as they are: neither clamped nor rounded to 8 bits. An alpha
             channel counts like any other; leave it out before
    returns: [B], float64 on the CPU: numbers for a report, one per image, that carry no gradient
    raises:  ValueError for another rank or type, different shapes, no values, NaN or infinity
    """
    _require_images("mse", a, b)
    return _per_sample(_mse, a, b)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair of images, 10 log10(1 / MSE) for the range 1.

    a, b:    see `mse`
    returns: [B], dB, float64 on the CPU. Equal images give infinity: callers write "identical" in its place
             in a text and null in JSON, leave such images out of a mean and say how many they were. Average
             the decibels of images, and never take the PSNR of an averaged MSE, which the worst image dominates
    raises:  see `mse`
    """
    _require_images("psnr", a, b)
    return 10.0 * _per_sample(_mse, a, b).reciprocal().log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each pair of images: 1 for equal ones, around 0 for unrelated ones.

    a, b:    see `mse`; at least 11 pixels high and wide
    returns: [B], float64 on the CPU: mean over the channels and over the positions where the whole window lies
             inside the image
    raises:  see `mse`; ValueError for smaller images
    source:  Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to structural
             similarity (IEEE TIP 2004), equation 13 with K1 0.01, K2 0.03, 11x11 Gaussian window of sigma 1.5
             and range 1. The paper scores grey images at their own size: here each channel is scored and
             the mean taken, and nothing is scaled down first
    """
    _require_images("ssim", a, b)
    if min(a.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(
            f"ssim: a and b must be at least {SSIM_WINDOW} pixels high and wide, the size of its "
            f"window, got {size_text(a.shape[1:3])}; compare larger images"
        )
    return _per_sample(_ssim, a, b)


def relative_error(x: Tensor, reference: Tensor) -> Tensor:
    """Relative L2 error of each sample: the length of its difference over the length of its reference.

    x, reference: [B, ...], same shape, in the same scale
    returns:      [B], float64 on the CPU. A reference of zeros gives 0 where x is zeros also, else infinity
    raises:       ValueError for different shapes, no batch dimension, NaN or infinity
    """
    require_same_shape("relative_error", x=x, reference=reference)
    if x.ndim == 0:
        raise ValueError(
            "relative_error: x and reference need a batch dimension, got single numbers; put them into tensors [B, ...]"
        )
    require_finite("relative_error: x", x)
    require_finite("relative_error: reference", reference)
    return _per_sample(_relative_error, x, reference)


def _per_sample(measure: Callable[[Tensor, Tensor], float], a: Tensor, b: Tensor) -> Tensor:
    """Measures [B] samples one at a time, so that no number depends on the others and one float64 copy is enough."""
    pairs = zip(a.detach(), b.detach(), strict=True)
    return torch.tensor([measure(widened(x), widened(y)) for x, y in pairs], dtype=torch.float64)


def _mse(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().mean())


def _ssim(a: Tensor, b: Tensor) -> float:
    """Mean over the channels of images [H, W, C], channel by channel, which needs a third of the memory."""
    channels = [_ssim_channel(x, y) for x, y in zip(a.unbind(-1), b.unbind(-1), strict=True)]
    return math.fsum(channels) / len(channels)


def _ssim_channel(a: Tensor, b: Tensor) -> float:
    mean_a, mean_b, square_a, square_b, product = _windowed(torch.stack([a, b, a * a, b * b, a * b]))
    variance_a, variance_b = square_a - mean_a * mean_a, square_b - mean_b * mean_b
    covariance = product - mean_a * mean_b
    similarity = (
        (2 * mean_a * mean_b + _SSIM_C1)
        * (2 * covariance + _SSIM_C2)
        / ((mean_a * mean_a + mean_b * mean_b + _SSIM_C1) * (variance_a + variance_b + _SSIM_C2))
    )
    return float(similarity.mean())


def _windowed(x: Tensor) -> Tensor:
    """Gaussian means [K, H - 10, W - 10] of [K, H, W]: sums of slices, since float64 convolutions are slower."""
    half = SSIM_WINDOW // 2
    window = [math.exp(-0.5 * (i / _SSIM_SIGMA) ** 2) for i in range(-half, half + 1)]
    for axis in (1, 2):
        size = x.shape[axis] - 2 * half
        total = torch.zeros_like(x.narrow(axis, 0, size))
        for i, weight in enumerate(window):
            total.add_(x.narrow(axis, i, size), alpha=weight / sum(window))
        x = total
    return x


def _relative_error(x: Tensor, reference: Tensor) -> float:
    difference, length = float((x - reference).norm()), float(reference.norm())
    if length == 0:
        return math.inf if difference else 0.0
    return difference / length


def _require_images(what: str, a: Tensor, b: Tensor) -> None:
    require_same_shape(what, a=a, b=b)
    if a.ndim != 4 or a[:1].numel() == 0:
        raise ValueError(
            f"{what}: a and b must be batches of images [B, H, W, C], got the sizes "
            f"{tuple(a.shape)}; add the batch dimension, or give images that have pixels"
        )
    for name, images in (("a", a), ("b", b)):
        require_floats(f"{what}: {name}", images, "divide 8-bit images by 255")
        require_finite(f"{what}: {name}", images)


@dataclass(frozen=True)
class PictureQuality:
    """Mean squared error, PSNR (dB, infinity for equal images) and SSIM of one image and another; range 0..1."""

    mse: float
    psnr: float
    ssim: float
