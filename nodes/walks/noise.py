"""Noise that walks, as ComfyUI asks for it: an object with a seed that draws noise for a latent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ...smooth_lora.walks.mixing import variance_exact
from ...smooth_lora.walks.noise import NoisePath, PathRule, content_seed, require_unit_noise, seed_noise
from ...smooth_lora.walks.walk import Walk, schedule
from ...smooth_lora.wording import size_text
from ..host.protocols import Latent, Noise
from ..host.wires import plain_samples
from ..inversion.inverted_noise import InvertedNoise


@dataclass(frozen=True)
class NoiseKeyframe:
    """One keyframe of a walk through noise.

    name: for messages
    seed: that the step noise of ancestral and SDE samplers is drawn from
    draw: LATENT of one sample -> its noise [1, ...] on the CPU
    """

    name: str
    seed: int
    draw: Callable[[Latent], Tensor]


class WalkNoise:
    """The NOISE of a walk: it carries its keyframes, so a sampler can evaluate it at any positions.

    keyframes: K >= 1
    rule:      how NoisePath combines them
    walk:      the frames that generate_noise draws for; None: an open, linear walk over the latent's batch
    who:       the node that made it, for messages
    """

    def __init__(
        self, keyframes: Sequence[NoiseKeyframe], rule: PathRule, walk: Walk | None = None, *, who: str = "Noise Walk"
    ):
        self.keyframes = tuple(keyframes)
        self.rule = rule
        self.walk = walk
        self._who = who

    @property
    def seed(self) -> int:
        """Seed of the first keyframe, for the host."""
        return self.keyframes[0].seed

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the keyframes."""
        return tuple(keyframe.seed for keyframe in self.keyframes)

    @property
    def described(self) -> str:
        """Number of keyframes and rule, for reports."""
        return f"{len(self.keyframes)} keyframes, {self.rule}"

    def generate_noise(self, latent: Latent) -> Tensor:
        """Draws the noise of every sample of a LATENT.

        returns: on the CPU, shape and dtype of latent["samples"]
        raises:  ValueError when the batch is not the walk's frames, or a keyframe does not fit
        """
        samples = plain_samples(latent, self._who)
        walk = self._frames(samples.shape[0], latent.get("batch_index"))
        return self.path(latent).at(walk).to(samples.dtype)

    def path(self, latent: Latent) -> NoisePath:
        """Draws the keyframes for one sample of a LATENT and returns the path through them, float32 on the CPU.

        raises: ValueError when a keyframe has another size, or is no noise
        """
        one = {"samples": plain_samples(latent, self._who)[:1]}
        names = [keyframe.name for keyframe in self.keyframes]
        return NoisePath(drawn_keyframes(self.keyframes, one, self._who), self.rule, names=names)

    def _frames(self, batch: int, numbers: Sequence[int] | None) -> Walk:
        if self.walk is None:
            if numbers is not None and list(numbers) != list(range(batch)):
                raise ValueError(
                    f"{self._who}: the latent was cut from a batch, so its place in the walk is unknown; "
                    "wire a Walk Schedule to the walk that makes this noise"
                )
            return schedule(batch)
        if numbers is not None:
            return self.walk.select(numbers)
        if batch != len(self.walk):
            raise ValueError(
                f"{self._who}: the latent batch is {batch}, but the walk renders {len(self.walk)} frames; "
                f"set batch_size to {len(self.walk)}, or sample with the Walk Sampler"
            )
        return self.walk


def drawn_keyframes(keyframes: Sequence[NoiseKeyframe], one: Latent, who: str) -> Tensor:
    """Draws the noise of each keyframe for a LATENT of one sample.

    who:     the node, for messages
    returns: [K, C, ...] float32 on the CPU
    raises:  ValueError naming the keyframe of another size
    """
    return torch.cat([_drawn(keyframe, one, who) for keyframe in keyframes])


def _drawn(keyframe: NoiseKeyframe, one: Latent, who: str) -> Tensor:
    noise = plain_samples({"samples": keyframe.draw(one)}, f"{who}: {keyframe.name}")
    wanted = one["samples"].shape
    if noise.shape != wanted:
        raise ValueError(
            f"{who}: {keyframe.name} is {size_text(noise.shape[1:])}, but the sampled latent is "
            f"{size_text(wanted[1:])}; give both the same size"
        )
    return noise.to("cpu", torch.float32)


