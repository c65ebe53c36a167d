"""What the page is told of a walk while it is rendered, and can show again later."""

from __future__ import annotations

from types import SimpleNamespace

import comfy.samplers
import numpy as np
import pytest
import torch
from comfy_extras.nodes_custom_sampler import RandomNoise
from PIL import Image

from smooth_lora.scores.smoothness import score
from smooth_lora.walks.walk import schedule

pytestmark = pytest.mark.usefixtures("as_the_host_runs_nodes")

FRAMES, BATCH = 5, 2


@pytest.fixture
def render(checkpoint, node, on_page):
    """render(walk, **more): the Walk Sampler's output, run as node 7 of a page."""
    model, clip, vae = checkpoint
    encode, sampler = node("CLIPTextEncode")(), on_page("SmoothWalkSampler")

    def run(walk, vae=vae, **more):
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(encode.encode(clip, "a red circle on a blue background")[0], encode.encode(clip, "")[0])
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
        wires = {
            "guider": guider,
            "sampler": comfy.samplers.sampler_object("euler"),
            "sigmas": sigmas,
            "noise": node("SmoothSeedWalk").execute("3, 4", "slerp")[0],
            "latent_image": {"samples": torch.zeros(1, 4, 8, 8)},
            "walk": walk,
            "vae": vae,
            "frames_per_batch": BATCH,
        }
        return sampler(**{**wires, **more})

    return run


def test_every_batch_is_told_as_it_is_there(render, sent, tmp_path):
    out = render(schedule(FRAMES))
    assert [(event, to) for event, _, to in sent] == [("smooth_diffusion.frames", "page")] * 3
    told = [data for _, data, _ in sent]
    assert [(data["node"], data["first"], data["count"], data["total"]) for data in told] == [
        ("7", 0, 2, 5),
        ("7", 2, 2, 5),
        ("7", 4, 1, 5),
    ]
    (data,) = out.ui["smooth_walk"]
    assert [length for part in told for length in part["lengths"]] == list(data["distances"])
    assert {part["subfolder"] for part in told} == {data["subfolder"]}
    files = sorted((tmp_path / "temp" / data["subfolder"]).iterdir())
    assert [file.name for file in files] == [f"{number:05}.jpg" for number in range(FRAMES)]
    for file, image in zip(files, out[1], strict=True):
        shown = np.asarray(Image.open(file), dtype=np.float32) / 255
        assert np.abs(shown - image.numpy()).mean() < 0.02


def test_its_scores_are_those_of_the_score_node(render, sent):
    out = render(schedule(FRAMES))
    data, expected = out.ui["smooth_walk"][0], score(out[1])
    assert data["frames"] == FRAMES and data["distances"] == pytest.approx(expected.distances)
    assert (data["cv"], data["istd"], data["largest"]) == pytest.approx((expected.cv, expected.istd, expected.largest))


def test_a_paced_walk_is_told_once_it_is_chosen(render, sent):
    out = render(schedule(FRAMES), pacing="even", extra_frames=4)
    assert [(data["first"], data["count"]) for _, data, _ in sent] == [(0, FRAMES)]
    assert out.ui["smooth_walk"][0]["distances"] == pytest.approx(score(out[1]).distances)


@pytest.mark.parametrize("metric", ["latents", "early latents"])
def test_other_metrics_tell_the_frames_that_are_given_out(render, sent, metric):
    out = render(schedule(FRAMES), pacing="even", extra_frames=4, pace_by=metric)
    assert sum(data["count"] for _, data, _ in sent) == FRAMES
    assert out.ui["smooth_walk"][0]["distances"] == pytest.approx(score(out[1]).distances)


def test_two_frames_have_one_step_and_no_scores(render, sent):
    (data,) = render(schedule(2)).ui["smooth_walk"]
    assert len(data["distances"]) == 1 and "cv" not in data and data["frames"] == 2


def test_chosen_frames_are_counted(render, sent):
    latent = {"samples": torch.zeros(1, 4, 8, 8), "batch_index": [1, 3, 4]}
    assert render(schedule(FRAMES), latent_image=latent).ui["smooth_walk"][0]["total"] == 3
    assert sent[0][1]["total"] == 3


def test_without_a_vae_there_is_nothing_to_show(render, sent, tmp_path):
    assert render(schedule(3), vae=None).ui is None
    assert sent == [] and not (tmp_path / "temp").exists()


