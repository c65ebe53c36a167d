"""A folder of finished inversions."""

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
        """Reads an entry."""
        return load_inversion(path)

    def save(self, value: Inversion, path: Path) -> None:
        """Writes an entry."""
        save_inversion(value, path)

    def size(self, value: Inversion) -> int:
        """Bytes of an inversion without the tensors of its conditionings."""
        tensors = [getattr(value, field.name) for field in fields(value)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors if isinstance(tensor, Tensor))
