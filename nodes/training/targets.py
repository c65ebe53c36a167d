"""The layers of the host's network that are trained."""

from __future__ import annotations

import re

from torch import nn

from ..model.layers import is_convolution, is_linear

ATTENTION, ATTENTION_FF, EVERYTHING = "attention", "attention and feed-forward", "every linear and convolution layer"
TARGETS = (ATTENTION, ATTENTION_FF, EVERYTHING)
# The projections of the host's UNets and transformers: to_q, to_k, to_v, to_out.0; qkv and proj of SD3 and Flux.
_PROJECTION = re.compile(r"(^|[._])(to_[qkv]|to_out\.0|qkv|(?<=attn\.)proj|(?<=attn\.)out_proj|q_proj|k_proj|v_proj)$")
_FEED_FORWARD = re.compile(r"(^|[._])(ff\.net|mlp|img_mlp|txt_mlp|feed_forward)[._]")


def target_shapes(network: nn.Module, targets: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights that pairs are trained for, by the layers' paths in the network.

    targets: one of TARGETS
    raises:  ValueError if the network has no such layer
    """
    shapes = {
        path: tuple(module.weight.shape)
        for path, module in network.named_modules()
        if (is_linear(module) or is_convolution(module)) and _is_target(path, targets)
    }
    if not shapes:
        raise ValueError(f"targets: this model has no layers known as {targets}; choose {EVERYTHING!r}")
    return shapes


def _is_target(path: str, targets: str) -> bool:
    if targets == EVERYTHING:
        return True
    return bool(_PROJECTION.search(path)) or (targets == ATTENTION_FF and bool(_FEED_FORWARD.search(path)))
