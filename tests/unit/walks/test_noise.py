"""Noise paths against what the host draws and closed forms, and with keyframes degenerate in every way."""

from __future__ import annotations

import math

import pytest
import torch
from tolerance import EXACT, assert_rounds_to

from smooth_lora.walks.easing import EASINGS
from smooth_lora.walks.noise import PATH_RULES, NoisePath, content_seed, require_unit_noise, seed_noise
from smooth_lora.walks.walk import Walk, schedule

SHAPES = [(4, 8, 8), (16, 6, 10), (16, 3, 5, 6)]


def keyframes(count, shape=(4, 8, 8), dtype=torch.float32):
    return torch.cat([seed_noise(seed, shape) for seed in range(count)]).to(dtype)


@pytest.mark.parametrize("seed", [0, 12, 2**32, 2**63, 2**64 - 1])
def test_a_seed_gives_what_torch_draws_after_manual_seed(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = torch.randn(1, 4, 8, 8)
    assert torch.equal(seed_noise(seed, (4, 8, 8)), expected)


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    NoisePath(torch.cat([seed_noise(1, (4, 8, 8)), -seed_noise(1, (4, 8, 8))])).at(schedule(3))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("rule", PATH_RULES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loop", [False, True])
def test_a_frame_alone_is_the_frame_in_the_batch_bit_for_bit(rule, shape, loop):
    walk = schedule(29, loop=loop, easing="ease in and out")
    path = NoisePath(keyframes(4, shape), rule)
    together = path.at(walk)
    assert together.shape == (29, *shape)
    for k in range(29):
        assert torch.equal(path.at(walk.select([k]))[0], together[k])
    assert torch.equal(path.at(walk.select([20, 3, 11])), together[[20, 3, 11]])
    assert torch.equal(NoisePath(keyframes(4, shape), rule).at(walk), together)


@pytest.mark.parametrize("rule", PATH_RULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_frames_on_keyframes_are_the_keyframes(rule, dtype, count):
    rows = keyframes(count, dtype=dtype)
    path = NoisePath(rows, rule)
    open_walk = path.at(schedule(4 * (count - 1) + 1))
    assert open_walk.dtype == dtype
    assert torch.equal(open_walk[::4], rows)
    assert torch.equal(path.at(schedule(4 * count, loop=True))[::4], rows)


@pytest.mark.parametrize("rule", PATH_RULES)
@pytest.mark.parametrize("count", [2, 3, 17, 100])
def test_noise_stays_noise(rule, count):
    frames = NoisePath(keyframes(count, (4, 16, 16)), rule).at(schedule(64, loop=True))
    assert torch.isfinite(frames).all()
    # a keyframe of n elements has a std of 1 +- 1 / sqrt(2 n), here 0.022; 5 of them
    assert ((frames.flatten(1).std(1) - 1).abs() < 5 / math.sqrt(2 * 1024)).all()


@pytest.mark.parametrize("rule", PATH_RULES)
@pytest.mark.parametrize("easing", EASINGS)
def test_a_loop_closes(rule, easing):
    """The position of frame `total`, were it rendered, gives frame 0."""
    rows = keyframes(3, dtype=torch.float64)
    beyond = Walk(frac=(0.0, 1.0, 1 - 1e-12), numbers=(0, 9, 9), total=9, loop=True, segment_easings=(easing,))
    first, after, nearly = NoisePath(rows, rule).at(beyond)
    assert torch.equal(first, after)
    torch.testing.assert_close(nearly, first, atol=1e-6, rtol=0)


def test_slerp_by_hand():
    rows = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
    frames = NoisePath(rows, "slerp").at(schedule(4))
    expected = [
        [r * math.cos(a), r * math.sin(a)]
        for r, a in ((2, 0), (8 / 3, math.pi / 6), (10 / 3, math.pi / 3), (4, math.pi / 2))
    ]
    torch.testing.assert_close(frames, torch.tensor(expected))


def test_slerp_steps_are_equal():
    rows = keyframes(3, (4, 32, 32), torch.float64)
    rows = rows / rows.flatten(1).norm(dim=1)[:, None, None, None]
    frames = NoisePath(rows, "slerp").at(schedule(21)).flatten(1)
    steps = (frames[1:] - frames[:-1]).norm(dim=1)
    # within a segment, up to the rounding of lengths of 1; the two segments differ by the noises' chance angle
    assert steps[:10].std() < EXACT
    assert steps[10:].std() < EXACT
    assert steps.max() / steps.min() < 1.05


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_variance_exact_has_the_variance_between_its_keyframes(rho):
    common = seed_noise(0, (4, 16, 16)).double()
    rows = torch.cat(
        [math.sqrt(rho) * common + math.sqrt(1 - rho) * seed_noise(k, (4, 16, 16)).double() for k in (1, 2, 3)]
    )
    frames = NoisePath(rows, "variance_exact").at(schedule(9)).flatten(1)
    stds, means = rows.flatten(1).std(1, unbiased=False), rows.flatten(1).mean(1)
    share = torch.tensor([0.0, 0.25, 0.5, 0.75], dtype=torch.float64)
    for first in (0, 1):
        found = frames[4 * first : 4 * first + 4]
        torch.testing.assert_close(
            found.std(1, unbiased=False),
            (1 - share) * stds[first] + share * stds[first + 1],
            rtol=4 * EXACT,  # of three moments, each rounded, whose sums cancel where keyframes correlate
            atol=0,
        )
        torch.testing.assert_close(
            found.mean(1), (1 - share) * means[first] + share * means[first + 1], rtol=0, atol=EXACT
        )


def test_variance_exact_by_hand():
    # mean 0, std 1, uncorrelated: at the middle (a + b) / sqrt(2)
    a, b = torch.tensor([1.0, 1.0, -1.0, -1.0]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    frames = NoisePath(torch.stack([a, b]), "variance_exact").at(schedule(3))
    torch.testing.assert_close(frames[1], (a + b) / math.sqrt(2))


@pytest.mark.parametrize("rule", PATH_RULES)
def test_one_keyframe_is_the_same_noise_everywhere(rule):
    rows = keyframes(1)
    frames = NoisePath(rows, rule).at(schedule(5))
    assert torch.equal(frames, rows.expand(5, -1, -1, -1))


@pytest.mark.parametrize("rule", PATH_RULES)
def test_identical_keyframes_stand_still(rule):
    row = seed_noise(5, (4, 8, 8))
    frames = NoisePath(torch.cat([row, row.clone(), row.clone()]), rule).at(schedule(9))
    assert_rounds_to(frames, row.expand(9, -1, -1, -1))


@pytest.mark.parametrize("rule", PATH_RULES)
@pytest.mark.parametrize("loop", [False, True])
def test_opposite_keyframes_stay_noise(rule, loop):
    row = seed_noise(5, (4, 16, 16))
    frames = NoisePath(torch.cat([row, -row, seed_noise(6, (4, 16, 16))]), rule).at(schedule(30, loop=loop))
    assert torch.isfinite(frames).all()
    assert ((frames.flatten(1).std(1) - 1).abs() < 0.12).all()
    steps = (frames[1:] - frames[:-1]).flatten(1).norm(dim=1)
    assert steps.max() < 3 * steps.mean()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)])
@pytest.mark.parametrize("rule", PATH_RULES)
def test_half_precision_follows_float32(rule, dtype, tolerance):
    rows = keyframes(3, dtype=dtype)
    found, expected = (NoisePath(r, rule).at(schedule(7)) for r in (rows, rows.float()))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("rule", PATH_RULES)
def test_keyframes_are_not_changed(rule):
    rows = keyframes(3)
    copy = rows.clone()
    path = NoisePath(rows, rule)
    path.at(schedule(7)).zero_()
    assert torch.equal(rows, copy)
    assert torch.equal(path.at(schedule(7))[0], copy[0])


@pytest.mark.parametrize("rule", PATH_RULES)
def test_it_works_under_inference_mode(rule):
    rows = keyframes(3)
    outside = NoisePath(rows, rule).at(schedule(7))
    with torch.inference_mode():
        assert torch.equal(NoisePath(keyframes(3), rule).at(schedule(7)), outside)


@pytest.mark.parametrize("rule", PATH_RULES)
@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda row: row.fill_(0), "keyframe 2 is all zeros, which is no noise and has no direction"),
        (lambda row: row[0, 0, 0].fill_(float("nan")), "keyframe 2 holds NaN or infinite values"),
        (lambda row: row[0, 0, 0].fill_(float("inf")), "keyframe 2 holds NaN or infinite values"),
    ],
)
def test_unusable_keyframes_are_named(rule, spoil, message):
    rows = keyframes(3)
    spoil(rows[1])
    with pytest.raises(ValueError, match=message):
        NoisePath(rows, rule)


