"""Attention interpolation: a frame between two keyframes attends to the keys and values of both.

Source: AID, "Attention Interpolation of Text-to-Image Diffusion", arXiv 2403.17924; in its published code, the
processors InnerInterpolatedAttnProcessor and OuterInterpolatedAttnProcessor of interpolation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..walks.walk import Walk, segment_positions

InterpolationKind = Literal["inner", "outer"]

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Between:
    """Rows of a batch that lie between two others.

    moved:       [M] int64, rows that do
    first, last: [M] int64, the rows they lie between
    share:       [M], 0 at first, 1 at last, 0 < share < 1
    others:      [R - M] int64, all other rows, in order
    """

    moved: Tensor
    first: Tensor
    last: Tensor
    share: Tensor
    others: Tensor

    @classmethod
    def of(cls, walk: Walk, keyframes: int, groups: Sequence[bool], device: torch.device | str = "cpu") -> Between:
        """Returns the rows of a model call that holds every frame of a walk once in each of several groups.

        keyframes: of the walk; both that a frame lies between must be among the walk's own frames
        groups:    for each group of len(walk) rows, whether its frames are interpolated (those of the negative
                   conditioning are not)
        raises:    ValueError naming the keyframe that no frame lies on
        """
        index, local = (values.tolist() for values in segment_positions(walk, keyframes))
        row_of = {
            (index[row] + int(local[row])) % keyframes: row
            for row in reversed(range(len(walk)))
            if local[row] in (0.0, 1.0)
        }
        between = [row for row in range(len(walk)) if 0.0 < local[row] < 1.0]
        firsts = [_row(row_of, index[row]) for row in between]
        lasts = [_row(row_of, (index[row] + 1) % keyframes) for row in between]
        starts = [group * len(walk) for group, interpolated in enumerate(groups) if interpolated]

        def rows(of_a_group: list[int]) -> Tensor:
            return torch.tensor([start + row for start in starts for row in of_a_group], dtype=torch.int64)

        moved = rows(between)
        others = sorted(set(range(len(groups) * len(walk))).difference(moved.tolist()))
        share = torch.tensor([local[row] for row in between] * len(starts), dtype=torch.float32)
        parts = (moved, rows(firsts), rows(lasts), share, torch.tensor(others, dtype=torch.int64))
        return cls(*(part.to(device) for part in parts))


def _row(rows: dict[int, int], keyframe: int) -> int:
    if keyframe not in rows:
        raise ValueError(
            f"Attention Walk: no frame of the batch lies on keyframe {keyframe + 1}; render with the Walk "
            "Sampler, which adds the keyframes, or a batch whose frames lie on them"
        )
    return rows[keyframe]


def interpolated_attention(
    attend: Attend,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    between: Between,
    kind: InterpolationKind = "inner",
    fused: bool = True,
) -> Tensor:
    """Computes attention in which the rows between two others attend to what those attend to.

    attend:  (q, k, v) -> output, row by row, for any number of rows and keys
    q, k, v: [R, ..., tokens, features]
    kind:    inner mixes keys and values of the two ends: Attn(q, (1-t) k1 + t k2, (1-t) v1 + t v2);
             outer mixes the outputs: (1-t) Attn(q, k1, v1) + t Attn(q, k2, v2)
    fused:   the row's own keys and values stand before those of the ends
    returns: what attend does; rows that are not moved are those of attend(q, k, v), computed without the others
    source:  arXiv 2403.17924, equations 9 (inner) and 10 (outer) of its first version. A fused row whose ends equal
             itself does not change, because keys that stand twice weigh as they do once
    """
    if between.moved.numel() == 0:
        return attend(q, k, v)
    moved, others = between.moved, between.others
    rows = _MovedRows(attend, q[moved], k[moved], v[moved], fused)
    attended = (rows.inner if kind == "inner" else rows.outer)(k, v, between)
    out = attended.new_empty(len(q), *attended.shape[1:])
    out[moved] = attended
    if others.numel():
        out[others] = attend(q[others], k[others], v[others])
    return out


@dataclass(frozen=True)
class _MovedRows:
    """The moved rows, and how they attend to the rows they lie between."""

    attend: Attend
    q: Tensor
    k: Tensor
    v: Tensor
    fused: bool

    def inner(self, k: Tensor, v: Tensor, between: Between) -> Tensor:
        """Attends to mixed keys and values; k, v: of all rows."""
        mixed_k, mixed_v = (_mixed(x[between.first], x[between.last], between.share) for x in (k, v))
        return self._attend_to(mixed_k, mixed_v)

    def outer(self, k: Tensor, v: Tensor, between: Between) -> Tensor:
        """Mixes the outputs of attending to each end; k, v: of all rows."""
        first, last = (self._attend_to(k[end], v[end]) for end in (between.first, between.last))
        return _mixed(first, last, between.share)

    def _attend_to(self, k: Tensor, v: Tensor) -> Tensor:
        if self.fused:
            k, v = torch.cat([self.k, k], dim=-2), torch.cat([self.v, v], dim=-2)
        return self.attend(self.q, k, v)


def _mixed(first: Tensor, last: Tensor, share: Tensor) -> Tensor:
    """Mixes in float32: a share rounded to 16 bits would put frames where they do not belong."""
    share = share.reshape(-1, *[1] * (first.ndim - 1))
    return (first * (1 - share) + last * share).to(first.dtype)
