"""Conditionings that walk: the text of every frame, and among its values the path that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...smooth_lora.walks.text import TextPath, TextRule
from ...smooth_lora.walks.walk import DEFAULT_FRAMES, Walk, schedule
from ...smooth_lora.wording import size_text
from ..host.protocols import Conditioning
from ..model.texts import SIGMA_START, equal_content

PATH_ENTRY = "smooth_walk"  # of a conditioning that walks, where its path is kept
# Values that a walk moves itself, and so may differ between keyframes.
_WALKED = frozenset({"pooled_output", PATH_ENTRY})
# Text encoders whose tokens only meet softmax cross-attention, in chunks of 77: SD1, SD2, SDXL's refiner,
# SDXL.
_CROSS_ATTENTION_WIDTHS = frozenset({768, 1024, 1280, 2048})
_CLIP_CHUNK = 77

_TEXT_MASK = "attention_mask"


class ConditioningPath:
    """The text of a conditioning at any positions, kept in its entry `smooth_walk`.

    texts:  K >= 1 tensors [T_k, D]
    pooled: K tensors [P], or None for a model without
    rule:   see TextPath; a pooled vector walks like one token
    walk:   the frames of the conditioning that holds this path
    names:  [K] of the keyframes, for messages
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
        """Returns the entries of a converted conditioning that move.

        returns: cross_attn [N, T, D], and pooled_output [N, P] where the model has one
        """
        moved = {"cross_attn": self._text_path.at(walk)}
        if self._pooled_path is not None:
            moved["pooled_output"] = self._pooled_path.at(walk)[:, 0]
        return moved

    def require_unchanged(self, cross_attn: Tensor | None, pooled: Tensor | None, who: str) -> None:
        """Refuses a conditioning whose text another node replaced after the walk.

        who:    the conditioning, for the message, such as "positive conditioning"
        raises: ValueError
        """
        for name, given in (("cross_attn", cross_attn), ("pooled_output", pooled)):
            expected = self.laid_out.get(name)
            if expected is not given and not equal_content(expected, given):
                raise ValueError(
                    f"{who}: its text was changed by a node after the walk that made it; put nodes that "
                    "average, concatenate or zero out text before the Conditioning Walk"
                )


@dataclass(frozen=True)
class _Single:
    """One keyframe of one entry of a conditioning.

    name: for messages
    text: [T, D]; pooled: [P] or None; rest: the other values, by name
    """

    name: str
    text: Tensor
    pooled: Tensor | None
    rest: dict[str, Any]


def walk_conditioning(
    keyframes: Mapping[str, Conditioning], rule: TextRule, walk: Walk | None, *, who: str
) -> Conditioning:
    """Returns a CONDITIONING that walks through keyframes.

    keyframes: name for messages -> CONDITIONING; a batch counts as several, a conditioning that already walks as its
               own keyframes; with several entries each, entry j walks through the entries j
    rule:      "lerp" or "slerp" (per token)
    walk:      the frames of the result; None: 48, linear, open, or for the conditionings of single steps (an
               inversion's negative), of which there are many, the first frame alone
    who:       the node, for messages
    returns:   CONDITIONING of as many entries as each keyframe has
    raises:    ValueError naming the keyframe and what of it cannot be walked
    """
    names = list(keyframes)
    _require_one_schedule(keyframes, who)
    entries = len(keyframes[names[0]])
    for name, keyframe in keyframes.items():
        if len(keyframe) != entries or entries == 0:
            raise ValueError(
                f"{who}: {name} has {len(keyframe)} conditionings combined in it, but {names[0]} has "
                f"{entries}; combine equally many into each, and at least one"
            )
    named = [list(zip(names, column, strict=True)) for column in zip(*keyframes.values(), strict=True)]
    stepwise = any(SIGMA_START in values for _, values in keyframes[names[0]])
    frames = walk or schedule(1 if stepwise else DEFAULT_FRAMES)
    return [_walk_entry(column, rule, frames, who) for column in named]


def _require_one_schedule(keyframes: Mapping[str, Conditioning], who: str) -> None:
    """Refuses conditionings of single steps, as null-text inversion finds them, that belong to other steps."""
    starts = {name: [values.get(SIGMA_START) for _, values in keyframe] for name, keyframe in keyframes.items()}
    if all(start is None for column in starts.values() for start in column):
        return
    first = next(iter(starts))
    for name, column in starts.items():
        if column != starts[first]:
            raise ValueError(
                f"{who}: {name} and {first} do not hold the texts of the same sampling steps "
                f"({len(column)} and {len(starts[first])} of them); invert both pictures with the same "
                "method, steps and scheduler"
            )


