"""What a video in parts has to remember of each finished part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .tensor_file import Advice, read_tensor_file
from .whole import write_tensors

FORMAT = "Smooth Diffusion video part 1"
ADVICE = Advice.only("queue the video again, and it is rendered anew")
PART_FRAMES = 48  # at least, but in the last part: what a crash costs


@dataclass(frozen=True)
class Part:
    """last:    [H, W, C] float32, its last picture; empty once the next part is finished
    lengths: of the step to each of its frames, 0 to the very first
    """

    last: Tensor
    lengths: list[float]


def write_part(part: Part, path: Path) -> None:
    """raises: OSError, then nothing is left of it"""
    write_tensors(
        {"last": part.last.contiguous(), "lengths": torch.tensor(part.lengths, dtype=torch.float64)},
        path,
        {"format": FORMAT},
    )


def read_part(path: Path) -> Part:
    """raises: OSError or ValueError for what is no such file"""
    file = read_tensor_file(path, advice=ADVICE)
    if file.metadata.get("format") != FORMAT or not {"last", "lengths"} <= file.tensors.keys():
        raise ValueError(f"'{path.name}' is no part of a video")
    return Part(file.tensors["last"], file.tensors["lengths"].double().tolist())
