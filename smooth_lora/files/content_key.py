"""Names for content: equal for equal content in any process, on any device, after any restart."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Sized
from types import NoneType

from torch import Tensor

from .storable import DTYPES, MAX_DEPTH, bytes_of, tensor_fault, value_fault

_LEAVES: dict[type, tuple[bytes, Callable[..., bytes]]] = {  # type of a plain value -> its tag and its bytes
    NoneType: (b"n", lambda _: b""),
    bool: (b"b", lambda value: b"1" if value else b"0"),
    int: (b"i", lambda value: hex(value).encode()),
    float: (b"f", lambda value: struct.pack("<d", value)),
    str: (b"s", lambda value: value.encode("utf-8", "surrogatepass")),
}


def content_key(**parts: object) -> str:
    """Returns a name for everything that decides a result: equal for equal content in any process and on any device.

    parts:   Tensors, None, bool, int, float, str, and lists, tuples and dicts (text keys) of these. Types, bits,
             nesting and order count; the order within a dict and the strides of a tensor do not
    returns: SHA-256, 64 hexadecimal digits
    raises:  TypeError for any other object, naming the part
    """
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(_framed(b"p", name.encode("utf-8", "surrogatepass")))
        for chunk in _chunks(parts[name], name):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(value: object, name: str, depth: int = 0) -> Iterator[bytes | memoryview]:
    """Yields the bytes of a value, each part after its kind and its length, so that different values cannot collide."""
    kind = type(value)
    if depth > MAX_DEPTH:
        raise TypeError(f"content_key: {name} is nested more than {MAX_DEPTH} deep")
    if kind in _LEAVES:
        tag, to_bytes = _LEAVES[kind]
        yield _framed(tag, to_bytes(value))
    elif type(value) is list or type(value) is tuple:
        yield _counted(b"l" if kind is list else b"t", value)
        for index, item in enumerate(value):
            yield from _chunks(item, f"{name}[{index}]", depth + 1)
    elif type(value) is dict and all(type(key) is str for key in value):
        yield _counted(b"d", value)
        for key in sorted(value):
            yield from _chunks(key, name, depth + 1)
            yield from _chunks(value[key], f"{name}[{key!r}]", depth + 1)
    elif isinstance(value, Tensor) and tensor_fault(value) is None:
        yield _framed(b"x", f"{DTYPES[value.dtype]} {tuple(value.shape)}".encode())
        yield bytes_of(value).data
    else:
        fault = (tensor_fault(value) if isinstance(value, Tensor) else None) or value_fault(value)
        raise TypeError(f"content_key: {name} is {fault}, which has no content to go by")


def _framed(tag: bytes, payload: bytes) -> bytes:
    return tag + len(payload).to_bytes(8, "little") + payload


def _counted(tag: bytes, items: Sized) -> bytes:
    return tag + len(items).to_bytes(8, "little")
