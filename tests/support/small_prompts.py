"""Prompts that a real server runs in seconds, each with what it left."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

FRAMES, STEPS = 3, 3
LINES = "a red circle on a blue background\na green square on a white background"


def walk_prompt(seeds: str = "12, 99", frames: int = FRAMES, lora: str = "smooth_demo_lora.safetensors") -> dict:
    """A seed and prompt walk with the LoRA over a part of the sampling and step noise that walks."""
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "smooth_demo.safetensors"}},
        "2": {
            "class_type": "SmoothLoRALoader",
            "inputs": {
                "model": ["1", 0],
                "lora_name": lora,
                "strength": 1.0,
                "start_percent": 0.2,
                "end_percent": 0.9,
                "allow_partial": False,
            },
        },
        "3": {"class_type": "SmoothPromptWalk", "inputs": {"clip": ["1", 1], "prompts": LINES, "path": "lerp"}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}},
        "5": {
            "class_type": "CFGGuider",
            "inputs": {"model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0], "cfg": 3.0},
        },
        "6": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler_ancestral"}},
        "7": {
            "class_type": "BasicScheduler",
            "inputs": {"model": ["1", 0], "scheduler": "normal", "steps": STEPS, "denoise": 1.0},
        },
        "8": {"class_type": "SmoothSeedWalk", "inputs": {"seeds": seeds, "path": "slerp"}},
        "9": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "10": {
            "class_type": "SmoothWalkSchedule",
            "inputs": {
                "frames": frames,
                "easing": "linear",
                "easing_over": "whole walk",
                "loop": False,
                "first_frame": 0,
                "last_frame": -1,
            },
        },
        "11": {
            "class_type": "SmoothWalkSampler",
            "inputs": {
                "guider": ["5", 0],
                "sampler": ["6", 0],
                "sigmas": ["7", 0],
                "noise": ["8", 0],
                "latent_image": ["9", 0],
                "walk": ["10", 0],
                "vae": ["1", 2],
                "frames_per_batch": 2,
            },
        },
        "12": {"class_type": "PreviewImage", "inputs": {"images": ["11", 1]}},
    }


def video_prompt() -> dict:
    """The same walk into a video file."""
    prompt = walk_prompt()
    sampler = {name: value for name, value in prompt["11"]["inputs"].items() if name != "frames_per_batch"}
    return {
        **{number: one for number, one in prompt.items() if number not in ("11", "12")},
        "11": node("SmoothWalkToVideo", **sampler, fps=12.0, crf=20.0, filename_prefix="video/walk"),
    }


def pictures(client, prompt: dict) -> list[bytes]:
    """The frames as the server serves them, without the text chunks that name the run."""
    files = client.run(prompt)["12"]["images"]
    return [pixels(client.view(file)) for file in files]


def pixels(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).tobytes()


def node(kind: str, **inputs: Any) -> dict:
    return {"class_type": kind, "inputs": inputs}


def benchmark_prompt(prompts: int, prefix: str = "bench/mark") -> dict:
    """One model over so many short walks."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="smooth_demo.safetensors"),
        "2": node(
            "SmoothISTDBenchmark",
            model=["1", 0],
            clip=["1", 1],
            vae=["1", 2],
            prompts="\n".join(f"{LINES.splitlines()[0]} {number}" for number in range(prompts)),
            negative_prompt="",
            seed=3,
            steps=4,
            cfg=3.0,
            sampler_name="euler",
            scheduler="normal",
            width=64,
            height=64,
            frames=4,
            filename_prefix=prefix,
            frames_per_batch=0,
        ),
    }


def inversion_prompt(steps: int, cache_gb: float = 2.0) -> dict:
    """A picture inverted, and its noise seen as a picture's latent."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="smooth_demo.safetensors"),
        "2": node("CLIPTextEncode", clip=["1", 1], text=LINES.splitlines()[0]),
        "3": node("CLIPTextEncode", clip=["1", 1], text=""),
        "4": node("EmptyImage", width=64, height=64, batch_size=1, color=2048219),
        "5": node(
            "SmoothInvert",
            model=["1", 0],
            positive=["2", 0],
            negative=["3", 0],
            image=["4", 0],
            vae=["1", 2],
            method="exact",
            cfg=1.0,
            steps=steps,
            scheduler="ddim_uniform",
            cache_gb=cache_gb,
        ),
        "6": node("SmoothSaveInversion", inversion=["5", 0], filename_prefix="inversions/picture"),
        "7": node("PreviewAny", source=["5", 2]),
    }


def training_prompt(steps: int, name: str = "faulty") -> dict:
    """A Smooth-LoRA on the demo's pictures."""
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="smooth_demo.safetensors"),
        "2": node("LoadImageTextDataSetFromFolder", folder="smooth_demo_pictures"),
        "3": node(
            "SmoothLoRATrainData",
            images=["2", 0],
            texts=["2", 1],
            vae=["1", 2],
            clip=["1", 1],
            resolution=64,
            held_out=8,
            missing_captions="refuse",
            cache_gb=10.0,
        ),
        "4": node(
            "SmoothLoRATrainer",
            model=["1", 0],
            latents=["3", 0],
            positive=["3", 1],
            empty_text=["3", 2],
            name=name,
            svr_lambda=1.0,
            rank=4,
            targets="attention",
            steps=steps,
            batch_size=2,
            learning_rate=1e-3,
            seed=1,
            save_every=2,
        ),
        "5": node(
            "SmoothSaveLoRA",
            model=["1", 0],
            lora=["4", 0],
            filename_prefix=f"loras/{name}",
            key_style="kohya",
            precision="float32",
        ),
    }
