"""The loss of drawn walks: where it is taken, its gradient, and that it is the hand-computed number."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from toy_network import CHANNELS, Toy, denoiser

from smooth_lora.sampling.scale import Scale, alpha_bar_to_sigma, per_sample, scaled_linear_alpha_bar
from smooth_lora.training.drawn_walks import (
    HIGHEST_LEVEL,
    LOSS_LEVELS,
    LOWEST_LEVEL,
    STEP_LENGTH_WEIGHT,
    WALK_FRAMES,
    DrawnWalk,
    accumulate_drawn_walk,
    draw_walk,
    drawn_walk_loss,
    unevenness,
)
from smooth_lora.training.loop import LOG_COLUMNS, Trainer, TrainingData
from smooth_lora.training.settings import TrainingSettings
from smooth_lora.training.trained_pairs import TrainedPair

TABLE = alpha_bar_to_sigma(scaled_linear_alpha_bar())
SHAPE = (CHANNELS, 6, 6)


def plan(number: int = 0, **changed) -> DrawnWalk:
    made = draw_walk(TABLE, SHAPE, Scale(), seed=3, number=number)
    return replace(made, x=made.x.double(), **changed)


class TestPlan:
    def test_it_starts_as_the_host_s_samplers_do_on_a_great_circle_of_noise(self):
        made = plan()
        noise = (made.x / (1 + made.sigmas[0] ** 2) ** 0.5).flatten(1)
        assert made.sigmas[0] == pytest.approx(float(TABLE[-1])) and noise.shape == (WALK_FRAMES, 144)
        turns = torch.nn.functional.cosine_similarity(noise[1:], noise[:-1]).arccos()
        assert float(turns.std() / turns.mean()) < 1e-4 and 0.1 < float(turns.mean()) < 0.2  # a tenth of 90 degrees
        flow = draw_walk(torch.linspace(0.001, 1, 1000), SHAPE, Scale("flow"), seed=3, number=0)
        assert flow.x.std() == pytest.approx(1, 0.2)

    def test_levels_lie_where_it_is_decided_what_is_drawn(self):
        seen = set()
        for number in range(200):
            made = plan(number)
            assert len(made.levels) == LOSS_LEVELS and made.levels == sorted(made.levels)
            assert sorted(made.sigmas, reverse=True) == made.sigmas and min(made.sigmas) > 0
            seen |= {made.sigmas[place] for place in made.levels}
        low, high = float(TABLE[int(LOWEST_LEVEL * 1000)]), float(TABLE[int(HIGHEST_LEVEL * 1000) - 1])
        assert len(seen) == 9 and all(low - 1e-9 <= sigma <= high + 1e-9 for sigma in seen)

    def test_number_and_seed_decide_it(self):
        assert torch.equal(plan(5).x, plan(5).x) and plan(5).levels == plan(5).levels
        assert not torch.equal(plan(5).x, plan(6).x)
        assert not torch.equal(plan(5).x, draw_walk(TABLE, SHAPE, Scale(), seed=4, number=5).x.double())


def by_hand(net: Toy, made: DrawnWalk, cfg: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss written out and what of it is unevenness, the states computed without a graph as defined."""
    denoise, loss, total = denoiser(net, Scale()), 0.0, 0.0

    def guided(x, sigma):
        one = torch.full((WALK_FRAMES,), sigma, dtype=torch.float64)
        cond, uncond = denoise(x, one), 0.5 * denoise(x, one)
        return (1 - cfg) * uncond + cfg * cond

    for level in made.levels:
        x = made.x
        with torch.no_grad():
            for sigma, following in zip(made.sigmas[:level], made.sigmas[1 : level + 1], strict=True):
                x = guided(x, sigma) + following * (x - guided(x, sigma)) / sigma
        denoised = guided(x, made.sigmas[level])
        d = torch.stack([(a - b).norm() for a, b in itertools.pairwise(denoised)])
        uneven = d.var(correction=0) / d.mean() ** 2
        loss = loss + (uneven + STEP_LENGTH_WEIGHT * d.mean() / 12) / len(made.levels)
        total = total + uneven.detach() / len(made.levels)
    return loss, total


def test_three_frames_by_hand_and_no_change_of_scale():
    denoised = torch.tensor([0.0, 1.0, 4.0], dtype=torch.float64)[:, None].requires_grad_()  # steps 1 and 3
    found = unevenness(denoised)
    assert found.item() == pytest.approx(0.25)
    found.backward()
    assert float((denoised.grad * denoised.detach()).sum()) == pytest.approx(0.0, abs=1e-12)
    assert float(drawn_walk_loss(denoised)) == pytest.approx(0.25 + STEP_LENGTH_WEIGHT * 2)
    four = denoised.detach().expand(3, 4) / 2  # the same lengths, of four values each
    assert float(drawn_walk_loss(four)) == pytest.approx(0.25 + STEP_LENGTH_WEIGHT * 2 / 2)


