"""Attention interpolation: a frame between two keyframes looks at the keys and values of both.

Source: AID, "Attention Interpolation of Text-to-Image Diffusion", arXiv 2403.17924; in its published code, the
processors InnerInterpolatedAttnProcessor and OuterInterpolatedAttnProcessor of interpolation.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..walks.walk import Walk, segment_positions

InterpolationKind = Literal["inner", "outer"]

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Between:
    """Which rows of a batch lie between which two others.

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
    def of(cls, walk: Walk, keyframes: int, groups: list[bool], device: torch.device | str = "cpu") -> Between:
        """The rows of a model call that holds every frame of a walk once in each of several groups.

        keyframes: of the walk; both that a frame lies between must be among the walk's own frames
        groups:    for each group of len(walk) rows, whether its frames are interpolated (texts of the negative are not)
        raises:    ValueError naming the keyframe that no frame lies on
        """
        index, local = (values.tolist() for values in segment_positions(walk, keyframes))
        rows = {
            (index[row] + int(local[row])) % keyframes: row
            for row in reversed(range(len(walk)))
            if local[row] in (0.0, 1.0)
        }
        between = [row for row in range(len(walk)) if 0.0 < local[row] < 1.0]
        ends = [(_row(rows, index[row]), _row(rows, (index[row] + 1) % keyframes)) for row in between]
        starts = [group * len(walk) for group, wanted in enumerate(groups) if wanted]
        moved = [start + row for start in starts for row in between]
        left = sorted(set(range(len(groups) * len(walk))).difference(moved))

        def on_device(values, dtype=torch.int64) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        return cls(
            on_device(moved),
            on_device([start + first for start in starts for first, _ in ends]),
            on_device([start + last for start in starts for _, last in ends]),
            on_device([local[row] for row in between] * len(starts), torch.float32),
            on_device(left),
        )


def _row(rows: dict[int, int], keyframe: int) -> int:
    if keyframe not in rows:
        raise ValueError(
            f"attention walk: no frame of the batch lies on keyframe {keyframe + 1}; render with the Walk "
            "Sampler, which adds the keyframes, or a batch whose frames lie on them"
        )
    return rows[keyframe]


def interpolated_attention(
    attend: Attend,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    between: Between,
    kind: InterpolationKind = "inner",
    *,
    fused: bool = True,
) -> Tensor:
    """Attention in which the rows between two others attend to what those attend to.

    attend:  (q, k, v) -> output, row by row, for any number of rows and keys
    q, k, v: [R, ..., tokens, features]
    kind:    inner mixes keys and values of the two ends: Attn(q, (1-t) k1 + t k2, (1-t) v1 + t v2);
             outer mixes the outputs: (1-t) Attn(q, k1, v1) + t Attn(q, k2, v2)
    fused:   the row's own keys and values stand before those of the ends
    returns: what attend does; rows that are not moved are those of attend(q, k, v), computed without the others
    source:  arXiv 2403.17924, equations 9 (inner) and 10 (outer) of its first version. Of a fused row whose ends are
             itself nothing changes, because keys that stand twice weigh as they do once
    """
    moved, others = between.moved, between.others
    if moved.numel() == 0:
        return attend(q, k, v)
    rows = _Rows(attend, q[moved], k[moved], v[moved], fused)
    if kind == "inner":
        new = rows.attend_to(
            _mixed(k[between.first], k[between.last], between.share),
            _mixed(v[between.first], v[between.last], between.share),
        )
    else:
        new = _mixed(
            rows.attend_to(k[between.first], v[between.first]),
            rows.attend_to(k[between.last], v[between.last]),
            between.share,
        )
    out = new.new_empty(len(q), *new.shape[1:])
    out[moved] = new
    if others.numel():
        out[others] = attend(q[others], k[others], v[others])
    return out


def _mixed(first: Tensor, last: Tensor, share: Tensor) -> Tensor:
    """In float32: a share rounded to 16 bits would put frames where they do not belong."""
    share = share.reshape(-1, *[1] * (first.ndim - 1))
    return (first * (1 - share) + last * share).to(first.dtype)


@dataclass(frozen=True)
class _Rows:
    """The moved rows, and how they attend."""

    attend: Attend
    q: Tensor
    k: Tensor
    v: Tensor
    fused: bool

    def attend_to(self, k: Tensor, v: Tensor) -> Tensor:
        if self.fused:
            k, v = torch.cat([self.k, k], dim=-2), torch.cat([self.v, v], dim=-2)
        return self.attend(self.q, k, v)
