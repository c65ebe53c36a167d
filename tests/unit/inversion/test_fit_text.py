"""Fitting a text: against numpy's least squares where the prediction is linear in it, and what goes wrong otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import distance, noise
from tolerance import STEPS, assert_rounds_to, rounding
from torch import Tensor

from smooth_lora.inversion.algorithms.text_fit import PROBE_LENGTH, Curvature, Effort, fit_text


class Linear:
    """A prediction linear in the text, [R, 40] from 1 x 2 x 5 numbers, and how often it was asked for."""

    def __init__(self, rows: int = 1, dtype: torch.dtype = torch.float64):
        self.matrix, self.base = noise(1, rows * 40, 10, dtype=dtype), noise(2, rows, 40, dtype=dtype)
        self.target, self.start = noise(3, rows, 40, dtype=dtype), noise(4, 1, 2, 5, dtype=dtype)
        self.calls = 0

    def __call__(self, text: Tensor) -> Tensor:
        self.calls += 1
        return self.base + (self.matrix @ text.flatten()).reshape(self.base.shape)

    def optimum(self) -> tuple[np.ndarray, float]:
        """The best text and its mean squared error, by numpy."""
        matrix, wanted = self.matrix.double().numpy(), (self.target - self.base).double().flatten().numpy()
        text, *_ = np.linalg.lstsq(matrix, wanted, rcond=None)
        return text, float(((matrix @ text - wanted) ** 2).mean())

    def error(self, prediction: Tensor) -> float:
        """Mean squared error, in float64 whatever the prediction's type."""
        return float(((prediction.double() - self.target.double()) ** 2).mean())


def fitted(model: Linear, iterations: int, stop: float = 0.0, **options) -> tuple[Tensor, Tensor, Effort]:
    effort = Effort()
    text, prediction = fit_text(
        model,
        model.start,
        model.target,
        stop=stop,
        iterations=iterations,
        curvature=Curvature(),
        effort=effort,
        on_inner=options.get("on_inner"),
    )
    return text, prediction, effort


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rows", [1, 2])
def test_the_least_squares_optimum_for_all_rows_together(rows: int, dtype: torch.dtype) -> None:
    """The error is the lowest up to its rounding, and the text as near the optimum as such an error can tell.

    A text that is off by d has an error of lowest (1 + |A d|^2 / |r|^2), r being the residual at the optimum: errors
    that differ by less than their rounding may have texts as far from each other as the rounding's square root.
    """
    model = Linear(rows, dtype)
    text, prediction, _ = fitted(model, 40)
    best, lowest = model.optimum()
    assert model.error(prediction) == pytest.approx(lowest, rel=rounding(dtype))
    off = model.matrix.double().numpy() @ (text.double().flatten().numpy() - best)
    assert np.linalg.norm(off) < math.sqrt(rounding(dtype) * lowest * off.size)
    assert_rounds_to(prediction, model(text))
    assert text.dtype == dtype and text.shape == (1, 2, 5)
    assert not text.requires_grad and not prediction.requires_grad


def test_ten_passes_are_enough_for_ten_unknowns() -> None:
    """As many as there are unknowns: a method of conjugate directions would need as many in exact arithmetic."""
    model = Linear()
    lowest = model.optimum()[1]
    assert model.error(fitted(model, 10)[1]) < lowest * 1.001


def test_the_first_step_is_the_best_one_down_the_gradient() -> None:
    """In closed form: with r = prediction - target and g = A^T r the step is -g |g|^2 / |A g|^2."""
    model = Linear()
    matrix, residual = model.matrix.numpy(), (model(model.start) - model.target).flatten().numpy()
    gradient = matrix.T @ residual
    expected = model.start.flatten().numpy() - gradient * (gradient @ gradient) / np.square(matrix @ gradient).sum()
    # The change is measured over PROBE_LENGTH of the text, so that its rounding is 1 / PROBE times as large beside it.
    assert_rounds_to(fitted(model, 1)[0].flatten(), expected, STEPS / PROBE_LENGTH)


def test_the_quasi_newton_step_is_bfgs_with_the_matrix_written_out() -> None:
    """H <- (I - r s y^T) H (I - r y s^T) + r s s^T with r = 1 / s^T y, from H = s^T y / y^T y of the last pair."""
    curved = noise(9, 8, 8).numpy()
    curved = curved @ curved.T + np.eye(8)
    curvature, pairs = Curvature(), []
    for seed in range(5):
        move = noise(seed, 8).numpy()
        pairs.append((move, curved @ move))
        curvature.add(torch.from_numpy(move), torch.from_numpy(curved @ move))
    s, y = pairs[-1]
    inverse = np.eye(8) * (s @ y) / (y @ y)
    for s, y in pairs:
        left = np.eye(8) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    gradient = noise(6, 8)
    assert_rounds_to(curvature.step(gradient), -inverse @ gradient.numpy(), STEPS * np.linalg.cond(curved))


