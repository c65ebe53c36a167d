"""Null-text inversion on the host's network: true gradients, nothing left changed, and texts that do their work."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import comfy.model_base
import comfy.model_management
import comfy.samplers
import comfy.utils
import demo_scene
import pytest
import torch
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced
from tolerance import assert_rounds_to

STEPS, CFG = 4, 7.5
SIGMA = 2.0


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture(scope="module")
def demo(demo_models, host_pack):
    """The demo checkpoint on the device already, so that its weights are those that the host loaded for inference."""
    scene = demo_scene.load(host_pack)
    with torch.inference_mode():
        comfy.model_management.load_models_gpu([scene.model])
    return scene


@pytest.fixture(scope="module")
def invert(host_pack, demo):
    """invert(...) -> inversion and noise of the first picture with null_text at cfg 7.5, what is named changed."""

    def run(**inputs):
        return host_pack.run(
            "SmoothInvert",
            **{
                "model": demo.model,
                "positive": demo.first,
                "negative": demo.empty,
                "method": "null_text",
                "cfg": CFG,
                "steps": STEPS,
                "inner_steps": 10,
                "tolerance": 0.0,
                "latent_image": {"samples": demo.latent},
                "cache_gb": 0.0,
                **inputs,
            },
        )[:2]

    return run


@pytest.fixture(scope="module")
def fitted(invert):
    """One inversion with null_text, and its noise."""
    with torch.inference_mode():
        return invert()


@pytest.fixture(scope="module")
def replayed(host_pack, demo):
    def run(inversion, noise, **guided):
        sampler, sigmas, empty = host_pack.run("SmoothReplaySampler", inversion=inversion)
        (guider,) = host_pack.run("SmoothReplayGuider", model=demo.model, inversion=inversion, **guided)
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, empty)[0]["samples"]

    return run


def distance(actual, expected):
    """[B] relative L2 distance."""
    expected = expected.flatten(1)
    return (actual.flatten(1) - expected).norm(dim=1) / expected.norm(dim=1)


def with_empty_texts(demo, inversion):
    """The inversion as if nothing had been fitted."""
    return replace(inversion, nulls=demo.empty[0][0].expand_as(inversion.nulls))


def errors(inversion):
    """[B] what the receipt says is lost."""
    return torch.tensor([picture.latent_error for picture in inversion.receipt.pictures])


@pytest.fixture
def on_the_network(pack_module, demo):
    """on_the_network(function, low_memory) -> function(prediction of a text, the empty text) with the model loaded."""
    calls, through = pack_module("nodes.inversion.null_text")._TextCalls, pack_module("nodes.model.gradients")
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4)) * (1 + SIGMA**2) ** 0.5

    class Asking(comfy.samplers.Sampler):
        def __init__(self, function, low_memory):
            self.function, self.low_memory = function, low_memory

        def sample(self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, *args, **kwargs):
            with through.gradients_through(model_wrap.inner_model.diffusion_model, self.low_memory):
                host = calls(model_wrap, extra_args["model_options"], noise.device)
                self.answer = self.function(lambda text: host.uncond(text, x.clone(), SIGMA), host.empty_text())
            return latent_image

    def run(function, low_memory=False, model=demo.model):
        guider, asking = comfy.samplers.CFGGuider(model), Asking(function, low_memory)
        guider.set_conds(demo.first, demo.empty)
        guider.sample(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), asking, torch.tensor([SIGMA, 0.0]), seed=0)
        return asking.answer

    return run


def loss_of(prediction):
    """One number that depends on every value."""
    weights = torch.randn(prediction.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    return (prediction.double() * weights).sum()


def gradient(predict, text):
    text = text.requires_grad_(True)
    prediction = predict(text)
    return torch.autograd.grad(loss_of(prediction), text)[0], prediction.detach()


@pytest.mark.parametrize("low_memory", [False, True])
def test_the_gradient_is_a_finite_differences(on_the_network, low_memory):
    def slopes(predict, text):
        """Along the gradient, along it at the first tokens only, and along it with every second value turned round."""
        found = gradient(predict, text)[0]
        masks = [torch.ones_like(found), torch.zeros_like(found), torch.ones_like(found)]
        masks[1][:, :20], masks[2][..., ::2] = 1.0, -0.5
        for mask in masks:
            way = found * mask / (found * mask).norm()
            with torch.no_grad():
                ahead, behind = (float(loss_of(predict(text + sign * 0.05 * way))) for sign in (1, -1))
            yield (ahead - behind) / 0.1, float((found * way).sum())

    for measured, computed in on_the_network(lambda *given: list(slopes(*given)), low_memory):
        assert measured == pytest.approx(computed, rel=1e-2)


def test_forgetting_blocks_changes_no_gradient(on_the_network):
    kept, forgotten = on_the_network(gradient), on_the_network(gradient, low_memory=True)
    assert torch.equal(kept[1], forgotten[1]) and kept[0].norm() > 0  # the same calls
    assert_rounds_to(forgotten[0], kept[0])  # whose branches are summed in another order on the way back


def test_the_gradient_goes_through_a_lora(host_pack, demo, on_the_network):
    model, _ = host_pack.run(
        "SmoothLoRALoader", model=demo.model, lora_name="smooth_demo_lora.safetensors", start_percent=0.1
    )
    with_lora, without = on_the_network(gradient, model=model)[0], on_the_network(gradient)[0]
    assert with_lora.isfinite().all() and distance(with_lora, without) > 1e-3


def state_of(model):
    """Every tensor of the network by identity, and every function that stands in place of a module's own."""
    modules = dict(model.model.named_modules())
    tensors = {
        (name, own): tensor
        for name, module in modules.items()
        for named in (module._parameters, module._buffers)
        for own, tensor in named.items()
    }
    return tensors, {name: set(vars(module)) & {"forward"} for name, module in modules.items()}


