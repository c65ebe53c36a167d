"""Numbers at the edges: every schedule and weight type of the host, strong and no guidance, one step, odd sizes.

Each frame must be the picture that the host's own sampler makes of it alone: at a keyframe the walk is that picture.
"""

from __future__ import annotations

import comfy.model_management
import comfy.samplers
import comfy.sd
import folder_paths
import pytest
import torch
from comfy_extras.nodes_custom_sampler import RandomNoise, SamplerCustomAdvanced
from small_prompts import pictures, walk_prompt

from devtools.server import Server
from smooth_lora.walks.walk import schedule

FIRST, LAST = 3, 4  # seeds
WEIGHTS = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}
pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def both(demo, node):
    """both(...) -> the first and the last frame of a walk of five, and what the stock sampler makes of those seeds."""

    def run(*, model=None, cfg=3.0, sampler="euler", scheduler="normal", steps=3, height=8, width=8, batch=2):
        model = model or demo.model
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(demo.first, demo.empty)
        guider.set_cfg(cfg)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
        latent = {"samples": torch.zeros(1, 4, height, width)}
        walked = node("SmoothWalkSampler").execute(
            guider,
            comfy.samplers.sampler_object(sampler),
            sigmas,
            node("SmoothSeedWalk").execute(f"{FIRST}, {LAST}", "slerp")[0],
            latent,
            schedule(5),
            frames_per_batch=batch,
        )[0]["samples"]
        stock = [
            SamplerCustomAdvanced.execute(
                RandomNoise.execute(seed)[0], guider, comfy.samplers.sampler_object(sampler), sigmas, latent
            )[0]
            for seed in (FIRST, LAST)
        ]
        return walked[[0, -1]], torch.cat([one["samples"] for one in stock])

    return run


def same(found, tolerance: float = 1e-3) -> None:
    walked, stock = found
    assert bool(torch.isfinite(walked).all())
    torch.testing.assert_close(walked, stock, atol=tolerance * float(stock.abs().max()), rtol=0)


@pytest.mark.parametrize("scheduler", comfy.samplers.SCHEDULER_NAMES)
def test_every_schedule_of_the_host(both, scheduler):
    same(both(scheduler=scheduler))


@pytest.mark.parametrize("cfg", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral"])
def test_no_guidance_and_far_too_much(both, cfg, sampler):
    same(both(cfg=cfg, sampler=sampler))


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m_sde", "lcm"])
def test_one_step(both, sampler):
    same(both(steps=1, sampler=sampler))


@pytest.mark.parametrize(("height", "width"), [(7, 9), (5, 16), (13, 8), (2, 2)])
def test_sizes_that_64_does_not_divide(both, height, width):
    same(both(height=height, width=width))


@pytest.mark.parametrize("batch", [1, 3, 5, 7])
def test_batches_that_do_not_divide_the_walk(both, batch):
    same(both(batch=batch))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_kind_of_weights(both, weights):
    """Loaded as the host's loaders do it; half precision computes in float32 on a CPU."""
    with torch.inference_mode():
        path = folder_paths.get_full_path_or_raise("checkpoints", "smooth_demo.safetensors")
        model = comfy.sd.load_diffusion_model(path, model_options={"dtype": WEIGHTS[weights]})
    assert model.model.diffusion_model.input_blocks[0][0].weight.dtype == WEIGHTS[weights]
    same(both(model=model), 2e-3)


@pytest.mark.parametrize(
    "options",
    [
        ["--force-fp16"],
        ["--fp16-unet", "--fp16-vae"],
        ["--bf16-unet"],
        ["--use-split-cross-attention"],
        ["--use-quad-cross-attention"],
        ["--fp8_e4m3fn-unet"],
        ["--deterministic"],
    ],
    ids=lambda options: " ".join(options),
)
def test_the_host_s_own_switches(options, demo_models):
    """A walk runs through, its frames differ, and each is a picture."""
    with Server(options) as server:
        frames = pictures(server.client, walk_prompt())
    assert len(set(frames)) == len(frames) == 3
    for frame in frames:
        assert len(set(frame)) > 8  # not one grey plane
