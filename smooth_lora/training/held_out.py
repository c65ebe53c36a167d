"""The base loss on pictures that are not trained on: the same noises and noise levels at every check."""

from __future__ import annotations

import torch

from ..sampling.scale import Scale
from .draws import draw
from .estimators import Sample, base_loss, base_share
from .loop import Data, DenoiserFor

SEED = 0  # of the noises: a check must not change with the training's seed
PER_CALL = 16
ROWS = 256  # noisy pictures of a check at least: one of them says little


@torch.no_grad()
def held_out_loss(denoiser_for: DenoiserFor, data: Data, scale: Scale, *, v_prediction: bool = False) -> float:
    """Mean base loss over the pictures, each as often as it takes to have ROWS rows, with the noise levels spread
    evenly over the table.

    denoiser_for: guided by the pictures' own texts, none of them left empty
    """
    pictures, levels = len(data.latents), len(data.sigmas)
    rows = pictures * max(1, -(-ROWS // pictures))
    # A fixed shuffle, so that no picture is seen at neighbouring levels alone.
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(SEED)).tolist()
    total = 0.0
    for bucket in _buckets(data, rows):
        for first in range(0, len(bucket), PER_CALL):
            total += _sum_of_losses(
                denoiser_for,
                data,
                scale,
                v_prediction,
                bucket[first : first + PER_CALL],
                [order[row] * levels // rows for row in bucket[first : first + PER_CALL]],
            )
    return total / rows


def _buckets(data: Data, rows: int) -> list[list[int]]:
    """The rows by size of picture."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for row in range(rows):
        sizes.setdefault(tuple(data.latents[row % len(data.latents)].shape), []).append(row)
    return list(sizes.values())


def _sum_of_losses(
    denoiser_for: DenoiserFor, data: Data, scale: Scale, v_prediction: bool, rows: list[int], levels: list[int]
) -> float:
    places = [row % len(data.latents) for row in rows]
    x0 = torch.stack([data.latents[place] for place in places])
    eps = torch.stack([draw(SEED, row, x0.shape[1:], 1, 0.0).eps for row in rows]).to(x0)
    sigma = data.sigmas.double()[levels]
    sample = Sample(x0, eps, sigma, eps, base_share(sigma, scale, v_prediction))
    denoised = denoiser_for(places, [False] * len(rows))(sample.noisy(scale), sigma)
    return float(base_loss(denoised, sample).cpu().double().sum())
