"""The NOISE of a mix of several."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...smooth_lora.walks.mixing import variance_exact
from ..host.wires import plain_samples
from .noise import Keyframe, drawn_keyframes


@dataclass(frozen=True)
class MixedNoise:
    """One noise made of several: their weighted sum, scaled so that it is noise again.

    noises: K >= 2; weights: [K], any but all zero; only their ratios and signs matter
    """

    noises: tuple[Keyframe, ...]
    weights: tuple[float, ...]

    @property
    def seed(self) -> int:
        """Depends on all noises and weights; what step noise is drawn from."""
        told = repr([(noise.seed, weight) for noise, weight in zip(self.noises, self.weights, strict=True)])
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "little")

    def generate_noise(self, latent: dict) -> Tensor:
        """The mix in every sample of a LATENT, on the CPU, in the latent's dtype.

        raises: ValueError when a noise has another size, or the weighted noises cancel each other
        """
        samples = plain_samples(latent, "Noise Mix")
        drawn = drawn_keyframes(self.noises, {"samples": samples[:1]})
        mix = variance_exact(drawn, torch.tensor([self.weights], dtype=torch.float64))
        return mix.expand(samples.shape).to(samples.dtype, copy=True)


def mix_noises(noises: Sequence[Keyframe], weights: Sequence[float]) -> MixedNoise:
    """raises: ValueError unless there is one finite weight for each noise and one of them is not zero"""
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
