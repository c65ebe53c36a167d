"""A LoRA file's tensors sorted into complete, finite, matching pairs, with one sentence for each fault."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from ..wording import name_some
from .keys import PAIR_ROLES, Role, is_text_encoder, split_key
from .pairs import Lora, LoraPair, Replacement

ADAPTER_METADATA = "lora_adapter_metadata"  # where diffusers keeps PEFT's settings in a safetensors file
AlphaOfRank = Callable[[int], "float | None"]
Parts = Mapping[Role, tuple[str, Tensor]]  # a module's tensors by role: their keys, and the tensors


def parse_lora(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, name: str) -> Lora:
    """Sorts a LoRA's tensors into complete, finite, matching pairs.

    tensors: by key; metadata: the file's text entries, read for PEFT's alpha where no tensor gives one
    name:    of the file, for errors and reports
    raises:  ValueError if a pair is incomplete, doubled, of unequal rank or not finite, or if there is no
             LoRA in it
    """
    return _Parser(tensors, metadata, name).parsed()


class _Parser:
    """The parsing of one file, whose name every error begins with."""

    def __init__(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], name: str):
        self.tensors, self.metadata, self.name = tensors, metadata, name

    def parsed(self) -> Lora:
        text_encoder = tuple(sorted(filter(is_text_encoder, self.tensors)))
        modules, unknown = self._by_module(self.tensors.keys() - set(text_encoder))
        self._require_any(modules, text_encoder, unknown)
        default_alpha = self._default_alpha()
        pairs: list[LoraPair] = []
        replacements: list[Replacement] = []
        for module in sorted(modules):
            parts: Parts = {role: (key, self._finite(key)) for role, key in modules[module].items()}
            if parts.keys() & set(PAIR_ROLES):
                pairs.append(self._pair(module, parts, default_alpha))
            replacements += [
                Replacement(module, key, role, tensor)
                for role, (key, tensor) in parts.items()
                if role not in PAIR_ROLES
            ]
        return Lora(self.name, tuple(pairs), tuple(replacements), text_encoder, unknown)

    def _by_module(self, keys: Iterable[str]) -> tuple[dict[str, dict[Role, str]], tuple[str, ...]]:
        """Returns {module name: {role: key}} and the keys that are no part of a LoRA."""
        modules: dict[str, dict[Role, str]] = {}
        unknown = []
        for key in sorted(keys):
            split = split_key(key)
            if split is None:
                unknown.append(key)
                continue
            module, role = split
            first = modules.setdefault(module, {}).setdefault(role, key)
            if first != key:
                raise ValueError(
                    f"'{self.name}' holds two adapters for {module} ('{first}' and '{key}'); save each "
                    "adapter as a file of its own"
                )
        # LoHa, LoKr and the like share these two with LoRA; what else they have is unknown above.
        for module in [module for module, roles in modules.items() if roles.keys() <= {"alpha", "dora_scale"}]:
            unknown += modules.pop(module).values()
        return modules, tuple(unknown)

    def _require_any(self, modules: Mapping[str, object], text_encoder: Sequence[str], unknown: Sequence[str]) -> None:
        if modules:
            return
        if text_encoder and not unknown:
            raise ValueError(
                f"'{self.name}' holds {len(text_encoder)} tensors for the text encoder only, which this "
                "node does not change; load it with the stock 'Load LoRA' node"
            )
        raise ValueError(
            f"'{self.name}' holds no LoRA pairs among its {len(unknown) + len(text_encoder)} tensors "
            f"(first: {name_some(unknown)}); choose a LoRA file, or load a LoHa, LoKr or OFT with "
            "the stock 'Load LoRA' node"
        )

    def _pair(self, module: str, parts: Parts, default_alpha: AlphaOfRank) -> LoraPair:
        parts = {role: parts[role] for role in PAIR_ROLES if role in parts}
        missing = [role for role in ("up", "down") if role not in parts]
        if missing:
            present = next(iter(parts.values()))[0]
            raise ValueError(
                f"'{self.name}' has only half of the pair for {module} ('{present}' without its "
                f"{' and '.join(missing)} matrix); download it again or save it again"
            )
        tensors = {role: tensor for role, (_, tensor) in parts.items()}
        up, down, mid, alpha = tensors["up"], tensors["down"], tensors.get("mid"), tensors.get("alpha")
        self._require_ranks(module, up, down, mid)
        if alpha is not None and alpha.numel() != 1:
            raise ValueError(
                f"'{self.name}' has {alpha.numel()} values as the alpha of {module}, not one; save it again"
            )
        return LoraPair(
            name=module,
            keys=tuple(key for key, _ in parts.values()),
            up=up,
            down=down,
            mid=mid,
            dora_scale=tensors.get("dora_scale"),
            alpha=default_alpha(down.shape[0]) if alpha is None else alpha.item(),
        )

    def _require_ranks(self, module: str, up: Tensor, down: Tensor, mid: Tensor | None) -> None:
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
                f"'{self.name}' has matrices of unequal rank for {module} ({shapes}); download it "
                "again or save it again"
            )

    def _finite(self, key: str) -> Tensor:
        tensor = self.tensors[key]
        bad = tensor.numel() - int(torch.isfinite(tensor.float()).sum())  # the 8-bit types have no isfinite
        if bad:
            raise ValueError(
                f"'{self.name}' holds NaN or infinity ({bad} of {tensor.numel()} values of '{key}'), "
                "so the file is damaged or its training went wrong; use another one"
            )
        return tensor

    def _default_alpha(self) -> AlphaOfRank:
        """Returns what PEFT's settings in the metadata make of a rank: PEFT's files have no alpha tensors.

        source:  PEFT's scaling: lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora (arXiv 2312.03732)
        """
        try:
            stored = json.loads(self.metadata.get(ADAPTER_METADATA, "{}"))
            # diffusers puts the network's name before each setting
            settings = {key.removeprefix("unet.").removeprefix("transformer."): stored[key] for key in stored}
            alpha = float(settings["lora_alpha"]) if settings.get("lora_alpha") is not None else None
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"'{self.name}' has damaged PEFT settings in its metadata; save it again") from error
        if settings.get("alpha_pattern"):
            raise ValueError(
                f"'{self.name}' has an alpha of its own for some modules (PEFT's alpha_pattern), which "
                "its tensors do not show; convert it to kohya's format, which stores each alpha"
            )
        if alpha is None:
            return lambda rank: None
        return (lambda rank: alpha * math.sqrt(rank)) if settings.get("use_rslora") else (lambda rank: alpha)
