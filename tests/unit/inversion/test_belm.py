"""O-BELM against its own form in alpha_bar, by its order on Gaussian data, and there and back under guidance."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import (
    KINDS,
    Recorded,
    alpha_bar,
    bent_sigmas,
    distance,
    even_sigmas,
    gaussian,
    guided_mixture,
    in_float32,
    mixture,
    noise,
    orders,
    sd15_sigmas,
    sigmas_for,
)
from tolerance import rounding
from torch import Tensor

from smooth_lora.inversion.algorithms.exact import amplification, invert_exact, replay_exact
from smooth_lora.inversion.algorithms.plain import invert_ddim, replay_ddim
from smooth_lora.sampling.scale import Scale

SHAPE = (2, 4, 4, 4)
# O-BELM grows a rounding by as much as its steps differ, squared: SD1.5's 50 by 1222, and no other grid here by more.
GROWN = rounding(torch.float64) * 1222
EXACT = {"rtol": GROWN, "atol": GROWN}


def belm_vp(above_vp: Tensor, x_vp: Tensor, eps: Tensor, sigmas: tuple[float, float, float]) -> Tensor:
    """BELM, arXiv 2410.07273, the optimal coefficients in the papers' scale, for (sigma_(i+1), sigma_i, sigma_(i-1)).

    x_(i-1) = h_i^2 / h_(i+1)^2 a_(i-1) / a_(i+1) x_(i+1) + (h_(i+1)^2 - h_i^2) / h_(i+1)^2 a_(i-1) / a_i x_i
              - h_i (h_i + h_(i+1)) / h_(i+1) a_(i-1) eps,    a = sqrt(alpha_bar), h_i = sigma_i - sigma_(i-1)
    """
    a_above, a, a_below = (math.sqrt(alpha_bar(sigma)) for sigma in sigmas)
    h_above, h = sigmas[0] - sigmas[1], sigmas[1] - sigmas[2]
    return (
        h**2 / h_above**2 * a_below / a_above * above_vp
        + (h_above**2 - h**2) / h_above**2 * a_below / a * x_vp
        - h * (h + h_above) / h_above * a_below * eps
    )


def noise_prediction(x_vp: Tensor, kept: float) -> Tensor:
    """A network in the papers' convention."""
    return torch.tanh(x_vp.roll(1, -1) * (1 + kept)) + 0.3 * kept * x_vp


def denoise_by_network(x: Tensor, sigma: float) -> Tensor:
    return x - sigma * noise_prediction(x / math.sqrt(1 + sigma**2), alpha_bar(sigma))


def pictures(kind: str = "ve", seed: int = 2) -> Tensor:
    """Two samples of the mixture, of different components."""
    return mixture(kind).means[:2] + 0.5 * noise(seed, *SHAPE)


def there_and_back(denoise, x0: Tensor, kind: str = "ve") -> tuple[float, Tensor]:
    """The relative error of the round trip, and the states on the way up."""
    sigmas = sigmas_for(kind)
    states = invert_exact(denoise, x0, sigmas, Scale(kind))
    return distance(replay_exact(denoise, states[0], states[1], sigmas)[-1], x0), states


def usual_error(kind: str, dtype: torch.dtype) -> float:
    """The middle one of three round trips with a float32 model, guided.

    Where float64's rounding of the state moves an input over the boundary between two float32 numbers, the model's
    rounding does not cancel: in one trip of a thousand, and which one it is depends on the processor.
    """
    denoise = in_float32(guided_mixture(7.5, kind))
    return sorted(there_and_back(denoise, pictures(kind, seed).to(dtype), kind)[0] for seed in (2, 3, 4))[1]


def test_sampling_is_the_papers() -> None:
    sigmas = sd15_sigmas()
    a, b = (math.sqrt(alpha_bar(sigma)) for sigma in sigmas[:2])
    above_vp, x_vp = noise(0, *SHAPE), noise(1, *SHAPE)
    states = replay_exact(denoise_by_network, above_vp / a, x_vp / b, sigmas)
    for k in range(1, 50):
        eps = noise_prediction(x_vp, alpha_bar(sigmas[k]))
        above_vp, x_vp = x_vp, belm_vp(above_vp, x_vp, eps, sigmas[k - 1 : k + 2])
        torch.testing.assert_close(states[k + 1] * math.sqrt(alpha_bar(sigmas[k + 1])), x_vp, **EXACT)


