"""Reading a LoRA file: safetensors only, with one plain sentence for each way a file can be broken."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from operator import index
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

LENGTH_BYTES = 8  # a safetensors file opens with the length of its JSON header, little-endian
HASH_CHUNK = 1 << 20  # bytes
NO_PICKLE = "convert it to safetensors, because a pickle can run code"
OTHER_FORMATS = (  # first bytes, what such a file is, what to do about it
    (b"PK\x03\x04", "a zip archive or a pickled PyTorch file", NO_PICKLE),
    (b"\x80", "a pickled PyTorch file", NO_PICKLE),
    (b"GGUF", "a GGUF file", "use the LoRA in safetensors form"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "download the real file"),
    (b"<", "a web page", "download the file again with the site's own download link"),
)


@dataclass(frozen=True)
class LoraFile:
    """The content of one file.

    name: what errors and reports call it; tensors: by key, on the CPU, dtypes as stored; metadata: the file's
    own text entries; sha256: of the file's bytes, hexadecimal
    """

    name: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str


def read_lora_file(path: Path, name: str | None = None) -> LoraFile:
    """Read a safetensors file completely into memory, independent of what happens to the file afterwards.

    path: the file; name: what to call it in errors, its file name if None
    raises:  ValueError if it is empty, cut off, of another format (a pickle is never opened) or without
             tensors
    source:  the layout in the description of the safetensors format: length, JSON header, data
    """
    name = name or path.name
    metadata = _checked_metadata(path, name)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            keys = file.keys()
            # The library maps the file; a copy survives the file being replaced while the model is in use.
            tensors = {key: file.get_tensor(key).clone() for key in keys}
    except (SafetensorError, RuntimeError, TypeError) as error:  # the last two for shapes that torch cannot count
        reason = str(error).partition("\n")[0]
        raise ValueError(f"'{name}' is damaged ({reason[:200]}): download or copy it again") from error
    if not tensors:
        raise ValueError(f"'{name}' is a valid safetensors file but holds no tensors: choose another file")
    return LoraFile(name=name, tensors=tensors, metadata=metadata, sha256=_sha256(path))


def _checked_metadata(path: Path, name: str) -> dict[str, str]:
    """The header's text entries, once the file is known to be whole."""
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"'{name}' is empty (0 bytes): download or copy it again")
    with path.open("rb") as file:
        start = file.read(64)
        _refuse_other_formats(start, name)
        length = int.from_bytes(start[:LENGTH_BYTES], "little")
        _require_bytes(name, size, LENGTH_BYTES + length)
        file.seek(LENGTH_BYTES)
        metadata, end = _parse_header(file.read(length), name)
    _require_bytes(name, size, LENGTH_BYTES + length + end)
    return metadata


def _refuse_other_formats(start: bytes, name: str) -> None:
    if start[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{":  # where the JSON header begins
        return
    for magic, what, advice in OTHER_FORMATS:
        if start.startswith(magic):
            raise ValueError(f"'{name}' is {what}: {advice}")
    raise ValueError(f"'{name}' is not a safetensors file: download it again, or choose another LoRA")


def _require_bytes(name: str, size: int, needed: int) -> None:
    if size < needed:
        raise ValueError(f"'{name}' is cut off after {size:,} of {needed:,} bytes: download or copy it again")


def _parse_header(raw: bytes, name: str) -> tuple[dict[str, str], int]:
    """The text entries, and where the data ends."""
    try:
        header = json.loads(raw)
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("text entries that are no text")
        return metadata, max((index(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"'{name}' has a damaged safetensors header: download or copy it again") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
