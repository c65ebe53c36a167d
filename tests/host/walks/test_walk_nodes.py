"""The walk nodes against the host's own noise, text encoding and cross-attention; the words of bad input."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import comfy.nested_tensor
import comfy.sd
import comfy.sd1_clip
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy_extras.nodes_custom_sampler import (
    BasicScheduler,
    CFGGuider,
    DisableNoise,
    KSamplerSelect,
    RandomNoise,
    SamplerCustomAdvanced,
)

from devtools.server import HostError

IDS = ("SmoothWalkSchedule", "SmoothSeedWalk", "SmoothNoiseWalk", "SmoothConditioningWalk", "SmoothPromptWalk")


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def run(node):
    """run(node id, inputs) -> the first output, the widgets that are not named at their defaults."""

    def execute(node_id, **inputs):
        schema = node(node_id).GET_SCHEMA()
        widgets = {i.id: i.default for i in schema.inputs if getattr(i, "default", None) is not None}
        return node(node_id).execute(**{**widgets, **inputs})[0]

    return execute


def latent(batch=1, shape=(4, 8, 8), **more):
    return {"samples": torch.zeros(batch, *shape), **more}


def wires(*values):
    """What the host makes of an Autogrow's wires."""
    return {f"keyframe_{k}": value for k, value in enumerate(values)}


def stock_noise(seed):
    return RandomNoise.execute(seed)[0]


def test_every_node_runs_on_its_defaults(run):
    assert len(run("SmoothWalkSchedule")) == 48
    assert run("SmoothSeedWalk").generate_noise(latent(3)).shape == (3, 4, 8, 8)
    assert run("SmoothConditioningWalk", keyframes=wires(text(1), text(2)))[0][0].shape == (48, 77, 768)


@pytest.mark.parametrize("node_id", IDS)
def test_execute_takes_exactly_the_inputs_of_the_schema(node, node_id):
    names = [i.id for i in node(node_id).GET_SCHEMA().inputs]
    assert list(inspect.signature(node(node_id).execute).parameters) == names


