"""A small network with low-rank additions, as a denoiser of either scale."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from smooth_lora.sampling.scale import Scale

CHANNELS = 4


class Toy(nn.Module):
    """Convolutions, a norm and attention by plain matrix products, with low-rank additions that alone are trained."""

    def __init__(self, dtype: torch.dtype = torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.inward, self.outward = nn.Conv2d(CHANNELS, 16, 3, padding=1), nn.Conv2d(16, CHANNELS, 3, padding=1)
        self.norm, self.qkv = nn.GroupNorm(4, 16), nn.Linear(16, 48)
        self.requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(2, 16) / 2), nn.Parameter(torch.randn(48, 2) / 4)
        self.to(dtype)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        hidden = self.norm(self.inward(x) + level[:, None, None, None])
        rows = hidden.flatten(2).transpose(1, 2)
        q, k, v = (self.qkv(rows) + rows @ self.down.t() @ self.up.t()).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) / 4).exp()  # torch's own softmax has no forward rule that records gradients
        seen = weights / weights.sum(dim=-1, keepdim=True) @ v
        return self.outward(torch.tanh(rows + seen).transpose(1, 2).reshape(hidden.shape))


def denoiser(net: nn.Module, scale: Scale) -> Callable[[Tensor, Tensor], Tensor]:
    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        stretch = torch.tensor([scale.stretch(float(s)) for s in sigma]).to(x)[:, None, None, None]
        return x - sigma.to(x)[:, None, None, None] * net(x / stretch, sigma.to(x).log())

    return denoise
