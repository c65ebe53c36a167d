"""Inversions in safetensors files: written whole or not at all, read back bit for bit or refused with one sentence."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files.packing import TENSOR_PREFIX, Packer, unpacked
from ..files.records import plain_data, record_of
from ..files.storable import DTYPES, bytes_of
from ..files.whole import write_tensors
from ..wording import shortened
from .methods import METHODS
from .record import Inversion

INVERSION_FORMAT, FILE_VERSION = "Smooth Diffusion inversion", 1
MOST_CONTENT = 8 << 20  # bytes of JSON; read as nested lists it may take twenty times that in memory
TENSOR_DTYPES = {
    "sigmas": torch.float64,
    "states": torch.float64,
    "noise": torch.float32,
    "nulls": torch.float32,
    "residuals": torch.float64,
}
REMEDY = "invert the picture again"
WITHOUT_IT = "save an inversion that was made without it, and apply it again after loading"


def save_inversion(inversion: Inversion, path: Path) -> None:
    """Writes an inversion; others see the file either as it was or complete.

    inversion: read only; tensors may be views, share memory and be on any device
    raises:    ValueError if a text carries what a file cannot hold, naming its key, or if the inversion is not one
               that `load_inversion` would take; OSError if the file cannot be written, then nothing is left of it
    """
    tensors, content = _packed(inversion)
    metadata = {
        "format": INVERSION_FORMAT,
        "version": str(FILE_VERSION),
        "content": content,
        "sha256": _checksum(content, tensors),
    }
    write_tensors(tensors, path, metadata)


def load_inversion(path: Path) -> Inversion:
    """Reads the inversion that `save_inversion` wrote, bit for bit, on the CPU and independent of the file.

    raises: ValueError if there is no such file, if it is cut short, damaged, of another kind or of a newer version,
            or if what it says contradicts itself
    """
    metadata, tensors = _read(path)
    content = metadata.get("content", "")
    if metadata.get("sha256") != _checksum(content, tensors):
        raise ValueError(f"'{path.name}' is damaged, its content does not fit its checksum; copy it again, or {REMEDY}")
    return _inversion(content, tensors, f"'{path.name}'")


def _checksum(content: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything in a file: its JSON, and names, number types, shapes and bytes of its tensors."""
    names = sorted(tensors)
    listing = [(name, DTYPES[tensors[name].dtype], list(tensors[name].shape)) for name in names]
    digest = hashlib.sha256(json.dumps([INVERSION_FORMAT, FILE_VERSION, content, listing]).encode())
    for name in names:
        digest.update(bytes_of(tensors[name]).data)
    return digest.hexdigest()


def _packed(inversion: Inversion) -> tuple[dict[str, Tensor], str]:
    """Returns copies of all tensors by their names in the file, and everything else as JSON."""
    packer, document = Packer(remedy=WITHOUT_IT), {}
    for field in fields(inversion):
        value = getattr(inversion, field.name)
        owner = f"{field.name} text" if field.name in ("positive", "negative") else f"inversion's '{field.name}'"
        if isinstance(value, Tensor):
            packer.put(field.name, value, owner)
        elif value is not None:
            document[field.name] = packer.encode(plain_data(value), owner)
    content = json.dumps(document, allow_nan=False)
    if len(content) > MOST_CONTENT:
        raise ValueError(
            f"the inversion's texts and settings take {len(content):,} bytes without their tensors, but a "
            f"file holds {MOST_CONTENT:,}; save an inversion that was made with simpler texts"
        )
    _inversion(content, packer.tensors, "the inversion")  # what could not be loaded is not written
    return packer.tensors, content


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Reads the metadata, and copies of the tensors; of a file of another format only the header."""
    name = path.name
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata, keys = file.metadata() or {}, file.keys()
            _require_format(metadata, name)
            for key in keys:
                if file.get_slice(key).get_dtype() not in DTYPES.values():
                    raise ValueError(f"'{name}' holds a kind of number that no inversion has ({key!r}); {REMEDY}")
            return metadata, {key: file.get_tensor(key).clone() for key in keys}
    except FileNotFoundError as error:
        raise ValueError(f"'{name}' does not exist; choose a file that was saved as an inversion") from error
    except OSError as error:
        raise ValueError(f"'{name}' cannot be read ({error}); choose a file that you are allowed to read") from error
    except (SafetensorError, RuntimeError, TypeError) as error:  # the last two for shapes that torch cannot count
        raise ValueError(
            f"'{name}' is not a whole safetensors file ({_reason(error)}); choose a file that was "
            "saved as an inversion, or copy it again if it was cut short"
        ) from error


def _require_format(metadata: Mapping[str, str], name: str) -> None:
    if metadata.get("format") != INVERSION_FORMAT:
        raise ValueError(
            f"'{name}' is a safetensors file, but not an inversion (it may be a LoRA or a checkpoint); "
            "choose a file that was saved as an inversion"
        )
    version = metadata.get("version", "")
    if version == str(FILE_VERSION):
        return
    if version.isascii() and version.isdigit() and len(version) < 10 and int(version) > FILE_VERSION:
        raise ValueError(
            f"'{name}' was written by a newer Smooth Diffusion (file version {version}, this one reads "
            f"{FILE_VERSION}); update Smooth Diffusion"
        )
    raise ValueError(f"'{name}' is damaged, its file version is {shortened(version, 20)!r}; copy it again, or {REMEDY}")


def _inversion(content: str, tensors: Mapping[str, Tensor], what: str) -> Inversion:
    """Makes the inversion that JSON and tensors describe.

    what:   its name in errors
    raises: ValueError if they describe none
    """
    try:
        inversion = _described(content, tensors)
        fault = _contradiction(inversion) if inversion.method in METHODS else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, struct.error) as error:
        raise ValueError(f"{what} does not describe an inversion ({_reason(error)}); {REMEDY}") from error
    if inversion.method not in METHODS:
        raise ValueError(
            f"{what} was made with the method {shortened(inversion.method, 40)!r}, but this Smooth "
            f"Diffusion knows {', '.join(METHODS)}; update Smooth Diffusion, or {REMEDY} with one of these"
        )
    if fault:
        raise ValueError(f"{what} contradicts itself, {fault}; {REMEDY}")
    return inversion


def _described(content: str, tensors: Mapping[str, Tensor]) -> Inversion:
    if len(content) > MOST_CONTENT:
        raise ValueError(f"its texts and settings take {len(content):,} bytes")
    document = json.loads(content, parse_constant=_no_constant)
    if type(document) is not dict:
        raise TypeError("its description is not a table")
    aside = {name: tensor for name, tensor in tensors.items() if name.startswith(TENSOR_PREFIX)}
    own = {name: tensor for name, tensor in tensors.items() if name not in aside}
    used: set[str] = set()
    values = {name: unpacked(value, aside, used) for name, value in document.items()}
    if aside.keys() - used:
        raise ValueError(f"nothing refers to the tensor {min(aside.keys() - used)!r}")
    return record_of({**values, **own}, Inversion, "")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _reason(error: Exception) -> str:
    """First line of an error's text; torch adds where in its own code it arose."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else shortened(str(error).partition("\n")[0])


