"""Replays that are held to the inversion's own path: proximal guidance, and direct inversion's source row."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sampling.ddim import ddim_move
from ..sampling.denoise import Denoise, OnStep, eps_of, notify
from ..sampling.scale import per_sample


def proximal(change: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
    """Keep only the strong part of what guidance changes.

    change:   [B, ...] denoised with the wanted text minus denoised with the source text
    quantile: share of values, by size and per sample, that are dropped; 0 keeps all
    returns:  the kept change (the rest 0), and where it was kept, [B, ...] bool
    source:   ProxNPI, arXiv 2306.05414 eq. 9 with the hard threshold (l0); both published codes call a soft threshold
              l0. It acts on denoised instead of eps: the two differ by a factor, which a quantile does not see
    """
    size = change.abs().flatten(1)
    threshold = size.sort(dim=1).values[:, int(quantile * (size.shape[1] - 1))]
    kept = change.abs() > per_sample(threshold, change) if quantile > 0 else change != 0
    return torch.where(kept, change, torch.zeros_like(change)), kept


def dilated(mask: Tensor, radius: int = 1) -> Tensor:
    """A mask grown by some cells on its last two axes, the same in every channel.

    mask: [B, C, ..., H, W] bool
    """
    flat = mask.any(dim=1).reshape(-1, 1, *mask.shape[-2:]).float()
    grown = F.max_pool2d(flat, 2 * radius + 1, stride=1, padding=radius) > 0
    return grown.reshape(mask.shape[0], 1, *mask.shape[2:])


def replay_proximal(
    denoise: Denoise,
    x: Tensor,
    path: Tensor,
    sigmas: list[float],
    *,
    edited: Callable[[], Tensor],
    pull: float,
    pull_from: int,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDIM sampling that is pulled back to the inversion's path wherever the edit does not act.

    path:      [N + 1, B, ...] states of the inversion
    edited:    called after each model call: where guidance changed something, [B, ...] bool
    pull:      0 lets go, 1 puts the unedited part onto the path
    pull_from: first step that is pulled
    returns:   states [N + 1, B, ...]
    source:    ProxNPI, arXiv 2306.05414, inversion guidance (section 3.3), written for x in sigma, where the path is
               pulled by the same share
    """
    states = [x]
    for k, (sigma, to) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        denoised = denoise(states[-1], sigma)
        moved = ddim_move(states[-1], eps_of(states[-1], denoised, sigma), sigma, to)
        if k >= pull_from:
            moved = torch.where(dilated(edited()), moved, moved + pull * (path[k + 1] - moved))
        states.append(moved)
        notify(on_step, k, moved, denoised)
    return torch.stack(states)


def replay_direct(
    denoise: Denoise, x: Tensor, path: Tensor, source: Tensor, sigmas: list[float], on_step: OnStep | None = None
) -> Tensor:
    """DDIM sampling whose source rows are put back onto the inversion's path after every step.

    x:       [R, ...] at sigmas[0]: sources, and targets that start where their source does
    path:    [N + 1, R, ...] the path of every row's source
    source:  [R] bool, which rows are sources
    returns: states [N + 1, R, ...]; source rows are the path exactly, for any guidance
    source:  Direct Inversion, arXiv 2310.01506 algorithm 1: adding the distance to the path to the source row alone is
             putting that row onto it. The targets are plain DDIM unless the model lets them see the sources
    """
    states = [x]
    for k, (sigma, to) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        denoised = denoise(states[-1], sigma)
        moved = ddim_move(states[-1], eps_of(states[-1], denoised, sigma), sigma, to)
        states.append(torch.where(source.reshape(-1, *[1] * (x.ndim - 1)), path[k + 1], moved))
        notify(on_step, k, states[-1], denoised)
    return torch.stack(states)