def seed_keyframes(seeds: Iterable[int]) -> list[NoiseKeyframe]:
    """Returns one keyframe per seed, with the noise that RandomNoise gives it."""
    return [NoiseKeyframe(f"seed {seed}", seed, partial(_drawn_from_seed, seed)) for seed in seeds]


def _drawn_from_seed(seed: int, one: Latent) -> Tensor:
    return seed_noise(seed, one["samples"].shape[1:])


def wired_keyframes(wires: Mapping[str, object], who: str = "Noise Walk") -> list[NoiseKeyframe]:
    """Returns the keyframes of NOISE and LATENT wires, in order.

    wires:   name -> NOISE or LATENT; a LATENT counts as many keyframes as its batch, an inverted NOISE as its
             images, a walk NOISE as its own keyframes, any other NOISE as one
    who:     the node, for messages
    raises:  ValueError naming the wire of a latent that is not unit noise
    """
    return [keyframe for name, wire in wires.items() for keyframe in _keyframes(name, wire, who)]


def _keyframes(name: str, wire: Any, who: str) -> list[NoiseKeyframe]:
    if isinstance(wire, WalkNoise):
        return list(wire.keyframes)
    if isinstance(wire, dict):
        return _latent_keyframes(name, plain_samples(wire, f"{who}: {name}"), who)
    if isinstance(wire, InvertedNoise):
        return _row_keyframes(name, wire.noise, "picture")
    return [NoiseKeyframe(name, wire.seed, partial(_drawn_by_host, wire))]


def _latent_keyframes(name: str, samples: Tensor, who: str) -> list[NoiseKeyframe]:
    keyframes = _row_keyframes(name, samples, "sample")
    for keyframe, sample in zip(keyframes, samples, strict=True):
        require_unit_noise(f"{who}: {keyframe.name}", sample)
    return keyframes


def _row_keyframes(name: str, samples: Tensor, what: str) -> list[NoiseKeyframe]:
    """A keyframe for every row, whose seed follows from its content; what: a row is, for messages."""
    names = (
        [name]
        if len(samples) == 1
        else [f"{name} ({what} {row} of {len(samples)})" for row in range(1, len(samples) + 1)]
    )
    return [
        NoiseKeyframe(label, content_seed(sample), partial(_drawn_already, sample[None]))
        for label, sample in zip(names, samples, strict=True)
    ]


def _drawn_already(sample: Tensor, one: Latent) -> Tensor:
    return sample


def _drawn_by_host(noise: Noise, one: Latent) -> Tensor:
    """Draws the noise of one sample; a foreign NOISE may reseed the global generators, which are put back."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        return noise.generate_noise(dict(one))


@dataclass(frozen=True)
class MixedNoise:
    """The NOISE of a mix of several: their weighted sum, scaled so that it is noise again.

    noises:  K >= 2
    weights: [K], any but all zero; only their ratios and signs matter
    """

    noises: tuple[NoiseKeyframe, ...]
    weights: tuple[float, ...]

    @property
    def seed(self) -> int:
        """Seed of the step noise, which depends on all noises and weights."""
        content = repr([(noise.seed, weight) for noise, weight in zip(self.noises, self.weights, strict=True)])
        return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "little")

    def generate_noise(self, latent: Latent) -> Tensor:
        """Draws the mix, the same in every sample of a LATENT, on the CPU, in the latent's dtype.

        raises: ValueError when a noise has another size, or the weighted noises cancel each other
        """
        samples = plain_samples(latent, "Noise Mix")
        drawn = drawn_keyframes(self.noises, {"samples": samples[:1]}, "Noise Mix")
        mix = variance_exact(drawn, torch.tensor([self.weights], dtype=torch.float64))
        return mix.expand(samples.shape).to(samples.dtype, copy=True)


def mix_noises(noises: Sequence[NoiseKeyframe], weights: Sequence[float]) -> MixedNoise:
    """Returns the mix of several noises.

    raises: ValueError unless there is one finite weight for each noise, and one of them is not zero
    """
    if len(weights) != len(noises):
        names = ", ".join(noise.name for noise in noises)
        raise ValueError(
            f"Noise Mix: {len(weights)} weights are given for {len(noises)} noises ({names}); give one weight for each"
        )
    if not any(weights) or not all(abs(weight) < float("inf") for weight in weights):
        raise ValueError(
            f"Noise Mix: the weights {', '.join(f'{weight:g}' for weight in weights)} mix nothing; give "
            "finite numbers, at least one of them not 0"
        )
    return MixedNoise(tuple(noises), tuple(weights))
