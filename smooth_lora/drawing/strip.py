"""The frames of a walk side by side, as one small picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from ..files.whole import draft_of

MOST_PIXELS = 128  # height of a frame in a strip


def strip_of(frames: Tensor) -> Tensor:
    """Frames side by side, made smaller if they are high.

    frames:  [N, H, W, 3] in 0..1
    returns: [1, h, N * w, 3] float32, h at most MOST_PIXELS
    """
    small = frames.detach().float().cpu().movedim(-1, 1)
    if small.shape[-2] > MOST_PIXELS:
        width = max(1, round(small.shape[-1] * MOST_PIXELS / small.shape[-2]))
        small = interpolate(small, (MOST_PIXELS, width), mode="bilinear", antialias=True)
    return torch.cat(list(small), dim=-1).movedim(0, -1)[None].clamp(0, 1)


def save_strip(strip: Tensor, path: Path) -> None:
    """Write a strip as PNG; others see the file either as it was or complete.

    raises: OSError
    """
    with draft_of(path) as draft:
        Image.fromarray((strip[0].numpy() * 255).round().astype(np.uint8)).save(draft, format="PNG")


def load_strip(path: Path) -> Tensor | None:
    """The strip [1, h, w, 3] of a file, None if there is none that can be read."""
    try:
        with Image.open(path) as picture:
            return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255)[None]
    except (OSError, UnidentifiedImageError):
        return None
