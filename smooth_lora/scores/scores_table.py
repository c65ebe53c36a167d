"""Scores of walks in words: a table, names of steps, and what a reader of the numbers has to know."""

from __future__ import annotations

from collections.abc import Mapping

from ..drawing.table import aligned
from .smoothness import Smoothness

CAVEATS = (
    "Read the mean step beside ISTD: weaker contrast or less variety shrinks both without smoothing "
    "anything; cv divides that out.",
    "ISTD grows with the picture size and with the distance between a walk's ends: compare only equal "
    "prompts, seeds, sizes and numbers of frames.",
    "A plain cross-fade scores 0: ISTD measures an even pace, not whether the pictures in between are good.",
    "The paper has no public code: if its convention was guessed right, its ISTD is the one on [-1, 1].",
)


def scores_table(scores: Mapping[str, Smoothness]) -> str:
    """Returns the scores of one or more walks as lines of plain text, one walk per column."""
    rows = [
        ("", list(scores)),
        ("ISTD [0, 1]", [f"{s.istd:.4f}" for s in scores.values()]),
        ("ISTD [-1, 1]", [f"{s.istd_pm1:.4f}" for s in scores.values()]),
        ("ISTD per value", [f"{s.istd_rms:.6f}" for s in scores.values()]),
        ("cv (std / mean)", [f"{s.cv:.4f}" for s in scores.values()]),
        ("mean step d", [f"{s.mean_distance:.4f}" for s in scores.values()]),
        ("path length", [f"{s.path:.4f}" for s in scores.values()]),
        ("max / mean", [f"{s.max_over_mean:.3f}" for s in scores.values()]),
        ("1 - Gini", [f"{s.smoothness:.4f}" for s in scores.values()]),
        ("largest step", [step_name(s.largest) for s in scores.values()]),
        ("jumps", [" ".join(map(step_name, s.jumps)) or "none" for s in scores.values()]),
        ("frames", [str(s.frames) for s in scores.values()]),
    ]
    lines = aligned(rows)
    still = [name for name, s in scores.items() if s.still]
    if still:
        lines.append(
            f"All frames of {' and '.join(still)} are the same picture: nothing was walked, so nothing was scored."
        )
    return "\n".join(lines)


def step_name(index: int) -> str:
    """Returns the name of a step, the numbers from 0 of the frames that it lies between: '7-8'."""
    return f"{index}-{index + 1}"
