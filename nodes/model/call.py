"""The options of a call of the host's model, and the frames of a walk that it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...smooth_lora.walks.walk import Walk, schedule

ATTENTION_OVERRIDE = "optimized_attention_override"  # the host's key for what stands in for its attention
KEY_MARK = "smooth_lora"  # of our wrappers' keys, which hold everything that decides what they do
CHUNK = "smooth_walk_chunk"  # the Walk of a batch's frames, where the Walk Sampler leaves it
ENDS = "smooth_walk_ends"  # wanted by a model: the keyframes around a batch's frames in the same batch
KEYFRAMES = "smooth_walk_keyframes"  # how many the walk has, where the Walk Sampler leaves it
# Advice to a user whose model answers NaN or infinite values.
FINITE_ADVICE = "use another weight type or attention (--force-fp32, --use-split-cross-attention), or a smaller cfg"
_OPTIONS = "transformer_options"
_OPTIONS_INDEX = 3  # among the arguments of BaseModel.apply_model after x and sigma


def options_of(args: Sequence, kwargs: Mapping) -> Mapping:
    """Returns the transformer_options of a call of BaseModel.apply_model.

    args: those after x and sigma
    """
    if _OPTIONS in kwargs:
        return kwargs[_OPTIONS]
    return args[_OPTIONS_INDEX] if len(args) > _OPTIONS_INDEX else {}


def with_options(args: Sequence, kwargs: Mapping, more: Mapping) -> tuple[list, dict]:
    """Returns the arguments of such a call with more transformer_options; the given ones stay as they are."""
    options = {**options_of(args, kwargs), **more}
    if _OPTIONS in kwargs or len(args) <= _OPTIONS_INDEX:
        return list(args), {**kwargs, _OPTIONS: options}
    return [*args[:_OPTIONS_INDEX], options, *args[_OPTIONS_INDEX + 1 :]], dict(kwargs)


def walk_of(options: Mapping, rows: int) -> Walk:
    """Returns the frames of a call with so many rows: the host stacks a batch's frames once for each conditioning.

    A stock sampler leaves no walk; its frames are spread evenly over the batch.
    """
    frames = rows // max(1, len(options.get("cond_or_uncond", ())))
    walk = options.get(CHUNK)
    return schedule(frames) if walk is None or len(walk) != frames else walk


def with_walk(model_options: Mapping, chunk: Walk, keyframes: int) -> dict:
    """Returns model options that name the frames of a batch, of a walk with so many keyframes."""
    of_walk = {CHUNK: chunk, KEYFRAMES: keyframes}
    return {**model_options, _OPTIONS: {**model_options.get(_OPTIONS, {}), **of_walk}}


def wants_ends(model_options: Mapping) -> bool:
    """True where the model needs the keyframes around its frames in the same batch."""
    return bool(model_options.get(_OPTIONS, {}).get(ENDS))
