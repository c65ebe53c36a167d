"""Records of the finished parts of a video, so that a killed run goes on after the last one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .tensor_file import Advice, read_tensor_file
from .whole import write_tensors

_FORMAT = "Smooth Diffusion video part 1"
_REMEDY = "queue the video again, and it is rendered again"
PART_FRAMES = 48  # at least, except in the last part; a crash costs one part


@dataclass(frozen=True)
class Part:
    """A finished part.

    last:    [H, W, C] float32, its last frame; empty once the next part is finished
    lengths: length of the step to each of its frames, 0 for the very first frame
    """

    last: Tensor
    lengths: list[float]


def write_part(part: Part, path: Path) -> None:
    """Writes the record of a part.

    raises: OSError, then nothing is left of it
    """
    write_tensors(
        {"last": part.last.contiguous(), "lengths": torch.tensor(part.lengths, dtype=torch.float64)},
        path,
        {"format": _FORMAT},
    )


def read_part(path: Path) -> Part:
    """Reads the record of a part.

    raises: OSError, or ValueError for a file of another kind
    """
    file = read_tensor_file(path, advice=Advice.only(_REMEDY))
    if file.metadata.get("format") != _FORMAT or not {"last", "lengths"} <= file.tensors.keys():
        raise ValueError(f"'{path.name}' is no part of a video; {_REMEDY}")
    return Part(file.tensors["last"], file.tensors["lengths"].double().tolist())
