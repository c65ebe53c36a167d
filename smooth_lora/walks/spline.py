"""Curves through many directions on a sphere without a kink at any of them.

Every direction here is a combination of the given vectors, written as its coefficients: the inner products
that great circles need then come from the small matrix of cosines, however long the vectors are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import numpy as np

from .arc import angle_of, is_opposite, slerp_weights

_Point = TypeVar("_Point", float, np.ndarray)

# A squared sine that is rounding: cosines are exact to some 1e-15.
_ON_ONE_LINE = 1e-12


class Span:
    """Unit directions in the span of M unit vectors, as coefficients [M].

    cosine: [M, M], inner products of the unit vectors
    aside:  index of the vector through which opposite directions are joined; None takes the most
            perpendicular one
    """

    def __init__(self, cosine: np.ndarray, aside: int | None = None):
        self._cosine = cosine
        self._aside = aside
        self._vectors = np.eye(len(cosine))

    def vector(self, k: int) -> np.ndarray:
        """Returns the k-th unit vector."""
        vector: np.ndarray = self._vectors[k]
        return vector

    def dot(self, u: np.ndarray, v: np.ndarray) -> float:
        """Inner product of two directions."""
        return float(u @ self._cosine @ v)

    def slerp(self, u: np.ndarray, v: np.ndarray, frac: float) -> np.ndarray:
        """Returns the direction at frac between u and v; opposite ones are joined by two quarter circles."""
        angle = angle_of(self.dot(u, v))
        if not is_opposite(angle):
            first, second = slerp_weights(angle, frac)
            direction: np.ndarray = first * u + second * v
            return direction
        middle = self.perpendicular(u)
        return self.slerp(u, middle, 2 * frac) if frac < 0.5 else self.slerp(middle, v, 2 * frac - 1)

    def perpendicular(self, u: np.ndarray) -> np.ndarray:
        """Returns the direction perpendicular to u through which its opposite is joined.

        raises: ValueError when all vectors lie on one line
        """
        along = self._cosine @ u
        k = int(np.argmin(np.abs(along))) if self._aside is None else self._aside
        left = 1.0 - along[k] ** 2
        if left < _ON_ONE_LINE:
            raise ValueError("opposite keyframes of a single element have no path around zero between them")
        across: np.ndarray = (self.vector(k) - along[k] * u) / math.sqrt(left)
        return across

    def log(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Returns the tangent at u that leads to v along the great circle, as long as the angle between them."""
        cosine = self.dot(u, v)
        angle = float(angle_of(cosine))
        if is_opposite(angle):
            return angle * self.perpendicular(u)
        tangent: np.ndarray = np.zeros_like(u) if angle == 0.0 else (v - cosine * u) * (angle / math.sin(angle))
        return tangent

    def exp(self, u: np.ndarray, tangent: np.ndarray) -> np.ndarray:
        """Returns the direction reached from u along a tangent."""
        angle = math.sqrt(max(self.dot(tangent, tangent), 0.0))
        return u if angle == 0.0 else math.cos(angle) * u + (math.sin(angle) / angle) * tangent


class SphericalSpline:
    """A closed or open curve through the first K directions of a span, continuous in its first derivative.

    It is one cubic Bezier curve per segment, evaluated by de Casteljau's scheme with slerp for every straight line;
    its tangent at a keyframe is half the way from the keyframe before to the one after (Catmull-Rom), at an
    open end the way to the only neighbour.

    span:    holds the keyframes
    lengths: [K], lengths of the keyframes; their logarithms follow the same spline in one dimension
    loop:    whether the last segment leads back to keyframe 0
    source:  Shoemake, Animating rotation with quaternion curves (SIGGRAPH 1985)
    """

    def __init__(self, span: Span, lengths: np.ndarray, loop: bool):
        self._span = span
        self._log_lengths = np.log(lengths)
        self._loop = loop
        self._controls: dict[int, tuple[list[np.ndarray], list[float]]] = {}

    def at(self, index: int, frac: float) -> np.ndarray:
        """Returns the coefficients [M] of direction times length, at frac of the segment from keyframe `index` on."""
        if index not in self._controls:
            self._controls[index] = self._segment(index)
        points, heights = self._controls[index]
        return _de_casteljau(points, frac, self._span.slerp) * math.exp(_de_casteljau(heights, frac, _line))

    def _segment(self, index: int) -> tuple[list[np.ndarray], list[float]]:
        """Returns the four control points of a segment: directions and log lengths."""
        start, end = index, (index + 1) % len(self._log_lengths)
        (turn_start, rise_start), (turn_end, rise_end) = self._tangent(start), self._tangent(end)
        p, q = self._span.vector(start), self._span.vector(end)
        low, high = self._log_lengths[start], self._log_lengths[end]
        return (
            [p, self._span.exp(p, turn_start / 3), self._span.exp(q, -turn_end / 3), q],
            [low, low + rise_start / 3, high - rise_end / 3, high],
        )

    def _tangent(self, k: int) -> tuple[np.ndarray, float]:
        count, heights = len(self._log_lengths), self._log_lengths
        before, after = k - 1, k + 1
        if self._loop:
            before, after = before % count, after % count
        ways = []
        if before >= 0:
            ways.append((-self._way(k, before), heights[k] - heights[before]))
        if after < count:
            ways.append((self._way(k, after), heights[after] - heights[k]))
        return np.asarray(sum(turn for turn, _ in ways)) / len(ways), sum(rise for _, rise in ways) / len(ways)

    def _way(self, k: int, other: int) -> np.ndarray:
        return self._span.log(self._span.vector(k), self._span.vector(other))


def _de_casteljau(points: list[_Point], frac: float, join: Callable[[_Point, _Point, float], _Point]) -> _Point:
    while len(points) > 1:
        points = [join(p, q, frac) for p, q in pairwise(points)]
    return points[0]


def _line(p: float, q: float, frac: float) -> float:
    return (1 - frac) * p + frac * q
