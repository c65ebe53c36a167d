"""Noise that walks, as ComfyUI asks for it: an object with a seed that draws noise for a latent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...smooth_lora.walks.noise import NoisePath, PathRule, content_seed, require_unit_noise, seed_noise
from ...smooth_lora.walks.walk import Walk, schedule
from ...smooth_lora.wording import size_text
from ..host.wires import plain_samples
from ..inversion.inverted_noise import InvertedNoise


@dataclass(frozen=True)
class Keyframe:
    """One keyframe of a walk through noise.

    name: what messages call it
    seed: what step noise of ancestral and SDE samplers is keyed on
    draw: LATENT dict of one sample -> its noise [1, ...] on the CPU
    """

    name: str
    seed: int
    draw: Callable[[dict], Tensor]


class WalkNoise:
    """The NOISE of a walk: it carries its keyframes, so a sampler can evaluate it at any positions.

    keyframes: K >= 1
    rule:      how NoisePath combines them
    walk:      the frames that generate_noise lays out; None: an open, linear walk over the latent's batch
    """

    def __init__(self, keyframes: Sequence[Keyframe], rule: PathRule, walk: Walk | None = None):
        self.keyframes = tuple(keyframes)
        self.rule = rule
        self.walk = walk

    @property
    def seed(self) -> int:
        """The first keyframe's; the host asks for it."""
        return self.keyframes[0].seed

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per keyframe."""
        return tuple(keyframe.seed for keyframe in self.keyframes)

    @property
    def described(self) -> str:
        """What the noise walks through, for reports."""
        return f"{len(self.keyframes)} keyframes, {self.rule}"

    def generate_noise(self, latent: dict) -> Tensor:
        """The noise of every sample of a LATENT.

        returns: on the CPU, shape and dtype of latent["samples"]
        raises:  ValueError when the batch is not the walk's frames, or a keyframe does not fit
        """
        samples = plain_samples(latent, "walk noise")
        walk = self._frames(samples.shape[0], latent.get("batch_index"))
        return self.path(latent).at(walk).to(samples.dtype)

    def path(self, latent: dict) -> NoisePath:
        """The path through the keyframes drawn for one sample of a LATENT, float32 on the CPU.

        raises: ValueError when a keyframe has another size, or is no noise
        """
        one = {"samples": plain_samples(latent, "walk noise")[:1]}
        names = [keyframe.name for keyframe in self.keyframes]
        return NoisePath(drawn_keyframes(self.keyframes, one), self.rule, names=names)

    def _frames(self, batch: int, numbers: Sequence[int] | None) -> Walk:
        if self.walk is None:
            if numbers is not None and list(numbers) != list(range(batch)):
                raise ValueError(
                    "walk noise: the latent was cut from a batch, so its place in the walk is unknown; "
                    "wire a Walk Schedule to the walk that makes this noise"
                )
            return schedule(batch)
        if numbers is not None:
            return self.walk.select(numbers)
        if batch != len(self.walk):
            raise ValueError(
                f"walk noise: the latent batch is {batch}, but the walk renders {len(self.walk)} frames; "
                f"set batch_size to {len(self.walk)}, or sample with the Walk Sampler"
            )
        return self.walk


def drawn_keyframes(keyframes: Sequence[Keyframe], one: dict) -> Tensor:
    """[K, C, ...] float32 on the CPU: the noise of each keyframe for a LATENT of one sample.

    raises: ValueError naming the keyframe of another size
    """
    return torch.cat([_drawn(keyframe, one) for keyframe in keyframes])


def _drawn(keyframe: Keyframe, one: dict) -> Tensor:
    noise = plain_samples({"samples": keyframe.draw(one)}, f"walk noise: {keyframe.name}")
    wanted = one["samples"].shape
    if noise.shape != wanted:
        raise ValueError(
            f"walk noise: {keyframe.name} is {size_text(noise.shape[1:])}, but the sampled latent is "
            f"{size_text(wanted[1:])}; give both the same size"
        )
    return noise.to("cpu", torch.float32)


def seed_keyframes(seeds: Iterable[int]) -> list[Keyframe]:
    """One keyframe per seed, with the noise that RandomNoise gives it."""
    return [
        Keyframe(f"seed {seed}", seed, lambda one, seed=seed: seed_noise(seed, one["samples"].shape[1:]))
        for seed in seeds
    ]


def wired_keyframes(wires: Mapping[str, object], who: str = "Noise Walk") -> list[Keyframe]:
    """The keyframes of NOISE and LATENT wires, in order.

    wires:   name -> NOISE or LATENT; a LATENT counts as many keyframes as its batch, an inverted NOISE as its
             pictures, a walk NOISE as its own keyframes, any other NOISE as one
    who:     the node, for messages
    raises:  ValueError naming the wire of a latent that is not unit noise
    """
    return [keyframe for name, wire in wires.items() for keyframe in _keyframes(name, wire, who)]


def _keyframes(name: str, wire, who: str) -> list[Keyframe]:
    if isinstance(wire, WalkNoise):
        return list(wire.keyframes)
    if isinstance(wire, dict):
        return _latent_keyframes(name, plain_samples(wire, f"{who}: {name}"), who)
    if isinstance(wire, InvertedNoise):
        return _rows(name, wire.noise, "picture")
    return [Keyframe(name, wire.seed, lambda one: _drawn_by_host(wire, one))]


def _latent_keyframes(name: str, samples: Tensor, who: str) -> list[Keyframe]:
    keyframes = _rows(name, samples, "sample")
    for keyframe, sample in zip(keyframes, samples, strict=True):
        require_unit_noise(f"{who}: {keyframe.name}", sample)
    return keyframes


def _rows(name: str, samples: Tensor, what: str) -> list[Keyframe]:
    """A keyframe for every row, known by its content."""
    names = (
        [name]
        if len(samples) == 1
        else [f"{name} ({what} {row} of {len(samples)})" for row in range(1, len(samples) + 1)]
    )
    return [
        Keyframe(label, content_seed(sample), lambda one, sample=sample: sample[None])
        for label, sample in zip(names, samples, strict=True)
    ]


def _drawn_by_host(noise, one: dict) -> Tensor:
    """What a foreign NOISE draws for one sample; it may reseed the global generators, which are put back."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        return noise.generate_noise(dict(one))
