"""Renders a walk chunk by chunk through the host's own guider and VAE.

Memory holds the finished frames and one chunk, however long the walk is; a frame is the same picture
alone, in a batch of eight and in a chunk of three, because everything that varies is looked up by frame.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import comfy.model_management
import comfy.sample
import comfy.utils
import torch
from torch import Tensor

from ...smooth_lora.walks.noise import NoisePath
from ...smooth_lora.walks.walk import Walk, with_ends
from ..host import memory_estimate
from ..host.memory_shortage import Batches
from ..host.progress import WalkProgress, stop_if_interrupted
from ..host.wires import plain_samples
from ..model.call import FINITE_ADVICE, wants_ends, with_walk
from . import chunks
from .noise import WalkNoise
from .step_noise import StepNoise, is_known_sampler, require_no_masked_noise

Show = Callable[[Tensor], None]
ENDS_BESIDE = 2  # keyframes around most batches
_FOR_ENDS = ("attention walk", "keyframes have to be rendered beside them", "leave out the Attention Walk")


@dataclass(frozen=True)
class Rendered:
    """A finished walk: the LATENT dict, the pictures [N, H, W, 3] if a VAE was given, what was done, and which frames
    of the walk these are, where they lie."""

    latent: dict
    images: Tensor | None
    report: str
    walk: Walk


@dataclass(frozen=True)
class _HeldNoise:
    """One noise for every frame: what a plain NOISE input means in a walk."""

    noise: Tensor

    def at(self, walk: Walk) -> Tensor:
        return self.noise.expand(len(walk), *self.noise.shape[1:])


@dataclass(frozen=True)
class Job:
    """Everything a chunk needs, checked once; made by `prepare`.

    keyframes: of what walks, the most that noise or a text has; 1 where nothing does
    batches: shared by all that is rendered for the walk
    ends: whether every chunk is to hold the keyframes around its frames as well
    vae: None where no pictures are wanted; together: whether it stays loaded beside the model
    """

    guider: object
    sigmas: Tensor
    seed: int
    samples: Tensor
    noise_mask: Tensor | None
    walk: Walk
    noise: NoisePath | _HeldNoise
    steps: StepNoise
    batches: Batches
    keyframes: int
    ends: bool
    vae: object | None
    together: bool

    @property
    def batch(self) -> int:
        """Frames that go through the model together, as it was decided at the start."""
        return self.batches.first


def render_walk(
    *,
    guider,
    sampler,
    sigmas: Tensor,
    noise,
    latent: dict,
    walk: Walk,
    vae=None,
    frames_per_batch: int = 0,
    progress: WalkProgress | None = None,
    show: Show | None = None,
) -> Rendered:
    """Sample and, given a VAE, decode every frame of a walk.

    guider:  the host's GUIDER; used through a copy
    sigmas:  [steps + 1], model units
    noise:   a walk NOISE, or any NOISE, which then is the same in every frame
    latent:  LATENT dict with 1 sample or one per frame; batch_index, where present, names frame numbers
    frames_per_batch: frames that go through the model together; 0 chooses from free memory
    progress: one that goes on over several walks; None makes one for this walk
    show:    given the pictures [n, H, W, C] of each batch, in order, as soon as they are there
    raises:  ValueError for everything that cannot be cut into frames, the host's interrupt between model calls
    """
    job = prepare(guider, sampler, sigmas, noise, latent, walk, vae, frames_per_batch)
    progress = progress or WalkProgress(guider.model_patcher, walk_units(len(job.walk), sigmas, vae is not None))
    latents, images = run(job, progress, show)
    return Rendered(as_latent(latent, latents), images, report(job, noise, sampler), job.walk)


def as_latent(latent: dict, samples: Tensor) -> dict:
    """A LATENT like the one sampled from, with other samples."""
    return {
        **{key: value for key, value in latent.items() if not key.startswith("downscale_ratio_")},
        "samples": samples,
    }


def walk_units(frames: int, sigmas: Tensor, decoded: bool) -> int:
    """Units of progress that a walk takes: one per frame and step, and one per frame to decode."""
    return frames * (max(0, sigmas.shape[-1] - 1) + decoded)


def prepare(guider, sampler, sigmas, noise, latent, walk, vae, frames_per_batch) -> Job:
    """Check everything; see `render_walk` for the arguments."""
    samples = plain_samples(latent, "Walk Sampler")
    if latent.get("batch_index") is not None:
        walk = walk.select(latent["batch_index"])
    ratios = {key: value for key, value in latent.items() if key.startswith("downscale_ratio_")}  # 0.18 has only one
    samples = comfy.sample.fix_empty_latent_channels(guider.model_patcher, samples, **ratios)
    mask = latent.get("noise_mask")
    require_no_masked_noise(sampler, mask)
    chunks.require_unchanged_walks(guider.original_conds)
    chunks.chunk_latent(samples, 0, 1, len(walk))
    chunks.chunk_mask(mask, samples.ndim, 0, 1, len(walk))
    chunks.chunk_conds(guider.original_conds, walk, 0, 1)
    ends = wants_ends(guider.model_options)
    if ends:
        chunks.require_movable(guider.original_conds, samples, mask, *_FOR_ENDS)

    one = {"samples": samples[:1]}
    path, seeds, rule = _noise_path(noise, one)
    template = torch.zeros(samples[:1].shape, dtype=torch.float32, device=guider.model_patcher.load_device)
    batch = frames_per_batch or memory_estimate.frames_per_batch(
        guider.model_patcher, guider.original_conds, samples.shape[1:], len(walk), extra=ENDS_BESIDE if ends else 0
    )
    batch = min(batch, len(walk))
    keyframes = max(len(seeds), chunks.text_keyframes(guider.original_conds))
    together = vae is None or memory_estimate.fit_together(
        guider.model_patcher, vae, guider.original_conds, [batch, *samples.shape[1:]]
    )
    return Job(
        guider,
        sigmas,
        noise.seed,
        samples,
        mask,
        walk,
        path,
        StepNoise(sampler, sigmas, seeds, rule, template),
        Batches(batch),
        keyframes,
        ends,
        vae,
        together,
    )


def _noise_path(noise, one: dict) -> tuple[NoisePath | _HeldNoise, tuple[int, ...], str]:
    if isinstance(noise, WalkNoise):
        return noise.path(one), noise.seeds, noise.rule
    with torch.random.fork_rng(devices=[]):  # stock noise reseeds the global generator
        return _HeldNoise(noise.generate_noise(one)), (noise.seed,), "slerp"


def run(job: Job, progress: WalkProgress, show: Show | None = None) -> tuple[Tensor, Tensor | None]:
    """Sample every chunk, decoding each at once, or all at the end when model and VAE do not fit together."""
    latents = _Output(len(job.walk), comfy.model_management.intermediate_device())
    images = _Output(len(job.walk), comfy.model_management.intermediate_device(), show)

    def one(start: int, stop: int) -> None:
        latents.put(start, stop, _sample_chunk(job, start, stop, progress))
        if job.vae is not None and job.together:
            images.put(start, stop, _decode(job, start, latents.rows(start, stop)))
            progress.advance(stop - start)

    job.batches.run(0, len(job.walk), one)
    if job.vae is not None and not job.together:
        return latents.tensor, decode(job, latents.tensor, progress, show)
    return latents.tensor, images.tensor


def decode(job: Job, latents: Tensor, progress: WalkProgress, show: Show | None = None) -> Tensor:
    """The pictures of the latents [N, C, ...] of a walk's frames, chunk by chunk."""
    images = _Output(len(job.walk), comfy.model_management.intermediate_device(), show)

    def one(start: int, stop: int) -> None:
        images.put(start, stop, _decode(job, start, latents[start:stop]))
        progress.advance(stop - start)

    job.batches.run(0, len(job.walk), one)
    return images.tensor


