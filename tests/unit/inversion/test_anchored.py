"""Proximal guidance and direct inversion: thresholds and masks by hand, and how the path holds a replay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import KINDS, Mixture, Recorded, even_sigmas, guided_mixture, mixture, noise, sigmas_for
from tolerance import assert_rounds_to
from torch import Tensor

from smooth_lora.inversion.algorithms.anchored import dilated, proximal, replay_direct, replay_proximal
from smooth_lora.inversion.algorithms.plain import invert_ddim, replay_ddim
from smooth_lora.sampling.ddim import ddim_move
from smooth_lora.sampling.denoise import eps_of
from smooth_lora.sampling.scale import Scale

SHAPE = (2, 4, 6, 6)
EXACT = {"rtol": 1e-12, "atol": 1e-12}  # float64 rounds at 1e-16, over 50 steps


def test_the_hard_threshold_by_hand() -> None:
    """The seven smallest of ten are dropped; what is kept is not shortened, as a soft threshold would."""
    change = torch.tensor([[1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0, -10.0]])
    strong, kept = proximal(change, 0.7)
    assert strong.tolist() == [[0, 0, 0, 0, 0, 0, 0, -8, 9, -10]]
    assert kept.tolist() == [[False] * 7 + [True] * 3]


@pytest.mark.parametrize(("quantile", "kept"), [(0.0, 4), (0.25, 3), (0.5, 2), (0.75, 1), (1.0, 0)])
def test_how_many_of_four_are_kept(quantile: float, kept: int) -> None:
    assert int(proximal(torch.tensor([[3.0, -1.0, 4.0, 2.0]]), quantile)[1].sum()) == kept


def test_all_that_is_not_zero_is_kept_at_quantile_zero() -> None:
    change = torch.tensor([[0.0, 1e-30, -2.0, 0.0]])
    strong, kept = proximal(change, 0.0)
    assert torch.equal(strong, change)
    assert kept.tolist() == [[False, True, True, False]]


def test_where_nothing_changes_nothing_is_kept() -> None:
    for quantile in (0.0, 0.7, 1.0):
        strong, kept = proximal(torch.zeros(2, 4, 3, 3), quantile)
        assert not strong.any() and not kept.any()


@pytest.mark.parametrize("quantile", [0.05, 0.5, 0.7, 0.75, 0.99])
def test_numpy_finds_the_same_threshold(quantile: float) -> None:
    """Above the quantile that numpy gives, in every sample by itself: the second is a thousand times weaker."""
    change = noise(0, *SHAPE) * torch.tensor([1.0, 1e-3]).reshape(2, 1, 1, 1)
    strong, kept = proximal(change, quantile)
    for b in range(2):
        sizes = change[b].abs().numpy()
        above = sizes > np.quantile(sizes, quantile)
        assert np.array_equal(kept[b].numpy(), above)
        assert np.array_equal(strong[b].numpy(), np.where(above, change[b].numpy(), 0))


def test_half_precision_stays() -> None:
    change = noise(0, *SHAPE, dtype=torch.float16)
    strong, _ = proximal(change, 0.7)
    assert strong.dtype == torch.float16


def cell(*places: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return mask


def test_a_mask_grows_by_one_cell_in_all_directions() -> None:
    grown = dilated(cell((0, 0, 1, 1), shape=(1, 1, 4, 5)))
    assert grown[0, 0].int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]


def test_a_mask_is_the_same_in_every_channel_and_its_own_in_every_sample() -> None:
    grown = dilated(cell((0, 2, 0, 0), (0, 0, 3, 3), shape=(2, 3, 4, 4)))
    assert grown.shape == (2, 1, 4, 4)
    assert grown[0, 0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert not grown[1].any()


def test_a_mask_of_a_video_grows_within_its_frame() -> None:
    grown = dilated(cell((1, 3, 1, 2, 2), shape=(2, 4, 3, 5, 5)), radius=2)
    assert grown.shape == (2, 1, 3, 5, 5)
    assert grown[1, 0, 1].all()
    assert int(grown.sum()) == 25


def test_a_mask_without_growth() -> None:
    mask = cell((0, 0, 1, 1), shape=(1, 1, 3, 3))
    assert torch.equal(dilated(mask, radius=0), mask)


def prepared(kind: str, cfg: float = 7.5):
    """Schedule, path at cfg 1, and the guided denoiser of the replay."""
    sigmas = sigmas_for(kind)
    x0 = mixture(kind, SHAPE[1:]).means[:2] + 0.5 * noise(2, *SHAPE)
    path = invert_ddim(guided_mixture(1.0, kind, SHAPE[1:]), x0, sigmas, Scale(kind))
    return sigmas, path, guided_mixture(cfg, kind, SHAPE[1:])


EDITED = cell((0, 1, 2, 2), (1, 0, 5, 0), shape=SHAPE)
GROWN = torch.zeros(2, 1, 6, 6, dtype=torch.bool)
GROWN[0, 0, 1:4, 1:4] = GROWN[1, 0, 4:, :2] = True


@pytest.mark.parametrize("kind", KINDS)
def test_full_pull_puts_what_is_not_edited_onto_the_path(kind: str) -> None:
    """Exactly but for the rounding of one sum; around the edit the sampling is free."""
    sigmas, path, denoise = prepared(kind)
    states = replay_proximal(denoise, path[0], path, sigmas, edited=lambda: EDITED, pull=1.0, pull_from=0)
    free = GROWN.expand(SHAPE)
    for k in range(51):
        assert_rounds_to(states[k][~free], path[k][~free])
    assert float((states[-1] - path[-1])[free].abs().mean()) > 0.1
    for k in range(50):
        moved = ddim_move(states[k], eps_of(states[k], denoise(states[k], sigmas[k]), sigmas[k]), *sigmas[k : k + 2])
        assert torch.equal(states[k + 1][free], moved[free])


@pytest.mark.parametrize("kind", KINDS)
def test_no_pull_is_plain_ddim(kind: str) -> None:
    sigmas, path, denoise = prepared(kind)
    for pull, pull_from in ((0.0, 0), (1.0, 50)):
        states = replay_proximal(denoise, path[0], path, sigmas, edited=lambda: EDITED, pull=pull, pull_from=pull_from)
        assert torch.equal(states, replay_ddim(denoise, path[0], sigmas))


def test_half_a_pull_by_hand_from_the_second_step_on() -> None:
    """D = 0, so x falls with sigma: 4, 2, 1, 0, pulled half way onto a path of 8 everywhere."""
    path = torch.full((4, 1, 1, 1, 3), 8.0)
    states = replay_proximal(
        lambda x, sigma: 0 * x,
        torch.full((1, 1, 1, 3), 4.0),
        path,
        [4.0, 2.0, 1.0, 0.0],
        edited=lambda: cell((0, 0, 0, 0), shape=(1, 1, 1, 3)),
        pull=0.5,
        pull_from=1,
    )
    # The first two cells are within one cell of the edit, the third is not.
    assert states[:, 0, 0, 0].tolist() == [[4, 4, 4], [2, 2, 2], [1, 1, 4.5], [0, 0, 4]]


def test_the_mask_is_asked_for_after_each_model_call() -> None:
    sigmas, path, denoise = prepared("ve")
    calls = Recorded(denoise)
    asked = []

    def edited() -> Tensor:
        asked.append(len(calls.sigmas))
        return EDITED

    heard = []
    states = replay_proximal(
        calls, path[0], path, sigmas, edited=edited, pull=1.0, pull_from=10, on_step=lambda *args: heard.append(args)
    )
    assert calls.sigmas == sigmas[:-1]
    assert asked == list(range(11, 51))
    assert [step for step, _, _ in heard] == list(range(50))
    assert all(torch.equal(x, states[step + 1]) for step, x, _ in heard)


def rows_of_two() -> tuple[Tensor, Tensor]:
    """Which picture each row belongs to, source and target of both, and which rows are sources."""
    return torch.tensor([0, 0, 1, 1]), torch.tensor([True, False, True, False])


@pytest.mark.parametrize("cfg", [1.0, 7.5, 30.0])
@pytest.mark.parametrize("kind", KINDS)
def test_direct_sources_are_the_path_and_targets_plain_ddim(kind: str, cfg: float) -> None:
    sigmas, path, denoise = prepared(kind, cfg)
    rows, source = rows_of_two()
    states = replay_direct(denoise, path[0][rows], path[:, rows], sigmas, sources=source)
    assert torch.equal(states[:, source], path)
    plain = replay_ddim(denoise, path[0], sigmas)
    torch.testing.assert_close(states[:, ~source], plain, **EXACT)
    assert states.isfinite().all()


def test_direct_targets_that_look_at_their_source_see_the_path() -> None:
    """What the method is for: a model that shares something between rows meets the exact source at every step."""
    sigmas, path, _ = prepared("ve")
    seen = []

    def shared(x: Tensor, sigma: float) -> Tensor:
        seen.append(x[0].clone())
        return 0.5 * x[:1].expand_as(x)

    rows, source = torch.tensor([0, 0]), torch.tensor([True, False])
    states = replay_direct(shared, path[0][rows], path[:, rows], sigmas, sources=source)
    assert torch.equal(torch.stack(seen), path[:-1, 0])
    # By hand: the target starts on the source, and sees only it, so it follows a known sum.
    target = path[0, 0]
    for k in range(50):
        target = target + (sigmas[k + 1] - sigmas[k]) * (target - 0.5 * path[k, 0]) / sigmas[k]
    torch.testing.assert_close(states[-1, 1], target, **EXACT)


def test_arguments_are_left_alone() -> None:
    sigmas = even_sigmas(5, 2.0)
    data = Mixture(noise(1, 1, *SHAPE[1:]), 0.5)
    path = invert_ddim(data, noise(0, *SHAPE), sigmas, Scale())
    before, start, change = path.clone(), path[0].clone(), noise(3, *SHAPE)
    replay_proximal(
        guided_mixture(7.5, "ve", SHAPE[1:]), start, path, sigmas, edited=lambda: EDITED, pull=1.0, pull_from=0
    )
    replay_direct(guided_mixture(7.5, "ve", SHAPE[1:]), start, path, sigmas, sources=torch.tensor([True, False]))
    proximal(change, 0.7)
    assert torch.equal(path, before) and torch.equal(start, before[0]) and torch.equal(change, noise(3, *SHAPE))
    assert torch.equal(EDITED, cell((0, 1, 2, 2), (1, 0, 5, 0), shape=SHAPE))
