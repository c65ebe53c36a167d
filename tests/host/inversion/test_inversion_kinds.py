"""Inversion of models of other predictions: the demo network behind the stock nodes that patch the sampling.

Its pictures are nonsense then, but a method that is exact by its algebra has to stay exact.
"""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
from comfy_extras import nodes_model_advanced
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from comfy_extras.nodes_model_advanced import (
    ModelSamplingAuraFlow,
    ModelSamplingContinuousEDM,
    ModelSamplingDiscrete,
    ModelSamplingSD3,
)

STEPS = 3
KINDS = {
    "v": lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", False),
    "v, zero terminal": lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", True),
    "x0": lambda model: ModelSamplingDiscrete().patch(model, "x0", False),
    "edm": lambda model: ModelSamplingContinuousEDM().patch(model, "edm", 80.0, 0.02),
    "SD3": lambda model: ModelSamplingSD3().patch(model, 3.0),
    "AuraFlow": lambda model: ModelSamplingAuraFlow().patch_aura(model, 1.73),
}
if hasattr(nodes_model_advanced, "ModelNoiseScale"):  # since ComfyUI 0.24
    KINDS["scaled noise"] = lambda model: nodes_model_advanced.ModelNoiseScale().patch(
        ModelSamplingSD3().patch(model, 3.0)[0], 2.0
    )
FLOWS = ("SD3", "AuraFlow", "scaled noise")
EXACT, PLAIN = ("exact", "edit_friendly"), ("ddim", "fixed_point")
REFUSED = {
    "img_to_img": lambda model: ModelSamplingDiscrete().patch(model, "img_to_img", False),
    "img_to_img_flow": lambda model: ModelSamplingDiscrete().patch(model, "img_to_img_flow", False),
    "cosmos_rflow": lambda model: ModelSamplingContinuousEDM().patch(model, "cosmos_rflow", 80.0, 0.02),
}


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture(scope="module")
def demo(demo_models, host_pack):
    """The demo checkpoint's model, and two of its texts."""
    with torch.inference_mode():
        model, clip, _ = host_pack.node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")
        encode = host_pack.node("CLIPTextEncode")()
        return model, encode.encode(clip, "a red circle on a blue background")[0], encode.encode(clip, "")[0]


@pytest.fixture(scope="module")
def latent():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2)) * 5.0


@pytest.fixture
def invert(host_pack, demo, latent):
    def run(model, method, **more):
        return host_pack.run(
            "SmoothInvert",
            **{
                "model": model,
                "positive": demo[1],
                "negative": demo[2],
                "method": method,
                "steps": STEPS,
                "cfg": 1.0,
                "scheduler": "normal",
                "latent_image": {"samples": latent},
                "cache_gb": 0.0,
                **more,
            },
        )

    return run


def relative(actual, expected):
    return float((actual.double() - expected).norm() / expected.double().norm())


def stock(model, texts, noise, sigmas):
    """What the host's own guider and sampler nodes make with euler at cfg 1."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*texts)
    guider.set_cfg(1.0)
    empty = {"samples": torch.zeros(1, 4, 8, 8)}
    euler = comfy.samplers.sampler_object("euler")
    return SamplerCustomAdvanced.execute(noise, guider, euler, sigmas.float(), empty)[0]["samples"]


@pytest.mark.parametrize("method", [*EXACT, *PLAIN])
@pytest.mark.parametrize("kind", KINDS)
def test_every_prediction(host_pack, demo, latent, invert, kind, method):
    (model,) = KINDS[kind](demo[0])
    inversion, noise, receipt, _ = invert(model, method)
    for values in (inversion.states, inversion.noise, torch.tensor(inversion.receipt.step_errors)):
        assert values.isfinite().all()
    assert "nan" not in receipt.lower()
    assert float(inversion.sigmas[0]) == pytest.approx(
        1.0 if kind in FLOWS else float(model.get_model_object("model_sampling").sigma_max)
    )
    if method in EXACT:
        assert inversion.receipt.pictures[0].latent_error < 1e-6
    if method == "exact":
        sampler, sigmas, empty = host_pack.run("SmoothReplaySampler", inversion=inversion)
        (guider,) = host_pack.run("SmoothReplayGuider", model=model, inversion=inversion)
        found = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, empty)[0]["samples"]
        assert relative(found, latent) < 1e-6
    if method == "ddim":  # the bare noise in the stock sampler comes to the same
        found = stock(model, demo[1:], noise, inversion.sigmas)
        lost = inversion.receipt.pictures[0].latent_error
        assert relative(found, latent) == pytest.approx(lost, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("kind", REFUSED)
def test_predictions_without_an_inversion_are_refused(demo, invert, kind):
    (model,) = REFUSED[kind](demo[0])
    with pytest.raises(
        ValueError,
        match=r"^Invert Picture: this model predicts in a way \(.*\) that has no inversion "
        "here; use a model of eps-, v- or flow prediction",
    ):
        invert(model, "ddim")


@pytest.mark.parametrize("kinds", [("v", "x0"), ("SD3", "AuraFlow")])
def test_another_prediction_is_another_model(host_pack, demo, invert, kinds):
    one, other = (KINDS[kind](demo[0])[0] for kind in kinds)
    inversion = invert(one, "ddim")[0]
    with pytest.raises(ValueError, match="^Replay Guider: this model is not the one that was inverted with"):
        host_pack.run("SmoothReplayGuider", model=other, inversion=inversion)
    first, second = (invert(model, "ddim", cache_gb=1.0)[0] for model in (one, other))
    assert first.states.equal(inversion.states) and not second.states.equal(first.states)
