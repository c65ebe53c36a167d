"""A folder of inversions that need not be made again."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from torch import Tensor

from ..files.folder_cache import FolderCache
from .inversion_file import load_inversion, save_inversion
from .record import Inversion


class InversionCache(FolderCache[Inversion]):
    """Inversions by key, see FolderCache."""

    kind = "inversion"

    def load(self, path: Path) -> Inversion:
        return load_inversion(path)

    def save(self, value: Inversion, path: Path) -> None:
        save_inversion(value, path)

    def size(self, value: Inversion) -> int:
        """Without the tensors of its texts."""
        tensors = [getattr(value, field.name) for field in fields(value)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, Tensor))
