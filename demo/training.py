"""Shared by the three training stages."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
TORCH_LAYERS = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)
TIMESTEPS, BANDS = 1000, 5  # losses are logged in bands of 200 timesteps


def reset_parameters(module: Module) -> Module:
    """Give a host network torch's own initial weights: the host's layers leave their memory unset."""
    for layer in module.modules():
        kind = next((kind for kind in TORCH_LAYERS if isinstance(layer, kind)), None)
        if kind is not None:
            kind.reset_parameters(layer)
    return module


def cosine_lr(step: int, steps: int, peak: float, *, warmup: int, floor: float = 0.02) -> float:
    """Learning rate of one step: linear warm-up, then half a cosine down to floor * peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))


def save_atomically(state: object, path: Path) -> None:
    """torch.save, then one move: a crash leaves the older file whole."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


class Ema:
    """Exponential moving average of a network's weights, quick to forget the first steps."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.weights = {name: weight.detach().clone() for name, weight in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's present weights."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        for name, weight in network.state_dict().items():
            self.weights[name].lerp_(weight, 1 - decay)


class LossLog:
    """Mean loss per band of timesteps, one row every few steps."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self._losses: list[Tensor] = []
        self._bands: list[Tensor] = []

    def add(self, losses: Tensor, t: Tensor) -> None:
        """Take the per-sample losses [B] at timesteps t [B]."""
        self._losses.append(losses)
        self._bands.append(t * BANDS // TIMESTEPS)

    def _means(self) -> list[float]:
        losses, bands = torch.cat(self._losses), torch.cat(self._bands)
        chosen = [losses[bands == band] for band in range(BANDS)]
        return [losses.mean().item(), *(part.mean().item() if len(part) else math.nan for part in chosen)]

    def recent(self) -> str:
        """The running row in words: overall, then by band."""
        overall, *bands = self._means()
        return f"loss {overall:.4f} by t band " + " ".join(f"{value:.3f}" for value in bands)

    def close_row(self, step: int) -> None:
        """File the running row under `step` and start the next."""
        self.rows.append([float(step), *(round(value, 5) for value in self._means())])
        self._losses, self._bands = [], []
