"""The estimators of the smooth loss's gradient against double backward, differences of the loss, and each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tolerance import EXACT, rounding
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from toy_network import CHANNELS, Toy, denoiser

from smooth_lora.sampling.scale import Scale, per_sample
from smooth_lora.training.estimators import DIFFERENCE_STEPS, TrainingSample, accumulate, base_share, difference_steps
from smooth_lora.training.variation import step_variation

SIDE, BATCH, WEIGHT = 6, 3, 0.7
SIGMAS = {"ve": [0.05, 1.0, 12.0], "flow": [0.05, 0.5, 0.95]}


def a_sample(scale: Scale, dtype: torch.dtype = torch.float64) -> TrainingSample:
    generator = torch.Generator().manual_seed(1)
    x0, eps, probe = (
        torch.randn(BATCH, CHANNELS, SIDE, SIDE, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)
    )
    sigma = torch.tensor(SIGMAS[scale.kind], dtype=torch.float64)
    return TrainingSample(x0, eps, sigma, probe, base_share(sigma, scale))


def gradient(estimator: str, kind: str = "ve", dtype: torch.dtype = torch.float64, **more) -> tuple[Tensor, object]:
    scale, net = Scale(kind), Toy(dtype)
    losses = accumulate(
        estimator,
        denoiser(net, scale),
        a_sample(scale, dtype),
        scale,
        **{"weight": WEIGHT, "mean_of": lambda r: torch.tensor(0.2).to(r), **more},
    )
    assert all(weight.grad is None for weight in net.parameters() if not weight.requires_grad)
    return torch.cat([net.down.grad.flatten(), net.up.grad.flatten()]).double(), losses


def distance(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", SIGMAS)
def test_exact_is_the_gradient_of_the_loss_as_written(kind):
    """By differences of a loss put together from step_variation and the mean squared eps error."""
    scale = Scale(kind)
    sample, found = a_sample(scale), gradient("exact", kind)[0]

    def loss(net: Toy) -> float:
        x = sample.noisy(scale)
        denoised, r = step_variation(denoiser(net, scale), x, sample.sigma, sample.probe, scale=scale)
        wanted = sample.eps - (sample.x0 if kind == "flow" else 0)
        error = ((x - denoised) / per_sample(sample.sigma, x) - wanted) ** 2
        return float(error.detach().mean() + WEIGHT * ((r.detach() - 0.2) ** 2).mean())

    h, net = 1e-6, Toy()
    for place in (0, 17, 31):
        ends = []
        for move in (h, -h):
            with torch.no_grad():
                net.down.flatten()[place] += move
            ends.append(loss(net))
            with torch.no_grad():
                net.down.flatten()[place] -= move
        assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(float(found[place]), rel=1e-5)


def test_forward_mode_names_a_network_that_it_cannot_differentiate():
    def with_torchs_own_softmax(x, sigma):
        return denoiser(Toy(), Scale())(x, sigma).flatten(1).softmax(dim=1).view_as(x)

    with pytest.raises(ValueError, match="^the estimator forward cannot differentiate this network.*; choose first_or"):
        accumulate(
            "forward", with_torchs_own_softmax, a_sample(Scale()), Scale(), weight=1.0, mean_of=lambda r: 0.5 * r.mean()
        )


@pytest.mark.parametrize("kind", SIGMAS)
def test_forward_mode_is_exact(kind):
    """Up to the rounding of a network whose sums are of hundreds of terms, forwards and backwards."""
    assert distance(gradient("forward", kind)[0], gradient("exact", kind)[0]) < 16 * EXACT


@pytest.mark.parametrize("kind", SIGMAS)
def test_first_order_in_double_precision(kind):
    expected = gradient("exact", kind)[0]
    assert distance(gradient("first_order", kind)[0], expected) < 1e-6
    errors = [distance(gradient("first_order", kind, step=step)[0], expected) for step in (1e-3, 1e-4)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)  # the order of a central difference


def test_the_difference_says_how_far_it_strays():
    """By the derivative along u taken with a step so small that only rounding is left, and by its order."""
    slips = [gradient("first_order", step=step)[1].slip for step in (1e-2, 1e-3, 1e-6)]
    assert (slips[0] > 1e-8).all() and (slips[2] < rounding(torch.float64) / 1e-6).all()
    torch.testing.assert_close(slips[0] / slips[1], torch.full_like(slips[0], 100), rtol=0.1, atol=0)
    assert not gradient("exact")[1].slip.any()


def test_first_order_in_single_precision():
    """The roundings of both ends, beside the step between them: the toy takes longer steps better."""
    expected = gradient("exact")[0]
    for step in (4e-4, DIFFERENCE_STEPS[torch.float32]):
        found = gradient("first_order", dtype=torch.float32, step=step)[0]
        assert distance(found, expected) < rounding(torch.float32, 4) / step


@pytest.mark.parametrize("estimator", ["first_order", "forward"])
def test_they_report_the_same_losses(estimator):
    expected, found = gradient("exact")[1], gradient(estimator)[1]
    for name in ("base", "r", "penalty"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=0)
        assert not getattr(found, name).requires_grad


@pytest.mark.parametrize("estimator", ["exact", "first_order", "forward"])
def test_gradients_add_up_and_parts_share_the_loss(estimator):
    scale, net = Scale(), Toy()
    for _ in range(2):
        accumulate(
            estimator,
            denoiser(net, scale),
            a_sample(scale),
            scale,
            weight=WEIGHT,
            part=0.5,
            mean_of=lambda r: torch.tensor(0.2).to(r),
        )
    torch.testing.assert_close(
        torch.cat([net.down.grad.flatten(), net.up.grad.flatten()]),
        gradient(estimator)[0],
        rtol=1e-10,
        atol=rounding(torch.float64) / DIFFERENCE_STEPS[torch.float64],
    )  # of a difference


def test_no_weight_is_the_plain_loss_by_one_call():
    scale, net, calls = Scale(), Toy(), []
    sample, denoise = a_sample(scale), denoiser(net, scale)
    losses = accumulate(
        "first_order", lambda *a: calls.append(1) or denoise(*a), sample, scale, weight=0.0, mean_of=lambda r: r.mean()
    )
    assert len(calls) == 1 and losses.r.isnan().all()
    plain = Toy()
    (
        (
            (sample.noisy(scale) - denoiser(plain, scale)(sample.noisy(scale), sample.sigma))
            / sample.sigma[:, None, None, None]
            - sample.eps
        )
        ** 2
    ).mean().backward()
    torch.testing.assert_close(net.up.grad, plain.up.grad, rtol=1e-10, atol=1e-14)


def test_v_prediction_loss():
    """The share makes it the squared error of v = sqrt(alpha_bar) eps - sqrt(1 - alpha_bar) x0."""
    scale = Scale()
    sample = a_sample(scale)
    sigma = sample.sigma[:, None, None, None]
    signal, noise = 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()
    denoised = torch.tanh(sample.noisy(scale))
    eps_hat = (sample.noisy(scale) - denoised) / sigma
    expected = ((signal * eps_hat - noise * denoised - (signal * sample.eps - noise * sample.x0)) ** 2).mean((1, 2, 3))
    found = base_share(sample.sigma, scale, v_prediction=True) * ((denoised - sample.x0) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("estimator", ["first_order", "forward"])
def test_a_sample_without_variation_is_left_out(estimator):
    """A denoiser that ignores its input has r = 0 and no direction to go in: no NaN, and the base loss alone."""
    scale, sample = Scale(), a_sample(Scale())
    constant = nn.Parameter(torch.full_like(sample.x0, 0.3))
    accumulate(estimator, lambda x, sigma: constant + 0 * x, sample, scale, weight=WEIGHT, mean_of=lambda r: r.mean())
    expected = 2 * (0.3 - sample.x0) * sample.share[:, None, None, None] / sample.x0.numel()
    torch.testing.assert_close(constant.grad, expected)


@pytest.mark.parametrize(
    ("kind", "sigma", "factor"),
    [
        ("ve", 0.03, 1),
        ("ve", 6, 1),
        ("ve", 9, 1.5**2),
        ("ve", 4500, 2.5**2),
        ("flow", 0.5, 1),
        ("flow", 0.9, 1.5**2),
        ("flow", 1, 2.5**2),
    ],
)
def test_the_difference_is_wider_in_more_noise(kind, sigma, factor):
    found = difference_steps(1e-4, torch.tensor([sigma], dtype=torch.float64), Scale(kind))
    assert float(found) == pytest.approx(factor * 1e-4, rel=1e-12)


def test_every_number_type_has_a_step_and_unknown_estimators_are_refused():
    assert {torch.float64, torch.float32, torch.float16, torch.bfloat16} == set(DIFFERENCE_STEPS)
    with pytest.raises(ValueError, match="estimator must be first_order, exact or forward, got 'best'"):
        gradient("best")
    with torch.no_grad(), pytest.raises(ValueError, match="accumulate: gradients are off"):
        gradient("exact")


class _NoFloat64(TorchDispatchMode):
    """Stops at the first float64 tensor that is not on the CPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (list, tuple)) else [out]:
            assert not (isinstance(tensor, Tensor) and tensor.is_meta and tensor.dtype == torch.float64), func
        return out


@pytest.mark.parametrize("estimator", ["first_order", "exact"])
def test_a_device_without_float64_is_enough(estimator):
    """Meta tensors stand for it: they are of a device of their own, and the levels stay on the CPU."""
    scale, net, sample = Scale(), Toy(torch.float32).to("meta"), a_sample(Scale(), torch.float32)
    there = replace(sample, **{name: getattr(sample, name).to("meta") for name in ("x0", "eps", "probe")})
    with _NoFloat64():
        losses = accumulate(
            estimator, denoiser(net, scale), there, scale, weight=WEIGHT, mean_of=lambda r: torch.tensor(0.2).to(r)
        )
    assert losses.r.is_meta and net.down.grad.is_meta
