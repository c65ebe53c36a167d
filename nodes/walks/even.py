"""Even pacing of a walk on the host's own guider: its frames go where neighbouring images differ equally."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ...smooth_lora.pacing.even_walk import EvenWalk, RenderFrames, choose_frames, place_frames
from ...smooth_lora.pacing.metrics import PACING_METRICS, PacingMetric
from ...smooth_lora.pacing.pacer import shares_of
from ..host.progress import WalkProgress
from . import chunks
from .decoding import Show
from .job import RenderJob, prepare
from .render import RenderedWalk, Renderer
from .walk_wires import WalkWires

METRICS = tuple(PACING_METRICS)
_EVEN_PACING = chunks.MovedFrames(who="even pacing", why="pacing moves them", instead="choose the pacing uniform")


def pace_walk(wires: WalkWires, metric: str, extra_frames: int = 0) -> EvenWalk:
    """Moves the frames of a walk to where they differ evenly, without rendering them there.

    metric:       one of METRICS: what is to change evenly
    extra_frames: renderings that may be spent; 0: as many as the walk has frames
    raises:       what `render_walk` raises; ValueError for what cannot be moved, and for a metric without its VAE
    """
    plan = _plan(wires, metric, extra_frames)
    renderer = Renderer(plan.job.batch, WalkProgress(wires.guider.model_patcher, plan.probe_units))
    return place_frames(plan.probing(renderer), plan.job.walk, plan.metric, plan.probes)


def render_evenly(wires: WalkWires, metric: str, extra_frames: int = 0, *, show: Show | None = None) -> RenderedWalk:
    """Renders the frames of a walk where they differ evenly. What is rendered on the way is used: of all that were
    rendered, those are returned that differ most evenly. See `pace_walk` and `render_walk`."""
    plan = _plan(wires, metric, extra_frames)
    job, units = plan.job, plan.probe_units + wires.units(len(plan.job.walk))
    renderer = Renderer(job.batch, WalkProgress(wires.guider.model_patcher, units))
    even = choose_frames(plan.probing(renderer), job.walk, plan.metric, plan.probes)
    done = renderer.finished(replace(job, walk=even.walk), even.frames, show=show)
    return replace(done, report=f"{done.report}\n{even.report}")


@dataclass(frozen=True, eq=False)
class _Plan:
    """The renderings that the pacing of a walk takes.

    job:       of the walk itself
    probe_job: of the frames that are rendered to find out where it moves
    probes:    how many, besides the walk's own frames
    """

    job: RenderJob
    probe_job: RenderJob
    metric: PacingMetric
    probes: int

    @property
    def probe_units(self) -> int:
        """Units of progress that the probes take."""
        return self.probe_job.wires.units(self.probes)

    def probing(self, renderer: Renderer) -> RenderFrames:
        """Returns what renders probes."""
        return lambda walk: renderer.frames_at(self.probe_job, walk)


def _plan(wires: WalkWires, name: str, extra_frames: int) -> _Plan:
    """Checks what a walk is paced from."""
    job, metric = prepare(wires), PACING_METRICS[name]
    if metric.by_images and wires.vae is None:
        raise ValueError(
            f"even pacing: to pace by {name} the pictures have to be seen; wire the vae of your "
            "checkpoint, or pace by latents"
        )
    chunks.require_movable(wires.guider.original_conds, job.samples, wires.noise_mask, _EVEN_PACING)
    shares_of(job.walk)
    probes = metric.probes(extra_frames or len(job.walk), wires.steps)
    return _Plan(job, replace(job, wires=_probe_wires(wires, metric)), metric, probes)


def _probe_wires(wires: WalkWires, metric: PacingMetric) -> WalkWires:
    """The wires as far as a metric needs them: no further steps, and no VAE for latents."""
    sigmas = wires.sigmas
    if metric.early:
        sigmas = torch.cat([sigmas[: metric.steps_measured(wires.steps)], sigmas.new_zeros(1)])
    return replace(wires, sigmas=sigmas, vae=wires.vae if metric.by_images else None)
