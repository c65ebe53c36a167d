"""Schedules against Stable Diffusion's published sigmas and against a hand-written recursion."""

from __future__ import annotations

import math

import pytest
import torch
from tolerance import EXACT

from smooth_lora.sampling.scale import (
    alpha_bar_to_sigma,
    per_sample,
    scaled_linear_alpha_bar,
    sigma_to_alpha_bar,
    ve_to_vp,
    vp_to_ve,
)


@pytest.mark.parametrize(("t", "sigma"), [(0, 0.02917), (1, 0.04131), (981, 13.1204), (999, 14.6146)])
def test_stable_diffusions_sigmas(t: int, sigma: float) -> None:
    """The values every SD1.x sampler shows, to the digits in which they are quoted."""
    assert alpha_bar_to_sigma(scaled_linear_alpha_bar())[t].item() == pytest.approx(sigma, rel=2e-4)


def test_three_steps_by_hand() -> None:
    kept = (1 - 0.01) * (1 - 0.04)  # sqrt(beta) 0.1, 0.2, 0.3
    expected = torch.tensor([0.99, kept, kept * (1 - 0.09)], dtype=torch.float64)
    torch.testing.assert_close(scaled_linear_alpha_bar(3, 0.01, 0.09), expected)


def test_there_and_back() -> None:
    alpha_bar = scaled_linear_alpha_bar()
    there_and_back = sigma_to_alpha_bar(alpha_bar_to_sigma(alpha_bar))
    # Near noise alpha_bar is .0047, and near data 1 - alpha_bar is .00085: three digits are lost at most.
    torch.testing.assert_close(there_and_back, alpha_bar, rtol=1000 * EXACT, atol=0)


def test_the_ends_are_exact() -> None:
    assert alpha_bar_to_sigma(torch.tensor([1.0])).item() == 0
    assert sigma_to_alpha_bar(torch.tensor([0.0])).item() == 1


def test_both_scales_hold_the_same_picture_and_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(2, 4, 3, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    sigma = torch.tensor([0.5, 7.0], dtype=torch.float64)
    x_ve = torch.stack([x0[b] + sigma[b] * eps[b] for b in range(2)])
    alpha_bar = [1 / (1 + 0.25), 1 / (1 + 49)]
    x_vp = torch.stack([math.sqrt(a) * x0[b] + math.sqrt(1 - a) * eps[b] for b, a in enumerate(alpha_bar)])
    torch.testing.assert_close(ve_to_vp(x_ve, sigma), x_vp)
    torch.testing.assert_close(vp_to_ve(x_vp, sigma), x_ve)


def test_per_sample_keeps_dtype_and_works_for_video() -> None:
    video = torch.zeros(2, 4, 3, 5, 5, dtype=torch.float16)
    values = per_sample(torch.tensor([1.0, 2.0], dtype=torch.float64), video)
    assert values.shape == (2, 1, 1, 1, 1)
    assert values.dtype == torch.float16


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="timesteps must be at least 1, got 0"):
        scaled_linear_alpha_bar(0)
    with pytest.raises(ValueError, match="betas must lie between 0 and 1, got 0.1 and 1.5"):
        scaled_linear_alpha_bar(10, 0.1, 1.5)


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.1, math.nan])
def test_alpha_bar_out_of_range(bad: float) -> None:
    with pytest.raises(ValueError, match=r"alpha_bar must lie in \(0, 1\]"):
        alpha_bar_to_sigma(torch.tensor([0.5, bad]))


@pytest.mark.parametrize("bad", [-1.0, math.inf, math.nan])
def test_sigma_out_of_range(bad: float) -> None:
    with pytest.raises(ValueError, match="sigma must be finite and not negative"):
        sigma_to_alpha_bar(torch.tensor([0.5, bad]))


def test_one_value_per_sample() -> None:
    with pytest.raises(ValueError, match=r"2 samples need one value each, got shape \(3,\)"):
        ve_to_vp(torch.zeros(2, 4), torch.ones(3))
