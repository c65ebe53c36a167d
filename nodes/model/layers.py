"""LoRA pairs on the layers of the host's network: a layer's output plus the pair's, the weight untouched.

So the weight may be of any precision, quantised ones and those that the host casts or offloads call by call
included, and gradients reach the pairs. The host's own adapters cast what they add to the weight's type,
in which it cannot be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from ...smooth_lora.lora.pairs import lora_output


@dataclass(frozen=True)
class Addition:
    """An addition to a layer's output.

    path: of the layer in the network; matrices: down, up and mid or None, on the network's device
    scale: strength times alpha / rank; rows: (first, length) of the output's features, None for all of them
    shares: [B] of the scale for each sample of the batch, None: the whole scale for all
    """

    path: str
    matrices: tuple[Tensor | None, ...]
    scale: float = 1.0
    rows: tuple[int, int] | None = None
    shares: Tensor | None = None


@contextmanager
def added(network: nn.Module, additions: Sequence[Addition]) -> Iterator[None]:
    """Adds the pairs' outputs to the layers' within it; their present forward is called first."""
    replaced: list[tuple[nn.Module, Callable | None]] = []
    try:
        for addition in additions:
            module = network.get_submodule(addition.path)
            forward = _forward_with(module, addition)
            replaced.append((module, module.__dict__.get("forward")))
            module.forward = forward
        yield
    finally:
        for module, before in reversed(replaced):
            if before is None:
                del module.forward
            else:
                module.forward = before


def is_linear(module: nn.Module) -> bool:
    """True for a linear layer, by its attributes: the host's quantised ones are no torch.nn.Linear."""
    return _axes(module) == 2 and hasattr(module, "in_features")


def is_convolution(module: nn.Module) -> bool:
    """True for a convolution that a pair can be added to: not grouped, padded with zeros."""
    plain = getattr(module, "groups", 1) == 1 and getattr(module, "padding_mode", "zeros") == "zeros"
    return _axes(module) > 2 and hasattr(module, "stride") and plain


def _axes(module: nn.Module) -> int:
    """Number of axes of a layer's weight; 0 without one."""
    weight = getattr(module, "weight", None)
    return weight.ndim if isinstance(weight, Tensor) else 0


def _forward_with(module: nn.Module, addition: Addition) -> Callable[..., Tensor]:
    """Makes a forward of the layer's present one plus the pair's output."""
    forward, scale, rows = module.forward, addition.scale, addition.rows
    matrices = cast(tuple[Tensor, Tensor, Tensor | None], addition.matrices)
    convolution = None if is_linear(module) else _convolution_of(module)

    def lora_forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = forward(x, *args, **kwargs)
        # Some layers of a half-precision network compute in float32.
        down, up = (matrix.to(x.dtype) for matrix in matrices[:2])
        mid = None if matrices[2] is None else matrices[2].to(x.dtype)
        more = lora_output(x, down, up, mid, scale=scale, convolution=convolution).to(out.dtype)
        if addition.shares is not None:
            more = more * _for_rows(addition.shares, more)
        if rows is None:
            return out + more
        out = out.clone()
        out.narrow(-1 if convolution is None else 1, *rows).add_(more)
        return out

    return lora_forward


def _convolution_of(module: Any) -> dict[str, Any]:
    """The settings of a convolution, by the names of torch's; the host's layers are of classes of their own."""
    kernel = tuple(module.weight.shape[2:])
    return {"stride": module.stride, "padding": module.padding, "dilation": module.dilation, "kernel": kernel}


def _for_rows(shares: Tensor, out: Tensor) -> Tensor:
    """Repeats shares [B] for the rows of a layer's output, which holds several for each sample of a video.

    raises: ValueError if the rows are no multiple of the samples
    """
    if len(out) % len(shares):
        raise ValueError(
            f"a LoRA strength that walks: a layer of this model has {len(out)} rows for {len(shares)} "
            "frames, so nothing says which belongs to which; use one strength"
        )
    each = shares.repeat_interleave(len(out) // len(shares))
    return each.to(out).reshape(-1, *[1] * (out.ndim - 1))
