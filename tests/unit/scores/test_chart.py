"""Charts show what they say: colours, rings, names and bars are found in the pixels."""

from __future__ import annotations

import math

import pytest
import torch

from smooth_lora.drawing.plot import BLUE, VERMILION
from smooth_lora.scores.chart import bar_chart, speed_chart
from smooth_lora.scores.smoothness import from_distances

SIZE = (64, 64, 3)


def pixels_of(chart: torch.Tensor, colour: tuple[int, int, int]) -> torch.Tensor:
    """[n, 2] rows and columns where the chart has exactly this colour."""
    wanted = torch.tensor(colour, dtype=torch.float32) / 255
    return ((chart[0] - wanted).abs().amax(-1) < 0.5 / 255).nonzero()


def test_a_speed_chart_is_a_picture_for_the_host():
    chart = speed_chart({"images": from_distances([5.0, 6.0, 4.0], SIZE)})
    assert chart.shape == (1, 640, 1024, 3)
    assert chart.dtype == torch.float32
    assert 0 <= float(chart.min()) < float(chart.max()) == 1
    assert torch.equal(chart, speed_chart({"images": from_distances([5.0, 6.0, 4.0], SIZE)}))


def test_the_curve_is_highest_where_the_jump_is():
    distances = [1.0] * 40
    distances[30] = 8.0
    chart = speed_chart({"images": from_distances(distances, SIZE)})
    marks = pixels_of(chart, BLUE)
    below_legend = marks[marks[:, 0] > 2 * 34]
    column = int(below_legend[below_legend[:, 0].argmin(), 1])
    left, right = 58, 512 - 12
    # The topmost mark is a letter of the name '30-31', which is centred on the jump.
    assert column / 2 == pytest.approx(left + 30.5 / 40 * (right - left), abs=25)


def test_a_second_walk_gets_its_own_colour():
    one = from_distances([5.0, 6.0, 4.0], SIZE)
    assert len(pixels_of(speed_chart({"images": one}), VERMILION)) == 0
    both = speed_chart({"images": one, "compare_with": from_distances([2.0, 2.5, 2.0], SIZE)})
    assert len(pixels_of(both, BLUE)) > 1000
    assert len(pixels_of(both, VERMILION)) > 1000


@pytest.mark.parametrize(
    "distances",
    [
        [0.0] * 10,
        [0.0] * 5 + [7.3] + [0.0] * 4,
        [1e-6, 2e-6],
        [0.001 * (i % 7 + 1) for i in range(2399)],
        [100.0, 1.0] * 20,
    ],
)
def test_extreme_walks_draw(distances):
    chart = speed_chart({"images": from_distances(distances, SIZE)})
    assert chart.isfinite().all()
    assert len(pixels_of(chart, BLUE)) > 200


def test_bars_are_as_high_as_their_values():
    chart = bar_chart({"ISTD": {"model": [1.0, 4.0], "model_2": [2.0, 2.0]}}, ["model", "model_2"])
    marks = pixels_of(chart, VERMILION)
    bars = marks[marks[:, 0] > 2 * 60]
    # The axis has ticks 0, 2, 4 or finer and ends at 4: a value of 2 covers half of the panel's 110 units.
    assert (int(bars[:, 0].max()) - int(bars[:, 0].min())) / 2 == pytest.approx(55, abs=1.5)
    assert len(pixels_of(chart, BLUE)) > len(marks)


@pytest.mark.parametrize("prompts", [1, 3, 137, 500])
def test_any_number_of_prompts_draws(prompts):
    values = [0.5 + 0.5 * math.sin(i) for i in range(prompts)]
    chart = bar_chart({"ISTD": {"model": values}, "cv": {"model": values}}, ["model"])
    assert chart.shape[-1] == 3
    assert chart.isfinite().all()