def assert_untouched(model, before):
    tensors, forwards = state_of(model)
    assert tensors.keys() == before[0].keys() and all(tensors[key] is before[0][key] for key in tensors)
    assert forwards == before[1] and not any(forwards.values())


@contextmanager
def counted(monkeypatch):
    """The number of model calls so far, in a list."""
    calls, own = [0], comfy.model_base.BaseModel.apply_model

    def apply_model(self, *args, **kwargs):
        calls[0] += 1
        return own(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(comfy.model_base.BaseModel, "apply_model", apply_model)
        yield calls


class Stopped(Exception):
    """Of the tests alone."""


def fail():
    raise Stopped


STOPS = {
    "error": (fail, Stopped),
    "stop button": (
        lambda: comfy.model_management.interrupt_current_processing(True),
        comfy.model_management.InterruptProcessingException,
    ),
}


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("how", STOPS)
def test_stopped_midway_it_leaves_the_network_as_it_was(demo, invert, monkeypatch, how, low_memory):
    stop, raised = STOPS[how]
    before, at_the_stop = state_of(demo.model), []
    assert any(tensor.is_inference() for tensor in before[0].values() if tensor is not None)
    with counted(monkeypatch) as calls:

        def progress(value, total, preview, **where):
            # The DDIM inversion is the first STEPS of the bar, the fit of the first texts comes next.
            if value >= STEPS + 2 and not at_the_stop:
                at_the_stop.append((calls[0], "forward" in set().union(*state_of(demo.model)[1].values())))
                stop()

        monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", progress)
        monkeypatch.setattr(comfy.utils, "PROGRESS_THROTTLE_MIN_INTERVAL", 0.0)
        with pytest.raises(raised):
            invert(low_memory=low_memory)
        ((called, replaced),) = at_the_stop
        assert replaced == low_memory and calls[0] - called <= 1
    assert_untouched(demo.model, before)
    assert torch.is_inference_mode_enabled() and not torch.is_grad_enabled()


def test_the_whole_run_leaves_the_network_as_it_was_with_less_memory_too(demo, invert):
    before, found = state_of(demo.model), []
    for low_memory in (False, True):
        found.append(invert(low_memory=low_memory, inner_steps=2)[0])
        assert_untouched(demo.model, before)
    assert torch.equal(found[0].noise, found[1].noise)
    assert distance(found[1].nulls, found[0].nulls).max() < 1e-5


def test_weights_from_outside_of_inference_mode_do_as_well(host_pack, invert, demo, fitted):
    with torch.inference_mode(False):
        model = host_pack.node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")[0]
        assert not any(weight.is_inference() for weight in model.model.parameters())
        outside = invert(model=model, inner_steps=1)[0]
    assert outside.model == fitted[0].model and outside.nulls.isfinite().all()


def test_it_is_far_nearer_than_ddim_and_than_the_bare_negative_text(demo, invert, fitted, replayed):
    lost = float(errors(fitted[0]))
    assert lost == pytest.approx(float(distance(replayed(*fitted), demo.latent)), rel=1e-3)
    bare = float(distance(replayed(with_empty_texts(demo, fitted[0]), fitted[1]), demo.latent))
    assert lost < 0.2 * bare and lost < 0.2 * float(errors(invert(method="ddim")[0]))
    assert fitted[0].nulls.shape == (STEPS, 1, *demo.empty[0][0].shape[1:])


def test_its_texts_work_in_the_stock_guider_and_sampler(host_pack, demo, fitted):
    noise, positive, negative, _ = host_pack.run("SmoothInversionParts", inversion=fitted[0])
    guider = comfy.samplers.CFGGuider(demo.model)
    guider.set_conds(positive, negative)
    guider.set_cfg(CFG)
    euler, empty = comfy.samplers.sampler_object("euler"), {"samples": torch.zeros(1, 4, 8, 8)}
    sampled = SamplerCustomAdvanced.execute(noise, guider, euler, fitted[0].sigmas.float(), empty)[0]["samples"]
    assert float(distance(sampled, demo.latent)) == pytest.approx(float(errors(fitted[0])), rel=1e-2)


def test_dual_shares_one_text_and_both_pictures_gain(demo, invert, replayed):
    both = {"positive_2": demo.second, "latent_image": {"samples": demo.both}}
    shared, noise = invert(method="null_text_dual", inner_steps=4, **both)
    assert shared.nulls.shape == (STEPS, 1, *demo.empty[0][0].shape[1:])
    bare = distance(replayed(with_empty_texts(demo, shared), noise), demo.both)
    assert (errors(shared) < 0.5 * bare).all()


def test_at_cfg_1_the_text_stays_empty(demo, invert):
    inversion, _ = invert(cfg=1.0)
    assert all(torch.equal(text, demo.empty[0][0]) for text in inversion.nulls)
    assert "nothing was optimised" in inversion.receipt.notes[0]
