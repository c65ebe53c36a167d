"""Even pacing in the real host, on the demo checkpoint: against the Walk Sampler's own uniform frames."""

from __future__ import annotations

import json
import statistics

import comfy.samplers
import pytest
import torch

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

FRAMES, STEPS, SEEDS = 9, 6, "3, 4"


@pytest.fixture(scope="module")
def scene(demo_models, node):
    """Wires of a walk from seed to seed under one text, with its VAE; a guider counts the frames it samples."""
    with torch.inference_mode():
        model, clip, vae = node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")
        encode = node("CLIPTextEncode")()

        class Counting(comfy.samplers.CFGGuider):
            sampled: list[tuple[int, int]] = []  # rows and steps of every call

            def sample(self, noise, latent_image, sampler, sigmas, **more):
                self.sampled.append((len(noise), len(sigmas) - 1))
                return super().sample(noise, latent_image, sampler, sigmas, **more)

        guider = Counting(model)
        guider.set_conds(encode.encode(clip, "a red circle on a blue background")[0], encode.encode(clip, "")[0])
        guider.set_cfg(3.0)
    return {
        "guider": guider,
        "vae": vae,
        "sampler": comfy.samplers.sampler_object("euler"),
        "clip": clip,
        "sigmas": comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", STEPS),
    }


@pytest.fixture
def wires(scene, node):
    walk = node("SmoothWalkSchedule").execute(FRAMES, "linear", "whole walk", False, 0, -1)[0]
    noise = node("SmoothSeedWalk").execute(SEEDS, "slerp")[0]
    scene["guider"].sampled.clear()
    return {
        **{name: scene[name] for name in ("guider", "sampler", "sigmas", "vae")},
        "noise": noise,
        "walk": walk,
        "latent_image": {"samples": torch.zeros(1, 4, 8, 8)},
    }


def unevenness(rows: torch.Tensor) -> float:
    steps = (rows[1:] - rows[:-1]).flatten(1).norm(dim=1).tolist()
    return statistics.pstdev(steps) / statistics.fmean(steps)


def frames_sampled(wires) -> int:
    return sum(rows for rows, _ in wires["guider"].sampled)


@pytest.mark.parametrize("metric", ["pixels", "structure", "latents"])
def test_the_sampler_gives_out_frames_that_differ_evenly(node, wires, metric):
    sampler = node("SmoothWalkSampler")
    plain = sampler.execute(**wires)
    wires["guider"].sampled.clear()
    latent, images, report, walk, positions = sampler.execute(**wires, pacing="even", pace_by=metric, extra_frames=18)
    rendered = frames_sampled(wires)
    assert FRAMES < rendered <= FRAMES + 18
    assert (len(images), len(latent["samples"]), len(walk)) == (FRAMES, FRAMES, FRAMES)
    if metric != "structure":
        before, after = (plain[0]["samples"], latent["samples"]) if metric == "latents" else (plain[1], images)
        assert unevenness(after) < unevenness(before) / 2
    assert json.loads(positions) == list(walk.frac) == sorted(walk.frac)
    assert f"Even pacing by {metric}: {rendered} positions were rendered for it; cv of the steps" in report
    torch.testing.assert_close(images[[0, -1]], plain[1][[0, -1]], atol=1e-4, rtol=0)  # the ends stay


def test_without_pacing_the_walk_is_the_one_rendered(node, wires):
    """Also where the latent asks for some of its frames only."""
    wires["latent_image"] = {**wires["latent_image"], "batch_index": [2, 5]}
    _, images, _, walk, positions = node("SmoothWalkSampler").execute(**wires)
    assert len(images) == 2 and walk == wires["walk"].select([2, 5]) and json.loads(positions) == [0.25, 0.625]


