"""Conditioning for inversions and their replays: in rows, per step, and checked for what cannot run backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...smooth_lora.walks.text import common_length, repeat_to
from ..host.progress import stop_if_interrupted
from ..host.protocols import Clip, Conditioning

# The host's own keys for the sigmas between which an entry acts: start >= sigma >= end.
SIGMA_START, SIGMA_END = "timestep_start", "timestep_end"


def require_single_text(who: str, conditioning: Conditioning) -> tuple[Tensor, dict[str, Any]]:
    """Returns the only entry of a CONDITIONING.

    who:    the node and its input, for errors
    raises: ValueError when it has more entries, or no text tensor
    """
    if len(conditioning) != 1:
        raise ValueError(
            f"{who} holds {len(conditioning)} conditionings, but this method needs exactly one text; "
            "wire the output of one text encode node"
        )
    text, values = conditioning[0]
    if not isinstance(text, Tensor) or text.ndim != 3:
        raise ValueError(
            f"{who} holds no text that could be optimised or stacked; wire the output of a text encode node"
        )
    return text, values


def stacked(texts: Sequence[Conditioning], names: Sequence[str]) -> Conditioning:
    """Stacks several CONDITIONING into one: row b of a batch is guided by text b.

    texts:  each of a single entry, of one row or as many as it is to fill
    names:  of the inputs, for errors
    raises: ValueError naming the one that differs in anything but text and pooled vector
    """
    singles = [require_single_text(name, text) for name, text in zip(names, texts, strict=True)]
    rest = [{key: value for key, value in values.items() if key != "pooled_output"} for _, values in singles]
    for name, other in zip(names[1:], rest[1:], strict=True):
        differing = [key for key in sorted({*other, *rest[0]}) if not equal_content(other.get(key), rest[0].get(key))]
        if differing:
            raise ValueError(f"{name} and {names[0]} differ in {differing[0]!r}; prepare both texts by the same nodes")
    length = common_length([text.shape[1] for text, _ in singles])
    rows = [repeat_to(row, length) for text, _ in singles for row in text]
    values = dict(rest[0])
    pooled = [vector for _, one in singles if isinstance(vector := one.get("pooled_output"), Tensor)]
    if len(pooled) == len(singles):
        values["pooled_output"] = torch.cat(pooled)
    return [[torch.stack(rows), values]]


def equal_content(a: object, b: object) -> bool:
    """True where parts of a CONDITIONING hold the same: tensors and plain data by value, objects as they compare."""
    if a is b:
        return True
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and _equal_tensors(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal_content(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(equal_content(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def _equal_tensors(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b.to(a.device))


def encode_prompt(clip: Clip, prompt: str, *, bar: bool = True) -> Conditioning:
    """Returns the CONDITIONING of a prompt, as the stock text encode node makes it.

    bar:    the host's progress bar shows it
    raises: the host's interrupt
    """
    stop_if_interrupted()
    tokens = clip.tokenize(prompt)
    return clip.encode_from_tokens_scheduled(tokens, **({} if bar else {"show_pbar": False}))


def encode_prompts(clip: Clip, prompts: Sequence[str]) -> list[Conditioning]:
    """Returns one CONDITIONING per prompt, in their order; equal prompts are encoded once."""
    encoded = {prompt: encode_prompt(clip, prompt) for prompt in dict.fromkeys(prompts)}
    return [encoded[prompt] for prompt in prompts]


def repeated_rows(conditioning: Conditioning, rows: int) -> Conditioning:
    """Repeats a CONDITIONING of one row to so many; one of several rows stays."""
    return [
        [text.expand(rows, *text.shape[1:]) if isinstance(text, Tensor) and text.shape[0] == 1 else text, values]
        for text, values in conditioning
    ]


def per_step(negative: Conditioning, nulls: Tensor, sigmas: Tensor) -> Conditioning:
    """Makes a CONDITIONING with one text for every step, each acting at its own sigma only.

    negative: CONDITIONING of one entry, whose text the others replace
    nulls:    [N, B, T, D]
    sigmas:   [N + 1] falling
    returns:  N entries, in the order of the steps, which any guider and Conditioning Walk takes
    """
    _, values = require_single_text("negative", negative)
    levels = [float(sigma) for sigma in sigmas[:-1]]
    bounds = [(a + b) / 2 for a, b in zip(levels, levels[1:], strict=False)]
    starts, ends = [float("inf"), *bounds], [*bounds, 0.0]
    return [
        [text, {**values, SIGMA_START: start, SIGMA_END: end}]
        for text, start, end in zip(nulls, starts, ends, strict=True)
    ]


def rows_of_conditioning(conditioning: Conditioning, start: int, stop: int, total: int) -> Conditioning:
    """Cuts rows start..stop out of everything that holds a row for each of `total` images."""

    def cut(value: Any) -> Any:
        return value[start:stop] if isinstance(value, Tensor) and value.ndim and value.shape[0] == total > 1 else value

    return [[cut(text), {key: cut(value) for key, value in values.items()}] for text, values in conditioning]


def require_reversible(name: str, conditioning: Conditioning) -> None:
    """Refuses LoRA hooks with keyframes: the host walks them forward only.

    name:   of the input, for errors
    raises: ValueError
    """
    for _, values in conditioning:
        hooks = values.get("hooks")
        if hooks is not None and any(len(hook.hook_keyframe.keyframes) > 1 for hook in hooks.hooks):
            raise ValueError(
                f"Invert Picture: {name} carries a scheduled LoRA (hook keyframes), which ComfyUI can only run "
                "forward; use the Smooth-LoRA Loader with start_percent and end_percent instead"
            )
