"""Charts of a walk's pace, of a benchmark and of a replay's errors, as images for a node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..drawing.plot import BLUE, GREEN, PURPLE, VERMILION, WHITE, Axes, Canvas, Colour, LogAxes, darker, integer_step
from .scores_table import step_name
from .smoothness import Smoothness

CURVE_COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
CHART_WIDTH = 512  # units, as everything here
LINE_HEIGHT = 20  # of text
LEFT_MARGIN, RIGHT_MARGIN = 58, 12
MOST_NAMED_JUMPS = 6
MOST_DOTS = 64  # of a curve; a longer one is drawn without


def speed_chart(scores: Mapping[str, Smoothness]) -> Tensor:
    """Draws step lengths over the frames of one walk or two, means dashed, jumps ringed and named by their frames.

    scores:  name in the legend -> scores; one or two walks
    returns: [1, 640, 1024, 3] float32 in 0..1, larger by one line for the second walk
    """
    canvas = Canvas(CHART_WIDTH, 300 + LINE_HEIGHT * len(scores))
    for row, (name, s) in enumerate(scores.items()):
        _legend(canvas, row, f"{name}:  ISTD {s.istd:.3g}   cv {s.cv:.3g}   mean d {s.mean_distance:.3g}")
    steps = max(len(s.distances) for s in scores.values())
    highest = max(max(s.distances) for s in scores.values())
    top = LINE_HEIGHT * len(scores) + 44
    axes = Axes(canvas, (LEFT_MARGIN, top, CHART_WIDTH - RIGHT_MARGIN, canvas.height - 26), (0, steps), highest * 1.12)
    axes.grid("step length d")
    axes.x_numbers(range(0, steps + 1, integer_step(steps, 12)), "frame")
    for s, colour in zip(scores.values(), CURVE_COLOURS, strict=False):
        _curve(axes, s, colour)
    for s, colour in zip(scores.values(), CURVE_COLOURS, strict=False):
        _jumps(axes, s, colour)
    return canvas.tensor()


def bar_chart(panels: Mapping[str, Mapping[str, Sequence[float]]], legend: Sequence[str]) -> Tensor:
    """Draws bars per prompt and model, one panel per score, each model's mean dashed.

    panels:  label of the score -> name of the model -> one value per prompt; one or two models
    legend:  one line per model, in the order of the panels' models
    returns: [1, H, 1024, 3] float32 in 0..1
    """
    panel_height = 150
    top = LINE_HEIGHT * len(legend) + 12
    canvas = Canvas(CHART_WIDTH, top + panel_height * len(panels) + 20)
    for row, line in enumerate(legend):
        _legend(canvas, row, line)
    prompts = max(len(values) for models in panels.values() for values in models.values())
    for row, (label, models) in enumerate(panels.items()):
        box = (
            LEFT_MARGIN,
            top + panel_height * row + 32,
            CHART_WIDTH - RIGHT_MARGIN,
            top + panel_height * (row + 1) - 8,
        )
        axes = Axes(canvas, box, (0.5, prompts + 0.5), max(max(values) for values in models.values()))
        axes.grid(label)
        _bars(axes, list(models.values()))
    every = integer_step(prompts, 20)
    axes.x_numbers(sorted({1, *range(every, prompts + 1, every)}), "prompt")
    return canvas.tensor()


def error_chart(curves: Mapping[str, Sequence[float]], title: str) -> Tensor:
    """Draws relative errors over the sigmas of a replay, on a logarithmic scale.

    curves:  name in the legend -> errors from the largest sigma to the image; the first four are drawn
    returns: [1, H, 1024, 3] float32 in 0..1
    """
    shown = dict(list(curves.items())[: len(CURVE_COLOURS)])
    canvas = Canvas(CHART_WIDTH, 280 + LINE_HEIGHT * (len(shown) + 1))
    canvas.text(8, 14, title)
    for row, (name, errors) in enumerate(shown.items()):
        _legend(canvas, row + 1, f"{name}:  {errors[-1]:.2e} at the end", CURVE_COLOURS[row])
    values = [error for errors in shown.values() for error in errors if 0 < error < math.inf] or [1.0]
    lowest, highest = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    steps = max(len(errors) for errors in shown.values()) - 1
    box = (LEFT_MARGIN, LINE_HEIGHT * (len(shown) + 1) + 44, CHART_WIDTH - RIGHT_MARGIN, canvas.height - 26)
    axes = LogAxes(canvas, box, (0, max(steps, 1)), lowest, max(highest, lowest + 1))
    axes.grid("distance from the inversion's path (relative)")
    axes.x_numbers(range(0, steps + 1, integer_step(max(steps, 1), 12)), "step")
    for errors, colour in zip(shown.values(), CURVE_COLOURS, strict=False):
        canvas.line([axes.at(k, axes.height(error)) for k, error in enumerate(errors)], colour, 2.2)
    return canvas.tensor()


def _legend(canvas: Canvas, row: int, text: str, colour: Colour | None = None) -> None:
    y = 14 + LINE_HEIGHT * row
    canvas.bar(8, y - 6, 22, y + 6, colour=colour or CURVE_COLOURS[row])
    canvas.text(30, y, text)


def _curve(axes: Axes, s: Smoothness, colour: Colour) -> None:
    """Draws a curve in which step i stands in the middle between its frames i and i + 1."""
    points = [axes.at(i + 0.5, d) for i, d in enumerate(s.distances)]
    axes.level(s.mean_distance, colour)
    axes.canvas.line(points, colour, 2.2)
    if len(points) <= MOST_DOTS:
        for x, y in points:
            axes.canvas.dot(x, y, 2.6, colour=colour)


def _jumps(axes: Axes, s: Smoothness, colour: Colour) -> None:
    """Rings every jump; names the largest ones, as far as their names do not cover each other."""
    taken: list[tuple[float, float]] = []
    for rank, i in enumerate(sorted(s.jumps, key=lambda i: -s.distances[i])):
        x, y = axes.at(i + 0.5, s.distances[i])
        axes.canvas.dot(x, y, 5.5, colour=colour, fill=WHITE)
        half = axes.canvas.text_width(step_name(i)) / 2
        x = min(max(x, axes.left + half), axes.right - half)
        if rank < MOST_NAMED_JUMPS and all(abs(x - other) > half + width for other, width in taken):
            axes.canvas.text(x, y - 16, step_name(i), colour=colour, anchor="mm")
            taken.append((x, half))


def _bars(axes: Axes, models: Sequence[Sequence[float]]) -> None:
    width = 0.8 / len(models)
    for m, (values, colour) in enumerate(zip(models, CURVE_COLOURS, strict=False)):
        for prompt, value in enumerate(values, start=1):
            left = prompt - 0.4 + m * width
            axes.canvas.bar(*axes.at(left, value), *axes.at(left + width * 0.92, 0), colour=colour)
    for values, colour in zip(models, CURVE_COLOURS, strict=False):
        axes.level(sum(values) / len(values), darker(colour))
