"""Which weight of the host's model each part of a LoRA file goes to, and whether it fits there."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import comfy.lora
import comfy.utils
from comfy.model_patcher import ModelPatcher

from ...smooth_lora.lora.keys import candidate_names
from ...smooth_lora.lora.pairs import TEXT_WIDTHS, Lora, LoraPair, Replacement, made_for, text_width
from ...smooth_lora.wording import name_some
from ..host.wires import context_width

ADVICE = "load a checkpoint of the LoRA's kind, or choose another LoRA"


@dataclass(frozen=True)
class Target:
    """A part of the file and the weight it goes to.

    place: what the host's table says: a weight's key, or (key, (axis, first, length)) for a slice of it
    listed: the name it is listed under; weight: the key alone; shape: of the weight, or of the slice meant
    """

    part: LoraPair | Replacement
    place: str | tuple
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


def resolve(model: ModelPatcher, lora: Lora, *, file: str, allow_partial: bool) -> tuple[list[Target], list[str]]:
    """Where each part of the LoRA goes in the model, and the names of the tensors that have no place there.

    raises: ValueError for another base model, no match, shapes that differ, or a partial match not allowed
    """
    # The host's table also lists blocks that this very network does not have.
    weights = model.model.state_dict().keys()
    table = comfy.lora.model_lora_keys_unet(model.model, {})
    targets, unmatched = [], [*lora.text_encoder, *lora.unknown]
    for part in (*lora.pairs, *lora.replacements):
        target = _target(model, part, table, weights)
        if target is None:
            unmatched += part.keys if isinstance(part, LoraPair) else [part.key]
        else:
            targets.append(target)
    _require_fit(model, lora, targets, unmatched, file)
    _require_single(targets, file)
    if unmatched and not allow_partial:
        raise ValueError(_partial(model, lora, unmatched, file))
    return targets, unmatched


def _target(model: ModelPatcher, part: LoraPair | Replacement, table: dict, weights: Container[str]) -> Target | None:
    listed = next((name for name in candidate_names(part.name) if name in table), None)
    if listed is None:
        return None
    place = table[listed]
    weight, piece = (place, None) if isinstance(place, str) else (place[0], place[1])
    if isinstance(part, Replacement) and part.role == "diff_b":
        weight = weight.removesuffix(".weight") + ".bias"
    if weight not in weights:
        return None
    shape = list(comfy.utils.get_attr(model.model, weight).shape)
    if piece is not None:
        shape[piece[0]] = piece[2]
    return Target(part=part, place=place, listed=listed, weight=weight, shape=tuple(shape))


def _require_fit(model: ModelPatcher, lora: Lora, targets: list[Target], unmatched: list[str], file: str) -> None:
    width, needed = text_width(lora.pairs), context_width(model)
    if None not in (width, needed) and width != needed:
        raise ValueError(f"'{file}' is for another base model: {_bases(model, lora)}; {ADVICE}")
    if not targets:
        raise ValueError(
            f"'{file}' matches nothing in the model (first: {name_some(unmatched)}): {_bases(model, lora)}; {ADVICE}"
        )
    wrong = [target for target in targets if not target.fits]
    if wrong:
        raise ValueError(
            f"'{file}' does not fit {len(wrong)} of {len(targets)} weights of the model (first: "
            f"{wrong[0].shapes_text}): {_bases(model, lora)}; {ADVICE}"
        )


def _require_single(targets: list[Target], file: str) -> None:
    seen: dict[object, str] = {}
    for target in targets:
        role = target.part.role if isinstance(target.part, Replacement) else "pair"
        first = seen.setdefault((target.place, role), target.part.name)
        if first != target.part.name:
            raise ValueError(
                f"'{file}' changes {target.weight} twice, as {first} and as {target.part.name}: "
                "save each LoRA in it as a file of its own"
            )


def _partial(model: ModelPatcher, lora: Lora, unmatched: list[str], file: str) -> str:
    text = ""
    if lora.text_encoder:
        text = f", {len(lora.text_encoder)} of them for the text encoder, which this node does not change"
    return (
        f"'{file}' matches only in part: {len(unmatched)} of {lora.tensors} tensors have no place in the "
        f"model (first: {name_some(unmatched)}){text}; {_bases(model, lora)}: choose a LoRA for this "
        "model, or turn on allow_partial to use the rest"
    )


def _bases(model: ModelPatcher, lora: Lora) -> str:
    return f"it was made for {made_for(lora)} and the model is {model_text(model)}"


def model_text(model: ModelPatcher) -> str:
    """The model in a few words: the host's class for it and, for UNets, the width of its text embedding."""
    name, width = type(model.model.model_config).__name__, context_width(model)
    if width is None:
        return name
    family = f"{TEXT_WIDTHS[width]}, " if width in TEXT_WIDTHS else ""
    return f"{name} ({family}text width {width})"
