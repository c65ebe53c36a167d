"""The choice of those images of a walk that make the most even one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

LONGEST_STEP = 2.5  # steps of the way: how far apart two neighbours may be chosen
CHOICE_ROUNDS = 4  # the best choice depends on the length of its mean step


def most_even(
    distance: Callable[[int, int], float], ways: np.ndarray, steps: np.ndarray, crossed: np.ndarray
) -> list[int]:
    """Chooses images, the first and the last among them, whose neighbours differ as evenly as possible.

    distance: of two images by their indices, the first < the second; called once for each pair
    ways:     [N] how far along the walk every image is, in steps, rising
    steps:    [F - 1] how long each step is meant to be, relative to their mean; F <= N
    crossed:  [N - 1] whether there is a gap from an image to the next; a step across it is left out of the mean
    returns:  F indices, rising: those with the least sum of (distance - mean step * step)^2, found exactly among all
              choices without a step longer than LONGEST_STEP, for the mean step of the round before; the best of
              CHOICE_ROUNDS
    """
    if len(ways) == len(steps) + 1:
        return list(range(len(ways)))
    pairs = _Pairs(distance, ways)
    gaps_before = np.concatenate([[0], np.cumsum(crossed)])
    mean = None
    tried: list[tuple[float, list[int]]] = []
    for _ in range(CHOICE_ROUNDS):
        if mean is None:  # of neighbours a step apart
            near = np.abs(ways[pairs.second] - ways[pairs.first] - 1) < 0.5
            mean = float(pairs.length[near if near.any() else slice(None)].mean())
        chosen = pairs.shortest(mean, steps)
        lengths = np.array([pairs.of(first, second) for first, second in pairwise(chosen)])
        plain = np.array([gaps_before[first] == gaps_before[second] for first, second in pairwise(chosen)])
        counted = plain if plain.any() else slice(None)
        mean = float((lengths / steps)[counted].mean())
        uneven = float(((lengths / max(mean, 1e-300) - steps) ** 2).sum())
        tried.append((uneven, chosen))
    return min(tried, key=lambda choice: choice[0])[1]


class _Pairs:
    """Pairs of images that may be neighbours.

    first, second: [P] indices, sorted by the second
    length:        [P] distances
    """

    def __init__(self, distance: Callable[[int, int], float], ways: np.ndarray):
        earliest = np.searchsorted(ways, ways - LONGEST_STEP)
        pairs = [
            (first, second)
            for second in range(1, len(ways))
            for first in range(min(int(earliest[second]), second - 1), second)
        ]
        self.count = len(ways)
        self.first, self.second = (np.array(indices) for indices in zip(*pairs, strict=True))
        self._lengths = {pair: distance(*pair) for pair in pairs}
        self.length = np.array(list(self._lengths.values()))
        self._begins = np.searchsorted(self.second, np.arange(1, self.count))

    def of(self, first: int, second: int) -> float:
        """Returns the distance of a pair."""
        return self._lengths[first, second]

    def shortest(self, mean: float, steps: np.ndarray) -> list[int]:
        """Returns the choice with the least sum of (length - mean * step)^2."""
        costs = np.full(self.count, np.inf)
        costs[0] = 0.0
        back = []
        for step in steps:
            through = costs[self.first] + (self.length - mean * step) ** 2
            least = np.minimum.reduceat(through, self._begins)
            # The index of the first pair that reaches each image at the least cost.
            reached = np.flatnonzero(through == np.repeat(least, np.diff([*self._begins, len(through)])))
            back.append(reached[np.searchsorted(reached, self._begins)].astype(np.int32))  # F x N of them
            costs = np.concatenate([[np.inf], least])
        chosen = [self.count - 1]
        for pair in reversed(back):
            chosen.append(int(self.first[pair[chosen[-1] - 1]]))
        return chosen[::-1]
