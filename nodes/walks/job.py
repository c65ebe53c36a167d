"""The job of rendering a walk: everything that it works from, checked and looked up before the first frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import comfy.sample
import torch
from torch import Tensor

from ...smooth_lora.walks.noise import PathRule
from ...smooth_lora.walks.walk import Walk
from ..host import memory_estimate
from ..host.protocols import Latent, Noise
from ..model.call import wants_ends
from . import chunks
from .noise import WalkNoise
from .step_noise import StepNoise, require_no_masked_noise
from .walk_wires import WalkWires

_KEYFRAMES_AROUND_A_BATCH = 2  # of most, where the model wants them
_ATTENTION_WALK = chunks.MovedFrames(
    who="Attention Walk", why="keyframes have to be rendered beside them", instead="leave out the Attention Walk"
)


class NoiseOfWalk(Protocol):
    """Start noise at any positions of a walk."""

    def at(self, walk: Walk, /) -> Tensor:
        """Returns the noise [N, C, ...] of every frame of a walk."""


@dataclass(frozen=True)
class HeldNoise:
    """One noise for every frame: what a plain NOISE input means in a walk."""

    noise: Tensor

    def at(self, walk: Walk) -> Tensor:
        """Returns the noise [N, C, ...], the same for every frame."""
        return self.noise.expand(len(walk), *self.noise.shape[1:])


@dataclass(frozen=True, eq=False)
class RenderJob:
    """Everything that the rendering of a walk works from; made by `prepare`, never changed.

    wires:     what it was made from
    walk:      the frames to render
    samples:   [B, C, ...] of the latent, in the model's channels
    keyframes: of what walks, the most that noise or conditioning has; 1 where nothing does
    batch:     frames that go through the model together, as decided at the start
    ends:      whether every chunk is to hold the keyframes around its frames as well
    together:  whether the VAE stays loaded with the model
    """

    wires: WalkWires
    walk: Walk
    samples: Tensor
    noise: NoiseOfWalk
    step_noise: StepNoise
    keyframes: int
    batch: int
    ends: bool
    together: bool


def prepare(wires: WalkWires) -> RenderJob:
    """Checks everything that a walk is rendered from.

    raises: ValueError for everything that cannot be cut into frames
    """
    samples, walk = _samples(wires), wires.frames
    ends = wants_ends(wires.guider.model_options)
    _check_rows(wires, samples, walk, ends)
    drawn = _drawn(wires.noise, {"samples": samples[:1]})
    template = torch.zeros(samples[:1].shape, dtype=torch.float32, device=wires.guider.model_patcher.load_device)
    batch = _batch(wires, samples, len(walk), ends)
    return RenderJob(
        wires=wires,
        walk=walk,
        samples=samples,
        noise=drawn.path,
        step_noise=StepNoise(wires.sampler, wires.sigmas, drawn.seeds, drawn.rule, template),
        keyframes=max(len(drawn.seeds), chunks.conditioning_keyframes(wires.guider.original_conds)),
        batch=batch,
        ends=ends,
        together=_fit_together(wires, [batch, *samples.shape[1:]]),
    )


def _samples(wires: WalkWires) -> Tensor:
    patcher = wires.guider.model_patcher
    samples: Tensor = comfy.sample.fix_empty_latent_channels(patcher, wires.samples, **wires.downscale_ratios)
    return samples


def _check_rows(wires: WalkWires, samples: Tensor, walk: Walk, ends: bool) -> None:
    """Refuses what does not hold one row or one for each frame."""
    conds, mask = wires.guider.original_conds, wires.noise_mask
    first = chunks.ChunkRange(0, 1, len(walk))
    require_no_masked_noise(wires.sampler, mask)
    chunks.require_unchanged_walks(conds)
    chunks.chunk_latent(samples, first)
    chunks.chunk_mask(mask, samples.ndim, first)
    chunks.chunk_conds(conds, walk, 0, 1)
    if ends:
        chunks.require_movable(conds, samples, mask, _ATTENTION_WALK)


@dataclass(frozen=True, eq=False)
class _DrawnNoise:
    """The start noise of a walk, and what its step noise is drawn from."""

    path: NoiseOfWalk
    seeds: tuple[int, ...]
    rule: PathRule


def _drawn(noise: Noise, one: Latent) -> _DrawnNoise:
    """Draws the noise of one sample; a stock noise reseeds the global generator, which is put back."""
    if isinstance(noise, WalkNoise):
        return _DrawnNoise(noise.path(one), noise.seeds, noise.rule)
    with torch.random.fork_rng(devices=[]):
        return _DrawnNoise(HeldNoise(noise.generate_noise(one)), (noise.seed,), "slerp")


def _batch(wires: WalkWires, samples: Tensor, frames: int, ends: bool) -> int:
    batch = wires.frames_per_batch or memory_estimate.frames_per_batch(
        wires.guider.model_patcher,
        wires.guider.original_conds,
        samples.shape[1:],
        frames,
        extra=_KEYFRAMES_AROUND_A_BATCH if ends else 0,
    )
    return min(batch, frames)


def _fit_together(wires: WalkWires, shape: Sequence[int]) -> bool:
    if wires.vae is None:
        return True
    guider = wires.guider
    return memory_estimate.fit_together(guider.model_patcher, wires.vae, guider.original_conds, list(shape))
