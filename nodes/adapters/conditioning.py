"""Conditioning that walks: the text of every frame, and in its dict the path that made it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...smooth_lora.text import TextPath, TextRule
from ...smooth_lora.walk import DEFAULT_FRAMES, Walk, schedule

WALK_KEY = "smooth_walk"
# Entries that a walk moves itself, and so may differ between keyframes.
_WALKED = frozenset({"pooled_output", WALK_KEY})
# Text encoders whose tokens only meet softmax cross-attention, in chunks of 77: SD1, SD2, SDXL's refiner, SDXL.
_CROSS_ATTENTION_WIDTHS = frozenset({768, 1024, 1280, 2048})
_CLIP_CHUNK = 77

Entry = list  # [tensor [B, T, D], dict], as the host has it


class ConditioningPath:
    """What the entry `smooth_walk` of a conditioning holds: the text at any positions.

    texts:  K >= 1 tensors [T_k, D]
    pooled: K tensors [P], or None for a model without
    rule:   see TextPath; a pooled vector walks like one token
    walk:   the frames that the conditioning was laid out for
    """

    def __init__(self, texts: Sequence[Tensor], pooled: Sequence[Tensor] | None, rule: TextRule, walk: Walk):
        self.texts, self.pooled = tuple(texts), tuple(pooled) if pooled is not None else None
        self._text_path = TextPath(self.texts, rule)
        self._pooled_path = TextPath([p[None] for p in self.pooled], rule) if self.pooled is not None else None
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
            if expected is not found and not _equal(expected, found):
                raise ValueError(f"the text of the {who} was changed by a node after the walk that made it; put nodes that "
                                 "average, concatenate or zero out text before the Conditioning Walk")


def walk_conditioning(keyframes: Sequence[list], rule: TextRule, walk: Walk | None) -> list:
    """A CONDITIONING that walks through keyframes.

    keyframes: CONDITIONING each; a batch counts as several, a conditioning that already walks as its own keyframes;
               with several entries each, entry j walks through the entries j
    rule:      "lerp" or "slerp" (per token)
    walk:      the frames to lay out; None: 48, linear, open
    returns:   CONDITIONING of as many entries as each keyframe has
    raises:    ValueError naming the keyframe and what of it cannot be walked
    """
    walk = walk or schedule(DEFAULT_FRAMES)
    counts = [len(keyframe) for keyframe in keyframes]
    for place, count in enumerate(counts, 1):
        if count != counts[0] or count == 0:
            raise ValueError(f"Conditioning Walk: keyframe {place} has {count} entries, but keyframe 1 has {counts[0]}; "
                             "combine the same number of conditionings into each, and at least one")
    return [_walk_entries([keyframe[j] for keyframe in keyframes], rule, walk, j + 1) for j in range(counts[0])]


def _walk_entries(entries: Sequence[Entry], rule: TextRule, walk: Walk, number: int) -> Entry:
    singles = [single for place, entry in enumerate(entries, 1) for single in _singles(entry, place)]
    rest = _common_rest(singles, number)
    texts, pooled = [text for text, _, _ in singles], _common_pooled([p for _, p, _ in singles])
    _require_one_length(texts, rest)
    path = ConditioningPath(texts, pooled, rule, walk)
    moved = path.laid_out
    values = {**rest, **{k: v for k, v in moved.items() if k != "cross_attn"}, WALK_KEY: path}
    return [moved["cross_attn"], values]


def _singles(entry: Entry, place: int) -> list[tuple[Tensor, Tensor | None, dict]]:
    """The keyframes [T, D], [P], rest that one entry of keyframe wire `place` holds."""
    text, values = entry
    if not isinstance(text, Tensor) or text.ndim != 3 or text.shape[0] == 0:
        found = list(text.shape) if isinstance(text, Tensor) else type(text).__name__
        raise ValueError(f"Conditioning Walk: keyframe {place} holds no text of the form [batch, tokens, width] but {found}; "
                         "use the output of a text encoder")
    rest = {key: value for key, value in values.items() if key not in _WALKED}
    pooled = values.get("pooled_output")
    if WALK_KEY in values:
        path = values[WALK_KEY]
        path.require_unchanged(text, pooled, f"keyframe {place}")
        return [(t, p, rest) for t, p in zip(path.texts, path.pooled or [None] * len(path.texts), strict=True)]
    return [(text[row], _pooled_row(pooled, row, text.shape[0], place), rest)
            for row in range(_batch(text, rest, place))]


def _batch(text: Tensor, rest: dict, place: int) -> int:
    """The batch of a keyframe, none of whose other entries may differ within it."""
    batch = text.shape[0]
    for key, value in rest.items():
        if batch > 1 and isinstance(value, Tensor) and value.ndim > 0 and value.shape[0] == batch:
            raise ValueError(f"Conditioning Walk: keyframe {place} is a batch of {batch} whose {key!r} differs within it and "
                             "cannot be walked; wire its members one by one without it")
    return batch


def _pooled_row(pooled: Tensor | None, row: int, batch: int, place: int) -> Tensor | None:
    if pooled is None:
        return None
    if pooled.ndim != 2 or pooled.shape[0] not in (1, batch):
        raise ValueError(f"Conditioning Walk: keyframe {place} has a batch of {batch} texts but pooled vectors of shape "
                         f"{list(pooled.shape)}; encode it again")
    return pooled[row if pooled.shape[0] == batch else 0]


def _common_rest(singles: Sequence[tuple[Tensor, Tensor | None, dict]], number: int) -> dict:
    first = singles[0][2]
    for place, (_, _, rest) in enumerate(singles[1:], 2):
        for key in [*first, *(k for k in rest if k not in first)]:
            if key not in first or key not in rest or not _equal(first[key], rest[key]):
                raise ValueError(f"Conditioning Walk: {key!r} of keyframe {place} (entry {number}) differs from keyframe 1 and "
                                 "cannot be walked; set it after the walk, where it holds for every frame")
    return dict(first)


def _common_pooled(pooled: Sequence[Tensor | None]) -> Sequence[Tensor] | None:
    missing = [place for place, vector in enumerate(pooled, 1) if vector is None]
    if len(missing) == len(pooled):
        return None
    if missing:
        raise ValueError(f"Conditioning Walk: keyframe {missing[0]} has no pooled text vector, but others have; encode all "
                         "of them with the same text encoder")
    for place, vector in enumerate(pooled, 1):
        if vector.shape != pooled[0].shape:
            raise ValueError(f"Conditioning Walk: the pooled vector of keyframe {place} has {vector.shape[0]} elements, but that "
                             f"of keyframe 1 has {pooled[0].shape[0]}; encode all of them with the same text encoder")
    return pooled


def _require_one_length(texts: Sequence[Tensor], rest: dict) -> None:
    """Refuse texts of different lengths where whole repetition would change what the model reads."""
    lengths = sorted({text.shape[0] for text in texts})
    if len(lengths) == 1:
        return
    found = " and ".join(str(length) for length in lengths)
    if any(key.startswith("attention_mask") and value is not None for key, value in rest.items()):
        raise ValueError(f"Conditioning Walk: prompts of {found} tokens with a text mask cannot be walked; "
                         "write prompts that are equally long")
    if texts[0].shape[1] not in _CROSS_ATTENTION_WIDTHS or any(length % _CLIP_CHUNK for length in lengths):
        raise ValueError(f"Conditioning Walk: prompts of {found} tokens cannot be walked for this model, whose text is not "
                         "read by cross-attention alone; write prompts that are equally long")


def _equal(a, b) -> bool:
    if a is b:
        return True
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and _equal_tensors(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _equal_tensors(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b.to(a.device))


def encode_prompts(clip, prompts: Sequence[str]) -> list[list]:
    """One CONDITIONING per prompt, as the stock text encode node makes it; equal prompts are encoded once.

    raises: ValueError without a text encoder
    """
    if clip is None:
        raise ValueError("Prompt Walk: the clip input is empty, because this checkpoint has no text encoder; "
                         "wire the CLIP of another loader")
    encoded = {prompt: clip.encode_from_tokens_scheduled(clip.tokenize(prompt)) for prompt in dict.fromkeys(prompts)}
    return [encoded[prompt] for prompt in prompts]
