"""Reads a demo picture: background, colour and shape, judged by its pixels alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .pictures import COLOURS, SHAPES, coverage, palette

NAMES = tuple(COLOURS)
BORDER = 2  # pixels of frame that vote on the background
SMALLEST_SHAPE = 40  # pixels; less is noise, not a shape


class Seen(NamedTuple):
    """A reading; colour and shape are None where nothing stands out from the background."""

    background: str
    colour: str | None
    shape: str | None


def nearest_colours(picture: Tensor) -> Tensor:
    """Index of the nearest palette colour of every pixel: [H, W, 3] -> [H, W]."""
    return torch.cdist(picture.reshape(-1, 3).float(), palette()).argmin(dim=1).reshape(picture.shape[:2])


def border_of(labels: Tensor) -> Tensor:
    """The labels of the picture's frame, in no particular order."""
    inside = torch.zeros_like(labels, dtype=torch.bool)
    inside[BORDER:-BORDER, BORDER:-BORDER] = True
    return labels[~inside]


def nearest_shape(mask: Tensor) -> str:
    """The shape that, drawn into the mask's bounding box, overlaps it best (intersection over union)."""
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    centre = torch.tensor([[columns[0] + columns[-1] + 1, rows[0] + rows[-1] + 1]]) / 2
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    scores = {}
    for shape in SHAPES:
        half_width = {"square": 0.9, "triangle": 1.04}.get(shape, 1.0)
        half_height = 0.9 if shape in ("square", "triangle") else 1.0
        radius = (width / half_width + height / half_height) / 4
        drawn = coverage(shape, centre, radius[None])[0] > 0.5
        scores[shape] = ((drawn & mask).sum() / (drawn | mask).sum()).item()
    return max(scores, key=scores.get)


def judge(picture: Tensor) -> Seen:
    """Read one picture. picture: [64, 64, 3] in 0..1."""
    labels = nearest_colours(picture)
    background = border_of(labels).mode().values.item()
    counts = labels.flatten().bincount(minlength=len(NAMES))
    counts[background] = 0
    colour = counts.argmax().item()
    if counts[colour] < SMALLEST_SHAPE:
        return Seen(NAMES[background], None, None)
    return Seen(NAMES[background], NAMES[colour], nearest_shape(labels == colour))
