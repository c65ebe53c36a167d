"""LoRA as plain tensors: pairs of matrices, and the outputs they add to layers.

A pair changes a weight W [out, in] to W + scale * up @ down with up [out, rank], down [rank, in] and
scale = alpha / rank, or 1 where no alpha is given (LoRA, arXiv 2106.09685 section 4.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .keys import is_text_projection, key_style

TEXT_WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 1280: "SDXL refiner", 2048: "SDXL"}
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@dataclass(frozen=True)
class LoraPair:
    """One module's pair of matrices.

    name: the module as the file calls it; keys: its tensors' names there, that of up first
    up: [out, rank, ...]; down: [rank, in, ...]; mid: [rank, rank, k, k] of a Tucker convolution, else None
    alpha: None where the file gives none; dora_scale: DoRA's magnitudes or None
    """

    name: str
    keys: tuple[str, ...]
    up: Tensor
    down: Tensor
    mid: Tensor | None = None
    alpha: float | None = None
    dora_scale: Tensor | None = None

    @property
    def rank(self) -> int:
        """Inner size of the two matrices."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Factor alpha / rank of the pair's output; 1 without an alpha."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def fits(self, weight: Sequence[int]) -> bool:
        """Returns True if up @ down is as large as a weight of this shape, flattened after its first axis."""
        if len(weight) < 2:
            return False
        kernel = 1 if self.mid is None else self.mid[0, 0].numel()
        product = (self.up.shape[0], self.down[0].numel() * kernel)
        magnitudes = self.dora_scale is None or self.dora_scale.numel() in weight[:2]
        return product == (weight[0], math.prod(weight[1:])) and magnitudes


@dataclass(frozen=True)
class Replacement:
    """A whole tensor for a module: a difference to its weight ("diff") or bias ("diff_b"), or a new weight.

    name: the module as the file calls it; key: the tensor's name there
    """

    name: str
    key: str
    role: str
    tensor: Tensor


@dataclass(frozen=True)
class Lora:
    """The content of a LoRA file, sorted.

    name: of the file, for errors and reports; pairs, replacements: what changes the diffusion model
    text_encoder, unknown: keys of the tensors for the text encoder, and of those that are no part of a LoRA
    """

    name: str
    pairs: tuple[LoraPair, ...]
    replacements: tuple[Replacement, ...]
    text_encoder: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def tensors(self) -> int:
        """Number of tensors in the file."""
        used = sum(len(pair.keys) for pair in self.pairs) + len(self.replacements)
        return used + len(self.text_encoder) + len(self.unknown)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks of the pairs, each once, rising."""
        return tuple(sorted({pair.rank for pair in self.pairs}))

    @property
    def styles(self) -> tuple[str, ...]:
        """Families of key names in the file."""
        return tuple(sorted({key_style(pair.name, pair.keys[0]) for pair in self.pairs}))


def text_width(pairs: Sequence[LoraPair]) -> int | None:
    """Width of the text embedding that a LoRA was trained with, from the keys and values of cross-attention.

    returns: the input width of attn2.to_k and to_v where all of them agree, else None
    """
    widths = {pair.down[0].numel() for pair in pairs if is_text_projection(pair.name)}
    return widths.pop() if len(widths) == 1 else None


def made_for(lora: Lora) -> str:
    """Names the base model that a LoRA was made for, by its text width or else by the names of its modules."""
    width = text_width(lora.pairs)
    if width is not None:
        return f"{TEXT_WIDTHS.get(width, 'a model')} (text width {width})"
    names = " ".join(pair.name.replace(".", "_") for pair in lora.pairs)
    if "single_blocks" in names or "single_transformer_blocks" in names:
        return "Flux"
    if "joint_blocks" in names or "attn_add_k_proj" in names:
        return "Stable Diffusion 3"
    return "a model it does not name"


def lora_output(
    x: Tensor,
    down: Tensor,
    up: Tensor,
    mid: Tensor | None = None,
    *,
    scale: float,
    convolution: Mapping[str, Any] | None = None,
) -> Tensor:
    """Output that a pair adds to a layer's: scale * up(down(x)), without forming up @ down.

    x: [..., in] for a linear layer, [B, in, ...] for a convolution; down, up, mid: as in `LoraPair`, with the
    dtype and device of x; scale: strength times alpha / rank; convolution: the layer's stride, padding and
    dilation, and the shape of its kernel as `kernel`, None for a linear layer
    returns: the shape of the layer's output, dtype of x
    source:  LoRA, arXiv 2106.09685 eq. 3; in a convolution, down (or mid) has the layer's kernel, stride and
             padding, the rest is 1x1
    """
    if convolution is None:
        return F.linear(F.linear(x, down.flatten(1)), up.flatten(1)) * scale
    options = {key: value for key, value in convolution.items() if key != "kernel"}
    kernel = tuple(convolution["kernel"])
    ones = (1,) * len(kernel)
    convolve = CONVOLUTIONS[len(kernel)]
    if mid is None:
        hidden = convolve(x, down.reshape(down.shape[0], -1, *kernel), **options)
    else:
        hidden = convolve(convolve(x, down.reshape(down.shape[0], -1, *ones)), mid, **options)
    return convolve(hidden, up.reshape(up.shape[0], -1, *ones)) * scale
