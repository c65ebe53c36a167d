"""Sums of vectors that keep their variance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..checks import require_finite
from ..precision import computed, widened
from .arc import OPPOSITE

# A standard deviation this small compared with the values themselves is the rounding of float32.
_ROUNDING_STD = 1e-6
# Columns taken to float64 at a time, so that the moments of long videos need no float64 copy of them.
_CHUNK_COLUMNS = 1 << 18

Terms = tuple[Mapping[int, float], float]  # coefficients by vector, and a constant to add


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
        """Measures rows [K, D] on any device, in one pass, with sums in float64."""
        count, size = rows.shape
        total, gram = np.zeros(count), np.zeros((count, count))
        for start in range(0, size, _CHUNK_COLUMNS):
            wide = widened(rows[:, start : start + _CHUNK_COLUMNS])
            total += wide.sum(1).cpu().numpy()
            gram += (wide @ wide.T).cpu().numpy()
        return cls(total / size, gram, size)

    @cached_property
    def length(self) -> np.ndarray:
        """Euclidean lengths [K]."""
        length: np.ndarray = np.sqrt(self.gram.diagonal())
        return length

    @cached_property
    def cosine(self) -> np.ndarray:
        """Cosines [K, K] of the angles between the vectors; needs vectors that are not zero."""
        cosine: np.ndarray = self.gram / np.outer(self.length, self.length)
        return cosine

    @cached_property
    def std(self) -> np.ndarray:
        """Population standard deviations [K] of the elements of each vector."""
        std: np.ndarray = np.sqrt(np.maximum(self.gram.diagonal() / self.size - self.mean**2, 0.0))
        return std

    @cached_property
    def correlation(self) -> np.ndarray:
        """Pearson correlations [K, K]; needs vectors that are not constant."""
        return (self.gram / self.size - np.outer(self.mean, self.mean)) / np.outer(self.std, self.std)


def variance_exact_terms(moments: Moments, weights: Mapping[int, float], mean: float, std: float) -> Terms:
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
        raise ValueError("variance exact: the weighted keyframes cancel each other; use other weights or keyframes")
    coefficients = std * w / (moments.std[keys] * math.sqrt(variance))
    constant = float(mean - coefficients @ moments.mean[keys])
    return dict(zip(keys, coefficients.tolist(), strict=True)), constant


def variance_exact(keyframes: Tensor, weights: Tensor) -> Tensor:
    """Mixes any number of samples with exactly the variance a sample should have, correlated or not.

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
        raise ValueError(f"variance exact: weights must be [N, {keyframes.shape[0]}], got {list(weights.shape)}")
    if not bool(weights.isfinite().all() and weights.any(1).all()):
        raise ValueError("variance exact: weights must be finite, and every mix needs one that is not 0")
    require_finite("variance exact: keyframes", keyframes)
    rows = computed(keyframes).flatten(1)
    moments = Moments.of(rows)
    require_varied(moments, [f"keyframe {k + 1}" for k in range(len(rows))])
    terms = [_mix_terms(moments, row.tolist()) for row in weights.double()]
    return blend(rows, terms).reshape(len(terms), *keyframes.shape[1:]).to(keyframes.dtype)


def _mix_terms(moments: Moments, weights: list[float]) -> Terms:
    used = {k: w for k, w in enumerate(weights) if w}
    if len(used) == 1 and min(used.values()) > 0:
        return dict.fromkeys(used, 1.0), 0.0
    share = np.abs(list(used.values()))
    share = share / share.sum()
    keys = list(used)
    return variance_exact_terms(moments, used, share @ moments.mean[keys], share @ moments.std[keys])


def require_varied(moments: Moments, names: Sequence[str]) -> None:
    """Refuses vectors without variance.

    raises: ValueError naming a vector all of whose elements are equal (up to rounding)
    """
    for name, std, length in zip(names, moments.std, moments.length, strict=True):
        if std <= _ROUNDING_STD * length / math.sqrt(moments.size):
            raise ValueError(
                f"variance exact: {name} has the same value everywhere, so it has no variance to keep; "
                "replace it by noise"
            )


def blend(rows: Tensor, terms: Sequence[Terms]) -> Tensor:
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
