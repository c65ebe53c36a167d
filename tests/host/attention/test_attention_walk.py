"""The Attention Walk in the real host: against the published procedure on other hooks of it, and as users wire it."""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
from comfy.ldm.modules.attention import optimized_attention
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

from smooth_lora.walks.walk import Walk, schedule

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

STEPS, FRAMES = 4, 5
# Twice the keys, or another number of rows, add up in another order.
NEAR = {"rtol": 1e-3, "atol": 1e-3}
RED, GREEN = "a red circle on a blue background", "a green square on a white background"
KINDS = ("fused inner", "fused outer", "inner", "outer")


@pytest.fixture
def sampling(checkpoint):
    sigmas = comfy.samplers.calculate_sigmas(checkpoint[0].get_model_object("model_sampling"), "normal", STEPS)
    return comfy.samplers.sampler_object("euler"), sigmas


@pytest.fixture
def guider(checkpoint, node):
    def make(model, positive):
        made = comfy.samplers.CFGGuider(model)
        made.set_conds(positive, node("CLIPTextEncode")().encode(checkpoint[1], "")[0])
        made.set_cfg(3.0)
        return made

    return make


@pytest.fixture
def attention_walk(node):
    return lambda model, kind="fused inner", warm_up=0.5: node("SmoothAttentionWalk").execute(model, kind, warm_up)[0]


@pytest.fixture
def render(checkpoint, node, guider, sampling):
    """render(model, walk, batch, prompts, seeds) -> latents of the Walk Sampler."""

    def run(model, walk: Walk, batch: int = 0, prompts: str = f"{RED}\n{GREEN}", seeds: str = "3, 4") -> torch.Tensor:
        text = node("SmoothPromptWalk").execute(checkpoint[1], prompts, "lerp")[0]
        noise = node("SmoothSeedWalk").execute(seeds, "slerp")[0]
        return node("SmoothWalkSampler").execute(
            guider(model, text), *sampling, noise, {"samples": torch.zeros(1, 4, 8, 8)}, walk, None, batch
        )[0]["samples"]

    return run


def published(model, kind: str, fused: bool, shares: torch.Tensor, active: list[bool]):
    """AID by the formulas of its published code, written anew, on a batch that begins and ends with its keyframes: all
    attention layers of the positive text replaced through the host's replacement patches, the negative left alone."""

    def attention(q, k, v, options):
        plain = optimized_attention(q, k, v, options["n_heads"])
        if not active[0]:
            return plain
        frames, out = len(q) // len(options["cond_or_uncond"]), plain.clone()
        start = options["cond_or_uncond"].index(0) * frames
        for row in range(1, frames - 1):
            one, t = slice(start + row, start + row + 1), float(shares[row])
            first, last = slice(start, start + 1), slice(start + frames - 1, start + frames)

            def to(keys, values, one=one):
                if fused:
                    keys, values = torch.cat([k[one], keys], 1), torch.cat([v[one], values], 1)
                return optimized_attention(q[one], keys, values, options["n_heads"])

            if kind == "inner":
                out[one] = to((1 - t) * k[first] + t * k[last], (1 - t) * v[first] + t * v[last])
            else:
                out[one] = (1 - t) * to(k[first], v[first]) + t * to(k[last], v[last])
        return out

    patched = model.clone()
    for block in [
        ("input", 1),
        ("input", 2),
        ("input", 4),
        ("input", 5),
        ("input", 7),
        ("input", 8),
        ("middle", 0),
        *(("output", n) for n in range(12)),
    ]:
        for name in ("attn1", "attn2"):
            patched.set_model_patch_replace(attention, name, *block)
    return patched


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_the_published_procedure(checkpoint, node, guider, sampling, attention_walk, kind):
    walk, (sampler, sigmas) = schedule(FRAMES), sampling
    text = node("SmoothPromptWalk").execute(checkpoint[1], f"{RED}\n{GREEN}", "lerp", walk)[0]
    noise = node("SmoothSeedWalk").execute("3, 4", "slerp", walk)[0]
    latents = {"samples": torch.zeros(FRAMES, 4, 8, 8)}

    def sampled(model):
        return SamplerCustomAdvanced.execute(noise, guider(model, text), sampler, sigmas, latents).result[0]["samples"]

    warm_up = 2  # steps, half of them
    active = [True]
    reference = published(
        checkpoint[0], kind.split()[-1], kind.startswith("fused"), torch.linspace(0, 1, FRAMES), active
    )
    reference.set_model_unet_function_wrapper(
        lambda run, args: (
            active.__setitem__(0, bool(args["timestep"].max() > sigmas[warm_up])),
            run(args["input"], args["timestep"], **args["c"]),
        )[1]
    )
    found, expected = sampled(attention_walk(checkpoint[0], kind)), sampled(reference)
    torch.testing.assert_close(found, expected, **NEAR)
    plain = sampled(checkpoint[0])
    assert (found[2] - plain[2]).abs().max() > 0.05, "nothing was interpolated"
    torch.testing.assert_close(found[[0, -1]], plain[[0, -1]], **NEAR)


