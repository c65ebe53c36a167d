"""DDIM both ways against diffusers' schedulers, driving one toy network.

diffusers' tables are float32 products and differ from exact ones by some 1e-6. So its own table, widened to float64,
makes the sigmas here, and what is compared are the steps, in float64.
"""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddim_inverse import DDIMInverseScheduler
from oracles import noise, sd15_alpha_bar, sd15_sigmas
from tolerance import rounding
from torch import Tensor

from smooth_lora.inversion.algorithms.encoders import mu
from smooth_lora.inversion.algorithms.plain import invert_ddim, replay_ddim
from smooth_lora.sampling.scale import Scale

STEPS = 50
# Rounding of 50 steps in float64 (2e-15 here): the widened table leaves nothing else to differ.
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def scheduler(kind: type, alpha_one: bool, prediction: str = "epsilon"):
    """Stable Diffusion's configuration, with tables in float64."""
    made = kind(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=alpha_one,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction,
    )
    made.set_timesteps(STEPS)
    made.alphas_cumprod = made.alphas_cumprod.double()
    end = "initial_alpha_cumprod" if kind is DDIMInverseScheduler else "final_alpha_cumprod"
    setattr(made, end, getattr(made, end).double())
    return made


def sigmas_of(made: DDIMScheduler | DDIMInverseScheduler, alpha_one: bool) -> list[float]:
    """As smooth_lora takes them: the table's at the timesteps, then 0, or the table's first without alpha one."""
    kept = made.alphas_cumprod[sorted(made.timesteps.tolist(), reverse=True)]
    sigmas = ((1 - kept) / kept).sqrt().tolist()
    first = made.alphas_cumprod[0]
    return [*sigmas, 0.0 if alpha_one else float(((1 - first) / first).sqrt())]


def network(x_vp: Tensor, t: int) -> Tensor:
    """A prediction that is neither linear nor equal at any two timesteps."""
    return torch.tanh(1.5 * x_vp.roll(1, -1) + math.sin(t)) + 0.2 * x_vp * t / 1000


def denoise_with(sigmas: list[float], prediction: str = "epsilon"):
    """The same network as ComfyUI wraps it, for eps and for v."""
    timesteps = dict(zip(sigmas, range(981, 0, -20), strict=False))

    def denoise(x: Tensor, sigma: float) -> Tensor:
        stretch = math.sqrt(1 + sigma**2)
        answer = network(x / stretch, timesteps[sigma])
        if prediction == "epsilon":
            return x - sigma * answer
        return x / stretch**2 - answer * sigma / stretch

    return denoise


def test_its_tables_are_ours_in_float32() -> None:
    """A float32 product of 1000 factors is off by some 1e-6; of two of them, a difference from 1 of .0017 is left."""
    made = scheduler(DDIMScheduler, True)
    assert made.timesteps.tolist() == list(range(981, 0, -20))
    torch.testing.assert_close(made.alphas_cumprod, torch.from_numpy(sd15_alpha_bar()), rtol=4e-6, atol=0)
    assert sigmas_of(made, True) == pytest.approx(sd15_sigmas(), rel=rounding(torch.float32, 2) / 0.0017)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("alpha_one", [True, False])
def test_inversion(alpha_one: bool, prediction: str) -> None:
    """v is handed over as the eps that it means at the level where the network was asked, t.

    diffusers' own v branch reads it at the level that is left, so that network and reading disagree by a step.
    """
    made = scheduler(DDIMInverseScheduler, alpha_one)
    sigmas = sigmas_of(made, alpha_one)
    x_vp = latent = noise(0, 2, 4, 6, 6)
    start = latent * Scale().stretch(sigmas[-1])
    states = invert_ddim(denoise_with(sigmas, prediction), start, sigmas, Scale())
    for t, sigma, ours in zip(made.timesteps.tolist(), sigmas[-2::-1], states.flip(0)[1:], strict=True):
        answer, kept = network(x_vp, t), made.alphas_cumprod[t]
        eps = answer if prediction == "epsilon" else kept.sqrt() * answer + (1 - kept).sqrt() * x_vp
        x_vp = made.step(eps, t, x_vp).prev_sample
        torch.testing.assert_close(ours / math.sqrt(1 + sigma**2), x_vp, **EXACT)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("alpha_one", [True, False])
def test_sampling(alpha_one: bool, prediction: str) -> None:
    made = scheduler(DDIMScheduler, alpha_one, prediction)
    sigmas = sigmas_of(made, alpha_one)
    x_vp = noise(1, 2, 4, 6, 6)
    states = replay_ddim(denoise_with(sigmas, prediction), x_vp * math.sqrt(1 + sigmas[0] ** 2), sigmas)
    for t, sigma, ours in zip(made.timesteps.tolist(), sigmas[1:], states[1:], strict=True):
        x_vp = made.step(network(x_vp, t), t, x_vp).prev_sample
        torch.testing.assert_close(ours / Scale().stretch(sigma), x_vp, **EXACT)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_where_a_noisy_step_goes_before_the_noise(eta: float) -> None:
    made = scheduler(DDIMScheduler, False)
    sigmas = sigmas_of(made, False)
    denoise = denoise_with(sigmas)
    x_vp = noise(2, 2, 4, 6, 6)
    for k, t in enumerate(made.timesteps.tolist()):
        x = x_vp * math.sqrt(1 + sigmas[k] ** 2)
        theirs = made.step(network(x_vp, t), t, x_vp, eta=eta, variance_noise=torch.zeros_like(x_vp)).prev_sample
        ours = mu(x, denoise(x, sigmas[k]), sigmas, k, eta=eta, scale=Scale())
        torch.testing.assert_close(ours / math.sqrt(1 + sigmas[k + 1] ** 2), theirs, **EXACT)


def test_unwidened_it_differs_by_its_own_rounding() -> None:
    """The same with float32 tables, as diffusers ships them: coefficients that are 6e-8 off, 50 times."""
    widened = scheduler(DDIMInverseScheduler, True)
    sigmas = sigmas_of(widened, True)
    made = DDIMInverseScheduler.from_config(widened.config)
    made.set_timesteps(STEPS)
    x_vp = noise(0, 2, 4, 6, 6)
    states = invert_ddim(denoise_with(sigmas), x_vp, sigmas, Scale())
    for t in made.timesteps.tolist():
        x_vp = made.step(network(x_vp, t), t, x_vp).prev_sample
    close = rounding(torch.float32, 50)
    torch.testing.assert_close(states[0] / math.sqrt(1 + sigmas[0] ** 2), x_vp, rtol=close, atol=close)
