"""A small plotting surface on Pillow, which every host has: smooth lines, text, axes with round ticks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Okabe and Ito's colours, which colour-blind people can distinguish.
BLUE, VERMILION, GREEN, PURPLE = (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)
INK, PALE, WHITE = (40, 40, 40), (222, 222, 222), (255, 255, 255)
TEXT_SIZE = 16  # units
DASH_LENGTH = 7  # units
OVERSAMPLE = 4  # drawn this many times larger and averaged down, to OUTPUT_SCALE pixels per unit
OUTPUT_SCALE = 2

Point = tuple[float, float]
Colour = tuple[int, int, int]


class Canvas:
    """A white image of width x height units to draw on; one unit is a pixel at the size of a node."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * OVERSAMPLE, height * OVERSAMPLE), WHITE)
        self._draw = ImageDraw.Draw(self._image)

    def line(self, points: Sequence[Point], colour: Colour, width: float = 1.0) -> None:
        """Draws a line through the points."""
        device = [self._device(*p) for p in points]
        self._draw.line(device, colour, max(1, round(width * OVERSAMPLE)), joint="curve")

    def dashed(self, left: float, right: float, y: float, *, colour: Colour, width: float = 1.5) -> None:
        """Draws a dashed horizontal line."""
        for start in np.arange(left, right, 2 * DASH_LENGTH):
            self.line([(start, y), (min(start + DASH_LENGTH, right), y)], colour, width)

    def dot(self, x: float, y: float, radius: float, *, colour: Colour, fill: Colour | None = None) -> None:
        """Draws a disc, or a ring where `fill` differs from `colour`."""
        box = (*self._device(x - radius, y - radius), *self._device(x + radius, y + radius))
        self._draw.ellipse(box, fill or colour, colour, 2 * OVERSAMPLE)

    def bar(self, left: float, top: float, right: float, bottom: float, *, colour: Colour) -> None:
        """Draws a filled rectangle."""
        self._draw.rectangle((*self._device(left, top), *self._device(right, bottom)), colour)

    def text(
        self, x: float, y: float, text: str, *, colour: Colour = INK, anchor: str = "lm", size: float = TEXT_SIZE
    ) -> None:
        """Draws one line of text; anchor in Pillow's letters: l, m, r across and a, m, s down."""
        self._draw.text(self._device(x, y), text, colour, _font(size), anchor)

    def text_width(self, text: str, size: float = TEXT_SIZE) -> float:
        """Returns the width of a text in units."""
        return _font(size).getlength(text) / OVERSAMPLE

    def tensor(self) -> Tensor:
        """Returns the image as [1, H, W, 3] float32 in 0..1, OUTPUT_SCALE pixels per unit."""
        size = (self.width * OUTPUT_SCALE, self.height * OUTPUT_SCALE)
        image = self._image.resize(size, Image.Resampling.BOX)
        return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None]

    def _device(self, x: float, y: float) -> Point:
        return x * OVERSAMPLE, y * OVERSAMPLE


class Axes:
    """A part of a canvas with its own coordinates: x over x_range, y from 0 to the round tick above y_max."""

    def __init__(self, canvas: Canvas, box: tuple[float, float, float, float], x_range: Point, y_max: float):
        self.canvas = canvas
        self.left, self.top, self.right, self.bottom = box
        self.x_range = x_range
        self.ticks = round_ticks(y_max, max(2, round((self.bottom - self.top) / 36)))

    def at(self, x: float, y: float) -> Point:
        """Returns the position of a value on the canvas."""
        low, high = self.x_range
        return (
            self.left + (x - low) / (high - low) * (self.right - self.left),
            self.bottom - y / self.ticks[-1] * (self.bottom - self.top),
        )

    def level(self, y: float, colour: Colour) -> None:
        """Draws a dashed line across the axes at a value."""
        self.canvas.dashed(self.left, self.right, self.at(self.x_range[0], y)[1], colour=colour)

    def grid(self, y_label: str) -> None:
        """Draws horizontal lines at the ticks, their numbers to the left, the label above them."""
        for tick in self.ticks:
            y = self.at(self.x_range[0], tick)[1]
            self.canvas.line([(self.left, y), (self.right, y)], INK if tick == 0 else PALE, 1)
            self.canvas.text(self.left - 6, y, self.tick_name(tick), anchor="rm")
        self.canvas.text(4, self.top - 20, y_label)

    def tick_name(self, tick: float) -> str:
        """Returns the label of a tick."""
        return f"{tick:g}"

    def x_numbers(self, numbers: Sequence[int], label: str) -> None:
        """Draws as many of the numbers under the axis as fit without touching, and the label at the right end."""
        room = self.right - self.canvas.text_width(label) - 14
        free_from = -math.inf
        for number in numbers:
            x = self.at(number, 0)[0]
            half = self.canvas.text_width(str(number)) / 2
            self.canvas.line([(x, self.bottom), (x, self.bottom + 4)], INK, 1)
            if x - half >= free_from and x + half <= room:
                self.canvas.text(x, self.bottom + 14, str(number), anchor="mm")
                free_from = x + half + 8
        self.canvas.text(self.right, self.bottom + 14, label, anchor="rm")


class LogAxes(Axes):
    """Axes whose y is logarithmic, over whole powers of ten; values beyond them lie on the last."""

    def __init__(
        self, canvas: Canvas, box: tuple[float, float, float, float], x_range: Point, lowest: int, highest: int
    ):
        super().__init__(canvas, box, x_range, 1.0)
        self.lowest = lowest
        every = integer_step(max(1, highest - lowest), 8)
        self.ticks = [float(step) for step in range(0, highest - lowest + every, every)]

    def height(self, value: float) -> float:
        """Returns the y that `at` takes for a value."""
        return min(max(0.0, math.log10(value) - self.lowest), self.ticks[-1]) if value > 0 else 0.0

    def tick_name(self, tick: float) -> str:
        """Returns the power of ten of a tick."""
        return f"1e{int(tick) + self.lowest}"


def round_ticks(highest: float, count: int) -> list[float]:
    """Returns 0 and up to `count` steps of 1, 2 or 5 times a power of ten to `highest` or above; [0, 1] for 0."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest / count))
    step = next(m * power for m in (1, 2, 5, 10) if m * power * count >= highest * (1 - 1e-9))
    return [step * i for i in range(math.ceil(highest / step - 1e-9) + 1)]


def integer_step(count: int, most: int) -> int:
    """Returns the smallest of 1, 2, 5, 10, 20, 50 .. that cuts `count` into at most `most` pieces."""
    steps: Iterator[int] = (m * 10**power for power in range(20) for m in (1, 2, 5))
    return next(step for step in steps if step * most >= count)


def darker(colour: Colour) -> Colour:
    """Returns the colour at 60 % of its lightness, which stands out on an area of the colour itself."""
    red, green, blue = (round(0.6 * part) for part in colour)
    return red, green, blue


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * OVERSAMPLE)
