"""Renders a walk chunk by chunk through the host's own guider and VAE.

Memory holds the finished frames and one chunk, however long the walk is; a frame is the same image
alone, in a batch of eight and in a chunk of three, because everything that varies is looked up by frame.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor

from ...smooth_lora.pacing.even_walk import RenderedFrame
from ...smooth_lora.walks.walk import Walk, with_ends
from ...smooth_lora.walks.walk_report import StepNoiseUse, walk_report
from ..host.memory_shortage import Batches
from ..host.progress import WalkProgress
from ..host.protocols import Latent
from ..model.call import with_walk
from . import chunks
from .decoding import FrameRows, Show, decode_latents
from .job import HeldNoise, RenderJob, prepare
from .noise import WalkNoise
from .step_noise import is_known_sampler
from .walk_wires import WalkWires


@dataclass(frozen=True, eq=False)
class RenderedWalk:
    """A finished walk.

    images: [N, H, W, C], None without a VAE
    report: what was rendered, and how
    walk:   the frames, where they lie
    """

    latent: Latent
    images: Tensor | None
    report: str
    walk: Walk


def render_walk(wires: WalkWires, *, progress: WalkProgress | None = None, show: Show | None = None) -> RenderedWalk:
    """Samples and, given a VAE, decodes every frame of a walk.

    progress: one that goes on over several walks; None makes one for this walk
    show:     given the images [n, H, W, C] of each batch, in order, as soon as they are there
    raises:   ValueError for everything that cannot be cut into frames, the host's interrupt between model calls
    """
    job = prepare(wires)
    progress = progress or WalkProgress(wires.guider.model_patcher, wires.units(len(job.walk)))
    return Renderer(job.batch, progress).finished(job, show=show)


class Renderer:
    """Renders the frames of one walk, and holds what changes meanwhile: the progress, and how many frames fit into
    memory together, which is shared by all that is rendered for the walk.

    batch: frames that go through the model together at the start
    """

    def __init__(self, batch: int, progress: WalkProgress):
        self._batches, self._progress = Batches(batch), progress

    def finished(
        self, job: RenderJob, rendered: Sequence[RenderedFrame] = (), *, show: Show | None = None
    ) -> RenderedWalk:
        """Returns the walk with all that was asked for.

        rendered: its frames, where they have been rendered already; images that they lack are decoded
        show:     given the images [n, H, W, C], in order
        """
        if not rendered:
            latents, images = self._rendered(job, show)
        else:
            latents = torch.cat([frame.latent for frame in rendered])
            images = _stacked_images(rendered)
            if images is None and job.wires.vae is not None:
                images = self._decoded(job, latents, show)
            elif images is not None and show is not None:
                show(images)
        return RenderedWalk(job.wires.latent_of(latents), images, self.report(job), job.walk)

    def frames_at(self, job: RenderJob, walk: Walk) -> list[RenderedFrame]:
        """Renders the frames of another walk along the same path."""
        latents, images = self._rendered(replace(job, walk=walk), None)
        each = latents.split(1)
        if images is None:
            return [RenderedFrame(latent, None) for latent in each]
        return [RenderedFrame(*both) for both in zip(each, images.split(len(images) // len(latents)), strict=True)]

    def images(self, job: RenderJob, start: int, stop: int) -> Tensor:
        """Renders images [n, H, W, C] of the frames start..stop; all are sampled, then decoded."""
        sampled, decoded = [], []
        self._batches.run(start, stop, lambda first, last: sampled.append(self._sampled(job, first, last)))
        latents = torch.cat(sampled)

        def decode(first: int, last: int) -> None:
            decoded.append(_decoded_chunk(job, first, latents[first - start : last - start]))
            self._progress.advance(last - first)

        self._batches.run(start, stop, decode)
        return torch.cat(decoded)

    def report(self, job: RenderJob) -> str:
        """Describes what walked, and how it was batched."""
        wires, held = job.wires, isinstance(job.noise, HeldNoise)
        return walk_report(
            job.walk,
            batch=self._batches.first,
            smallest_batch=self._batches.size,
            noise=wires.noise.described if isinstance(wires.noise, WalkNoise) else None,
            still=held and chunks.same_in_every_frame(wires.guider.original_conds, job.samples),
            step_noise=_step_noise_use(job),
            keyframes_added=job.ends and job.keyframes > 1,
            decoded_last=job.wires.vae is not None and not job.together,
        )

    def _rendered(self, job: RenderJob, show: Show | None) -> tuple[Tensor, Tensor | None]:
        """Samples every chunk, decoding each at once, or all at the end when model and VAE do not fit together."""
        latents, images = _rows(job), _rows(job, show)
        decoded_at_once = job.wires.vae is not None and job.together

        def render(start: int, stop: int) -> None:
            latents.put(start, stop, self._sampled(job, start, stop))
            if decoded_at_once:
                images.put(start, stop, _decoded_chunk(job, start, latents.rows(start, stop)))
                self._progress.advance(stop - start)

        self._batches.run(0, len(job.walk), render)
        if job.wires.vae is None:
            return latents.tensor, None
        return latents.tensor, images.tensor if decoded_at_once else self._decoded(job, latents.tensor, show)

    def _decoded(self, job: RenderJob, latents: Tensor, show: Show | None) -> Tensor:
        """Decodes the latents [N, C, ...] of a walk's frames chunk by chunk."""
        images = _rows(job, show)

        def decode(start: int, stop: int) -> None:
            images.put(start, stop, _decoded_chunk(job, start, latents[start:stop]))
            self._progress.advance(stop - start)

        self._batches.run(0, len(job.walk), decode)
        return images.tensor

    def _sampled(self, job: RenderJob, start: int, stop: int) -> Tensor:
        """Samples the frames start..stop of a walk; keyframes that the model wants around them are left out again."""
        count, progress = stop - start, self._progress
        walk, part = job.walk, chunks.ChunkRange(start, stop, len(job.walk))
        if job.ends:
            walk = with_ends(walk.select(walk.numbers[start:stop]), job.keyframes)
            part = chunks.ChunkRange(0, len(walk), len(walk))
        chunk = walk.select(walk.numbers[part.start : part.stop])
        guider = copy.copy(job.wires.guider)
        guider.original_conds = chunks.chunk_conds(guider.original_conds, walk, part.start, part.stop)
        guider.model_options = with_walk(guider.model_options, chunk, job.keyframes)

        def callback(step: int, x0: Tensor, x: Tensor, steps: int) -> None:
            progress.callback((step + 1) * count - 1, x0, x, steps)

        samples = guider.sample(
            job.noise.at(chunk).to(job.samples.dtype),
            chunks.chunk_latent(job.samples, part),
            job.step_noise.sampler_for(chunk),
            job.wires.sigmas,
            denoise_mask=chunks.chunk_mask(job.wires.noise_mask, job.samples.ndim, part),
            callback=callback,
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=job.wires.noise.seed,
        )
        progress.advance(count * job.wires.steps)
        return samples[:count]


def _rows(job: RenderJob, show: Show | None = None) -> FrameRows:
    return FrameRows(len(job.walk), comfy.model_management.intermediate_device(), show)


def _decoded_chunk(job: RenderJob, first: int, latents: Tensor) -> Tensor:
    """Decodes the latents [n, C, ...] of the frames from `first` on."""
    return decode_latents(job.wires.decoder, latents, job.walk.numbers[first:])


def _stacked_images(frames: Sequence[RenderedFrame]) -> Tensor | None:
    images = [frame.image for frame in frames if frame.image is not None]
    return torch.cat(images) if images else None


def _step_noise_use(job: RenderJob) -> StepNoiseUse:
    if job.step_noise.walked:
        return "walked"
    return "none" if is_known_sampler(job.wires.sampler) else "unknown"
