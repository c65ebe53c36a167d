"""The base loss on held-out pictures against its closed form for Gaussian data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from smooth_lora.sampling.scale import Scale, alpha_bar_to_sigma, per_sample, scaled_linear_alpha_bar
from smooth_lora.training.held_out import CHECK_ROWS, ROWS_PER_CALL, held_out_loss
from smooth_lora.training.loop import TrainingData

SIGMAS = alpha_bar_to_sigma(scaled_linear_alpha_bar())


def always_black(x: Tensor, sigma: Tensor) -> Tensor:
    return torch.zeros_like(x)


def data(*shapes: tuple[int, ...]) -> TrainingData:
    generator = torch.Generator().manual_seed(1)
    return TrainingData([torch.randn(*shape, generator=generator) for shape in shapes], SIGMAS)


def test_a_denoiser_that_sees_nothing_loses_the_picture_over_sigma():
    """eps_hat - eps = (x0 - x0_hat) / sigma, so x0_hat = 0 gives the mean of x0^2 / sigma^2, levels spread evenly."""
    pictures = data(*[(4, 6, 6)] * CHECK_ROWS)
    found = held_out_loss(lambda images, empty, *, may_round: always_black, pictures, Scale())
    order = torch.randperm(CHECK_ROWS, generator=torch.Generator().manual_seed(0))
    levels = SIGMAS[order * len(SIGMAS) // CHECK_ROWS]
    by_hand = (torch.stack(pictures.latents).double().square().flatten(1).mean(dim=1) / levels**2).mean()
    assert found == pytest.approx(float(by_hand), rel=1e-5)


def test_the_optimal_denoiser_of_standard_normal_pictures():
    """D = x / (1 + sigma^2) leaves eps with mean squared error 1 / (1 + sigma^2): no denoiser can do better."""
    pictures = data(*[(4, 16, 16)] * 100)
    found = held_out_loss(
        lambda images, empty, *, may_round: lambda x, sigma: x / (1 + per_sample(sigma, x) ** 2), pictures, Scale()
    )
    assert found == pytest.approx(float((1 / (1 + SIGMAS**2)).mean()), rel=0.05)


def test_it_is_the_same_every_time_and_asks_for_each_picture_s_own_text():
    asked: list[tuple[list[int], list[bool]]] = []

    def denoiser_for(places, empty, *, may_round):
        asked.append((list(places), list(empty)))
        return always_black

    pictures = data((4, 6, 6), (4, 6, 8), (4, 6, 6))
    assert held_out_loss(denoiser_for, pictures, Scale()) == held_out_loss(denoiser_for, pictures, Scale())
    half = asked[: len(asked) // 2]
    assert asked == half * 2 and not any(any(empty) for _, empty in half)
    rows = [place for places, _ in half for place in places]
    assert len(rows) >= CHECK_ROWS and {rows.count(place) for place in range(3)} == {len(rows) // 3}
    assert all(
        len(places) <= ROWS_PER_CALL and len({pictures.latents[p].shape for p in places}) == 1 for places, _ in half
    )
