"""Tolerances with a reason: the rounding of a type, in steps, beside the size of the values.

A processor, a thread count or a version of a library changes the order of sums, whether a product is rounded before it
is added, and the last digit of sqrt, sin and exp: each of these changes a result by one rounding or less. So a
computation of few operations, or a sum of many values whose errors cancel, strays by a few roundings of the largest
value in it (STEPS). A longer one states more of them, and what amplifies them: a condition number, a division by a
small step, a root.

Nothing strays where both sides make the same operations on the same shapes and layouts in one process, or where values
are only copied: those tests ask for equal bits, which no helper needs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STEPS = 16


def rounding(dtype: torch.dtype, steps: float = STEPS) -> float:
    """Relative error of so many roundings."""
    return steps * torch.finfo(dtype).eps


# Of what float64 computes in few operations, relative; pytest.approx allows 1e-12 in any case unless abs is given, too.
EXACT = rounding(torch.float64)


def assert_rounds_to(
    found: Tensor | np.ndarray, expected: Tensor | np.ndarray, steps: float = STEPS, dtype: torch.dtype | None = None
) -> None:
    """Assert that values differ by so many roundings of the largest of them.

    dtype: of the roundings, that of `found` by default
    """
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    assert found.shape == expected.shape, f"shapes {tuple(found.shape)} and {tuple(expected.shape)}"
    size = float(expected.abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(
        found.double(), expected.double(), rtol=0, atol=rounding(dtype or found.dtype, steps) * size
    )
