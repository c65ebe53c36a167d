"""Plain data as JSON with its tensors next to it, and back again."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from types import NoneType
from typing import NoReturn

import torch
from torch import Tensor

from ..wording import shortened
from .storable import MAX_DEPTH, tensor_fault, value_fault

JSON_MARK = "$"  # begins the only key of a JSON table that stands for something else
TENSOR_PREFIX = "text."  # begins the names of tensors inside plain data; texts were the first to have any
KNOWN_OBJECTS = {"control": "a ControlNet", "hooks": "a group of hooks", "gligen": "a GLIGEN model"}
_PLAIN_KINDS = (NoneType, bool, int, float, str)


class Packer:
    """Turns values into JSON and collects copies of their tensors, each once.

    remedy: for a value that a file cannot hold
    """

    def __init__(self, remedy: str) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[int, str] = {}
        self._remedy = remedy

    def put(self, name: str, tensor: Tensor, owner: str, key: str | None = None) -> None:
        """Keeps a copy of a tensor that shares memory with nothing.

        owner, key: see `encode`
        raises:     ValueError for a tensor that a file cannot hold
        """
        if fault := tensor_fault(tensor):
            self._refuse(fault, owner, key)
        plain = tensor.detach().cpu().resolve_neg()
        self.tensors[name] = plain.clone(memory_format=torch.contiguous_format)

    def encode(self, value: object, owner: str, key: str | None = None, depth: int = 0) -> object:
        """Returns the JSON form of a value, whose tensors are put with the others.

        owner:  phrase for an error after "the": `positive text`
        key:    the first dict key that leads to the value
        raises: ValueError naming the owner and the key of what a file cannot hold
        """
        kind = type(value)
        if depth > MAX_DEPTH:
            self._refuse(f"a value that is nested more than {MAX_DEPTH} deep", owner, key)
        if kind in _PLAIN_KINDS:
            return self._plain(value, owner, key)
        if type(value) is list or type(value) is tuple:
            items = [self.encode(item, owner, key, depth + 1) for item in value]
            return items if kind is list else {JSON_MARK + "tuple": items}
        if type(value) is dict and all(type(name) is str for name in value):
            table = {
                self._plain(name, owner, key): self.encode(item, owner, name if key is None else key, depth + 1)
                for name, item in value.items()
            }
            return {JSON_MARK + "dict": table} if any(name.startswith(JSON_MARK) for name in value) else table
        if isinstance(value, Tensor):
            return {JSON_MARK + "tensor": self._name(value, owner, key)}
        return self._refuse(value_fault(value), owner, key)

    def _plain(self, value: object, owner: str, key: str | None) -> object:
        if type(value) is float and not math.isfinite(value):
            return {JSON_MARK + "float": struct.pack(">d", value).hex()}
        if type(value) is int and value.bit_length() > 64:  # Python refuses to read very long decimal numbers
            return {JSON_MARK + "int": hex(value)}
        if type(value) is str and any("\ud800" <= letter <= "\udfff" for letter in value):
            self._refuse("a text that is not valid Unicode", owner, key)  # JSON would join two halves of a letter
        return value

    def _name(self, tensor: Tensor, owner: str, key: str | None) -> str:
        if id(tensor) not in self._names:
            name = f"{TENSOR_PREFIX}{len(self._names)}"
            self.put(name, tensor, owner, key)
            self._names[id(tensor)] = name
        return self._names[id(tensor)]

    def _refuse(self, fault: str, owner: str, key: str | None) -> NoReturn:
        carried = fault if key is None else f"{KNOWN_OBJECTS.get(key, fault)} ({key!r})"
        raise ValueError(f"the {owner} carries {carried}, which a file cannot hold; {self._remedy}")


def unpacked(value: object, tensors: Mapping[str, Tensor], used: set[str]) -> object:
    """Returns the value that `Packer.encode` turned into JSON.

    tensors: by the names that the packer gave them; the names of those in the value are added to `used`
    raises:  ValueError for a mark that stands for nothing
    """
    if type(value) is list:
        return [unpacked(item, tensors, used) for item in value]
    if type(value) is not dict:
        return value
    mark = next(iter(value), "") if len(value) == 1 else ""
    if not mark.startswith(JSON_MARK):
        return {key: unpacked(item, tensors, used) for key, item in value.items()}
    inner = value[mark]
    if mark == JSON_MARK + "float":
        return struct.unpack(">d", bytes.fromhex(inner))[0]
    if mark == JSON_MARK + "int":
        return int(inner, 16)
    if mark == JSON_MARK + "tuple" and type(inner) is list:
        return tuple(unpacked(item, tensors, used) for item in inner)
    if mark == JSON_MARK + "dict" and type(inner) is dict:
        return {key: unpacked(item, tensors, used) for key, item in inner.items()}
    if mark == JSON_MARK + "tensor" and inner in tensors:
        used.add(inner)
        return tensors[inner]
    raise ValueError(f"{shortened(repr(value))} stands for nothing")
