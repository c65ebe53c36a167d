"""Everything wrong that can arrive at an input, at every input of every node: one sentence that names the input.

The cases are made from the nodes' Schemas as the snapshot has them, so a new input is tested as soon as it is there.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import comfy.samplers
import numpy as np
import pytest
import torch

LONGEST = 400  # characters of a sentence
SNAPSHOT = json.loads((Path(__file__).parents[1] / "snapshot.json").read_text(encoding="utf-8"))
LISTS = ("SmoothLoRATrainer", "SmoothLoRATrainData", "SmoothTrainingCheck")  # take lists of everything
LATENT = torch.zeros(1, 4, 8, 8)
TEXT = torch.zeros(1, 77, 768)
WRONG = {
    "MODEL": [None, "x", LATENT],
    "CLIP": [None, "x"],
    "VAE": [None, "x"],
    "GUIDER": [None, "x"],
    "SAMPLER": [None, "euler"],
    "NOISE": [None, LATENT, 7],
    "SIGMAS": [None, [1.0, 0.0], torch.zeros(2, 2)],
    "LATENT": [
        None,
        {},
        LATENT,
        {"samples": None},
        {"samples": LATENT[:0]},
        {"samples": LATENT[..., :0]},
        {"samples": LATENT[0, 0]},
    ],
    "IMAGE": [
        None,
        "x.png",
        torch.zeros(8, 8, 3),
        torch.zeros(1, 8, 8),
        torch.zeros(0, 8, 8, 3),
        torch.zeros(1, 0, 8, 3),
        torch.zeros(1, 8, 8, 1),
        torch.zeros(1, 8, 8, 3, dtype=torch.uint8),
        np.zeros((1, 8, 8, 3)),
    ],
    "CONDITIONING": [None, [], "a cat", [[None, {}]], [[TEXT[0], {}]], [[TEXT[:0], {}]], [TEXT]],
    "LORA_MODEL": [None, {}, "x.safetensors"],
    "SMOOTH_WALK": [None, 24, [0.0, 1.0]],
    "SMOOTH_INVERSION": [None, LATENT],
    "SMOOTH_TRAINING_CHECK": [None, "x"],
    "STRING": [None, 7],
    "INT": [None, "x", 1.0, math.nan, math.inf, -(2**40), 2**70],
    "FLOAT": [None, "x", math.nan, math.inf, -math.inf, -1e30],
    "COMBO": [None, "no such choice"],
    "BOOLEAN": [],
    "COMFY_AUTOGROW_V3": [None, {}],
}
WRONG["NOISE,LATENT"] = [None, 7, *WRONG["LATENT"][1:]]
WIDGETS = ("INT", "FLOAT", "STRING", "COMBO")


def _cases():
    for node, schema in SNAPSHOT.items():
        for name, declared in schema["inputs"].items():
            kind = declared["type"]
            for place, value in enumerate(WRONG[kind]):
                if value is not None or declared["kind"] == "required" or kind in WIDGETS:  # else it is not wired
                    yield pytest.param(node, name, value, id=f"{node}-{name}-{place}")
            if "grows" in declared:
                ((_, inner),) = declared["grows"]["input"].items()
                for place, value in enumerate(WRONG[inner]):
                    yield pytest.param(node, f"{declared['grows']['prefix']}1", value, id=f"{node}-{name}.1-{place}")


CASES = list(_cases())


@pytest.fixture(scope="module")
def good(demo, host_pack) -> dict[str, dict]:
    """Inputs of every node with which it runs."""
    with torch.inference_mode():
        return _good(demo, host_pack.run)


def _good(demo, run) -> dict[str, dict]:
    guider = comfy.samplers.CFGGuider(demo.model)
    guider.set_conds(demo.first, demo.empty)
    (walk,) = run("SmoothWalkSchedule", frames=3)
    (noise,) = run("SmoothSeedWalk", seeds="3, 4")
    sampling = {
        "guider": guider,
        "sampler": comfy.samplers.sampler_object("euler"),
        "noise": noise,
        "walk": walk,
        "sigmas": comfy.samplers.calculate_sigmas(demo.model.get_model_object("model_sampling"), "normal", 1),
        "latent_image": {"samples": LATENT},
        "vae": demo.vae,
    }
    small = {"steps": 1, "width": 64, "height": 64, "frames": 3, "prompts": "a red circle"}
    invert = {
        "model": demo.model,
        "positive": demo.first,
        "negative": demo.empty,
        "steps": 2,
        "cache_gb": 0.0,
        "image": demo.pictures[:1],
        "vae": demo.vae,
    }
    inversion = run("SmoothInvert", **invert)[0]
    data = {
        "images": [demo.pictures],
        "texts": ["a", "b"],
        "vae": [demo.vae],
        "clip": [demo.clip],
        "cache_gb": [0.0],
        "resolution": [64],
    }
    trainer = {
        "model": [demo.model],
        "latents": [{"samples": demo.both}],
        "positive": [demo.first, demo.second],
        "empty_text": [demo.empty],
        "steps": [1],
        "rank": [2],
        "name": ["bad inputs"],
    }
    return {
        "SmoothWalkSampler": sampling,
        "SmoothPaceWalk": sampling,
        "SmoothWalkToVideo": sampling,
        "SmoothWalkSchedule": {},
        "SmoothSeedWalk": {"walk": walk},
        "SmoothAttentionWalk": {"model": demo.model},
        "SmoothNoiseWalk": {"keyframes": {"keyframe_0": noise, "keyframe_1": noise}, "walk": walk},
        "SmoothNoiseMix": {"noises": {"noise_0": noise}},
        "SmoothConditioningWalk": {"keyframes": {"keyframe_0": demo.first, "keyframe_1": demo.second}, "walk": walk},
        "SmoothPromptWalk": {"clip": demo.clip, "prompts": "a\nb", "walk": walk},
        "SmoothISTD": {"images": torch.rand(3, 32, 32, 3), "compare_with": torch.rand(3, 32, 32, 3)},
        "SmoothISTDBenchmark": {"model": demo.model, "clip": demo.clip, "vae": demo.vae, **small},
        "SmoothLoRALoader": {"model": demo.model, "lora_name": "smooth_demo_lora.safetensors"},
        "SmoothInvert": invert,
        "SmoothReplayGuider": {"model": demo.model, "inversion": inversion},
        "SmoothReplaySampler": {"inversion": inversion},
        "SmoothInversionParts": {"inversion": inversion},
        "SmoothPromptSwitch": {"source": demo.first, "target": demo.second},
        "SmoothSaveInversion": {"inversion": inversion},
        "SmoothLoadInversion": {"file": run("SmoothSaveInversion", inversion=inversion)[0]},
        "SmoothLoRATrainData": data,
        "SmoothLoRATrainer": trainer,
        "SmoothTrainingCheck": {
            "clip": [demo.clip],
            "vae": [demo.vae],
            **{key: [value] for key, value in small.items()},
        },
        "SmoothSaveLoRA": {"model": demo.model, "lora": run("SmoothLoRATrainer", **trainer)[0]},
    }


@pytest.fixture
def executed(host_pack, good):
    """executed(node, changed) -> its outputs, with good inputs but for those changed; None is something, too."""

    def run(node: str, changed: dict) -> tuple:
        return host_pack.run(node, **{**good[node], **changed})

    return run


@pytest.mark.usefixtures("as_the_host_runs_nodes")
@pytest.mark.parametrize("node", SNAPSHOT)
def test_the_good_inputs_are_good(executed, node):
    assert executed(node, {})


@pytest.mark.usefixtures("as_the_host_runs_nodes")
@pytest.mark.parametrize(("node", "name", "value"), CASES)
def test_one_sentence_names_the_input(executed, good, host_pack, node, name, value):
    grown = next(
        (
            own
            for own, declared in SNAPSHOT[node]["inputs"].items()
            if name.startswith(declared.get("grows", {}).get("prefix", "\0"))
        ),
        None,
    )
    wired = {grown: {**good[node][grown], name: value}} if grown else {name: value}
    with pytest.raises(ValueError) as refused:
        executed(node, {key: [one] for key, one in wired.items()} if node in LISTS else wired)
    sentence = str(refused.value)
    assert type(refused.value) is ValueError
    assert sentence.startswith(f"{host_pack.node(node).GET_SCHEMA().display_name}: ")
    slot = SNAPSHOT[node]["inputs"].get(name, {}).get("grows", {}).get("prefix")
    assert (f"{slot}0" if slot else name) in sentence or repr(value) in sentence
    assert "; " in sentence or " must be " in sentence  # what to do
    assert "\n" not in sentence and len(sentence) <= LONGEST


@pytest.mark.usefixtures("as_the_host_runs_nodes")
@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("SmoothInvert", "positive"),
        ("SmoothInvert", "negative"),
        ("SmoothInvert", "positive_2"),
        ("SmoothReplayGuider", "positive"),
        ("SmoothReplayGuider", "negative"),
        ("SmoothLoRATrainer", "positive"),
        ("SmoothLoRATrainer", "empty_text"),
        ("SmoothTrainingCheck", "positive"),
        ("SmoothWalkSampler", "guider"),
        ("SmoothPaceWalk", "guider"),
        ("SmoothWalkToVideo", "guider"),
    ],
)
def test_text_for_another_model_is_named(executed, demo, node, name):
    """Stable Diffusion XL's text on a model of Stable Diffusion 1.x: torch would speak of matrices."""
    other = [[torch.zeros(1, 77, 2048), {}]]
    changed = {name: other}
    if name == "guider":
        changed[name] = comfy.samplers.CFGGuider(demo.model)
        changed[name].set_conds(other, demo.empty)
    if node in LISTS:  # any of them is found
        changed = {name: [demo.empty, other], "model": [demo.model]}
    named = "positive" if name == "guider" else name
    with pytest.raises(ValueError, match=f": {named} is text of width 2048, but this model reads text of width 768; "):
        executed(node, changed)


@pytest.mark.usefixtures("as_the_host_runs_nodes")
def test_a_picture_smaller_than_a_latent_s_pixel(executed):
    with pytest.raises(ValueError, match="^Invert Picture: image is 3x2 pixels, .* for 8x8; wire a larger picture"):
        executed("SmoothInvert", {"image": torch.rand(1, 2, 3, 3)})


def test_there_are_hundreds():
    assert len(CASES) >= 200
