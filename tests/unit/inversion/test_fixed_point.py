"""The solved DDIM inversion: how its error falls with its budget, what it spends, and what it does where it cannot."""

from __future__ import annotations

import pytest
import torch
from oracles import (
    KINDS,
    Mixture,
    Recorded,
    distance,
    even_sigmas,
    gaussian,
    guided,
    guided_mixture,
    in_float32,
    mixture,
    noise,
    sd15_sigmas,
    sigmas_for,
)
from torch import Tensor

from smooth_lora.inversion.algorithms.fixed_point import invert_fixed_point
from smooth_lora.inversion.algorithms.plain import invert_ddim, replay_ddim
from smooth_lora.sampling.ddim import ddim_move
from smooth_lora.sampling.denoise import eps_of
from smooth_lora.sampling.scale import Scale

SHAPE = (2, 4, 4, 4)
# A step ends at a relative residual of 1e-5, and one more mix makes it smaller; guided sampling grows what is left.
SOLVED = 1e-5


def pictures(kind: str = "ve") -> Tensor:
    return mixture(kind).means[:2] + 0.5 * noise(2, *SHAPE)


def two_gaussians(cfg: float) -> tuple[Mixture, Mixture]:
    """Data of std .5 with the text and 1 without, around one mean: guidance makes a strong but linear prediction."""
    mean = noise(5, 1, *SHAPE[1:])
    return Mixture(mean, 0.5), Mixture(mean, 1.0)