def _walk_entry(column: Sequence[tuple[str, list[Any]]], rule: TextRule, walk: Walk, who: str) -> list[Any]:
    singles = [single for name, (text, values) in column for single in _singles(name, text, values, who)]
    rest = _common_rest(singles, who)
    _require_one_length(singles, who)
    path = ConditioningPath(
        [single.text for single in singles], _pooled(singles, who), rule, walk, [single.name for single in singles]
    )
    walked = {**rest, **path.laid_out, PATH_ENTRY: path}
    return [walked.pop("cross_attn"), walked]


def _singles(name: str, text: Tensor | None, values: dict[str, Any], who: str) -> list[_Single]:
    """The keyframes that one entry of a CONDITIONING wire holds."""
    if not isinstance(text, Tensor) or text.ndim != 3 or text.shape[0] == 0:
        got = f"a tensor of {size_text(text.shape)}" if isinstance(text, Tensor) else type(text).__name__
        raise ValueError(
            f"{who}: {name} holds {got} where text [batch, tokens, width] is expected; use the output of a text encoder"
        )
    rest = {key: value for key, value in values.items() if key not in _WALKED}
    texts, pooled = text, values.get("pooled_output")
    if PATH_ENTRY in values:
        path = values[PATH_ENTRY]
        path.require_unchanged(text, pooled, f"{who}: {name}")
        texts, pooled = path.texts, path.pooled
    else:
        _require_batch(f"{who}: {name}", text.shape[0], pooled, rest)
    count = len(texts)
    names = [name] if count == 1 else [f"{name} (member {row + 1} of {count})" for row in range(count)]
    rows = [None] * count if pooled is None else [pooled[row % len(pooled)] for row in range(count)]
    return [_Single(*single, rest) for single in zip(names, texts, rows, strict=True)]


def _require_batch(what: str, batch: int, pooled: Tensor | None, rest: dict[str, Any]) -> None:
    """Refuses a batch of texts that comes with anything else per member than pooled vectors."""
    if pooled is not None and (pooled.ndim != 2 or pooled.shape[0] not in (1, batch)):
        raise ValueError(f"{what} holds {batch} texts but pooled vectors of {size_text(pooled.shape)}; encode it again")
    for key, value in rest.items():
        if batch > 1 and isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == batch:
            raise ValueError(
                f"{what} is a batch of {batch} with a {key!r} for each member, which cannot be walked; "
                "set it after the walk, where it holds for every frame"
            )


def _common_rest(singles: Sequence[_Single], who: str) -> dict[str, Any]:
    """The values besides text and pooled vector, which must be the same in every keyframe."""
    first = singles[0]
    for single in singles[1:]:
        for key in [*first.rest, *(key for key in single.rest if key not in first.rest)]:
            if key in first.rest and key in single.rest and equal_content(first.rest[key], single.rest[key]):
                continue
            if key.startswith(_TEXT_MASK):
                raise ValueError(
                    f"{who}: {single.name} and {first.name} have different text masks ({key!r}), which cannot "
                    "be walked; write prompts with equally many tokens"
                )
            raise ValueError(
                f"{who}: {key!r} of {single.name} differs from {first.name} and cannot be walked; "
                "set it after the walk, where it holds for every frame"
            )
    return dict(first.rest)


def _pooled(singles: Sequence[_Single], who: str) -> list[Tensor] | None:
    """The pooled vectors of the keyframes, which all have or none."""
    pooled = [single.pooled for single in singles if single.pooled is not None]
    if pooled and len(pooled) < len(singles):
        first = next(single.name for single in singles if single.pooled is not None)
        lacking = next(single.name for single in singles if single.pooled is None)
        raise ValueError(
            f"{who}: {lacking} has no pooled text vector, but {first} has one; "
            "encode all of them with the same text encoder"
        )
    return pooled or None


def _require_one_length(singles: Sequence[_Single], who: str) -> None:
    """Refuses texts of different lengths where whole repetition would change what the model reads."""
    lengths = sorted({single.text.shape[0] for single in singles})
    if len(lengths) == 1:
        return
    counts = " and ".join(str(length) for length in lengths)
    if any(key.startswith(_TEXT_MASK) and value is not None for key, value in singles[0].rest.items()):
        raise ValueError(
            f"{who}: prompts of {counts} tokens with a text mask cannot be walked; "
            "write prompts with equally many tokens"
        )
    if singles[0].text.shape[1] not in _CROSS_ATTENTION_WIDTHS or any(length % _CLIP_CHUNK for length in lengths):
        raise ValueError(
            f"{who}: prompts of {counts} tokens cannot be walked for this model, whose text is not read by "
            "cross-attention alone; write prompts with equally many tokens"
        )
