"""Strips: the frames of a walk side by side in one small image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from ..files.whole import draft_of

MAX_STRIP_HEIGHT = 128  # pixels


def strip_of(frames: Tensor) -> Tensor:
    """Puts frames side by side, scaled down if they are high.

    frames:  [N, H, W, 3] in 0..1
    returns: [1, h, N * w, 3] float32, h at most MAX_STRIP_HEIGHT
    """
    small = frames.detach().float().cpu().movedim(-1, 1)
    if small.shape[-2] > MAX_STRIP_HEIGHT:
        width = max(1, round(small.shape[-1] * MAX_STRIP_HEIGHT / small.shape[-2]))
        small = interpolate(small, (MAX_STRIP_HEIGHT, width), mode="bilinear", antialias=True)
    return torch.cat(list(small), dim=-1).movedim(0, -1)[None].clamp(0, 1)


def save_strip(strip: Tensor, path: Path) -> None:
    """Writes a strip as PNG; others see the file either as it was or complete.

    raises: OSError
    """
    with draft_of(path) as draft:
        Image.fromarray((strip[0].numpy() * 255).round().astype(np.uint8)).save(draft, format="PNG")


def load_strip(path: Path) -> Tensor | None:
    """Reads the strip [1, h, w, 3] of a file; None if there is none that can be read."""
    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 255)[None]
    except (OSError, UnidentifiedImageError):
        return None
