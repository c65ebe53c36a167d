"""Precisions in which tensors are computed."""

from __future__ import annotations

import torch
from torch import Tensor


def computed(x: Tensor) -> Tensor:
    """Returns x in the precision of the arithmetic: float64 stays, everything else becomes float32."""
    return x if x.dtype == torch.float64 else x.float()


def widened(x: Tensor) -> Tensor:
    """Returns x in float64; on the CPU where the device (MPS) has none."""
    return x.cpu().double() if x.device.type == "mps" else x.double()
