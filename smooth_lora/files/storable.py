"""Values that a file can hold: plain data, and tensors whose bytes can be read."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

MAX_DEPTH = 64  # lists in lists; a value that holds itself would have no end
DTYPES = {  # as safetensors names them
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
}


def bytes_of(tensor: Tensor) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Returns the values of a tensor in order as bytes, [n] uint8, without a copy where they already lie in order.

    tensor: one in which `tensor_fault` finds nothing
    """
    return tensor.detach().cpu().resolve_neg().contiguous().flatten().view(torch.uint8).numpy()


def tensor_fault(tensor: Tensor) -> str | None:
    """Describes a tensor whose values cannot be read, for an error; None for a usual tensor."""
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"an object of type {type(tensor).__name__}"
    if tensor.layout != torch.strided or tensor.is_meta:
        return "a tensor that is sparse or has no values"
    return None if tensor.dtype in DTYPES else f"a tensor of {tensor.dtype}"


def value_fault(value: object) -> str:
    """Describes a value that is neither plain data nor a usual tensor, for an error."""
    if type(value) is dict:
        return "a table whose keys are not all texts"
    return f"an object of type {type(value).__name__}"
