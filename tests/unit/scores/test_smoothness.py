"""ISTD and its companions against hand computation, invariants and degenerate walks."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from tolerance import rounding

from smooth_lora.scores import smoothness
from smooth_lora.scores.scores_table import CAVEATS, scores_table, step_name
from smooth_lora.scores.smoothness import from_distances, jump_steps, require_comparable, score, step_lengths

SUMMED = rounding(torch.float32)  # of lengths whose rows are summed in it


def random_walk(frames: int = 11, seed: int = 0, size: tuple[int, int, int] = (6, 5, 3)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(frames, *size, generator=generator)


def one_jump(before: int, after: int, size: tuple[int, int, int] = (4, 4, 3)) -> torch.Tensor:
    return torch.cat([torch.zeros(before, *size), torch.ones(after, *size)])


def test_values_computed_by_hand():
    # Frames of 1x2 pixels, 1 channel: the steps are (0.3, 0.4), (0, 0.5) and (0, -0.2).
    frames = torch.tensor([[0.0, 0.0], [0.3, 0.4], [0.3, 0.9], [0.3, 0.7]]).reshape(4, 1, 2, 1)
    s = score(frames)
    assert s.distances == pytest.approx((0.5, 0.5, 0.2), rel=SUMMED)
    assert s.mean_distance == pytest.approx(0.4, rel=SUMMED)
    assert s.path == pytest.approx(1.2, rel=SUMMED)
    assert s.istd == pytest.approx(math.sqrt((0.01 + 0.01 + 0.04) / 3), rel=SUMMED)
    assert s.istd_pm1 == pytest.approx(2 * s.istd)
    assert s.istd_rms == pytest.approx(s.istd / math.sqrt(2))
    assert s.cv == pytest.approx(math.sqrt(0.02) / 0.4, rel=SUMMED)
    assert s.max_over_mean == pytest.approx(1.25, rel=SUMMED)
    # Pairs differ by 0, .3, .3: Gini = 2 * 0.6 / (2 * 9 * 0.4).
    assert s.smoothness == pytest.approx(1 - 1.2 / 7.2, rel=SUMMED)
    assert (s.largest, s.size, s.frames, s.still) == (0, (1, 2, 1), 4, False)


def test_agrees_with_the_statistics_module_and_a_double_precision_norm():
    images = random_walk(23, size=(33, 17, 3))
    exact = [
        math.sqrt(math.fsum(((a - b) ** 2).flatten().tolist()))
        for a, b in zip(images[1:].double(), images[:-1].double(), strict=True)
    ]
    s = score(images)
    assert s.distances == pytest.approx(exact, rel=SUMMED)
    close = SUMMED * statistics.fmean(exact) / statistics.pstdev(exact)  # what differs is less than what is rounded
    assert s.istd == pytest.approx(statistics.pstdev(exact), rel=close)
    assert s.cv == pytest.approx(statistics.pstdev(exact) / statistics.fmean(exact), rel=close)
    gini = sum(abs(a - b) for a in exact for b in exact) / (2 * len(exact) ** 2 * statistics.fmean(exact))
    assert s.smoothness == pytest.approx(1 - gini, rel=SUMMED)


def test_a_linear_blend_of_two_pictures_scores_zero():
    a, b = random_walk(2, size=(16, 16, 3)).double()
    images = torch.stack([a + (b - a) * k / 10 for k in range(11)])
    s = score(images)
    assert s.istd < SUMMED * s.mean_distance
    assert (s.cv, s.max_over_mean, s.smoothness) == pytest.approx((0, 1, 1), abs=SUMMED)
    assert s.path == pytest.approx(float((b - a).norm()), rel=SUMMED)
    assert s.jumps == ()


def test_one_jump_in_ten_intervals():
    s = score(one_jump(7, 4))
    length = math.sqrt(4 * 4 * 3)
    assert s.istd == pytest.approx(0.3 * length, rel=SUMMED)
    assert s.cv == pytest.approx(3.0, rel=SUMMED)
    assert s.max_over_mean == pytest.approx(10)
    assert s.smoothness == pytest.approx(0.1)
    assert (s.largest, s.jumps) == (6, (6,))


def test_order_matters_and_reversal_does_not():
    images = random_walk() * torch.linspace(0.1, 1, 11).reshape(-1, 1, 1, 1)
    swapped = images[[0, 5, 2, 3, 4, 1, 6, 7, 8, 9, 10]]
    assert abs(score(images).istd - score(swapped).istd) > 1e-3
    assert score(images).istd == pytest.approx(score(images.flip(0)).istd, rel=SUMMED)


@pytest.mark.parametrize("k", [0.5, 0.01])
def test_contrast_scales_istd_and_leaves_the_scale_free_scores(k):
    plain, weak = score(random_walk()), score(random_walk() * k)
    assert weak.istd == pytest.approx(k * plain.istd, rel=1e-4)
    assert weak.mean_distance == pytest.approx(k * plain.mean_distance, rel=1e-4)
    assert (weak.cv, weak.max_over_mean, weak.smoothness) == pytest.approx(
        (plain.cv, plain.max_over_mean, plain.smoothness), rel=1e-4
    )


def test_size_scales_istd_and_leaves_the_value_per_pixel():
    small = random_walk()
    large = small.repeat_interleave(3, dim=1).repeat_interleave(3, dim=2)
    assert score(large).istd == pytest.approx(3 * score(small).istd, rel=SUMMED)
    assert score(large).istd_rms == pytest.approx(score(small).istd_rms, rel=SUMMED)


def test_pictures_are_clamped_and_not_rounded():
    images = random_walk() * 3 - 1
    assert score(images) == score(images.clamp(0, 1))
    faint = 0.5 + torch.arange(5).reshape(-1, 1, 1, 1).expand(-1, 4, 4, 3) * 1e-4
    assert score(faint).mean_distance == pytest.approx(1e-4 * math.sqrt(48), rel=1e-3)


def test_alpha_is_left_out():
    colours = random_walk()
    with_alpha = torch.cat([colours, random_walk(seed=1)[..., :1]], dim=-1)
    assert score(with_alpha) == score(colours)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, SUMMED), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_other_precisions_score_alike(dtype, tolerance):
    assert score(random_walk().to(dtype)).istd == pytest.approx(score(random_walk()).istd, rel=tolerance)


def test_views_and_inputs_are_left_alone():
    images = random_walk() * 2 - 0.5
    before = images.clone()
    transposed = score(images.permute(0, 2, 1, 3))
    assert torch.equal(images, before)
    assert transposed.istd == pytest.approx(score(images).istd, rel=SUMMED)
    with torch.inference_mode():
        assert score(images).istd == score(before).istd


def test_a_still_walk_has_defined_scores_and_says_so():
    s = score(torch.full((5, 4, 4, 3), 0.25))
    assert s.still
    assert (s.istd, s.mean_distance, s.path, s.cv, s.max_over_mean, s.smoothness) == (0, 0, 0, 0, 1, 1)
    assert s.jumps == ()
    assert "nothing was walked" in scores_table({"images": s})


def test_three_frames_are_enough():
    assert score(one_jump(2, 1)).cv == pytest.approx(1.0)


def test_stored_lengths_score_as_the_pictures_did():
    s = score(random_walk())
    assert from_distances(s.distances, s.size) == s


@pytest.mark.parametrize("frames", [40, 120])
def test_extra_memory_does_not_grow_with_the_walk(frames, monkeypatch):
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        values = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for t in torch.utils._pytree.tree_leaves(out):
                if isinstance(t, torch.Tensor) and t.untyped_storage().data_ptr() != given:
                    Largest.values = max(Largest.values, t.numel())
            return out

    monkeypatch.setattr(smoothness, "BLOCK_VALUES", 4 * 32 * 32 * 3)
    images = random_walk(frames, size=(32, 32, 3)) * 2
    given = images.untyped_storage().data_ptr()
    with Largest():
        step_lengths(images)
    assert Largest.values == 5 * 32 * 32 * 3


@pytest.mark.parametrize("block", [1, 6 * 5 * 3, 4 * 6 * 5 * 3, 10**9])
def test_lengths_do_not_depend_on_how_many_frames_go_together(block, monkeypatch):
    images = random_walk(12) * 1.2 - 0.1
    expected = step_lengths(images)
    monkeypatch.setattr(smoothness, "BLOCK_VALUES", block)
    # Other batches of rows, which are summed in float32.
    assert step_lengths(images) == pytest.approx(expected, rel=SUMMED)


class TestJumps:
    VALUES = 64 * 64 * 3

    def test_an_uneven_but_steady_pace_is_no_jump(self):
        pace = [5 + 3 * math.sin(math.pi * i / 46) for i in range(47)]
        assert jump_steps(pace, self.VALUES) == ()

    def test_neighbouring_jumps_are_all_named(self):
        pace = [2.0, 2.1, 1.9, 2.0, 9.0, 8.0, 2.0, 2.2, 1.8, 2.0, 7.0]
        assert jump_steps(pace, self.VALUES) == (4, 5, 10)

    def test_twice_the_median_is_the_limit_of_an_even_walk(self):
        assert jump_steps([2.0] * 20 + [4.0], self.VALUES) == ()
        assert jump_steps([2.0] * 20 + [4.01], self.VALUES) == (20,)

    def test_a_walk_that_varies_throughout_is_not_all_jumps(self):
        assert jump_steps([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], self.VALUES) == ()

    def test_an_invisible_step_is_no_jump(self):
        visible = 0.5 / 255 * math.sqrt(self.VALUES)
        assert jump_steps([0.0] * 9 + [0.99 * visible], self.VALUES) == ()
        assert jump_steps([0.0] * 9 + [1.01 * visible], self.VALUES) == (9,)


class TestRefusals:
    @pytest.mark.parametrize(
        ("images", "sentence"),
        [
            (torch.zeros(8, 8, 3), r"images must be a batch of frames .*got the sizes \(8, 8, 3\)"),
            (torch.zeros(2, 4, 8, 8, 3), r"images must be a batch of frames .*\(2, 4, 8, 8, 3\)"),
            (torch.zeros(5, 8, 8, 3, dtype=torch.uint8), "images must hold floats from 0 to 1, got uint8"),
            (torch.zeros(1, 8, 8, 3), "images needs at least 3 frames to be scored, got 1"),
            (torch.zeros(2, 8, 8, 3), "images needs at least 3 frames to be scored, got 2"),
            (torch.zeros(5, 8, 8, 2), "images must have 1, 3 or 4 channels .*got frames of 8x8 with 2 channels"),
            (torch.zeros(5, 0, 8, 3), "at least one pixel, got frames of 0x8"),
        ],
    )
    def test_what_cannot_be_scored(self, images, sentence):
        with pytest.raises(ValueError, match=sentence):
            score(images)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("frame", [0, 3, 4])
    def test_nan_and_infinity_are_found_though_a_clamp_would_hide_them(self, value, frame):
        images = torch.zeros(5, 8, 8, 3)
        images[frame, 2, 3, 1] = value
        with pytest.raises(ValueError, match=f"frames of model 2: frame {frame} holds NaN or Inf"):
            score(images, "frames of model 2")

    @pytest.mark.parametrize("distances", [[1.0], [1.0, -1.0], [1.0, math.nan], [[1.0, 2.0]]])
    def test_impossible_lengths(self, distances):
        with pytest.raises(ValueError, match="expected at least 2 finite step lengths"):
            from_distances(distances, (4, 4, 3))


def test_table_lines_up_and_names_the_jump():
    text = scores_table({"images": score(one_jump(7, 4)), "compare_with": score(random_walk(size=(4, 4, 3)))})
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert any(line.split()[:2] == ["jumps", "6-7"] for line in lines)
    assert any(line.split()[:5] == ["cv", "(std", "/", "mean)", "3.0000"] for line in lines)


def test_small_words():
    assert step_name(7) == "7-8"
    assert all(line.endswith(".") for line in CAVEATS)


def test_only_like_walks_are_compared():
    require_comparable(score(random_walk(5)), score(random_walk(5, seed=1)))
    with pytest.raises(ValueError, match="images has 5 frames and compare_with has 6: .*equal length"):
        require_comparable(score(random_walk(5)), score(random_walk(6)))
    with pytest.raises(ValueError, match="images has frames of 6x5x3 and compare_with has 6x6x3 .*same size"):
        require_comparable(score(random_walk(5)), score(random_walk(5, size=(6, 6, 3))))
