"""Trained LoRAs written for others to load: the names of their tensors, and the metadata of their files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import comfy.lora
import comfy.supported_models
import folder_paths
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.files.whole import write_tensors
from ...smooth_lora.lora.keys import module_kind
from ...smooth_lora.lora.pairs import LoraPair
from ...smooth_lora.lora.parse import parse_lora
from ..host.folders import output_files
from ..host.names import SAVER, TRAINER
from .fit import Target, fit_lora

KOHYA, DIFFUSERS, COMFYUI = "kohya", "diffusers attention processors", "ComfyUI"
KEY_STYLES = (KOHYA, DIFFUSERS, COMFYUI)
FILE_PRECISIONS = {"float16": torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}
OWN_ENTRY = "smooth_lora."  # begins the name of every entry of our own in a file's metadata
KOHYA_PREFIX, PROCESSOR = "lora_unet_", ".processor.to_"


def save_lora(
    model: ModelPatcher, lora: Mapping[str, Tensor], filename_prefix: str, *, style: str, precision: str, record: str
) -> tuple[str, str]:
    """Writes a LORA_MODEL into the host's output folder, under a name that is not taken.

    model:   the one that it was trained for
    style:   one of KEY_STYLES; precision: one of FILE_PRECISIONS; record: JSON of the training, or ""
    returns: the file's name from the output folder, and a report
    raises:  ValueError if the LoRA does not fit the model, if it is no LoRA, if the style has no names for some of its
             layers, if a number does not fit the precision, or for a record that is no JSON; OSError if the file cannot
             be written
    """
    entries = _entries(record)
    targets = fit_lora(model, parse_lora(lora, {}, name="lora"), allow_partial=False).targets
    tensors = _stored(_named(model, targets, style), FILE_PRECISIONS[precision])
    path = _free_path(filename_prefix)
    write_tensors(tensors, path, {**entries, **_kohya_metadata(targets)})
    name = path.relative_to(folder_paths.get_output_directory()).as_posix()
    return name, "\n".join(
        [
            f"{name}: {len(targets)} pairs, names of {style}, {precision}",
            *(f"{key.removeprefix(OWN_ENTRY)}: {value}" for key, value in sorted(entries.items())),
        ]
    )


def _entries(record: str) -> dict[str, str]:
    """Returns a training's record as entries of a file's metadata."""
    if not record.strip():
        return {}
    advice = f"wire the record of {TRAINER}, or leave it unwired"
    try:
        table = json.loads(record)
    except json.JSONDecodeError as error:
        raise ValueError(f"{SAVER}: record is no JSON ({error}); {advice}") from error
    if not isinstance(table, dict):
        raise ValueError(f"{SAVER}: record is a JSON {type(table).__name__}, not a table of names and values; {advice}")
    return {OWN_ENTRY + key: value if isinstance(value, str) else json.dumps(value) for key, value in table.items()}


def _named(model: ModelPatcher, targets: Sequence[Target], style: str) -> dict[str, Tensor]:
    """Returns the pairs' tensors by the names of a style.

    raises: ValueError for parts that are no pairs or have no name in the style
    """
    names = _names(model, style)
    tensors: dict[str, Tensor] = {}
    for target in targets:
        if not isinstance(target.part, LoraPair) or target.part.dora_scale is not None:
            raise ValueError(
                f"{SAVER}: lora holds {target.weight}, which is no plain LoRA pair; save it with the stock "
                "Save LoRA Weights"
            )
        name = names.get(target.patch_key)
        if name is None:
            kind = module_kind(target.weight, len(target.shape))[0]
            raise ValueError(
                f"{SAVER}: the names of {style} do not cover {target.weight} ({kind}); choose {KOHYA} or {COMFYUI}"
            )
        tensors.update(_pair(name, target.part, style))
    return tensors


def _names(model: ModelPatcher, style: str) -> dict[object, str]:
    """Names of the weights in a style, by patch key, among those that the host itself reads."""
    table = comfy.lora.model_lora_keys_unet(model.model, {})
    if style == COMFYUI:
        return {patch_key: name for name, patch_key in table.items() if name.startswith("diffusion_model.")}
    if style == DIFFUSERS:
        processors = {name: patch_key for name, patch_key in table.items() if PROCESSOR in name}
        return {patch_key: name for name, patch_key in processors.items() if not name.startswith("unet.")}
    names: dict[object, str] = {}
    # SDXL's trainers write the network's own names, those of SD1.x and SD2.x the names of diffusers, which come last.
    first_wins = isinstance(model.model.model_config, comfy.supported_models.SDXL)
    for name, patch_key in table.items():
        if name.startswith(KOHYA_PREFIX) and not (first_wins and patch_key in names):
            names[patch_key] = name
    return names


def _pair(name: str, pair: LoraPair, style: str) -> dict[str, Tensor]:
    """Returns a pair's tensors by name; a style without alpha multiplies `up` by the pair's scale."""
    if style == DIFFUSERS:
        return {f"{name}_lora.up.weight": pair.up * pair.scale, f"{name}_lora.down.weight": pair.down}
    tensors = {f"{name}.lora_up.weight": pair.up, f"{name}.lora_down.weight": pair.down}
    if pair.mid is not None:
        tensors[f"{name}.lora_mid.weight"] = pair.mid
    if style == KOHYA or pair.alpha is not None:
        tensors[f"{name}.alpha"] = torch.tensor(float(pair.rank if pair.alpha is None else pair.alpha))
    return tensors


def _stored(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    stored = {}
    for name, tensor in tensors.items():
        rounded = tensor.detach().cpu().to(dtype)
        if not bool(rounded.isfinite().all()):
            raise ValueError(
                f"{SAVER}: a number in {name} is too large for {str(dtype).removeprefix('torch.')}; choose float32"
            )
        stored[name] = rounded.clone(memory_format=torch.contiguous_format)
    return stored


def _kohya_metadata(targets: Sequence[Target]) -> dict[str, str]:
    """Returns the entries of a file's metadata that A1111 and Forge show."""
    pairs = [target.part for target in targets if isinstance(target.part, LoraPair)]
    ranks = sorted({pair.rank for pair in pairs})
    alphas = sorted({pair.alpha or float(pair.rank) for pair in pairs})
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(ranks[0]) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": f"{alphas[0]:g}" if len(alphas) == 1 else "Dynamic",
    }


def _free_path(filename_prefix: str) -> Path:
    """Returns prefix.safetensors in the output folder, or prefix_2.safetensors and so on if that exists."""
    for number in range(1, 10_000):
        ending = ".safetensors" if number == 1 else f"_{number}.safetensors"
        (path,) = output_files(filename_prefix, [ending])
        if not path.exists():
            return path
    raise ValueError(
        f"{SAVER}: there are 9,999 files of the name {filename_prefix!r} already; choose another filename_prefix"
    )
