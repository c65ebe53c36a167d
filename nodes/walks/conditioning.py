"""Conditioning that walks: the text of every frame, and in its dict the path that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...smooth_lora.walks.text import TextPath, TextRule
from ...smooth_lora.walks.walk import DEFAULT_FRAMES, Walk, schedule
from ...smooth_lora.wording import size_text
from ..model.texts import SIGMA_START, equal_content

PATH_ENTRY = "smooth_walk"  # of a conditioning that walks, where its path is kept
# Entries that a walk moves itself, and so may differ between keyframes.
_WALKED = frozenset({"pooled_output", PATH_ENTRY})
# Text encoders whose tokens only meet softmax cross-attention, in chunks of 77: SD1, SD2, SDXL's refiner,
# SDXL.
_CROSS_ATTENTION_WIDTHS = frozenset({768, 1024, 1280, 2048})
_CLIP_CHUNK = 77

_TEXT_MASK = "attention_mask"


class ConditioningPath:
    """What the entry `smooth_walk` of a conditioning holds: the text at any positions.

    texts:  K >= 1 tensors [T_k, D]
    pooled: K tensors [P], or None for a model without
    rule:   see TextPath; a pooled vector walks like one token
    walk:   the frames that the conditioning was laid out for
    names:  [K], what messages call each keyframe
    raises: ValueError for NaN, or widths that differ, naming the keyframe
    """

    def __init__(
        self, texts: Sequence[Tensor], pooled: Sequence[Tensor] | None, rule: TextRule, walk: Walk, names: Sequence[str]
    ):
        self.texts, self.pooled = tuple(texts), tuple(pooled) if pooled is not None else None
        self._text_path = TextPath(self.texts, rule, names=[f"the text of {name}" for name in names])
        self._pooled_path = None
        if self.pooled is not None:
            self._pooled_path = TextPath(
                [vector[None] for vector in self.pooled], rule, names=[f"the pooled vector of {name}" for name in names]
            )
        self.laid_out = self.at(walk)

    def at(self, walk: Walk) -> dict[str, Tensor]:
        """The entries of a converted conditioning that move.

        returns: cross_attn [N, T, D], and pooled_output [N, P] where the model has one
        """
        moved = {"cross_attn": self._text_path.at(walk)}
        if self._pooled_path is not None:
            moved["pooled_output"] = self._pooled_path.at(walk)[:, 0]
        return moved

    def require_unchanged(self, cross_attn: Tensor | None, pooled: Tensor | None, who: str) -> None:
        """Refuse a conditioning whose text another node replaced after the walk.

        who:    for the message, for example "positive conditioning"
        raises: ValueError
        """
        for name, found in (("cross_attn", cross_attn), ("pooled_output", pooled)):
            expected = self.laid_out.get(name)
            if expected is not found and not equal_content(expected, found):
                raise ValueError(
                    f"{who}: its text was changed by a node after the walk that made it; put nodes that "
                    "average, concatenate or zero out text before the Conditioning Walk"
                )


@dataclass(frozen=True)
class _Single:
    """One keyframe of one entry: name for messages, text [T, D], pooled vector [P] or None, the rest."""

    name: str
    text: Tensor
    pooled: Tensor | None
    rest: dict


def walk_conditioning(
    keyframes: Sequence[list], rule: TextRule, walk: Walk | None, names: Sequence[str] | None = None
) -> list:
    """A CONDITIONING that walks through keyframes.

    keyframes: CONDITIONING each; a batch counts as several, a conditioning that already walks as its own
               keyframes; with several entries each, entry j walks through the entries j
    rule:      "lerp" or "slerp" (per token)
    walk:      the frames to lay out; None: 48, linear, open, or for texts of single steps (an inversion's negative
               text), of which there are many, the first frame alone
    names:     what messages call each keyframe; None: keyframe_0, keyframe_1, ..., as the node labels them
    returns:   CONDITIONING of as many entries as each keyframe has
    raises:    ValueError naming the keyframe and what of it cannot be walked
    """
    names = names or [f"keyframe_{place}" for place in range(len(keyframes))]
    _require_one_schedule(keyframes, names)
    entries = len(keyframes[0])
    for name, keyframe in zip(names, keyframes, strict=True):
        if len(keyframe) != entries or entries == 0:
            raise ValueError(
                f"walk: {name} has {len(keyframe)} conditionings combined in it, but {names[0]} has "
                f"{entries}; "
                "combine equally many into each, and at least one"
            )
    named = [list(zip(names, column, strict=True)) for column in zip(*keyframes, strict=True)]
    stepwise = any(SIGMA_START in values for _, values in keyframes[0])
    laid_out = walk or schedule(1 if stepwise else DEFAULT_FRAMES)
    return [_walk_entry(column, rule, laid_out) for column in named]


def _require_one_schedule(keyframes: Sequence[list], names: Sequence[str]) -> None:
    """Refuse the texts of steps, as null-text inversion finds them, that belong to other steps."""
    levels = [[values.get(SIGMA_START) for _, values in keyframe] for keyframe in keyframes]
    if not any(level is not None for column in levels for level in column):
        return
    for name, column in zip(names, levels, strict=True):
        if column != levels[0]:
            raise ValueError(
                f"walk: {name} and {names[0]} do not hold the texts of the same sampling steps "
                f"({len(column)} and {len(levels[0])} of them); invert both pictures with the same "
                "method, steps and scheduler"
            )


def _walk_entry(column: Sequence[tuple[str, list]], rule: TextRule, walk: Walk) -> list:
    singles = [single for name, entry in column for single in _singles(name, *entry)]
    rest = _common_rest(singles)
    _require_one_length(singles)
    pooled = [single.pooled for single in singles] if _all_pooled(singles) else None
    path = ConditioningPath(
        [single.text for single in singles], pooled, rule, walk, [single.name for single in singles]
    )
    values = {**rest, **path.laid_out, PATH_ENTRY: path}
    return [values.pop("cross_attn"), values]


def _singles(name: str, text: Tensor | None, values: dict) -> list[_Single]:
    """The keyframes that one entry of a CONDITIONING wire holds."""
    if not isinstance(text, Tensor) or text.ndim != 3 or text.shape[0] == 0:
        found = f"a tensor of {size_text(text.shape)}" if isinstance(text, Tensor) else type(text).__name__
        raise ValueError(
            f"walk: {name} holds {found} where text [batch, tokens, width] is expected; "
            "use the output of a text encoder"
        )
    rest = {key: value for key, value in values.items() if key not in _WALKED}
    texts, pooled = text, values.get("pooled_output")
    if PATH_ENTRY in values:
        path = values[PATH_ENTRY]
        path.require_unchanged(text, pooled, f"walk: {name}")
        texts, pooled = path.texts, path.pooled
    else:
        _require_batch(name, text.shape[0], pooled, rest)
    count = len(texts)
    names = [name] if count == 1 else [f"{name} (member {row + 1} of {count})" for row in range(count)]
    rows = [None] * count if pooled is None else [pooled[row % len(pooled)] for row in range(count)]
    return [_Single(*single, rest) for single in zip(names, texts, rows, strict=True)]


def _require_batch(name: str, batch: int, pooled: Tensor | None, rest: dict) -> None:
    """Refuse a batch of texts that comes with anything else per member than pooled vectors."""
    if pooled is not None and (pooled.ndim != 2 or pooled.shape[0] not in (1, batch)):
        raise ValueError(
            f"walk: {name} holds {batch} texts but pooled vectors of {size_text(pooled.shape)}; encode it again"
        )
    for key, value in rest.items():
        if batch > 1 and isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == batch:
            raise ValueError(
                f"walk: {name} is a batch of {batch} with a {key!r} for each member, which cannot be walked; "
                "set it after the walk, where it holds for every frame"
            )


def _common_rest(singles: Sequence[_Single]) -> dict:
    """What is neither text nor pooled vector, the same in every keyframe."""
    first = singles[0]
    for single in singles[1:]:
        for key in [*first.rest, *(key for key in single.rest if key not in first.rest)]:
            if key in first.rest and key in single.rest and equal_content(first.rest[key], single.rest[key]):
                continue
            if key.startswith(_TEXT_MASK):
                raise ValueError(
                    f"walk: {single.name} and {first.name} have different text masks ({key!r}), which cannot "
                    "be walked; write prompts with equally many tokens"
                )
            raise ValueError(
                f"walk: {key!r} of {single.name} differs from {first.name} and cannot be walked; "
                "set it after the walk, where it holds for every frame"
            )
    return dict(first.rest)


def _all_pooled(singles: Sequence[_Single]) -> bool:
    """Whether the keyframes have pooled vectors; all or none must."""
    having = [single for single in singles if single.pooled is not None]
    for single in singles:
        if having and single.pooled is None:
            raise ValueError(
                f"walk: {single.name} has no pooled text vector, but {having[0].name} has one; "
                "encode all of them with the same text encoder"
            )
    return bool(having)


def _require_one_length(singles: Sequence[_Single]) -> None:
    """Refuse texts of different lengths where whole repetition would change what the model reads."""
    lengths = sorted({single.text.shape[0] for single in singles})
    if len(lengths) == 1:
        return
    found = " and ".join(str(length) for length in lengths)
    if any(key.startswith(_TEXT_MASK) and value is not None for key, value in singles[0].rest.items()):
        raise ValueError(
            f"walk: prompts of {found} tokens with a text mask cannot be walked; write prompts with equally many tokens"
        )
    if singles[0].text.shape[1] not in _CROSS_ATTENTION_WIDTHS or any(length % _CLIP_CHUNK for length in lengths):
        raise ValueError(
            f"walk: prompts of {found} tokens cannot be walked for this model, whose text is not read by "
            "cross-attention alone; write prompts with equally many tokens"
        )
