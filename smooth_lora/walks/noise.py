"""Noise that walks: unit noise from seeds, and paths through any number of noise keyframes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..checks import require_choice, require_finite
from ..precision import computed
from .arc import angle_of, detour, is_opposite
from .mixing import Moments, Terms, blend, require_varied, variance_exact_terms
from .spline import Span, SphericalSpline
from .walk import Walk, segment_positions

PathRule = Literal["slerp", "spline", "variance_exact"]
PATH_RULES: tuple[PathRule, ...] = ("slerp", "spline", "variance_exact")

UNIT_STD = (0.8, 1.25)  # least and greatest standard deviation of what counts as unit noise
_BetweenKeyframes = Callable[[int, int, float], Terms]  # (keyframe, next keyframe, frac from one to the other)


def seed_noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Draws standard normal noise of one sample: what ComfyUI draws for this seed and a batch of one.

    seed:    0 .. 2**64 - 1
    shape:   of one sample, without the batch dimension
    returns: [1, *shape], float32 on the CPU
    """
    return torch.randn([1, *shape], generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def content_seed(x: Tensor) -> int:
    """Seed 0 .. 2**64 - 1 that depends on the values and shape of x alone."""
    values = x.detach().to("cpu", torch.float32).contiguous()
    digest = hashlib.sha256(repr(tuple(values.shape)).encode() + values.numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "little")


def require_unit_noise(what: str, sample: Tensor) -> None:
    """Refuses a latent that is not noise of standard deviation 1.

    what:   it is, for the error

    raises: ValueError for NaN, infinity, all zeros or a standard deviation outside 0.8 .. 1.25
    """
    require_finite(what, sample)
    if not bool(sample.any()):
        raise ValueError(
            f"{what} is all zeros: an empty latent holds no noise; wire a Random Noise or an inverted picture"
        )
    std = float(computed(sample).std(unbiased=False))
    if not UNIT_STD[0] <= std <= UNIT_STD[1]:
        raise ValueError(
            f"{what} has a standard deviation of {std:.3g}, but noise keyframes need about 1 "
            f"({UNIT_STD[0]} to {UNIT_STD[1]}): a picture must be inverted to noise before it can be "
            "walked, encoding it is not enough"
        )


class NoisePath:
    """A path through noise keyframes, evaluated only where it is asked for.

    keyframes: [K, ...], K >= 1, any dtype and device; each is one sample of a latent of any number of
               dimensions
    rule:      slerp: great circles with one angle per sample, lengths on straight lines; spline: the same
               without a kink at the keyframes (two keyframes: slerp); variance_exact: straight mixes scaled
               so that mean and variance stay exact whatever the correlation of the keyframes
    names:     [K] of the keyframes, for messages; None: keyframe 1, keyframe 2, ...
    raises:    ValueError for NaN, all zeros, or (variance_exact) one value everywhere, naming the keyframe
    """

    def __init__(self, keyframes: Tensor, rule: PathRule = "slerp", *, names: Sequence[str] | None = None):
        require_choice("path", rule, PATH_RULES)
        self.keyframes = keyframes
        self.rule = rule
        self._count = keyframes.shape[0]
        self._rows = computed(keyframes).flatten(1)
        self._moments = Moments.of(self._rows)
        self._require_usable(names or [f"keyframe {k + 1}" for k in range(self._count)])
        self._aside = None
        if self._any_opposite():
            self._aside = self._count
            aside = detour(self._moments.size).to(self._rows)
            self._rows = torch.cat([self._rows, aside[None]])
            self._moments = Moments.of(self._rows)

    def at(self, walk: Walk) -> Tensor:
        """Returns the noise of every frame of a walk.

        returns: [N, ...], dtype and device of the keyframes; a frame does not depend on which others are
                 asked for, and a frame on a keyframe is that keyframe exactly
        """
        index, local = segment_positions(walk, self._count)
        between = self._rule(walk.loop)
        frames = [self._frame(between, i, t) for i, t in zip(index.tolist(), local.tolist(), strict=True)]
        noise = blend(self._rows, frames).reshape(len(walk), *self.keyframes.shape[1:])
        return noise.to(self.keyframes.dtype)

    def _frame(self, between: _BetweenKeyframes, index: int, local: float) -> Terms:
        if local in (0.0, 1.0):
            return {(index + int(local)) % self._count: 1.0}, 0.0
        return between(index, (index + 1) % self._count, local)

    def _rule(self, loop: bool) -> _BetweenKeyframes:
        """Returns the function that combines two neighbouring keyframes on this path."""
        if self.rule == "variance_exact":
            return self._mix
        span, lengths = Span(self._moments.cosine, self._aside), self._moments.length
        if self.rule == "slerp" or self._count == 2:
            return lambda i, j, t: self._terms(
                span.slerp(span.vector(i), span.vector(j), t) * ((1 - t) * lengths[i] + t * lengths[j])
            )
        spline = SphericalSpline(span, lengths[: self._count], loop)
        return lambda i, j, t: self._terms(spline.at(i, t))

    def _terms(self, units: np.ndarray) -> Terms:
        """Coefficients of the keyframes from those of the unit vectors along them."""
        coefficients = (units / self._moments.length).tolist()
        return {k: coefficient for k, coefficient in enumerate(coefficients) if coefficient}, 0.0

    def _mix(self, i: int, j: int, t: float) -> Terms:
        mean = (1 - t) * self._moments.mean[i] + t * self._moments.mean[j]
        std = (1 - t) * self._moments.std[i] + t * self._moments.std[j]
        weights = {i: 1 - t, j: t}
        if self._aside is not None and is_opposite(angle_of(self._moments.correlation[i, j])):
            end, share = (i, 1 - 2 * t) if t < 0.5 else (j, 2 * t - 1)
            weights = {end: share, self._aside: 1 - share}
        return variance_exact_terms(self._moments, weights, mean, std)

    def _require_usable(self, names: Sequence[str]) -> None:
        for name, square in zip(names, self._moments.gram.diagonal(), strict=True):
            if not np.isfinite(square):
                raise ValueError(f"walk noise: {name} holds NaN or infinite values; replace it by noise")
            if square == 0.0:
                raise ValueError(
                    f"walk noise: {name} is all zeros, which is no noise and has no direction; replace it by noise"
                )
        if self.rule == "variance_exact":
            require_varied(self._moments, names)

    def _any_opposite(self) -> bool:
        if self._count < 2:
            return False
        likeness = self._moments.correlation if self.rule == "variance_exact" else self._moments.cosine
        return any(bool(is_opposite(angle_of(likeness[k, k - 1]))) for k in range(self._count))
