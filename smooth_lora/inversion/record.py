"""The record of an inversion: everything that a replay needs, and the receipt that says how exact it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..sampling.scale import Scale
from ..scores.quality import PictureQuality
from .contract import InversionMethod
from .methods import method_of


@dataclass(frozen=True)
class PictureReceipt:
    """Receipt of one image.

    latent_error: relative L2 distance of the replayed latent from the inverted one
    noise:        mean, std, excess kurtosis and neighbour correlation of the inverted noise; white: 0, 1, 0, 0
    against_input, against_vae: the reconstruction compared with the input and with the VAE's own round trip; None
                  without an image or without a VAE
    ceiling:      the VAE's own round trip compared with the input: what the VAE loses by itself. A replay that is not
                  exact can land slightly above it by chance
    """

    latent_error: float
    noise: Mapping[str, float]
    against_input: PictureQuality | None = None
    against_vae: PictureQuality | None = None
    ceiling: PictureQuality | None = None


@dataclass(frozen=True)
class Receipt:
    """Exactness and cost of an inversion, measured by replaying it once.

    pictures:     [B]
    step_errors:  [N + 1][B] relative L2 distance of the replay from the inversion's path at every sigma
    calls:        rows that went through the network for one image while inverting; replay_calls: while replaying
    seconds:      wall time of the inversion without the replay
    peak_memory:  bytes above what was in use before, None where the device does not say
    notes:        sentences a user should read, such as a step that fell back
    """

    pictures: tuple[PictureReceipt, ...]
    step_errors: tuple[tuple[float, ...], ...]
    calls: float
    replay_calls: float
    seconds: float
    peak_memory: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inversion:
    """One inversion of B images, carried by the wire SMOOTH_INVERSION.

    method:    its name in METHODS
    cfg:       guidance scale of the replay that brings the images back
    sigmas:    [N + 1] float64, falling, model units
    states:    [N + 1, B, C, ...] float64 on the CPU, model units: the path, states[k] at sigmas[k]
    noise:     [B, C, ...] float32 on the CPU: the host's samplers scale it to states[0]
    scale:     of the model's noisy latents
    model:     fingerprint of the model with its patches
    positive, negative: the conditionings of the inversion, lists of [tensor, dict] as ComfyUI passes them
    settings:  the method's, and what else the inversion was asked for: steps, scheduler, final_sigma
    nulls:     [N, B or 1, T, D] float32, the fitted negative prompt of every step; of methods with `needs.nulls`
    residuals: [N, B, C, ...] float64; of methods with `needs.residuals`
    receipt:   None while it is being made
    """

    method: str
    cfg: float
    sigmas: Tensor
    states: Tensor
    noise: Tensor
    scale: Scale
    model: str
    positive: list[Any]
    negative: list[Any]
    settings: Mapping[str, str | int | float] = field(default_factory=dict)
    nulls: Tensor | None = None
    residuals: Tensor | None = None
    receipt: Receipt | None = None

    @property
    def row(self) -> InversionMethod:
        """The method's row of the table."""
        return method_of(self.method)

    @property
    def steps(self) -> int:
        """Sampling steps."""
        return self.sigmas.shape[0] - 1

    @property
    def images(self) -> int:
        """Number of images that were inverted together."""
        return self.noise.shape[0]

    def rows_of(self, noise: Tensor) -> Tensor:
        """Finds the inverted image that each sample of a noise belongs to.

        noise:   [R, C, ...]
        returns: [R] int64, the first image whose noise is equal bit for bit, -1 where none is
        """
        if noise.shape[1:] != self.noise.shape[1:]:
            return torch.full([noise.shape[0]], -1)
        wanted = noise.detach().to(self.noise)
        return torch.tensor(
            [next((b for b in range(self.images) if torch.equal(sample, self.noise[b])), -1) for sample in wanted]
        )
