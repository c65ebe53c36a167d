"""Even pacing of a walk on the host's own guider: its frames go where neighbouring pictures differ equally."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...smooth_lora.pacing.pacer import Pacer, moved_walk, shares_of
from ...smooth_lora.pacing.pacing_report import pacing_report
from ...smooth_lora.scores.quality import ssim
from ...smooth_lora.walks.walk import Walk
from ..host.progress import WalkProgress
from . import chunks
from .render import Job, Rendered, Show, as_latent, decode, prepare, report, run, walk_units

PIXELS, STRUCTURE, LATENTS, EARLY = METRICS = ("pixels", "structure", "latents", "early latents")
_FOR_PACING = ("even pacing", "pacing moves them", "choose the pacing uniform")
EARLY_SHARE = 0.5  # of the steps after which an early latent is read


@dataclass(frozen=True)
class Paced:
    """A walk whose frames have been moved."""

    walk: Walk
    report: str


def pace_walk(
    *,
    guider,
    sampler,
    sigmas: Tensor,
    noise,
    latent: dict,
    walk: Walk,
    vae=None,
    metric: str = PIXELS,
    extra_frames: int = 0,
    frames_per_batch: int = 0,
) -> Paced:
    """Where the frames of a walk have to lie, without rendering them there.

    metric:       one of METRICS: what is to change evenly
    extra_frames: renderings that may be spent, 0: as many as the walk has frames; see `render_walk` for the others
    raises:       what `render_walk` raises; ValueError for what cannot be moved, and for a metric without its VAE
    """
    pacing = _Pacing(prepare(guider, sampler, sigmas, noise, latent, walk, vae, frames_per_batch), metric, extra_frames)
    probes = pacing.probes(WalkProgress(guider.model_patcher, pacing.units))
    probes.pacer.explore(pacing.extra)
    positions = probes.pacer.place()
    return Paced(moved_walk(pacing.job.walk, positions), pacing_report(metric, probes.pacer, positions))


def render_evenly(
    *,
    guider,
    sampler,
    sigmas: Tensor,
    noise,
    latent: dict,
    walk: Walk,
    vae=None,
    metric: str = PIXELS,
    extra_frames: int = 0,
    frames_per_batch: int = 0,
    show: Show | None = None,
) -> Rendered:
    """The frames of a walk, moved and rendered. What is rendered on the way is used: of all that were, those are given
    out that differ most evenly. See `pace_walk`."""
    job = prepare(guider, sampler, sigmas, noise, latent, walk, vae, frames_per_batch)
    pacing = _Pacing(job, metric, extra_frames)
    wanted = len(job.walk)
    progress = WalkProgress(guider.model_patcher, pacing.units + walk_units(wanted, sigmas, vae is not None))
    probes = pacing.probes(progress)
    pacer = probes.pacer
    if metric == EARLY:
        pacer.explore(pacing.extra)
        positions = pacer.place()
        latents, images = run(replace(job, walk=moved_walk(job.walk, positions)), progress, show)
    else:
        positions = pacer.settle(pacing.extra + wanted)
        latents, images = probes.rows(positions[:wanted])
        if images is not None and show is not None:
            show(images)
        elif vae is not None and images is None:
            images = decode(job, latents, progress, show)
    text = report(job, noise, sampler) + "\n" + pacing_report(metric, pacer, positions)
    return Rendered(as_latent(latent, latents), images, text, moved_walk(job.walk, positions))


class _Pacing:
    """What is rendered for the pacing of a walk, and how much of it.

    job:   of the walk itself; extra: renderings beside its frames; units: of progress that they take
    """

    def __init__(self, job: Job, metric: str, extra_frames: int):
        if metric in (PIXELS, STRUCTURE) and job.vae is None:
            raise ValueError(
                f"even pacing: to pace by {metric} the pictures have to be seen; wire the vae of your "
                f"checkpoint, or pace by {LATENTS}"
            )
        chunks.require_movable(job.guider.original_conds, job.samples, job.noise_mask, *_FOR_PACING)
        shares_of(job.walk)
        self.job, self.metric = job, metric
        self.extra = extra_frames or len(job.walk)
        self.per_probe = job
        if metric == EARLY:
            steps = job.sigmas.shape[-1] - 1
            early = max(1, math.ceil(EARLY_SHARE * steps))
            self.extra = self.extra * steps // early
            self.per_probe = replace(job, vae=None, sigmas=torch.cat([job.sigmas[:early], job.sigmas.new_zeros(1)]))
        elif metric == LATENTS:
            self.per_probe = replace(job, vae=None)
        self.units = walk_units(self.extra, self.per_probe.sigmas, self.per_probe.vae is not None)

    def probes(self, progress: WalkProgress) -> _Probes:
        return _Probes(self.per_probe, self.metric, progress)


class _Probes:
    """Frames at any positions, each rendered once, by position."""

    def __init__(self, job: Job, metric: str, progress: WalkProgress):
        self._job, self._progress = job, progress
        self._by_pixels = metric in (PIXELS, STRUCTURE)
        self._latents: dict[float, Tensor] = {}
        self._images: dict[float, Tensor] = {}
        self.pacer = Pacer(self._render, _DISTANCES[metric], job.walk)

    def rows(self, positions: Sequence[float]) -> tuple[Tensor, Tensor | None]:
        """Latents and pictures at rendered positions."""
        latents = torch.cat([self._latents[position] for position in positions])
        return latents, torch.cat([self._images[position] for position in positions]) if self._images else None

    def _render(self, positions: Sequence[float]) -> list[Tensor]:
        walk = replace(
            self._job.walk, frac=tuple(positions), numbers=tuple(range(len(positions))), total=len(positions)
        )
        latents, images = run(replace(self._job, walk=walk), self._progress)
        self._latents.update(zip(positions, latents.split(1), strict=True))
        if images is not None:
            self._images.update(zip(positions, images.split(len(images) // len(latents)), strict=True))
        seen = self._images if self._by_pixels else self._latents
        return [seen[position] for position in positions]


def _length(first: Tensor, second: Tensor) -> float:
    return float(torch.linalg.vector_norm(first.float() - second.float()))


def _structure(first: Tensor, second: Tensor) -> float:
    """The root, because 1 - SSIM grows like a squared distance where little changes."""
    return math.sqrt(max(0.0, 1.0 - float(ssim(first, second).mean())))


_DISTANCES: dict[str, Callable[[Tensor, Tensor], float]] = {
    PIXELS: _length,
    STRUCTURE: _structure,
    LATENTS: _length,
    EARLY: _length,
}
