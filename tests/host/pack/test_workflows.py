"""The example workflows run on the real server, on nothing but files that the pack ships.

The server takes API-format prompts only. `prompts/<name>.json` is what the page makes of
`example_workflows/<name>.json`; tests/web/test_workflows.py proves that it is, and says how to make it again.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from demo.judge import judge, nearest_colours
from devtools.layout import PACK
from devtools.server import Client, Server

WORKFLOWS = sorted(path.stem for path in (PACK / "example_workflows").glob("*.json"))
# The longest runs, a minute or two each at their full size; the page's tests run every workflow made small.
LONG = (
    "attention_walk",
    "even_pacing",
    "istd_benchmark",
    "istd_with_and_without_lora",
    "morph_two_pictures",
    "train_a_smooth_lora",
)
PROMPTS = Path(__file__).parents[1] / "prompts"
DEMO_FILES = {"ckpt_name": "smooth_demo.safetensors", "lora_name": "smooth_demo_lora.safetensors"}
FRAMES = {"seed_and_prompt_walk": 48, "morph_two_pictures": 12}
LEAVE_A_FILE = ("SmoothSaveInversion", "SmoothSaveLoRA")  # output nodes of workflows that show nothing themselves
ROUNDING = 0.5 / 255 * 64 * 3**0.5  # the farthest that rounding to 8 bits moves a 64 x 64 picture
RECEIPT_LINE = re.compile(r"^(\S.*?) {2,}(-?[\d.]+(?:e[-+]\d+)?)$", re.MULTILINE)
MINUTES = 10 * 60  # a walk takes one on two quiet cores


def _in_tiers(names: Iterable[str]) -> list[Any]:
    """Workflows as parameters of a test, the longest of them for the full run alone."""
    return [pytest.param(name, marks=pytest.mark.full) if name in LONG else name for name in names]


def workflow(name: str) -> dict[str, Any]:
    return json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))


def stored_prompt(name: str) -> dict[str, Any]:
    return json.loads((PROMPTS / f"{name}.json").read_text(encoding="utf-8"))


def node_of(prompt: dict[str, Any], class_type: str, title: str | None = None) -> str:
    """The id of the one node of this class (and title)."""
    found = [
        node_id
        for node_id, node in prompt.items()
        if node["class_type"] == class_type and title in (None, node["_meta"]["title"])
    ]
    assert len(found) == 1, f"{len(found)} nodes {class_type} {title or ''}"
    return found[0]


def pictures(client: Client, entry: dict[str, Any]) -> np.ndarray:
    """The images of one node's output: [N, H, W, 3] in 0..255."""
    return np.stack(
        [np.asarray(Image.open(io.BytesIO(client.view(file))).convert("RGB"), np.float64) for file in entry["images"]]
    )


def picture(client: Client, outputs: dict[str, Any], prompt: dict[str, Any], class_type: str, title: str) -> np.ndarray:
    """The one picture of a node's output: [H, W, 3] in 0..255."""
    (shown,) = pictures(client, outputs[node_of(prompt, class_type, title)])
    return shown


def upstream(prompt: dict[str, Any], *nodes: str) -> dict[str, Any]:
    """The part of a prompt that these nodes need, themselves included."""
    part, wanted = {}, list(nodes)
    while wanted:
        node_id = wanted.pop()
        if node_id not in part:
            part[node_id] = prompt[node_id]
            wanted += [wire[0] for wire in prompt[node_id]["inputs"].values() if isinstance(wire, list)]
    return part


