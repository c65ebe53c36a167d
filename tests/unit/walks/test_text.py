"""Token tensors that walk, against attention itself and hand computations."""

from __future__ import annotations

import math

import pytest
import torch
from tolerance import assert_rounds_to

from smooth_lora.walks.text import TextPath, common_length, repeat_to
from smooth_lora.walks.typed import parse_prompts
from smooth_lora.walks.walk import schedule


def tokens(count, width=16, seed=0, dtype=torch.float32):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def attention(queries, text):
    """Softmax cross-attention without a mask, text as keys and values."""
    return (queries @ text.T / math.sqrt(text.shape[1])).softmax(-1) @ text


def test_the_common_length_is_the_least_common_multiple():
    assert common_length([77]) == 77
    assert common_length([77, 154, 77]) == 154
    assert common_length([154, 231]) == 462
    assert common_length([4, 6, 10]) == 60


def test_whole_repetition_leaves_attention_as_it_was():
    text, queries = tokens(7, dtype=torch.float64), tokens(5, seed=1, dtype=torch.float64)
    assert_rounds_to(attention(queries, repeat_to(text, 21)), attention(queries, text))


def test_repetition_by_hand():
    text = torch.tensor([[1.0], [2.0]])
    assert repeat_to(text, 6).flatten().tolist() == [1, 2, 1, 2, 1, 2]
    assert repeat_to(text, 2) is text


@pytest.mark.parametrize("rule", ["lerp", "slerp"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_frames_on_keyframes_are_the_keyframes(rule, dtype):
    texts = [tokens(6, seed=k, dtype=dtype) for k in range(3)]
    frames = TextPath(texts, rule).at(schedule(9))
    assert frames.shape == (9, 6, 16)
    assert frames.dtype == dtype
    for k in range(3):
        assert torch.equal(frames[4 * k], texts[k])
    loop = TextPath(texts, rule).at(schedule(12, loop=True))
    for k in range(3):
        assert torch.equal(loop[4 * k], texts[k])


def test_lerp_by_hand():
    frames = TextPath([torch.tensor([[0.0, 2.0]]), torch.tensor([[4.0, 0.0]])], "lerp").at(schedule(5))
    assert frames[:, 0].tolist() == [[0.0, 2.0], [1.0, 1.5], [2.0, 1.0], [3.0, 0.5], [4.0, 0.0]]


def test_slerp_per_token_by_hand():
    # token 0 turns by 90 degrees, token 1 by 0, token 2 doubles its length
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    b = torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, 2.0]])
    middle = TextPath([a, b], "slerp").at(schedule(3))[1]
    expected = torch.tensor([[math.sqrt(0.5), math.sqrt(0.5)], [0.0, 1.0], [1.5, 1.5]])
    torch.testing.assert_close(middle, expected)


@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-4])
def test_slerp_of_tokens_that_are_equal_or_nearly_so(size):
    a = tokens(77, 768)
    b = a + size * tokens(77, 768, seed=1)
    frames = TextPath([a, b], "slerp").at(schedule(9))
    assert torch.isfinite(frames).all()
    torch.testing.assert_close(frames, torch.stack([a + k / 8 * (b - a) for k in range(9)]), atol=2e-6, rtol=0)


def test_zero_and_opposite_tokens_have_a_finite_path():
    a, b = tokens(4), tokens(4, seed=1)
    a[0], b[1], b[2] = 0, 0, -a[2]
    frames = TextPath([a, b], "slerp").at(schedule(9))
    assert torch.isfinite(frames).all()
    expected = torch.stack([(1 - k / 8) * a.norm(dim=1) + k / 8 * b.norm(dim=1) for k in range(9)])
    torch.testing.assert_close(frames.norm(dim=2), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", ["lerp", "slerp"])
def test_a_frame_alone_is_the_frame_in_the_batch_bit_for_bit(rule):
    walk = schedule(23, loop=True, easing="ease in", easing_over="segment")
    path = TextPath([tokens(7, 24, k) for k in range(4)], rule)
    together = path.at(walk)
    for k in range(23):
        assert torch.equal(path.at(walk.select([k]))[0], together[k])


def test_texts_of_different_length_meet_at_the_common_multiple():
    short, long = tokens(4), tokens(6, seed=1)
    path = TextPath([short, long], "lerp")
    assert path.length == 12
    frames = path.at(schedule(3))
    assert torch.equal(frames[0], short.repeat(3, 1))
    assert torch.equal(frames[2], long.repeat(2, 1))
    torch.testing.assert_close(frames[1], (short.repeat(3, 1) + long.repeat(2, 1)) / 2)


def test_one_text_is_the_same_in_every_frame():
    text = tokens(5)
    assert torch.equal(TextPath([text]).at(schedule(4)), text.expand(4, -1, -1))


def test_the_widest_precision_is_kept():
    frames = TextPath([tokens(3, dtype=torch.float16), tokens(3, seed=1)]).at(schedule(3))
    assert frames.dtype == torch.float32
    assert torch.equal(frames[2], tokens(3, seed=1))


def test_keyframes_are_not_changed():
    texts = [tokens(4), tokens(6, seed=1)]
    copies = [t.clone() for t in texts]
    TextPath(texts, "slerp").at(schedule(3)).zero_()
    assert all(torch.equal(t, c) for t, c in zip(texts, copies, strict=True))


def test_prompts_one_per_line():
    assert parse_prompts("a cat\n\n  a dog \r\n\t\n") == ("a cat", "a dog")
    assert parse_prompts("a cat") == ("a cat",)
    assert parse_prompts("a cat\na cat") == ("a cat", "a cat")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "prompts is empty; write at least one prompt, one per line"),
        (" \n\t\n ", "prompts is empty"),
        ("x\n" * 101, "a prompt walk needs 1 to 100 prompts, got 101 lines"),
    ],
)
def test_bad_prompts(text, message):
    with pytest.raises(ValueError, match=message):
        parse_prompts(text)


def test_lengths_that_never_meet():
    with pytest.raises(ValueError, match="prompts of 385, 539, 616 tokens only meet at 21560 tokens"):
        common_length([385, 539, 616])


def test_a_length_that_is_no_multiple():
    with pytest.raises(ValueError, match="a text of 4 tokens cannot be repeated to 6"):
        repeat_to(tokens(4), 6)


def test_widths_that_differ():
    with pytest.raises(ValueError, match="text 2 is 8 wide, but text 1 is 16 wide"):
        TextPath([tokens(4), tokens(4, 8)])


def test_text_that_is_not_finite():
    bad = tokens(4)
    bad[1, 2] = float("nan")
    with pytest.raises(ValueError, match="text 2 holds 1 NaN or infinite values"):
        TextPath([tokens(4), bad])


def test_unknown_text_path():
    with pytest.raises(ValueError, match="text path must be one of lerp, slerp; got 'nlerp'"):
        TextPath([tokens(4), tokens(4)], "nlerp")
