"""Encoded images and prompts in a folder, so that they are encoded once."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from .folder_cache import FolderCache
from .packing import Packer, unpacked
from .tensor_file import Advice, read_tensor_file
from .whole import write_tensors

_FORMAT = "Smooth Diffusion encoded 1"
_REMEDY = "delete it, and it is encoded again"


class EncodedCache(FolderCache[object]):
    """Tensors, plain data, and lists, tuples and dicts of these by key; see `FolderCache`."""

    kind = "encoded"

    def load(self, path: Path) -> object:
        """Reads a value that `save` wrote."""
        try:
            file = read_tensor_file(path, advice=Advice.only(_REMEDY))
        except OSError as error:
            raise ValueError(f"'{path.name}' cannot be read ({error}); {_REMEDY}") from error
        if file.metadata.get("format") != _FORMAT:
            raise ValueError(f"'{path.name}' is of another format; {_REMEDY}")
        try:
            return unpacked(json.loads(file.metadata["value"]), file.tensors, set())
        except (KeyError, RecursionError) as error:
            raise ValueError(f"'{path.name}' is damaged; {_REMEDY}") from error

    def save(self, value: object, path: Path) -> None:
        """Writes a value."""
        packer = Packer(remedy="it has to be encoded every time")
        document = json.dumps(packer.encode(value, "encoded value"))
        write_tensors(packer.tensors, path, {"format": _FORMAT, "value": document})

    def size(self, value: object) -> int:
        """Returns the bytes of the value's tensors."""
        if isinstance(value, Tensor):
            return value.numel() * value.element_size()
        if isinstance(value, dict):
            return sum(map(self.size, value.values()))
        return sum(map(self.size, value)) if isinstance(value, list | tuple) else 0
