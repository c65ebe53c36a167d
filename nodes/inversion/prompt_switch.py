"""One prompt early in the sampling, another one late."""

from __future__ import annotations

from ..host.protocols import Conditioning
from ..model.texts import SIGMA_START

_START, _END = "start_percent", "end_percent"  # the host's keys
# The host counts both ends of a range in. At this distance, a thousandth of a timestep, no sigma lies in two.
_RANGE_GAP = 1e-6


def switched(source: Conditioning, target: Conditioning, fraction: float) -> Conditioning:
    """Joins the source prompt while the timestep t is above fraction * T, and the target prompt from there on.

    source, target: CONDITIONING
    fraction: 0 is the source alone, the very conditioning; 1 the target alone
    raises:   ValueError for a conditioning that is bound to single steps already
    source:   Smooth Diffusion, arXiv 2312.04410, image editing: the rule with T * r, in the host's percent of the
              timesteps, which is 1 - t / T
    """
    if fraction <= 0.0:
        return source
    if fraction >= 1.0:
        return target
    return [
        *_within("source", source, 0.0, 1.0 - fraction - _RANGE_GAP),
        *_within("target", target, 1.0 - fraction, 1.0),
    ]


def _within(name: str, conditioning: Conditioning, start: float, end: float) -> Conditioning:
    """Limits entries to a part of the sampling, those that are limited already to what is left of it."""
    entries = []
    for text, values in conditioning:
        if SIGMA_START in values:
            raise ValueError(
                f"Prompt Switch: {name} is bound to single steps (an inversion's negative text); switch "
                "the positive texts instead"
            )
        first, last = max(start, values.get(_START, 0.0)), min(end, values.get(_END, 1.0))
        if first <= last:
            entries.append([text, {**values, _START: first, _END: last}])
    return entries
