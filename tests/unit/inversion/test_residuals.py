"""The stochastic encoders: exact replay, the papers' formulas, and what their residuals look like as noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import (
    KINDS,
    Mixture,
    Recorded,
    alpha_bar,
    distance,
    even_sigmas,
    guided_mixture,
    mixture,
    noise,
    sd15_sigmas,
    sigmas_for,
    signal,
)
from torch import Tensor

from smooth_lora.inversion.algorithms.encoders import (
    dpm_encoder_path,
    edit_friendly_path,
    mu,
    replay_residuals,
    residuals_of,
)
from smooth_lora.sampling.scale import Scale

SHAPE = (2, 4, 4, 4)
ETAS = (0.1, 0.5, 1.0)
SEEDS = [11, 12]
# float64 rounds at 1e-16, and the residuals bring every step back onto the path, so that nothing adds up.
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def pictures(kind: str = "ve") -> Tensor:
    return mixture(kind).means[:2] + 0.5 * noise(2, *SHAPE)


def laid(encoder: str, x0: Tensor, sigmas: list[float], eta: float, kind: str, seeds: list[int]) -> Tensor:
    if encoder == "edit_friendly":
        return edit_friendly_path(x0, sigmas, scale=Scale(kind), seeds=seeds)
    return dpm_encoder_path(x0, sigmas, eta=eta, scale=Scale(kind), seeds=seeds)


ENCODERS = ("edit_friendly", "dpm_encoder")


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_comes_back_for_any_eta_and_seed(kind: str, encoder: str, eta: float) -> None:
    sigmas, denoise, x0 = sigmas_for(kind, 25), guided_mixture(7.5, kind), pictures(kind)
    kept = []
    for seeds in (SEEDS, [13, 14]):
        path = laid(encoder, x0, sigmas, eta, kind, seeds)
        kept.append(residuals_of(denoise, path, sigmas, eta=eta, scale=Scale(kind)))
        states = replay_residuals(denoise, path[0], kept[-1], sigmas, eta=eta, scale=Scale(kind))
        assert path.isfinite().all() and kept[-1].isfinite().all()
        assert distance(states[-1], x0) < 1e-12
        torch.testing.assert_close(states, path, **EXACT)
    assert distance(kept[1], kept[0]) > 0.5  # of independent residuals it would be sqrt(2)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_another_guidance_gives_an_edit(encoder: str) -> None:
    """The residuals of one model do not hide that the replay uses another."""
    sigmas, x0 = sd15_sigmas(), pictures()
    path = laid(encoder, x0, sigmas, 1.0, "ve", SEEDS)
    kept = residuals_of(guided_mixture(1.0), path, sigmas, eta=1.0, scale=Scale())
    edited = replay_residuals(guided_mixture(7.5), path[0], kept, sigmas, eta=1.0, scale=Scale())
    assert distance(edited[-1], x0) > 0.1


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_path_ends_at_the_picture_itself(kind: str, encoder: str) -> None:
    sigmas, x0 = sigmas_for(kind), pictures(kind)
    assert torch.equal(laid(encoder, x0, sigmas, 0.5, kind, SEEDS)[-1], x0)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_path_ends_at_the_picture_above_sigma_zero_too(encoder: str) -> None:
    """As diffusers has it with set_alpha_to_one off: the picture itself lies at the last sigma, no noise is added."""
    sigmas, x0 = sd15_sigmas(last=0.02917), pictures()
    path = laid(encoder, x0, sigmas, 0.5, "ve", SEEDS)
    assert torch.equal(path[-1], x0)
    kept = residuals_of(guided_mixture(7.5), path, sigmas, eta=0.5, scale=Scale())
    states = replay_residuals(guided_mixture(7.5), path[0], kept, sigmas, eta=0.5, scale=Scale())
    assert distance(states[-1], x0) < 1e-12


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_does_not_depend_on_its_batch_mates(kind: str, encoder: str) -> None:
    sigmas, x0 = sigmas_for(kind), pictures(kind)
    path = laid(encoder, x0, sigmas, 0.5, kind, SEEDS)
    kept = residuals_of(guided_mixture(7.5, kind), path, sigmas, eta=0.5, scale=Scale(kind))
    for b in range(2):
        alone = laid(encoder, x0[b : b + 1], sigmas, 0.5, kind, SEEDS[b : b + 1])
        torch.testing.assert_close(alone, path[:, b : b + 1], **EXACT)
        own = residuals_of(guided_mixture(7.5, kind), alone, sigmas, eta=0.5, scale=Scale(kind))
        torch.testing.assert_close(own, kept[:, b : b + 1], **EXACT)
    same = laid(encoder, x0[:1].repeat(2, 1, 1, 1), sigmas, 0.5, kind, [7, 7])
    torch.testing.assert_close(same[:, 0], same[:, 1], **EXACT)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_noise_level_has_its_share_of_noise(kind: str, encoder: str) -> None:
    """q(x_k | x0): mean a x0 and std sigma. 16384 numbers give the std to 1 / sqrt(32768) = .6 %; five times that."""
    sigmas = sigmas_for(kind)[:-1]
    x0 = noise(1, 1, 4, 64, 64)
    path = laid(encoder, x0, [*sigmas, 0.0], 0.5, kind, [1])
    drawn = torch.stack([(path[k] - signal(sigma, kind) * x0) / sigma for k, sigma in enumerate(sigmas)]).flatten(1)
    assert drawn.std(dim=1).tolist() == pytest.approx([1.0] * 50, abs=0.03)
    assert drawn.mean(dim=1).tolist() == pytest.approx([0.0] * 50, abs=0.04)
    neighbours = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(drawn[:20], drawn[1:21], strict=True)]
    if encoder == "edit_friendly":
        assert neighbours == pytest.approx([0.0] * 20, abs=0.04)
    else:
        assert min(neighbours) > 0.6  # each follows from the one before


def mu_vp(x_vp: Tensor, denoised: Tensor, kept: float, kept_next: float, share: float) -> Tensor:
    """DDIM eq. 12 before the fresh noise, whose variance is `share` of DDPM's posterior variance."""
    eps = (x_vp - math.sqrt(kept) * denoised) / math.sqrt(1 - kept)
    posterior = (1 - kept_next) / (1 - kept) * (1 - kept / kept_next)
    return math.sqrt(kept_next) * denoised + math.sqrt(1 - kept_next - share * posterior) * eps


