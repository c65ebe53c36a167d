"""What each node gives on the demo checkpoint, held against what it gave when it was last looked at.

Even pacing is not among them: it chooses between positions, so that rounding decides which frames are given out.

A change here is a change of pictures: of the host, of torch, or ours. Look at it; if it is meant, write anew with

    .host/venv/bin/python -m pytest tests/host/pack/test_goldens.py --update-snapshot
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import comfy.samplers
import demo_scene
import pytest
import torch
from comfy_extras.nodes_custom_sampler import RandomNoise
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d

GOLDENS = Path(__file__).parents[1] / "goldens.safetensors"
# Of the largest value, for pictures little more than a level of 8 bits. Sampling grows what processors round otherwise
# with its steps and its guidance; both are small here, so that 1e-5 and no more was seen of it.
TOLERANCE = 5e-3
METHODS = ("exact", "ddim", "fixed_point", "null_text", "edit_friendly")
POOL = 4  # pictures are kept this much smaller
pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def scene(demo):
    sigmas = comfy.samplers.calculate_sigmas(demo.model.get_model_object("model_sampling"), "normal", 6)
    return SimpleNamespace(**vars(demo), guider=guider(demo.model, demo), sigmas=sigmas)


def guider(model, scene: SimpleNamespace, text=None) -> comfy.samplers.CFGGuider:
    made = comfy.samplers.CFGGuider(model)
    made.set_conds(text or scene.first, scene.empty)
    made.set_cfg(3.0)
    return made


def small(pictures: Tensor) -> Tensor:
    return avg_pool2d(pictures.movedim(-1, 1).float(), POOL)


def walk(scene, node, **more) -> Tensor:
    noise = node("SmoothSeedWalk").execute("3, 4", "slerp")[0]
    wires = {
        "guider": scene.guider,
        "sampler": comfy.samplers.sampler_object("euler"),
        "sigmas": scene.sigmas,
        "noise": noise,
        "vae": scene.vae,
        "latent_image": {"samples": torch.zeros(1, 4, 8, 8)},
        "walk": node("SmoothWalkSchedule").execute(3, "linear", "whole walk", False, 0, -1)[0],
        **more,
    }
    return small(node("SmoothWalkSampler").execute(**wires)[1])


def lora_walk(scene, node) -> Tensor:
    model = node("SmoothLoRALoader").execute(scene.model, "smooth_demo_lora.safetensors", 1.0, 0.0, 1.0, False)[0]
    return walk(scene, node, guider=guider(model, scene))


def text_walk(scene, node) -> Tensor:
    prompts = f"{demo_scene.FIRST.text}\n{demo_scene.SECOND.text}"
    text = node("SmoothPromptWalk").execute(scene.clip, prompts, "lerp")[0]
    return walk(scene, node, guider=guider(scene.model, scene, text))


def inverted(method: str) -> Callable[[SimpleNamespace, Callable], Tensor]:
    def run(scene, node) -> Tensor:
        latent = {"samples": scene.latent}
        inversion = node("SmoothInvert").execute(
            scene.model,
            scene.first,
            scene.empty,
            method,
            2.0,
            4,
            "ddim_uniform",
            latent_image=latent,
            inner_steps=2,
            cache_gb=0.0,
        )[0]
        return inversion.noise.flatten(1)

    return run


def mixed(scene, node) -> Tensor:
    noises = {f"noise_{seed}": RandomNoise.execute(seed)[0] for seed in (1, 2, 3)}
    return node("SmoothNoiseMix").execute(noises, "1, 2, -1")[0].generate_noise({"samples": torch.zeros(1, 4, 8, 8)})


MADE: dict[str, Callable[[SimpleNamespace, Callable], Tensor]] = {
    "walk": walk,
    "walk_with_lora": lora_walk,
    "walk_of_text": text_walk,
    "noise_mix": mixed,
    **{f"inverted_{method}": inverted(method) for method in METHODS},
}


@pytest.mark.parametrize("name", MADE)
def test_it_gives_what_it_gave(scene, node, request, name):
    found = MADE[name](scene, node).contiguous().float()
    kept = load_file(GOLDENS) if GOLDENS.exists() else {}
    if request.config.getoption("--update-snapshot"):
        save_file({**kept, name: found}, GOLDENS)
        return
    torch.testing.assert_close(found, kept[name], atol=TOLERANCE * float(kept[name].abs().max()), rtol=0)
