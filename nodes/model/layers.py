"""LoRA pairs beside the layers of the host's network: a layer's output plus the pair's, the weight untouched.

So the weight may be of any precision, quantised ones and those that the host casts or offloads call by call
included, and gradients reach the pairs. The host's own adapters beside a weight move what they add to the weight's
type, in which it cannot be trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from ...smooth_lora.lora.pairs import lora_output


@dataclass(frozen=True)
class Addition:
    """What is added to a layer.

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
    """Within it, the layers give the pairs' outputs as well; what else stands in their forward stays beneath."""
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
    """By its attributes: the host's quantised layers are no torch.nn.Linear."""
    return _axes(module) == 2 and hasattr(module, "in_features")


def is_convolution(module: nn.Module) -> bool:
    """One that a pair can stand beside: not grouped, padded with zeros."""
    plain = getattr(module, "groups", 1) == 1 and getattr(module, "padding_mode", "zeros") == "zeros"
    return _axes(module) > 2 and hasattr(module, "stride") and plain


def _axes(module: nn.Module) -> int:
    """Of its weight; 0 without one."""
    weight = getattr(module, "weight", None)
    return weight.ndim if isinstance(weight, Tensor) else 0


def _forward_with(module: nn.Module, addition: Addition) -> Callable[..., Tensor]:
    """The layer's present forward plus the pair's output."""
    forward, scale, rows = module.forward, addition.scale, addition.rows
    convolution = None
    if not is_linear(module):
        convolution = {
            "stride": module.stride,
            "padding": module.padding,
            "dilation": module.dilation,
            "kernel": tuple(module.weight.shape[2:]),
        }

    def lora_forward(x: Tensor, *args, **kwargs) -> Tensor:
        out = forward(x, *args, **kwargs)
        # Some layers of a half-precision network compute in float32.
        cast = (None if matrix is None else matrix.to(x.dtype) for matrix in addition.matrices)
        more = lora_output(x, *cast, scale=scale, convolution=convolution).to(out.dtype)
        if addition.shares is not None:
            more = more * _for_rows(addition.shares, more)
        if rows is None:
            return out + more
        out = out.clone()
        out.narrow(-1 if convolution is None else 1, *rows).add_(more)
        return out

    return lora_forward


def _for_rows(shares: Tensor, out: Tensor) -> Tensor:
    """Shares [B] for the rows of a layer's output, which may hold several for each sample: the frames of a video.

    raises: ValueError if the rows are no multiple of the samples
    """
    if len(out) % len(shares):
        raise ValueError(
            f"a LoRA strength that walks: a layer of this model has {len(out)} rows for {len(shares)} "
            "frames, so nothing says which belongs to which; use one strength"
        )
    each = shares.repeat_interleave(len(out) // len(shares))
    return each.to(out).reshape(-1, *[1] * (out.ndim - 1))
