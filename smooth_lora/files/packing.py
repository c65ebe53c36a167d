"""Plain data as JSON with its tensors put aside, and back again as the records it came from."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, NoReturn, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

from ..wording import shortened

DEPTH_MOST = 64  # lists in lists; a value that holds itself would have no end
MARK, ASIDE = "$", "text."  # of JSON tables that stand for something else; of the tensors of the texts
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
}
KNOWN_OBJECTS = {"control": "a ControlNet", "hooks": "a group of hooks", "gligen": "a GLIGEN model"}
LEAVES = (NoneType, bool, int, float, str)
ACCEPTED: dict[object, tuple[object, ...]] = {float: (float, int), int: (int, bool)}


class Dataclass(Protocol):
    """What `dataclasses.fields` takes."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Record = TypeVar("Record", bound=Dataclass)


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


def plain_data(value: object) -> object:
    """Records and mappings as dicts; lists, which only texts are, stay as they are: they must be plain already."""
    if is_dataclass(value):
        return {field.name: plain_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain_data(item) for key, item in value.items()}
    return tuple(map(plain_data, value)) if type(value) is tuple else value


class Packer:
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
        if type(value) is list or type(value) is tuple:
            items = [self.encode(item, path, depth + 1) for item in value]
            return items if kind is list else {MARK + "tuple": items}
        if type(value) is dict and all(type(key) is str for key in value):
            table = {self._leaf(key, path): self.encode(value[key], [*path, key], depth + 1) for key in value}
            return {MARK + "dict": table} if any(key.startswith(MARK) for key in value) else table
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
    raise ValueError(
        f"the {owner} carries {what}, which a file cannot hold; save an inversion that was made without "
        "it, and apply it again after loading"
    )


def unpacked(value: object, aside: Mapping[str, Tensor], used: set[str]) -> object:
    """The inverse of Packer.encode; the names of the tensors it met go to used."""
    if type(value) is list:
        return [unpacked(item, aside, used) for item in value]
    if type(value) is not dict:
        return value
    mark = next(iter(value), "") if len(value) == 1 else ""
    if not mark.startswith(MARK):
        return {key: unpacked(item, aside, used) for key, item in value.items()}
    inner = value[mark]
    if mark == MARK + "float":
        return struct.unpack(">d", bytes.fromhex(inner))[0]
    if mark == MARK + "int":
        return int(inner, 16)
    if mark == MARK + "tuple" and type(inner) is list:
        return tuple(unpacked(item, aside, used) for item in inner)
    if mark == MARK + "dict" and type(inner) is dict:
        return {key: unpacked(item, aside, used) for key, item in inner.items()}
    if mark == MARK + "tensor" and inner in aside:
        used.add(inner)
        return aside[inner]
    raise ValueError(f"{shortened(repr(value))} stands for nothing")


def record_of(value: object, kind: type[Record], where: str) -> Record:
    """A dataclass from a dict of its fields.

    raises: ValueError or TypeError naming the field that is missing, unknown or of another type
    """
    if type(value) is not dict:
        raise TypeError(f"{where.rstrip('.')} is not a table")
    hints = get_type_hints(kind)
    if unknown := value.keys() - hints.keys():
        raise ValueError(f"{shortened(where + min(unknown))!r} is unknown")
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    if missing := needed - value.keys():
        raise ValueError(f"{where + min(missing)!r} is missing")
    return kind(**{name: _typed(item, hints[name], f"{where}{name}") for name, item in value.items()})


def _typed(value: object, hint: object, where: str) -> object:
    """A value as a field with that type hint holds it."""
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return record_of(value, hint, f"{where}.")
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
