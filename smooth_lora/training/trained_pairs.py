"""LoRA pairs that are being trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .draws import generator_for


@dataclass(frozen=True)
class TrainedPair:
    """The two matrices of one layer, float32; at first up is 0, so that training starts from the unchanged model.

    down: [rank, in, ...], up: [out, rank, ...], as in `LoraPair`, without alpha, so with scale 1
    """

    down: nn.Parameter
    up: nn.Parameter


def new_pairs(weights: Mapping[str, Sequence[int]], rank: int, seed: int) -> dict[str, TrainedPair]:
    """Makes untrained pairs.

    weights: shape [out, in, ...] of each layer's weight, by its name
    returns: by the same names; a layer smaller than the rank gets the largest rank that fits it; a layer's start
             depends on the seed and its name alone
    raises:  ValueError naming the largest layer if the rank is larger than all of them
    source:  LoRA, arXiv 2106.09685 section 4.1; down with standard deviation 1 / rank and no alpha, as in the published
             training script
    """
    room = {name: min(shape[0], math.prod(shape[1:])) for name, shape in weights.items()}
    largest = max(room, key=room.__getitem__)
    if not 1 <= rank <= room[largest]:
        raise ValueError(
            f"rank is {rank}, but the layer {largest} [{', '.join(map(str, weights[largest]))}], the "
            f"largest, has room for {room[largest]} at most; give a rank from 1 to {room[largest]}"
        )
    pairs = {}
    for name, shape in weights.items():
        layer_rank = min(rank, room[name])
        generator = generator_for(seed, "pair", name)
        down = torch.randn(layer_rank, *shape[1:], generator=generator) / layer_rank
        up = torch.zeros(shape[0], layer_rank, *[1] * (len(shape) - 2))
        pairs[name] = TrainedPair(nn.Parameter(down), nn.Parameter(up))
    return pairs


def named_weights(pairs: Mapping[str, TrainedPair]) -> dict[str, Tensor]:
    """Returns all matrices by name, in a fixed order."""
    return {f"{name}.{role}": getattr(pair, role) for name, pair in pairs.items() for role in ("down", "up")}
