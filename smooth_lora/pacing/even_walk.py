"""Even pacing of a walk from start to end: a host renders frames where it is asked to, and is given those that differ
most evenly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from ..walks.walk import Walk
from .metrics import PacingMetric
from .pacer import Pacer, moved_walk
from .pacing_report import pacing_report


class RenderedFrame(NamedTuple):
    """One frame of a walk.

    latent: [1, C, ...]
    image:  [n, H, W, C], of a video latent several; None if it was not decoded
    """

    latent: Tensor
    image: Tensor | None


# Renders the frames of a walk, which lie at positions that rise; a metric by images needs images.
RenderFrames = Callable[[Walk], Sequence[RenderedFrame]]


@dataclass(frozen=True, eq=False)
class EvenWalk:
    """A walk whose frames have been moved.

    report: what was done for it
    frames: as they were rendered; empty if they are still to be rendered
    """

    walk: Walk
    report: str
    frames: tuple[RenderedFrame, ...] = ()


def place_frames(render: RenderFrames, walk: Walk, metric: PacingMetric, probes: int) -> EvenWalk:
    """Moves the frames of a walk to where they differ evenly, without rendering them there.

    render: called with walks along the same path
    probes: positions that may be rendered to find out where the walk moves
    raises: ValueError for a walk of fewer than three frames, or of positions that do not rise
    """
    seen = _SeenFrames(render, walk, metric)
    seen.pacer.explore(probes)
    positions = seen.pacer.place()
    return EvenWalk(moved_walk(walk, positions), pacing_report(metric.name, seen.pacer, positions))


def choose_frames(render: RenderFrames, walk: Walk, metric: PacingMetric, probes: int) -> EvenWalk:
    """Chooses, of all frames that are rendered to find out where a walk moves, those that differ most evenly.

    An early metric sees no finished frames: they are placed, and are still to be rendered.

    probes: positions that may be rendered besides as many as the walk has frames; see `place_frames`
    """
    if metric.early:
        return place_frames(render, walk, metric, probes)
    seen = _SeenFrames(render, walk, metric)
    positions = seen.pacer.settle(probes + len(walk))
    report = pacing_report(metric.name, seen.pacer, positions)
    return EvenWalk(moved_walk(walk, positions), report, seen.frames_at(positions[: len(walk)]))


class _SeenFrames:
    """Frames at any positions along a walk, each rendered once, and a pacer that measures them."""

    def __init__(self, render: RenderFrames, walk: Walk, metric: PacingMetric):
        self._render, self._walk, self._metric = render, walk, metric
        self._frames: dict[float, RenderedFrame] = {}
        self.pacer = Pacer(self._measured_at, metric.distance, walk)

    def frames_at(self, positions: Sequence[float]) -> tuple[RenderedFrame, ...]:
        """Returns the frames at rendered positions."""
        return tuple(self._frames[position] for position in positions)

    def _measured_at(self, positions: Sequence[float]) -> list[Tensor]:
        count = len(positions)
        walk = replace(self._walk, frac=tuple(positions), numbers=tuple(range(count)), total=count)
        frames = self._render(walk)
        self._frames.update(zip(positions, frames, strict=True))
        return [self._measured(frame) for frame in frames]

    def _measured(self, frame: RenderedFrame) -> Tensor:
        if not self._metric.by_images:
            return frame.latent
        if frame.image is None:
            raise ValueError(f"even pacing by {self._metric.name} measures images; decode the frames")
        return frame.image
