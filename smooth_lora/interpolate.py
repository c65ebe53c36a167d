"""Combining vectors: straight lines, great circles, and sums that keep their variance.

One place for each formula: `slerp_weights` is the only slerp, used for noise (one angle per sample), for text
(one angle per token) and inside the spline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .checks import require_finite, require_same_shape

# Two vectors nearer than this to opposite (radians) count as opposite: rounding to half precision already
# turns a vector by half of it, so the direction of what is left of their sum means nothing.
OPPOSITE = 1e-3
# Seed of the direction in which opposite vectors are passed: any fixed number that nobody types as a seed.
_DETOUR_SEED = 0x5D00_7E11_0DE7_0125
# A standard deviation this small beside the values themselves is the rounding of float32.
_CONSTANT = 1e-6
# Columns taken to float64 at a time, so that the moments of long videos need no float64 copy of them.
_CHUNK = 1 << 18


def slerp_weights(angle, frac):
    """Weights of two unit vectors on the great circle through them, at constant angular speed.

    angle:   between the vectors, radians, 0 <= angle < pi; number or array
    frac:    0 at the first vector, 1 at the second; number or array
    returns: (weight of the first, weight of the second), float64; exactly (1, 0) and (0, 1) at the ends, and
             the limit (1 - frac, frac) for an angle of 0
    source:  Shoemake, Animating rotation with quaternion curves (SIGGRAPH 1985), with
             sin(t angle) / sin(angle) written as t sinc(t angle) / sinc(angle), which has no 0/0
    """
    turn = angle / math.pi
    whole = np.sinc(turn)
    return (1.0 - frac) * np.sinc((1.0 - frac) * turn) / whole, frac * np.sinc(frac * turn) / whole


def angle_of(cosine):
    """The angle in radians of a cosine (number or array); rounded beyond -1..1 it is exactly pi or 0."""
    return np.arctan2(np.sqrt(np.maximum((1.0 - cosine) * (1.0 + cosine), 0.0)), cosine)


def is_opposite(angle):
    """Whether an angle (radians, number or array) is so near pi that no great circle stands out."""
    return angle > math.pi - OPPOSITE


def detour(size: int) -> Tensor:
    """The fixed normal direction [size], float32 on the CPU, in which opposite vectors are passed."""
    generator = torch.Generator().manual_seed(_DETOUR_SEED)
    return torch.randn(size, generator=generator)


def lerp(a: Tensor, b: Tensor, frac: float) -> Tensor:
    """The straight line from a to b, with both ends exact.

    a, b:    same shape
    frac:    0 at a, 1 at b
    returns: computed in float32 at least, dtype of a
    raises:  ValueError if the shapes differ
    """
    require_same_shape("lerp", a=a, b=b)
    return (computed(a) * (1.0 - frac) + computed(b) * frac).to(a.dtype)


def slerp(a: Tensor, b: Tensor, frac: float, *, start_dim: int = 1) -> Tensor:
    """The great circle from a to b at constant angular speed, lengths on a straight line, both ends exact.

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
        self._opposite = is_opposite(angle)
        self._angle = np.where(self._opposite, 0.0, angle)
        self._around = self._halves() if self._opposite.any() else None

    def at(self, frac: float) -> Tensor:
        """The rows [..., D] at frac between a (0) and b (1)."""
        first, second = slerp_weights(self._angle, frac)
        length = (1.0 - frac) * self._length_a + frac * self._length_b
        first = np.where(self._zero, first, first * length / np.where(self._zero, 1.0, self._length_a))
        second = np.where(self._zero, second, second * length / np.where(self._zero, 1.0, self._length_b))
        rows = self._a * _column(first, self._a) + self._b * _column(second, self._a)
        if self._around is not None:
            half, place = (0, 2 * frac) if frac < 0.5 else (1, 2 * frac - 1)
            rows[torch.as_tensor(self._opposite, device=rows.device)] = self._around[half].at(place)
        return rows

    def _halves(self) -> tuple[Arc, Arc]:
        """The two arcs by which the opposite rows are joined, through the detour made perpendicular to a."""
        chosen = torch.as_tensor(self._opposite, device=self._a.device)
        a, b = self._a[chosen], self._b[chosen]
        if a.shape[-1] < 2:
            raise ValueError(
                "slerp: opposite vectors of a single element have no path around zero between them"
            )
        length_a, length_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
        unit = a / length_a
        aside = detour(a.shape[-1]).to(a)
        aside = aside - (aside * unit).sum(-1, keepdim=True) * unit
        middle = aside * ((length_a + length_b) / 2 / aside.norm(dim=-1, keepdim=True))
        return Arc(a, middle), Arc(middle, b)