def test_each_step_of_the_inversion_solves_the_papers_equation() -> None:
    sigmas = sd15_sigmas(last=0.02917)
    states = invert_exact(denoise_by_network, noise(0, *SHAPE), sigmas, Scale())
    in_vp = [x * math.sqrt(alpha_bar(sigma)) for x, sigma in zip(states, sigmas, strict=True)]
    for k in range(1, 50):
        eps = noise_prediction(in_vp[k], alpha_bar(sigmas[k]))
        below = belm_vp(in_vp[k - 1], in_vp[k], eps, sigmas[k - 1 : k + 2])
        torch.testing.assert_close(below, in_vp[k + 1], **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_step_of_the_inversion_is_ddims(kind: str) -> None:
    sigmas = sigmas_for(kind)
    states = invert_exact(mixture(kind), pictures(kind), sigmas, Scale(kind))
    plain = invert_ddim(mixture(kind), pictures(kind), sigmas, Scale(kind))
    assert torch.equal(states[-2:], plain[-2:])


def test_three_levels_by_hand() -> None:
    """sigmas 3, 1, 0 and eps = x: r = 1/2, so x2 = x0 / 4 + 3 x1 / 4 - 3/2 x1."""
    states = replay_exact(lambda x, sigma: x - sigma * x, torch.tensor([[8.0]]), torch.tensor([[4.0]]), [3.0, 1.0, 0.0])
    assert states.flatten().tolist() == [8.0, 4.0, -1.0]


@pytest.mark.parametrize("grid", [even_sigmas, bent_sigmas])
@pytest.mark.parametrize("kind", KINDS)
def test_order_two_in_both_directions(kind: str, grid) -> None:
    """The error falls fourfold when the step is halved; the coarsest grid still shows the next order."""
    first = 1.0 if kind == "flow" else 8.0
    data = gaussian(0.5, kind)
    x0 = data.means[0] + 0.5 * noise(1, *SHAPE)
    noisy = data.carried(x0, 0.0, first)
    down, up = [], []
    for n in (64, 128, 256):
        sigmas = grid(n, first)
        second = data.carried(x0, 0.0, sigmas[1])
        down.append(distance(replay_exact(data, noisy, second, sigmas)[-1], x0))
        up.append(distance(invert_exact(data, x0, sigmas, Scale(kind))[0], noisy))
    assert orders(down) == pytest.approx([2, 2], abs=0.1)
    assert orders(up) == pytest.approx([2, 2], abs=0.1)


@pytest.mark.parametrize("cfg", [1.0, 7.5])
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str, cfg: float) -> None:
    """Up to rounding as it grows; a flow starts at sigma 1 and stays finite."""
    error, states = there_and_back(guided_mixture(cfg, kind), pictures(kind), kind)
    assert error < GROWN
    assert states.isfinite().all()
    plain = invert_ddim(guided_mixture(cfg, kind), pictures(kind), sigmas_for(kind), Scale(kind))
    back = replay_ddim(guided_mixture(cfg, kind), plain[0], sigmas_for(kind))[-1]
    assert distance(back, pictures(kind)) > 1e-2  # what DDIM loses on the same problem


@pytest.mark.parametrize("kind", KINDS)
def test_a_float32_model_beside_a_float64_state(kind: str) -> None:
    """Both directions round the same input to the same float32, so the model's rounding cancels."""
    assert there_and_back(in_float32(guided_mixture(7.5, kind)), pictures(kind), kind)[1].dtype == torch.float64
    assert usual_error(kind, torch.float64) < GROWN  # as with a float64 model


@pytest.mark.parametrize("kind", KINDS)
def test_why_the_state_is_float64(kind: str) -> None:
    """In float32 the state's own rounding, 6e-8, comes back grown: over a thousand times worse than in float64."""
    single, double = (usual_error(kind, dtype) for dtype in (torch.float32, torch.float64))
    assert single > 1e-7
    assert single > 1e3 * double


