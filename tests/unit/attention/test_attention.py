"""Attention interpolation against the formulas written out in numpy, row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tolerance import assert_rounds_to

from smooth_lora.attention.between import Between, interpolated_attention
from smooth_lora.walks.walk import Walk, schedule, with_ends

SHAPE = (7, 5, 8)  # rows, tokens, features
SHARES = torch.float32  # how near a row is to either end, whatever the type of the rows


def attend(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def softmax_attention(q, k, v) -> np.ndarray:
    logits = q @ k.T / np.sqrt(q.shape[-1])
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True) @ v


def by_hand(q, k, v, row: int, first: int, last: int, t: float, kind: str, fused: bool) -> np.ndarray:
    def joined(own, other):
        return np.concatenate([own, other]) if fused else other

    if kind == "inner":
        return softmax_attention(
            q[row], joined(k[row], (1 - t) * k[first] + t * k[last]), joined(v[row], (1 - t) * v[first] + t * v[last])
        )
    return sum(
        share * softmax_attention(q[row], joined(k[row], k[end]), joined(v[row], v[end]))
        for share, end in ((1 - t, first), (t, last))
    )


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", ["inner", "outer"])
def test_every_row_is_the_formula(qkv, kind, fused):
    walk = schedule(7)  # of three keyframes: rows 0, 3 and 6 lie on them
    between = Between.of(walk, 3, [True])
    out = interpolated_attention(attend, *qkv, between=between, kind=kind, fused=fused)
    q, k, v = (x.numpy() for x in qkv)
    for row, (first, last, t) in {1: (0, 3, 1 / 3), 2: (0, 3, 2 / 3), 4: (3, 6, 1 / 3), 5: (3, 6, 2 / 3)}.items():
        assert_rounds_to(out[row], by_hand(q, k, v, row, first, last, t, kind, fused), dtype=SHARES)
    for row in (0, 3, 6):
        assert_rounds_to(out[row], softmax_attention(q[row], k[row], v[row]))


@pytest.mark.parametrize("kind", ["inner", "outer"])
def test_at_the_ends_it_is_the_attention_of_the_ends(qkv, kind):
    """Without the row's own keys, a row very near an end attends as if it were that end's."""
    for near, end in ((1e-9, 0), (1 - 1e-9, 2)):
        between = Between.of(Walk((0.0, near, 1.0), (0, 1, 2), 3), 2, [True])
        out = interpolated_attention(attend, *(x[:3] for x in qkv), between=between, kind=kind, fused=False)
        expected = attend(qkv[0][1:2], qkv[1][end : end + 1], qkv[2][end : end + 1])
        assert_rounds_to(out[1:2], expected, dtype=SHARES)


@pytest.mark.parametrize("kind", ["inner", "outer"])
def test_equal_rows_stay_what_they_are(qkv, kind):
    q = qkv[0]
    k, v = (x[:1].expand(SHAPE) for x in qkv[1:])
    for fused in (True, False):
        out = interpolated_attention(
            attend, q, k, v, between=Between.of(schedule(7), 2, [True]), kind=kind, fused=fused
        )
        assert_rounds_to(out, attend(q, k, v), dtype=SHARES)


def test_groups_that_are_left_out_are_plain_attention(qkv):
    q, k, v = (x[:6] for x in qkv)
    walk = schedule(3)
    out = interpolated_attention(attend, q, k, v, between=Between.of(walk, 2, [False, True]))
    assert_rounds_to(out[:3], attend(q[:3], k[:3], v[:3]))  # a batch of another size
    alone = interpolated_attention(attend, q[3:], k[3:], v[3:], between=Between.of(walk, 2, [True]))
    assert_rounds_to(out[3:], alone)


def test_rows_of_a_loop_lie_between_the_last_keyframe_and_the_first():
    between = Between.of(Walk((0.0, 0.5, 0.75), (0, 1, 2), 4, loop=True), 2, [True])
    assert between.moved.tolist() == [2]
    assert (between.first.tolist(), between.last.tolist(), between.share.tolist()) == ([1], [0], [0.5])


def test_a_keyframe_without_a_frame_is_named():
    with pytest.raises(ValueError, match="no frame of the batch lies on keyframe 2"):
        Between.of(schedule(4), 3, [True])


def test_sixteen_bit_rows_are_mixed_in_32(qkv):
    """A share of 0.501 is 0.5 in bfloat16; the mix must know the difference."""
    rows = torch.zeros(3, 1, 1, dtype=torch.bfloat16)
    rows[2] = 1024.0
    between = Between.of(Walk((0.0, 0.501, 1.0), (0, 1, 2), 3), 2, [True])
    out = interpolated_attention(lambda q, k, v: v, rows, rows, rows, between=between, fused=False)
    assert out[1].item() == torch.tensor(513.024).bfloat16().item() and out.dtype == torch.bfloat16
    assert torch.tensor(0.501).bfloat16().item() * 1024 != pytest.approx(513.024, abs=0.5)


@pytest.mark.parametrize(
    "walk, keyframes, expected",
    [
        (Walk((0.1, 0.4), (1, 2), 10), 3, (0.0, 0.5)),
        (Walk((0.4, 0.6), (4, 6), 10), 3, (0.0, 0.5, 1.0)),
        (Walk((0.0, 0.25), (0, 1), 10), 2, (1.0,)),
        (Walk((0.0, 0.5), (0, 5), 10), 3, ()),
        (Walk((0.9,), (9,), 10, loop=True), 2, (0.0, 0.5)),
        (Walk((0.3,), (3,), 10), 1, ()),
    ],
)
def test_the_keyframes_around_frames(walk, keyframes, expected):
    ended = with_ends(walk, keyframes)
    assert ended.frac == (*walk.frac, *expected)
    assert ended.numbers[: len(walk)] == walk.numbers and len(set(ended.numbers)) == len(ended)
    assert min(ended.numbers[len(walk) :], default=walk.total) >= walk.total
