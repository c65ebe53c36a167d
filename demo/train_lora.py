"""Stage `lora`: the demo's Smooth-LoRA, trained by the pack's own nodes in the real ComfyUI.

    python -m demo.train_lora

Data as a user would wire it: pictures of 96 of the 120 prompts with their captions. The other 24 prompts, and pictures
of them, are held out: the checks of the training and every number of the model card are about those. The run is kept in
.host/demo-build/ and goes on where it was stopped.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from devtools.in_process import HostPack, use_host
from devtools.layout import DEMO_BUILD

from .check import CFG, SAMPLER, SCHEDULER, STEPS, chosen_prompts
from .pictures import PROMPTS, SIZE, Prompt, random_pictures

HELD_OUT = 24  # prompts, the first of the fixed shuffle
PER_PROMPT = 24  # pictures
SEED = 4
SETTINGS = {
    "svr_lambda": 0.0,
    "pace_lambda": 0.022,
    "pace_cfg": CFG,
    "rank": 8,
    "targets": "attention",
    "steps": 700,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "lr_schedule": "cosine",
    "warmup_steps": 10,
    "ema": 0.99,
    "weight_decay": 1e-4,
    "precision": "bfloat16",
    "seed": SEED,
    "save_every": 50,
    "check_every": 0,
}
WALKS = 4  # of a check
STYLE = "diffusers attention processors"  # as the published file


def held_out_and_trained() -> tuple[list[Prompt], list[Prompt]]:
    """The prompts that no training picture shows, and the others."""
    order = chosen_prompts(len(PROMPTS))
    return order[:HELD_OUT], order[HELD_OUT:]


def pictures_of(prompts: list[Prompt], each: int, seed: int) -> tuple[list[torch.Tensor], list[str]]:
    """IMAGE tensors [1, SIZE, SIZE, 3] and their captions."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [(picture[None], prompt.text) for prompt in prompts for picture in random_pictures(prompt, each, generator)]
    return [picture for picture, _ in drawn], [text for _, text in drawn]


def encoded(pack: HostPack, clip: object, vae: object, drawn: tuple[list[torch.Tensor], list[str]]) -> tuple:
    """Latents, texts and the empty text of pictures and their captions."""
    pictures, texts = drawn
    return run(
        pack,
        "SmoothLoRATrainData",
        {"images": pictures, "texts": texts},
        vae=vae,
        clip=clip,
        resolution=SIZE,
        held_out=0,
        missing_captions="refuse",
    )[:3]


def held_out_check(pack: HostPack, model: object, clip: object, vae: object, held_out: list[Prompt]) -> object:
    """The check of the training: walks of the first prompts held out, and the loss on pictures of all of them."""
    latents, texts, _ = encoded(pack, clip, vae, pictures_of(held_out, 4, SEED + 1))
    (check,) = run(
        pack,
        "SmoothTrainingCheck",
        {"latents": latents, "positive": texts},
        clip=clip,
        vae=vae,
        prompts="\n".join(prompt.text for prompt in held_out[:WALKS]),
        negative_prompt="",
        seed=1000,
        steps=STEPS,
        cfg=CFG,
        sampler_name=SAMPLER,
        scheduler=SCHEDULER,
        width=SIZE,
        height=SIZE,
        frames=11,
        model=model,
    )
    return check


def train_lora(folder: Path) -> None:
    """Train, or go on; write the LoRA to folder/lora.safetensors, its report and its record beside it."""
    pack = HostPack()
    held_out, trained = held_out_and_trained()
    with torch.inference_mode():
        model, clip, vae = pack.node("CheckpointLoaderSimple")().load_checkpoint("smooth_demo.safetensors")
        latents, positive, empty = encoded(pack, clip, vae, pictures_of(trained, PER_PROMPT, SEED))
        check = held_out_check(pack, model, clip, vae, held_out)
        lora, _, report, _, record = run(
            pack,
            "SmoothLoRATrainer",
            {"latents": latents, "positive": positive},
            model=model,
            empty_text=empty,
            check=check,
            name="smooth_demo_lora",
            **SETTINGS,
        )
        saved, _ = (
            pack.node("SmoothSaveLoRA").execute(model, lora, "loras/smooth_demo_lora", STYLE, "float16", record).result
        )
    shutil.copyfile(folder / "host" / "output" / saved, folder / "lora.safetensors")
    (folder / "lora.txt").write_text(report + "\n", encoding="utf-8")
    (folder / "lora.json").write_text(json.dumps(json.loads(record), indent=1) + "\n", encoding="ascii")
    print(report, flush=True)


def run(pack: object, node_id: str, lists: dict[str, list], **values: object) -> tuple:
    """A node that takes every input as a list."""
    return pack.node(node_id).execute(**lists, **{name: [value] for name, value in values.items()}).result


if __name__ == "__main__":
    use_host(DEMO_BUILD / "host")
    train_lora(DEMO_BUILD)
