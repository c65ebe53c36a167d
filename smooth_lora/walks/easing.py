"""Easings: how time is bent along a walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from torch import Tensor

from ..checks import require_choice

Easing = Literal["linear", "ease in", "ease out", "ease in and out"]


EasingOver = Literal["walk", "segment"]


Time = TypeVar("Time", float, Tensor)


_EASINGS: dict[Easing, Callable] = {
    "linear": lambda t: t,
    "ease in": lambda t: t * t,
    "ease out": lambda t: 1 - (1 - t) * (1 - t),
    "ease in and out": lambda t: t * t * (3 - 2 * t),
}


EASINGS: tuple[Easing, ...] = tuple(_EASINGS)


def ease(t: Time, easing: Easing) -> Time:
    """Bend time: strictly increasing on 0..1, with 0 and 1 exactly where they were.

    t:       position, 0..1
    easing:  linear, ease in (starts slowly), ease out (ends slowly), ease in and out (smoothstep)
    raises:  ValueError for an unknown easing
    """
    require_choice("easing", easing, EASINGS)
    return _EASINGS[easing](t)
