"""Inversions in safetensors files: written whole or not at all, read back bit for bit or refused with one sentence."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .inversion import ENCODERS, METHODS, Inversion

FORMAT, VERSION = "Smooth Diffusion inversion", 1
CONTENT_MOST = 8 << 20  # bytes of JSON; read as nested lists it may take twenty times that in memory
DEPTH_MOST = 64  # lists in lists; a value that holds itself would have no end
MARK, ASIDE = "$", "text."  # of JSON tables that stand for something else; of the tensors of the texts
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
          torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.bool: "BOOL", torch.uint8: "U8",
          torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64"}
OF_INVERSION = {"sigmas": torch.float64, "states": torch.float64, "noise": torch.float32, "nulls": torch.float32,
                "residuals": torch.float64}
KNOWN_OBJECTS = {"control": "a ControlNet", "hooks": "a group of hooks", "gligen": "a GLIGEN model"}
ANEW = "invert the picture again"
LEAVES = (NoneType, bool, int, float, str)
ACCEPTED = {float: (float, int), int: (int, bool)}


def save_inversion(inversion: Inversion, path: Path) -> None:
    """Write an inversion; others see the file either as it was or complete.

    inversion: read only; tensors may be views, share memory and be on any device
    raises:    ValueError if a text carries what a file cannot hold, naming its key, or if the inversion is not one
               that `load_inversion` would take; OSError if the file cannot be written, then nothing is left of it
    """
    tensors, content = _packed(inversion)
    metadata = {"format": FORMAT, "version": str(VERSION), "content": content, "sha256": _checksum(content, tensors)}
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        save_file(tensors, draft, metadata)
        with open(draft, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"'{path.name}' could not be written ({error}): see that the folder {path.parent} exists, has "
                      "room and may be written to") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def load_inversion(path: Path) -> Inversion:
    """The inversion that `save_inversion` wrote, bit for bit, on the CPU and independent of the file.

    raises: ValueError if there is no such file, if it is cut short, damaged, of another kind or of a newer version,
            or if what it says contradicts itself
    """
    metadata, tensors = _read(path)
    content = metadata.get("content", "")
    if metadata.get("sha256") != _checksum(content, tensors):
        raise ValueError(f"'{path.name}' is damaged, its content does not fit its checksum: copy it again, or {ANEW}")
    return _inversion(content, tensors, f"'{path.name}'")


def bytes_of(tensor: Tensor) -> np.ndarray:
    """The values of a tensor in order as bytes, [n] uint8; no copy where they lie so already.

    tensor: one in which `tensor_fault` finds nothing
    """
    return tensor.detach().cpu().resolve_neg().contiguous().flatten().view(torch.uint8).numpy()


def tensor_fault(tensor: Tensor) -> str | None:
    """What to call a tensor whose values cannot be read off it, None for a usual one."""
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"an object of type {type(tensor).__name__}"
    if tensor.layout != torch.strided or tensor.is_meta:
        return "a tensor that is sparse or has no values"
    return None if tensor.dtype in DTYPES else f"a tensor of {tensor.dtype}"


def called(value: object) -> str:
    """What to call a value that is neither plain data nor a usual tensor."""
    if type(value) is dict:
        return "a table whose keys are not all texts"
    return f"an object of type {type(value).__name__}"


def _checksum(content: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything in a file: its JSON, and names, number types, shapes and bytes of its tensors."""
    names = sorted(tensors)
    listing = [(name, DTYPES[tensors[name].dtype], list(tensors[name].shape)) for name in names]
    digest = hashlib.sha256(json.dumps([FORMAT, VERSION, content, listing]).encode())
    for name in names:
        digest.update(bytes_of(tensors[name]))
    return digest.hexdigest()


def _packed(inversion: Inversion) -> tuple[dict[str, Tensor], str]:
    """Copies of all tensors by the names they have in the file, and everything else as JSON."""
    encoder, document = _Encoder(), {}
    for field in fields(inversion):
        value = getattr(inversion, field.name)
        if isinstance(value, Tensor):
            encoder.put(field.name, value, [field.name])
        elif value is not None:
            document[field.name] = encoder.encode(_plain(value), [field.name])
    content = json.dumps(document, allow_nan=False)
    if len(content) > CONTENT_MOST:
        raise ValueError(f"the inversion's texts and settings take {len(content):,} bytes beside their tensors, but a "
                         f"file holds {CONTENT_MOST:,}: save an inversion that was made with simpler texts")
    _inversion(content, encoder.tensors, "the inversion")  # what could not be loaded is not written
    return encoder.tensors, content


