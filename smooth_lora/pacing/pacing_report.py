"""The text that says how evenly the frames of a walk differ."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..scores.smoothness import from_distances
from .pacer import GAP_HALVINGS, GAP_SHARE, Pacer

NAMED_GAPS = 5


def pacing_report(metric: str, pacer: Pacer, positions: Sequence[float]) -> str:
    """Describes what even pacing rendered for frames at these positions, and the gaps that it met.

    metric:  name of what is to change evenly
    returns: lines of text
    """
    lines = [f"Even pacing by {metric}: {pacer.rendered} positions were rendered for it"]
    if all(position in pacer.seen for position in positions):
        lines[0] += f"; {_evenness(pacer, positions)}"
    if pacer.gaps:
        named = ", ".join(f"{gap.start:.6g} to {gap.end:.6g}" for gap in pacer.gaps[:NAMED_GAPS])
        more = f" and {len(pacer.gaps) - NAMED_GAPS} more" if len(pacer.gaps) > NAMED_GAPS else ""
        places = f"{len(pacer.gaps)} place{'s' if len(pacer.gaps) > 1 else ''}"
        lines.append(
            f"The picture breaks at {places}, where {GAP_HALVINGS} halvings left more than {GAP_SHARE:.0%} of "
            f"the step: {named}{more}. Nothing was found in between; there the walk jumps."
        )
    return "\n".join(lines)


def _evenness(pacer: Pacer, positions: Sequence[float]) -> str:
    scores = from_distances(pacer.steps(positions), pacer.seen[positions[0]].shape)
    if scores.still:
        return "nothing moves"
    return f"cv of the steps {scores.cv:.3f}, largest {scores.max_over_mean:.2f} times the mean"


def steps_text(lengths: Sequence[float], size: Sequence[int]) -> str:
    """Describes how evenly the frames of a walk differ.

    lengths: distances from frame to frame
    size:    height, width and channels of a frame
    """
    if len(lengths) < 2:
        return "Too few frames to say how evenly they move."
    scores = from_distances(lengths, size)
    if scores.still:
        return "Nothing moves between the frames."
    return (
        f"Steps: mean {scores.mean_distance:.4g}, ISTD {scores.istd:.4g}, cv {scores.cv:.3f}; the largest, "
        f"{scores.max_over_mean:.2f} times the mean, from frame {scores.largest} to {scores.largest + 1}"
    )


def positions_text(positions: Sequence[float]) -> str:
    """Writes positions as a Walk Schedule takes them, with all their digits."""
    return json.dumps(list(positions))
