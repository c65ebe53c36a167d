"""Models whose answers are known in closed form: Gaussian data, mixtures of Gaussians, and guidance between them.

Data of the component k is N(mean_k, std^2) in every direction. With x = a x0 + sigma eps (a = 1 in VE scale, 1 - sigma
for flow models) a noisy latent of it is N(a mean_k, V) with V = a^2 std^2 + sigma^2, so that

    E[x0 | x, k] = mean_k + a std^2 / V (x - a mean_k),       p(k | x) ~ exp(-|x - a mean_k|^2 / 2V)

and the exact path of the probability flow of one component keeps (x - a mean) / sqrt(V) constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

Denoise = Callable[[Tensor, float], Tensor]
KINDS = ("ve", "flow")


def noise(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Unit noise of its own stream."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def signal(sigma: float, kind: str) -> float:
    """The share of x0 in x."""
    return 1 - sigma if kind == "flow" else 1.0


def alpha_bar(sigma: float) -> float:
    """The papers' signal share of a VE noise level."""
    return 1 / (1 + sigma * sigma)


@dataclass(frozen=True)
class Mixture:
    """Exact denoiser of equally likely Gaussians, on the shape of one sample.

    means: [K, C, ...]; std: the same for all components
    """

    means: Tensor
    std: float
    kind: str = "ve"

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        a = signal(sigma, self.kind)
        variance = a**2 * self.std**2 + sigma**2
        means = self.means.to(x)
        off = x[:, None] - a * means
        if len(means) == 1:
            return means + a * self.std**2 / variance * off[:, 0]
        share = (-(off**2).flatten(2).sum(2) / (2 * variance)).softmax(dim=1)
        each = means + a * self.std**2 / variance * off
        return (share.reshape(*share.shape, *[1] * (x.ndim - 1)) * each).sum(1)

    def log_density(self, x: Tensor, sigma: float) -> Tensor:
        """Of noisy latents, up to a constant: [B]."""
        a = signal(sigma, self.kind)
        variance = a**2 * self.std**2 + sigma**2
        return (-((x[:, None] - a * self.means) ** 2).flatten(2).sum(2) / (2 * variance)).logsumexp(dim=1)

    def carried(self, x: Tensor, sigma: float, to: float) -> Tensor:
        """Where the probability flow takes x, exactly; one component only."""
        (mean,) = self.means
        a, b = signal(sigma, self.kind), signal(to, self.kind)
        return b * mean + (x - a * mean) * math.sqrt((b**2 * self.std**2 + to**2) / (a**2 * self.std**2 + sigma**2))


def gaussian(std: float, kind: str = "ve", shape: Sequence[int] = (4, 4, 4), seed: int = 5) -> Mixture:
    """One component."""
    return Mixture(noise(seed, 1, *shape), std, kind)


def mixture(kind: str = "ve", shape: Sequence[int] = (4, 4, 4), std: float = 0.5, seed: int = 6) -> Mixture:
    """Three components that merge and part along the schedule: a denoiser that is not linear."""
    return Mixture(0.3 * noise(seed, 3, *shape), std, kind)


def guided(cond: Denoise, uncond: Denoise, cfg: float) -> Denoise:
    """Classifier-free guidance."""

    def denoise(x: Tensor, sigma: float) -> Tensor:
        negative = uncond(x, sigma)
        return negative + cfg * (cond(x, sigma) - negative)

    return denoise


def guided_mixture(cfg: float, kind: str = "ve", shape: Sequence[int] = (4, 4, 4)) -> Denoise:
    """Guidance towards one component of a mixture, away from the mixture."""
    whole = mixture(kind, shape)
    return guided(Mixture(whole.means[:1], whole.std, kind), whole, cfg)


def in_float32(denoise: Denoise) -> Denoise:
    """What a network in single precision makes of it: rounded input, rounded arithmetic, rounded answer."""
    return lambda x, sigma: denoise(x.float(), sigma).to(x.dtype)


@dataclass
class Recorded:
    """A denoiser that remembers its calls."""

    denoise: Denoise
    sigmas: list[float] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        assert sigma > 0, "a model has no direction at sigma 0"
        self.sigmas.append(sigma)
        self.inputs.append(x.clone())
        return self.denoise(x, sigma)


def sd15_alpha_bar() -> np.ndarray:
    """[1000] the training schedule of Stable Diffusion 1.5, in numpy."""
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def sd15_sigmas(steps: int = 50, last: float = 0.0) -> list[float]:
    """ComfyUI's ddim_uniform for a number of steps that divides 1000: timesteps 981, 961 .. 1, then `last`."""
    kept = sd15_alpha_bar()[1 :: 1000 // steps]
    return [*np.sqrt((1 - kept) / kept)[::-1].tolist(), last]


def even_sigmas(steps: int, first: float, last: float = 0.0) -> list[float]:
    """Equal steps."""
    return np.linspace(first, last, steps + 1).tolist()


def bent_sigmas(steps: int, first: float) -> list[float]:
    """Steps that grow smoothly towards noise, to 0."""
    return (first * np.linspace(1, 0, steps + 1) ** 1.5).tolist()


def sigmas_for(kind: str, steps: int = 50) -> list[float]:
    """A usual schedule: SD1.5's, or a flow model's from pure noise."""
    return even_sigmas(steps, 1.0) if kind == "flow" else sd15_sigmas(steps)


def orders(errors: Sequence[float]) -> list[float]:
    """The slopes of errors whose step length is halved from one to the next."""
    return [math.log2(before / after) for before, after in zip(errors, errors[1:], strict=False)]


def distance(x: Tensor, reference: Tensor) -> float:
    """Relative L2 distance."""
    return float((x - reference).norm() / reference.norm())
