"""Straight lines and great circles between vectors.

`slerp_weights` is the only slerp: for noise (one angle per sample), for text (one angle per token) and inside the
spline.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checks import require_finite, require_same_shape
from ..precision import computed, widened

Number = TypeVar("Number", float, NDArray[np.float64])

# Two vectors nearer than this to opposite (radians) count as opposite: rounding to half precision already
# turns a vector by half of it, so the direction of what is left of their sum means nothing.
OPPOSITE = 1e-3
# Seed of the direction through which opposite vectors are joined: any fixed number that nobody types as a seed.
_DETOUR_SEED = 0x5D00_7E11_0DE7_0125


def slerp_weights(angle: Number, frac: float) -> tuple[Number, Number]:
    """Weights of two unit vectors on the great circle through them, at constant angular speed.

    angle:   between the vectors, radians, 0 <= angle < pi
    frac:    0 at the first vector, 1 at the second
    returns: (weight of the first, weight of the second), float64; exactly (1, 0) and (0, 1) at the ends, and
             the limit (1 - frac, frac) for an angle of 0
    source:  Shoemake, Animating rotation with quaternion curves (SIGGRAPH 1985), with
             sin(t angle) / sin(angle) written as t sinc(t angle) / sinc(angle), which has no 0/0
    """
    turn = angle / math.pi
    whole = np.sinc(turn)
    first: Number = (1.0 - frac) * np.sinc((1.0 - frac) * turn) / whole
    second: Number = frac * np.sinc(frac * turn) / whole
    return first, second


def angle_of(cosine: Number) -> Number:
    """Angle in radians of a cosine; rounded beyond -1..1 it is exactly pi or 0."""
    angle: Number = np.arctan2(np.sqrt(np.maximum((1.0 - cosine) * (1.0 + cosine), 0.0)), cosine)
    return angle


def is_opposite(angle: float | NDArray[np.float64]) -> bool | NDArray[np.bool_]:
    """Returns whether an angle (radians) is so near pi that all great circles are equally short."""
    return angle > math.pi - OPPOSITE


def detour(size: int) -> Tensor:
    """Fixed normally distributed direction [size], float32 on the CPU, through which opposite vectors are joined."""
    generator = torch.Generator().manual_seed(_DETOUR_SEED)
    return torch.randn(size, generator=generator)


def lerp(a: Tensor, b: Tensor, frac: float) -> Tensor:
    """Point on the straight line from a to b, with both ends exact.

    a, b:    same shape
    frac:    0 at a, 1 at b
    returns: computed in float32 at least, dtype of a
    raises:  ValueError if the shapes differ
    """
    require_same_shape("lerp", a=a, b=b)
    return (computed(a) * (1.0 - frac) + computed(b) * frac).to(a.dtype)


def slerp(a: Tensor, b: Tensor, frac: float, *, start_dim: int = 1) -> Tensor:
    """Point on the great circle from a to b at constant angular speed, lengths on a straight line, both ends exact.

    a, b:      same shape; all dimensions from start_dim on make one vector, so 1 gives latents [B, C, H, W]
               or [B, C, T, H, W] one angle per sample, -1 gives text [..., T, D] one per token
    frac:      0 at a, 1 at b
    returns:   computed in float32 at least (angles in float64), dtype of a. Parallel vectors and
               a zero vector: the straight line. Opposite vectors: two quarter circles through one fixed
               random direction perpendicular to a
    raises:    ValueError if the shapes differ, for NaN or infinity, or for opposite vectors of one element
    source:    Shoemake 1985; interpolating the length is ours, so that the ends are the inputs themselves
    """
    require_same_shape("slerp", a=a, b=b)
    require_finite("slerp: a", a)
    require_finite("slerp: b", b)
    arc = Arc(computed(a).flatten(start_dim), computed(b).flatten(start_dim))
    return arc.at(frac).reshape(a.shape).to(a.dtype)


class Arc:
    """Great circles between the rows of two tensors, measured once and evaluated anywhere; see `slerp`.

    a, b:   [..., D], float32 or float64, finite; every row along D is a vector of its own
    raises: ValueError for opposite rows of a single element
    """

    def __init__(self, a: Tensor, b: Tensor):
        self._a, self._b = a, b
        wide_a, wide_b = widened(a), widened(b)
        self._length_a, self._length_b = (w.norm(dim=-1).cpu().numpy() for w in (wide_a, wide_b))
        self._zero = (self._length_a == 0) | (self._length_b == 0)
        product = np.where(self._zero, 1.0, self._length_a * self._length_b)
        angle = angle_of(np.where(self._zero, 1.0, (wide_a * wide_b).sum(-1).cpu().numpy() / product))
        self._opposite = np.asarray(is_opposite(angle))
        self._angle = np.where(self._opposite, 0.0, angle)
        self._around = self._halves() if self._opposite.any() else None

    def at(self, frac: float) -> Tensor:
        """Returns the rows [..., D] at frac between a (0) and b (1)."""
        first, second = slerp_weights(self._angle, frac)
        length = (1.0 - frac) * self._length_a + frac * self._length_b
        first = np.where(self._zero, first, first * length / np.where(self._zero, 1.0, self._length_a))
        second = np.where(self._zero, second, second * length / np.where(self._zero, 1.0, self._length_b))
        rows = self._a * _column(first, self._a) + self._b * _column(second, self._a)
        if self._around is not None:
            half, along = (0, 2 * frac) if frac < 0.5 else (1, 2 * frac - 1)
            rows[torch.as_tensor(self._opposite, device=rows.device)] = self._around[half].at(along)
        return rows

    def _halves(self) -> tuple[Arc, Arc]:
        """Returns the two arcs by which opposite rows are joined, through the detour made perpendicular to a."""
        chosen = torch.as_tensor(self._opposite, device=self._a.device)
        a, b = self._a[chosen], self._b[chosen]
        if a.shape[-1] < 2:
            raise ValueError("slerp: opposite vectors of a single element have no path around zero between them")
        length_a, length_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
        unit = a / length_a
        across = detour(a.shape[-1]).to(a)
        across = across - (across * unit).sum(-1, keepdim=True) * unit
        middle = across * ((length_a + length_b) / 2 / across.norm(dim=-1, keepdim=True))
        return Arc(a, middle), Arc(middle, b)


def _column(weights: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(weights).to(like.dtype).to(like.device).unsqueeze(-1)