@pytest.mark.parametrize(
    "seeds, walk",
    [
        ("3, 4", schedule(FRAMES)),
        ("3, 4, 5", schedule(7)),
        ("3, 4", schedule(FRAMES, loop=True)),
        ("3, 4", schedule(FRAMES, first=1, last=2)),
    ],
)
def test_frames_do_not_depend_on_their_batch(checkpoint, render, attention_walk, seeds, walk):
    model = attention_walk(checkpoint[0])
    together = render(model, walk, len(walk), seeds=seeds)
    for batch in (1, 2):
        torch.testing.assert_close(render(model, walk, batch, seeds=seeds), together, **NEAR)
    assert len(together) == len(walk)
    assert (together - render(checkpoint[0], walk, seeds=seeds)).abs().max() > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_keyframes_stay_as_they_are(checkpoint, render, attention_walk, kind):
    walk = schedule(FRAMES)
    found, plain = render(attention_walk(checkpoint[0], kind, 1.0), walk), render(checkpoint[0], walk)
    torch.testing.assert_close(found[[0, -1]], plain[[0, -1]], **NEAR)


def test_no_warm_up_changes_nothing(checkpoint, render, attention_walk):
    walk = schedule(FRAMES)
    found = render(attention_walk(checkpoint[0], "inner", 0.0), walk)
    torch.testing.assert_close(found, render(checkpoint[0], walk), **NEAR)


def test_one_keyframe_changes_nothing(checkpoint, render, attention_walk):
    walk = schedule(2)
    found = render(attention_walk(checkpoint[0]), walk, prompts=RED, seeds="3, 3")
    torch.testing.assert_close(found, render(checkpoint[0], walk, prompts=RED, seeds="3, 3"), **NEAR)


def test_with_a_smooth_lora(checkpoint, node, render, attention_walk):
    """Also one whose strength walks: the keyframes beside the frames have their own."""
    walk, load = schedule(FRAMES), node("SmoothLoRALoader").execute
    name = "smooth_demo_lora.safetensors"
    merged = load(checkpoint[0], name, 2.0)[0]
    before, after = render(attention_walk(merged), walk), render(attention_walk(checkpoint[0]), walk)
    assert (before - after).abs().max() > 0.05
    walked = render(attention_walk(load(checkpoint[0], name, 2.0, walked_strength="1, 1")[0]), walk, 2)
    torch.testing.assert_close(walked, before, **NEAR)


def test_the_report_says_what_is_rendered_beside_the_frames(checkpoint, node, guider, sampling, attention_walk):
    def said(model) -> str:
        noise = node("SmoothSeedWalk").execute("3, 4", "slerp")[0]
        text = node("CLIPTextEncode")().encode(checkpoint[1], RED)[0]
        return node("SmoothWalkSampler").execute(
            guider(model, text), *sampling, noise, {"samples": torch.zeros(1, 4, 8, 8)}, schedule(3)
        )[2]

    told = "Attention Walk: the keyframes around each batch are rendered beside it"
    assert told in said(attention_walk(checkpoint[0]))
    assert "Attention Walk" not in said(checkpoint[0])


def test_a_call_outside_of_sampling_is_a_plain_one(checkpoint, attention_walk):
    """Training and inversion call the model with pictures that have nothing to do with each other."""
    model = attention_walk(checkpoint[0], "inner", 1.0)
    x, sigma, text = torch.randn(3, 4, 8, 8), torch.full((3,), 5.0), torch.randn(3, 77, 768)
    options = {"wrappers": model.wrappers, "cond_or_uncond": [0]}
    found = model.model.apply_model(x, sigma, c_crossattn=text, transformer_options=options)
    plain = model.model.apply_model(x, sigma, c_crossattn=text, transformer_options={"cond_or_uncond": [0]})
    assert torch.equal(found, plain)
    walking = {**options, "sample_sigmas": torch.tensor([10.0, 1.0, 0.0])}
    assert not torch.equal(model.model.apply_model(x, sigma, c_crossattn=text, transformer_options=walking), plain)


def test_twice_is_refused(checkpoint, attention_walk):
    with pytest.raises(ValueError, match="already has an Attention Walk"):
        attention_walk(attention_walk(checkpoint[0]))


def test_a_batch_of_latents_is_refused(checkpoint, node, guider, sampling, attention_walk):
    text = node("SmoothPromptWalk").execute(checkpoint[1], f"{RED}\n{GREEN}", "lerp")[0]
    noise = node("SmoothSeedWalk").execute("3, 4", "slerp")[0]
    with pytest.raises(ValueError, match="Attention Walk: the LATENT batch holds 5 rows.*leave out the Attention Walk"):
        node("SmoothWalkSampler").execute(
            guider(attention_walk(checkpoint[0]), text),
            *sampling,
            noise,
            {"samples": torch.zeros(FRAMES, 4, 8, 8)},
            schedule(FRAMES),
        )


def test_a_stock_batch_without_its_keyframes_is_refused(checkpoint, node, guider, sampling, attention_walk):
    walk = schedule(6)
    text = node("SmoothPromptWalk").execute(checkpoint[1], RED, "lerp", walk)[0]
    noise = node("SmoothSeedWalk").execute("3, 4", "slerp", walk)[0]
    model = attention_walk(checkpoint[0])
    model.model_options["transformer_options"]["smooth_walk_keyframes"] = 3  # as another pack might
    with pytest.raises(ValueError, match="no frame of the batch lies on keyframe 2"):
        SamplerCustomAdvanced.execute(noise, guider(model, text), *sampling, {"samples": torch.zeros(6, 4, 8, 8)})
