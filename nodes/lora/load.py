"""LoRA files on the host's models: found in its folders, patched by its own code, and reported."""

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
from ...smooth_lora.lora.pairs import Lora, LoraPair, Replacement, made_for, parse_lora
from ...smooth_lora.wording import name_some
from .fit import Target, model_text, resolve
from .range import add_in_range

NODE = "Smooth-LoRA Loader"
MAX_STRENGTH = 10.0
MAX_KEYFRAMES = 100
WHOLE_RANGE = (0.0, 1.0)
PART_ORDER = ("q", "k", "v", "out")
METADATA = ("modelspec.title", "modelspec.architecture", "ss_base_model_version", "ss_sd_model_name")
METADATA_LENGTH = 80  # characters of an entry that the report shows


def lora_names() -> list[str]:
    """The files in the host's loras folders, as its combo boxes list them."""
    return folder_paths.get_filename_list("loras")


def lora_path(name: str) -> Path:
    """The file of that name; only listed names are taken, so no name leads out of the folders.

    raises: ValueError if there is no such file
    """
    if name not in lora_names():
        raise ValueError(
            f"{NODE}: there is no file '{name}' in the loras folders; press R to refresh the list and choose another"
        )
    return Path(folder_paths.get_full_path_or_raise("loras", name))


def lora_stamp(name: str | None) -> str | float:
    """What changes when the file is replaced: its size and time of writing.

    The host writes this into the pictures it saves, so it must not tell where the file lies.
    name: None where it comes over a wire; then NaN, which equals nothing, so that the file is read anew
    """
    if name is None:
        return float("nan")
    facts = lora_path(name).stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def load_lora(
    model: ModelPatcher,
    *,
    lora_name: str,
    strength: float,
    start_percent: float,
    end_percent: float,
    allow_partial: bool,
    walked: Sequence[float] = (),
) -> tuple[ModelPatcher, str]:
    """A copy of the model with the LoRA on it, and a report; all is checked before anything is patched.

    strength: multiplies the LoRA; start_percent, end_percent: share of the sampling range, 0 its noisy start
    walked:  what the strength is multiplied by at the keyframes of a walk; none: by 1 in every frame
    raises:  ValueError in one sentence if the file cannot be read, does not fit the model, or matches only in
             part without allow_partial
    """
    _require_settings(start_percent, end_percent, walked)
    file = read_tensor_file(lora_path(lora_name), lora_name)
    lora = parse_lora(file.tensors, file.metadata, file=file.name)
    targets, unmatched = resolve(model, lora, file=file.name, allow_partial=allow_partial)
    patched = model.clone()
    if strength != 0 and (start_percent, end_percent) == WHOLE_RANGE and not walked:
        _patch(patched, targets, strength)
    elif strength != 0:
        add_in_range(patched, targets, file, strength=strength, start=start_percent, end=end_percent, walked=walked)
    how = _how(model, strength, start_percent, end_percent, walked)
    return patched, _report(file, lora, targets, unmatched, [model_text(model), how])


def _require_settings(start: float, end: float, walked: Sequence[float]) -> None:
    for share in walked:
        require_range(f"{NODE}: a walked strength", share, -MAX_STRENGTH, MAX_STRENGTH)
    if len(walked) == 1 or len(walked) > MAX_KEYFRAMES:
        raise ValueError(
            f"{NODE}: walked_strength needs 2 to {MAX_KEYFRAMES} numbers, got {len(walked)}; leave it "
            "empty for one strength in every frame"
        )
    if start > end:
        raise ValueError(f"{NODE}: start_percent ({start:g}) lies after end_percent ({end:g}); swap them")


def _patch(model: ModelPatcher, targets: list[Target], strength: float) -> None:
    """Give the file's tensors, under names the host lists, to the host's own LoRA code."""
    named: dict[str, torch.Tensor] = {}
    for target in targets:
        named.update(_host_tensors(target))
    places = {target.listed: target.place for target in targets}
    taken = model.add_patches(comfy.lora.load_lora(named, places, log_missing=False), strength)
    if len(taken) != len(targets):
        raise ValueError(
            f"{NODE}: ComfyUI took only {len(taken)} of {len(targets)} patches for this model; "
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


def _how(model: ModelPatcher, strength: float, start: float, end: float, walked: Sequence[float]) -> str:
    if strength == 0:
        return "strength 0: the model is unchanged"
    if walked:
        steps = " to ".join(f"{strength * share:g}" for share in walked)
        part = "" if (start, end) == WHOLE_RANGE else f", from {start:g} to {end:g} of the sampling range"
        return f"strength walks from {steps} with the frames, beside the weights{part}"
    if (start, end) == WHOLE_RANGE:
        return f"strength {strength:g} over the whole sampling range, merged into the weights"
    sampling = model.get_model_object("model_sampling")
    top = float(sampling.sigma_max)
    high, low = (min(float(sampling.percent_to_sigma(share)), top) for share in (start, end))
    return (
        f"strength {strength:g} from {start:g} to {end:g} of the sampling range, at steps with sigma "
        f"{high:.4g} to {low:.4g}; a run without a step in there leaves the model as it is"
    )


def _report(file: TensorFile, lora: Lora, targets: list[Target], unmatched: list[str], model_and_how: list[str]) -> str:
    on, how = model_and_how
    pairs = sum(isinstance(target.part, LoraPair) for target in targets)
    counts = f"{pairs} pairs of rank {' and '.join(str(rank) for rank in lora.ranks) or '-'}"
    if pairs < len(targets):
        counts += f", {len(targets) - pairs} whole tensors"
    lines = [
        f"{file.name} (sha256 {file.sha256[:10]}), made for {made_for(lora)}, on {on}",
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


def _kinds(targets: list[Target]) -> list[str]:
    """One line per kind of module with the number of each of its parts."""
    lines: dict[str, list[str]] = {}
    counts = Counter(module_kind(target.weight, len(target.shape)) for target in targets)
    for kind, part in sorted(counts, key=lambda found: (found[0], (*PART_ORDER, "").index(found[1]))):
        lines.setdefault(kind, []).append(f"{part} {counts[kind, part]}".strip())
    return [f"{kind}: {', '.join(parts)}" for kind, parts in lines.items()]


def _metadata(metadata: dict[str, str]) -> list[str]:
    return [
        f"{key}: {value[:METADATA_LENGTH]}"
        for key, value in sorted(metadata.items())
        if key in METADATA or key.startswith("smooth")
    ]
