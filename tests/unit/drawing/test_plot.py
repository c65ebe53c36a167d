"""The plotting surface: ticks and positions by hand, and marks where they were asked for."""

from __future__ import annotations

import pytest
import torch

from smooth_lora.drawing.plot import (
    BLUE,
    DASH_LENGTH,
    GREEN,
    OUTPUT_SCALE,
    VERMILION,
    Axes,
    Canvas,
    LogAxes,
    darker,
    integer_step,
    round_ticks,
)


def is_colour(canvas: Canvas, x: float, y: float, colour: tuple[int, int, int]) -> bool:
    """True where the pixel right and below of a position has this colour."""
    pixel = canvas.tensor()[0, int(y * OUTPUT_SCALE), int(x * OUTPUT_SCALE)]
    return torch.equal((pixel * 255).round().int(), torch.tensor(colour, dtype=torch.int32))


@pytest.mark.parametrize(
    ("highest", "count", "ticks"),
    [
        (0, 4, [0, 1]),
        (1, 4, [0, 0.5, 1]),
        (4.1, 4, [0, 2, 4, 6]),
        (10, 5, [0, 2, 4, 6, 8, 10]),
        (23, 5, [0, 5, 10, 15, 20, 25]),
    ],
)
def test_ticks_are_round_and_cover_the_data(highest, count, ticks):
    assert round_ticks(highest, count) == pytest.approx(ticks)


@pytest.mark.parametrize(("count", "most", "step"), [(10, 12, 1), (47, 12, 5), (137, 20, 10), (2399, 12, 200)])
def test_whole_numbers_are_thinned(count, most, step):
    assert integer_step(count, most) == step


def test_axes_place_values():
    axes = Axes(Canvas(100, 100), (10, 10, 90, 90), (0, 4), 10)
    assert axes.at(0, 0) == (10, 90)
    assert axes.at(4, axes.ticks[-1]) == (90, 10)
    assert axes.tick_name(0.5) == "0.5"


def test_logarithmic_axes_place_powers_of_ten_at_equal_distances():
    axes = LogAxes(Canvas(100, 100), (0, 0, 100, 90), (0, 1), -3, 0)
    assert axes.ticks == [0, 1, 2, 3] and [axes.tick_name(tick) for tick in axes.ticks] == [
        "1e-3",
        "1e-2",
        "1e-1",
        "1e0",
    ]
    assert [axes.height(value) for value in (1e-3, 1e-2, 1.0)] == pytest.approx([0, 1, 3])
    assert [axes.at(0, axes.height(value))[1] for value in (0.0, 1e-9, 1e-1, 1e5)] == pytest.approx([90, 90, 30, 0])


def test_a_bar_covers_its_rectangle_and_nothing_else():
    canvas = Canvas(40, 20)
    canvas.bar(10, 5, 20, 15, colour=BLUE)
    inside, outside = [(11, 6), (18, 13)], [(8, 6), (21, 6), (11, 3), (11, 16)]
    assert all(is_colour(canvas, *place, BLUE) for place in inside)
    assert all(is_colour(canvas, *place, (255, 255, 255)) for place in outside)


def test_a_ring_has_another_middle_than_a_disc():
    canvas = Canvas(60, 20)
    canvas.dot(10, 10, 6, colour=VERMILION)
    canvas.dot(40, 10, 6, colour=VERMILION, fill=GREEN)
    assert is_colour(canvas, 10, 10, VERMILION) and is_colour(canvas, 40, 10, GREEN)
    assert is_colour(canvas, 35, 10, VERMILION)


def test_a_dashed_line_has_gaps():
    canvas = Canvas(100, 20)
    canvas.dashed(0, 100, 10, colour=BLUE, width=4)
    assert is_colour(canvas, DASH_LENGTH / 2, 10, BLUE)
    assert is_colour(canvas, DASH_LENGTH * 1.5, 10, (255, 255, 255))


def test_an_image_of_a_canvas_is_what_a_node_hands_on():
    image = Canvas(30, 20).tensor()
    assert image.shape == (1, 20 * OUTPUT_SCALE, 30 * OUTPUT_SCALE, 3)
    assert image.dtype == torch.float32 and torch.equal(image, torch.ones_like(image))


def test_text_is_as_wide_as_it_says():
    def inked(text: str) -> float:
        canvas = Canvas(200, 40)
        canvas.text(10, 20, text)
        columns = (canvas.tensor()[0].amin(dim=(0, 2)) < 0.5).nonzero() / OUTPUT_SCALE
        return float(columns.max() - columns.min())

    # The margins next to the first and the last letter have no ink; the difference of two texts has no margins. Edges
    # are read to half a unit.
    assert inked("888888") - inked("88") == pytest.approx(Canvas(1, 1).text_width("8888"), abs=1.0)


def test_a_darker_colour_has_three_fifths_of_the_lightness():
    assert darker((100, 200, 255)) == (60, 120, 153)