def _contradiction(inversion: Inversion) -> str | None:
    """Finds the first thing in an inversion that does not fit the rest.

    raises: TypeError if a text is not what ComfyUI passes as one
    """
    for name in ("positive", "negative"):
        _require_text(getattr(inversion, name), name)
    for name, dtype in TENSOR_DTYPES.items():
        tensor = getattr(inversion, name)
        if tensor is not None and tensor.dtype != dtype:
            return f"{name} is {tensor.dtype} instead of {dtype}"
    return (
        _sigmas_fault(inversion.sigmas)
        or _shape_fault(inversion)
        or _number_fault(inversion)
        or _settings_fault(inversion)
    )


def _require_text(text: list[Any], name: str) -> None:
    for entry in text:
        if type(entry) not in (list, tuple) or len(entry) != 2 or type(entry[1]) is not dict:
            raise TypeError(f"{name} is not a list of texts with their settings")
        if not (entry[0] is None or isinstance(entry[0], Tensor)):
            raise TypeError(f"{name} holds a text that is not a tensor")


def _sigmas_fault(sigmas: Tensor) -> str | None:
    if sigmas.ndim != 1 or sigmas.shape[0] < 2:
        return f"sigmas has shape {tuple(sigmas.shape)}, but one step needs two noise levels in a row"
    falling = torch.isfinite(sigmas).all() and (sigmas >= 0).all() and (sigmas.diff() < 0).all()
    return None if bool(falling) else "sigmas do not fall from noise to picture"


def _shape_fault(inversion: Inversion) -> str | None:
    steps, noise, nulls = inversion.steps, tuple(inversion.noise.shape), inversion.nulls
    if len(noise) < 2 or 0 in noise:
        return f"noise has shape {noise}, which holds no pictures"
    if tuple(inversion.states.shape) != (steps + 1, *noise):
        return (
            f"states has shape {tuple(inversion.states.shape)}, but {steps} steps and noise {noise} need "
            f"{(steps + 1, *noise)}"
        )
    if inversion.residuals is not None and tuple(inversion.residuals.shape) != (steps, *noise):
        return (
            f"residuals has shape {tuple(inversion.residuals.shape)}, but {steps} steps and noise {noise} need "
            f"{(steps, *noise)}"
        )
    if nulls is not None and not (nulls.ndim == 4 and nulls.shape[0] == steps and nulls.shape[1] in (1, noise[0])):
        return (
            f"nulls has shape {tuple(nulls.shape)}, but {steps} steps need {steps} texts for 1 or {noise[0]} pictures"
        )
    if inversion.row.needs.residuals and inversion.residuals is None:
        return f"the method {inversion.method} needs residuals, and there are none"
    return None


def _number_fault(inversion: Inversion) -> str | None:
    scale, receipt = inversion.scale.sigma_data, inversion.receipt
    if not math.isfinite(inversion.cfg):
        return f"cfg is {inversion.cfg}"
    if not (math.isfinite(scale) and scale > 0):
        return f"sigma_data is {scale}"
    if receipt is None:
        return None
    if len(receipt.pictures) != inversion.images:
        return f"its receipt is about {len(receipt.pictures)} pictures instead of {inversion.images}"
    rows = [len(row) for row in receipt.step_errors]
    if rows != [inversion.images] * (inversion.steps + 1):
        return "its receipt does not have one error for every noise level and picture"
    return None


def _settings_fault(inversion: Inversion) -> str | None:
    """Finds a setting that a replay would read and that is not there, of another type, or out of range."""
    for setting in inversion.row.settings:
        if setting.replayed and setting.name not in inversion.settings:
            return f"the method {inversion.method} needs the setting {setting.name}, and there is none"
        if setting.replayed:
            setting.parsed(inversion.settings[setting.name], "its settings")
    return None
