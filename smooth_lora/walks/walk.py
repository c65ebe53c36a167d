"""The frames of a walk: where each lies along the path, and which keyframes it lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from ..checks import require_choice, require_range
from .easing import EASINGS, Easing, EasingOver, ease
from .typed import parse_numbers

MAX_FRAMES = 100_000
DEFAULT_FRAMES = 48
# k / (frames - 1) * segments misses a whole number by some 1e-14 at most; a frame nearer than this is on its
# keyframe.
ON_KEYFRAME = 1e-12
KEYFRAME_REACH = 0.25  # segments: a frame nearer than this to a keyframe shows it


@dataclass(frozen=True)
class Walk:
    """Positions of frames along a path, the same for noise, text and everything else that walks.

    frac:            positions 0..1 along the whole path of the frames rendered here, easing over the whole
                     walk included
    numbers:         frame numbers within the whole walk, one per position
    total:           frames of the whole walk
    loop:            closed: frame `total` would be frame 0 again
    segment_easings: applied between two keyframes, one for each segment in order; they begin again where there are
                     more segments
    raises:          ValueError when these contradict each other
    """

    frac: tuple[float, ...]
    numbers: tuple[int, ...]
    total: int
    loop: bool = False
    segment_easings: tuple[Easing, ...] = ("linear",)

    def __post_init__(self) -> None:
        for easing in self.segment_easings:
            require_choice("an easing of segment_easings", easing, EASINGS)
        if not self.segment_easings:
            raise ValueError("segment_easings is empty; give at least one, such as linear")
        if len(self.frac) != len(self.numbers) or not self.frac:
            raise ValueError(
                f"a walk needs one position per frame number and at least one frame, "
                f"got {len(self.frac)} positions and {len(self.numbers)} numbers"
            )
        for frac in self.frac:
            require_range("a position of the walk", frac, 0.0, 1.0)

    def __len__(self) -> int:
        return len(self.frac)

    def select(self, numbers: Sequence[int]) -> Walk:
        """Returns the walk of just these frame numbers, in this order.

        numbers: frame numbers within the whole walk, each of which is in this walk
        raises:  ValueError naming the first number that is not
        """
        index_of = {number: i for i, number in enumerate(self.numbers)}
        absent = [int(n) for n in numbers if int(n) not in index_of]
        if absent:
            raise ValueError(
                f"frame number {absent[0]} is not part of this walk, which renders frames "
                f"{min(self.numbers)} to {max(self.numbers)} of {self.total}"
            )
        chosen = [index_of[int(n)] for n in numbers]
        return replace(self, frac=tuple(self.frac[i] for i in chosen), numbers=tuple(self.numbers[i] for i in chosen))


def schedule(
    frames: int,
    *,
    easing: Easing = "linear",
    easing_over: EasingOver = "walk",
    segment_easings: Sequence[Easing] = (),
    loop: bool = False,
    first: int = 0,
    last: int = -1,
) -> Walk:
    """Spreads frames over a path.

    frames:      of the whole walk, 1 to 100000; frame k of an open walk lies at k / (frames - 1), of a loop
                 at k / frames
    easing:      see `ease`
    easing_over: "walk" bends the whole walk once, "segment" every segment between two keyframes
    segment_easings: one for each segment, in place of what easing gives to all of them; see `Walk`
    first, last: the frame numbers to render, both included; last = -1 renders to the end
    returns:     the Walk of frames first..last, the same positions that they have in the whole walk
    raises:      ValueError for a number of frames, a window or an easing that does not exist
    """
    require_range("frames", frames, 1, MAX_FRAMES)
    require_choice("easing", easing, EASINGS)
    require_choice("easing_over", easing_over, ("walk", "segment"))
    numbers = _window(frames, first, last)
    steps = frames if loop else max(frames - 1, 1)
    bend = easing if easing_over == "walk" else "linear"
    return Walk(
        frac=tuple(ease(k / steps, bend) for k in numbers),
        numbers=tuple(numbers),
        total=frames,
        loop=loop,
        segment_easings=_segment_easings(easing, easing_over, segment_easings),
    )


def schedule_at(
    text: str,
    *,
    easing: Easing = "linear",
    easing_over: EasingOver = "walk",
    segment_easings: Sequence[Easing] = (),
    loop: bool = False,
    first: int = 0,
    last: int = -1,
) -> Walk:
    """Places frames at positions written down, which have the easing over the whole walk in them already.

    text:    numbers 0..1 that rise, separated by commas, spaces or lines, in brackets or not
    others:  as in `schedule`
    raises:  ValueError for what is no such list, or a window that does not exist
    """
    positions = parse_numbers(text, "positions")
    require_range("the number of positions", len(positions), 1, MAX_FRAMES)
    for number, (before, after) in enumerate(pairwise(positions), start=2):
        if not before < after:
            raise ValueError(f"positions must rise; number {number} is {after:g} after {before:g}")
    numbers = _window(len(positions), first, last)
    return Walk(
        tuple(positions[number] for number in numbers),
        tuple(numbers),
        len(positions),
        loop,
        _segment_easings(easing, easing_over, segment_easings),
    )


def _segment_easings(easing: Easing, over: EasingOver, each: Sequence[Easing]) -> tuple[Easing, ...]:
    if each:
        return tuple(each)
    return (easing if over == "segment" else "linear",)


def _window(frames: int, first: int, last: int) -> range:
    if not 0 <= first < frames:
        raise ValueError(f"first frame {first} is outside the walk, whose frames are 0 to {frames - 1}")
    end = frames - 1 if last == -1 else last
    if not 0 <= end < frames:
        raise ValueError(
            f"last frame {last} is outside the walk, whose frames are 0 to {frames - 1}; -1 means to the end"
        )
    if end < first:
        raise ValueError(
            f"last frame {end} lies before first frame {first}; give a last frame of at least {first}, "
            "or -1 for the end"
        )
    return range(first, end + 1)


def segment_positions(walk: Walk, keyframes: int) -> tuple[Tensor, Tensor]:
    """Locates each frame between two keyframes.

    walk:      N frames
    keyframes: K >= 1; an open walk has K - 1 segments, a loop K, the last of which leads back to keyframe 0
    returns:   index [N] int64, the keyframe that the segment starts at; local [N] float64 in 0..1, easing per
               segment included; a single keyframe gives zeros
    """
    require_range("the number of keyframes", keyframes, 1, float("inf"))
    frac = torch.tensor(walk.frac, dtype=torch.float64)
    segments = keyframes if walk.loop else keyframes - 1
    if keyframes == 1:
        return torch.zeros(len(walk), dtype=torch.int64), torch.zeros_like(frac)
    along = frac * segments
    along = torch.where((along - along.round()).abs() < ON_KEYFRAME, along.round(), along)
    index = along.floor().clamp(0, segments - 1).to(torch.int64)
    return index, _eased(along - index, index, walk.segment_easings)


def _eased(local: Tensor, index: Tensor, easings: Sequence[Easing]) -> Tensor:
    eased = torch.empty_like(local)
    for turn, easing in enumerate(easings):
        rows = index % len(easings) == turn
        eased[rows] = ease(local[rows], easing)
    return eased


def with_ends(walk: Walk, keyframes: int) -> Walk:
    """Returns the walk with, after its frames, the keyframes around them that are not among them.

    keyframes: K >= 1 of the walk; a single one is not added
    returns:   N frames and up to K keyframes, whose numbers no frame has
    """
    located = list(zip(*(values.tolist() for values in segment_positions(walk, keyframes)), strict=True))
    around = {(index + end) % keyframes for index, local in located if 0.0 < local < 1.0 for end in (0, 1)}
    there = {(index + int(local)) % keyframes for index, local in located if local in (0.0, 1.0)}
    segments = keyframes if walk.loop else max(keyframes - 1, 1)
    added = sorted(around - there)
    return replace(
        walk,
        frac=(*walk.frac, *(keyframe / segments for keyframe in added)),
        numbers=(*walk.numbers, *(walk.total + keyframe for keyframe in added)),
    )


def frames_at_keyframes(walk: Walk, keyframes: int) -> list[int | None]:
    """Returns for every keyframe the index of the frame nearest to it; None where that is not within KEYFRAME_REACH.

    walk: N frames; keyframes: K >= 0
    """
    if not keyframes:
        return []
    index, local = segment_positions(walk, keyframes)
    away = (index + local)[None] - torch.arange(keyframes)[:, None]
    if walk.loop:
        away = torch.remainder(away + keyframes / 2, keyframes) - keyframes / 2
    nearest = away.abs().min(dim=1)
    return [
        frame if distance < KEYFRAME_REACH else None
        for frame, distance in zip(nearest.indices.tolist(), nearest.values.tolist(), strict=True)
    ]


def walked_numbers(walk: Walk, keyframes: Sequence[float]) -> Tensor:
    """Interpolates numbers: on a keyframe its own value, in a straight line between.

    walk:      N frames; keyframes: K >= 1 numbers
    returns:   [N] float64
    """
    values = torch.tensor(keyframes, dtype=torch.float64)
    index, local = segment_positions(walk, len(keyframes))
    return torch.lerp(values[index], values[(index + 1) % len(keyframes)], local)
