"""The table of methods seen from the nodes: a row is all that a new method needs, and old keys of the cache are met."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from toy_inversion import toy_row

STEPS = 4


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def toy(pack_module, node, monkeypatch):
    """The toy in the pack's own table, and the node's inputs read anew."""
    row = toy_row(pack_module("smooth_lora.inversion.contract"))
    monkeypatch.setitem(pack_module("smooth_lora.inversion.methods").METHODS, row.name, row)
    monkeypatch.setattr(node("SmoothInvert"), "SCHEMA", None)
    yield row
    node("SmoothInvert").SCHEMA = None


@pytest.fixture
def invert(host_pack, demo):
    """invert(...) -> the outputs of Invert Picture for the first picture by the toy, what is named changed."""

    def run(**inputs):
        return host_pack.run(
            "SmoothInvert",
            **{
                "model": demo.model,
                "positive": demo.first,
                "negative": demo.empty,
                "method": "toy",
                "steps": STEPS,
                "latent_image": {"samples": demo.latent},
                "cache_gb": 0.0,
                **inputs,
            },
        )

    return run


def sampled(host_pack, demo, inversion, noise):
    sampler, sigmas, empty = host_pack.run("SmoothReplaySampler", inversion=inversion, skip=0)
    (guider,) = host_pack.run("SmoothReplayGuider", model=demo.model, inversion=inversion)
    return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, empty)[0]["samples"]


def test_its_row_alone_puts_a_method_and_its_settings_into_the_node(toy, node):
    inputs = {given.id: given for given in node("SmoothInvert").define_schema().inputs}
    assert inputs["method"].options[-1] == "toy"
    order = list(inputs)
    assert order[order.index("pull") :] == ["pull", "strength", "final_sigma", "cache_gb"]
    strength = inputs["strength"].as_dict()
    assert {**strength, "default": 1.0, "min": 0.5, "max": 2.0, "step": 0.5, "advanced": True} == strength
    assert strength["tooltip"] == "toy: length of the path."


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_the_nodes_invert_replay_save_and_load_by_the_row_alone(toy, host_pack, demo, invert, cfg):
    inversion, noise, receipt, _ = invert(cfg=cfg, strength=1.5)
    assert inversion.settings["strength"] == 1.5 and "eta" not in inversion.settings
    assert receipt.startswith(f"toy, 4 steps, cfg {cfg:g}, 1 picture") and "The toy went straight." in receipt
    assert inversion.receipt.pictures[0].latent_error < 1e-9
    back = sampled(host_pack, demo, inversion, noise)
    torch.testing.assert_close(back, demo.latent, rtol=1e-5, atol=1e-5)
    (name,) = host_pack.run("SmoothSaveInversion", inversion=inversion, filename_prefix="toys/it")
    loaded, same_noise, _ = host_pack.run("SmoothLoadInversion", file=name)
    assert torch.equal(sampled(host_pack, demo, loaded, same_noise), back)


def test_the_node_refuses_what_the_row_does_not_allow(toy, invert):
    with pytest.raises(ValueError, match=r"^Invert Picture: strength must be between 0.5 and 2.0, got 3.0$"):
        invert(strength=3.0)


def test_a_setting_that_was_not_given_is_at_its_default(toy, node, demo):
    """A prompt that was stored before the input was there."""
    inversion = node("SmoothInvert").execute(
        demo.model,
        demo.first,
        demo.empty,
        "toy",
        1.0,
        STEPS,
        "ddim_uniform",
        latent_image={"samples": demo.latent},
        cache_gb=0.0,
    )[0]
    assert inversion.settings["strength"] == 1.0


def test_a_method_that_left_the_table_is_unknown(toy, host_pack, invert, pack_module):
    inversion = invert()[0]
    del pack_module("smooth_lora.inversion.methods").METHODS["toy"]
    with pytest.raises(ValueError, match="there is no method 'toy'; choose one of exact, ddim"):
        host_pack.run("SmoothReplaySampler", inversion=inversion)
    pack_module("smooth_lora.inversion.methods").METHODS["toy"] = toy


# content_key of the request alone, as the pack made it before there was a table.
KEYS = {
    "exact": "93026d2fde829618",
    "ddim": "6d43646787f2c630",
    "fixed_point": "8ae6fd3e0b63a309",
    "null_text": "57e91cac8cc2587b",
    "null_text_dual": "7703ca293453f6e8",
    "negative_prompt": "822b763b27d18fc5",
    "proximal": "dde01e915fef0b59",
    "edit_friendly": "ac9fd965774b239b",
    "dpm_encoder": "12c7aedc9728fe5d",
    "direct": "73013abeba8844bd",
}
INPUTS = {
    "iterations": 3,
    "inner_steps": 10,
    "tolerance": 0.3,
    "low_memory": False,
    "eta": 0.5,
    "seed": 7,
    "quantile": 0.7,
    "pull": 1.0,
}


@pytest.mark.parametrize("method", KEYS)
def test_the_key_of_the_cache_is_the_old_one(pack_module, method):
    request = pack_module("nodes.inversion.invert").InversionRequest.of(
        method, cfg=2.0, steps=50, scheduler="ddim_uniform", final_sigma="zero", inputs=INPUTS
    )
    content_key = pack_module("smooth_lora.files.content_key").content_key
    assert content_key(version=1, request=request.content()).startswith(KEYS[method])


def test_every_method_has_an_old_key(pack_module):
    assert list(KEYS) == list(pack_module("smooth_lora.inversion.methods").METHODS)


def test_settings_that_a_method_does_not_use_change_nothing(pack_module):
    of = pack_module("nodes.inversion.invert").InversionRequest.of
    for method, row in pack_module("smooth_lora.inversion.methods").METHODS.items():
        used = {setting.name for setting in row.settings}
        plain, other = (
            of(method, cfg=2.0, steps=50, scheduler="normal", final_sigma="zero", inputs=inputs).content()
            for inputs in (INPUTS, {**INPUTS, **{name: 1 for name in INPUTS if name not in used}})
        )
        assert plain == other and plain["settings"].keys() <= used
        assert dataclasses.is_dataclass(row)