def _plain(value: object) -> object:
    """Records and mappings as dicts; lists, which only texts are, stay as they are: they must be plain already."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return tuple(map(_plain, value)) if type(value) is tuple else value


class _Encoder:
    """Turns values into JSON and puts their tensors aside, each once."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[int, str] = {}

    def put(self, name: str, tensor: Tensor, path: list[str]) -> None:
        """Keep a copy of a tensor that shares memory with nothing."""
        if fault := tensor_fault(tensor):
            _cannot_hold(path, fault)
        plain = tensor.detach().cpu().resolve_neg()
        self.tensors[name] = plain.clone(memory_format=torch.contiguous_format)

    def encode(self, value: object, path: list[str], depth: int = 0) -> object:
        """What stands for a value in JSON; path: the field and the dict keys that lead to it."""
        kind = type(value)
        if depth > DEPTH_MOST:
            _cannot_hold(path, f"a value that is nested more than {DEPTH_MOST} deep")
        if kind in LEAVES:
            return self._leaf(value, path)
        if kind in (list, tuple):
            items = [self.encode(item, path, depth + 1) for item in value]
            return items if kind is list else {MARK + "tuple": items}
        if kind is dict and all(type(key) is str for key in value):
            items = {self._leaf(key, path): self.encode(value[key], [*path, key], depth + 1) for key in value}
            return {MARK + "dict": items} if any(key.startswith(MARK) for key in items) else items
        if isinstance(value, Tensor):
            return {MARK + "tensor": self._name(value, path)}
        return _cannot_hold(path, called(value))

    def _leaf(self, value: object, path: list[str]) -> object:
        if type(value) is float and not math.isfinite(value):
            return {MARK + "float": struct.pack(">d", value).hex()}
        if type(value) is int and value.bit_length() > 64:  # Python refuses to read very long decimal numbers
            return {MARK + "int": hex(value)}
        if type(value) is str and any("\ud800" <= letter <= "\udfff" for letter in value):
            _cannot_hold(path, "a text that is not valid Unicode")  # JSON would join two halves of a letter
        return value

    def _name(self, tensor: Tensor, path: list[str]) -> str:
        if id(tensor) not in self._names:
            name = f"{ASIDE}{len(self._names)}"
            self.put(name, tensor, path)
            self._names[id(tensor)] = name
        return self._names[id(tensor)]


