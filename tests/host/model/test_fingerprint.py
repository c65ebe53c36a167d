"""The fingerprint of a model: the same in every state of loading, another for every difference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import comfy.hooks
import comfy.sd
import folder_paths
import lora_models
import lora_styles
import pytest
import torch
from comfy_extras.nodes_model_advanced import (
    ModelSamplingAuraFlow,
    ModelSamplingContinuousEDM,
    ModelSamplingDiscrete,
    ModelSamplingSD3,
    RescaleCFG,
)
from lora_models import denoised, text
from safetensors.torch import save_file


@pytest.fixture
def model() -> Iterator[object]:
    yield lora_models.tiny()
    lora_models.unload()


@pytest.fixture
def fingerprint(pack_module):
    return pack_module("nodes.model.fingerprint").fingerprint


@pytest.fixture
def read_model(pack_module):
    return pack_module("nodes.model.fingerprint").read_model


@pytest.fixture
def tensors(model) -> dict[str, torch.Tensor]:
    names = lora_models.host_names(model)
    return lora_styles.kohya()(lora_styles.random_pairs(lora_models.shapes(model, names), rank=4))


@pytest.fixture
def load(node, tmp_path: Path, tensors):
    paths = folder_paths.folder_names_and_paths["loras"][0]
    paths.append(str(tmp_path))

    def run(model, factor: float = 1.0, **options):
        changed = {key: tensor * factor if "lora_up" in key else tensor for key, tensor in tensors.items()}
        save_file(changed, tmp_path / "x.safetensors")
        return node("SmoothLoRALoader").execute(model, "x.safetensors", **options).result[0]

    yield run
    paths.remove(str(tmp_path))


def stock(model, tensors, strength: float = 1.0):
    return comfy.sd.load_lora_for_models(model, None, tensors, strength, 0.0)[0]


def test_sixteen_hexadecimal_digits_that_outlive_the_process(model, fingerprint, tensors):
    # Written down from another process: a hash of addresses or of Python's string hashes would differ.
    model.model.diffusion_model.requires_grad_(False)
    for number, (_, weight) in enumerate(sorted(model.model.diffusion_model.named_parameters())):
        weight.copy_(torch.arange(weight.numel(), dtype=torch.float32).reshape(weight.shape) % 97 / 97 + number)
    patches = {
        key: (torch.arange(tensor.numel(), dtype=torch.float32).reshape(tensor.shape) % 89 if tensor.ndim else tensor)
        for key, tensor in tensors.items()
    }
    assert fingerprint(stock(model, patches)) == "f85e597d09d6f1c0"


@pytest.mark.parametrize("options", [None, {}, {"end_percent": 0.5}], ids=["bare", "merged", "ranged"])
def test_the_same_before_while_and_after_loading(model, load, fingerprint, tensors, options: dict | None):
    subject = model if options is None else load(model, **options)
    before = fingerprint(subject)
    denoised(subject, [3.0])
    assert fingerprint(subject) == before  # loaded, with its own patches
    denoised(stock(model, tensors, 3.0), [3.0])
    assert fingerprint(subject) == before  # another clone's patches in the shared weights
    lora_models.unload()
    assert fingerprint(subject) == before


def test_the_same_while_a_hook_is_on(model, load, fingerprint, tensors):
    subject = load(model)
    before, during = fingerprint(subject), []
    handle = model.model.diffusion_model.out.register_forward_pre_hook(
        lambda module, args: during.append(fingerprint(subject))
    )
    hooked = comfy.hooks.set_hooks_for_conditioning(text(1), comfy.hooks.create_hook_lora(tensors, 0.8, 0.0))
    denoised(subject, [3.0], positive=hooked)
    handle.remove()
    assert during and set(during) == {before}


def test_the_same_while_another_sampling_is_loaded(model, fingerprint):
    before = fingerprint(model)
    shifted = model.clone()
    sampling = type(model.model.model_sampling)(model.model.model_config)
    sampling.set_sigmas(sampling.sigmas * 2)
    shifted.add_object_patch("model_sampling", sampling)
    unloaded = fingerprint(shifted)
    denoised(shifted, [3.0])
    assert fingerprint(model) == before and fingerprint(shifted) == unloaded != before


def test_where_the_host_lies_does_not_matter(model, fingerprint):
    """It names the modules of nodes by their whole path."""
    found = set()
    for folder in ("/opt/ComfyUI/comfy_extras/", "/home/me/ComfyUI/comfy_extras/", "C:\\ComfyUI\\comfy_extras\\"):
        kind = type("Sampling", (type(model.model.model_sampling),), {"__module__": f"{folder}nodes_extra"})
        clone = model.clone()
        clone.add_object_patch("model_sampling", kind(model.model.model_config))
        found.add(fingerprint(clone))
    assert len(found) == 1


def test_float16_and_its_float32_copy_agree(fingerprint):
    half, single = lora_models.tiny(dtype=torch.float16), lora_models.tiny(dtype=torch.float32)
    for (_, a), (_, b) in zip(half.model.named_parameters(), single.model.named_parameters(), strict=True):
        b.data.copy_(a.data)
    assert fingerprint(half) == fingerprint(single)


def test_memory_layout_does_not_matter(model, fingerprint):
    before = fingerprint(model)
    model.model.diffusion_model.to(memory_format=torch.channels_last)
    assert fingerprint(model) == before


def test_clones_agree_and_reading_changes_nothing(model, load, fingerprint):
    subject = load(model)
    patches, uuid = {key: list(some) for key, some in subject.patches.items()}, subject.patches_uuid
    assert fingerprint(subject.clone()) == fingerprint(subject) != fingerprint(model)
    assert subject.patches == patches and subject.patches_uuid == uuid


def test_every_difference_shows(model, load, fingerprint, tensors):
    def with_option(patcher):
        clone = patcher.clone()
        clone.set_model_attn1_patch(lambda n, context, value, extra: (n, context, value))
        return clone

    def with_injection(patcher):
        return comfy.sd.load_bypass_lora_for_models(patcher, None, tensors, 1.0, 0.0)[0]

    variants = {
        "bare": model,
        "merged": load(model),
        "half strength": load(model, strength=0.5),
        "another file": load(model, 1.5),
        "twice": load(load(model)),
        "early": load(model, end_percent=0.5),
        "late": load(model, start_percent=0.5),
        "early, weaker": load(model, end_percent=0.5, strength=0.5),
        "early, another file": load(model, 1.5, end_percent=0.5),
        "early twice": load(load(model, end_percent=0.5), end_percent=0.5),
        "patched attention": with_option(model),
        "bypass": with_injection(model),
        "other weights": lora_models.tiny(seed=1),
        **{
            f"{kind} prediction": ModelSamplingDiscrete().patch(model, kind, False)[0]
            for kind in ("eps", "v_prediction", "x0", "img_to_img", "lcm")
        },
        "zero terminal": ModelSamplingDiscrete().patch(model, "v_prediction", True)[0],
        **{
            f"continuous {kind}": ModelSamplingContinuousEDM().patch(model, kind, 120.0, 0.002)[0]
            for kind in ("eps", "v_prediction", "edm")
        },
        **{f"rescaled guidance {share}": RescaleCFG().patch(model, share)[0] for share in (0.7, 0.3)},
        "flow": ModelSamplingSD3().patch(model, 1.73)[0],
        "flow, shifted": ModelSamplingSD3().patch(model, 3.0)[0],
        "flow, timesteps to 1": ModelSamplingAuraFlow().patch_aura(model, 1.73)[0],
    }
    found = {name: fingerprint(variant) for name, variant in variants.items()}
    assert len(set(found.values())) == len(variants), found


@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_weight_in_a_place_that_is_read(model, fingerprint, place: int):
    before = fingerprint(model)
    weight = model.model.diffusion_model.input_blocks[1][1].proj_in.weight.data.view(-1)
    old = weight[place].item()
    weight[place] += 0.01
    assert fingerprint(model) != before
    weight[place] = old
    assert fingerprint(model) == before


def test_what_a_function_changes_itself_is_left_unread(model, read_model):
    def counting(patcher, start: int, table: dict):
        count, clone = start, patcher.clone()

        def guidance(args):
            nonlocal count
            count += 1
            table[count] = args
            return args["cond"]

        clone.set_model_sampler_cfg_function(guidance)
        return clone

    subject = counting(model, 0, {})
    before = read_model(subject)
    subject.model_options["sampler_cfg_function"]({"cond": 1})
    assert read_model(subject) == before == read_model(counting(model, 7, {}))
    assert not before[1]


def test_a_function_that_encloses_itself_has_an_end(model, read_model):
    def guidance(args):
        return guidance(args) if args["again"] else args["cond"]

    clone = model.clone()
    clone.set_model_sampler_cfg_function(guidance)
    assert read_model(clone)[1]


def test_it_says_whether_it_saw_everything(model, load, read_model, tensors):
    """Or a cache would give what was made with another strength of an object that it cannot look into."""
    seen = {
        "bare": model,
        "merged": load(model),
        "early": load(model, end_percent=0.5),
        "rescaled": RescaleCFG().patch(model, 0.7)[0],
        "flow": ModelSamplingSD3().patch(model, 3.0)[0],
    }
    assert {name: read_model(variant)[1] for name, variant in seen.items()} == dict.fromkeys(seen, True)

    class Guidance:
        def __call__(self, args):
            return args["cond"]

    foreign = model.clone()
    foreign.set_model_sampler_cfg_function(Guidance())
    bypass = comfy.sd.load_bypass_lora_for_models(model, None, tensors, 1.0, 0.0)[0]
    assert not read_model(foreign)[1] and not read_model(bypass)[1]