def through_the_vae(client: Client, prompt: dict[str, Any], invert: str) -> tuple[np.ndarray, np.ndarray]:
    """The picture that goes into an Invert Picture node, and what the VAE alone makes of it: [H, W, 3] in 0..255."""
    image, vae = (prompt[invert]["inputs"][name] for name in ("image", "vae"))
    run = {
        **upstream(prompt, image[0], vae[0]),
        "encode": {"class_type": "VAEEncode", "inputs": {"pixels": image, "vae": vae}},
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["encode", 0], "vae": vae}},
        "given": {"class_type": "PreviewImage", "inputs": {"images": image}},
        "decoded": {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}},
    }
    outputs = client.run(run, MINUTES)
    given, decoded = (pictures(client, outputs[name])[0] for name in ("given", "decoded"))
    return given, decoded


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two pictures in 0..255."""
    return float(10 * np.log10(255**2 / ((one - other) ** 2).mean()))


def receipt(outputs: dict[str, Any], prompt: dict[str, Any], title: str) -> dict[str, float]:
    """The numbers of a receipt of one picture, by the words before them."""
    (text,) = outputs[node_of(prompt, "PreviewAny", title)]["text"]
    return {name: float(number) for name, number in RECEIPT_LINE.findall(text)}


def steps(frames: np.ndarray) -> np.ndarray:
    """Root-mean-square difference of every two neighbouring frames, in grey levels."""
    return np.sqrt(((frames[1:] - frames[:-1]) ** 2).mean(axis=(1, 2, 3)))


@pytest.fixture(scope="module")
def outputs(server: Server, demo_models: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """Runs of the workflows by name, each made when it is first asked for."""

    class Runs(dict):
        def __missing__(self, name: str) -> dict[str, Any]:
            client = Client(server.address)
            queued = client.queue(stored_prompt(name), {"extra_pnginfo": {"workflow": workflow(name)}})
            self[name] = client.wait(queued, MINUTES)["outputs"]
            return self[name]

    yield Runs()


def test_there_is_a_prompt_for_every_workflow_and_no_other():
    assert sorted(path.stem for path in PROMPTS.glob("*.json")) == WORKFLOWS


def test_every_node_of_ours_is_in_one(node_ids):
    used = {node["class_type"] for name in WORKFLOWS for node in stored_prompt(name).values()}
    assert set(node_ids) <= used


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_uses_only_files_that_the_pack_ships(name):
    for node in stored_prompt(name).values():
        for key, value in node["inputs"].items():
            if key.endswith("_name") and isinstance(value, str) and "." in value:
                assert value == DEMO_FILES[key]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_needs_no_other_pack(client, name):
    for node in stored_prompt(name).values():
        module = client.object_info(node["class_type"])["python_module"]
        assert module == "nodes" or module.startswith("comfy_extras.") or module == "custom_nodes.smooth-diffusion"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_explains_itself(name):
    notes = [node["widgets_values"][0] for node in workflow(name)["nodes"] if node["type"] == "MarkdownNote"]
    assert any(len(note.split()) > 40 for note in notes)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_its_file_names_suit_every_system(name):
    assert re.fullmatch(r"[a-z0-9_]+", name)
    assert (PACK / "example_workflows" / f"{name}.json").read_bytes().isascii()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_it_has_a_thumbnail(client, name):
    data = client.fetch(f"/api/workflow_templates/smooth-diffusion/{name}.jpg")
    assert len(data) < 60_000
    thumbnail = Image.open(io.BytesIO(data))
    assert thumbnail.format == "JPEG" and min(thumbnail.size) >= 256
    assert np.asarray(thumbnail.convert("L")).std() > 10, "the thumbnail is blank"


def test_the_template_browser_is_told_of_them(client):
    assert sorted(client.get("/workflow_templates")["smooth-diffusion"]) == WORKFLOWS
    for name in WORKFLOWS:
        assert client.get(f"/api/workflow_templates/smooth-diffusion/{name}.json") == workflow(name)


def shows_on_the_way(node: dict) -> bool:
    """Some nodes show something, a Walk Sampler if it has a VAE, and are no output nodes all the same."""
    if node["class_type"] == "SmoothWalkSampler":
        return "vae" in node["inputs"]
    return node["class_type"] in ("SmoothInvert", "SmoothLoRATrainer")


@pytest.mark.parametrize("name", _in_tiers(WORKFLOWS))
def test_every_node_that_shows_something_has_something_to_show(client, outputs, name):
    prompt = stored_prompt(name)
    showing = {
        node_id
        for node_id, node in prompt.items()
        if node["class_type"] not in LEAVE_A_FILE
        and (client.object_info(node["class_type"])["output_node"] or shows_on_the_way(node))
    }
    assert showing and set(outputs[name]) == showing
    for node_id in showing:
        assert any(outputs[name][node_id].values()), prompt[node_id]["class_type"]


def test_the_walk_saves_every_frame(client, outputs):
    prompt = stored_prompt("seed_and_prompt_walk")
    frames = pictures(client, outputs["seed_and_prompt_walk"][node_of(prompt, "SaveImage")])
    assert frames.shape == (FRAMES["seed_and_prompt_walk"], 64, 64, 3)
    assert (steps(frames) > 0).all(), "two neighbouring frames are the same picture"


def test_the_frames_change_less_from_one_to_the_next_than_across_the_walk(client, outputs):
    prompt = stored_prompt("seed_and_prompt_walk")
    frames = pictures(client, outputs["seed_and_prompt_walk"][node_of(prompt, "SaveImage")])
    far = np.sqrt(((frames - np.roll(frames, len(frames) // 2, axis=0)) ** 2).mean(axis=(1, 2, 3)))
    assert np.median(steps(frames)) < 0.5 * np.median(far)


@pytest.mark.parametrize("name", _in_tiers(FRAMES))
def test_the_video_has_every_frame_and_carries_the_workflow(client, outputs, name):
    prompt = stored_prompt(name)
    (file,) = outputs[name][node_of(prompt, "SaveVideo")]["images"]
    with av.open(io.BytesIO(client.view(file))) as video:
        carried = dict(video.metadata)
        stream = video.streams.video[0]
        assert sum(1 for _ in video.decode(stream)) == FRAMES[name]
        assert stream.average_rate == prompt[node_of(prompt, "CreateVideo")]["inputs"]["fps"]
    assert json.loads(carried["workflow"]) == workflow(name)
    assert {
        node_id: (node["class_type"], node["inputs"]) for node_id, node in json.loads(carried["prompt"]).items()
    } == {node_id: (node["class_type"], node["inputs"]) for node_id, node in prompt.items()}


def test_nothing_saved_names_a_folder_of_this_machine(client, outputs, demo_models):
    name = "seed_and_prompt_walk"
    file = outputs[name][node_of(stored_prompt(name), "SaveImage")]["images"][0]
    carried = str(Image.open(io.BytesIO(client.view(file))).text)
    assert "is_changed" in carried and str(demo_models) not in carried


def test_the_saved_frames_carry_the_workflow_too(client, outputs):
    name = "seed_and_prompt_walk"
    file = outputs[name][node_of(stored_prompt(name), "SaveImage")]["images"][0]
    assert json.loads(Image.open(io.BytesIO(client.view(file))).text["workflow"]) == workflow(name)


def test_the_range_of_the_lora_makes_a_difference(client, outputs):
    name = "scheduled_strength"
    shown = [
        pictures(client, outputs[name][node_of(stored_prompt(name), "PreviewImage", title)])
        for title in ("LoRA all the way", "LoRA in the first 40 %")
    ]
    assert shown[0].shape == shown[1].shape == (12, 64, 64, 3)
    for whole, part in zip(*shown, strict=True):
        assert np.abs(whole - part).max() > 0


@pytest.mark.full
def test_the_scores_with_and_without_the_lora_are_those_of_the_frames(client, outputs):
    name = "istd_with_and_without_lora"
    prompt = stored_prompt(name)
    scores = {entry["name"]: entry for entry in outputs[name][node_of(prompt, "SmoothISTD")]["smooth_istd"]}
    for key, title in (("images", "With the Smooth-LoRA"), ("compare_with", "Without the Smooth-LoRA")):
        frames = pictures(client, outputs[name][node_of(prompt, "PreviewImage", title)]) / 255
        lengths = np.sqrt(((frames[1:] - frames[:-1]) ** 2).sum(axis=(1, 2, 3)))
        assert np.abs(lengths - scores[key]["distances"]).max() < 2 * ROUNDING
        assert scores[key]["istd"] == pytest.approx(np.std(scores[key]["distances"]), rel=1e-5)
    assert scores["images"]["istd"] != scores["compare_with"]["istd"]


@pytest.mark.full
def test_the_paced_walk_is_far_more_even_and_says_so(outputs):
    name = "even_pacing"
    prompt = stored_prompt(name)
    scores = {entry["name"]: entry for entry in outputs[name][node_of(prompt, "SmoothISTD")]["smooth_istd"]}
    assert scores["images"]["cv"] < scores["compare_with"]["cv"] / 4
    shown = {
        prompt[node]["_meta"]["title"]: output["text"][0]
        for node, output in outputs[name].items()
        if prompt[node]["class_type"] == "PreviewAny"
    }
    (said,) = re.findall(r"cv of the steps ([\d.]+)", shown["What was found"])
    assert float(said) == pytest.approx(scores["images"]["cv"], abs=6e-4)
    assert len(json.loads(shown["Positions to keep"])) == 24


@pytest.mark.full
def test_the_benchmark_leaves_its_table_and_files(server, outputs):
    name = "istd_benchmark"
    prompt = stored_prompt(name)
    shown = {
        prompt[node]["_meta"]["title"]: output["text"][0]
        for node, output in outputs[name].items()
        if prompt[node]["class_type"] == "PreviewAny"
    }
    assert float(shown["ISTD with the LoRA"]) > 0 and float(shown["ISTD without"]) > 0
    for line in prompt[node_of(prompt, "SmoothISTDBenchmark")]["inputs"]["prompts"].splitlines():
        assert line in shown["All scores"]
    written = {path.suffix for path in (server.output / "smooth_istd").iterdir()}
    assert {".csv", ".json"} <= written


def test_keyframes_from_any_node_are_walked_as_they_are_wired(client, outputs):
    name = "keyframes_from_any_node"
    prompt = stored_prompt(name)
    assert sorted(key for key in prompt[node_of(prompt, "SmoothNoiseWalk")]["inputs"] if "." in key) == [
        "keyframes.keyframe_0",
        "keyframes.keyframe_1",
        "keyframes.keyframe_2",
    ]
    frames = pictures(client, outputs[name][node_of(prompt, "PreviewImage")])
    assert frames.shape == (12, 64, 64, 3)
    assert (steps(frames) > 0).all()


def test_the_receipts_rank_the_methods_and_the_model_knows_the_picture(outputs):
    name = "invert_and_reconstruct"
    receipts = {
        method: receipt(outputs[name], stored_prompt(name), f"Receipt: {method}")
        for method in ("ddim", "fixed_point", "exact")
    }
    errors = [receipts[method]["latent error (relative)"] for method in ("exact", "fixed_point", "ddim")]
    assert errors == sorted(errors) and errors[0] < 1e-10 and errors[-1] < 0.05
    ceilings = {found["VAE alone (ceiling): PSNR dB"] for found in receipts.values()}
    assert ceilings == {receipts["exact"]["against the input: PSNR dB"]} and ceilings.pop() > 28


def test_the_reconstruction_is_what_the_vae_alone_makes_of_the_picture(client, outputs):
    name = "invert_and_reconstruct"
    prompt = stored_prompt(name)
    given, decoded = through_the_vae(client, prompt, node_of(prompt, "SmoothInvert", "Invert: exact"))
    assert np.array_equal(picture(client, outputs[name], prompt, "PreviewImage", "The picture"), given)
    saved = picture(client, outputs[name], prompt, "SaveImage", "Save the reconstruction")
    assert np.abs(saved - decoded).max() <= 1


def test_each_method_has_a_chart_of_its_own(client, outputs):
    name = "invert_and_reconstruct"
    charts = [
        picture(client, outputs[name], stored_prompt(name), "PreviewImage", f"Chart: {method}")
        for method in ("ddim", "fixed_point", "exact")
    ]
    assert all(chart.shape == (640, 1024, 3) and chart.std() > 5 for chart in charts)
    assert not np.array_equal(charts[0], charts[2])


def test_a_kept_inversion_gives_the_picture_back_another_day(client, server, outputs):
    name = "invert_and_reconstruct"
    prompt = stored_prompt(name)
    (kept,) = outputs[name][node_of(prompt, "PreviewAny", "Saved as")]["text"]
    assert (server.output / kept.removesuffix(" [output]")).is_file()
    load, invert = node_of(prompt, "SmoothLoadInversion"), node_of(prompt, "SmoothInvert", "Invert: exact")
    assert re.sub(r"\d{5}", "00001", kept) == prompt[load]["inputs"]["file"]
    prompt[load]["inputs"]["file"] = kept
    for node in prompt.values():
        node["inputs"] = {
            key: [load, value[1]] if isinstance(value, list) and value[0] == invert else value
            for key, value in node["inputs"].items()
        }
    save = node_of(prompt, "SaveImage")
    again = upstream(prompt, save)
    assert "SmoothInvert" not in {node["class_type"] for node in again.values()}
    assert np.array_equal(pictures(client, client.run(again, MINUTES)[save]), pictures(client, outputs[name][save]))


@pytest.mark.parametrize("title", ["Edited: exact and Prompt Switch", "Edited: edit_friendly"])
def test_the_edit_changes_what_the_text_says_and_leaves_it_in_its_place(client, outputs, title):
    name = "edit_a_picture"
    given, edited = (
        torch.from_numpy(picture(client, outputs[name], stored_prompt(name), "PreviewImage", shown)) / 255
        for shown in ("The picture", title)
    )
    assert judge(given) == ("blue", "red", "square")
    assert judge(edited) == ("blue", "yellow", "circle")
    background = nearest_colours(given)[0, 0]
    centres = [(nearest_colours(shown) != background).nonzero().double().mean(dim=0) for shown in (given, edited)]
    assert (centres[0] - centres[1]).abs().max() < 4  # pixels


@pytest.mark.full
def test_the_morph_leads_from_one_picture_to_the_other(client, outputs):
    name = "morph_two_pictures"
    prompt = stored_prompt(name)
    frames = pictures(client, outputs[name][node_of(prompt, "PreviewImage")])
    assert frames.shape == (FRAMES[name], 64, 64, 3)
    assert (steps(frames) > 0).all()
    for title, frame in (("Invert picture 1", frames[0]), ("Invert picture 2", frames[-1])):
        given, decoded = through_the_vae(client, prompt, node_of(prompt, "SmoothInvert", title))
        assert psnr(frame, given) == pytest.approx(psnr(decoded, given), abs=1)
        assert psnr(frame, decoded) > 40


def test_the_morph_is_guided_as_it_was_inverted():
    prompt = stored_prompt("morph_two_pictures")
    cfgs = {node["inputs"]["cfg"] for node in prompt.values() if "cfg" in node["inputs"]}
    assert cfgs == {3} and len({node["inputs"]["steps"] for node in prompt.values() if "steps" in node["inputs"]}) == 1


@pytest.mark.full
def test_the_training_is_checked_and_its_file_can_be_loaded(client, server, outputs):
    name = "train_a_smooth_lora"
    prompt = stored_prompt(name)
    (report,) = outputs[name][node_of(prompt, "PreviewAny", "Report")]["text"]
    assert report.startswith("smooth_demo_run: 16 steps of 4 pictures") and "On texts and pictures held out:" in report
    strips = pictures(client, outputs[name][node_of(prompt, "PreviewImage")])
    assert strips.shape == (3, 64, 7 * 64, 3) and np.abs(strips[0] - strips[2]).max() > 0
    (saved,) = outputs[name][node_of(prompt, "PreviewAny", "Saved as")]["text"]
    with safe_open(server.output / saved, "pt") as file:
        assert len(file.keys()) == 3 * 24 and float(file.metadata()["smooth_lora.istd_before"]) > 0
    listed = client.object_info("SmoothLoRALoader")["input"]["required"]["lora_name"][1]["options"]
    assert Path(saved).name in listed


def test_the_smooth_walk_blueprint_is_offered(client):
    entries = [
        entry
        for entry in client.get("/global_subgraphs").values()
        if entry["info"]["node_pack"] == "custom_nodes.smooth-diffusion"
    ]
    assert [entry["name"] for entry in entries] == ["Smooth Walk"]
