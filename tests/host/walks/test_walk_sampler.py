"""The Walk Sampler against the host's own sampler, node by node, on the demo checkpoint."""

from __future__ import annotations

import copy
import re
from types import SimpleNamespace

import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import RandomNoise, SamplerCustomAdvanced

from devtools.layout import PACK

SEEDS = (12, 99, 7)
SEEDS_TEXT = "12, 99, 7"
STEPS = 4
# Batches of different sizes take different kernels, whose single-precision rounding differs: of a latent's size.
TOLERANCE = 1e-4
UNSEEN = 0.1 / 255  # a tenth of a level of an 8-bit picture, for the same reason


pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")


@pytest.fixture
def run(node):
    """run(node id, inputs) -> the node's outputs, the widgets that are not named at their defaults."""

    def execute(node_id, **inputs):
        schema = node(node_id).GET_SCHEMA()
        widgets = {i.id: i.default for i in schema.inputs if getattr(i, "default", None) is not None}
        return node(node_id).execute(**{**widgets, **inputs})

    return execute


@pytest.fixture(scope="module")
def demo(demo_models, node):
    """The demo checkpoint, opened by the host's loader: model, clip, vae."""
    with torch.inference_mode():
        model, clip, vae = node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")
        return SimpleNamespace(model=model, clip=clip, vae=vae)


@pytest.fixture
def text(demo, node):
    """text(prompt) -> CONDITIONING of the stock node."""
    return lambda prompt: node("CLIPTextEncode")().encode(demo.clip, prompt)[0]


@pytest.fixture
def guider(demo, text):
    """guider(positive) -> the stock CFG guider at cfg 3 with an empty negative prompt."""

    def make(positive):
        made = comfy.samplers.CFGGuider(demo.model)
        made.set_conds(positive, text(""))
        made.set_cfg(3.0)
        return made

    return make


@pytest.fixture
def prompts(demo, run):
    """Three prompts walked by the Prompt Walk node."""
    lines = "a red circle on a blue background\na green square on a white background\na blue ring on a red background"
    return run("SmoothPromptWalk", clip=demo.clip, prompts=lines)[0]


@pytest.fixture
def schedule(run):
    return lambda frames, **more: run("SmoothWalkSchedule", frames=frames, **more)[0]


@pytest.fixture
def seeds(run):
    return lambda **more: run("SmoothSeedWalk", seeds=SEEDS_TEXT, **more)[0]


@pytest.fixture
def sampled(node, demo):
    """sampled(...) -> (latents, images, report) of the node, with euler, STEPS steps and an empty 8x8 latent."""

    def run(guider, noise, walk, *, sampler="euler", batch=0, vae=demo.vae, latent=None, options=None, steps=STEPS):
        chosen = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
        if options:
            chosen.extra_options = {**chosen.extra_options, **options}
        latent = empty() if latent is None else latent
        out = node("SmoothWalkSampler").execute(guider, chosen, sigmas(demo, steps), noise, latent, walk, vae, batch)
        return out[0], out[1], out[2]

    return run


def assert_same(actual, expected):
    """Equal up to TOLERANCE of the expected values' standard deviation (of 1 for pictures, which lie in 0..1)."""
    size = max(1.0, float(expected.std())) if expected.numel() > 1 else 1.0
    torch.testing.assert_close(actual, expected, atol=TOLERANCE * size, rtol=0)


def sigmas(demo, steps=STEPS):
    model_sampling = demo.model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(model_sampling, "normal", steps)


def empty(batch=1):
    return {"samples": torch.zeros(batch, 4, 8, 8)}


def stock(node, guider, seed, demo, *, sampler="euler", latent=None, steps=STEPS):
    """What the host's own nodes make of one seed: latents [1, 4, 8, 8] and the picture."""
    noise = RandomNoise.execute(seed)[0]
    out = SamplerCustomAdvanced.execute(
        noise,
        guider,
        comfy.samplers.sampler_object(sampler),
        sigmas(demo, steps),
        empty() if latent is None else latent,
    )
    return out[0]["samples"], node("VAEDecode")().decode(demo.vae, out[0])[0]


def bare_host(guider, prompts, seeds, walk, batch, demo):
    """The walk's frames by the host's guider alone, noise and text laid out batch by batch."""
    rows = []
    for start in range(0, len(walk), batch):
        chunk = walk.select(walk.numbers[start : start + batch])
        text = [[prompts[0][1]["smooth_walk"].at(chunk)["cross_attn"], {}]]
        noise = seeds.path(empty()).at(chunk)
        rows.append(
            guider(text).sample(
                noise,
                empty(len(chunk))["samples"],
                comfy.samplers.sampler_object("euler"),
                sigmas(demo),
                disable_pbar=True,
                seed=0,
            )
        )
    return torch.cat(rows)


