"""Even pacing against walks whose way is known: how far a picture has come at a position is a function written down."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from smooth_lora.pacing.choice import most_even
from smooth_lora.pacing.pacer import GAP_HALVINGS, Pacer, adding_power, moved_walk, shares_of
from smooth_lora.pacing.pacing_report import pacing_report, positions_text
from smooth_lora.walks.walk import Walk, schedule, schedule_at

FRAMES = 24


def length(first: Tensor, second: Tensor) -> float:
    return float((first - second).norm())


def along_a_line(way: Callable[[float], float]) -> Callable[[float], Tensor]:
    """Pictures on a straight line, whose distances add up."""
    return lambda position: torch.tensor([way(position), 0.0], dtype=torch.float64)


def moving_edge(way: Callable[[float], float]) -> Callable[[float], Tensor]:
    """A flat shape pushed over 4,000 pixels: distances grow with the root of the way."""
    return lambda position: (torch.arange(4000.0) - 4000 * way(position) + 0.5).clamp(0, 1)


def steep(position: float) -> float:
    """Almost all of the way within 1 % of the walk."""
    return 0.1 * position + 0.9 / (1 + math.exp(-(position - 0.37) / 0.002))


class Counted:
    """A rendering that says what it was asked for."""

    def __init__(self, picture: Callable[[float], Tensor]):
        self.picture, self.asked = picture, []

    def __call__(self, positions) -> list[Tensor]:
        assert list(positions) == sorted(positions)
        self.asked += positions
        return [self.picture(position) for position in positions]


def unevenness(steps: list[float]) -> float:
    return statistics.pstdev(steps) / statistics.fmean(steps)


@pytest.mark.parametrize(("picture", "power"), [(along_a_line, 1.0), (moving_edge, 2.0)])
@pytest.mark.parametrize(("budget", "times"), [(36, 10), (48, 20)])
def test_a_steep_walk_becomes_even(picture, power, budget, times):
    render = Counted(picture(steep))
    pacer = Pacer(render, length, schedule(FRAMES))
    positions = pacer.settle(budget)
    assert len(positions) == FRAMES and positions == sorted(set(positions))
    assert (positions[0], positions[-1]) == (0.0, 1.0)
    assert len(render.asked) == len(set(render.asked)) == pacer.rendered <= budget
    plain = [picture(steep)(frame / (FRAMES - 1)) for frame in range(FRAMES)]
    before = unevenness([length(*pair) for pair in itertools.pairwise(plain)])
    assert unevenness(pacer.steps(positions)) < before / times
    assert pacer.power == pytest.approx(power, abs=0.05)
    assert not pacer.gaps


def test_without_rendering_frames_are_placed_by_the_way_itself():
    """Against the inverse of the way, by hand: a way of t^2 is evenly walked at the roots."""
    pacer = Pacer(Counted(along_a_line(lambda t: t * t)), length, schedule(5))
    pacer.explore(200)
    np.testing.assert_allclose(pacer.place(), [0, 0.5, math.sqrt(0.5), math.sqrt(0.75), 1], atol=1e-3)


def test_an_easing_bends_what_is_seen():
    walk = schedule(9, easing="ease in")
    pacer = Pacer(Counted(along_a_line(steep)), length, walk)
    pacer.explore(120)
    whole = steep(1) - steep(0)
    seen = [(steep(position) - steep(0)) / whole for position in pacer.place()]
    np.testing.assert_allclose(seen, walk.frac, atol=0.02)
    assert shares_of(walk) == list(walk.frac)


def test_a_break_is_named_and_crossed_in_one_step():
    broken = Counted(along_a_line(lambda t: t + 5 * (t > 1 / 3)))
    pacer = Pacer(broken, length, schedule(FRAMES))
    positions = pacer.settle(60)
    (gap,) = pacer.gaps
    assert gap.start <= 1 / 3 < gap.end and gap.width <= 0.5 / 2**GAP_HALVINGS
    steps = pacer.steps(positions)
    assert max(steps) > 5
    assert unevenness(sorted(steps)[:-1]) < 0.15
    assert "breaks at 1 place, where 12 halvings" in pacing_report("pixels", pacer, positions)


def test_a_steep_way_is_no_break():
    """A jump that is over within 1e-3 of the walk, wide enough to be resolved."""

    def within_a_thousandth(position: float) -> float:
        return 1 / (1 + math.exp(min(700.0, -(position - 0.6) / 1e-4)))

    pacer = Pacer(Counted(moving_edge(within_a_thousandth)), length, schedule(FRAMES))
    pacer.settle(60)
    assert not pacer.gaps


def test_a_loop_ends_where_it_starts_and_renders_that_once():
    render = Counted(lambda t: torch.tensor([math.cos(2 * math.pi * t**2), math.sin(2 * math.pi * t**2)]))
    walk = schedule(12, loop=True)
    pacer = Pacer(render, length, walk)
    positions = pacer.settle(40)
    assert len(positions) == 13 and 1.0 not in render.asked
    moved = moved_walk(walk, positions)
    assert (len(moved), moved.loop, moved.numbers, moved.frac[0]) == (12, True, walk.numbers, 0.0)
    assert unevenness(pacer.steps(positions)) < 0.1


@pytest.mark.parametrize("budget", [1, 3, 5, 8])
def test_a_loop_is_looked_at_even_with_few_renderings(budget):
    """Both ends are one picture: no distance between them says that nothing moves."""
    render = Counted(lambda t: torch.tensor([math.cos(2 * math.pi * t), math.sin(2 * math.pi * t)]))
    pacer = Pacer(render, length, schedule(6, loop=True))
    pacer.explore(budget)
    assert pacer.rendered <= max(2, budget) and (pacer.rendered == budget or budget == 1)


def test_places_rise_even_where_a_picture_breaks_twice():
    """A break in which another lies: two frames belong into what is all one place."""
    pacer = Pacer(Counted(along_a_line(lambda t: t / 50 + 5 * (t > 0.3) + 5 * (t > 0.3001))), length, schedule(6))
    pacer.explore(60)
    assert pacer.gaps
    assert all(second > first for first, second in itertools.pairwise(pacer.place()))


def test_a_part_of_a_walk_keeps_its_ends():
    pacer = Pacer(Counted(along_a_line(steep)), length, schedule(100, first=20, last=60))
    positions = pacer.settle(90)
    assert (positions[0], positions[-1]) == (20 / 99, 60 / 99)


def test_a_walk_that_stands_still_stays_as_it_is():
    pacer = Pacer(Counted(lambda t: torch.zeros(3)), length, schedule(5))
    assert pacer.settle(20) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert "nothing moves" in pacing_report("pixels", pacer, [0.0, 0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("walk", [schedule(2), Walk((0.5, 0.2, 0.9), (0, 1, 2), 3)])
def test_what_cannot_be_paced(walk):
    with pytest.raises(ValueError, match="^even pacing needs a walk of at least 3 frames in rising order, got"):
        Pacer(Counted(along_a_line(steep)), length, walk)


def test_the_power_by_hand():
    assert adding_power(2.0, 1.0, 1.0) == 1.0  # a straight line
    assert adding_power(math.sqrt(2), 1.0, 1.0) == pytest.approx(2.0)  # a moving edge
    assert adding_power(2 ** (2 / 3), 1.0, 1.0) == pytest.approx(1.5)
    assert adding_power(1.0, 1.0, 1.0) == 2.0  # parts as long as the whole add up at no power
    assert adding_power(5.0, 1.0, 1.0) == 1.0


def test_the_most_even_choice_is_the_best_of_all():
    """Against every choice there is, tried one by one."""
    generator = np.random.default_rng(3)
    places = np.sort(generator.uniform(0, 1, 11))
    steps = np.array([0.5, 1.0, 1.5, 1.0])

    def distance(first: int, second: int) -> float:
        return float(places[second] - places[first])

    def cost(choice: tuple[int, ...]) -> float:
        lengths = np.array([distance(*pair) for pair in itertools.pairwise(choice)])
        return float(((lengths / lengths.mean() - steps) ** 2).sum())

    ways = (places - places[0]) / (places[-1] - places[0]) * len(steps)
    chosen = most_even(distance, ways, steps, np.zeros(10, bool))
    best = min(((0, *inner, 10) for inner in itertools.combinations(range(1, 10), 3)), key=cost)
    assert tuple(chosen) == best


def test_positions_as_text_give_the_walk_again():
    pacer = Pacer(Counted(along_a_line(steep)), length, schedule(FRAMES))
    walk = moved_walk(schedule(FRAMES), pacer.settle(40))
    assert schedule_at(positions_text(walk.frac)) == walk
    assert schedule_at("0 .25,0.5\n1", first=1, last=2).frac == (0.25, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0, half, 1", "positions must be numbers separated by commas; got 'half'"),
        ("0, 0.5, 0.4", "positions must rise; number 3 is 0.4 after 0.5"),
        ("0, nan, 1", "positions must rise; number 2 is nan after 0"),
        ("0, 0.5, 1.5", "a position of the walk must be between 0.0 and 1.0, got 1.5"),
        ("nan", "a position of the walk must be between 0.0 and 1.0, got nan"),
        ("[]", "the number of positions must be between 1 and 100000, got 0"),
    ],
)
def test_positions_that_are_none(text, message):
    with pytest.raises(ValueError, match="^" + message.replace(".", r"\.")):
        schedule_at(text)
