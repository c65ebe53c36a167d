"""Inversions on disk: saved and loaded across a restart of the real server, and kept so that none is made twice."""

from __future__ import annotations

import io
from pathlib import Path

import comfy.model_base
import demo_scene
import folder_paths
import pytest
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from PIL import Image

from devtools.server import Server

STEPS = 4
LORA = "smooth_demo_lora.safetensors"


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def invert(host_pack, demo):
    """invert(...) -> the outputs of Invert Picture for the first picture, what is named changed."""

    def run(**inputs):
        return host_pack.run(
            "SmoothInvert",
            **{
                "model": demo.model,
                "positive": demo.first,
                "negative": demo.empty,
                "method": "exact",
                "steps": STEPS,
                "latent_image": {"samples": demo.latent},
                "cache_gb": 0.1,
                **inputs,
            },
        )

    return run


@pytest.fixture
def lora(host_pack, demo):
    """lora(strength) -> the model with the demo's LoRA by the stock loader."""
    loader = host_pack.node("LoraLoaderModelOnly")()
    return lambda strength: loader.load_lora_model_only(demo.model, LORA, strength)[0]


@pytest.fixture
def calls(monkeypatch):
    """The model calls so far, in a list; counted on the class, since a wrapper on the model makes it another one."""
    made, own = [], comfy.model_base.BaseModel.apply_model

    def apply_model(self, *args, **kwargs):
        made.append(self)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
    return made


