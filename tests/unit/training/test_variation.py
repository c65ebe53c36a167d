"""The variation against closed forms and the paper's own form; double backward against differences."""

from __future__ import annotations

import pytest
import torch
from tolerance import EXACT
from torch import Tensor

from smooth_lora.training.variation import step_variation, updated_mean, variation_penalty

SHAPE = (3, 4, 5, 5)
SIGMA = torch.tensor([0.1, 1.0, 9.0], dtype=torch.float64)


def _noise(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _gaussian_denoiser(std: float):
    """The exact denoiser of data distributed as N(0, std^2)."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        variance = sigma[:, None, None, None] ** 2
        return x * std**2 / (std**2 + variance)

    return denoise


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_gaussian_data(std: float) -> None:
    """J is a multiple of the identity there, so r is known in closed form."""
    probe = _noise(1)
    _, r = step_variation(_gaussian_denoiser(std), _noise(0), SIGMA, probe)
    length = probe.flatten(1).norm(dim=1) / (4 * 5 * 5) ** 0.5
    expected = SIGMA**2 / (1 + SIGMA**2).sqrt() * std**2 / (std**2 + SIGMA**2) * length
    torch.testing.assert_close(r, expected, rtol=EXACT, atol=0)


def test_it_is_the_papers_quantity() -> None:
    """In the paper's own scale: |grad_eps <x0_hat, w>| with w = sqrt(1 - alpha_bar) n / sqrt(CHW)."""
    matrix = _noise(2, (100, 100)) / 10
    x0, eps, probe = _noise(3), _noise(4), _noise(5)
    alpha_bar = (1 / (1 + SIGMA**2))[:, None, None, None]

    def eps_hat(x_vp: Tensor) -> Tensor:
        return torch.tanh(x_vp.flatten(1) @ matrix).reshape(x_vp.shape)

    leaf = eps.clone().requires_grad_()
    x_vp = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * leaf
    x0_hat = (x_vp - (1 - alpha_bar).sqrt() * eps_hat(x_vp)) / alpha_bar.sqrt()
    w = (1 - alpha_bar).sqrt() * probe / 10
    expected = torch.autograd.grad((x0_hat * w).sum(), leaf)[0].flatten(1).norm(dim=1)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma[:, None, None, None]
        return x - sigma * eps_hat(x / (1 + sigma**2).sqrt())

    denoised, r = step_variation(denoise, x0 + SIGMA[:, None, None, None] * eps, SIGMA, probe)
    torch.testing.assert_close(r, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(denoised, x0_hat, rtol=1e-12, atol=1e-12)


def test_linear_in_the_probe_and_alone_as_in_a_batch() -> None:
    denoise, x, probe = _gaussian_denoiser(1.0), _noise(0), _noise(1)
    _, r = step_variation(denoise, x, SIGMA, probe)
    torch.testing.assert_close(step_variation(denoise, x, SIGMA, 3 * probe)[1], 3 * r)
    for b in range(3):
        alone = step_variation(denoise, x[b : b + 1], SIGMA[b : b + 1], probe[b : b + 1])[1]
        torch.testing.assert_close(alone, r[b : b + 1])


def test_the_penaltys_gradient_equals_finite_differences() -> None:
    """Double backward through a non-linear denoiser, by its parameter."""
    x, probe, mean_r = _noise(0), _noise(1), torch.tensor(0.3, dtype=torch.float64)

    def penalty(weight: Tensor) -> Tensor:
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return torch.tanh(weight * x) + weight**2 * x**2

        return variation_penalty(step_variation(denoise, x, SIGMA, probe)[1], mean_r)

    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(penalty(weight), weight)
    h = 1e-5
    difference = (penalty(weight.detach() + h) - penalty(weight.detach() - h)) / (2 * h)
    assert exact.item() == pytest.approx(difference.item(), rel=1e-7)  # error of a central difference: h^2


def test_arguments_are_left_alone() -> None:
    x, probe = _noise(0), _noise(1)
    step_variation(_gaussian_denoiser(1.0), x, SIGMA, probe)
    assert torch.equal(x, _noise(0)) and torch.equal(probe, _noise(1)) and not x.requires_grad


def test_penalty_by_hand_and_zero_where_all_vary_alike() -> None:
    assert variation_penalty(torch.tensor([1.0, 3.0]), torch.tensor(2.0)).item() == 1.0
    assert variation_penalty(torch.full((4,), 0.5), torch.tensor(0.5)).item() == 0.0


def test_running_mean() -> None:
    r = torch.tensor([1.0, 3.0], requires_grad=True)
    first = updated_mean(None, r)
    assert first.item() == 2.0 and not first.requires_grad
    assert updated_mean(torch.tensor(1.0), r, rate=0.25).item() == pytest.approx(1.25)
    with pytest.raises(ValueError, match=r"rate must lie in \(0, 1\], got 0"):
        updated_mean(None, r, rate=0)


def test_bad_calls() -> None:
    denoise = _gaussian_denoiser(1.0)
    with pytest.raises(ValueError, match=r"same shape, got \(3, 4, 5, 5\) and \(3, 4, 5, 6\)"):
        step_variation(denoise, _noise(0), SIGMA, _noise(0, (3, 4, 5, 6)))
    with torch.no_grad(), pytest.raises(ValueError, match="gradients are off"):
        step_variation(denoise, _noise(0), SIGMA, _noise(1))
