"""The demo checkpoint's data set: flat, anti-aliased 64 px pictures of one shape on a plain background."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

SIZE = 64  # pixels per side
RADIUS_RANGE = (12.0, 22.0)  # pixels; the smallest ring's hole still covers a latent cell (8 px)
MARGIN = 1.5  # pixels kept free between a shape and the picture's edge

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.87, 0.12, 0.12),
    "green": (0.10, 0.62, 0.22),
    "blue": (0.12, 0.25, 0.86),
    "yellow": (0.98, 0.84, 0.12),
    "purple": (0.58, 0.16, 0.72),
    "white": (0.96, 0.96, 0.96),
}
SHAPES = ("circle", "square", "triangle", "ring")


class Prompt(NamedTuple):
    """One thing the demo checkpoint can draw."""

    colour: str
    shape: str
    background: str

    @property
    def text(self) -> str:
        """The words the model was trained on."""
        return f"a {self.colour} {self.shape} on a {self.background} background"


PROMPTS: tuple[Prompt, ...] = tuple(
    Prompt(colour, shape, background)
    for colour in COLOURS
    for shape in SHAPES
    for background in COLOURS
    if background != colour
)


def palette() -> Tensor:
    """The six colours as [6, 3] floats in 0..1, in the order of COLOURS."""
    return torch.tensor(list(COLOURS.values()))


def _circle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.hypot(x, y) - radius


def _square(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.9 * radius


def _triangle(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Equilateral, point up, its bounding box centred: the largest of three half-plane distances."""
    y = y - 0.3 * radius  # from the centre of the bounding box to the centroid
    slanted = math.sqrt(3) / 2 * x.abs() - 0.5 * y
    return torch.maximum(slanted, y) - 0.6 * radius


def _ring(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.75 * radius).abs() - 0.25 * radius


SIGNED_DISTANCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "ring": _ring,
}


def coverage(shape: str, centre: Tensor, radius: Tensor) -> Tensor:
    """Share of each pixel that one shape covers, from its signed distance (anti-aliased over one pixel).

    centre: [B, 2] x and y in pixels; radius: [B] in pixels
    returns: [B, SIZE, SIZE] in 0..1
    """
    grid = torch.arange(SIZE) + 0.5
    x = grid[None, None, :] - centre[:, 0, None, None]
    y = grid[None, :, None] - centre[:, 1, None, None]
    distance = SIGNED_DISTANCES[shape](x, y, radius[:, None, None])
    return (0.5 - distance).clamp(0.0, 1.0)


def draw(prompt: Prompt, centre: Tensor, radius: Tensor) -> Tensor:
    """Draw one prompt at B places and sizes.

    centre: [B, 2] in pixels; radius: [B] in pixels
    returns: [B, SIZE, SIZE, 3] in 0..1
    """
    cover = coverage(prompt.shape, centre, radius)[..., None]
    colour, background = torch.tensor(COLOURS[prompt.colour]), torch.tensor(COLOURS[prompt.background])
    return cover * colour + (1 - cover) * background


def random_pictures(prompt: Prompt, count: int, generator: torch.Generator) -> Tensor:
    """Draw one prompt `count` times, size and place uniform, the shape always wholly inside.

    returns: [count, SIZE, SIZE, 3] in 0..1
    """
    low, high = RADIUS_RANGE
    radius = low + (high - low) * torch.rand(count, generator=generator)
    room = SIZE / 2 - MARGIN - 1.04 * radius  # 1.04 radii: half the width of the triangle, the widest shape
    centre = SIZE / 2 + (2 * torch.rand(count, 2, generator=generator) - 1) * room[:, None]
    return draw(prompt, centre, radius)