@pytest.mark.parametrize("shape", [(4, 8, 8), (16, 8, 6), (16, 3, 8, 6)], ids=["SD", "16 channels", "video"])
@pytest.mark.parametrize("path", ["slerp", "spline", "variance exact"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_seed_is_the_noise_that_the_host_gives_it(run, shape, path, dtype):
    walk = run("SmoothWalkSchedule", frames=9)
    found = run("SmoothSeedWalk", seeds="12, 99, 7", path=path, walk=walk).generate_noise(
        {"samples": torch.zeros(9, *shape, dtype=dtype)}
    )
    assert (found.dtype, found.device.type) == (dtype, "cpu")
    for frame, seed in ((0, 12), (4, 99), (8, 7)):
        expected = stock_noise(seed).generate_noise({"samples": torch.zeros(1, *shape, dtype=dtype)})
        assert torch.equal(found[frame : frame + 1], expected)


def test_the_host_asks_for_the_first_seed(run):
    noise = run("SmoothSeedWalk", seeds="12, 99, 7")
    assert noise.seed == 12
    assert noise.seeds == (12, 99, 7)


def test_without_a_walk_the_noise_is_spread_over_the_batch(run):
    spread = run("SmoothSeedWalk", seeds="1, 2")
    walked = run("SmoothSeedWalk", seeds="1, 2", walk=run("SmoothWalkSchedule", frames=5))
    assert torch.equal(spread.generate_noise(latent(5)), walked.generate_noise(latent(5)))


def test_a_window_renders_those_frames_of_the_whole_walk(run):
    def noise(frames, **window):
        walk = run("SmoothWalkSchedule", frames=12, loop=True, easing="ease in and out", **window)
        return run("SmoothSeedWalk", path="spline", walk=walk).generate_noise(latent(frames))

    assert torch.equal(noise(4, first_frame=5, last_frame=8), noise(12)[5:9])


def test_frames_cut_from_a_latent_batch_keep_their_noise(run, node):
    noise = run("SmoothSeedWalk", walk=run("SmoothWalkSchedule", frames=6))
    whole = noise.generate_noise(latent(6))
    cut = node("LatentFromBatch")().frombatch(latent(6), 2, 3)[0]
    assert torch.equal(noise.generate_noise(cut), whole[2:5])


def test_noise_keyframes_of_every_kind(run):
    rows = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    inner = run("SmoothSeedWalk", seeds="5, 6", path="spline")
    noise = run(
        "SmoothNoiseWalk",
        keyframes=wires(stock_noise(12), {"samples": rows}, inner),
        walk=run("SmoothWalkSchedule", frames=5),
    )
    found = noise.generate_noise(latent(5))
    expected = [
        stock_noise(12).generate_noise(latent()),
        rows[:1],
        rows[1:],
        stock_noise(5).generate_noise(latent()),
        stock_noise(6).generate_noise(latent()),
    ]
    assert torch.equal(found, torch.cat(expected))
    assert (noise.seed, noise.seeds[0], noise.seeds[3:]) == (12, 12, (5, 6))
    assert len(set(noise.seeds)) == 5
    assert noise.rule == "slerp"


def test_walking_leaves_the_global_generator_as_it_was(run):
    torch.manual_seed(77)
    before = torch.random.get_rng_state()
    run("SmoothNoiseWalk", keyframes=wires(stock_noise(1), stock_noise(2))).generate_noise(latent(3))
    run("SmoothSeedWalk").generate_noise(latent(3))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_noise_inputs_are_not_changed(run):
    rows = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    copy, keyframe = rows.clone(), {"samples": rows, "batch_index": [0, 1]}
    sampled = latent(5, batch_index=[0, 1, 2, 3, 4])
    run("SmoothNoiseWalk", keyframes=wires(keyframe, stock_noise(1))).generate_noise(sampled).zero_()
    assert torch.equal(rows, copy)
    assert keyframe == {"samples": rows, "batch_index": [0, 1]}
    assert sampled["batch_index"] == [0, 1, 2, 3, 4]
    assert not sampled["samples"].any()


def nested(*shapes):
    return comfy.nested_tensor.NestedTensor([torch.zeros(1, *shape) for shape in shapes])


@pytest.mark.parametrize(
    "sampled, message",
    [
        (latent(3), "the latent batch is 3, but the walk renders 5 frames; set batch_size to 5, or sample with"),
        (latent(1, batch_index=[5]), "frame number 5 is not part of this walk, which renders frames 0 to 4 of 5"),
        ({"samples": nested((4, 8, 8), (8, 16))}, r"Seed Walk: this LATENT nests several latents"),
    ],
)
def test_latents_that_do_not_fit_the_walk(run, sampled, message):
    noise = run("SmoothSeedWalk", walk=run("SmoothWalkSchedule", frames=5))
    with pytest.raises(ValueError, match=message):
        noise.generate_noise(sampled)


def test_a_cut_latent_without_a_walk(run):
    with pytest.raises(ValueError, match="its place in the walk is unknown; wire a Walk Schedule"):
        run("SmoothSeedWalk").generate_noise(latent(2, batch_index=[3, 4]))


@pytest.mark.parametrize(
    "second, message",
    [
        (lambda: latent(), "Noise Walk: keyframe_1 is all zeros: an empty latent holds no noise"),
        (
            lambda: {"samples": torch.tensor([0.25, -0.25]).repeat(1, 4, 8, 4)},
            r"keyframe_1 has a standard deviation of 0\.25, .*a picture must be inverted to noise",
        ),
        (
            lambda: {"samples": torch.cat([torch.randn(1, 4, 64, 64), 14.6 * torch.randn(1, 4, 64, 64)])},
            r"keyframe_1 \(sample 2 of 2\) has a standard deviation of 14",
        ),
        (lambda: {"samples": torch.full((1, 4, 8, 8), float("nan"))}, "keyframe_1 holds 256 NaN or infinite values"),
        (lambda: {"samples": nested((4, 8, 8), (8, 16))}, r"keyframe_1: this LATENT nests several latents"),
        (lambda: torch.zeros(1, 8, 8, 3), "keyframe_1 must be a noise or a latent that holds something, got a tensor"),
    ],
)
def test_keyframes_that_are_no_noise(run, second, message):
    with pytest.raises(ValueError, match=message):
        run("SmoothNoiseWalk", keyframes=wires(stock_noise(1), second()))


@pytest.mark.parametrize(
    "second, message",
    [
        (
            lambda: {"samples": torch.randn(1, 4, 16, 16)},
            "keyframe_1 is 4x16x16, but the sampled latent is 4x8x8; give both",
        ),
        (lambda: {"samples": torch.randn(1, 16, 8, 8)}, "keyframe_1 is 16x8x8, but the sampled latent is 4x8x8"),
        (lambda: {"samples": torch.randn(1, 4, 1, 8, 8)}, "keyframe_1 is 4x1x8x8, but the sampled latent is 4x8x8"),
        (lambda: DisableNoise.execute()[0], "keyframe_1 is all zeros, which is no noise"),
    ],
)
def test_keyframes_that_do_not_fit_the_latent(run, second, message):
    noise = run("SmoothNoiseWalk", keyframes=wires(stock_noise(1), second()))
    with pytest.raises(ValueError, match=message):
        noise.generate_noise(latent(3))


def text(seed, tokens=77, width=768, pooled=None, batch=1, **more):
    """A CONDITIONING of one entry with random text."""
    generator = torch.Generator().manual_seed(seed)
    values = {"pooled_output": torch.randn(batch, pooled, generator=generator)} if pooled else {}
    return [[torch.randn(batch, tokens, width, generator=generator), {**values, **more}]]


def walked(run, *keyframes, frames=5, **more):
    return run(
        "SmoothConditioningWalk", keyframes=wires(*keyframes), walk=run("SmoothWalkSchedule", frames=frames), **more
    )


@pytest.mark.parametrize("path", ["lerp", "slerp per token"])
def test_frames_on_keyframes_are_the_conditionings(run, path):
    keyframes = [text(k, 77, 2048, pooled=1280, width_hint=7) for k in range(3)]
    ((found, values),) = walked(run, *keyframes, path=path)
    assert found.shape == (5, 77, 2048)
    assert values["pooled_output"].shape == (5, 1280)
    assert values["width_hint"] == 7
    for frame, keyframe in ((0, 0), (2, 1), (4, 2)):
        assert torch.equal(found[frame], keyframes[keyframe][0][0][0])
        assert torch.equal(values["pooled_output"][frame], keyframes[keyframe][0][1]["pooled_output"][0])


def test_the_walk_travels_in_the_conditioning(run):
    ((found, values),) = walked(run, text(1, pooled=8), text(2, pooled=8))
    walk = run("SmoothWalkSchedule", frames=9)
    longer = values["smooth_walk"].at(walk)
    assert set(longer) == {"cross_attn", "pooled_output"}
    assert torch.equal(longer["cross_attn"][::2], found)
    assert torch.equal(longer["pooled_output"][::2], values["pooled_output"])
    alone = values["smooth_walk"].at(walk.select([3]))
    assert torch.equal(alone["cross_attn"][0], longer["cross_attn"][3])
    assert torch.equal(alone["pooled_output"][0], longer["pooled_output"][3])


def test_a_batch_counts_as_several_keyframes(run):
    first, batch = text(1, pooled=8), text(2, pooled=8, batch=2)
    ((found, values),) = walked(run, first, batch)
    assert torch.equal(found[::2], torch.cat([first[0][0], batch[0][0]]))
    assert torch.equal(
        values["pooled_output"][::2], torch.cat([first[0][1]["pooled_output"], batch[0][1]["pooled_output"]])
    )


def test_a_walk_counts_as_its_own_keyframes(run):
    a, b, c = text(1), text(2), text(3)
    inner = walked(run, a, b, frames=31)
    ((found, values),) = walked(run, inner, c)
    assert torch.equal(found[::2], torch.cat([a[0][0], b[0][0], c[0][0]]))
    assert torch.equal(found, walked(run, a, b, c)[0][0])


def test_combined_conditionings_walk_entry_by_entry(run, node):
    def combined(seed):
        areas = [node("ConditioningSetArea")().append(text(seed + k), 64, 64, 64 * k, 0, 0.5)[0] for k in range(2)]
        return node("ConditioningCombine")().combine(*areas)[0]

    first, last = combined(1), combined(11)
    found = walked(run, first, last)
    assert len(found) == 2
    for entry in range(2):
        assert torch.equal(found[entry][0][0], first[entry][0][0])
        assert torch.equal(found[entry][0][4], last[entry][0][0])
        assert found[entry][1]["area"] == first[entry][1]["area"]
        assert found[entry][1]["strength"] == 0.5


def test_equal_masks_and_objects_are_kept(run):
    mask, hint = torch.rand(1, 8, 8), object()
    ((_, values),) = walked(run, text(1, mask=mask, control=hint), text(2, mask=mask.clone(), control=hint))
    assert torch.equal(values["mask"], mask)
    assert values["control"] is hint


def test_areas_and_ranges_go_after_the_walk(run, node):
    found = walked(run, text(1), text(2))
    placed = node("ConditioningSetTimestepRange")().set_range(found, 0.0, 0.5)[0]
    assert placed[0][1]["end_percent"] == 0.5
    placed[0][1]["smooth_walk"].require_unchanged(
        placed[0][0], placed[0][1].get("pooled_output"), "positive conditioning"
    )


@pytest.mark.parametrize(
    "alter",
    [
        lambda node, walk, other: node("ConditioningConcat")().concat(walk, other)[0],
        lambda node, walk, other: node("ConditioningAverage")().addWeighted(walk, other, 0.5)[0],
        lambda node, walk, other: node("ConditioningZeroOut")().zero_out(walk)[0],
    ],
    ids=["concat", "average", "zero out"],
)
@pytest.mark.parametrize("pooled", [None, 8])
def test_text_that_was_changed_after_the_walk_is_noticed(run, node, alter, pooled):
    changed = alter(node, walked(run, text(1, pooled=pooled), text(2, pooled=pooled)), text(3, pooled=pooled, batch=5))
    with pytest.raises(ValueError, match="positive conditioning: its text was changed by a node after the walk"):
        changed[0][1]["smooth_walk"].require_unchanged(
            changed[0][0], changed[0][1].get("pooled_output"), "positive conditioning"
        )
    with pytest.raises(ValueError, match="Conditioning Walk: keyframe_0: its text was changed by a node after the"):
        walked(run, changed, text(3, pooled=pooled))


def test_zeroed_text_is_a_keyframe_like_any_other(run, node):
    zero = node("ConditioningZeroOut")().zero_out(text(1, pooled=8))[0]
    for path in ("lerp", "slerp per token"):
        ((found, values),) = walked(run, text(1, pooled=8), zero, path=path)
        torch.testing.assert_close(found[2], text(1, pooled=8)[0][0][0] / 2)
        assert torch.isfinite(values["pooled_output"]).all()
        assert not found[4].any()


@pytest.fixture(scope="module")
def unet():
    """A small host UNet with SD1's cross-attention and random weights."""
    model = UNetModel(
        image_size=8,
        in_channels=4,
        out_channels=4,
        model_channels=32,
        num_res_blocks=[1],
        channel_mult=[1],
        num_heads=4,
        use_spatial_transformer=True,
        context_dim=768,
        transformer_depth=[1],
        transformer_depth_output=[1, 1],
        transformer_depth_middle=1,
        dtype=torch.float32,
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.3 if parameter.ndim == 1 else 0.08))
    return model.eval()


def test_repeated_prompts_mean_the_same_to_the_hosts_cross_attention(run, unet):
    short, long = text(1, 77), text(2, 154)
    ((found, _),) = walked(run, short, long)
    assert found.shape == (5, 154, 768)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def eps(context):
        return unet(x, torch.tensor([500.0]), context=context)

    torch.testing.assert_close(eps(found[:1]), eps(short[0][0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(eps(found[4:]), eps(long[0][0]), atol=1e-5, rtol=0)
    assert (eps(found[:1]) - eps(found[4:])).abs().max() > 1e-2


def test_conditioning_inputs_are_not_changed(run):
    keyframes = [text(1, 77, pooled=8, strength=0.5), text(2, 154, pooled=8, strength=0.5)]
    copies = [(k[0][0].clone(), dict(k[0][1]), k[0][1]["pooled_output"].clone()) for k in keyframes]
    walked(run, *keyframes)[0][0].zero_()
    for ((tokens, values),), (tokens_before, values_before, pooled_before) in zip(keyframes, copies, strict=True):
        assert torch.equal(tokens, tokens_before)
        assert values.keys() == values_before.keys()
        assert torch.equal(values["pooled_output"], pooled_before)


@pytest.mark.parametrize(
    "second, message",
    [
        (lambda: text(2, width=1024), "the text of keyframe_1 is 1024 wide, but the text of keyframe_0 is 768 wide"),
        (lambda: text(2, 100), "prompts of 77 and 100 tokens cannot be walked for this model"),
        (lambda: text(2) + text(3), "keyframe_1 has 2 conditionings combined in it, but keyframe_0 has 1"),
        (list, "keyframe_1 must be a conditioning, got an empty list; wire a CLIP Text Encode"),
        (
            lambda: text(2, area=(8, 8, 0, 0)),
            "'area' of keyframe_1 differs from keyframe_0 and cannot be walked; set it after",
        ),
        (lambda: text(2, mask=torch.ones(1, 8, 8)), "'mask' of keyframe_1 differs from keyframe_0"),
        (lambda: text(2, strength=0.5), "'strength' of keyframe_1 differs from keyframe_0"),
        (lambda: text(2, control=object()), "'control' of keyframe_1 differs from keyframe_0"),
        (lambda: text(2, hooks=object()), "'hooks' of keyframe_1 differs from keyframe_0"),
        (lambda: text(2, attention_mask=torch.ones(1, 77)), "keyframe_1 and keyframe_0 have different text masks"),
        (lambda: text(2, pooled=8), "keyframe_0 has no pooled text vector, but keyframe_1 has one"),
        (
            lambda: text(2, batch=2, reference=torch.ones(2, 3)),
            "keyframe_1 is a batch of 2 with a 'reference' for each member",
        ),
        (lambda: [[None, {}]], "keyframe_1 must be a conditioning, got a list of a list of nothing"),
        (lambda: [[torch.zeros(77, 768), {}]], "keyframe_1 must be a conditioning, .* tensor of 77x768;"),
        (
            lambda: [[torch.full((1, 77, 768), float("nan")), {}]],
            "the text of keyframe_1 holds 59136 NaN or infinite values",
        ),
    ],
)
def test_conditionings_that_cannot_be_walked(run, second, message):
    with pytest.raises(ValueError, match=message):
        walked(run, text(1), second())


def test_pooled_vectors_of_different_width(run):
    with pytest.raises(
        ValueError, match="the pooled vector of keyframe_1 is 16 wide, but the pooled vector of keyframe_0 is 8 wide"
    ):
        walked(run, text(1, pooled=8), text(2, pooled=16))


def test_pooled_vectors_that_do_not_match_their_batch(run):
    bad = text(2, batch=3)
    bad[0][1]["pooled_output"] = torch.zeros(2, 8)
    with pytest.raises(ValueError, match="keyframe_1 holds 3 texts but pooled vectors of 2x8; encode it again"):
        walked(run, text(1, pooled=8), bad)


def test_different_lengths_with_a_text_mask(run):
    mask = torch.ones(1, 154)
    with pytest.raises(ValueError, match="prompts of 77 and 154 tokens with a text mask cannot be walked"):
        walked(run, text(1, 77, attention_mask=mask), text(2, 154, attention_mask=mask))


def test_different_lengths_for_a_model_with_joint_attention(run):
    with pytest.raises(ValueError, match="prompts of 77 and 154 tokens cannot be walked for this model"):
        walked(run, text(1, 77, width=4096), text(2, 154, width=4096))
    assert walked(run, text(1, 154, width=4096), text(2, 154, width=4096))[0][0].shape == (5, 154, 4096)


class _TinyClipL(comfy.sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options={}):  # noqa: B006 (the host's signature)
        config = {
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "hidden_act": "quick_gelu",
            "vocab_size": 49408,
            "max_position_embeddings": 77,
            "eos_token_id": 49407,
            "projection_dim": 32,
        }
        super().__init__(device=device, dtype=dtype, textmodel_json_config=config, model_options=model_options)


class _TinyClip(comfy.sd1_clip.SD1ClipModel):
    def __init__(self, device="cpu", dtype=None, model_options={}, **_):  # noqa: B006
        super().__init__(device=device, dtype=dtype, model_options=model_options, clip_name="l", clip_model=_TinyClipL)


@pytest.fixture(scope="module")
def clip():
    """The host's CLIP with its own tokenizer and a small random text encoder."""
    made = comfy.sd.CLIP(SimpleNamespace(params={}, clip=_TinyClip, tokenizer=comfy.sd1_clip.SD1Tokenizer))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.cond_stage_model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return made


LINES = ("a red circle", "a (green:1.3) square", "a blue ring")


@pytest.mark.parametrize("path", ["lerp", "slerp per token"])
def test_prompts_are_encoded_as_the_stock_node_does(run, node, clip, path):
    walk = run("SmoothWalkSchedule", frames=5)
    ((found, values),) = run("SmoothPromptWalk", clip=clip, prompts="\n\n".join(LINES), path=path, walk=walk)
    for frame, line in zip((0, 2, 4), LINES, strict=True):
        ((expected, more),) = node("CLIPTextEncode")().encode(clip, line)[0]
        torch.testing.assert_close(found[frame], expected[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(values["pooled_output"][frame], more["pooled_output"][0], atol=1e-5, rtol=0)
    assert (found[0] - found[4]).abs().max() > 0.1


def test_one_prompt_is_the_same_text_in_every_frame(run, node, clip):
    walk = run("SmoothWalkSchedule", frames=3)
    ((found, _),) = run("SmoothPromptWalk", clip=clip, prompts=LINES[0], walk=walk)
    expected = node("CLIPTextEncode")().encode(clip, LINES[0])[0][0][0]
    assert torch.equal(found, expected.expand(3, -1, -1))


def test_equal_lines_are_encoded_once(run, clip, monkeypatch):
    seen = []
    tokenize = type(clip).tokenize
    monkeypatch.setattr(
        type(clip), "tokenize", lambda self, line, **more: seen.append(line) or tokenize(self, line, **more)
    )
    run("SmoothPromptWalk", clip=clip, prompts="a\nb\na\na\nb")
    assert seen == ["a", "b"]


@pytest.mark.parametrize(
    "prompts, message",
    [
        ("", "prompts is empty"),
        ("\n".join(["x"] * 101), "a prompt walk needs 1 to 100 prompts, got 101 lines"),
        ("a cat\n" + "very " * 100 + "long", "prompts of 77 and 154 tokens cannot be walked for this model"),
    ],
)
def test_prompts_that_cannot_be_walked(run, clip, prompts, message):
    with pytest.raises(ValueError, match=message):
        run("SmoothPromptWalk", clip=clip, prompts=prompts)


def test_a_checkpoint_without_a_text_encoder(run):
    with pytest.raises(
        ValueError, match="clip is empty, because the checkpoint that it comes from has none; wire the CLIP of"
    ):
        run("SmoothPromptWalk", clip=None, prompts="a cat")


@pytest.fixture(scope="module")
def demo(demo_models, node):
    """The demo checkpoint, opened by the host's loader: model, clip."""
    with torch.inference_mode():
        model, clip, _ = node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")
        return SimpleNamespace(model=model, clip=clip)


def test_the_demo_checkpoints_own_encoder(run, node, demo):
    long = ", ".join(["a red circle on a blue background"] * 12)
    walk = run("SmoothWalkSchedule", frames=3)
    ((found, _),) = run("SmoothPromptWalk", clip=demo.clip, prompts=f"a red circle\n{long}", walk=walk)
    short, longer = (node("CLIPTextEncode")().encode(demo.clip, line)[0][0][0] for line in ("a red circle", long))
    assert found.shape[1:] == (154, 768)
    torch.testing.assert_close(found[0], short[0].repeat(2, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[2], longer[0], atol=1e-5, rtol=0)


class FixedNoise:
    """A NOISE that is what it is given."""

    seed = 0

    def __init__(self, noise):
        self.noise = noise

    def generate_noise(self, latent):
        return self.noise.clone()


def test_the_stock_sampler_renders_a_walk(run, node, demo):
    """Frames on keyframes are what the stock sampler makes of that seed and that prompt alone."""
    empty = node("CLIPTextEncode")().encode(demo.clip, "")[0]
    sampler = KSamplerSelect.execute("euler")[0]
    sigmas = BasicScheduler.execute(demo.model, "normal", 3, 1.0)[0]

    def sampled(noise, positive, frames):
        guider = CFGGuider.execute(demo.model, positive, empty, 3.0)[0]
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent(frames))[0]["samples"]

    walk = run("SmoothWalkSchedule", frames=5)
    prompts = run("SmoothPromptWalk", clip=demo.clip, prompts="\n".join(LINES), walk=walk)
    found = sampled(run("SmoothSeedWalk", seeds="12, 99, 7", walk=walk), prompts, 5)
    # The stock sampler's own batch of five, since a batch takes other kernels than a single picture, and they round
    # float32 differently, by processor: each keyframe's noise and text stand in it for themselves and for the frame
    # after.
    rows = [0, 0, 1, 1, 2]
    noises = [stock_noise(seed).generate_noise(latent(1)) for seed in (12, 99, 7)]
    texts = [node("CLIPTextEncode")().encode(demo.clip, line)[0][0][0] for line in LINES]
    stock = sampled(
        FixedNoise(torch.cat([noises[row] for row in rows])), [[torch.cat([texts[row] for row in rows]), {}]], 5
    )
    for frame in (0, 2, 4):
        torch.testing.assert_close(found[frame], stock[frame], atol=1e-5, rtol=0)
    assert (found[0] - found[1]).abs().max() > 1e-2


def _noise_walk(seeds="12, 99, 7", **inputs):
    """A prompt with one noise of each kind, which the server can run without a model."""
    return {
        "1": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
        "2": {"class_type": "SmoothSeedWalk", "inputs": {"seeds": seeds, "path": "slerp", "walk": ["3", 0]}},
        "3": {
            "class_type": "SmoothWalkSchedule",
            "inputs": {
                "frames": 24,
                "easing": "linear",
                "easing_over": "whole walk",
                "loop": False,
                "first_frame": 0,
                "last_frame": -1,
                **inputs,
            },
        },
        "4": {
            "class_type": "SmoothNoiseWalk",
            "inputs": {
                "keyframes.keyframe_0": ["1", 0],
                "keyframes.keyframe_1": ["2", 0],
                "path": "spline",
                "walk": ["3", 0],
            },
        },
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
    }


def test_the_server_runs_the_nodes(client):
    assert "WalkNoise" in client.run(_noise_walk())["5"]["text"][0]


@pytest.mark.parametrize(
    "prompt, message",
    [
        (_noise_walk(seeds="12, x"), "entry 2 of the list of seeds, 'x', is not a whole number"),
        (_noise_walk(seeds="12"), "a seed walk needs 2 to 100 seeds, got 1"),
        (_noise_walk(first_frame=24), "first frame 24 is outside the walk, whose frames are 0 to 23"),
        (_noise_walk(first_frame=9, last_frame=3), "last frame 3 lies before first frame 9"),
        (_noise_walk(frames=0), "Value 0 smaller than min of 1"),
        (_noise_walk(easing="bounce"), "Value not in list"),
    ],
    ids=["seed", "one seed", "first frame", "window", "no frames", "easing"],
)
def test_the_server_says_what_is_wrong_and_lives_on(client, prompt, message):
    with pytest.raises(HostError, match=message):
        client.run(prompt)
    assert client.run(_noise_walk())["5"]["text"]
