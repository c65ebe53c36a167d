"""Counts the pictures in which the demo checkpoint draws what it is asked: `python -m demo.check [MODELS_DIR]`.

64 prompts with fixed seeds go through the stock nodes at the standard sampling; the pictures are judged by
their pixels. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from devtools.in_process import use_host
from devtools.layout import DEMO_BUILD, DEMO_MODELS

from .assemble import CHECKPOINT_NAME
from .judge import judge
from .pictures import PROMPTS, SIZE, Prompt

# The standard sampling: every figure on the demo checkpoint uses it unless it says otherwise.
SAMPLER, SCHEDULER, STEPS, CFG = "euler", "normal", 25, 3.0
COUNT = 64
ORDER_SEED = 64  # which 64 of the 120 prompts
NEEDED = 0.9  # share of pictures with both colours right


def chosen_prompts(count: int = COUNT) -> list[Prompt]:
    """The first `count` prompts of one fixed shuffle; picture k uses seed k."""
    order = torch.randperm(len(PROMPTS), generator=torch.Generator().manual_seed(ORDER_SEED))
    return [PROMPTS[index] for index in order[:count].tolist()]


class StockNodes:
    """The stock node classes, called as the host's executor calls them."""

    def __init__(self, models_dir: Path, checkpoint: str = CHECKPOINT_NAME) -> None:
        import folder_paths

        import nodes

        folder_paths.add_model_folder_path("checkpoints", str(models_dir / "checkpoints"), is_default=True)
        folder_paths.add_model_folder_path("loras", str(models_dir / "loras"), is_default=True)
        self.nodes = nodes
        self.model, self.clip, self.vae = nodes.CheckpointLoaderSimple().load_checkpoint(checkpoint)

    def encode(self, text: str) -> list:
        """The conditioning of a prompt."""
        return self.nodes.CLIPTextEncode().encode(self.clip, text)[0]

    def picture(self, text: str, seed: int, scheduler: str = SCHEDULER) -> Tensor:
        """One picture of a prompt at the standard sampling: [64, 64, 3] in 0..1."""
        positive, negative = self.encode(text), self.encode("")
        (latent,) = self.nodes.EmptyLatentImage().generate(SIZE, SIZE, 1)
        (sampled,) = self.nodes.KSampler().sample(
            self.model, seed, STEPS, CFG, SAMPLER, scheduler, positive, negative, latent
        )
        (image,) = self.nodes.VAEDecode().decode(self.vae, sampled)
        return image[0].float()


def score(pictures: list[Tensor], prompts: list[Prompt]) -> dict[str, float]:
    """Shares of the pictures whose background, shape's colour, both colours, and kind of shape are right."""
    seen = [judge(picture) for picture in pictures]
    pairs = list(zip(seen, prompts, strict=True))
    right = {
        "background": [s.background == p.background for s, p in pairs],
        "colour": [s.colour == p.colour for s, p in pairs],
        "both_colours": [(s.background, s.colour) == (p.background, p.colour) for s, p in pairs],
        "shape": [s.shape == p.shape for s, p in pairs],
    }
    return {name: round(sum(flags) / len(flags), 4) for name, flags in right.items()}


@torch.inference_mode()
def check(models_dir: Path) -> dict[str, object]:
    """Draw and judge; the figures of the model card."""
    started = time.monotonic()
    stock, prompts = StockNodes(models_dir), chosen_prompts()
    pictures = [stock.picture(prompt.text, seed) for seed, prompt in enumerate(prompts)]
    return {
        "pictures": len(pictures),
        "sampler": SAMPLER,
        "scheduler": SCHEDULER,
        "steps": STEPS,
        "cfg": CFG,
        **score(pictures, prompts),
        "seconds": round(time.monotonic() - started, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("models_dir", nargs="?", type=Path, default=DEMO_MODELS, help="with checkpoints/ in it")
    chosen = parser.parse_args()
    use_host(DEMO_BUILD / "host", models=None, cpu=True)
    result = check(chosen.models_dir)
    print(json.dumps(result))
    sys.exit(result["both_colours"] < NEEDED)