@pytest.mark.parametrize(
    ("over", "easings"), [("whole walk", ""), ("between keyframes", ""), ("whole walk", "ease in, ease out")]
)
def test_the_positions_give_the_same_frames_again(node, wires, over, easings):
    """Written into the Walk Schedule of the walk, and rendered in a batch of their own."""
    sampler, scheduled = node("SmoothWalkSampler"), node("SmoothWalkSchedule").execute
    wires["noise"] = node("SmoothSeedWalk").execute("3, 4, 5", "slerp")[0]
    wires["walk"] = scheduled(FRAMES, "ease in", over, False, 0, -1, "", easings)[0]
    _, images, _, _, positions = sampler.execute(**wires, pacing="even", extra_frames=9)
    wires["walk"] = scheduled(48, "ease in", over, False, 0, -1, positions, easings)[0]
    torch.testing.assert_close(sampler.execute(**wires)[1], images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("metric", ["pixels", "early latents"])
def test_pace_walk_makes_the_samplers_frames_more_even(node, wires, metric):
    before = unevenness(node("SmoothWalkSampler").execute(**wires)[1])
    wires["guider"].sampled.clear()
    walk, positions, report = node("SmoothPaceWalk").execute(**wires, pace_by=metric, extra_frames=18)
    spent = sum(rows * steps for rows, steps in wires["guider"].sampled)
    assert spent <= 18 * STEPS  # model calls of 18 frames
    assert json.loads(positions) == list(walk.frac)
    assert unevenness(node("SmoothWalkSampler").execute(**{**wires, "walk": walk})[1]) < before
    assert report.startswith(f"Even pacing by {metric}: ")


def test_early_latents_in_the_sampler_cost_half(node, wires):
    _, images, report, *_ = node("SmoothWalkSampler").execute(
        **wires, pacing="even", pace_by="early latents", extra_frames=6
    )
    assert len(images) == FRAMES
    assert sum(rows * steps for rows, steps in wires["guider"].sampled) == (6 + FRAMES) * STEPS
    assert "12 positions were rendered for it" in report


def test_text_walks_along(node, wires, scene):
    """The same prompts at other positions: the first frame and the last keep theirs."""
    texts = node("SmoothPromptWalk").execute(
        scene["clip"], "a red circle on a blue background\na green square on a white background", "lerp"
    )[0]
    guider = comfy.samplers.CFGGuider(scene["guider"].model_patcher)
    guider.set_conds(texts, node("CLIPTextEncode")().encode(scene["clip"], "")[0])
    wires["guider"] = guider
    sampler = node("SmoothWalkSampler")
    plain, even = sampler.execute(**wires)[1], sampler.execute(**wires, pacing="even")[1]
    torch.testing.assert_close(even[[0, -1]], plain[[0, -1]], atol=1e-4, rtol=0)
    assert unevenness(even) < unevenness(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"vae": None},
            "even pacing: to pace by pixels the pictures have to be seen; wire the vae of your checkpoint, or "
            "pace by latents",
        ),
        (
            {"latent_image": {"samples": torch.zeros(FRAMES, 4, 8, 8)}},
            f"even pacing: the LATENT batch holds {FRAMES} rows, which belong to frames at their own positions, and "
            "pacing moves them; give it 1 row, walk it with a walk node, or choose the pacing uniform",
        ),
        (
            {"latent_image": {"samples": torch.zeros(1, 4, 8, 8), "noise_mask": torch.ones(FRAMES, 8, 8)}},
            f"even pacing: the noise_mask of the LATENT holds {FRAMES} rows",
        ),
        (
            {"latent_image": {"samples": torch.zeros(1, 4, 8, 8), "batch_index": [0, 1]}},
            "even pacing needs a walk of at least 3 frames in rising order, got 2 at 0, 0.125",
        ),
    ],
)
@pytest.mark.parametrize("node_id", ["SmoothWalkSampler", "SmoothPaceWalk"])
def test_what_cannot_be_paced_is_refused_before_anything_is_rendered(node, wires, node_id, change, message):
    more = {"pace_by": "pixels", "extra_frames": 0} if node_id == "SmoothPaceWalk" else {"pacing": "even"}
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        node(node_id).execute(**{**wires, **change}, **more)
    assert not wires["guider"].sampled
