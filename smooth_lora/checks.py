"""Checks at the public boundary: each raises one sentence with the value and the rule that it breaks."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

# Seeds are whole numbers from 0 to MAX_SEED, as in ComfyUI; where a node counts further seeds on from one, to
# MAX_FIRST_SEED.
MAX_SEED = 2**64 - 1
MAX_FIRST_SEED = 2**63


def require_same_shape(what: str, **tensors: Tensor) -> None:
    """Refuses tensors of different shapes.

    raises: ValueError with every shape
    """
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = " and ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{what}: shapes must be equal, got {listed}")


def require_finite(what: str, x: Tensor) -> None:
    """Refuses NaN and infinity.

    raises: ValueError with their number
    """
    bad = x.numel() - int(torch.isfinite(x).sum())
    if bad:
        raise ValueError(f"{what} holds {bad} NaN or infinite values")


def require_range(what: str, value: float, low: float, high: float) -> None:
    """Refuses a number outside low..high, both included, or NaN.

    raises: ValueError with the number and the range
    """
    if not low <= value <= high:
        raise ValueError(f"{what} must be between {low} and {high}, got {value}")


def require_choice(what: str, value: str, choices: Collection[str]) -> None:
    """Refuses a name that is not among the choices.

    raises: ValueError with the name and the choices
    """
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}; got {value!r}")


def require_floats(what: str, x: Tensor, remedy: str) -> None:
    """Refuses integers and truth values.

    raises: ValueError with its type and the remedy
    """
    if not x.is_floating_point():
        raise ValueError(f"{what} must hold floats, got {str(x.dtype).removeprefix('torch.')}; {remedy}")
