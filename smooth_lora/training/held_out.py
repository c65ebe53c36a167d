"""The base loss on held-out images: with the same noises and sigmas at every check."""

from __future__ import annotations

import torch

from ..sampling.scale import Scale
from .draws import draw_row
from .estimators import TrainingSample, base_loss, base_share
from .loop import DenoiserFor, TrainingData

NOISE_SEED = 0  # a check must not change with the training's seed
ROWS_PER_CALL = 16
CHECK_ROWS = 256  # noisy images of a check at least: the loss of a single one varies too much


@torch.no_grad()
def held_out_loss(denoiser_for: DenoiserFor, data: TrainingData, scale: Scale, *, v_prediction: bool = False) -> float:
    """Mean base loss over the images, each repeated until there are CHECK_ROWS rows.

    The rows' sigmas are spread evenly over the table.
    denoiser_for: conditioned on the images' own prompts, none of them left empty
    """
    images, levels = len(data.latents), len(data.sigmas)
    rows = images * max(1, -(-CHECK_ROWS // images))
    # A fixed shuffle, so that no image is seen at neighbouring sigmas alone.
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(NOISE_SEED)).tolist()
    total = 0.0
    for bucket in _buckets(data, rows):
        for first in range(0, len(bucket), ROWS_PER_CALL):
            batch = bucket[first : first + ROWS_PER_CALL]
            sample = _sample(data, scale, v_prediction, batch, [order[row] * levels // rows for row in batch])
            denoise = denoiser_for([row % images for row in batch], [False] * len(batch), may_round=False)
            losses = base_loss(denoise(sample.noisy(scale), sample.sigma), sample)
            total += float(losses.cpu().double().sum())
    return total / rows


def _buckets(data: TrainingData, rows: int) -> list[list[int]]:
    """Groups the rows by size of image."""
    sizes: dict[tuple[int, ...], list[int]] = {}
    for row in range(rows):
        sizes.setdefault(tuple(data.latents[row % len(data.latents)].shape), []).append(row)
    return list(sizes.values())


def _sample(data: TrainingData, scale: Scale, v_prediction: bool, rows: list[int], levels: list[int]) -> TrainingSample:
    """Noises the images of some rows at the sigmas of these indices."""
    x0 = torch.stack([data.latents[row % len(data.latents)] for row in rows])
    draws = [draw_row(NOISE_SEED, row, x0.shape[1:], levels=1, empty_share=0.0) for row in rows]
    eps = torch.stack([row.eps for row in draws]).to(x0)
    sigma = data.sigmas.double()[levels]
    return TrainingSample(x0, eps, sigma, eps, base_share(sigma, scale, v_prediction))
