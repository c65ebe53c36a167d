"""Checks of the values at a node's inputs against the types of its Schema, before the node works with them.

ComfyUI compares the declared types of a link, and the range of a number in a widget. Values that still arrive unchecked
are None (the CLIP of a checkpoint that holds none), values from wildcard nodes, and numbers from other nodes.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.checks import require_choice, require_range
from ...smooth_lora.wording import size_text

FILE_INPUTS = ("lora_name", "file")  # combos whose missing files have sentences of their own
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "COMBO")  # have a value even where they are optional
MOST_NAMED_CHOICES = 12  # in a sentence


class Kind(NamedTuple):
    """Values of one type of wire.

    holds:   true for a value of this kind
    name:    of the kind, in a sentence
    remedy:  a node to wire instead
    nothing: reason why None may arrive
    """

    holds: Callable[[Any], bool]
    name: str
    remedy: str
    nothing: str = "the node that is wired to it gave nothing"


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: all(hasattr(value, name) for name in names)


def _is_latent(value: Any) -> bool:
    samples = value.get("samples") if isinstance(value, dict) else None
    return getattr(samples, "is_nested", False) or (
        isinstance(samples, Tensor) and samples.ndim > 2 and bool(samples.numel())
    )


def _is_image(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.ndim == 4
        and bool(value.numel())
        and value.shape[-1] in (3, 4)
        and value.is_floating_point()
    )


def _is_conditioning_entry(entry: Any) -> bool:
    return (
        isinstance(entry, (list, tuple))
        and len(entry) == 2
        and isinstance(entry[1], dict)
        and isinstance(entry[0], Tensor)
        and entry[0].ndim > 2
        and bool(entry[0].numel())
    )


def _is_conditioning(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_conditioning_entry, value))


def _is_lora(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(tensor, Tensor) for tensor in value.values())


_NO_PART = "the checkpoint that it comes from has none"
KINDS = {
    "MODEL": Kind(_has("model", "get_model_object"), "a model", "wire the MODEL of a loader"),
    "CLIP": Kind(_has("tokenize"), "a text encoder", "wire the CLIP of a checkpoint, or of Load CLIP", _NO_PART),
    "VAE": Kind(_has("decode", "encode"), "a VAE", "wire the VAE of a checkpoint, or of Load VAE", _NO_PART),
    "GUIDER": Kind(_has("sample", "model_patcher", "original_conds"), "a guider", "wire a CFGGuider"),
    "SAMPLER": Kind(_has("sample"), "a sampler", "wire a KSamplerSelect"),
    "NOISE": Kind(_has("generate_noise"), "a noise", "wire a Seed Walk"),
    "SIGMAS": Kind(
        lambda value: isinstance(value, Tensor) and value.ndim == 1, "a list of sigmas", "wire a BasicScheduler"
    ),
    "LATENT": Kind(_is_latent, "a latent that holds something", "wire an Empty Latent Image or a VAE Encode"),
    "IMAGE": Kind(_is_image, "images in colour", "wire a Load Image or a VAE Decode"),
    "CONDITIONING": Kind(_is_conditioning, "a conditioning", "wire a CLIP Text Encode"),
    "LORA_MODEL": Kind(_is_lora, "a LoRA", "wire Train Smooth-LoRA"),
    "SMOOTH_WALK": Kind(_has("frac", "numbers"), "a walk", "wire a Walk Schedule"),
    "SMOOTH_INVERSION": Kind(_has("states", "receipt"), "an inversion", "wire Invert Picture or Load Inversion"),
    "SMOOTH_TRAINING_CHECK": Kind(_has("setting", "prompts"), "a training check", "wire a Training Check"),
    "STRING": Kind(lambda value: isinstance(value, str), "text", "type it, or wire a node that gives text"),
}


def check_inputs(node: str, inputs: Iterable[Any], values: Mapping[str, Any], lists: bool) -> None:
    """Checks all inputs of a node.

    node:   its name, for sentences
    inputs: of its Schema
    values: by the inputs' ids
    lists:  true where every value is a list of values
    raises: ValueError in one sentence for the first value that is not of its type
    """
    slots = [slot for declared in inputs for slot in _slots(declared, values.get(declared.id), lists)]
    for name, declared, value in slots:
        _check(f"{node}: {name}", declared, value)
    _check_widths(node, [(name, declared.get_io_type(), value) for name, declared, value in slots])


def _slots(declared: Any, value: Any, lists: bool) -> Iterator[tuple[str, Any, Any]]:
    """Yields name, declaration and value of each slot of a growing input, of each entry of a list, or of the input."""
    grown = getattr(getattr(declared, "template", None), "input", None)
    if grown is not None:
        yield from ((slot, grown, wired) for slot, wired in (value or {f"{declared.template.prefix}0": None}).items())
    elif lists and (value or declared.optional):
        yield from ((declared.id, declared, one) for one in value or ())
    else:
        yield declared.id, declared, (value or None) if lists else value


def _check_widths(node: str, slots: Sequence[tuple[str, str, Any]]) -> None:
    """Refuses conditionings that were encoded for another kind of model than the one at the same node.

    slots: name, type and value of each
    """
    wired = {kind: value for _, kind, value in reversed(slots)}  # the first of each type
    if (guider := wired.get("GUIDER")) is not None:
        model, texts = guider.model_patcher, guider.original_conds.items()
    else:
        model = wired.get("MODEL")
        texts = [(name, value or ()) for name, kind, value in slots if kind == "CONDITIONING"]
    width = None if model is None else context_width(model)
    if width is None:
        return
    for name, conditioning in texts:
        for other in {text.shape[-1] for text in map(_embedding, conditioning) if text is not None} - {width}:
            raise ValueError(
                f"{node}: {name} is text of width {other}, but this model reads text of width {width}; "
                "encode it with the CLIP of the checkpoint that the model comes from"
            )


def _embedding(entry: Any) -> Tensor | None:
    """Returns the embedded text of a conditioning's entry, as nodes wire it or as a guider keeps it."""
    text = entry.get("cross_attn") if isinstance(entry, dict) else entry[0]
    return text if isinstance(text, Tensor) and text.ndim > 2 else None


