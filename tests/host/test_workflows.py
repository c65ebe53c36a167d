"""The example workflows run on the real server, on nothing but files that the pack ships.

The server takes API-format prompts only. `prompts/<name>.json` is what the page makes of
`example_workflows/<name>.json`; tests/web/test_workflows.py proves that it is, and says how to make it again.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from devtools.layout import PACK
from devtools.server import Client, Server

WORKFLOWS = sorted(path.stem for path in (PACK / "example_workflows").glob("*.json"))
PROMPTS = Path(__file__).parent / "prompts"
DEMO_FILES = {"ckpt_name": "smooth_demo.safetensors", "lora_name": "smooth_demo_lora.safetensors"}
FRAMES = 48  # of seed_and_prompt_walk
ROUNDING = 0.5 / 255 * 64 * 3 ** 0.5  # the farthest that rounding to 8 bits moves a 64 x 64 picture
MINUTES = 10 * 60  # a walk takes one on two quiet cores


def workflow(name: str) -> dict[str, Any]:
    return json.loads((PACK / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))


def stored_prompt(name: str) -> dict[str, Any]:
    return json.loads((PROMPTS / f"{name}.json").read_text(encoding="utf-8"))


def node_of(prompt: dict[str, Any], class_type: str, title: str | None = None) -> str:
    """The id of the one node of this class (and title)."""
    found = [node_id for node_id, node in prompt.items() if node["class_type"] == class_type
             and title in (None, node["_meta"]["title"])]
    assert len(found) == 1, f"{len(found)} nodes {class_type} {title or ''}"
    return found[0]


def pictures(client: Client, entry: dict[str, Any]) -> np.ndarray:
    """The images of one node's output: [N, H, W, 3] in 0..255."""
    return np.stack([np.asarray(Image.open(io.BytesIO(client.view(file))).convert("RGB"), np.float64)
                     for file in entry["images"]])


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


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_node_that_shows_something_has_something_to_show(client, outputs, name):
    prompt = stored_prompt(name)
    showing = {node_id for node_id, node in prompt.items() if client.object_info(node["class_type"])["output_node"]}
    assert showing and set(outputs[name]) == showing
    for node_id in showing:
        assert any(outputs[name][node_id].values()), prompt[node_id]["class_type"]


def test_the_walk_saves_every_frame(client, outputs):
    prompt = stored_prompt("seed_and_prompt_walk")
    frames = pictures(client, outputs["seed_and_prompt_walk"][node_of(prompt, "SaveImage")])
    assert frames.shape == (FRAMES, 64, 64, 3)
    assert (steps(frames) > 0).all(), "two neighbouring frames are the same picture"


def test_the_frames_change_less_from_one_to_the_next_than_across_the_walk(client, outputs):
    prompt = stored_prompt("seed_and_prompt_walk")
    frames = pictures(client, outputs["seed_and_prompt_walk"][node_of(prompt, "SaveImage")])
    far = np.sqrt(((frames - np.roll(frames, FRAMES // 2, axis=0)) ** 2).mean(axis=(1, 2, 3)))
    assert np.median(steps(frames)) < 0.5 * np.median(far)


def test_the_video_has_every_frame_and_carries_the_workflow(client, outputs):
    name = "seed_and_prompt_walk"
    prompt = stored_prompt(name)
    file, = outputs[name][node_of(prompt, "SaveVideo")]["images"]
    with av.open(io.BytesIO(client.view(file))) as video:
        carried = dict(video.metadata)
        stream = video.streams.video[0]
        assert sum(1 for _ in video.decode(stream)) == FRAMES
        assert stream.average_rate == prompt[node_of(prompt, "CreateVideo")]["inputs"]["fps"]
    assert json.loads(carried["workflow"]) == workflow(name)
    assert {node_id: (node["class_type"], node["inputs"]) for node_id, node in json.loads(carried["prompt"]).items()
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
    shown = [pictures(client, outputs[name][node_of(stored_prompt(name), "PreviewImage", title)])
             for title in ("LoRA all the way", "LoRA in the first 40 %")]
    assert shown[0].shape == shown[1].shape == (12, 64, 64, 3)
    for whole, part in zip(*shown, strict=True):
        assert np.abs(whole - part).max() > 0


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


def test_the_benchmark_leaves_its_table_and_files(server, outputs):
    name = "istd_benchmark"
    prompt = stored_prompt(name)
    shown = {prompt[node]["_meta"]["title"]: output["text"][0] for node, output in outputs[name].items()
             if prompt[node]["class_type"] == "PreviewAny"}
    assert float(shown["ISTD with the LoRA"]) > 0 and float(shown["ISTD without"]) > 0
    for line in prompt[node_of(prompt, "SmoothISTDBenchmark")]["inputs"]["prompts"].splitlines():
        assert line in shown["All scores"]
    written = {path.suffix for path in (server.output / "smooth_istd").iterdir()}
    assert {".csv", ".json"} <= written


def test_keyframes_from_any_node_are_walked_as_they_are_wired(client, outputs):
    name = "keyframes_from_any_node"
    prompt = stored_prompt(name)
    assert sorted(key for key in prompt[node_of(prompt, "SmoothNoiseWalk")]["inputs"] if "." in key) == [
        "keyframes.keyframe_0", "keyframes.keyframe_1", "keyframes.keyframe_2"]
    frames = pictures(client, outputs[name][node_of(prompt, "PreviewImage")])
    assert frames.shape == (12, 64, 64, 3)
    assert (steps(frames) > 0).all()


def test_the_smooth_walk_blueprint_is_offered(client):
    entries = [entry for entry in client.get("/global_subgraphs").values()
               if entry["info"]["node_pack"] == "custom_nodes.smooth-diffusion"]
    assert [entry["name"] for entry in entries] == ["Smooth Walk"]
