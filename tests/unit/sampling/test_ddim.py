"""DDIM's steps against the papers' own form in alpha_bar, and against the exact path of Gaussian data."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import (
    KINDS,
    Mixture,
    Recorded,
    alpha_bar,
    bent_sigmas,
    distance,
    even_sigmas,
    gaussian,
    mixture,
    noise,
    orders,
    sd15_alpha_bar,
    sd15_sigmas,
    sigmas_for,
)
from torch import Tensor

from smooth_lora.inversion.algorithms.plain import invert_ddim, replay_ddim, rescaled
from smooth_lora.sampling.ddim import ddim_move, stochastic_split
from smooth_lora.sampling.denoise import eps_of
from smooth_lora.sampling.scale import Scale

SHAPE = (3, 4, 4, 4)
# float64 rounds at 1e-16; the formulas compared here are long, and both sides round along 50 steps.
EXACT = {"rtol": 1e-12, "atol": 1e-12}
LEVELS = [(13.1204, 9.0), (1.0, 0.5), (0.041, 0.029), (0.5, 2.0), (0.04, 0.0)]


def ddim_vp(x_vp: Tensor, eps: Tensor, kept: float, kept_next: float, std: float = 0.0) -> Tensor:
    """DDIM, arXiv 2010.02502 eq. 12 without the fresh noise, as printed."""
    predicted = (x_vp - math.sqrt(1 - kept) * eps) / math.sqrt(kept)
    return math.sqrt(kept_next) * predicted + math.sqrt(1 - kept_next - std**2) * eps


def noise_prediction(x_vp: Tensor, kept: float) -> Tensor:
    """A network in the papers' convention, neither linear nor equal at any two noise levels."""
    return torch.tanh(x_vp.roll(1, -1) * (1 + kept)) + 0.3 * kept * x_vp


def denoise_by_network(x: Tensor, sigma: float) -> Tensor:
    """The same network as ComfyUI's samplers see it."""
    return x - sigma * noise_prediction(x / math.sqrt(1 + sigma**2), alpha_bar(sigma))


@pytest.mark.parametrize(("sigma", "to"), LEVELS)
def test_a_step_is_the_papers(sigma: float, to: float) -> None:
    x_vp, eps = noise(0, *SHAPE), noise(1, *SHAPE)
    kept, kept_next = alpha_bar(sigma), alpha_bar(to)
    moved = ddim_move(x_vp / math.sqrt(kept), eps, sigma, to)
    torch.testing.assert_close(moved, ddim_vp(x_vp, eps, kept, kept_next) / math.sqrt(kept_next), **EXACT)


def test_a_step_by_hand() -> None:
    """x0 = 1, eps = 2: 1 + 2 * .5 = 2 at sigma .5, 7 at sigma 3."""
    moved = ddim_move(torch.tensor([[2.0]]), torch.tensor([[2.0]]), 0.5, 3.0)
    assert moved.item() == 7.0
    assert eps_of(moved, torch.tensor([[1.0]]), 3.0).item() == 2.0


def test_v_prediction() -> None:
    """Salimans and Ho, arXiv 2202.00512: x0 = a x_vp - s v and eps = s x_vp + a v."""
    x_vp, v, sigma = noise(0, *SHAPE), noise(1, *SHAPE), 1.7
    a, s = math.sqrt(alpha_bar(sigma)), math.sqrt(1 - alpha_bar(sigma))
    torch.testing.assert_close(eps_of(x_vp / a, a * x_vp - s * v, sigma), s * x_vp + a * v, **EXACT)


def test_the_direction_of_a_flow_is_noise_minus_data() -> None:
    x0, eps, sigma = noise(0, *SHAPE), noise(1, *SHAPE), 0.3
    torch.testing.assert_close(eps_of(0.7 * x0 + 0.3 * eps, x0, sigma), eps - x0, **EXACT)


def test_sampling_a_flow_is_sampling_in_sigma_over_one_minus_sigma() -> None:
    flow = mixture("flow")
    sigmas = even_sigmas(20, 0.95)
    stretched = [sigma / (1 - sigma) for sigma in sigmas]
    x = noise(0, *SHAPE)
    states = replay_ddim(flow, x, sigmas)
    in_ve = replay_ddim(Mixture(flow.means, flow.std), x / 0.05, stretched)
    torch.testing.assert_close(states[-1], in_ve[-1], **EXACT)


def test_the_network_sees_the_same_input_after_rescaling() -> None:
    x = noise(0, *SHAPE)
    ahead = rescaled(x, 0.5, 3.0, Scale())
    torch.testing.assert_close(ahead * math.sqrt(alpha_bar(3.0)), x * math.sqrt(alpha_bar(0.5)), **EXACT)
    assert torch.equal(rescaled(x, 0.5, 1.0, Scale("flow")), x)