def _check(what: str, declared: Any, value: Any) -> None:
    types = declared.get_io_type().split(",")
    if value is None and declared.optional and types[0] not in WIDGET_TYPES:
        return
    if types[0] in KINDS:
        require_kind(what, types, value)
    elif types in (["INT"], ["FLOAT"]):
        _check_number(what, declared, value, whole=types == ["INT"])
    elif types == ["COMBO"] and declared.id not in FILE_INPUTS:
        _check_choice(what, declared.options, value)


def require_kind(what: str, types: Sequence[str], value: Any) -> None:
    """Refuses a value that none of these types of wire carries.

    what:   the input, for the sentence
    types:  of KINDS
    raises: ValueError in one sentence
    """
    kinds = [KINDS[name] for name in types]
    if any(kind.holds(value) for kind in kinds):
        return
    if value is None:
        raise ValueError(f"{what} is empty, because {kinds[0].nothing}; {kinds[0].remedy}")
    wanted = " or ".join(kind.name for kind in kinds)
    raise ValueError(f"{what} must be {wanted}, got {_described(value)}; {kinds[0].remedy}")


def _check_number(what: str, declared: Any, value: Any, *, whole: bool) -> None:
    is_number = isinstance(value, numbers.Integral if whole else numbers.Real)
    if not is_number:
        raise ValueError(f"{what} must be {'a whole number' if whole else 'a number'}, got {_described(value)}")
    require_range(what, value, declared.min, declared.max)


def _check_choice(what: str, choices: list, value: Any) -> None:
    if len(choices) <= MOST_NAMED_CHOICES:
        require_choice(what, value, choices)
    elif value not in choices:
        raise ValueError(f"{what} must be one that the widget lists, got {_described(value)}")


def _described(value: Any) -> str:
    """Describes a value, short enough for a sentence."""
    if value is None:
        return "nothing"
    if isinstance(value, Tensor):
        return f"a tensor of {size_text(value.shape) or 'one number'}"
    if isinstance(value, dict) and isinstance(value.get("samples"), Tensor):
        return f"a latent of {size_text(value['samples'].shape)}"
    if isinstance(value, (str, int, float)):
        text = repr(value)
        return text if len(text) < 60 else f"{text[:57]}..."
    if isinstance(value, (list, tuple)) and value:
        return f"a {type(value).__name__} of {_described(value[0])}"
    return f"{'an empty' if isinstance(value, (list, tuple, dict)) and not value else 'a'} {type(value).__name__}"


def context_width(model: ModelPatcher) -> int | None:
    """Returns the width of the text that a UNet attends to; None for other networks, which have no such width."""
    network = getattr(model.model, "diffusion_model", None)
    config = getattr(getattr(model.model, "model_config", None), "unet_config", {})
    width = config.get("context_dim") if isinstance(network, UNetModel) else None
    return width if isinstance(width, int) else None


def plain_samples(latent: Mapping[str, Any], who: str) -> Tensor:
    """Returns the samples [B, C, ...] of a LATENT.

    who:    the node, and the use of the LATENT where a node has several, for the sentence
    raises: ValueError for one that nests several latents
    """
    samples = latent["samples"]
    if getattr(samples, "is_nested", False):
        raise ValueError(
            f"{who}: this LATENT nests several latents (image and sound, for example); use a latent of one kind"
        )
    return samples