def test_frames_do_not_depend_on_the_batch(guider, prompts, seeds, schedule, sampled, demo):
    walk = schedule(12)
    alone, alone_images, _ = sampled(guider(prompts), seeds(), walk, batch=1)
    for batch in (3, 11):
        latents, images, _ = sampled(guider(prompts), seeds(), walk, batch=batch)
        assert_same(latents["samples"], alone["samples"])
        torch.testing.assert_close(images, alone_images, atol=UNSEEN, rtol=0)
        # So the sampler itself is held against the bare host in the same batches, where nothing may differ.
        assert torch.equal(latents["samples"], bare_host(guider, prompts, seeds(), walk, batch, demo))
    assert alone_images.shape == (12, 64, 64, 3)
    assert (alone_images[1:] - alone_images[:-1]).flatten(1).norm(dim=1).min() > 1e-3  # it moves


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde_gpu", "lcm"])
def test_end_frames_are_the_stock_pictures(node, demo, guider, text, prompts, seeds, schedule, sampled, sampler):
    latents, images, _ = sampled(guider(prompts), seeds(), schedule(5), sampler=sampler, batch=1)
    for frame, seed, prompt in (
        (0, SEEDS[0], "a red circle on a blue background"),
        (4, SEEDS[2], "a blue ring on a red background"),
    ):
        expected, picture = stock(node, guider(text(prompt)), seed, demo, sampler=sampler)
        assert_same(latents["samples"][frame : frame + 1], expected)
        assert_same(images[frame : frame + 1], picture)


REFUSED = {"dpm_fast", "dpm_adaptive"}


def test_the_published_table_names_every_sampler_and_scheduler():
    text = (PACK / "tests" / "RELIABILITY.md").read_text(encoding="utf-8")
    rows = {
        row.split("|")[1].strip(): set(re.findall(r"`(\w+)`", row)) for row in text.splitlines() if row.startswith("|")
    }
    assert rows["refused"] == REFUSED and not rows["work"] & REFUSED
    assert set(comfy.samplers.SAMPLER_NAMES) <= rows["work"] | REFUSED
    assert set(comfy.samplers.SCHEDULER_NAMES) <= set().union(*rows.values())


@pytest.mark.parametrize("sampler", sorted(set(comfy.samplers.SAMPLER_NAMES) - REFUSED))
def test_every_host_sampler_treats_each_frame_by_itself(guider, prompts, seeds, schedule, sampled, sampler):
    """Two frames together equal the same two alone: the step noise, where there is any, belongs to the frame."""
    together, _, _ = sampled(guider(prompts), seeds(), schedule(3), sampler=sampler, batch=3, vae=None, steps=3)
    alone, _, _ = sampled(guider(prompts), seeds(), schedule(3), sampler=sampler, batch=1, vae=None, steps=3)
    assert torch.isfinite(together["samples"]).all()
    assert_same(together["samples"], alone["samples"])


def test_step_noise_has_unit_variance_between_keyframes(schedule, pack_module, demo):
    step_noise = pack_module("nodes.walks.step_noise")
    template = torch.zeros(1, 4, 64, 64)
    sampler = comfy.samplers.sampler_object("euler_ancestral")
    steps = step_noise.StepNoise(sampler, sigmas(demo), SEEDS, "slerp", template)
    noise = steps.sampler_for(schedule(9)).extra_options["noise_sampler"](torch.tensor(2.0), torch.tensor(1.0))
    assert noise.shape == (9, 4, 64, 64)
    # Sample standard deviation of 16384 values: 1 +- 0.0055; five of them.
    assert (noise.flatten(1).std(dim=1) - 1).abs().max() < 0.03


def test_plain_noise_is_held_and_the_report_says_so(node, guider, text, prompts, schedule, sampled, demo):
    noise = RandomNoise.execute(5)[0]
    latents, _, report = sampled(guider(prompts), noise, schedule(3), vae=None)
    expected, _ = stock(node, guider(text("a red circle on a blue background")), 5, demo)
    assert_same(latents["samples"][:1], expected)
    assert "the same in every frame" in report
    still, _, report = sampled(guider(text("a red circle on a blue background")), noise, schedule(2), vae=None)
    assert_same(still["samples"][0], still["samples"][1])  # a product may round its rows differently
    assert "Nothing changes between the frames" in report