def test_sampling_is_the_papers() -> None:
    sigmas = sd15_sigmas()
    x_vp = noise(2, *SHAPE)
    states = replay_ddim(denoise_by_network, x_vp / math.sqrt(alpha_bar(sigmas[0])), sigmas)
    for sigma, to in zip(sigmas, sigmas[1:], strict=False):
        x_vp = ddim_vp(x_vp, noise_prediction(x_vp, alpha_bar(sigma)), alpha_bar(sigma), alpha_bar(to))
    torch.testing.assert_close(states[-1], x_vp, **EXACT)


@pytest.mark.parametrize("last", [0.0, 0.02917])
def test_inversion_is_null_text_inversions(last: float) -> None:
    """x_t = sqrt(ab_t / ab_s) (x_s - sqrt(1 - ab_s) eps(x_s, t)) + sqrt(1 - ab_t) eps(x_s, t), all in VP."""
    sigmas = sd15_sigmas(last=last)
    x_vp = noise(3, *SHAPE)
    states = invert_ddim(denoise_by_network, x_vp / math.sqrt(alpha_bar(last)), sigmas, Scale())
    for k in range(50, 0, -1):
        kept, reached = alpha_bar(sigmas[k]), alpha_bar(sigmas[k - 1])
        eps = noise_prediction(x_vp, reached)
        x_vp = math.sqrt(reached / kept) * (x_vp - math.sqrt(1 - kept) * eps) + math.sqrt(1 - reached) * eps
        torch.testing.assert_close(states[k - 1] * math.sqrt(reached), x_vp, **EXACT)


def test_inversion_of_a_flow_by_hand() -> None:
    """Two steps of v(x) = (x - D) / sigma with D = sigma x: v = x (1 - sigma) / sigma."""
    states = invert_ddim(lambda x, sigma: sigma * x, torch.tensor([[8.0]]), [1.0, 0.5, 0.0], Scale("flow"))
    # From 0 to .5 with v(8, .5) = 8: 8 + 4. From .5 to 1 with v(12, 1) = 0: 12.
    assert states.flatten().tolist() == [12.0, 12.0, 8.0]


