"""Even pacing: where along a walk frames must lie for neighbouring images to differ equally.

Equal steps of the noise are not equal steps of the image: it stands still for ten frames and jumps in one. But the
image is a continuous function of the position, only a steep one, so that the images between both sides of a jump
can be found. A few positions are rendered where the image moves most, the distance from image to image is
measured along them, and the frames are put at equal shares of that way.

Distances between images need not add up. A flat shape that moves twice as far changes twice as many pixels, and the
root of their squares grows by sqrt(2) only. So a stretch counts distance ** power, with power, 1 to 2, fitted to what
the parts of the stretches that were split measured; that adds up.

Source: frames at even shares of the distance walked, by inverting it once over evenly spaced frames, are known from AID
(arXiv 2403.17924) and DiffMorpher (arXiv 2312.07409). Splitting where it moves most, the power, and the choice among
everything rendered (`most_even`) are our own.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from torch import Tensor

from ..walks.walk import Walk
from .choice import most_even

Render = Callable[[Sequence[float]], Sequence[Tensor]]  # positions, rising -> what is seen at each
Distance = Callable[[Tensor, Tensor], float]  # >= 0, the same both ways

PROBES_PER_SPREAD = 4  # one probe in so many is spread evenly, before any goes where the image moves most
# Stretches that are split in one call, so that batches fill: one for so many probes, and no more than that. Fewer find
# their way better.
PROBES_PER_SPLIT, MOST_SPLITS = 16, 16
EXPLORED_SHARE = 2 / 3  # of the renderings; the others go where frames are missing
# What is left of a stretch after so many halvings, if it holds more than this share of its distance, is a gap: the
# image is not steep there, it breaks. Eight halvings called steep ways gaps that were none, and so does a share of
# half: a shape that moves keeps 0.71 in each half.
GAP_HALVINGS, GAP_SHARE = 12, 0.75
NARROWEST = 1e-9  # the narrowest stretch of positions that is split: noise in float32 does not move in less
# Steps: where a rendered image is this near, none is rendered for a frame. What is left of the budget is spent by the
# narrower tolerances.
TOLERANCES = (0.2, 0.1, 0.05, 0.02)


def shares_of(walk: Walk) -> list[float]:
    """Share of the visible way, 0..1, at which every frame of a walk is meant to be: its easing, and for a loop the
    end as well, where it is back at the first frame.

    raises: ValueError for fewer than three frames, or positions that do not rise
    """
    positions = [*walk.frac, 1.0] if _whole_loop(walk) else list(walk.frac)
    if len(walk) < 3 or any(second <= first for first, second in pairwise(positions)):
        raise ValueError(
            f"even pacing needs a walk of at least 3 frames in rising order, got {len(walk)} at "
            f"{', '.join(f'{position:g}' for position in walk.frac[:4])} ...; render more frames, or choose the "
            "pacing uniform"
        )
    return [(position - positions[0]) / (positions[-1] - positions[0]) for position in positions]


def moved_walk(walk: Walk, positions: Sequence[float]) -> Walk:
    """Returns the walk with its frames at other positions, one for each share of `shares_of`."""
    return replace(walk, frac=tuple(positions[: len(walk)]))


def _whole_loop(walk: Walk) -> bool:
    return walk.loop and len(walk) == walk.total


@dataclass(frozen=True)
class Stretch:
    """The part of a walk from one rendered position to the next.

    length:      distance of their images
    whole:       the last length of which this is still more than GAP_SHARE
    whole_width: the difference of positions that belonged to it
    """

    start: float
    end: float
    length: float
    whole: float
    whole_width: float

    @property
    def width(self) -> float:
        """Difference of the positions."""
        return self.end - self.start

    @property
    def is_gap(self) -> bool:
        """Returns whether the image breaks here, see GAP_HALVINGS."""
        return self.length > 0 and self.width * 2**GAP_HALVINGS <= self.whole_width * (1 + 1e-9)

    def part(self, start: float, end: float, length: float) -> Stretch:
        """Returns one of the two stretches that this one is split into."""
        if length > GAP_SHARE * self.whole:
            return Stretch(start, end, length, self.whole, self.whole_width)
        return Stretch(start, end, length, length, end - start)


class Pacer:
    """The images of a walk, as far as they have been rendered.

    render:   called with every position once
    distance: of two images
    walk:     whose first and last frame stay where they are; a whole loop ends in the image that it starts with
    raises:   what `shares_of` raises
    """

    def __init__(self, render: Render, distance: Distance, walk: Walk):
        self._render, self._distance = render, distance
        self._shares, closed = shares_of(walk), _whole_loop(walk)
        self.start, self.end = walk.frac[0], 1.0 if closed else walk.frac[-1]
        self.seen: dict[float, Tensor] = {}
        self.rendered = 0
        self.stretches: list[Stretch] = []
        self.splits: list[tuple[float, float, float]] = []  # lengths of a stretch and of its parts
        self._add_ends(closed)

    @property
    def positions(self) -> list[float]:
        """Rendered positions, rising."""
        return [stretch.start for stretch in self.stretches] + [self.end]

    @property
    def gaps(self) -> list[Stretch]:
        """Stretches in which the image breaks."""
        return [stretch for stretch in self.stretches if stretch.is_gap]

    @property
    def power(self) -> float:
        """Power to which distances are raised so that they add up: the median over all splits, each by the weight of
        its smaller part, because a part that is nearly the whole says nothing."""
        powers = sorted((adding_power(*split), min(split[1:])) for split in self.splits if min(split[1:]) > 0)
        half, passed = sum(weight for _, weight in powers) / 2, 0.0
        for power, weight in powers:
            passed += weight
            if passed >= half:
                return power
        return 1.0

    def steps(self, positions: Sequence[float]) -> list[float]:
        """Distances between neighbours among rendered positions."""
        return [self._between(first, second) for first, second in pairwise(positions)]

    def explore(self, budget: int) -> None:
        """Renders up to `budget` positions in all, fewer if nothing is left that moves."""
        coarse = min(max(3, budget // PROBES_PER_SPREAD), max(2, budget))
        together = min(max(1, budget // PROBES_PER_SPLIT), MOST_SPLITS)
        self.add(self.start + (self.end - self.start) * k / (coarse - 1) for k in range(1, coarse - 1))
        while self.rendered < budget:
            wanted = self._middles(min(together, budget - self.rendered))
            if not wanted:
                return
            self.add(wanted)

    def add(self, positions: Iterable[float]) -> None:
        """Renders those of these positions that have not been rendered."""
        new = sorted({position for position in positions if position not in self.seen})
        if new:
            self._see(new)
        for position in new:
            self._split(position)

    def place(self) -> list[float]:
        """Positions where the frames belong, rising; none within a gap, but on one of its sides if there is room."""
        positions, ways = np.array(self.positions), self._ways()
        wanted = np.interp(np.array(self._shares) * ways[-1], ways, positions)
        wanted[0], wanted[-1] = self.start, self.end
        placed = wanted.copy()
        for gap in self.gaps:
            inside = (placed > gap.start) & (placed < gap.end)
            placed[inside] = np.where(placed[inside] - gap.start < gap.end - placed[inside], gap.start, gap.end)
        rising: list[float] = (placed if (np.diff(placed) > 0).all() else wanted).tolist()
        return rising

    def settle(self, budget: int) -> list[float]:
        """Renders until a walk is even, and returns those rendered positions that make the most even one.

        Most of the budget goes into `explore`; then what is missing where frames belong is rendered and the way is
        measured again, until the budget is spent or nothing is missing.

        budget: renderings in all, at least as many as the walk has frames
        """
        self.explore(int(budget * EXPLORED_SHARE))
        for tolerance in TOLERANCES:
            while self.rendered < budget and (missing := self._missing(tolerance)):
                self.add(missing[: budget - self.rendered])
        return self._chosen()

    def _add_ends(self, closed: bool) -> None:
        self._see([self.start] if closed else [self.start, self.end])
        if closed:
            self.seen[self.end] = self.seen[self.start]
        length = self._between(self.start, self.end)
        self.stretches = [Stretch(self.start, self.end, length, math.inf, self.end - self.start)]

    def _see(self, positions: Sequence[float]) -> None:
        self.seen.update(zip(positions, self._render(positions), strict=True))
        self.rendered += len(positions)

    def _between(self, one: float, other: float) -> float:
        return self._distance(self.seen[one], self.seen[other])

    def _split(self, position: float) -> None:
        index = bisect_left(self.stretches, position, key=lambda stretch: stretch.end)
        whole = self.stretches[index]
        lengths = self._between(whole.start, position), self._between(position, whole.end)
        self.splits.append((whole.length, *lengths))
        self.stretches[index : index + 1] = [
            whole.part(whole.start, position, lengths[0]),
            whole.part(position, whole.end, lengths[1]),
        ]

    def _middles(self, count: int) -> list[float]:
        """Positions to render next: middles of the longest stretches, and of their halves if these would be longest."""
        heap = [
            (-stretch.length, stretch.start, stretch.end)
            for stretch in self.stretches
            if stretch.length > 0 and stretch.width > NARROWEST and not stretch.is_gap
        ]
        heapq.heapify(heap)
        middles: list[float] = []
        while heap and len(middles) < count:
            length, start, end = heapq.heappop(heap)
            middle = (start + end) / 2
            middles.append(middle)
            for half in ((start, middle), (middle, end)):
                heapq.heappush(heap, (length / 2, *half))
        return middles

    def _ways(self) -> np.ndarray:
        """Way to every rendered position, in steps of the walk. Crossing a gap is one step, however wide it is."""
        frames = len(self._shares)
        lengths = np.array([stretch.length for stretch in self.stretches]) ** self.power
        gaps = np.array([stretch.is_gap for stretch in self.stretches])
        steps = frames - 1 - gaps.sum()
        if gaps.any() and steps > 0:
            lengths[gaps] = lengths[~gaps].sum() / steps
        if not lengths.any():  # nothing moves: the way is the position itself
            lengths = np.array([stretch.width for stretch in self.stretches])
        ways = np.concatenate([[0.0], np.cumsum(lengths)])
        steps_to: np.ndarray = ways / ways[-1] * (frames - 1)
        return steps_to

    def _missing(self, tolerance: float) -> list[float]:
        """Positions where frames belong and nothing was rendered within a tolerance, the farthest first."""
        wanted, ways = self.place(), self._ways()
        asked = np.interp(wanted, self.positions, ways)
        after = np.searchsorted(ways, asked).clip(1, len(ways) - 1)
        off = np.minimum(np.abs(asked - ways[after - 1]), np.abs(asked - ways[after]))
        return [
            wanted[frame]
            for frame in np.argsort(-off, kind="stable")
            if off[frame] > tolerance and wanted[frame] not in self.seen
        ]

    def _chosen(self) -> list[float]:
        positions = self.positions
        crossed = np.array([stretch.is_gap for stretch in self.stretches])

        def between(first: int, second: int) -> float:
            return self._between(positions[first], positions[second])

        steps = np.diff(self._shares) * (len(self._shares) - 1)
        return [positions[index] for index in most_even(between, self._ways(), steps, crossed)]


def adding_power(whole: float, first: float, second: float) -> float:
    """Power, 1 to 2, at which the parts of a stretch add up to the whole."""

    def excess(power: float) -> float:
        more: float = first**power + second**power - whole**power
        return more

    low, high = 1.0, 2.0
    if excess(low) <= 0:
        return low
    if excess(high) >= 0:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2