def test_a_window_and_a_batch_index_render_frames_of_the_whole_walk(guider, prompts, seeds, schedule, sampled):
    whole, _, _ = sampled(guider(prompts), seeds(), schedule(9), vae=None)
    window, _, _ = sampled(guider(prompts), seeds(), schedule(9, first_frame=4, last_frame=6), vae=None)
    assert_same(window["samples"], whole["samples"][4:7])
    picked, _, _ = sampled(guider(prompts), seeds(), schedule(9), vae=None, latent={**empty(2), "batch_index": [7, 2]})
    assert_same(picked["samples"], whole["samples"][[7, 2]])


def test_a_loop_goes_on_where_it_began(guider, text, seeds, schedule, sampled):
    positive = text("a red circle on a blue background")
    latents, _, _ = sampled(guider(positive), seeds(path="spline"), schedule(60, loop=True), vae=None, steps=2)
    steps = (latents["samples"] - latents["samples"].roll(1, 0)).flatten(1).norm(dim=1)
    assert steps[0] < 1.5 * steps.median()  # the step from the last frame to the first is like the others


def test_per_frame_latents_and_masks_follow_the_frames(node, guider, text, schedule, sampled, demo):
    generator = torch.Generator().manual_seed(0)
    latent = {
        "samples": torch.randn(3, 4, 8, 8, generator=generator),
        "noise_mask": torch.rand(3, 1, 64, 64, generator=generator),
    }
    positive, noise = text("a red circle on a blue background"), RandomNoise.execute(5)[0]
    together, _, _ = sampled(guider(positive), noise, schedule(3), vae=None, batch=2, latent=latent)
    for k in range(3):
        one = {key: value[k : k + 1] for key, value in latent.items()}
        expected, _ = stock(node, guider(positive), 5, demo, latent=one)
        assert_same(together["samples"][k : k + 1], expected)


def test_decoding_at_the_end_gives_the_same(guider, prompts, seeds, schedule, sampled, pack_module, monkeypatch):
    _, at_once, _ = sampled(guider(prompts), seeds(), schedule(5), batch=2)
    monkeypatch.setattr(pack_module("nodes.host.memory_estimate"), "fit_together", lambda *args: False)
    _, at_the_end, report = sampled(guider(prompts), seeds(), schedule(5), batch=2)
    torch.testing.assert_close(at_once, at_the_end, atol=UNSEEN, rtol=0)  # decoded in other batches
    assert "sampled first, then decoded" in report


def test_without_a_vae_the_images_are_blocked_with_a_sentence(guider, prompts, seeds, schedule, sampled):
    _, images, _ = sampled(guider(prompts), seeds(), schedule(2), vae=None)
    assert "needs a VAE" in images.message


def test_inputs_stay_as_they_are(guider, prompts, seeds, schedule, sampled, demo):
    given = guider(prompts)
    before = {kind: [dict(entry) for entry in entries] for kind, entries in given.original_conds.items()}
    held = [v for entries in before.values() for e in entries for v in e.values() if torch.is_tensor(v)]
    copies = [v.clone() for v in held]
    attributes, options = dict(given.__dict__), copy.deepcopy(given.model_options["transformer_options"])
    sampler, latent = comfy.samplers.sampler_object("euler_ancestral"), empty()
    sampled(given, seeds(), schedule(3), sampler=sampler, latent=latent)
    assert given.__dict__ == attributes
    assert given.model_options["transformer_options"] == options
    assert sampler.extra_options == {}
    assert set(latent) == {"samples"} and not latent["samples"].any()
    for kind, entries in before.items():
        for old, new in zip(entries, given.original_conds[kind], strict=True):
            assert old.keys() == new.keys() and all(old[key] is new[key] for key in old)
    assert held and all(torch.equal(v, c) for v, c in zip(held, copies, strict=True))