def frames_of(job: Job, start: int, stop: int, progress: WalkProgress) -> Tensor:
    """Pictures [n, H, W, C] of the frames start..stop of a walk, chunk by chunk; all are sampled, then decoded."""
    sampled, decoded = [], []
    job.batches.run(start, stop, lambda first, last: sampled.append(_sample_chunk(job, first, last, progress)))
    latents = torch.cat(sampled)

    def one(first: int, last: int) -> None:
        decoded.append(_decode(job, first, latents[first - start : last - start]))
        progress.advance(last - first)

    job.batches.run(start, stop, one)
    return torch.cat(decoded)


def _sample_chunk(job: Job, start: int, stop: int, progress: WalkProgress) -> Tensor:
    walk, count = job.walk, stop - start
    if job.ends:  # rendered beside the frames, and not given out
        walk = with_ends(job.walk.select(job.walk.numbers[start:stop]), job.keyframes)
        start, stop = 0, len(walk)
    chunk = walk.select(walk.numbers[start:stop])
    total = len(walk)
    guider = copy.copy(job.guider)
    guider.original_conds = chunks.chunk_conds(job.guider.original_conds, walk, start, stop)
    guider.model_options = with_walk(guider.model_options, chunk, job.keyframes)

    def callback(step, x0, x, total_steps):
        progress.callback((step + 1) * count - 1, x0, x, total_steps)

    samples = guider.sample(
        job.noise.at(chunk).to(job.samples.dtype),
        chunks.chunk_latent(job.samples, start, stop, total),
        job.steps.sampler_for(chunk),
        job.sigmas,
        denoise_mask=chunks.chunk_mask(job.noise_mask, job.samples.ndim, start, stop, total),
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=job.seed,
    )
    progress.advance(count * max(0, job.sigmas.shape[-1] - 1))
    return samples[:count]