@pytest.mark.parametrize("eta", [0.0, *ETAS])
def test_mu_is_ddims_with_eta_squared(eta: float) -> None:
    sigmas = sd15_sigmas(last=0.02917)
    x_vp, denoised = noise(0, *SHAPE), noise(1, *SHAPE)
    for k in range(50):
        kept, kept_next = alpha_bar(sigmas[k]), alpha_bar(sigmas[k + 1])
        ours = mu(x_vp / math.sqrt(kept), denoised, sigmas, k, eta=eta, scale=Scale()) * math.sqrt(kept_next)
        torch.testing.assert_close(ours, mu_vp(x_vp, denoised, kept, kept_next, eta**2), **EXACT)
        if eta in (0.1, 0.5):
            published = mu_vp(x_vp, denoised, kept, kept_next, eta)  # the published code's eta without its square
            assert distance(ours, published) > 1e-4


def test_the_dpm_encoder_draws_from_ddpms_posterior() -> None:
    """DDPM eq. 6 and 7, q(x_(t-1) | x_t, x0), in its own coefficients; the drawn noise must come out white."""
    sigmas, x0 = sd15_sigmas(), noise(1, 1, 4, 64, 64)
    path = dpm_encoder_path(x0, sigmas, eta=1.0, scale=Scale(), seeds=[3])
    for k in (0, 10, 30, 48):
        kept, kept_next = alpha_bar(sigmas[k]), alpha_bar(sigmas[k + 1])
        alpha = kept / kept_next
        mean = (
            math.sqrt(kept_next) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - kept_next) * path[k] * math.sqrt(kept)
        ) / (1 - kept)
        std = math.sqrt((1 - kept_next) / (1 - kept) * (1 - alpha))
        drawn = (path[k + 1] * math.sqrt(kept_next) - mean) / std
        # 16384 numbers: the std is known to .6 %, mean and correlation to .8 %; five times that.
        assert float(drawn.std()) == pytest.approx(1.0, abs=0.03)
        assert float(drawn.mean()) == pytest.approx(0.0, abs=0.04)
        assert float(np.corrcoef(drawn.flatten(), path[k].flatten())[0, 1]) == pytest.approx(0.0, abs=0.04)


def z_of(encoder: str, x0: Tensor, denoise) -> np.ndarray:
    """[N - 1, values] the residuals in units of the step's fresh noise, eta 1; at the last step that is 0."""
    sigmas = sd15_sigmas()
    path = laid(encoder, x0, sigmas, 1.0, "ve", [5])
    kept = residuals_of(denoise, path, sigmas, eta=1.0, scale=Scale()).flatten(1)[:-1].numpy()
    levels = np.array(sigmas)
    fresh = levels[1:-1] * np.sqrt(1 - levels[1:-1] ** 2 / levels[:-2] ** 2)
    return kept / fresh[:, None]