@pytest.mark.parametrize("grid", [even_sigmas, bent_sigmas])
@pytest.mark.parametrize("kind", KINDS)
def test_order_one_in_both_directions(kind: str, grid) -> None:
    """The error of Euler's method halves with the step; what is left of the next order is below .1 here."""
    first = 1.0 if kind == "flow" else 8.0
    data = gaussian(0.5, kind)
    x0 = data.means[0] + 0.5 * noise(1, *SHAPE)
    noisy = data.carried(x0, 0.0, first)
    down = [distance(replay_ddim(data, noisy, grid(n, first))[-1], x0) for n in (40, 80, 160)]
    up = [distance(invert_ddim(data, x0, grid(n, first), Scale(kind))[0], noisy) for n in (40, 80, 160)]
    assert orders(down) == pytest.approx([1, 1], abs=0.1)
    assert orders(up) == pytest.approx([1, 1], abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_oracle_is_the_score(kind: str) -> None:
    """Tweedie: E[x0 | x] = (x + sigma^2 grad log p(x)) / a, with the gradient by autograd."""
    data = mixture(kind)
    x = noise(4, *SHAPE).requires_grad_()
    (score,) = torch.autograd.grad(data.log_density(x, 0.6).sum(), x)
    a = 0.4 if kind == "flow" else 1.0
    torch.testing.assert_close(data(x.detach(), 0.6), (x.detach() + 0.36 * score) / a, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_called_once_a_step_and_never_at_sigma_zero(kind: str) -> None:
    """A flow starts at sigma 1, where nothing of the picture is left: everything stays finite."""
    sigmas = sigmas_for(kind)
    up, down = Recorded(mixture(kind)), Recorded(mixture(kind))
    states = invert_ddim(up, noise(0, *SHAPE), sigmas, Scale(kind))
    again = replay_ddim(down, states[0], sigmas)
    assert up.sigmas == sigmas[-2::-1]
    assert down.sigmas == sigmas[:-1]
    assert states.shape == again.shape == (51, *SHAPE)
    assert states.isfinite().all() and again.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_alone_as_in_a_batch(kind: str) -> None:
    sigmas, x0 = sigmas_for(kind), noise(0, *SHAPE)
    states = invert_ddim(mixture(kind), x0, sigmas, Scale(kind))
    again = replay_ddim(mixture(kind), states[0], sigmas)
    for b in range(3):
        alone = invert_ddim(mixture(kind), x0[b : b + 1], sigmas, Scale(kind))
        torch.testing.assert_close(alone, states[:, b : b + 1], **EXACT)
        torch.testing.assert_close(replay_ddim(mixture(kind), alone[0], sigmas), again[:, b : b + 1], **EXACT)


def test_video_and_half_precision_pass_through() -> None:
    x0 = noise(0, 2, 4, 3, 5, 5, dtype=torch.float16)
    states = invert_ddim(lambda x, sigma: x / (1 + sigma**2), x0, even_sigmas(4, 2.0), Scale())
    assert states.shape == (5, *x0.shape) and states.dtype == torch.float16


def test_arguments_are_left_alone() -> None:
    x0, sigmas = noise(0, *SHAPE), sd15_sigmas()
    states = invert_ddim(mixture(), x0, sigmas, Scale())
    assert torch.equal(x0, noise(0, *SHAPE)) and sigmas == sd15_sigmas()
    assert torch.equal(states[-1], x0)
    before = states.clone()
    replay_ddim(mixture(), states[0], sigmas)
    assert torch.equal(states, before)


@pytest.mark.parametrize("way", ["up", "down"])
def test_the_listener_hears_each_step_and_may_stop(way: str) -> None:
    sigmas, x, heard = even_sigmas(5, 3.0), noise(0, *SHAPE), []

    def listen(step: int, x: Tensor, denoised: Tensor) -> None:
        heard.append((step, x, denoised))
        if len(heard) == stop_after:
            raise InterruptedError

    def run() -> Tensor:
        if way == "up":
            return invert_ddim(mixture(), x, sigmas, Scale(), on_step=listen).flip(0)
        return replay_ddim(mixture(), x, sigmas, on_step=listen)

    stop_after = 0
    states = run()
    assert [step for step, _, _ in heard] == [0, 1, 2, 3, 4]
    for step, reached, denoised in heard:
        assert torch.equal(reached, states[step + 1])
        assert denoised.shape == x.shape
    heard.clear()
    stop_after = 2
    with pytest.raises(InterruptedError):
        run()
    assert len(heard) == 2


@pytest.mark.parametrize("eta", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("place", [0, 20, 48, 49])
def test_a_noisy_step_is_the_papers(eta: float, place: int) -> None:
    """DDIM eq. 12 and 16: sigma_t(eta) = eta sqrt((1 - ab_s) / (1 - ab_t)) sqrt(1 - ab_t / ab_s)."""
    sigma, to = sd15_sigmas()[place : place + 2]
    kept, kept_next = alpha_bar(sigma), alpha_bar(to)
    std = eta * math.sqrt((1 - kept_next) / (1 - kept)) * math.sqrt(1 - kept / kept_next)
    down, up = stochastic_split(sigma, to, eta, Scale())
    assert up * math.sqrt(kept_next) == pytest.approx(std, rel=1e-12, abs=0)
    old = math.sqrt(max(0.0, 1 - kept_next - std**2))
    assert down * math.sqrt(kept_next) == pytest.approx(old, rel=1e-12, abs=0)


@pytest.mark.parametrize("t", [1, 20, 500, 999])
def test_eta_one_adds_ddpms_posterior_variance(t: int) -> None:
    """DDPM, arXiv 2006.11239 eq. 7: (1 - ab_(t-1)) / (1 - ab_t) beta_t between neighbouring timesteps."""
    kept, kept_next = sd15_alpha_bar()[t], sd15_alpha_bar()[t - 1]
    beta = (0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * t / 999) ** 2
    sigma, to = (math.sqrt((1 - share) / share) for share in (kept, kept_next))
    _, up = stochastic_split(sigma, to, 1.0, Scale())
    # At t = 999 1 - ab_t / ab_(t-1) = .012 is a difference of numbers near 1: two digits are lost, three at t = 1.
    assert up**2 * kept_next == pytest.approx((1 - kept_next) / (1 - kept) * beta, rel=1e-11)


def test_a_flows_noisy_step_is_that_of_its_ve_form() -> None:
    sigma, to = 0.8, 0.6
    down, up = stochastic_split(sigma, to, 0.7, Scale("flow"))
    down_ve, up_ve = stochastic_split(sigma / (1 - sigma), to / (1 - to), 0.7, Scale())
    assert (down, up) == pytest.approx((down_ve * (1 - to), up_ve * (1 - to)), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_a_noisy_step(kind: str) -> None:
    assert stochastic_split(0.9, 0.0, 1.0, Scale(kind)) == (0.0, 0.0)
    assert stochastic_split(0.9, 0.4, 0.0, Scale(kind)) == (0.4, 0.0)


def test_a_flow_leaves_pure_noise_with_all_noise_fresh() -> None:
    """At sigma 1 nothing of the picture is in x, so DDPM's posterior keeps nothing of it."""
    down, up = stochastic_split(1.0, 0.9, 1.0, Scale("flow"))
    assert (down, up) == pytest.approx((0.0, 0.9), abs=1e-12)