def test_constant_keyframes_have_no_variance_to_keep():
    with pytest.raises(ValueError, match="variance exact: the second has the same value everywhere"):
        NoisePath(
            torch.cat([keyframes(1), torch.ones(1, 4, 8, 8)]), "variance_exact", names=["the first", "the second"]
        )


def test_unknown_rule():
    with pytest.raises(ValueError, match="path must be one of slerp, spline, variance_exact; got 'cubic'"):
        NoisePath(keyframes(2), "cubic")


@pytest.mark.parametrize("std", [0.81, 1.0, 1.24])
def test_unit_noise_is_accepted(std):
    require_unit_noise("it", std * seed_noise(3, (4, 64, 64))[0])


@pytest.mark.parametrize(
    "sample, message",
    [
        (
            0.5 * seed_noise(3, (4, 64, 64))[0],
            "it has a standard deviation of 0.50.*0.8 to 1.25.*must be inverted to noise",
        ),
        (14.6 * seed_noise(3, (4, 64, 64))[0], "it has a standard deviation of 14.7"),
        (
            torch.zeros(4, 8, 8),
            "it is all zeros: an empty latent holds no noise; wire a Random Noise or an inverted picture",
        ),
        (torch.full((4, 8, 8), float("nan")), "it holds 256 NaN or infinite values"),
    ],
)
def test_anything_else_is_not(sample, message):
    with pytest.raises(ValueError, match=message):
        require_unit_noise("it", sample)


def test_a_content_seed_depends_on_the_content_alone():
    row = seed_noise(3, (4, 8, 8))
    assert (
        content_seed(row)
        == content_seed(row.clone().double())
        == content_seed(row.transpose(1, 2).contiguous().transpose(1, 2))
    )
    other = row.clone()
    other[0, 0, 0, 0] += 1e-6 * other[0, 0, 0, 0].abs().clamp(min=1)
    assert content_seed(row) != content_seed(other)
    assert content_seed(row) != content_seed(row.reshape(1, 8, 4, 8))
    assert 0 <= content_seed(row) < 2**64