def rows_with_and_without_text(net: Toy):
    """A denoiser whose second half of rows, those without a text, gives half of what the first does."""
    inner = denoiser(net, Scale())

    def denoise(x, sigma):
        return inner(x, sigma) * per_sample(torch.tensor([1.0] * WALK_FRAMES + [0.5] * WALK_FRAMES)[: len(x)], x)

    return denoise


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_value_and_gradient_are_those_of_the_definition(cfg):
    net = Toy()
    wanted, uneven = by_hand(net, plan(), cfg)
    expected = torch.autograd.grad(2.5 * wanted, [net.down, net.up])
    found = accumulate_drawn_walk(rows_with_and_without_text(net), plan(), cfg=cfg, weight=2.5)
    assert found == pytest.approx(float(uneven), rel=1e-9) and found > 0
    for weight, gradient in zip((net.down, net.up), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-8, atol=1e-12)
        weight.grad = None


def test_frames_that_all_look_alike_have_no_pace_and_no_gradient_that_is_not_finite():
    def still(x, sigma):
        return x * 0

    net = Toy()
    assert accumulate_drawn_walk(
        lambda x, sigma: still(x, sigma) + 0 * net.up.sum(), plan(), cfg=2.0, weight=1.0
    ) == pytest.approx(1.0)
    assert net.up.grad.isfinite().all()


def test_descending_along_it_makes_a_jump_gentle():
    """A denoiser that chooses between two pictures, steeply: the steepness is what is trained."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    steep = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def choosing(x, sigma):
        along = (x * picture).flatten(1).sum(dim=1) / picture.norm() / sigma
        return per_sample(torch.tanh(steep * along), x) * picture

    def spread(weight: float) -> float:
        return (
            sum(
                accumulate_drawn_walk(choosing, plan(number, levels=[3, 5]), cfg=1.0, weight=weight / 30)
                for number in range(30)
            )
            / 30
        )

    optimizer, first = torch.optim.SGD([steep], lr=0.3), spread(0.0)
    for _ in range(15):
        optimizer.zero_grad()
        spread(1.0)
        optimizer.step()
    assert 0 < steep.item() < 1.5 and spread(0.0) < 0.8 * first


def trainer(**settings) -> Trainer:
    net = Toy(torch.float32)
    generator = torch.Generator().manual_seed(5)
    data = TrainingData([torch.randn(*SHAPE, generator=generator) for _ in range(3)], TABLE)
    return Trainer(
        TrainingSettings(steps=2, batch_size=2, learning_rate=3e-3, seed=3, svr_lambda=0.0, **settings),
        {"qkv": TrainedPair(net.down, net.up)},
        data,
        lambda images, empty, *, may_round: denoiser(net, Scale()),
        Scale(),
    )


def test_a_training_takes_its_gradient_and_logs_it():
    plain, paced, split = trainer(), trainer(pace_lambda=3.0), trainer(pace_lambda=3.0, accumulation=2)
    for one in (plain, paced, split):
        one.run()
    place = LOG_COLUMNS.index("unevenness")
    assert not torch.equal(plain.weights["qkv.down"], paced.weights["qkv.down"])
    assert all(row[place] > 0 for row in paced.log) and paced.log[0][place] != paced.log[1][place]
    walks = [draw_walk(TABLE, SHAPE, Scale(), seed=3, number=number) for number in range(2)]
    drawn = [accumulate_drawn_walk(denoiser(Toy(torch.float32), Scale()), walk, cfg=7.5, weight=0.0) for walk in walks]
    assert paced.log[0][place] == pytest.approx(drawn[0], rel=1e-4)
    assert split.log[0][place] == pytest.approx(sum(drawn) / 2, rel=1e-4)


def test_without_it_no_walk_is_drawn_and_the_log_says_nothing():
    plain = trainer()
    calls: list[int] = []
    inner = plain._denoiser_for
    plain._denoiser_for = lambda images, empty, **more: calls.append(len(images)) or inner(images, empty, **more)
    plain.run(until=2)
    assert calls == [2, 2] and [row[LOG_COLUMNS.index("unevenness")] for row in plain.log] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("precision", "svr_lambda", "allowed"),
    [("float32", 0.0, [False, False]), ("bfloat16", 0.0, [True, True]), ("bfloat16", 1.0, [False, True])],
)
def test_bfloat16_is_allowed_where_no_results_are_subtracted(precision: str, svr_lambda: float, allowed: list[bool]):
    one = trainer(pace_lambda=1.0, pace_cfg=1.0, precision=precision)
    one.settings = replace(one.settings, svr_lambda=svr_lambda)
    calls: list[bool] = []
    inner = one._denoiser_for
    one._denoiser_for = lambda *batch, may_round: calls.append(may_round) or inner(*batch, may_round=may_round)
    one.run(until=1)
    assert calls == allowed