def test_an_interrupt_stops_within_one_model_call_and_the_next_run_is_whole(guider, prompts, seeds, schedule, sampled):
    calls = []

    def stop_at_the_third_call(executor, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            comfy.model_management.interrupt_current_processing(True)
        return executor(*args, **kwargs)

    stopped = guider(prompts)
    stopped.model_patcher = stopped.model_patcher.clone()
    stopped.model_options = stopped.model_patcher.model_options
    stopped.model_patcher.add_wrapper_with_key("apply_model", "test", stop_at_the_third_call)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sampled(stopped, seeds(), schedule(6), batch=2)
    assert len(calls) == 3
    latents, _, _ = sampled(guider(prompts), seeds(), schedule(6), batch=2)
    assert torch.isfinite(latents["samples"]).all()


class _Control:
    """A ControlNet as far as the slicing sees it."""

    def __init__(self, hint, previous=None):
        self.cond_hint_original, self.extra_concat_orig, self.previous_controlnet = hint, [], previous

    def copy(self):
        return _Control(self.cond_hint_original)

    def set_previous_controlnet(self, previous):
        self.previous_controlnet = previous


def test_controlnet_hints_follow_the_frames_and_stay_shared(pack_module, schedule):
    frames, walk = pack_module("nodes.walks.chunks"), schedule(5)
    hints = torch.arange(5.0).reshape(5, 1, 1, 1)
    still = _Control(torch.ones(1, 3, 8, 8))
    control = _Control(hints, previous=still)
    conds = {"positive": [{"control": control}], "negative": [{"control": control}]}
    chunk = frames.chunk_conds(conds, walk, 2, 4)
    got = chunk["positive"][0]["control"]
    assert got.cond_hint_original.flatten().tolist() == [2.0, 3.0]
    assert got is chunk["negative"][0]["control"]  # one object, so that the host batches both conditionings
    assert got.previous_controlnet is still and control.cond_hint_original is hints
    assert frames.chunk_conds({"positive": [{"control": still}]}, walk, 0, 2)["positive"][0]["control"] is still
    sentence = "ControlNet hint of the positive conditioning holds 3 rows, but the walk renders 5 frames"
    with pytest.raises(ValueError, match=sentence):
        frames.chunk_conds({"positive": [{"control": _Control(hints[:3])}]}, walk, 0, 1)


BAD_ROWS = [
    ("concat_latent_image", torch.zeros(2, 4, 8, 8)),
    ("mask", torch.zeros(4, 8, 8)),
    ("reference_latents", [torch.zeros(2, 4, 8, 8)]),
    ("cross_attn", torch.zeros(2, 77, 768)),
    ("pooled_output", torch.zeros(2, 768)),
]


@pytest.mark.parametrize(("key", "value"), BAD_ROWS)
def test_a_batch_that_does_not_fit_the_walk_is_refused_by_name(guider, text, seeds, schedule, sampled, key, value):
    given = guider(text("a red circle"))
    given.original_conds["positive"][0][key] = value
    rows = (value[0] if isinstance(value, list) else value).shape[0]
    sentence = (
        f"{key} of the positive conditioning holds {rows} rows, but the walk renders 3 frames; give it 1 row or 3"
    )
    with pytest.raises(ValueError, match=sentence):
        sampled(given, seeds(), schedule(3))


@pytest.mark.parametrize(
    ("sampler", "options", "sentence"),
    [
        ("dpm_fast", {}, "dpm_fast draws step noise that cannot be walked; choose euler"),
        ("dpm_adaptive", {}, "dpm_adaptive chooses its steps by the whole batch, so a frame would depend on its mates"),
        ("euler", {"s_churn": 1.0}, "sample_euler with s_churn above 0 draws step noise"),
    ],
)
def test_samplers_that_cannot_walk_are_refused(guider, prompts, seeds, schedule, sampled, sampler, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        sampled(guider(prompts), seeds(), schedule(2), sampler=sampler, options=options)


def test_ddim_with_a_mask_is_refused(guider, prompts, seeds, schedule, sampled):
    masked = {**empty(), "noise_mask": torch.ones(1, 1, 64, 64)}
    with pytest.raises(ValueError, match="'ddim' draws noise of its own under a noise_mask.*choose 'euler'"):
        sampled(guider(prompts), seeds(), schedule(2), sampler="ddim", latent=masked)


@pytest.mark.parametrize(
    ("latent", "sentence"),
    [
        (empty(2), "the LATENT batch holds 2 rows, but the walk renders 3 frames"),
        ({**empty(), "noise_mask": torch.ones(2, 1, 64, 64)}, "noise_mask of the LATENT holds 2 rows"),
        ({**empty(), "batch_index": [5]}, "frame number 5 is not part of this walk"),
        ({"samples": SimpleNamespace(is_nested=True)}, "nests several latents"),
    ],
)
def test_latents_that_do_not_fit_are_refused(guider, prompts, seeds, schedule, sampled, latent, sentence):
    with pytest.raises(ValueError, match=sentence):
        sampled(guider(prompts), seeds(), schedule(3), latent=latent)


def test_text_changed_after_its_walk_is_refused(node, guider, prompts, seeds, schedule, sampled):
    changed = node("ConditioningZeroOut")().zero_out(prompts)[0]
    with pytest.raises(ValueError, match="positive conditioning: its text was changed by a node after the walk"):
        sampled(guider(changed), seeds(), schedule(3))