@pytest.fixture
def cache(monkeypatch, tmp_path, pack_module):
    """An empty cache folder."""
    monkeypatch.setattr(pack_module("nodes.inversion.invert"), "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("method", ["exact", "null_text", "proximal", "edit_friendly", "direct"])
def test_a_loaded_inversion_replays_bit_for_bit(host_pack, demo, invert, method):
    made, noise, receipt, _ = invert(method=method, cfg=2.0, inner_steps=1, cache_gb=0.0)
    (name,) = host_pack.run("SmoothSaveInversion", inversion=made, filename_prefix=f"there/{method}")
    assert name == f"there/{method}_00001.inversion.safetensors [output]"
    loaded, same_noise, same_receipt = host_pack.run("SmoothLoadInversion", file=name)
    assert same_receipt == receipt and torch.equal(same_noise.noise, noise.noise) and same_noise.seed == noise.seed

    def replayed(inversion, its_noise):
        sampler, sigmas, empty = host_pack.run("SmoothReplaySampler", inversion=inversion)
        (guider,) = host_pack.run("SmoothReplayGuider", model=demo.model, inversion=inversion)
        return SamplerCustomAdvanced.execute(its_noise, guider, sampler, sigmas, empty)[0]["samples"]

    assert torch.equal(replayed(loaded, same_noise), replayed(made, noise))
    (again,) = host_pack.run("SmoothSaveInversion", inversion=made, filename_prefix=f"there/{method}")
    assert again == f"there/{method}_00002.inversion.safetensors [output]"


def test_load_lists_files_and_notices_a_changed_one(host_pack, invert):
    node, inversion = host_pack.node("SmoothLoadInversion"), invert()[0]
    (name,) = host_pack.run("SmoothSaveInversion", inversion=inversion, filename_prefix="listed/one")
    assert name in node.define_schema().inputs[0].options
    assert node.validate_inputs(name) is True and "no inversion file" in node.validate_inputs("none")
    before = node.fingerprint_inputs(name)
    assert before == node.fingerprint_inputs(name) and str(folder_paths.base_path) not in before
    host_pack.run("SmoothSaveInversion", inversion=inversion, filename_prefix="listed/two")
    path = Path(folder_paths.get_annotated_filepath(name))
    path.with_name("two_00001.inversion.safetensors").replace(path)
    assert node.fingerprint_inputs(name) != before


def test_the_same_inputs_are_not_inverted_twice(invert, cache, calls, demo):
    made, noise, receipt, chart = invert()
    assert calls and len(entries(cache)) == 1
    calls.clear()
    kept = invert()
    assert not calls and kept[2] == receipt and torch.equal(kept[0].states, made.states)
    assert torch.equal(kept[1].noise, noise.noise) and torch.equal(kept[3], chart)
    # What exact does not use makes no difference, nor do a copy of the model or of the texts.
    again = {
        "seed": 9,
        "eta": 0.5,
        "iterations": 7,
        "model": demo.model.clone(),
        "positive": [[demo.first[0][0].clone(), dict(demo.first[0][1])]],
    }
    assert torch.equal(invert(**again)[0].states, made.states) and not calls


def test_any_other_input_is_inverted_anew(invert, cache, calls, lora, demo):
    different = {
        "plain": {},
        "text": {"positive": demo.second},
        "negative": {"negative": demo.second},
        "picture": {"latent_image": {"samples": demo.latent + 0.01}},
        "as a picture": {"latent_image": None, "image": demo_scene.picture(demo_scene.FIRST), "vae": demo.vae},
        "LoRA": {"model": lora(1.0)},
        "strength": {"model": lora(0.5)},
        "steps": {"steps": 5},
        "cfg": {"cfg": 2.0},
        "scheduler": {"scheduler": "normal"},
        "method": {"method": "ddim"},
        "final sigma": {"final_sigma": "smallest of the model (diffusers)"},
        "setting": {"method": "edit_friendly"},
        "its seed": {"method": "edit_friendly", "seed": 1},
    }
    for number, (what, inputs) in enumerate(different.items(), start=1):
        calls.clear()
        invert(**inputs)
        assert calls and len(entries(cache)) == number, what
    calls.clear()
    for inputs in different.values():
        invert(**inputs)
    assert not calls


def test_a_cache_of_no_size_keeps_nothing(invert, cache, calls):
    for _ in range(2):
        calls.clear()
        invert(cache_gb=0.0)
        assert calls and not entries(cache)
    invert(cache_gb=1e-6)  # a thousand bytes, less than any inversion
    assert not entries(cache)


def test_a_damaged_entry_is_made_anew(invert, cache, calls):
    made = invert()[0]
    (entry,) = cache.iterdir()
    entry.write_bytes(entry.read_bytes()[:-50])
    calls.clear()
    assert torch.equal(invert()[0].states, made.states) and calls
    calls.clear()
    assert torch.equal(invert()[0].states, made.states) and not calls


def test_a_model_with_a_part_that_cannot_be_read_is_not_kept(invert, cache, demo):
    class Guidance:
        def __call__(self, args):
            return args["cond"]

    model = demo.model.clone()
    model.set_model_sampler_cfg_function(Guidance())
    assert invert(model=model)[0].noise.isfinite().all() and not entries(cache)


def test_a_text_with_something_unknown_is_not_kept(invert, cache, demo):
    odd = [[demo.first[0][0], {**demo.first[0][1], "from_another_pack": object()}]]
    assert invert(positive=odd)[0].noise.isfinite().all() and not entries(cache)


def prompt(inversion: list, image: str | None) -> dict:
    """Invert Picture of a file and Save Inversion, or without an image Load Inversion; and its replay as a picture."""
    text = {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1]}}
    nodes = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "smooth_demo.safetensors"}},
        "2": {
            "class_type": "SmoothLoRALoader",
            "inputs": {
                "model": ["1", 0],
                "lora_name": LORA,
                "strength": 0.5,
                "start_percent": 0.0,
                "end_percent": 0.6,
                "allow_partial": False,
            },
        },
        "5": {"class_type": "SmoothReplaySampler", "inputs": {"inversion": inversion, "skip": 0}},
        "6": {"class_type": "SmoothReplayGuider", "inputs": {"model": ["2", 0], "inversion": inversion, "cfg": -1.0}},
        "7": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": [inversion[0], 1],
                "guider": ["6", 0],
                "sampler": ["5", 0],
                "sigmas": ["5", 1],
                "latent_image": ["5", 2],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0], "vae": ["1", 2]}},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}},
        "10": {"class_type": "PreviewAny", "inputs": {"source": [inversion[0], 2]}},
    }
    if image is None:
        return {
            **nodes,
            "20": {
                "class_type": "SmoothLoadInversion",
                "inputs": {"file": "kept/it_00001.inversion.safetensors [output]"},
            },
        }
    return {
        **nodes,
        **{
            number: {**text, "inputs": {**text["inputs"], "text": words}}
            for number, words in (("3", demo_scene.FIRST.text), ("4", ""))
        },
        "11": {"class_type": "LoadImage", "inputs": {"image": image}},
        "12": {
            "class_type": "SmoothInvert",
            "inputs": {
                "model": ["2", 0],
                "positive": ["3", 0],
                "negative": ["4", 0],
                "method": "exact",
                "cfg": 2.0,
                "steps": STEPS,
                "scheduler": "normal",
                "image": ["11", 0],
                "vae": ["1", 2],
            },
        },
        "13": {"class_type": "SmoothSaveInversion", "inputs": {"inversion": inversion, "filename_prefix": "kept/it"}},
        "14": {"class_type": "PreviewImage", "inputs": {"images": ["12", 3]}},
    }


def shown(client, wanted: dict) -> tuple[bytes, str]:
    """The pixels of the replay, and the receipt."""
    outputs = client.run(wanted)
    (file,) = outputs["9"]["images"]
    return Image.open(io.BytesIO(client.view(file))).tobytes(), outputs["10"]["text"][0]


def test_a_saved_inversion_replays_bit_for_bit_after_a_restart(demo_models, tmp_path):
    (tmp_path / "input").mkdir()
    given = Image.fromarray((demo_scene.picture(demo_scene.FIRST)[0] * 255).round().byte().numpy())
    given.save(tmp_path / "input" / "picture.png")
    inverting, loading = prompt(["12", 0], "picture.png"), prompt(["20", 0], None)
    with Server(base=tmp_path) as server:
        expected, receipt = shown(server.client, inverting)
    assert (tmp_path / "output/kept/it_00001.inversion.safetensors").is_file()
    with Server(base=tmp_path) as server:
        assert shown(server.client, loading) == (expected, receipt)
        # Inverted anew its receipt would tell other seconds: what was kept on disk outlives the server, too.
        assert shown(server.client, inverting) == (expected, receipt)
    assert len(set(expected)) > 50  # not a blank sheet
