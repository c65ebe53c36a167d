"""Gradients through the host's network, whose weights were loaded for inference.

ComfyUI runs nodes in torch's inference mode, and what is created there cannot take part in a gradient, not even as a
constant. The gradient of a text needs the weights as constants only, so for the time of the work every weight is shown
to the network through a second tensor on the same memory: nothing is copied, moved or changed, and afterwards the host
has its own tensors back. It goes on managing them; what it casts or offloads call by call needs no second tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class _Cond(Protocol):
    """One of the host's prepared inputs of a model."""

    def _copy_with(self, cond: Tensor, /) -> Any: ...


PreparedCond = TypeVar("PreparedCond", bound=_Cond)


@contextmanager
def gradients_through(network: nn.Module, checkpointed: bool) -> Iterator[None]:
    """Records gradients within it, in which the network's weights may stand as constants.

    checkpointed: forget what is inside each block and compute it again on the way back: less memory, more time
    """
    with torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
        stack.enter_context(_weights_as_constants(network))
        if checkpointed:
            stack.enter_context(_forgetful(network))
        yield


def constant_cond(cond: PreparedCond) -> PreparedCond:
    """Returns one of the host's prepared inputs of a model with a tensor that may stand in a graph."""
    value = getattr(cond, "cond", None)
    return cond._copy_with(value.clone()) if isinstance(value, Tensor) and value.is_inference() else cond


@contextmanager
def _weights_as_constants(network: nn.Module) -> Iterator[None]:
    replaced: list[tuple[dict[str, Any], str, Tensor]] = []
    try:
        for module in network.modules():
            for named in _tensors_of(module):
                for name, tensor in named.items():
                    if tensor is not None and type(tensor.data) is Tensor and tensor.is_inference():
                        replaced.append((named, name, tensor))
                        named[name] = _alias(tensor)
        yield
    finally:
        for named, name, tensor in replaced:
            named[name] = tensor


def _tensors_of(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """The tables in which a module keeps its parameters and its buffers."""
    return module._parameters, module._buffers


def _alias(tensor: Tensor) -> Tensor:
    """Makes a normal tensor on the same memory."""
    alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    return nn.Parameter(alias, requires_grad=False) if isinstance(tensor, nn.Parameter) else alias


@contextmanager
def _forgetful(network: nn.Module) -> Iterator[None]:
    """Recomputes every block's forward when its gradient is asked for."""
    blocks = _blocks(network)
    try:
        for block in blocks:
            block.forward = _recomputed(block.forward)
        yield
    finally:
        for block in blocks:
            block.__dict__.pop("forward", None)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return run


def _blocks(network: nn.Module) -> list[nn.Module]:
    """Lists the members of the network's outermost lists of modules.

    A sequence that is a member counts by its own members, because the host's UNets call those one by one.
    """
    blocks: list[nn.Module] = []
    for child in network.children():
        if isinstance(child, (nn.ModuleList, nn.Sequential)):
            for member in child:
                blocks += list(member) if isinstance(member, nn.Sequential) else [member]
        else:
            blocks += _blocks(child)
    return [block for block in blocks if "forward" not in block.__dict__ and list(block.parameters())]