def lost(denoise, kind: str, sigmas: list[float], iterations: int) -> float:
    """The relative error of inversion and DDIM sampling."""
    states = invert_fixed_point(denoise, pictures(kind), sigmas, Scale(kind), iterations=iterations).states
    return distance(replay_ddim(denoise, states[0], sigmas)[-1], pictures(kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cfg", [1.0, 7.5])
def test_one_iteration_is_plain_ddim_bit_for_bit(kind: str, cfg: float) -> None:
    sigmas, denoise = sigmas_for(kind), guided_mixture(cfg, kind)
    solved = invert_fixed_point(denoise, pictures(kind), sigmas, Scale(kind), iterations=1)
    assert torch.equal(solved.states, invert_ddim(denoise, pictures(kind), sigmas, Scale(kind)))
    assert solved.diverged.tolist() == [False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_falls_with_the_iterations(kind: str) -> None:
    """Under guidance 7.5 in 50 steps: DDIM loses a tenth or more, two calls a step gain three digits."""
    errors = [lost(guided_mixture(7.5, kind), kind, sigmas_for(kind), iterations) for iterations in (1, 2, 3)]
    assert errors[0] > 0.1
    assert errors[1] < 1e-3 * errors[0] * (1 if kind == "ve" else 2)
    assert errors[2] < SOLVED
    assert lost(guided_mixture(7.5, kind), kind, sigmas_for(kind), 50) < SOLVED


@pytest.mark.parametrize("kind", KINDS)
def test_few_steps_need_more_iterations(kind: str) -> None:
    errors = [lost(guided_mixture(7.5, kind), kind, sigmas_for(kind, 20), iterations) for iterations in (1, 2, 3, 5)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.2 and errors[-1] < SOLVED


@pytest.mark.parametrize("kind", KINDS)
def test_gaussian_data_is_solved_exactly_by_two_calls(kind: str) -> None:
    """The prediction is one linear function in every direction, which the secant through two points meets."""
    assert lost(gaussian(0.5, kind), kind, sigmas_for(kind), 2) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_ddim_sampling_takes_each_state_to_the_next(kind: str) -> None:
    sigmas, denoise = sigmas_for(kind, 20), guided_mixture(7.5, kind)
    states = invert_fixed_point(denoise, pictures(kind), sigmas, Scale(kind), iterations=10).states
    for k in range(20):
        moved = ddim_move(states[k], eps_of(states[k], denoise(states[k], sigmas[k]), sigmas[k]), *sigmas[k : k + 2])
        assert distance(moved, states[k + 1]) < SOLVED
    assert torch.equal(states[-1], pictures(kind))


@pytest.mark.parametrize("iterations", [1, 2, 3, 7])
@pytest.mark.parametrize("steps", [1, 2, 10, 25])
@pytest.mark.parametrize("kind", KINDS)
def test_the_calls_stay_in_the_budget(kind: str, steps: int, iterations: int) -> None:
    """K N at most, at least one a step, never at sigma 0, upwards only; a flow may reach sigma 1."""
    sigmas = sigmas_for(kind, steps) if steps > 2 else even_sigmas(steps, 1.0)
    calls = Recorded(guided_mixture(12.0, kind))
    states = invert_fixed_point(calls, pictures(kind), sigmas, Scale(kind), iterations=iterations).states
    assert len(calls.sigmas) <= iterations * steps
    assert calls.sigmas == sorted(calls.sigmas)
    assert set(calls.sigmas) == set(sigmas[:-1])
    assert states.shape == (steps + 1, *SHAPE) and states.isfinite().all()


@pytest.mark.parametrize("iterations", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_alone_as_in_a_batch(kind: str, iterations: int) -> None:
    """A harder mate may get a sample further calls, which change it by less than what counts as solved."""
    sigmas, denoise = sigmas_for(kind), guided_mixture(7.5, kind)
    together = invert_fixed_point(denoise, pictures(kind), sigmas, Scale(kind), iterations=iterations).states
    for b in range(2):
        alone = invert_fixed_point(
            denoise, pictures(kind)[b : b + 1], sigmas, Scale(kind), iterations=iterations
        ).states
        assert distance(alone, together[:, b : b + 1]) < SOLVED


def test_a_float32_model_is_solved_as_far_as_it_can_be_told_apart() -> None:
    """Its rounding, 6e-8 in every call, is far below what ends a step."""
    assert lost(in_float32(guided_mixture(7.5)), "ve", sd15_sigmas(), 4) < SOLVED


def test_where_plain_iteration_diverges_mixing_does_not() -> None:
    """Two Gaussians, std .5 and 1, cfg 12 in 20 steps: F's slope is 1.25 at its steepest, so F(F(..)) runs away.

    slope: h sigma (w / (.25 + sigma^2) - (w - 1) / (1 + sigma^2)) from the closed form of both predictions
    """
    sigmas, (cond, uncond) = sd15_sigmas(20), two_gaussians(12.0)
    denoise = guided(cond, uncond, 12.0)
    slopes = [
        (to - source) * to * (12 / (0.25 + to**2) - 11 / (1 + to**2))
        for to, source in zip(sigmas, sigmas[1:], strict=False)
    ]
    assert max(slopes) == pytest.approx(1.248, abs=1e-3)
    to, source = sigmas[18:20]
    y, residuals = pictures(), []
    for _ in range(12):
        image = ddim_move(pictures(), eps_of(y, denoise(y, to), to), source, to)
        residuals.append(float((image - y).norm()))
        y = image
    assert residuals[-1] / residuals[-2] == pytest.approx(slopes[18], rel=1e-6)  # the oracle does what the formula says
    solved = invert_fixed_point(denoise, pictures(), sigmas, Scale(), iterations=3)
    assert solved.states.isfinite().all() and solved.diverged.tolist() == [False, False]
    assert lost(denoise, "ve", sigmas, 3) < SOLVED


def test_which_sample_did_not_settle() -> None:
    """One of two needs more calls than it gets: it loses much and is named, the other neither."""
    sigmas, denoise, x0 = sigmas_for("flow", 20), guided_mixture(7.5, "flow"), pictures("flow")
    solved = invert_fixed_point(denoise, x0, sigmas, Scale("flow"), iterations=2)
    again = replay_ddim(denoise, solved.states[0], sigmas)[-1]
    assert solved.diverged.tolist() == [True, False]
    assert distance(again[0], x0[0]) > 1e-2
    assert distance(again[1], x0[1]) < SOLVED
    assert invert_fixed_point(denoise, x0, sigmas, Scale("flow"), iterations=5).diverged.tolist() == [False, False]


@pytest.mark.parametrize("iterations", [2, 5, 50])
def test_what_runs_away_is_held_and_named(iterations: int) -> None:
    """Slopes of 3 and -3 at once: no iteration of depth one settles, so nothing may grow beyond the first guess.

    The second sample stands on the fixed point, and its prediction does not change.
    """
    slopes = torch.tensor([3.0, 3.0, -3.0, -3.0], dtype=torch.float64).reshape(1, 4, 1, 1)
    x0 = torch.ones(SHAPE, dtype=torch.float64)
    x0[0] += noise(1, *SHAPE[1:])
    solved = invert_fixed_point(
        lambda x, sigma: x - sigma * slopes * (x - 1), x0, [1.0, 0.0], Scale("flow"), iterations=iterations
    )
    assert solved.diverged.tolist() == [True, False]
    # The first image is 3 away from 1 where x0 is 1 away; another factor of 3 is what one more call would make of it.
    assert float((solved.states[0, 0] - 1).norm()) < 10 * float((x0[0] - 1).norm())
    assert torch.equal(solved.states[0, 1], x0[1])


def test_a_latent_of_zeros() -> None:
    """Nothing to compare a residual with: no division by it may show."""
    x0 = torch.zeros(SHAPE, dtype=torch.float64)
    solved = invert_fixed_point(lambda x, sigma: 0.5 * x, x0, sd15_sigmas(10), Scale(), iterations=3)
    assert not solved.states.any() and not solved.diverged.any()


@pytest.mark.parametrize("bad", [0, -1, 51])
def test_iterations_out_of_range(bad: int) -> None:
    with pytest.raises(ValueError, match=f"iterations must be between 1 and 50, got {bad}"):
        invert_fixed_point(mixture(), pictures(), sd15_sigmas(), Scale(), iterations=bad)


@pytest.mark.parametrize("iterations", [1, 3])
def test_the_listener_hears_each_step_and_arguments_are_left_alone(iterations: int) -> None:
    x0, sigmas, heard = pictures(), sd15_sigmas(10), []
    solved = invert_fixed_point(
        mixture(), x0, sigmas, Scale(), iterations=iterations, on_step=lambda *args: heard.append(args)
    )
    assert [step for step, _, _ in heard] == list(range(10))
    for step, x, denoised in heard:
        assert torch.equal(x, solved.states[9 - step])
        assert denoised.shape == x0.shape and denoised.isfinite().all()
    assert torch.equal(x0, pictures()) and sigmas == sd15_sigmas(10)
