"""Places of a LoRA's parts in the host's model: the weight that each goes to, and the check that it fits there."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.lora
import comfy.utils
from comfy.model_patcher import ModelPatcher

from ...smooth_lora.lora.keys import candidate_names
from ...smooth_lora.lora.pairs import TEXT_WIDTHS, Lora, LoraPair, Replacement, made_for, text_width
from ...smooth_lora.wording import name_some
from ..host.wires import context_width

OTHER_MODEL_ADVICE = "load a checkpoint of the LoRA's kind, or choose another LoRA"


@dataclass(frozen=True)
class Target:
    """A part of a LoRA and the weight that it goes to.

    patch_key: the host's table's entry: a weight's key, or (key, (axis, first, length)) for a slice of it
    listed:    the name of that entry; weight: the key alone; shape: of the weight, or of the slice meant
    """

    part: LoraPair | Replacement
    patch_key: str | tuple[Any, ...]
    listed: str
    weight: str
    shape: tuple[int, ...]

    @property
    def fits(self) -> bool:
        if isinstance(self.part, LoraPair):
            return self.part.fits(self.shape)
        return tuple(self.part.tensor.shape) == self.shape

    @property
    def shapes_text(self) -> str:
        """The shapes of the part and of the weight, for an error."""
        if isinstance(self.part, LoraPair):
            up, down = list(self.part.up.shape), list(self.part.down.shape)
            return f"{self.part.name} has up {up} and down {down} for a weight {list(self.shape)}"
        return f"{self.part.key} is {list(self.part.tensor.shape)} for a weight {list(self.shape)}"


@dataclass(frozen=True)
class FittedLora:
    """A LoRA with its places in one model.

    unmatched: keys of the tensors for which the model has no weight
    """

    lora: Lora
    targets: tuple[Target, ...]
    unmatched: tuple[str, ...]


def fit_lora(model: ModelPatcher, lora: Lora, *, allow_partial: bool) -> FittedLora:
    """Finds the weight of the model that each part of a LoRA goes to.

    raises: ValueError for another base model, no match, shapes that differ, or a partial match not allowed
    """
    # The host's table also lists blocks that this very network does not have.
    weights = model.model.state_dict().keys()
    table = comfy.lora.model_lora_keys_unet(model.model, {})
    targets: list[Target] = []
    unmatched = [*lora.text_encoder, *lora.unknown]
    parts: tuple[LoraPair | Replacement, ...] = (*lora.pairs, *lora.replacements)
    for part in parts:
        target = _target(model, part, table, weights)
        if target is not None:
            targets.append(target)
        else:
            unmatched += part.keys if isinstance(part, LoraPair) else [part.key]
    fitted = FittedLora(lora, tuple(targets), tuple(unmatched))
    _require_fit(model, fitted)
    _require_single(fitted)
    if unmatched and not allow_partial:
        raise ValueError(_partial(model, fitted))
    return fitted


def _target(
    model: ModelPatcher, part: LoraPair | Replacement, table: Mapping[str, Any], weights: Container[str]
) -> Target | None:
    listed = next((name for name in candidate_names(part.name) if name in table), None)
    if listed is None:
        return None
    patch_key = table[listed]
    weight, piece = (patch_key, None) if isinstance(patch_key, str) else (patch_key[0], patch_key[1])
    if isinstance(part, Replacement) and part.role == "diff_b":
        weight = weight.removesuffix(".weight") + ".bias"
    if weight not in weights:
        return None
    shape = list(comfy.utils.get_attr(model.model, weight).shape)
    if piece is not None:
        shape[piece[0]] = piece[2]
    return Target(part=part, patch_key=patch_key, listed=listed, weight=weight, shape=tuple(shape))


def _require_fit(model: ModelPatcher, fitted: FittedLora) -> None:
    lora, targets = fitted.lora, fitted.targets
    width, needed = text_width(lora.pairs), context_width(model)
    if None not in (width, needed) and width != needed:
        raise ValueError(f"'{lora.name}' is for another base model: {_bases(model, lora)}; {OTHER_MODEL_ADVICE}")
    if not targets:
        raise ValueError(
            f"'{lora.name}' matches nothing in the model (first: {name_some(fitted.unmatched)}): "
            f"{_bases(model, lora)}; {OTHER_MODEL_ADVICE}"
        )
    wrong = [target for target in targets if not target.fits]
    if wrong:
        raise ValueError(
            f"'{lora.name}' does not fit {len(wrong)} of {len(targets)} weights of the model (first: "
            f"{wrong[0].shapes_text}): {_bases(model, lora)}; {OTHER_MODEL_ADVICE}"
        )


def _require_single(fitted: FittedLora) -> None:
    modules: dict[object, str] = {}
    for target in fitted.targets:
        role = target.part.role if isinstance(target.part, Replacement) else "pair"
        first = modules.setdefault((target.patch_key, role), target.part.name)
        if first != target.part.name:
            raise ValueError(
                f"'{fitted.lora.name}' changes {target.weight} twice, as {first} and as {target.part.name}; "
                "save each LoRA in it as a file of its own"
            )


def _partial(model: ModelPatcher, fitted: FittedLora) -> str:
    lora, unmatched = fitted.lora, fitted.unmatched
    text = ""
    if lora.text_encoder:
        text = f", {len(lora.text_encoder)} of them for the text encoder, which this node does not change"
    return (
        f"'{lora.name}' matches only in part: {len(unmatched)} of {lora.tensors} tensors have no place in the "
        f"model (first: {name_some(unmatched)}){text}; {_bases(model, lora)}; choose a LoRA for this "
        "model, or turn on allow_partial to use the rest"
    )


def _bases(model: ModelPatcher, lora: Lora) -> str:
    return f"it was made for {made_for(lora)} and the model is {model_text(model)}"


def model_text(model: ModelPatcher) -> str:
    """Names a model by the host's class for it and, for UNets, the width of its text embedding."""
    name, width = type(model.model.model_config).__name__, context_width(model)
    if width is None:
        return name
    family = f"{TEXT_WIDTHS[width]}, " if width in TEXT_WIDTHS else ""
    return f"{name} ({family}text width {width})"
