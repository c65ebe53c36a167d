"""Measures of how white noise is, and a filter that brings it nearer to white."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import require_finite, require_floats, require_range
from ..precision import widened

# A channel that varies less than this, relative to its mean, holds only the rounding of float32.
_LEAST_VARIATION = 1e-6
# Standard deviation of the lag window as a share of the latent's side: each frequency is then averaged with
# about 80 neighbours, which is enough to leave the randomness of each, and few enough to follow a direction.
_LAG_SHARE = 1 / 16
# Frequencies below this share of the mean power hold rounding; they are not raised as if they held noise.
_POWER_FLOOR = 1e-6


@dataclass(frozen=True)
class Whiteness:
    """Statistics of one sample: 0, 1, 0 and 0 on average for white Gaussian noise.

    mean:      of all its values
    std:       population standard deviation of all its values
    kurtosis:  excess kurtosis of all its values: above 0 for heavy tails, -1.2 for an even spread
    neighbour: correlation of values one place apart in the same channel, -1..1, mean over the axes along
               which there are neighbours: above 0 for smooth noise. Opposite signs cancel: noise that is
               smooth along one axis and rough along another can have 0
    """

    mean: float
    std: float
    kurtosis: float
    neighbour: float


def whiteness(noise: Tensor) -> list[Whiteness]:
    """Measures how white the noise of each sample is, that of an inversion for example.

    noise:   [B, C, H, W] or [B, C, T, H, W], floats, divided by sigma first so that noise has std 1
    returns: B times Whiteness; for N independent values the standard errors of mean, std, kurtosis and
             neighbour are about 1, 0.7, 4.9 and (2-D) 0.7 times N^-0.5
    raises:  ValueError for another rank or type, NaN or infinity, or a sample whose channels are all constant
    source:  lag-1 autocorrelation with the mean of each channel taken out, mean product of neighbours over
             mean square, all channels of a sample together
    """
    _require_noise("whiteness", noise)
    return [_whiteness(widened(sample.detach()), i) for i, sample in enumerate(noise)]


def whiten(noise: Tensor, amount: float) -> Tensor:
    """Brings inverted noise nearer to white noise of mean 0 and standard deviation 1.

    noise:   [B, C, H, W] or [B, C, T, H, W], floats, divided by sigma first so that noise has std 1
    amount:  0 returns the values themselves; 1 gives each channel of each sample mean 0, standard deviation 1
             and a flat power spectrum. Between them the mean shrinks by 1 - amount, and the standard
             deviation and every frequency's amplitude are brought nearer to 1 by the power of amount
    returns: new tensor, computed in float64, dtype and device of noise
    raises:  ValueError for another rank or type, NaN or infinity, amount outside 0..1, or (amount above 0) a
             constant channel
    source:  our own. NoiseDiffusion (arXiv 2403.08840) observes that noise inverted from photos is not
             Gaussian, and that mixes of it make poor images; it clips the noise and adds fresh noise and
             the images themselves. Here nothing is added: the Fourier transform of each channel is divided
             by its smoothed amplitude, see `_smoothed_power`. Phases stay, and so does what sets one frequency
             apart from its neighbours: different images keep different noise, and white noise is hardly
             changed. The distribution of the values is not forced

    Whitened noise no longer leads back to its image: the larger amount, the less.

    What is left: frequencies that are missing altogether stay weak, and the transform takes opposite edges for
    neighbours. Noise that was strongly smooth along an axis (neighbours correlating by 0.8) keeps a correlation of
    about 0.02 over 64 pixels, but 0.15 over 8 frames of a video, whose first and last frame become nearly opposite.
    """
    _require_noise("whiten", noise)
    require_range("whiten: amount", amount, 0, 1)
    if amount == 0:
        return noise.clone()
    out = torch.empty_like(noise, memory_format=torch.contiguous_format)
    for i, sample in enumerate(noise):
        out[i] = _whitened(widened(sample), amount, i)
    return out


def _whiteness(sample: Tensor, index: int) -> Whiteness:
    """Measures one sample [C, (T,) H, W], float64."""
    if bool(_constant_channels(sample).all()):
        raise ValueError(
            f"whiteness: every channel of sample {index} has the same value everywhere, so it holds "
            "no noise to measure; invert a picture or draw noise first"
        )
    deviation = sample - sample.mean()
    variance = deviation.square().mean()
    return Whiteness(
        mean=float(sample.mean()),
        std=float(variance.sqrt()),
        kurtosis=float(deviation.pow(4).mean() / variance.square()) - 3.0,
        neighbour=_neighbour(sample - _channel_means(sample)),
    )


def _neighbour(deviation: Tensor) -> float:
    """Lag-1 autocorrelation of [C, ...] with zero mean per channel, mean over the axes longer than 1."""
    variance = deviation.square().mean()
    lags = []
    for axis, size in enumerate(deviation.shape[1:], 1):
        if size > 1:
            products = deviation.narrow(axis, 0, size - 1) * deviation.narrow(axis, 1, size - 1)
            lags.append(float(products.mean() / variance))
    return math.fsum(lags) / len(lags)


def _whitened(sample: Tensor, amount: float, index: int) -> Tensor:
    """Whitens one sample [C, (T,) H, W], float64."""
    constant = _constant_channels(sample).tolist()
    if any(constant):
        raise ValueError(
            f"whiten: channel {constant.index(True)} of sample {index} has the same value everywhere, "
            "so it holds no noise to whiten; invert a picture or draw noise first"
        )
    mean = _channel_means(sample)
    deviation = sample - mean
    axes = tuple(range(1, sample.ndim))
    spectrum = torch.fft.fftn(deviation, dim=axes)
    amplitude = _smoothed_power(spectrum.abs().square()).sqrt()
    flat = torch.fft.ifftn(spectrum / amplitude**amount, dim=axes).real
    whitened: Tensor = mean * (1 - amount) + flat * (_channel_std(deviation) ** (1 - amount) / _channel_std(flat))
    return whitened


def _smoothed_power(power: Tensor) -> Tensor:
    """Colour of noise: its power spectrum without the randomness of single frequencies, mean about 1.

    power:   [C, (T,) H, W], of noise with mean 0; T is not smoothed over, a video's few frames differ too much
    returns: same shape, positive. First the mean over rings of equal frequency, which follows the steep rise
             of photos towards frequency 0. What is left over the rings is averaged over neighbouring frequencies,
             which follows noise that differs in direction (rings alone leave noise that is smooth along one
             axis smooth along this axis, and rough along the other)
    source:  prewhitened spectral estimate with a Gaussian lag window (Blackman and Tukey 1958)
    """
    average = power.mean(dim=tuple(range(1, power.ndim)), keepdim=True)
    power = power / average
    # The mean was taken out: that there is no power at frequency 0 says nothing about its neighbours.
    at_zero: tuple[slice | int, ...] = (slice(None), *[0] * (power.ndim - 1))
    power[at_zero] = 1.0
    rings = _ring_means(power).clamp(min=_POWER_FLOOR)
    lags = torch.fft.ifftn(power / rings, dim=(-2, -1))
    left: Tensor = torch.fft.fftn(lags * _lag_window(power), dim=(-2, -1)).real
    return rings * left.clamp(min=_POWER_FLOOR)


def _ring_means(power: Tensor) -> Tensor:
    """Means of [..., H, W] over rings one frequency step of the shorter side wide, interpolated to [..., H, W]."""
    height, width = power.shape[-2:]
    down, across = (torch.fft.fftfreq(size, dtype=power.dtype, device=power.device) for size in (height, width))
    radius = torch.hypot(down[:, None], across) * min(height, width)  # [H, W]
    # Ring 0 is frequency 0 alone: the slow frequencies of a longer side belong to ring 1.
    radius = torch.where(radius > 0, radius.clamp(min=1), 0).flatten()
    inner = radius.floor().long()
    share = radius - inner  # of the next ring
    values = torch.cat([power.flatten(-2), torch.ones_like(power[:1]).flatten(-2)])  # the ones count the weights
    sums = values.new_zeros(*values.shape[:-1], int(inner.max()) + 2)
    sums.index_add_(-1, inner, values * (1 - share)).index_add_(-1, inner + 1, values * share)
    counts = sums[-1:]
    means = sums[:-1] / torch.where(counts > 0, counts, 1)
    return (means[..., inner] * (1 - share) + means[..., inner + 1] * share).reshape(power.shape)


def _lag_window(power: Tensor) -> Tensor:
    """Weights [H, W] of the lags, Gaussian: near ones describe the colour and far ones the randomness."""
    height, width = (torch.fft.fftfreq(size, dtype=power.dtype, device=power.device) for size in power.shape[-2:])
    return torch.exp(-0.5 * (torch.hypot(height[:, None], width) / _LAG_SHARE) ** 2)


def _channel_means(sample: Tensor) -> Tensor:
    return sample.mean(dim=tuple(range(1, sample.ndim)), keepdim=True)


def _channel_std(deviation: Tensor) -> Tensor:
    return _channel_means(deviation.square()).sqrt()


def _constant_channels(sample: Tensor) -> Tensor:
    """Marks the channels that are one value up to rounding: [C, ...] -> [C] bool."""
    mean = _channel_means(sample)
    return (_channel_std(sample - mean) <= _LEAST_VARIATION * mean.abs()).flatten()


def _require_noise(what: str, noise: Tensor) -> None:
    if noise.ndim not in (4, 5) or noise[:1].numel() == 0:
        raise ValueError(
            f"{what}: noise must be a latent [B, C, H, W] or [B, C, T, H, W], got the sizes "
            f"{tuple(noise.shape)}; give the samples of a latent"
        )
    require_floats(f"{what}: noise", noise, "convert it to float32")
    require_finite(f"{what}: noise", noise)
