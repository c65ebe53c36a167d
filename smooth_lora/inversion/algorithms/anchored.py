"""Replays that are anchored to the inversion's own path: proximal guidance, and direct inversion's source row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...sampling.ddim import ddim_move
from ...sampling.denoise import Denoise, OnStep, eps_of, notify
from ...sampling.scale import per_sample
from ..contract import Guided, MethodSettings, ReplayTask, Setting, given

QUANTILE = Setting(
    "quantile",
    default=0.7,
    low=0.0,
    high=0.99,
    step=0.01,
    replayed=True,
    tooltip="proximal: the share of an edit's changes, the weakest, that is dropped.",
)
PULL = Setting(
    "pull",
    default=1.0,
    low=0.0,
    high=1.0,
    step=0.01,
    replayed=True,
    tooltip="proximal: how strongly the unedited part is pulled to the picture in the last two fifths of the sampling.",
)
# The first step of the last two fifths of the sampling, which the model's schedule decides.
PULL_FROM = Setting("pull_from", default=0, low=0, high=2**31 - 1, asked=False, replayed=True)


def proximal(change: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
    """Selects the strong part of what guidance changes.

    change:   [B, ...] denoised with the wanted prompt minus denoised with the source prompt
    quantile: share of values, by size and per sample, that are dropped; 0 keeps all
    returns:  the change where it is strong (else 0), and where it is, [B, ...] bool
    source:   ProxNPI, arXiv 2306.05414 eq. 9 with the hard threshold (l0); both published codes call a soft threshold
              l0. It acts on denoised instead of eps: the two differ by a factor, which a quantile does not see
    """
    size = change.abs().flatten(1)
    threshold = size.sort(dim=1).values[:, int(quantile * (size.shape[1] - 1))]
    strong = change.abs() > per_sample(threshold, change) if quantile > 0 else change != 0
    return torch.where(strong, change, torch.zeros_like(change)), strong


def proximal_guidance(cond: Tensor, uncond: Tensor, cfg: float, settings: MethodSettings) -> Guided:
    """Guides from the prediction with the source prompt along the strong part of the change.

    source: ProxNPI, arXiv 2306.05414 eq. 9
    """
    change, strong = proximal(cond - uncond, settings[QUANTILE])
    return Guided(uncond + cfg * change, strong)


def dilated(mask: Tensor, radius: int = 1) -> Tensor:
    """Mask grown by some cells on its last two axes, the same in every channel.

    mask: [B, C, ..., H, W] bool
    """
    flat = mask.any(dim=1).reshape(-1, 1, *mask.shape[-2:]).float()
    grown = F.max_pool2d(flat, 2 * radius + 1, stride=1, padding=radius) > 0
    return grown.reshape(mask.shape[0], 1, *mask.shape[2:])


def replay_proximal(
    denoise: Denoise,
    x: Tensor,
    path: Tensor,
    sigmas: Sequence[float],
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
    denoise: Denoise,
    x: Tensor,
    path: Tensor,
    sigmas: Sequence[float],
    *,
    sources: Tensor,
    on_step: OnStep | None = None,
) -> Tensor:
    """DDIM sampling whose source rows are put back onto the inversion's path after every step.

    x:       [R, ...] at sigmas[0]: sources, and targets that start where their source does
    path:    [N + 1, R, ...] the path of every row's source
    sources: [R] bool, true for the rows that are sources
    returns: states [N + 1, R, ...]; source rows are the path exactly, for any guidance
    source:  Direct Inversion, arXiv 2310.01506 algorithm 1: adding the distance to the path to the source row alone is
             putting that row onto it. The targets are plain DDIM unless the model lets them see the sources
    """
    states = [x]
    for k, (sigma, to) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        denoised = denoise(states[-1], sigma)
        moved = ddim_move(states[-1], eps_of(states[-1], denoised, sigma), sigma, to)
        states.append(torch.where(sources.reshape(-1, *[1] * (x.ndim - 1)), path[k + 1], moved))
        notify(on_step, k, states[-1], denoised)
    return torch.stack(states)


def proximal_replay(denoise: Denoise, task: ReplayTask) -> Tensor:
    """Replays by `replay_proximal`."""
    return replay_proximal(
        denoise,
        task.x,
        given(task.path, "the inversion's path"),
        task.sigmas,
        edited=given(task.edited, "to know where its guidance acts"),
        pull=task.settings[PULL],
        pull_from=max(0, task.settings[PULL_FROM] - task.skipped),
        on_step=task.on_step,
    )


def direct_replay(denoise: Denoise, task: ReplayTask) -> Tensor:
    """Replays by `replay_direct`."""
    path, sources = given(task.path, "the inversion's path"), given(task.sources, "to know the source rows")
    return replay_direct(denoise, task.x, path, task.sigmas, sources=sources, on_step=task.on_step)
