"""Stochastic encoders: a noisy DDIM path of the image, and what each step of the model leaves out of it.

A step with eta > 0 goes from x[k] to

    mu(x[k]) = signal(sigmas[k+1]) denoised + down * (x[k] - signal(sigmas[k]) denoised) / sigmas[k]

plus fresh noise. An encoder lays a path x[0] .. x[N] = image through the sigmas and keeps the residuals
x[k+1] - mu(x[k]). Sampling that adds them instead of fresh noise comes back to the image, whatever the model, the
guidance and eta; with another prompt it comes to an edited one. The encoders differ only in the path.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...checks import MAX_FIRST_SEED
from ...sampling.ddim import stochastic_split
from ...sampling.denoise import Denoise, OnStep, notify
from ...sampling.scale import Scale
from ..contract import InversionTask, Inverted, ReplayTask, Setting, given

ETA = Setting(
    "eta",
    default=1.0,
    low=0.01,
    high=1.0,
    step=0.01,
    replayed=True,
    tooltip="edit_friendly and dpm_encoder: how much of each step is noise. The published values are 1 and 0.1.",
)
PATH_SEED = Setting(
    "seed",
    default=0,
    low=0,
    high=MAX_FIRST_SEED,
    tooltip="edit_friendly and dpm_encoder: the noise of the path. It changes edits, not the reconstruction.",
)


def edit_friendly_path(x0: Tensor, sigmas: Sequence[float], *, scale: Scale, seeds: Sequence[int]) -> Tensor:
    """Path whose states are independent: x[k] is the image with noise of its own.

    x0:      [B, ...] clean latents in model units, at sigmas[N]
    seeds:   [B], one per sample
    returns: states [N + 1, B, ...]
    source:  Huberman-Spiegelglas et al., arXiv 2304.06140 eq. 6
    """
    streams = [_stream(seed) for seed in seeds]
    noisy = [scale.signal(sigma) * x0 + sigma * _drawn(streams, x0) for sigma in sigmas[:-1]]
    return torch.stack([*noisy, x0])


def dpm_encoder_path(x0: Tensor, sigmas: Sequence[float], *, eta: float, scale: Scale, seeds: Sequence[int]) -> Tensor:
    """Path that sampling itself would take if the model knew the image: each x[k+1] follows from x[k].

    returns: states [N + 1, B, ...]
    source:  CycleDiffusion, arXiv 2210.05559, the DPM-Encoder of section 3: x[N-1..] drawn from q(x_(t-1) | x_t, x_0)
    """
    streams = [_stream(seed) for seed in seeds]
    states = [scale.signal(sigmas[0]) * x0 + sigmas[0] * _drawn(streams, x0)]
    for k in range(len(sigmas) - 2):
        _, up = stochastic_split(sigmas[k], sigmas[k + 1], eta, scale)
        states.append(mu(states[-1], x0, sigmas, k, eta=eta, scale=scale) + up * _drawn(streams, x0))
    return torch.stack([*states, x0])


def mu(x: Tensor, denoised: Tensor, sigmas: Sequence[float], k: int, *, eta: float, scale: Scale) -> Tensor:
    """Mean of step k, before noise is added.

    source:  DDIM, arXiv 2010.02502 eq. 12 in sigma. With eta between 0 and 1 it is eta^2 that stands under the root
             there; the published code of both encoders has eta, which agrees at 0 and 1 only
    """
    down, _ = stochastic_split(sigmas[k], sigmas[k + 1], eta, scale)
    old_noise = (x - scale.signal(sigmas[k]) * denoised) / sigmas[k]
    return scale.signal(sigmas[k + 1]) * denoised + down * old_noise


def residuals_of(
    denoise: Denoise,
    states: Tensor,
    sigmas: Sequence[float],
    *,
    eta: float,
    scale: Scale,
    on_step: OnStep | None = None,
) -> Tensor:
    """Computes what each step of the model leaves out of a path: N model calls.

    states:  [N + 1, B, ...]
    returns: [N, B, ...] residuals x[k+1] - mu(x[k]), the noise's share not divided out: at the last step it would be
             zero over zero. The published edit-friendly code drops that residual, this does not
    source:  arXiv 2304.06140 eq. 5, arXiv 2210.05559 section 3
    """
    residuals = []
    for k in range(len(sigmas) - 1):
        denoised = denoise(states[k], sigmas[k])
        residuals.append(states[k + 1] - mu(states[k], denoised, sigmas, k, eta=eta, scale=scale))
        notify(on_step, k, states[k + 1], denoised)
    return torch.stack(residuals)


def replay_residuals(
    denoise: Denoise,
    x: Tensor,
    residuals: Tensor,
    sigmas: Sequence[float],
    *,
    eta: float,
    scale: Scale,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sampling with the residuals in place of fresh noise.

    x:         [B, ...] at sigmas[0]
    residuals: [N, B, ...] for the steps of `sigmas`
    returns:   states [N + 1, B, ...]
    """
    states = [x]
    for k in range(len(sigmas) - 1):
        denoised = denoise(states[-1], sigmas[k])
        states.append(mu(states[-1], denoised, sigmas, k, eta=eta, scale=scale) + residuals[k])
        notify(on_step, k, states[-1], denoised)
    return torch.stack(states)


def edit_friendly_inversion(denoise: Denoise, task: InversionTask) -> Inverted:
    """Encodes along `edit_friendly_path`."""
    states = edit_friendly_path(task.x0, task.sigmas, scale=task.scale, seeds=_seeds(task))
    return _encoded(denoise, task, states)


def dpm_encoder_inversion(denoise: Denoise, task: InversionTask) -> Inverted:
    """Encodes along `dpm_encoder_path`."""
    eta = task.settings[ETA]
    states = dpm_encoder_path(task.x0, task.sigmas, eta=eta, scale=task.scale, seeds=_seeds(task))
    return _encoded(denoise, task, states)


def residual_replay(denoise: Denoise, task: ReplayTask) -> Tensor:
    """Replays by `replay_residuals`."""
    residuals, eta = given(task.residuals, "the inversion's residuals"), task.settings[ETA]
    return replay_residuals(denoise, task.x, residuals, task.sigmas, eta=eta, scale=task.scale, on_step=task.on_step)


def _encoded(denoise: Denoise, task: InversionTask, states: Tensor) -> Inverted:
    """Computes the residuals of a path."""
    eta = task.settings[ETA]
    residuals = residuals_of(denoise, states, task.sigmas, eta=eta, scale=task.scale, on_step=task.on_step)
    return Inverted(states, residuals)


def _seeds(task: InversionTask) -> list[int]:
    """Seeds of the images: the setting's for the first, one more for each after it."""
    return [task.settings[PATH_SEED] + row for row in range(task.x0.shape[0])]


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _drawn(streams: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Draws unit noise like x0, each sample from its own stream on the CPU."""
    drawn = [torch.randn(like.shape[1:], generator=stream, dtype=torch.float32) for stream in streams]
    return torch.stack(drawn).to(like)
