"""Invert Picture and the replay nodes on the demo checkpoint, against the host's own sampler and diffusers' DDIM."""

from __future__ import annotations

import copy

import comfy.model_management
import comfy.samplers
import diffusers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import DisableNoise, RandomNoise, SamplerCustomAdvanced

STEPS = 4
METHODS = {
    "exact": {},
    "ddim": {},
    "fixed_point": {"iterations": 2},
    "null_text": {"inner_steps": 2},
    "null_text_dual": {"inner_steps": 2},
    "negative_prompt": {},
    "proximal": {},
    "edit_friendly": {"seed": 3},
    "dpm_encoder": {"eta": 0.5},
    "direct": {},
}
SMALLEST = "smallest of the model (diffusers)"


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture(scope="module")
def invert(host_pack, demo):
    """invert(...) -> the outputs of Invert Picture for the first picture by ddim at cfg 1, what is named changed."""

    def run(**inputs):
        if "image" not in inputs:
            inputs = {"latent_image": {"samples": demo.latent}, **inputs}
        return host_pack.run(
            "SmoothInvert",
            **{
                "model": demo.model,
                "positive": demo.first,
                "negative": demo.empty,
                "method": "ddim",
                "steps": STEPS,
                "cache_gb": 0.0,
                **inputs,
            },
        )

    return run


@pytest.fixture(scope="module")
def replay(host_pack, demo):
    """replay(inversion, noise) -> the latent that SamplerCustomAdvanced makes with the replay nodes."""

    def run(inversion, noise, *, skip=0, latent=None, guider=None, **guided):
        sampler, sigmas, empty = host_pack.run("SmoothReplaySampler", inversion=inversion, skip=skip)
        if guider is None:
            guider = host_pack.run("SmoothReplayGuider", model=demo.model, inversion=inversion, **guided)[0]
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent or empty)[0]["samples"]

    return run


@pytest.fixture(scope="module")
def stock(demo):
    """stock(noise, sigmas, positive, negative, cfg) -> what the host's own nodes make with euler and no latent."""

    def run(noise, sigmas, positive, *, negative=None, cfg=1.0, latent=None):
        guider = comfy.samplers.CFGGuider(demo.model)
        guider.set_conds(positive, negative or demo.empty)
        guider.set_cfg(cfg)
        samples = torch.zeros_like(demo.latent) if latent is None else latent
        euler = comfy.samplers.sampler_object("euler")
        return SamplerCustomAdvanced.execute(noise, guider, euler, sigmas.float(), {"samples": samples})[0]["samples"]

    return run


def distance(actual, expected):
    """[B] relative L2 distance of each sample."""
    expected = expected.double().flatten(1)
    return (actual.double().flatten(1) - expected).norm(dim=1) / expected.norm(dim=1)


def assert_near(actual, expected, most=1e-5):
    assert actual.shape == expected.shape
    assert float(distance(actual, expected).max()) < most


def errors(inversion):
    """[B] what the receipt says is lost."""
    return torch.tensor([picture.latent_error for picture in inversion.receipt.pictures], dtype=torch.float64)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("method", METHODS)
