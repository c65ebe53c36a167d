"""LoRA files on the host's models: looked up in its folders, patched by its own code, and reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import comfy.lora
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher

from ...smooth_lora.checks import require_range
from ...smooth_lora.files.tensor_file import TensorFile, read_tensor_file
from ...smooth_lora.lora.keys import module_kind
from ...smooth_lora.lora.pairs import LoraPair, Replacement, made_for
from ...smooth_lora.lora.parse import parse_lora
from ...smooth_lora.wording import name_some
from ..host.names import LOADER
from .fit import FittedLora, Target, fit_lora, model_text
from .range import WHOLE_RANGE, LoraStrength, add_in_range

MAX_STRENGTH = 10.0
MAX_KEYFRAMES = 100
PART_ORDER = ("q", "k", "v", "out")
REPORTED_METADATA = ("modelspec.title", "modelspec.architecture", "ss_base_model_version", "ss_sd_model_name")
METADATA_CHARACTERS = 80  # of an entry that the report shows


def lora_names() -> list[str]:
    """Lists the files in the host's loras folders, as its combo boxes do."""
    return folder_paths.get_filename_list("loras")


def lora_path(name: str) -> Path:
    """Path of the file of that name; only listed names are accepted, so that none leads out of the folders.

    raises: ValueError if there is no such file
    """
    if name not in lora_names():
        raise ValueError(
            f"{LOADER}: there is no file '{name}' in the loras folders; press R to refresh the list and choose another"
        )
    return Path(folder_paths.get_full_path_or_raise("loras", name))


def lora_stamp(name: str | None) -> str | float:
    """Size and time of writing of a file, which change when it is replaced.

    The host writes this into the images it saves, so it must not show where the file lies.
    name: None where it comes over a wire; then NaN, which equals nothing, so that the file is read anew
    """
    if name is None:
        return float("nan")
    facts = lora_path(name).stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def load_lora(
    model: ModelPatcher, lora_name: str, strength: LoraStrength, *, allow_partial: bool
) -> tuple[ModelPatcher, str]:
    """Returns a copy of the model with the LoRA on it, and a report; all is checked before anything is patched.

    raises: ValueError in one sentence if the file cannot be read, does not fit the model, or matches only in
            part without allow_partial
    """
    _require_settings(strength)
    file = read_tensor_file(lora_path(lora_name), lora_name)
    lora = parse_lora(file.tensors, file.metadata, name=file.name)
    fitted = fit_lora(model, lora, allow_partial=allow_partial)
    patched = model.clone()
    if strength.merges:
        _patch(patched, fitted.targets, strength.factor)
    elif strength.factor != 0:
        add_in_range(patched, fitted, strength, sha256=file.sha256)
    return patched, _report(model, file, fitted, _how(model, strength))


def _require_settings(strength: LoraStrength) -> None:
    for factor in strength.walked:
        require_range(f"{LOADER}: a walked strength", factor, -MAX_STRENGTH, MAX_STRENGTH)
    if len(strength.walked) == 1 or len(strength.walked) > MAX_KEYFRAMES:
        raise ValueError(
            f"{LOADER}: walked_strength needs 2 to {MAX_KEYFRAMES} numbers, got {len(strength.walked)}; leave it "
            "empty for one strength in every frame"
        )
    if strength.start > strength.end:
        raise ValueError(
            f"{LOADER}: start_percent ({strength.start:g}) lies after end_percent ({strength.end:g}); swap them"
        )


def _patch(model: ModelPatcher, targets: Sequence[Target], factor: float) -> None:
    """Hands the file's tensors, under names the host lists, to the host's own LoRA code."""
    named: dict[str, torch.Tensor] = {}
    for target in targets:
        named.update(_host_tensors(target))
    patch_keys = {target.listed: target.patch_key for target in targets}
    patched = model.add_patches(comfy.lora.load_lora(named, patch_keys, log_missing=False), factor)
    if len(patched) != len(targets):
        raise ValueError(
            f"{LOADER}: ComfyUI took only {len(patched)} of {len(targets)} patches for this model; "
            "load the file with the stock 'Load LoRA' node instead"
        )


