"""Same seed, same frames: across restarts of the real server, and whatever the host's cache keeps or drops."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from devtools.server import Server

FRAMES, STEPS = 3, 3
CACHES = (["--cache-ram"], ["--cache-classic"], ["--cache-lru", "3"], ["--cache-none"])


def walk_prompt(seeds: str = "12, 99") -> dict:
    """A seed and prompt walk with the LoRA over a part of the sampling and step noise that walks."""
    lines = "a red circle on a blue background\na green square on a white background"
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "smooth_demo.safetensors"}},
        "2": {"class_type": "SmoothLoRALoader", "inputs": {
            "model": ["1", 0], "lora_name": "smooth_demo_lora.safetensors", "strength": 1.0, "start_percent": 0.2,
            "end_percent": 0.9, "allow_partial": False}},
        "3": {"class_type": "SmoothPromptWalk", "inputs": {"clip": ["1", 1], "prompts": lines, "path": "lerp"}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}},
        "5": {"class_type": "CFGGuider", "inputs": {
            "model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0], "cfg": 3.0}},
        "6": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler_ancestral"}},
        "7": {"class_type": "BasicScheduler", "inputs": {
            "model": ["1", 0], "scheduler": "normal", "steps": STEPS, "denoise": 1.0}},
        "8": {"class_type": "SmoothSeedWalk", "inputs": {"seeds": seeds, "path": "slerp"}},
        "9": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "10": {"class_type": "SmoothWalkSchedule", "inputs": {
            "frames": FRAMES, "easing": "linear", "easing_over": "whole walk", "loop": False, "first_frame": 0,
            "last_frame": -1}},
        "11": {"class_type": "SmoothWalkSampler", "inputs": {
            "guider": ["5", 0], "sampler": ["6", 0], "sigmas": ["7", 0], "noise": ["8", 0], "latent_image": ["9", 0],
            "walk": ["10", 0], "vae": ["1", 2], "frames_per_batch": 2}},
        "12": {"class_type": "PreviewImage", "inputs": {"images": ["11", 1]}},
    }


def pictures(client, prompt: dict) -> list[bytes]:
    """The frames as the server serves them, without the text chunks that name the run."""
    files = client.run(prompt)["12"]["images"]
    return [pixels(client.view(file)) for file in files]


def pixels(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).tobytes()


@pytest.fixture(scope="module")
def expected(client, demo_models) -> list[bytes]:
    """The frames of the shared server."""
    return pictures(client, walk_prompt())


def test_the_frames_differ(expected):
    assert len(expected) == FRAMES and len(set(expected)) == FRAMES


@pytest.mark.parametrize("cache", CACHES, ids=lambda options: options[0])
def test_same_frames_after_a_restart_and_under_every_cache(expected, cache):
    with Server(cache) as server:
        assert pictures(server.client, walk_prompt()) == expected
        assert pictures(server.client, walk_prompt("5, 6")) != expected
        assert pictures(server.client, walk_prompt()) == expected  # after another walk went through the same caches
