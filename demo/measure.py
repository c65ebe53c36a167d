"""How smooth the demo's walks are, without and with its Smooth-LoRA: `python demo/measure.py [MODELS_DIR]`.

Each walk is a slerp between two noises in even steps under one fixed prompt, sampled at the standard sampling
and scored as in smooth_lora/smoothness.py. Prints one JSON line per strength.
"""
from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import torch
from assemble import LORA_NAME
from check import CFG, SAMPLER, SCHEDULER, STEPS, StockNodes, chosen_prompts
from check import score as score_prompts
from host_setup import ROOT, use_host
from pictures import Prompt
from torch import Tensor

WALKS, FRAMES = 12, 11
STRENGTHS = (0.0, 1.0)


def walk_noise(seed: int, frames: int = FRAMES) -> Tensor:
    """Noise of every frame of walk `seed`: slerp between two seeded noises, [frames, 4, 8, 8]."""
    from smooth_lora.interpolate import slerp
    generator = torch.Generator().manual_seed(seed)
    start, end = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    return torch.cat([slerp(start, end, frame / (frames - 1)) for frame in range(frames)])


def sample_frames(stock: StockNodes, model: object, text: str, noise: Tensor) -> Tensor:
    """Pictures of one prompt from the given noises, sampled as the stock KSampler does: [N, 64, 64, 3]."""
    from comfy.sample import sample
    latent = sample(model, noise, STEPS, CFG, SAMPLER, SCHEDULER, stock.encode(text), stock.encode(""),
                    torch.zeros_like(noise), disable_pbar=True)
    return stock.nodes.VAEDecode().decode(stock.vae, {"samples": latent})[0].float()


def measure(stock: StockNodes, strength: float, prompts: list[Prompt]) -> dict[str, float]:
    """Mean scores over the walks, and how many of their frames still show the right colours."""
    from smooth_lora.smoothness import score
    model = stock.model
    if strength:
        model, = stock.nodes.LoraLoaderModelOnly().load_lora_model_only(stock.model, LORA_NAME, strength)
    walks = [sample_frames(stock, model, prompt.text, walk_noise(seed))
             for seed, prompt in enumerate(prompts)]
    scores = [score(frames) for frames in walks]
    means = {name: round(statistics.fmean(getattr(s, name) for s in scores), 4)
             for name in ("istd", "cv", "mean_distance", "max_over_mean")}
    frames = [frame for walk in walks for frame in walk]
    obeyed = score_prompts(frames, [prompt for prompt in prompts for _ in range(FRAMES)])
    return {"strength": strength, "walks": len(walks), **means, "both_colours": obeyed["both_colours"],
            "shape": obeyed["shape"]}


@torch.inference_mode()
def main(models_dir: Path) -> None:
    """Print the scores at every strength."""
    stock, prompts = StockNodes(models_dir), chosen_prompts(WALKS)
    for strength in STRENGTHS:
        print(json.dumps(measure(stock, strength, prompts)), flush=True)


if __name__ == "__main__":
    use_host()
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".host" / "demo-models")