def test_the_nodes_give_what_the_receipt_says(invert, replay, demo, method, cfg):
    given = demo.both if method == "null_text_dual" else demo.latent
    inversion, noise, _, _ = invert(method=method, cfg=cfg, latent_image={"samples": given}, **METHODS[method])
    sampled = replay(inversion, noise)
    assert sampled.isfinite().all() and len(sampled) == len(given) * (2 if method == "direct" else 1)
    found = distance(sampled[: len(given)], given)  # direct holds every picture twice, the second time to be edited
    torch.testing.assert_close(found, errors(inversion), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("cfg", [1.0, 7.5])
def test_exact_comes_back_to_rounding_in_fifty_steps(invert, replay, demo, cfg):
    inversion, noise, receipt, _ = invert(
        method="exact",
        cfg=cfg,
        steps=50,
        image=demo.pictures,
        vae=demo.vae,
        positive=demo.first,
        positive_2=demo.second,
    )
    assert inversion.steps == 50 and float(errors(inversion).max()) < 1e-6
    sampled = replay(inversion, noise)
    assert_near(sampled, demo.both, 1e-6)
    for place, picture in enumerate(inversion.receipt.pictures):
        mse = (demo.vae.decode(sampled)[place] - demo.pictures[place]).square().mean()
        assert picture.against_input.mse == pytest.approx(float(mse), rel=1e-3)
        assert picture.against_input.mse == pytest.approx(picture.ceiling.mse, rel=1e-3)
    assert f"{inversion.receipt.pictures[0].ceiling.psnr:.2f}" in receipt


def test_negative_prompt_at_a_high_cfg_is_the_ddim_reconstruction(invert, replay):
    at_one, high = invert(), invert(method="negative_prompt", cfg=7.5)
    assert torch.equal(high[1].noise, at_one[1].noise)
    assert_near(replay(*high[:2]), replay(*at_one[:2]))


@pytest.mark.parametrize("scheduler", ["ddim_uniform", "normal"])  # normal starts at the model's largest noise level
@pytest.mark.parametrize("method", ["ddim", "fixed_point"])
def test_bare_noise_in_the_stock_sampler_reconstructs(invert, stock, demo, method, scheduler):
    inversion, noise, _, _ = invert(method=method, scheduler=scheduler)
    found = distance(stock(noise, inversion.sigmas, demo.first), demo.latent)
    torch.testing.assert_close(found, errors(inversion), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_edits_with_ddim_are_the_stock_samplers(invert, replay, stock, demo, cfg):
    inversion, noise, _, _ = invert(cfg=cfg)
    expected = stock(noise, inversion.sigmas, demo.second, cfg=cfg)
    assert_near(replay(inversion, noise, positive=demo.second), expected)
    assert distance(expected, demo.latent).min() > 0.1


def test_walked_noise_with_ddim_is_the_stock_samplers(invert, replay, stock, demo):
    inversion, walked = invert(cfg=3.0)[0], RandomNoise.execute(7)[0]
    assert_near(replay(inversion, walked), stock(walked, inversion.sigmas, demo.first, cfg=3.0))


def test_direct_keeps_the_source_beside_the_stock_samplers_edit(invert, replay, stock, demo):
    inversion, noise, _, _ = invert(method="direct", cfg=4.0)
    source, edited = replay(inversion, noise, positive=demo.second).split(1)
    assert_near(source, demo.latent, 1e-6)
    assert_near(edited, stock(noise, inversion.sigmas, demo.second, cfg=4.0))


def test_proximal_that_drops_and_pulls_nothing_is_guidance_from_the_source(invert, replay, stock, demo):
    inversion, noise, _, _ = invert(method="proximal", cfg=4.0, quantile=0.0, pull=0.0)
    expected = stock(noise, inversion.sigmas, demo.second, negative=demo.first, cfg=4.0)
    assert_near(replay(inversion, noise, positive=demo.second), expected)
    held = invert(method="proximal", cfg=4.0, quantile=0.9)
    assert (distance(replay(*held[:2], positive=demo.second), demo.latent) < distance(expected, demo.latent)).all()


@pytest.mark.parametrize("method", ["ddim", "exact", "edit_friendly"])
def test_prompt_switch_ends_at_source_and_target(invert, replay, host_pack, demo, method):
    inversion, noise, _, _ = invert(method=method)
    texts = [
        host_pack.run("SmoothPromptSwitch", source=demo.first, target=demo.second, fraction=fraction)[0]
        for fraction in (0.0, 0.5, 1.0)
    ]
    none, half, all_of_it = (replay(inversion, noise, positive=text) for text in texts)
    assert torch.equal(none, replay(inversion, noise))
    assert torch.equal(all_of_it, replay(inversion, noise, positive=demo.second))
    assert not torch.equal(half, none) and not torch.equal(half, all_of_it)


def test_prompt_switch_is_two_stock_samplings_one_after_the_other(invert, replay, host_pack, stock, demo):
    inversion, noise, _, _ = invert(cfg=3.0)
    (text,) = host_pack.run("SmoothPromptSwitch", source=demo.first, target=demo.second, fraction=0.4)
    levels = inversion.sigmas  # timesteps 751 and 501 of 1000 follow the source, 251 and 1 the target
    half = stock(noise, levels[:3], demo.first, cfg=3.0)
    expected = stock(DisableNoise.execute()[0], levels[2:], demo.second, cfg=3.0, latent=half)
    assert_near(replay(inversion, noise, positive=text), expected)


@pytest.mark.parametrize("method", ["ddim", "exact", "edit_friendly", "proximal"])
def test_skip_starts_on_the_path(invert, replay, stock, demo, method):
    inversion, noise, _, _ = invert(method=method, cfg=1.0)
    sampled = replay(inversion, noise, skip=2)
    if method == "ddim":
        start = demo.model.model.process_latent_out(inversion.states[2].float())
        assert_near(sampled, stock(DisableNoise.execute()[0], inversion.sigmas[2:], demo.first, latent=start))
    else:
        assert_near(sampled, demo.latent, 1e-6)


def test_outside_a_mask_the_latent_stays(invert, replay, demo):
    inversion, noise, _, _ = invert()
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1.0
    other = demo.both[1:]
    sampled = replay(inversion, noise, latent={"samples": other, "noise_mask": mask}, positive=demo.second)
    assert_near(sampled[..., 4:], other[..., 4:], 1e-6)
    assert distance(sampled[..., :4], other[..., :4]).min() > 0.1


def test_a_latent_is_as_good_as_its_picture(invert, demo):
    from_image = invert(method="exact", image=demo.pictures, vae=demo.vae)[0]
    from_latent = invert(method="exact", latent_image={"samples": demo.both})[0]
    assert torch.equal(from_image.states, from_latent.states)
    assert from_latent.receipt.pictures[0].against_input is None


@pytest.mark.parametrize("method", ["exact", "ddim", "fixed_point", "edit_friendly"])
def test_two_pictures_together_are_each_alone(invert, demo, method):
    together = invert(method=method, positive_2=demo.second, latent_image={"samples": demo.both}, iterations=2)[0]
    for place, text in enumerate((demo.first, demo.second)):
        one = {"samples": demo.both[place : place + 1]}
        alone = invert(method=method, positive=text, latent_image=one, seed=place, iterations=2)[0]
        for k in range(STEPS + 1):
            assert_near(together.states[k, place : place + 1], alone.states[k], 1e-4)
        assert errors(alone)[0] == pytest.approx(float(errors(together)[place]), rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("method", ["exact", "null_text", "proximal"])
def test_inputs_stay_as_they_are(invert, replay, pack_module, demo, method):
    fingerprint = pack_module("nodes.model.fingerprint").fingerprint
    image, texts = demo.pictures[:1], [demo.first, demo.empty]
    patcher = {
        name: copy.copy(value)
        for name, value in vars(demo.model).items()
        if isinstance(value, (dict, list)) and "backup" not in name
    }
    before = fingerprint(demo.model), copy.deepcopy(texts), image.clone(), demo.latent.clone()
    inversion, noise, _, _ = invert(method=method, cfg=3.0, image=image, vae=demo.vae, **METHODS[method])
    kept = inversion.states.clone(), inversion.noise.clone()
    replay(inversion, noise)
    assert fingerprint(demo.model) == before[0]
    assert {name: getattr(demo.model, name) for name in patcher} == patcher
    for text, old in zip(texts, before[1], strict=True):
        assert torch.equal(text[0][0], old[0][0]) and text[0][1].keys() == old[0][1].keys()
    assert torch.equal(image, before[2]) and torch.equal(demo.latent, before[3])
    assert torch.equal(inversion.states, kept[0]) and torch.equal(inversion.noise, kept[1])


@pytest.mark.parametrize("final_sigma", ["zero", SMALLEST])
def test_diffusers_ddim_on_the_same_network(invert, replay, demo, final_sigma):
    """Its schedulers hold latents in VP scale: ours divided by sqrt(1 + sigma^2)."""
    config = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": final_sigma == "zero",
        "steps_offset": 1,
        "prediction_type": "epsilon",
    }
    there, back = diffusers.DDIMInverseScheduler(**config), diffusers.DDIMScheduler(**config)
    inversion, noise, _, _ = invert(steps=50, final_sigma=final_sigma)
    sampled = demo.model.model.process_latent_in(replay(inversion, noise))
    path = [state / (1 + sigma**2) ** 0.5 for state, sigma in zip(inversion.states, inversion.sigmas, strict=True)]
    comfy.model_management.load_models_gpu([demo.model])

    def walk(scheduler, x):
        states = [x]
        scheduler.set_timesteps(50)
        for t in scheduler.timesteps:
            eps = demo.model.model.diffusion_model(x, torch.tensor([float(t)]), context=demo.first[0][0])
            x = scheduler.step(eps, t, x).prev_sample
            states.append(x)
        return states

    inverted = walk(there, demo.model.model.process_latent_in(demo.latent))
    for ours, theirs in zip(path, inverted[::-1], strict=True):
        assert_near(ours, theirs, 1e-4)
    assert_near(sampled, walk(back, inverted[-1])[-1], 1e-4)