def test_a_move_that_shows_no_curvature_is_forgotten() -> None:
    curvature = Curvature()
    for change in (torch.zeros(3), torch.tensor([-1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])):
        curvature.add(torch.tensor([1.0, 0.0, 0.0]), change)
    assert curvature.pairs == []


@pytest.mark.parametrize("iterations", [0, 1, 2, 3, 5, 10])
@pytest.mark.parametrize("seed", range(5))
def test_never_worse_than_the_start_and_the_best_of_what_was_seen(seed: int, iterations: int) -> None:
    """A landscape of waves, where steps that trust the curvature land anywhere."""
    waves, start, target = 6 * noise(seed, 30, 10), noise(seed + 50, *(1, 2, 5)), noise(seed + 90, 1, 30)
    seen: list[tuple[Tensor, float]] = []

    def predict(text: Tensor) -> Tensor:
        prediction = torch.sin(waves @ text.flatten())[None]
        if torch.is_grad_enabled():  # the probe of the first step is no candidate
            seen.append((text.detach(), float(((prediction.detach() - target) ** 2).mean())))
        return prediction

    text, prediction = fit_text(
        predict, start, target, stop=0.0, iterations=iterations, curvature=Curvature(), effort=Effort()
    )
    error = float(((prediction - target) ** 2).mean())
    assert error <= seen[0][1]
    assert error == min(error for _, error in seen)
    assert any(torch.equal(text, candidate) for candidate, found in seen if found == error)


def test_stopping_early_is_honoured_and_counted() -> None:
    model = Linear()
    start = model.error(model(model.start))
    lowest = model.optimum()[1]
    model.calls = 0
    text, prediction, effort = fitted(model, 40, stop=start)
    assert torch.equal(text, model.start)
    assert effort == Effort(forward=1, backward=0, inner=0, met=1) and model.calls == 1
    model.calls = 0
    _, prediction, effort = fitted(model, 40, stop=(start + lowest) / 2)
    assert lowest < model.error(prediction) <= (start + lowest) / 2
    assert effort.met == 1 and effort.inner < 5 and effort.forward == model.calls
    assert fitted(model, 3, stop=lowest / 2)[2].met == 0


@pytest.mark.parametrize("rows", [1, 2])
def test_effort_counts_rows(rows: int) -> None:
    model, inner = Linear(rows), []
    _, _, effort = fitted(model, 6, on_inner=lambda: inner.append(1))
    assert len(inner) == effort.inner == 6
    assert effort.backward == 6 * rows
    assert effort.forward == model.calls * rows


def test_a_listener_stops_at_once() -> None:
    model = Linear()

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        fitted(model, 40, on_inner=stop)
    assert model.calls == 1


@pytest.mark.parametrize("good", [0, 1, 3])
def test_nan_is_named(good: int) -> None:
    model = Linear()

    def predict(text: Tensor) -> Tensor:
        return model(text) * (math.nan if model.calls > good else 1.0)

    with pytest.raises(
        ValueError,
        match=r"null text: the model's prediction is not finite \(NaN or infinity\).*"
        "load the model in a wider precision, such as float32 or bfloat16",
    ):
        fit_text(predict, model.start, model.target, stop=0.0, iterations=10, curvature=Curvature(), effort=Effort())


def test_a_text_that_has_no_effect_stays() -> None:
    start, target = noise(0, 1, 2, 5), noise(1, 1, 9)
    text, prediction = fit_text(
        lambda text: 0 * text.sum() + torch.ones(1, 9),
        start,
        target,
        stop=0.0,
        iterations=5,
        curvature=Curvature(),
        effort=Effort(),
    )
    assert torch.equal(text, start) and torch.equal(prediction, torch.ones(1, 9, dtype=torch.float64))


def test_half_precision_does_not_underflow() -> None:
    """The plain gradient of the mean, residual / size, is 0 in float16 in every element; the fit must not see that."""
    matrix, wanted, start = (
        noise(seed, *shape, dtype=torch.float32) for seed, shape in ((1, (65536, 10)), (2, (10,)), (3, (1, 2, 5)))
    )
    matrix = 6e-5 * matrix
    target = (matrix @ wanted).reshape(1, 4, 128, 128)

    def predict(text: Tensor) -> Tensor:
        return (matrix @ text.flatten()).reshape(target.shape).half()

    residual = predict(start).float() - target
    assert not (residual / residual.numel()).half().any()
    text, prediction = fit_text(predict, start, target, stop=0.0, iterations=10, curvature=Curvature(), effort=Effort())
    # What is left is float16's own rounding of the prediction, 2^-11 of it.
    assert distance(prediction.float(), target) < 1e-3
    assert distance(text.flatten(), wanted) < 1e-2
