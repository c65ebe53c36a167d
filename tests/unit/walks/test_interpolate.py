"""Straight lines, great circles and variance-exact mixes against closed forms and hand computations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tolerance import EXACT, STEPS, assert_rounds_to

from smooth_lora.walks.arc import angle_of, detour, lerp, slerp, slerp_weights
from smooth_lora.walks.mixing import Moments, blend, variance_exact

SHAPES = [(2, 4, 8, 8), (1, 16, 6, 10), (2, 4, 3, 5, 6)]


def noise(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def correlated(rho, shape=(1, 4, 32, 32), count=2):
    """`count` samples whose elements correlate by rho in expectation."""
    common = noise(shape, 1, torch.float64)
    rows = [math.sqrt(rho) * common + math.sqrt(1 - rho) * noise(shape, 10 + k, torch.float64) for k in range(count)]
    return torch.cat(rows)


def test_weights_of_a_right_angle_at_the_middle():
    first, second = slerp_weights(math.pi / 2, 0.5)
    assert (first, second) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)), rel=EXACT)


def test_weights_by_hand_at_sixty_degrees():
    first, second = slerp_weights(math.radians(60), 1 / 3)
    assert first == pytest.approx(math.sin(math.radians(40)) / math.sin(math.radians(60)), rel=EXACT)
    assert second == pytest.approx(math.sin(math.radians(20)) / math.sin(math.radians(60)), rel=EXACT)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-9, 0.3, 1.0, math.pi / 2, 3.0, math.pi - 1e-3])
def test_weights_are_exact_at_the_ends(angle):
    assert tuple(map(float, slerp_weights(angle, 0.0))) == (1.0, 0.0)
    assert tuple(map(float, slerp_weights(angle, 1.0))) == (0.0, 1.0)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-6])
def test_weights_of_parallel_vectors_are_the_straight_line(angle):
    assert tuple(map(float, slerp_weights(angle, 0.3))) == pytest.approx((0.7, 0.3), abs=1e-12)


def test_weights_take_arrays():
    first, second = slerp_weights(np.array([0.0, math.pi / 2]), 0.5)
    assert first == pytest.approx([0.5, math.sqrt(0.5)])
    assert second == pytest.approx([0.5, math.sqrt(0.5)])


def test_angle_of_rounded_cosines():
    assert angle_of(1.0 + 1e-15) == 0.0
    assert (angle_of(-1.0 - 1e-15), angle_of(0.0)) == pytest.approx((math.pi, math.pi / 2), rel=EXACT)


@pytest.mark.parametrize("turn", [10.0, 90.0, 170.0])
@pytest.mark.parametrize("frac", [0.1, 0.5, 0.75])
def test_slerp_in_the_plane_is_a_rotation(turn, frac):
    a = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    omega = math.radians(turn)
    b = torch.tensor([[math.cos(omega), math.sin(omega)]], dtype=torch.float64)
    expected = torch.tensor([[math.cos(frac * omega), math.sin(frac * omega)]], dtype=torch.float64)
    # The angle's sine divides both shares, and near 180 degrees they cancel.
    assert_rounds_to(slerp(a, b, frac), expected, STEPS / math.sin(omega))


def test_slerp_interpolates_the_length():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    torch.testing.assert_close(slerp(a, b, 0.5), torch.tensor([[3.0, 3.0]]) / math.sqrt(2))


def test_slerp_has_one_angle_per_sample_not_per_channel():
    # channel 0 turns by 90 degrees, channel 1 stands still: together cos = 1/2, so 60 degrees
    a = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    b = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    weight = math.sin(math.radians(30)) / math.sin(math.radians(60))
    torch.testing.assert_close(slerp(a, b, 0.5), weight * (a + b))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_slerp_ends_are_the_inputs_bit_for_bit(shape, dtype):
    a, b = noise(shape, 1, dtype), 1.1 * noise(shape, 2, dtype)
    assert torch.equal(slerp(a, b, 0.0), a)
    assert torch.equal(slerp(a, b, 1.0), b)
    assert slerp(a, b, 0.4).dtype == dtype


@pytest.mark.parametrize("shape", SHAPES)
def test_slerp_keeps_the_length_of_noise(shape):
    a, b = noise(shape, 1), noise(shape, 2)
    for frac in (0.25, 0.5, 0.9):
        expected = (1 - frac) * a.flatten(1).norm(dim=1) + frac * b.flatten(1).norm(dim=1)
        torch.testing.assert_close(slerp(a, b, frac).flatten(1).norm(dim=1), expected)


def test_slerp_turns_at_constant_speed():
    a, b = noise((1, 4, 16, 16), 1, torch.float64), noise((1, 4, 16, 16), 2, torch.float64)
    frames = torch.cat([slerp(a, b, k / 10) for k in range(11)]).flatten(1)
    frames = frames / frames.norm(dim=1, keepdim=True)
    angles = torch.acos((frames[1:] * frames[:-1]).sum(1))
    # The roundings of both lengths and of the cosine, divided by the sine of its angle.
    torch.testing.assert_close(angles, angles[:1].expand(10), atol=4 * EXACT / float(angles[0].sin()), rtol=0)


def test_slerp_of_a_batch_is_slerp_of_its_samples():
    a, b = noise((3, 4, 8, 8), 1), noise((3, 4, 8, 8), 2)
    b[1] = a[1]
    b[2] = -a[2]
    together = slerp(a, b, 0.3)
    for k in range(3):
        assert_rounds_to(together[k : k + 1], slerp(a[k : k + 1], b[k : k + 1], 0.3))


@pytest.mark.parametrize(
    "dtype, tolerance", [(torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)]
)  # 2 and 2 units of rounding at 2
def test_slerp_in_half_precision_follows_float32(dtype, tolerance):
    a, b = noise((1, 4, 8, 8), 1, dtype), noise((1, 4, 8, 8), 2, dtype)
    torch.testing.assert_close(slerp(a, b, 0.3).float(), slerp(a.float(), b.float(), 0.3), atol=tolerance, rtol=0)


def test_slerp_per_token():
    a, b = noise((5, 7), 1), noise((5, 7), 2)
    b[3] = a[3]
    out = slerp(a, b, 0.35, start_dim=-1)
    for token in range(5):
        torch.testing.assert_close(out[token], slerp(a[token][None], b[token][None], 0.35)[0])
    torch.testing.assert_close(out[3], a[3])


def test_slerp_changes_no_input():
    a, b = noise((2, 4, 4, 4), 1), noise((2, 4, 4, 4), 2)
    b[1] = -a[1]
    copies = a.clone(), b.clone()
    slerp(a, b, 0.3)
    assert torch.equal(a, copies[0])
    assert torch.equal(b, copies[1])


def test_slerp_of_identical_tensors_is_that_tensor():
    a = noise((2, 4, 8, 8), 3)
    assert_rounds_to(slerp(a, a.clone(), 0.37), a)


def test_slerp_of_parallel_tensors_is_the_straight_line():
    a = noise((1, 4, 8, 8), 3)
    torch.testing.assert_close(slerp(a, 3 * a, 0.25), 1.5 * a)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-8])
def test_slerp_of_nearly_parallel_tensors_stays_between_them(size):
    a = noise((1, 4, 8, 8), 3, torch.float64)
    b = a + size * noise((1, 4, 8, 8), 4, torch.float64)
    # The arc's height over its chord falls with the square of their distance.
    close = size**2 + EXACT * float(a.abs().max())
    torch.testing.assert_close(slerp(a, b, 0.5), (a + b) / 2, atol=close, rtol=0)


@pytest.mark.parametrize("scale", [-1.0, -2.0, -3.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_slerp_of_opposite_tensors_goes_around(scale, dtype):
    a = noise((1, 4, 8, 8), 3, dtype)
    b = scale * a
    frames = torch.cat([slerp(a, b, k / 8) for k in range(9)]).double().flatten(1)
    assert torch.isfinite(frames).all()
    lengths = frames.norm(dim=1)
    expected = a.double().norm() * torch.linspace(1, -scale, 9, dtype=torch.float64)
    torch.testing.assert_close(lengths, expected, rtol=2e-3, atol=0)
    units = frames / lengths[:, None]
    # 0, 22.5, ... 180 degrees away from the start
    degrees = torch.rad2deg(torch.acos((units @ units[0]).clamp(-1, 1)))
    torch.testing.assert_close(degrees, torch.linspace(0, 180, 9, dtype=torch.float64), atol=2.0, rtol=0)
    assert torch.equal(slerp(a, b, 0.5), slerp(a, b, 0.5))


def test_slerp_of_opposite_noise_passes_through_noise():
    a = noise((1, 4, 32, 32), 3)
    middle = slerp(a, -a, 0.5)
    assert middle.std().item() == pytest.approx(a.std().item(), rel=0.02)
    assert abs(middle.mean().item()) < 0.05
    assert (middle.double() ** 4).mean().item() == pytest.approx(3.0, abs=0.4)  # kurtosis of a normal distribution


def test_slerp_of_nearly_opposite_tensors_is_finite_and_on_the_circle():
    a = noise((1, 4, 8, 8), 3, torch.float64)
    for size in (1e-2, 1e-4, 1e-6, 1e-10):
        b = -a + size * noise((1, 4, 8, 8), 4, torch.float64)
        middle = slerp(a.float(), b.float(), 0.5)
        assert middle.norm().item() == pytest.approx((a.norm() + b.norm()).item() / 2, rel=1e-3)


def test_slerp_with_a_zero_tensor_is_the_straight_line():
    a, zero = noise((1, 4, 8, 8), 3), torch.zeros(1, 4, 8, 8)
    torch.testing.assert_close(slerp(zero, a, 0.25), 0.25 * a)
    torch.testing.assert_close(slerp(a, zero, 0.25), 0.75 * a)
    assert torch.equal(slerp(zero, zero, 0.25), zero)


def test_slerp_of_rows_that_are_each_degenerate_in_another_way():
    a = noise((5, 16), 3)
    b = noise((5, 16), 4)
    a[0], b[1], b[2], b[3] = 0, 0, a[2], -a[3]
    for frac in (0.0, 0.2, 0.5, 0.8, 1.0):
        out = slerp(a, b, frac)
        assert torch.isfinite(out).all()
        torch.testing.assert_close(
            out.norm(dim=1), (1 - frac) * a.norm(dim=1) + frac * b.norm(dim=1), rtol=1e-4, atol=1e-6
        )


def test_slerp_refuses_opposite_numbers():
    with pytest.raises(ValueError, match="opposite vectors of a single element have no path around zero"):
        slerp(torch.tensor([[1.0]]), torch.tensor([[-1.0]]), 0.5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_slerp_refuses_what_is_not_finite(bad):
    a = noise((1, 4, 4, 4), 1)
    b = a.clone()
    b[0, 0, 0, 0] = bad
    with pytest.raises(ValueError, match="slerp: b holds 1 NaN or infinite values"):
        slerp(a, b, 0.5)


@pytest.mark.parametrize("combine", [slerp, lerp])
def test_shapes_must_agree(combine):
    with pytest.raises(ValueError, match=r"shapes must be equal, got a \(1, 4, 64, 64\) and b \(1, 4, 96, 96\)"):
        combine(torch.zeros(1, 4, 64, 64), torch.zeros(1, 4, 96, 96), 0.5)


def test_lerp_by_hand_and_at_the_ends():
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -2.0])
    torch.testing.assert_close(lerp(a, b, 0.25), torch.tensor([1.5, 1.0]))
    a, b = noise((3, 5), 1, torch.float16), noise((3, 5), 2, torch.float16)
    assert torch.equal(lerp(a, b, 0.0), a)
    assert torch.equal(lerp(a, b, 1.0), b)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_variance_is_exact_for_correlated_keyframes(rho, count):
    keyframes = correlated(rho, count=count)
    weights = torch.rand(5, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights[2:, 0] *= -1
    mixes = variance_exact(keyframes, weights).flatten(1)
    share = weights.abs() / weights.abs().sum(1, keepdim=True)
    flat = keyframes.flatten(1)
    torch.testing.assert_close(mixes.std(1, unbiased=False), share @ flat.std(1, unbiased=False), rtol=1e-12, atol=0)
    torch.testing.assert_close(mixes.mean(1), share @ flat.mean(1), atol=1e-12, rtol=0)


def test_measured_correlation_matters():
    """Taking correlated keyframes for independent ones, as the plain formula does, misses by a quarter."""
    a, b = correlated(0.6).flatten(1)
    plain = (a + b) / math.sqrt(2)
    assert plain.std().item() == pytest.approx(1.26, abs=0.03)
    exact = variance_exact(torch.stack([a, b]), torch.tensor([[1.0, 1.0]]))
    assert exact.std(unbiased=False).item() == pytest.approx(
        (a.std(unbiased=False) + b.std(unbiased=False)).item() / 2, rel=1e-12
    )


def test_independent_keyframes_give_the_plain_combination():
    keyframes = torch.cat([noise((1, 4, 64, 64), k) for k in range(3)])
    weights = torch.tensor([[0.5, 0.3, 0.2]])
    plain = (weights[0, :, None] * keyframes.flatten(1)).sum(0) / weights.norm()
    # the two differ by the chance correlation of 16384 elements, of order 1 / 128
    torch.testing.assert_close(variance_exact(keyframes, weights).flatten(), plain, atol=0.1, rtol=0)


def test_a_mix_of_one_is_that_keyframe():
    keyframes = noise((3, 4, 8, 8), 1, torch.float16)
    assert torch.equal(variance_exact(keyframes, torch.eye(3)), keyframes)
    assert torch.equal(variance_exact(keyframes, torch.tensor([[0.0, 7.0, 0.0]]))[0], keyframes[1])


def test_a_negative_weight_leads_away():
    keyframes = noise((2, 4, 16, 16), 3)
    mix = variance_exact(keyframes, torch.tensor([[1.0, -0.5]])).flatten()
    likeness = torch.corrcoef(torch.cat([mix[None], keyframes.flatten(1)]))[0, 1:]
    assert likeness[0] == pytest.approx(1 / math.hypot(1, 0.5), abs=0.05)
    assert likeness[1] == pytest.approx(-0.5 / math.hypot(1, 0.5), abs=0.05)


def test_a_negative_weight_alone_turns_the_keyframe_around():
    keyframes = noise((2, 4, 8, 8), 1)
    mix = variance_exact(keyframes, torch.tensor([[-2.0, 0.0]]))[0]
    assert_rounds_to(mix, 2 * keyframes[0].mean() - keyframes[0])


def test_only_the_ratio_of_weights_matters():
    keyframes, weights = noise((3, 4, 8, 8), 1), torch.tensor([[1.0, 2.0, 3.0]])
    torch.testing.assert_close(variance_exact(keyframes, weights), variance_exact(keyframes, 50 * weights))


def test_channel_means_are_kept():
    keyframes = noise((2, 4, 8, 8), 1) + torch.tensor([3.0, -1.0])[:, None, None, None]
    mix = variance_exact(keyframes, torch.tensor([[1.0, 3.0]]))
    expected = 0.25 * keyframes[0].mean() + 0.75 * keyframes[1].mean()
    assert mix.mean().item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    "weights, message",
    [
        (torch.ones(2, 3), r"weights must be \[N, 2\], got \[2, 3\]"),
        (torch.tensor([[0.0, 0.0]]), "every mix needs one that is not 0"),
        (torch.tensor([[1.0, float("inf")]]), "weights must be finite"),
        (torch.tensor([[1.0, float("nan")]]), "weights must be finite"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        variance_exact(noise((2, 4, 4, 4)), weights)


def test_keyframes_that_cancel():
    a = noise((1, 4, 4, 4))
    with pytest.raises(ValueError, match="the weighted keyframes cancel each other"):
        variance_exact(torch.cat([a, -a]), torch.tensor([[1.0, 1.0]]))


def test_constant_keyframes():
    with pytest.raises(ValueError, match="keyframe 2 has the same value everywhere"):
        variance_exact(torch.cat([noise((1, 4, 4, 4)), torch.full((1, 4, 4, 4), 0.7)]), torch.tensor([[1.0, 1.0]]))


def test_moments_of_long_vectors_in_one_pass():
    rows = noise((3, 600_000), 5) + torch.tensor([[0.0], [0.5], [-2.0]])
    moments, wide = Moments.of(rows), rows.double().numpy()
    assert moments.mean == pytest.approx(wide.mean(1), rel=1e-12)
    assert moments.length == pytest.approx(np.linalg.norm(wide, axis=1), rel=1e-12)
    assert moments.std == pytest.approx(wide.std(1), rel=1e-12)
    assert moments.correlation == pytest.approx(np.corrcoef(wide), abs=1e-12)


def test_blend_by_hand():
    rows = torch.tensor([[1.0, 2.0], [10.0, 20.0]])
    out = blend(rows, [({0: 2.0}, 0.0), ({0: 1.0, 1: -0.5}, 3.0)])
    assert out.tolist() == [[2.0, 4.0], [-1.0, -5.0]]


def test_the_detour_never_changes():
    assert torch.equal(detour(1000), detour(1000))
    assert detour(100_000).std().item() == pytest.approx(1.0, abs=0.01)
