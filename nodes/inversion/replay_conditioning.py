"""The conditioning of a replay, by what the inversion's method needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...smooth_lora.inversion.record import Inversion
from ..host.protocols import Conditioning
from ..model.texts import SIGMA_START, per_step, repeated_rows, stacked


def replay_conditioning(
    inversion: Inversion, positive: Conditioning | None = None, negative: Conditioning | None = None
) -> tuple[Conditioning, Conditioning]:
    """Returns the positive and negative CONDITIONING of a replay; those given take the place of the inversion's.

    raises: ValueError for a positive one that cannot stand in a batch with the source's
    """
    source, needs = inversion.positive, inversion.row.needs
    if positive is None:
        positive = source
    elif needs.rows_per_image == 2:
        both = [repeated_rows(source, inversion.images), repeated_rows(positive, inversion.images)]
        positive = stacked(both, ["the inversion's text", "positive"])
    if negative is None:
        negative = source if needs.source_as_negative else inversion.negative
        if inversion.nulls is not None:
            negative = per_step(inversion.negative, inversion.nulls, inversion.sigmas)
    return positive, negative


def bound_to_steps(entries: Iterable[Mapping[str, Any]]) -> bool:
    """True where each entry of a CONDITIONING, by its values, acts at single steps only."""
    return all(SIGMA_START in entry for entry in entries)