def _decode(job: Job, first: int, latents: Tensor) -> Tensor:
    """Pictures [n, H, W, C] of the latents of frames from `first`; the frames of a video latent follow one another.

    raises: ValueError naming a frame that is no picture
    """
    vae, parts = job.vae, []
    for part in latents.split(memory_estimate.frames_per_decoding(vae, latents.shape, vae.device)):
        stop_if_interrupted()
        parts.append(vae.decode(part))
    images = parts[0] if len(parts) == 1 else torch.cat(parts)
    good = torch.isfinite(images).flatten(1).all(1)
    if not bool(good.all()):
        frame = job.walk.numbers[first + int(good.logical_not().nonzero()[0])]
        blame = (
            "VAE, which needs float32: start ComfyUI with --fp32-vae"
            if bool(torch.isfinite(latents).all())
            else (f"model: {FINITE_ADVICE}")
        )
        raise ValueError(f"Walk Sampler: frame {frame} holds NaN or infinite values, which come from the {blame}")
    return images.reshape(-1, *images.shape[-3:]) if images.ndim == 5 else images


class _Output:
    """A result of known length whose storage is laid out once, when the first chunk tells its shape."""

    def __init__(self, frames_total: int, device, show: Show | None = None):
        self.tensor: Tensor | None = None
        self._total = frames_total
        self._device, self._show = device, show
        self._rows_per_frame = 1

    def put(self, start: int, stop: int, rows: Tensor) -> None:
        if self.tensor is None:
            self._rows_per_frame = rows.shape[0] // (stop - start)
            shape = (self._total * self._rows_per_frame, *rows.shape[1:])
            self.tensor = torch.empty(shape, dtype=rows.dtype, device=self._device)
        self.rows(start, stop).copy_(rows)
        if self._show is not None:
            self._show(rows)

    def rows(self, start: int, stop: int) -> Tensor:
        return self.tensor[start * self._rows_per_frame : stop * self._rows_per_frame]


def report(job: Job, noise, sampler) -> str:
    """What was walked, and how it was batched."""
    walk = job.walk
    lines = [
        f"{len(walk)} frames (numbers {walk.numbers[0]} to {walk.numbers[-1]} of {walk.total}), "
        f"{job.batch} per batch, {'closed loop' if walk.loop else 'open walk'}"
    ]
    if isinstance(job.noise, _HeldNoise):
        lines.append(
            "Noise: the same in every frame, because a plain NOISE holds one; wire a Seed Walk or Noise Walk "
            "to walk it."
        )
        if chunks.same_in_every_frame(job.guider.original_conds, job.samples):
            lines.append("Nothing changes between the frames: neither noise, text nor latents walk.")
    else:
        lines.append(f"Noise: {len(noise.seeds)} keyframes, {noise.rule}")
    if job.steps.walked:
        lines.append("Step noise: walked with the frames, if the sampler draws any")
    elif not is_known_sampler(sampler):
        lines.append(
            "Step noise: this sampler is not one of the host's; if it draws noise of its own, frames may blink."
        )
    if job.batches.size < job.batch:
        lines.append(
            f"Memory ran out, so batches became smaller, down to {job.batches.size} per batch; set "
            "frames_per_batch to that next time."
        )
    if job.ends and job.keyframes > 1:
        lines.append("Attention Walk: the keyframes around each batch are rendered beside it and not given out.")
    if job.vae is not None and not job.together:
        lines.append("Model and VAE do not fit on the device together: all frames were sampled first, then decoded.")
    return "\n".join(lines)
