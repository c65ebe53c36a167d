"""Safetensors files read whole, with one plain sentence for each way in which a file can be broken."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from operator import index
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..wording import shortened

LENGTH_BYTES = 8  # a safetensors file opens with the length of its JSON header, little-endian
HASH_CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Advice:
    """Remedies for a file that cannot be read.

    damaged: for a file that is cut off or damaged
    other:   for a file of another kind
    pickle, gguf, pointer, web_page: for files of these kinds, which people take for LoRAs; `other` if None
    """

    damaged: str
    other: str
    pickle: str | None = None
    gguf: str | None = None
    pointer: str | None = None
    web_page: str | None = None

    @classmethod
    def only(cls, remedy: str) -> Advice:
        """Makes advice of one remedy for every fault."""
        return cls(remedy, remedy)


LORA_ADVICE = Advice(
    damaged="download or copy it again",
    other="download it again, or choose another LoRA",
    pickle="convert it to safetensors, because a pickle can run code",
    gguf="use the LoRA in safetensors form",
    pointer="download the real file",
    web_page="download the file again with the site's own download link",
)
OTHER_FORMATS = (  # first bytes, description of such a file, field of Advice
    (b"PK\x03\x04", "a zip archive or a pickled PyTorch file", "pickle"),
    (b"\x80", "a pickled PyTorch file", "pickle"),
    (b"GGUF", "a GGUF file", "gguf"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "pointer"),
    (b"<", "a web page", "web_page"),
)


@dataclass(frozen=True)
class TensorFile:
    """The content of one file.

    name:     for errors and reports
    tensors:  by key, on the CPU, dtypes as stored
    metadata: the file's own text entries
    sha256:   of the file's bytes, hexadecimal
    """

    name: str
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str


def read_tensor_file(path: Path, name: str | None = None, *, advice: Advice = LORA_ADVICE) -> TensorFile:
    """Reads a safetensors file completely into memory, independent of what happens to the file afterwards.

    name:   its name in errors, the file's own if None
    advice: remedies for its errors
    raises: ValueError if it is empty, cut off, of another format (a pickle is never opened) or without tensors
    source: the layout in the description of the safetensors format: length, JSON header, data
    """
    name = name or path.name
    metadata = _checked_metadata(path, name, advice)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            keys = file.keys()
            # The library maps the file; a copy survives the file being replaced while the model is in use.
            tensors = {key: file.get_tensor(key).clone() for key in keys}
    except (SafetensorError, RuntimeError, TypeError) as error:  # the last two for shapes that torch cannot count
        reason = str(error).partition("\n")[0]
        raise ValueError(f"'{name}' is damaged ({shortened(reason)}); {advice.damaged}") from error
    if not tensors:
        raise ValueError(f"'{name}' is a valid safetensors file but holds no tensors; {advice.other}")
    return TensorFile(name=name, tensors=tensors, metadata=metadata, sha256=_sha256(path))


def _checked_metadata(path: Path, name: str, advice: Advice) -> dict[str, str]:
    """Returns the header's text entries of a file that is whole."""
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"'{name}' is empty (0 bytes); {advice.damaged}")
    with path.open("rb") as file:
        start = file.read(64)
        _refuse_other_formats(start, name, advice)
        length = int.from_bytes(start[:LENGTH_BYTES], "little")
        _require_bytes(name, size, LENGTH_BYTES + length, advice)
        file.seek(LENGTH_BYTES)
        metadata, end = _parse_header(file.read(length), name, advice)
    _require_bytes(name, size, LENGTH_BYTES + length + end, advice)
    return metadata


def _refuse_other_formats(start: bytes, name: str, advice: Advice) -> None:
    if start[LENGTH_BYTES : LENGTH_BYTES + 1] == b"{":  # where the JSON header begins
        return
    for magic, described, remedy in OTHER_FORMATS:
        if start.startswith(magic):
            raise ValueError(f"'{name}' is {described}; {getattr(advice, remedy) or advice.other}")
    raise ValueError(f"'{name}' is not a safetensors file; {advice.other}")


def _require_bytes(name: str, size: int, needed: int, advice: Advice) -> None:
    if size < needed:
        raise ValueError(f"'{name}' is cut off after {size:,} of {needed:,} bytes; {advice.damaged}")


def _parse_header(raw: bytes, name: str, advice: Advice) -> tuple[dict[str, str], int]:
    """Returns the text entries, and the position where the data ends."""
    try:
        header = json.loads(raw)
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("text entries that are no text")
        return metadata, max((index(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"'{name}' has a damaged safetensors header; {advice.damaged}") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
