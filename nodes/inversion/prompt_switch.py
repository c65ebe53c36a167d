"""One text early in the sampling, another one late."""

from __future__ import annotations

from ..model.texts import SIGMA_START

START, END = "start_percent", "end_percent"
# The host counts both ends of a range in. At this distance, a thousandth of a timestep, no noise level lies in two.
GAP = 1e-6


def switched(source: list, target: list, fraction: float) -> list:
    """The source text while the timestep t is above fraction * T, the target text from there on.

    source, target: CONDITIONING
    fraction: 0 is the source alone, the very conditioning; 1 the target alone
    raises:   ValueError for a text that is bound to single steps already
    source:   Smooth Diffusion, arXiv 2312.04410, image editing: the rule with T * r, in the host's percent of the
              timesteps, which is 1 - t / T
    """
    if fraction <= 0.0:
        return source
    if fraction >= 1.0:
        return target
    return [*_within("source", source, 0.0, 1.0 - fraction - GAP), *_within("target", target, 1.0 - fraction, 1.0)]


def _within(what: str, conditioning: list, start: float, end: float) -> list:
    """The entries limited to a part of the sampling, those limited already to what is left of it."""
    entries = []
    for text, values in conditioning:
        if SIGMA_START in values:
            raise ValueError(
                f"Prompt Switch: {what} is bound to single steps (an inversion's negative text); switch "
                "the positive texts instead"
            )
        first, last = max(start, values.get(START, 0.0)), min(end, values.get(END, 1.0))
        if first <= last:
            entries.append([text, {**values, START: first, END: last}])
    return entries