def test_a_temp_folder_that_cannot_be_written_costs_no_walk(render, sent, monkeypatch, tmp_path, caplog):
    (tmp_path / "temp").write_text("a file where the folder should be", encoding="utf-8")
    out = render(schedule(FRAMES))
    assert len(out[1]) == FRAMES and out.ui["smooth_walk"][0]["distances"] == pytest.approx(score(out[1]).distances)
    assert "the page cannot show frames 0 to 1: ComfyUI's temp folder could not be written" in caplog.text


def test_the_score_node_shows_its_walks_too(node, sent, tmp_path):
    images, other = torch.rand(40, 16, 16, 3), torch.rand(40, 16, 16, 3)
    out = node("SmoothISTD").execute(images, other)
    assert [(data["name"], data["total"], data["frames"]) for data in out.ui["smooth_walk"]] == [
        ("images", 40, 40),
        ("compare_with", 40, 40),
    ]
    for data, pictures in zip(out.ui["smooth_walk"], (images, other), strict=True):
        assert data["distances"] == pytest.approx(score(pictures).distances)
        assert len(list((tmp_path / "temp" / data["subfolder"]).iterdir())) == 40
    assert len(node("SmoothISTD").execute(images).ui["smooth_walk"]) == 1
    assert sent == []


def test_large_pictures_are_made_smaller_and_grey_ones_and_alpha_shown(pack_module, sent, tmp_path):
    module = pack_module("nodes.walks.shown")
    for channels in (1, 4):
        shown = module.FramesShown(SimpleNamespace(hidden=None), "images", 1)
        shown.add(torch.full((1, 300, 1200, channels), 0.5))
        picture = Image.open(tmp_path / "temp" / shown.data(None, schedule(1))["subfolder"] / "00000.jpg")
        assert picture.size == (512, 128) and picture.mode == "RGB"
    assert sent == []


@pytest.mark.parametrize(
    "where, blamed",
    [
        ("latents", "come from the model: use another weight type"),
        ("pictures", "come from the VAE, which needs float32: start ComfyUI with"),
    ],
)
def test_a_frame_that_is_no_picture_is_named(checkpoint, render, sent, monkeypatch, where, blamed):
    vae, seen = checkpoint[2], []
    real = vae.decode

    def decode(latents):
        images = real(latents)
        seen.append(len(images))
        if sum(seen) >= 4:
            images[-1] = float("nan")
            if where == "latents":
                latents[-1] = float("nan")
        return images

    monkeypatch.setattr(vae, "decode", decode)
    with pytest.raises(ValueError, match=f"Walk Sampler: frame 3 holds NaN or infinite values, which {blamed}"):
        render(schedule(FRAMES), vae=vae)
    assert [data["first"] for _, data, _ in sent] == [0]


def test_the_frames_that_show_a_seed_are_named(render, sent, node):
    """As the sampler places them, and with seeds that the page's numbers cannot hold."""
    seeds = (2**64 - 1, 5, 6)
    noise = node("SmoothSeedWalk").execute(", ".join(map(str, seeds)), "slerp")[0]
    (plain,) = render(schedule(FRAMES), noise=noise).ui["smooth_walk"]
    assert plain["keyframes"] == [
        {"seed": str(seed), "frame": frame} for seed, frame in zip(seeds, (0, 2, 4), strict=True)
    ]
    out = render(schedule(FRAMES), noise=noise, pacing="even", extra_frames=4)
    middle = out[3].frac.index(min(out[3].frac, key=lambda place: abs(place - 0.5)))
    found = {entry["seed"]: entry["frame"] for entry in out.ui["smooth_walk"][0]["keyframes"]}
    assert found[str(seeds[0])] == 0 and found["6"] == 4 and found.get("5", middle) == middle
    latent = {"samples": torch.zeros(1, 4, 8, 8), "batch_index": [3, 4]}
    (part,) = render(schedule(FRAMES), noise=noise, latent_image=latent).ui["smooth_walk"]
    assert part["keyframes"] == [{"seed": "6", "frame": 1}]


def test_a_plain_noise_has_no_keyframes(render, sent):
    noise = RandomNoise.execute(3)[0]
    assert render(schedule(3), noise=noise).ui["smooth_walk"][0]["keyframes"] == []