def _cannot_hold(path: list[str], what: str) -> NoReturn:
    owner, key = path[0], path[1] if len(path) > 1 else None
    owner = f"{owner} text" if owner in ("positive", "negative") else f"inversion's '{owner}'"
    what = f"{KNOWN_OBJECTS.get(key, what)} ({key!r})" if key is not None else what
    raise ValueError(f"the {owner} carries {what}, which a file cannot hold; save an inversion that was made without "
                     "it, and apply it again after loading")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The text entries and copies of the tensors; of a file of another format only the header is read."""
    name = path.name
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata, keys = file.metadata() or {}, file.keys()
            _require_format(metadata, name)
            for key in keys:
                if file.get_slice(key).get_dtype() not in DTYPES.values():
                    raise ValueError(f"'{name}' holds a kind of number that no inversion has ({key!r}): {ANEW}")
            return metadata, {key: file.get_tensor(key).clone() for key in keys}
    except FileNotFoundError as error:
        raise ValueError(f"'{name}' does not exist: choose a file that was saved as an inversion") from error
    except OSError as error:
        raise ValueError(f"'{name}' cannot be read ({error}): choose a file that you are allowed to read") from error
    except (SafetensorError, RuntimeError, TypeError) as error:  # the last two for shapes that torch cannot count
        raise ValueError(f"'{name}' is not a whole safetensors file ({_reason(error)}): choose a file that was "
                         "saved as an inversion, or copy it again if it was cut short") from error


def _require_format(metadata: Mapping[str, str], name: str) -> None:
    if metadata.get("format") != FORMAT:
        raise ValueError(f"'{name}' is a safetensors file, but not an inversion; it may be a LoRA or a checkpoint: "
                         "choose a file that was saved as an inversion")
    version = metadata.get("version", "")
    if version == str(VERSION):
        return
    if version.isascii() and version.isdigit() and len(version) < 10 and int(version) > VERSION:
        raise ValueError(f"'{name}' was written by a newer Smooth Diffusion (file version {version}, this one reads "
                         f"{VERSION}): update Smooth Diffusion")
    raise ValueError(f"'{name}' is damaged, its file version is {_short(version, 20)!r}: copy it again, or {ANEW}")


def _inversion(content: str, tensors: Mapping[str, Tensor], what: str) -> Inversion:
    """The inversion that JSON and tensors describe.

    what:   what errors call it
    raises: ValueError if they describe none
    """
    try:
        inversion = _described(content, tensors)
        fault = _contradiction(inversion)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, struct.error) as error:
        raise ValueError(f"{what} does not describe an inversion ({_reason(error)}): {ANEW}") from error
    if inversion.method not in METHODS:
        raise ValueError(f"{what} was made with the method {_short(inversion.method, 40)!r}, but this Smooth Diffusion "
                         f"knows {', '.join(METHODS)}: update Smooth Diffusion, or {ANEW} with one of these")
    if fault:
        raise ValueError(f"{what} contradicts itself, {fault}: {ANEW}")
    return inversion


def _described(content: str, tensors: Mapping[str, Tensor]) -> Inversion:
    if len(content) > CONTENT_MOST:
        raise ValueError(f"its texts and settings take {len(content):,} bytes")
    document = json.loads(content, parse_constant=_no_constant)
    if type(document) is not dict:
        raise TypeError("its description is not a table")
    aside = {name: tensor for name, tensor in tensors.items() if name.startswith(ASIDE)}
    own = {name: tensor for name, tensor in tensors.items() if name not in aside}
    used: set[str] = set()
    values = {name: _decoded(value, aside, used) for name, value in document.items()}
    if aside.keys() - used:
        raise ValueError(f"nothing refers to the tensor {min(aside.keys() - used)!r}")
    return _record({**values, **own}, Inversion, "")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _reason(error: Exception) -> str:
    """What an error says in one line; torch adds where in its own code it arose."""
    return "it is nested too deeply" if isinstance(error, RecursionError) else _short(str(error).partition("\n")[0])


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else text[:most] + "..."


def _decoded(value: object, aside: Mapping[str, Tensor], used: set[str]) -> object:
    """The inverse of _Encoder.encode; the names of the tensors it met go to used."""
    if type(value) is list:
        return [_decoded(item, aside, used) for item in value]
    if type(value) is not dict:
        return value
    mark = next(iter(value), "") if len(value) == 1 else ""
    if not mark.startswith(MARK):
        return {key: _decoded(item, aside, used) for key, item in value.items()}
    inner = value[mark]
    if mark == MARK + "float":
        return struct.unpack(">d", bytes.fromhex(inner))[0]
    if mark == MARK + "int":
        return int(inner, 16)
    if mark == MARK + "tuple" and type(inner) is list:
        return tuple(_decoded(item, aside, used) for item in inner)
    if mark == MARK + "dict" and type(inner) is dict:
        return {key: _decoded(item, aside, used) for key, item in inner.items()}
    if mark == MARK + "tensor" and inner in aside:
        used.add(inner)
        return aside[inner]
    raise ValueError(f"{_short(repr(value))} stands for nothing")


def _record(value: object, kind: type, where: str) -> object:
    """A dataclass from a dict of its fields.

    raises: ValueError or TypeError naming the field that is missing, unknown or of another type
    """
    if type(value) is not dict:
        raise TypeError(f"{where.rstrip('.')} is not a table")
    hints = get_type_hints(kind)
    if unknown := value.keys() - hints.keys():
        raise ValueError(f"{_short(where + min(unknown))!r} is unknown")
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    if missing := needed - value.keys():
        raise ValueError(f"{where + min(missing)!r} is missing")
    return kind(**{name: _typed(item, hints[name], f"{where}{name}") for name, item in value.items()})


def _typed(value: object, hint: object, where: str) -> object:
    """A value as a field with that type hint holds it."""
    origin, args = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _record(value, hint, f"{where}.")
    if origin in (Union, UnionType):
        options = [kind for kind in args if kind is not NoneType]
        if value is None and len(options) < len(args):
            return None
        if len(options) == 1:
            return _typed(value, options[0], where)
        for option in options:
            with suppress(TypeError, ValueError):
                return _typed(value, option, where)
    elif origin is tuple and type(value) is tuple:
        return tuple(_typed(item, args[0], f"{where}[{index}]") for index, item in enumerate(value))
    elif origin is Mapping and type(value) is dict:
        return {key: _typed(item, args[1], f"{where}.{key}") for key, item in value.items()}
    elif (origin is Literal and value in args) or (not origin and type(value) in ACCEPTED.get(hint, (hint,))):
        return value
    raise TypeError(f"{where} is of the wrong type, {type(value).__name__}")


def _contradiction(inversion: Inversion) -> str | None:
    """The first thing in an inversion that does not fit the rest, or None.

    raises: TypeError if a text is not what ComfyUI passes as one
    """
    for name in ("positive", "negative"):
        _require_text(getattr(inversion, name), name)
    for name, dtype in OF_INVERSION.items():
        tensor = getattr(inversion, name)
        if tensor is not None and tensor.dtype != dtype:
            return f"{name} is {tensor.dtype} instead of {dtype}"
    return _sigmas_fault(inversion.sigmas) or _shape_fault(inversion) or _number_fault(inversion)


def _require_text(text: list, name: str) -> None:
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
        return (f"states has shape {tuple(inversion.states.shape)}, but {steps} steps and noise {noise} need "
                f"{(steps + 1, *noise)}")
    if inversion.residuals is not None and tuple(inversion.residuals.shape) != (steps, *noise):
        return (f"residuals has shape {tuple(inversion.residuals.shape)}, but {steps} steps and noise {noise} need "
                f"{(steps, *noise)}")
    if nulls is not None and not (nulls.ndim == 4 and nulls.shape[0] == steps and nulls.shape[1] in (1, noise[0])):
        return (f"nulls has shape {tuple(nulls.shape)}, but {steps} steps need {steps} texts for 1 or "
                f"{noise[0]} pictures")
    if inversion.method in ENCODERS and inversion.residuals is None:
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
    if len(receipt.pictures) != inversion.pictures:
        return f"its receipt is about {len(receipt.pictures)} pictures instead of {inversion.pictures}"
    rows = [len(row) for row in receipt.step_errors]
    if rows != [inversion.pictures] * (inversion.steps + 1):
        return "its receipt does not have one error for every noise level and picture"
    return None
