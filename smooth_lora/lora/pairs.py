"""LoRA as plain tensors: from a file's keys to checked pairs of matrices, and what a pair adds to a layer.

A pair changes a weight W [out, in] to W + scale * up @ down with up [out, rank], down [rank, in] and
scale = alpha / rank, or 1 where no alpha is given (LoRA, arXiv 2106.09685 section 4.1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..wording import name_some
from .keys import PAIR_ROLES, is_text_encoder, is_text_projection, key_style, split_key

ADAPTER_METADATA = "lora_adapter_metadata"  # where diffusers keeps PEFT's settings in a safetensors file
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
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def fits(self, weight: Sequence[int]) -> bool:
        """Whether up @ down is as large as a weight of this shape, flattened after its first axis."""
        if len(weight) < 2:
            return False
        kernel = 1 if self.mid is None else self.mid[0, 0].numel()
        product = (self.up.shape[0], self.down[0].numel() * kernel)
        magnitudes = self.dora_scale is None or self.dora_scale.numel() in weight[:2]
        return product == (weight[0], math.prod(weight[1:])) and magnitudes


@dataclass(frozen=True)
class Replacement:
    """A whole tensor for a module: a difference to its weight ("diff") or bias ("diff_b"), or a new
    weight."""

    name: str
    key: str
    role: str
    tensor: Tensor


@dataclass(frozen=True)
class Lora:
    """A LoRA file sorted: what changes the diffusion model; names of what is for the text encoder or
    unknown."""

    pairs: tuple[LoraPair, ...]
    replacements: tuple[Replacement, ...]
    text_encoder: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def tensors(self) -> int:
        """How many tensors the file holds."""
        used = sum(len(pair.keys) for pair in self.pairs) + len(self.replacements)
        return used + len(self.text_encoder) + len(self.unknown)

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(sorted({pair.rank for pair in self.pairs}))

    @property
    def styles(self) -> tuple[str, ...]:
        """The families of key names in the file."""
        return tuple(sorted({key_style(pair.name, pair.keys[0]) for pair in self.pairs}))


def parse_lora(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, file: str) -> Lora:
    """Sort a LoRA's tensors into complete, finite, matching pairs.

    tensors: by key; metadata: the file's text entries, read for PEFT's alpha where no tensor gives one;
    file: what errors call the file
    raises:  ValueError if a pair is incomplete, doubled, of unequal rank or not finite, or if there is no
             LoRA in it
    """
    text_encoder = tuple(sorted(filter(is_text_encoder, tensors)))
    modules, unknown = _group(tensors.keys() - set(text_encoder), file)
    _require_any(modules, text_encoder, unknown, file)
    default_alpha = _metadata_alpha(metadata, file)
    pairs, replacements = [], []
    for name in sorted(modules):
        parts = {role: (key, _finite(tensors[key], key, file)) for role, key in modules[name].items()}
        if parts.keys() & set(PAIR_ROLES):
            pairs.append(_pair(name, parts, default_alpha, file))
        replacements += [
            Replacement(name, key, role, tensor) for role, (key, tensor) in parts.items() if role not in PAIR_ROLES
        ]
    return Lora(tuple(pairs), tuple(replacements), text_encoder, unknown)


def _group(keys: Iterable[str], file: str) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """{module name: {role: key}} and the keys that are no part of a LoRA."""
    modules: dict[str, dict[str, str]] = {}
    unknown = []
    for key in sorted(keys):
        found = split_key(key)
        if found is None:
            unknown.append(key)
            continue
        name, role = found
        first = modules.setdefault(name, {}).setdefault(role, key)
        if first != key:
            raise ValueError(
                f"'{file}' holds two adapters for {name} ('{first}' and '{key}'): save each "
                "adapter as a file of its own"
            )
    # LoHa, LoKr and the like share these two with LoRA; what else they have is unknown above.
    for name in [name for name, roles in modules.items() if roles.keys() <= {"alpha", "dora_scale"}]:
        unknown += modules.pop(name).values()
    return modules, tuple(unknown)


def _require_any(modules: Mapping, text_encoder: Sequence[str], unknown: Sequence[str], file: str) -> None:
    if modules:
        return
    if text_encoder and not unknown:
        raise ValueError(
            f"'{file}' holds {len(text_encoder)} tensors for the text encoder only, which this "
            "node does not change: load it with the stock 'Load LoRA' node"
        )
    raise ValueError(
        f"'{file}' holds no LoRA pairs among its {len(unknown) + len(text_encoder)} tensors "
        f"(first: {name_some(unknown)}): choose a LoRA file, or load a LoHa, LoKr or OFT with "
        "the stock 'Load LoRA' node"
    )


def _pair(
    name: str, parts: Mapping[str, tuple[str, Tensor]], default_alpha: Callable[[int], float | None], file: str
) -> LoraPair:
    parts = {role: parts[role] for role in PAIR_ROLES if role in parts}
    missing = [role for role in ("up", "down") if role not in parts]
    if missing:
        found = next(iter(parts.values()))[0]
        raise ValueError(
            f"'{file}' has only half of the pair for {name} ('{found}' without its "
            f"{' and '.join(missing)} matrix): download it again or save it anew"
        )
    keys = tuple(key for key, _ in parts.values())
    up, down = parts["up"][1], parts["down"][1]
    mid, alpha, dora_scale = (parts.get(role, ("", None))[1] for role in ("mid", "alpha", "dora_scale"))
    _require_ranks(name, up, down, mid, file)
    if alpha is not None and alpha.numel() != 1:
        raise ValueError(f"'{file}' has {alpha.numel()} values as the alpha of {name}, not one: save it anew")
    return LoraPair(
        name=name,
        keys=keys,
        up=up,
        down=down,
        mid=mid,
        dora_scale=dora_scale,
        alpha=default_alpha(down.shape[0]) if alpha is None else alpha.item(),
    )


def _require_ranks(name: str, up: Tensor, down: Tensor, mid: Tensor | None, file: str) -> None:
    shapes = f"up {list(up.shape)}, down {list(down.shape)}"
    matrices = up.ndim >= 2 and down.ndim >= 2 and up.numel() > 0 and down.numel() > 0
    whole = matrices and up[0].numel() == down.shape[0]
    if mid is not None:
        # Tucker form: a convolution whose kernel lies in mid, between two 1x1 convolutions.
        shapes += f", mid {list(mid.shape)}"
        ranks = (up.shape[1], down.shape[0]) if whole else ()
        whole = whole and mid.ndim > 2 and tuple(mid.shape[:2]) == ranks and down[0, 0].numel() == 1
    if not whole:
        raise ValueError(
            f"'{file}' has matrices of unequal rank for {name} ({shapes}): download it again or save it anew"
        )


def _finite(tensor: Tensor, key: str, file: str) -> Tensor:
    bad = tensor.numel() - int(torch.isfinite(tensor.float()).sum())  # the 8-bit types have no isfinite
    if bad:
        raise ValueError(
            f"'{file}' holds NaN or infinity ({bad} of {tensor.numel()} values of '{key}'): "
            "the file is damaged or its training went wrong, so use another one"
        )
    return tensor


def _metadata_alpha(metadata: Mapping[str, str], file: str) -> Callable[[int], float | None]:
    """How PEFT's settings in the metadata turn a rank into an alpha: PEFT's files have no alpha tensors.

    source:  PEFT's scaling: lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora (arXiv 2312.03732)
    """
    try:
        stored = json.loads(metadata.get(ADAPTER_METADATA, "{}"))
        # diffusers puts the network's name before each setting
        settings = {key.removeprefix("unet.").removeprefix("transformer."): stored[key] for key in stored}
        alpha = float(settings["lora_alpha"]) if settings.get("lora_alpha") is not None else None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"'{file}' has damaged PEFT settings in its metadata: save it anew") from error
    if settings.get("alpha_pattern"):
        raise ValueError(
            f"'{file}' has an alpha of its own for some modules (PEFT's alpha_pattern), which "
            "its tensors do not show: convert it to kohya's format, which stores each alpha"
        )
    if alpha is None:
        return lambda rank: None
    return (lambda rank: alpha * math.sqrt(rank)) if settings.get("use_rslora") else (lambda rank: alpha)


def text_width(pairs: Sequence[LoraPair]) -> int | None:
    """The width of the text embedding that a LoRA was trained with, from the keys and values of
    cross-attention.

    returns: the input width of attn2.to_k and to_v where all of them agree, else None
    """
    widths = {pair.down[0].numel() for pair in pairs if is_text_projection(pair.name)}
    return widths.pop() if len(widths) == 1 else None


def made_for(lora: Lora) -> str:
    """What a LoRA was made for, in words: by its text width, else by the names of its modules."""
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
    """What a pair adds to a layer's output: scale * up(down(x)), without forming up @ down.

    x: [..., in] for a linear layer, [B, in, ...] for a convolution; down, up, mid: as in `LoraPair`, with the
    dtype and device of x; scale: strength times alpha / rank; convolution: the layer's stride, padding and
    dilation, and the shape of its kernel as `kernel`, None for a linear layer
    returns: the shape of the layer's output, dtype of x
    source:  LoRA, arXiv 2106.09685 eq. 3; in a convolution down (or mid) takes the layer's place, the rest is
             1x1
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