@pytest.mark.parametrize("sigmas", [sd15_sigmas(), bent_sigmas(30, 8.0), even_sigmas(20, 1.0)])
def test_amplification_is_the_growth_of_a_disturbance(sigmas: list[float]) -> None:
    """With eps = 0 the picture stands still, and only what is wrong with the first step moves the states apart."""
    first_call = True

    def denoise(x: Tensor, sigma: float) -> Tensor:
        nonlocal first_call
        disturbance, first_call = (1e-3 if first_call else 0.0), False
        return x + disturbance

    states = invert_exact(denoise, torch.ones(1, 1, dtype=torch.float64), sigmas, Scale("flow")).flatten()
    gaps = states[:-1] - states[1:]
    # The gaps are differences of numbers near 1, whose rounding is 1e-16 of 1 and up to 1e-12 of the smallest gap.
    assert abs(float(gaps[0] / gaps[-1])) == pytest.approx(amplification(sigmas), rel=1e-9)


def test_amplification_of_the_usual_schedules() -> None:
    """SD1.5 in 50 steps: (13.1204 - 11.6760)^2 / .0413144^2, to the digits quoted; equal steps grow nothing."""
    assert amplification(sd15_sigmas()) == pytest.approx(1222.3, rel=1e-3)
    # Steps of a twentieth are differences of numbers up to 1, and the ratio of two of them is squared.
    assert amplification(even_sigmas(20, 1.0)) == pytest.approx(1.0, rel=20 * rounding(torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_two_steps_are_the_fewest(kind: str) -> None:
    sigmas = even_sigmas(2, 0.9)
    states = invert_exact(guided_mixture(7.5, kind), pictures(kind), sigmas, Scale(kind))
    again = replay_exact(guided_mixture(7.5, kind), states[0], states[1], sigmas)
    assert states.shape[0] == again.shape[0] == 3
    torch.testing.assert_close(again, states, **EXACT)


def test_one_step_is_ddims() -> None:
    states = invert_exact(mixture(), pictures(), [0.9, 0.0], Scale())
    assert torch.equal(states, invert_ddim(mixture(), pictures(), [0.9, 0.0], Scale()))


@pytest.mark.parametrize("kind", KINDS)
def test_number_of_model_calls(kind: str) -> None:
    """N there, N - 1 back, never at sigma 0, and at the very same latents but for the first one's guess."""
    sigmas = sigmas_for(kind)
    up, down = Recorded(mixture(kind)), Recorded(mixture(kind))
    states = invert_exact(up, pictures(kind), sigmas, Scale(kind))
    replay_exact(down, states[0], states[1], sigmas)
    assert up.sigmas == [sigmas[-2], *sigmas[-2:0:-1]]
    assert down.sigmas == sigmas[1:-1]
    for there, back in zip(up.inputs[:0:-1], down.inputs, strict=True):
        torch.testing.assert_close(there, back, **EXACT)


def test_alone_as_in_a_batch_and_arguments_left_alone() -> None:
    x0, sigmas = pictures(), sd15_sigmas()
    states = invert_exact(guided_mixture(7.5), x0, sigmas, Scale())
    again = replay_exact(guided_mixture(7.5), states[0], states[1], sigmas)
    for b in range(2):
        alone = invert_exact(guided_mixture(7.5), x0[b : b + 1], sigmas, Scale())
        torch.testing.assert_close(alone, states[:, b : b + 1], **EXACT)
        back = replay_exact(guided_mixture(7.5), alone[0], alone[1], sigmas)
        torch.testing.assert_close(back, again[:, b : b + 1], **EXACT)
    assert torch.equal(x0, pictures()) and sigmas == sd15_sigmas()


def test_the_listener_hears_each_step() -> None:
    sigmas, up, down = even_sigmas(4, 2.0), [], []
    states = invert_exact(mixture(), pictures(), sigmas, Scale(), on_step=lambda *heard: up.append(heard))
    replay_exact(mixture(), states[0], states[1], sigmas, on_step=lambda *heard: down.append(heard))
    assert [step for step, _, _ in up] == [0, 1, 2, 3]
    assert [step for step, _, _ in down] == [1, 2, 3]
    for step, x, _ in up:
        assert torch.equal(x, states[3 - step])
    for step, x, _ in down:
        torch.testing.assert_close(x, states[step + 1], **EXACT)
