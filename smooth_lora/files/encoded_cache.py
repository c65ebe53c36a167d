"""A folder of encoded pictures and texts that need not be encoded again."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from .folder_cache import FolderCache
from .packing import Packer, unpacked
from .tensor_file import Advice, read_tensor_file
from .whole import write_tensors

FORMAT = "Smooth Diffusion encoded 1"
ADVICE = Advice.only("delete it, and it is encoded anew")


class EncodedCache(FolderCache[object]):
    """Tensors, plain data, and lists, tuples and dicts of these, by key, see FolderCache."""

    kind = "encoded"

    def load(self, path: Path) -> object:
        try:
            file = read_tensor_file(path, advice=ADVICE)
        except OSError as error:
            raise ValueError(f"'{path.name}' cannot be read ({error})") from error
        if file.metadata.get("format") != FORMAT:
            raise ValueError(f"'{path.name}' is of another format")
        try:
            return unpacked(json.loads(file.metadata["value"]), file.tensors, set())
        except (KeyError, RecursionError) as error:
            raise ValueError(f"'{path.name}' is damaged") from error

    def save(self, value: object, path: Path) -> None:
        packer = Packer()
        document = json.dumps(packer.encode(value, ["text"]))
        write_tensors(packer.tensors, path, {"format": FORMAT, "value": document})

    def size(self, value: object) -> int:
        if isinstance(value, Tensor):
            return value.numel() * value.element_size()
        if isinstance(value, dict):
            return sum(map(self.size, value.values()))
        return sum(map(self.size, value)) if isinstance(value, list | tuple) else 0
