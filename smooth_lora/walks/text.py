"""Text that walks: token tensors brought to one length, and paths through any number of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..checks import require_choice, require_finite
from ..precision import computed
from .arc import Arc, lerp
from .walk import Walk, segment_positions

TextRule = Literal["lerp", "slerp"]
TEXT_RULES: tuple[TextRule, ...] = ("lerp", "slerp")

# Attention to a longer text costs in proportion; 60 chunks of 77 tokens hold prompts of 1, 2, 3, 4, 5 and 6
# chunks.
MAX_TOKENS = 77 * 60


def common_length(lengths: Sequence[int]) -> int:
    """Length to which whole repetitions bring texts of different length.

    lengths: tokens of each text, >= 1
    returns: their least common multiple
    raises:  ValueError when that is unreasonably long
    """
    longest = math.lcm(*lengths)
    if longest > max(MAX_TOKENS, *lengths):
        raise ValueError(
            f"prompts of {', '.join(str(n) for n in sorted(set(lengths)))} tokens only meet at {longest} "
            "tokens, which no model can be asked to read; shorten them to equal lengths"
        )
    return longest


def repeat_to(tokens: Tensor, length: int) -> Tensor:
    """Repeats a text as a whole: softmax attention without a mask gives the same result for it.

    tokens:  [T, D], length a multiple of T
    returns: [length, D]; the same tensor if it has that length already
    """
    if length % tokens.shape[0]:
        raise ValueError(f"a text of {tokens.shape[0]} tokens cannot be repeated to {length}")
    return tokens if tokens.shape[0] == length else tokens.repeat(length // tokens.shape[0], 1)


class TextPath:
    """A path through texts, evaluated only where it is asked for.

    keyframes: K >= 1 tensors [T_k, D] of equal D, one row per token (a pooled vector is a text of one token);
               different T_k are brought to their common multiple by whole repetition
    rule:      lerp: straight lines; slerp: great circles with one angle per token, lengths on straight lines,
               tokens that are equal stay as they are
    names:     [K] of the keyframes, for messages; None: text 1, text 2, ...
    raises:    ValueError for NaN, or widths that differ, naming the keyframe
    """

    def __init__(self, keyframes: Sequence[Tensor], rule: TextRule = "lerp", *, names: Sequence[str] | None = None):
        require_choice("text path", rule, TEXT_RULES)
        names = names or [f"text {k + 1}" for k in range(len(keyframes))]
        for name, tokens in zip(names, keyframes, strict=True):
            require_finite(name, tokens)
            if tokens.shape[1] != keyframes[0].shape[1]:
                raise ValueError(
                    f"{name} is {tokens.shape[1]} wide, but {names[0]} is {keyframes[0].shape[1]} wide; "
                    "encode all of them with the same text encoder"
                )
        self.rule = rule
        self.length = common_length([tokens.shape[0] for tokens in keyframes])
        dtype = functools.reduce(torch.promote_types, [tokens.dtype for tokens in keyframes])
        self._keyframes = tuple(tokens.to(keyframes[0].device, dtype) for tokens in keyframes)
        self._arcs: dict[int, Arc] = {}

    def at(self, walk: Walk) -> Tensor:
        """Returns the text of every frame of a walk.

        returns: [N, T, D] on keyframe 1's device, in the widest dtype of all; a frame does not depend on
                 which others are asked for, and a frame on a keyframe is that keyframe exactly
        """
        index, local = segment_positions(walk, len(self._keyframes))
        return torch.stack([self._frame(i, t) for i, t in zip(index.tolist(), local.tolist(), strict=True)])

    def _frame(self, index: int, local: float) -> Tensor:
        if local in (0.0, 1.0):
            return self._keyframe(index + int(local))
        if self.rule == "lerp":
            return lerp(self._keyframe(index), self._keyframe(index + 1), local)
        if index not in self._arcs:
            self._arcs[index] = Arc(computed(self._keyframe(index)), computed(self._keyframe(index + 1)))
        return self._arcs[index].at(local).to(self._keyframes[0].dtype)

    def _keyframe(self, k: int) -> Tensor:
        return repeat_to(self._keyframes[k % len(self._keyframes)], self.length)