def _host_tensors(target: Target) -> dict[str, torch.Tensor]:
    part, name = target.part, target.listed
    if isinstance(part, Replacement):
        return {f"{name}.{part.role}": part.tensor}
    alpha = None if part.alpha is None else torch.tensor(part.alpha, dtype=torch.float64)
    tensors = {
        "lora_up.weight": part.up,
        "lora_down.weight": part.down,
        "lora_mid.weight": part.mid,
        "alpha": alpha,
        "dora_scale": part.dora_scale,
    }
    return {f"{name}.{key}": tensor for key, tensor in tensors.items() if tensor is not None}


def _how(model: ModelPatcher, strength: LoraStrength) -> str:
    """Says when and how strongly the LoRA acts."""
    factor, start, end = strength.factor, strength.start, strength.end
    if factor == 0:
        return "strength 0: the model is unchanged"
    if strength.walked:
        steps = " to ".join(f"{factor * walked:g}" for walked in strength.walked)
        part = "" if (start, end) == WHOLE_RANGE else f", from {start:g} to {end:g} of the sampling range"
        return f"strength walks from {steps} with the frames, beside the weights{part}"
    if (start, end) == WHOLE_RANGE:
        return f"strength {factor:g} over the whole sampling range, merged into the weights"
    sampling = model.get_model_object("model_sampling")
    top = float(sampling.sigma_max)
    high, low = (min(float(sampling.percent_to_sigma(share)), top) for share in (start, end))
    return (
        f"strength {factor:g} from {start:g} to {end:g} of the sampling range, at steps with sigma "
        f"{high:.4g} to {low:.4g}; a run without a step in there leaves the model as it is"
    )


def _report(model: ModelPatcher, file: TensorFile, fitted: FittedLora, how: str) -> str:
    lora, targets, unmatched = fitted.lora, fitted.targets, fitted.unmatched
    pairs = sum(isinstance(target.part, LoraPair) for target in targets)
    counts = f"{pairs} pairs of rank {' and '.join(str(rank) for rank in lora.ranks) or '-'}"
    if pairs < len(targets):
        counts += f", {len(targets) - pairs} whole tensors"
    lines = [
        f"{lora.name} (sha256 {file.sha256[:10]}), made for {made_for(lora)}, on {model_text(model)}",
        f"{lora.tensors - len(unmatched)} of {lora.tensors} tensors matched: {counts}",
        f"keys: {' and '.join(lora.styles) or 'ComfyUI'}",
        *_kinds(targets),
        how,
    ]
    if unmatched:
        lines.append(f"no place for {len(unmatched)} tensors: {name_some(unmatched)}")
    if lora.text_encoder:
        count = len(lora.text_encoder)
        lines.append(f"{count} of them are for the text encoder, which this node does not change")
    return "\n".join([*lines, *_metadata(file.metadata)])


def _kinds(targets: Sequence[Target]) -> list[str]:
    """Returns one line per kind of module, with the number of each of its parts."""
    lines: dict[str, list[str]] = {}
    counts = Counter(module_kind(target.weight, len(target.shape)) for target in targets)
    for kind, part in sorted(counts, key=lambda one: (one[0], (*PART_ORDER, "").index(one[1]))):
        lines.setdefault(kind, []).append(f"{part} {counts[kind, part]}".strip())
    return [f"{kind}: {', '.join(parts)}" for kind, parts in lines.items()]


def _metadata(metadata: dict[str, str]) -> list[str]:
    return [
        f"{key}: {value[:METADATA_CHARACTERS]}"
        for key, value in sorted(metadata.items())
        if key in REPORTED_METADATA or key.startswith("smooth")
    ]
