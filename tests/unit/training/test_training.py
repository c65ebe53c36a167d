"""The training loop on a toy network: what it draws, that it learns, and that nothing is lost by a kill."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tolerance import rounding
from toy_network import CHANNELS, Toy, denoiser
from two_processes import together

from smooth_lora.files.tensor_file import read_tensor_file
from smooth_lora.sampling.scale import Scale, alpha_bar_to_sigma, scaled_linear_alpha_bar
from smooth_lora.training.draws import BatchPlan, draw_row
from smooth_lora.training.loop import LOG_COLUMNS, Trainer, TrainingData
from smooth_lora.training.processes import Processes
from smooth_lora.training.settings import TrainingRun, TrainingSettings, learning_rate
from smooth_lora.training.state import restore_state, save_state
from smooth_lora.training.trained_pairs import TrainedPair, new_pairs

FACTS = {"model": "a", "data": "b"}
SETTINGS = TrainingSettings(steps=6, batch_size=2, learning_rate=1e-2, ema=0.9, seed=3, difference_step=2e-3)
SIGMAS = alpha_bar_to_sigma(scaled_linear_alpha_bar())


class Stop(Exception):
    """What the host raises when somebody presses stop."""


def a_trainer(settings: TrainingSettings = SETTINGS, dtype: torch.dtype = torch.float32) -> Trainer:
    net = Toy(dtype)
    generator = torch.Generator().manual_seed(5)
    data = TrainingData([torch.randn(CHANNELS, 6, 6, generator=generator).to(dtype) for _ in range(5)], SIGMAS)
    pairs = {"qkv": TrainedPair(net.down, net.up)}
    return Trainer(settings, pairs, data, lambda images, empty, *, may_round: denoiser(net, Scale()), Scale())


def result(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {
        **{name: weight.detach().clone() for name, weight in trainer.weights.items()},
        **{f"averaged {name}": weight.clone() for name, weight in trainer.averaged.items()},
        "mean_r": trainer.mean_r,
        "log": torch.tensor(trainer.log),
    }


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def unbroken() -> dict[str, torch.Tensor]:
    trainer = a_trainer()
    trainer.run()
    return result(trainer)


@pytest.mark.parametrize("estimator", ["first_order", "exact"])
def test_it_lowers_both_losses(estimator):
    trainer = a_trainer(replace(SETTINGS, steps=150, estimator=estimator, batch_size=5))
    trainer.run()
    log = torch.tensor(trainer.log)
    assert log.shape == (150, len(LOG_COLUMNS)) and trainer.step == 150
    first, last = log[:30].mean(dim=0), log[-30:].mean(dim=0)
    assert last[0] < 0.9 * first[0] and last[1] < 0.8 * first[1]


def test_the_same_seed_trains_the_same_and_another_does_not(unbroken):
    again, other = a_trainer(), a_trainer(replace(SETTINGS, seed=4))
    again.run()
    other.run()
    assert_same(result(again), unbroken)
    assert not torch.equal(result(other)["qkv.down"], unbroken["qkv.down"])


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_a_run_that_was_broken_off_ends_as_an_unbroken_one(tmp_path: Path, optimizer):
    settings, path = replace(SETTINGS, optimizer=optimizer), tmp_path / "run.safetensors"
    whole = a_trainer(settings)
    whole.run()

    def save_and_die(trainer: Trainer) -> None:
        if trainer.step == 3:
            save_state(trainer, path, FACTS)
            raise Stop

    with pytest.raises(Stop):
        a_trainer(settings).run(save_and_die)
    resumed = a_trainer(settings)
    restore_state(resumed, path, FACTS)
    assert resumed.step == 3
    resumed.run()
    assert_same(result(resumed), result(whole))


def test_a_stop_in_the_middle_of_a_step_takes_nothing_of_it(unbroken):
    """The optimiser, the running mean and the averaged weights stand where the last whole step left them."""
    net, calls = Toy(torch.float32), []

    def denoiser_for(places, empty, *, may_round):
        inner = denoiser(net, Scale())

        def denoise(x, sigma):
            calls.append(1)
            if len(calls) == 3 * 2 + 3:  # the last of the third step's three calls
                raise Stop
            return inner(x, sigma)

        return denoise

    trainer = Trainer(SETTINGS, {"qkv": TrainedPair(net.down, net.up)}, a_trainer().data, denoiser_for, Scale())
    with pytest.raises(Stop):
        trainer.run()
    assert trainer.step == 2 and len(trainer.log) == 2
    trainer.run()
    assert_same(result(trainer), unbroken)


def test_accumulated_calls_are_one_larger_batch_but_for_the_running_mean():
    """Without the regulariser, that is: its running mean takes up one call at a time."""
    ends = []
    for batch, accumulation in ((4, 1), (2, 2)):
        trainer = a_trainer(
            replace(SETTINGS, svr_lambda=0.0, batch_size=batch, accumulation=accumulation, steps=1, clip=1e9)
        )
        batches = [[0, 1, 2, 3]] if batch == 4 else [[0, 1], [2, 3]]
        trainer._plan.rows = batches.__getitem__
        trainer.run()
        ends.append(result(trainer)["qkv.up"])
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-6)


def _one_of_two(rank: int, folder: str) -> None:
    trainer = a_trainer(replace(SETTINGS, batch_size=1), torch.float64)
    trainer.run()
    torch.save(result(trainer), f"{folder}/{rank}.pt")


def test_two_processes_train_what_one_does_with_twice_the_batch(tmp_path: Path):
    """In float64, because a training grows roundings: one of a denoised latent is 1 / difference_step times as large
    in a gradient, and AdamW makes steps of one length of large gradients and small ones, so that the digits that an
    element lacks beside the others are lost once more: three of the least of some hundreds, four to be safe.
    """
    together(_one_of_two, tmp_path)
    alone = a_trainer(dtype=torch.float64)
    alone.run()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    expected, close = result(alone), 1e4 * rounding(torch.float64, 1) / SETTINGS.difference_step
    for name in expected:
        if name != "log":  # whose spread of r is a mean over the processes
            # Both take the same steps from the same mean gradient.
            assert torch.equal(first[name], second[name])
            torch.testing.assert_close(first[name], expected[name], rtol=close, atol=close)


def test_a_loss_that_is_not_finite_names_the_step_and_what_to_lower():
    net = Toy(torch.float32)

    def denoiser_for(places, empty, *, may_round):
        calls.append(places)
        inner = denoiser(net, Scale())
        return (lambda x, sigma: inner(x, sigma) * math.nan) if len(calls) == 3 else inner

    calls: list = []
    trainer = Trainer(SETTINGS, {"qkv": TrainedPair(net.down, net.up)}, a_trainer().data, denoiser_for, Scale())
    with pytest.raises(
        ValueError, match="^training: step 3 gave a loss of nan.* lower the learning rate .now 0.01. or lambda .now 1."
    ):
        trainer.run()
    assert trainer.step == 2 and all(weight.isfinite().all() for weight in trainer.weights.values())


def test_what_does_not_belong_to_a_saved_run_is_named(tmp_path: Path):
    path = tmp_path / "run.safetensors"
    trainer = a_trainer(replace(SETTINGS, steps=1))
    trainer.run()
    save_state(trainer, path, FACTS)
    restore_state(a_trainer(replace(SETTINGS, steps=9)), path, FACTS)  # more steps are no other training
    for settings, facts, sentence in (
        (replace(SETTINGS, learning_rate=1e-3), FACTS, "training with learning_rate 0.01, but now it is 0.001"),
        (SETTINGS, {**FACTS, "data": "c"}, "holds a training with data 'b', but now it is 'c'"),
        (SETTINGS, {**FACTS, "ranks": "2"}, "holds a training with ranks None, but now it is '2'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            restore_state(a_trainer(settings), path, facts)
    file = read_tensor_file(path)
    for key, value in (("settings", "{"), ("facts", "[]"), ("settings", None), ("step", None)):
        other = {name: text for name, text in {**file.metadata, key: value}.items() if text is not None}
        save_file(file.tensors, tmp_path / "other.safetensors", other)
        with pytest.raises(ValueError, match=r"^'other.safetensors' is damaged \(.*\); delete it, or choose another"):
            restore_state(a_trainer(), tmp_path / "other.safetensors", FACTS)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="'run.safetensors' is cut off"):
        restore_state(a_trainer(), path, FACTS)


class TestData:
    def test_every_picture_comes_once_an_epoch_and_batches_have_one_size(self):
        sizes = [(4, 8, 8)] * 5 + [(4, 8, 12)] * 2
        plan = BatchPlan(sizes, 2, seed=1)
        assert plan.per_epoch == 4
        for epoch in range(3):
            batches = [plan.rows(epoch * 4 + k) for k in range(4)]
            assert all(len({sizes[place] for place in batch}) == 1 and len(batch) == 2 for batch in batches)
            assert {place for batch in batches for place in batch} == set(range(7))
        assert BatchPlan(sizes, 2, seed=1).rows(9) == plan.rows(9)
        assert [plan.rows(k) for k in range(4)] != [plan.rows(k + 4) for k in range(4)]

    def test_one_picture_fills_a_batch(self):
        assert BatchPlan([(4, 8, 8)], 3, seed=0).rows(5) == [0, 0, 0]

    def test_noise_levels_are_drawn_evenly_and_texts_left_empty_as_often_as_asked(self):
        drawn = [draw_row(0, row, (1,), levels=1000, empty_share=0.25) for row in range(4000)]
        levels = torch.tensor([one.level for one in drawn]).double()
        assert abs(float(levels.mean()) - 499.5) < 5 * 289 / 4000**0.5
        assert levels.min() < 10 and levels.max() > 989
        assert abs(sum(one.empty for one in drawn) / 4000 - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
        assert len({float(one.eps) for one in drawn} | {float(one.probe) for one in drawn}) == 8000


class TestPairs:
    def test_they_start_at_nothing_and_depend_on_seed_and_name_alone(self):
        shapes = {"a": (6, 4), "b": (6, 4, 3, 3)}
        pairs = new_pairs(shapes, 2, seed=1)
        assert pairs["a"].down.shape == (2, 4) and pairs["a"].up.shape == (6, 2)
        assert pairs["b"].down.shape == (2, 4, 3, 3) and pairs["b"].up.shape == (6, 2, 1, 1)
        assert all(not pair.up.any() and pair.down.all() for pair in pairs.values())
        assert torch.equal(new_pairs({"b": (6, 4, 3, 3)}, 2, seed=1)["b"].down, pairs["b"].down)
        assert not torch.equal(new_pairs(shapes, 2, seed=2)["a"].down, pairs["a"].down)

    def test_a_rank_larger_than_every_layer_is_refused_and_a_small_layer_gets_what_it_has_room_for(self):
        shapes = {"small": (3, 2, 3, 3), "a": (6, 4)}
        with pytest.raises(ValueError, match=r"rank is 5, but the layer a \[6, 4\], the largest, has room for 4"):
            new_pairs(shapes, 5, seed=0)
        pairs = new_pairs(shapes, 4, seed=0)
        assert [pair.down.shape[0] for pair in pairs.values()] == [3, 4]


def test_learning_rates():
    cosine = TrainingSettings(learning_rate=1.0, steps=110, warmup_steps=10, lr_schedule="cosine")
    assert [learning_rate(cosine, step) for step in (0, 9, 10, 60)] == pytest.approx([0.1, 1.0, 1.0, 0.51])
    assert learning_rate(cosine, 110) == pytest.approx(0.02)
    assert learning_rate(TrainingSettings(learning_rate=0.5), 99) == 0.5


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="optimizer must be adamw or adafactor, got 'best'"):
        a_trainer(replace(SETTINGS, optimizer="best"))


def test_one_process_alone():
    alone = Processes.present()
    assert (alone.rank, alone.size) == (0, 1) and alone.mean(torch.tensor([2.0])).item() == 2.0


def test_settings_and_run_are_taken_from_values_by_name():
    values = {"name": "mine", "rank": 4, "steps": 7, "difference_step": 0.0, "more": None}
    assert TrainingSettings.of(values) == TrainingSettings(steps=7)
    assert TrainingSettings.of({**values, "difference_step": 1e-3}).difference_step == 1e-3
    assert TrainingRun.of(values) == TrainingRun("mine", rank=4)
