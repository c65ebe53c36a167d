"""Safetensors files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_whole(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a file; others see it either as it was or complete, even if the machine stops in the middle.

    tensors: contiguous, sharing no memory
    raises:  OSError saying what to look at, then nothing is left of it
    """
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        save_file(dict(tensors), draft, dict(metadata))
        with open(draft, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"'{path.name}' could not be written ({error}): see that the folder {path.parent} exists, has "
            "room and may be written to"
        ) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
