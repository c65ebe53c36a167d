"""Easings, which bend time along a walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from torch import Tensor

from ..checks import require_choice

Easing = Literal["linear", "ease in", "ease out", "ease in and out"]
EasingOver = Literal["walk", "segment"]
Time = TypeVar("Time", float, Tensor)

_EASINGS: dict[Easing, Callable[[Any], Any]] = {
    "linear": lambda t: t,
    "ease in": lambda t: t * t,
    "ease out": lambda t: 1 - (1 - t) * (1 - t),
    "ease in and out": lambda t: t * t * (3 - 2 * t),
}
EASINGS: tuple[Easing, ...] = tuple(_EASINGS)


def ease(t: Time, easing: Easing) -> Time:
    """Bends time: strictly increasing from 0 to 1, both of which stay exactly where they are.

    t:       position, 0..1
    easing:  linear, ease in (starts slowly), ease out (ends slowly), ease in and out (smoothstep)
    raises:  ValueError for an unknown easing
    """
    require_choice("easing", easing, EASINGS)
    eased: Time = _EASINGS[easing](t)
    return eased
