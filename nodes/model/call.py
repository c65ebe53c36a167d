"""What a call of the host's model is told beside its input, and which frames of a walk it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...smooth_lora.walks.walk import Walk, schedule

ATTENTION_OVERRIDE = "optimized_attention_override"  # the host's key for what stands in for its attention
KEY_MARK = "smooth_lora"  # of our wrappers' keys, which hold everything that decides what they do
CHUNK = "smooth_walk_chunk"  # the Walk of a batch's frames, where the Walk Sampler leaves it
ENDS = "smooth_walk_ends"  # wanted by a model: the keyframes around a batch's frames in the same batch
KEYFRAMES = "smooth_walk_keyframes"  # how many the walk has, where the Walk Sampler leaves it
# Where a model answers NaN or infinite values, what a user can do.
FINITE_ADVICE = "use another weight type or attention (--force-fp32, --use-split-cross-attention), or a smaller cfg"
_OPTIONS = "transformer_options"
_PLACE_OF_OPTIONS = 3  # among the arguments of BaseModel.apply_model after x and sigma


def options_of(args: Sequence, kwargs: Mapping) -> Mapping:
    """The transformer_options of a call of BaseModel.apply_model; args: those after x and sigma."""
    if _OPTIONS in kwargs:
        return kwargs[_OPTIONS]
    return args[_PLACE_OF_OPTIONS] if len(args) > _PLACE_OF_OPTIONS else {}


def with_options(args: Sequence, kwargs: Mapping, more: Mapping) -> tuple[list, dict]:
    """The arguments of such a call with more transformer_options; these here stay as they are."""
    options = {**options_of(args, kwargs), **more}
    if _OPTIONS in kwargs or len(args) <= _PLACE_OF_OPTIONS:
        return list(args), {**kwargs, _OPTIONS: options}
    return [*args[:_PLACE_OF_OPTIONS], options, *args[_PLACE_OF_OPTIONS + 1 :]], dict(kwargs)


def walk_of(options: Mapping, rows: int) -> Walk:
    """The frames of a call with so many rows: the host puts a batch's frames under each other, once for each text.

    Of a stock sampler, which leaves no walk: evenly over the batch.
    """
    frames = rows // max(1, len(options.get("cond_or_uncond", ())))
    walk = options.get(CHUNK)
    return schedule(frames) if walk is None or len(walk) != frames else walk


def with_walk(model_options: Mapping, chunk: Walk, keyframes: int) -> dict:
    """Model options that say which frames a batch holds, of a walk with so many keyframes."""
    told = {CHUNK: chunk, KEYFRAMES: keyframes}
    return {**model_options, _OPTIONS: {**model_options.get(_OPTIONS, {}), **told}}


def wants_ends(model_options: Mapping) -> bool:
    """Whether the model needs the keyframes around its frames in the same batch."""
    return bool(model_options.get(_OPTIONS, {}).get(ENDS))
