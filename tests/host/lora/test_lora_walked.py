"""A LoRA strength that walks with the frames: each frame as with the LoRA merged at its own strength."""

from __future__ import annotations

import re

import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from tolerance import EXACT

from smooth_lora.walks.walk import Walk, schedule, walked_numbers

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

LORA, FRAMES, STEPS = "smooth_demo_lora.safetensors", 5, 4
# The pair beside a weight and the merged weight add up in another order.
NEAR = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture
def guider(checkpoint, node):
    """guider(strength, walked_strength): cfg 3, so that texts and frames share the batch."""

    def make(strength: float = 1.0, walked: str = "", **more):
        model, clip, _ = checkpoint
        encode = node("CLIPTextEncode")()
        if strength:
            model = node("SmoothLoRALoader").execute(model, LORA, strength, walked_strength=walked, **more)[0]
        made = comfy.samplers.CFGGuider(model)
        made.set_conds(encode.encode(clip, "a red circle on a blue background")[0], encode.encode(clip, "")[0])
        made.set_cfg(3.0)
        return made

    return make


@pytest.fixture
def render(checkpoint, node):
    """render(guider, walk, batch) -> latents [N, 4, 8, 8] of the Walk Sampler."""

    def run(guider, walk: Walk, batch: int = 0) -> torch.Tensor:
        sigmas = comfy.samplers.calculate_sigmas(checkpoint[0].get_model_object("model_sampling"), "normal", STEPS)
        noise = node("SmoothSeedWalk").execute("3, 4", "slerp")[0]
        return node("SmoothWalkSampler").execute(
            guider,
            comfy.samplers.sampler_object("euler"),
            sigmas,
            noise,
            {"samples": torch.zeros(1, 4, 8, 8)},
            walk,
            None,
            batch,
        )[0]["samples"]

    return run


def one_by_one(render, guider, walk: Walk, strengths: list[float]) -> torch.Tensor:
    """Each frame with the LoRA merged into the weights at its own strength."""
    return torch.cat(
        [
            render(guider(strength), walk.select([number]))
            for number, strength in zip(walk.numbers, strengths, strict=True)
        ]
    )


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_frames_are_those_of_merged_weights_whatever_the_batch(render, guider, batch):
    walk = schedule(FRAMES)
    expected = one_by_one(render, guider, walk, [0.0, 0.75, 1.5, 2.25, 3.0])
    found = render(guider(3.0, "0, 1"), walk, batch)
    torch.testing.assert_close(found, expected, **NEAR)
    assert (found[0] - found[-1]).abs().max() > 0.1


def test_a_walk_of_strengths_follows_easing_and_keyframes(render, guider):
    walk = schedule(FRAMES, easing="ease in")
    strengths = [float(share) for share in 2.0 * walked_numbers(walk, [1.0, -1.0, 0.5])]
    assert strengths == pytest.approx([2.0, 1.5, 0.0, -1.625, 1.0], abs=EXACT)
    torch.testing.assert_close(
        render(guider(2.0, "1, -1, 0.5"), walk), one_by_one(render, guider, walk, strengths), **NEAR
    )


def test_a_stock_sampler_walks_it_over_its_batch(checkpoint, node, render, guider):
    noise = node("SmoothSeedWalk").execute("3, 4", "slerp", schedule(FRAMES))[0]
    sigmas = comfy.samplers.calculate_sigmas(checkpoint[0].get_model_object("model_sampling"), "normal", STEPS)
    out = SamplerCustomAdvanced.execute(
        noise,
        guider(3.0, "0, 1"),
        comfy.samplers.sampler_object("euler"),
        sigmas,
        {"samples": torch.zeros(FRAMES, 4, 8, 8)},
    ).result[0]
    torch.testing.assert_close(out["samples"], render(guider(3.0, "0, 1"), schedule(FRAMES)), **NEAR)


def test_it_may_be_limited_to_a_part_of_the_sampling(render, guider):
    walk = schedule(FRAMES)
    found = render(guider(3.0, "0, 1", end_percent=0.5), walk)
    last = render(guider(3.0, end_percent=0.5), walk.select([FRAMES - 1]))
    torch.testing.assert_close(found[-1:], last, **NEAR)
    torch.testing.assert_close(found[:1], render(guider(0.0), walk.select([0])), **NEAR)


def test_two_of_them_add_up_and_leave_nothing_behind(render, guider, checkpoint, node):
    """A LoRA that comes while another goes, against both merged."""
    walk = schedule(FRAMES)
    both = guider(1.0, "0, 1")
    model = node("SmoothLoRALoader").execute(both.model_patcher, LORA, 1.0, walked_strength="1, 0")[0]
    both.model_patcher, both.model_options = model, model.model_options
    torch.testing.assert_close(render(both, walk), render(guider(1.0), walk), **NEAR)
    assert not [name for name, layer in model.model.named_modules() if "forward" in vars(layer)]


def test_numbers_that_walk_by_hand():
    assert walked_numbers(schedule(5), [0, 1]).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert walked_numbers(schedule(4, loop=True), [0, 2]).tolist() == [0, 1, 2, 1]
    assert walked_numbers(schedule(3), [7]).tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0, one", "walked_strength must be numbers separated by commas; got 'one'"),
        (
            "1",
            "Smooth-LoRA Loader: walked_strength needs 2 to 100 numbers, got 1; leave it empty for one strength in "
            "every frame",
        ),
        ("0, 11", "Smooth-LoRA Loader: a walked strength must be between -10.0 and 10.0, got 11.0"),
        ("0, nan", "Smooth-LoRA Loader: a walked strength must be between -10.0 and 10.0, got nan"),
    ],
)
def test_what_is_refused(guider, text, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        guider(1.0, text)


def test_the_report_says_how_it_walks(checkpoint, node):
    report = node("SmoothLoRALoader").execute(checkpoint[0], LORA, 2.0, walked_strength="0, 0.5")[1]
    assert "strength walks from 0 to 1 with the frames, beside the weights" in report