@pytest.fixture(scope="module")
def drawn_picture() -> tuple[Tensor, Mixture]:
    """A picture of Gaussian data, and the denoiser that knows the data but not the picture."""
    data = Mixture(torch.full((1, 4, 64, 64), 0.3, dtype=torch.float64), 0.5)
    return 0.3 + 0.5 * noise(1, 1, 4, 64, 64), data


def test_edit_friendly_residuals_if_the_model_knows_the_picture(drawn_picture) -> None:
    """x_s - mu(x_t) = sigma_s n_s - sigma_s^2 / sigma_t n_t, so variance and correlation follow by hand.

    16384 numbers: a variance is known to 1.1 %, a correlation to .8 %; five times that.
    """
    x0, _ = drawn_picture
    z = z_of("edit_friendly", x0, lambda x, sigma: x0)
    s = np.array(sd15_sigmas()[:-1])
    expected = (s[:-1] ** 2 + s[1:] ** 2) / (s[:-1] ** 2 - s[1:] ** 2)
    assert z.var(axis=1) == pytest.approx(expected, rel=0.055)
    size = np.sqrt(s[1:] ** 2 + s[1:] ** 4 / s[:-1] ** 2)
    expected = -(s[2:] ** 2) / (size[:-1] * size[1:])
    found = [np.corrcoef(a, b)[0, 1] for a, b in zip(z, z[1:], strict=False)]
    assert found == pytest.approx(expected, abs=0.04)
    assert found[:40] == pytest.approx([-0.5] * 40, abs=0.055)  # the steps are short beside sigma there


def test_edit_friendly_residuals_of_a_model_that_does_not_know_it(drawn_picture) -> None:
    """While noise is well above the data's own std the guess of the picture hardly matters: 8 to 16, not 1."""
    x0, data = drawn_picture
    z = z_of("edit_friendly", x0, data)
    s = np.array(sd15_sigmas()[:-1])
    expected = (s[:-1] ** 2 + s[1:] ** 2) / (s[:-1] ** 2 - s[1:] ** 2)
    assert z[:30].var(axis=1) == pytest.approx(expected[:30], rel=0.055)
    assert z[:30].var(axis=1).min() > 7
    found = [np.corrcoef(a, b)[0, 1] for a, b in zip(z[:40], z[1:41], strict=True)]
    assert found == pytest.approx([-0.5] * 40, abs=0.055)


@pytest.mark.parametrize("knows", [True, False])
def test_dpm_encoder_residuals_are_nearly_white(drawn_picture, knows: bool) -> None:
    """Exactly the drawn noise if the model knows the picture; otherwise its error adds some, most near data."""
    x0, data = drawn_picture
    z = z_of("dpm_encoder", x0, (lambda x, sigma: x0) if knows else data)
    kept = slice(None) if knows else slice(30)
    assert z[kept].var(axis=1) == pytest.approx(np.ones(len(z[kept])), abs=0.055)
    found = [np.corrcoef(a, b)[0, 1] for a, b in zip(z, z[1:], strict=False)][kept]
    assert found == pytest.approx(np.zeros(len(found)), abs=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_model_calls_and_what_is_heard(kind: str) -> None:
    """Once a step, never at sigma 0; a flow begins at sigma 1, where the picture has no share."""
    sigmas, x0 = even_sigmas(6, 1.0), pictures(kind)
    path = edit_friendly_path(x0, sigmas, scale=Scale(kind), seeds=SEEDS)
    encoding, replaying, heard = Recorded(mixture(kind)), Recorded(mixture(kind)), []
    kept = residuals_of(encoding, path, sigmas, eta=1.0, scale=Scale(kind), on_step=lambda *args: heard.append(args))
    replay_residuals(
        replaying, path[0], kept, sigmas, eta=1.0, scale=Scale(kind), on_step=lambda *args: heard.append(args)
    )
    assert encoding.sigmas == replaying.sigmas == sigmas[:-1]
    assert [step for step, _, _ in heard] == [*range(6), *range(6)]
    for step, x, _ in heard:
        torch.testing.assert_close(x, path[step + 1], **EXACT)


def test_arguments_are_left_alone_and_the_global_stream_too() -> None:
    x0, sigmas = pictures(), sd15_sigmas()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    path = dpm_encoder_path(x0, sigmas, eta=0.5, scale=Scale(), seeds=SEEDS)
    before = path.clone()
    kept = residuals_of(mixture(), path, sigmas, eta=0.5, scale=Scale())
    kept_before = kept.clone()
    replay_residuals(mixture(), path[0], kept, sigmas, eta=0.5, scale=Scale())
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(x0, pictures()) and torch.equal(path, before) and torch.equal(kept, kept_before)