def _column(weights: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(weights).to(like.dtype).to(like.device).unsqueeze(-1)


def computed(x: Tensor) -> Tensor:
    """x in the precision of the arithmetic: float64 stays, everything else becomes float32."""
    return x if x.dtype == torch.float64 else x.float()


def widened(x: Tensor) -> Tensor:
    """x in float64; on the CPU where the device (MPS) has none."""
    return x.cpu().double() if x.device.type == "mps" else x.double()


@dataclass(frozen=True)
class Moments:
    """First and second moments of K vectors, float64: all that lengths, angles and correlations need.

    mean:  [K], over the elements of each vector
    gram:  [K, K], inner products
    size:  elements of each vector
    """

    mean: np.ndarray
    gram: np.ndarray
    size: int

    @classmethod
    def of(cls, rows: Tensor) -> Moments:
        """rows: [K, D] on any device; one pass, sums in float64."""
        count, size = rows.shape
        total, gram = np.zeros(count), np.zeros((count, count))
        for chunk in rows.split(_CHUNK, dim=1):
            wide = widened(chunk)
            total += wide.sum(1).cpu().numpy()
            gram += (wide @ wide.T).cpu().numpy()
        return cls(total / size, gram, size)

    @cached_property
    def length(self) -> np.ndarray:
        """[K], Euclidean."""
        return np.sqrt(self.gram.diagonal())

    @cached_property
    def cosine(self) -> np.ndarray:
        """[K, K], cosines of the angles between the vectors; needs vectors that are not zero."""
        return self.gram / np.outer(self.length, self.length)

    @cached_property
    def std(self) -> np.ndarray:
        """[K], population standard deviation of the elements of each vector."""
        return np.sqrt(np.maximum(self.gram.diagonal() / self.size - self.mean**2, 0.0))

    @cached_property
    def correlation(self) -> np.ndarray:
        """[K, K], Pearson; needs vectors that are not constant."""
        return (self.gram / self.size - np.outer(self.mean, self.mean)) / np.outer(self.std, self.std)


def variance_exact_terms(
    moments: Moments, weights: Mapping[int, float], mean: float, std: float
) -> tuple[dict, float]:
    """Coefficients that give sum w_k x_k the stated mean and standard deviation, whatever the correlation.

    moments: of the vectors
    weights: vector -> weight
    mean, std: of the elements of the result
    returns: (vector -> coefficient, constant to add to every element)
    raises:  ValueError if the weighted vectors cancel
    source:  combination of Gaussians, arXiv 2408.08558, with sqrt(sum w^2) replaced by sqrt(w' R w), R
             measured, and the mean taken out first
    """
    keys, w = list(weights), np.array(list(weights.values()))
    variance = w @ moments.correlation[np.ix_(keys, keys)] @ w
    if variance <= OPPOSITE**2 / 4 * (w @ w):
        raise ValueError(
            "variance exact: the weighted keyframes cancel each other; use other weights or keyframes"
        )
    coefficients = std * w / (moments.std[keys] * math.sqrt(variance))
    constant = float(mean - coefficients @ moments.mean[keys])
    return dict(zip(keys, coefficients.tolist(), strict=True)), constant


def variance_exact(keyframes: Tensor, weights: Tensor) -> Tensor:
    """Mix any number of samples with exactly the variance a sample should have, correlated or not.

    keyframes: [K, ...]
    weights:   [N, K]; only their ratios and signs matter
    returns:   [N, ...], dtype of keyframes; mean and standard deviation of each mix are the means of those of the
               keyframes, weighted by the weights without their signs, and a weight above 0 on one keyframe alone gives
               that keyframe exactly
    raises:    ValueError for shapes that do not fit, weights that are all zero or not finite, constant keyframes, or
               a mix that cancels
    source:    see variance_exact_terms
    """
    if weights.ndim != 2 or weights.shape[1] != keyframes.shape[0]:
        raise ValueError(
            f"variance exact: weights must be [N, {keyframes.shape[0]}], got {list(weights.shape)}"
        )
    if not bool(weights.isfinite().all() and weights.any(1).all()):
        raise ValueError("variance exact: weights must be finite, and every mix needs one that is not 0")
    require_finite("variance exact: keyframes", keyframes)
    rows = computed(keyframes).flatten(1)
    moments = Moments.of(rows)
    require_varied(moments, [f"keyframe {k + 1}" for k in range(len(rows))])
    terms = [_mix_terms(moments, row.tolist()) for row in weights.double()]
    return blend(rows, terms).reshape(len(terms), *keyframes.shape[1:]).to(keyframes.dtype)


def _mix_terms(moments: Moments, weights: list[float]) -> tuple[dict, float]:
    used = {k: w for k, w in enumerate(weights) if w}
    if len(used) == 1 and min(used.values()) > 0:
        return dict.fromkeys(used, 1.0), 0.0
    share = np.abs(list(used.values()))
    share = share / share.sum()
    keys = list(used)
    return variance_exact_terms(moments, used, share @ moments.mean[keys], share @ moments.std[keys])


def require_varied(moments: Moments, names: Sequence[str]) -> None:
    """raises: ValueError naming a vector all of whose elements are equal (up to rounding)"""
    for name, std, length in zip(names, moments.std, moments.length, strict=True):
        if std <= _CONSTANT * length / math.sqrt(moments.size):
            raise ValueError(
                f"variance exact: {name} has the same value everywhere, so it has no variance to keep; "
                "replace it by noise"
            )


def blend(rows: Tensor, terms: Sequence[tuple[Mapping[int, float], float]]) -> Tensor:
    """Weighted sums of rows, one at a time: no sum depends on the others, not even in its last bit.

    rows:    [K, D]
    terms:   N times (row -> coefficient, constant to add)
    returns: [N, D], dtype and device of rows
    """
    out = torch.empty(len(terms), rows.shape[1], dtype=rows.dtype, device=rows.device)
    sources = rows.unbind()
    for target, (coefficients, constant) in zip(out.unbind(), terms, strict=True):
        (first, scale), *others = coefficients.items()
        torch.mul(sources[first], scale, out=target)
        for k, coefficient in others:
            target.add_(sources[k], alpha=coefficient)
        if constant:
            target.add_(constant)
    return out
