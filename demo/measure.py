"""The demo's walks without and with its Smooth-LoRA, and what it costs: `python -m demo.measure [SEEDS]`.

About the 24 prompts that the Smooth-LoRA was not trained on. Each walk is a slerp between two noises in even steps
under one fixed prompt, at the standard sampling, scored as in smooth_lora/scores/smoothness.py; all of it again for
every seed (three by default). Prints one JSON line per strength and one of the changes.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from devtools.in_process import HostPack, use_host

from .assemble import CHECKPOINT_NAME, LORA_NAME
from .check import CFG, SAMPLER, SCHEDULER, STEPS
from .check import score as judged
from .pictures import Prompt
from .train_lora import held_out_and_trained, pictures_of

FRAMES = 11
PICTURES, PICTURES_SEED = 8, 1000  # of each prompt, for the eps loss
INVERTED = 12  # prompts, one picture each
LATENT_ERROR = re.compile(r"^latent error \(relative\) +([-+.\de]+)$", re.MULTILINE)


def walk_noise(seed: int, frames: int = FRAMES) -> Tensor:
    """Noise of every frame of walk `seed`: slerp between two seeded noises, [frames, 4, 8, 8]."""
    from smooth_lora.walks.arc import slerp

    generator = torch.Generator().manual_seed(seed)
    start, end = (torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2))
    return torch.cat([slerp(start, end, frame / (frames - 1)) for frame in range(frames)])


class Measured:
    """The demo checkpoint at one strength of its Smooth-LoRA."""

    def __init__(self, pack: object, strength: float):
        self.pack = pack
        loader = pack.node("CheckpointLoaderSimple")()
        self.model, self.clip, self.vae = loader.load_checkpoint(CHECKPOINT_NAME)
        if strength:
            self.model, _ = pack.run("SmoothLoRALoader", model=self.model, lora_name=LORA_NAME, strength=strength)

    def encode(self, text: str) -> list:
        return self.pack.node("CLIPTextEncode")().encode(self.clip, text)[0]

    def frames(self, prompt: Prompt, seed: int) -> Tensor:
        """[FRAMES, SIZE, SIZE, 3] sampled as the stock KSampler does."""
        from comfy.sample import sample

        noise = walk_noise(seed)
        latent = sample(
            self.model,
            noise,
            STEPS,
            CFG,
            SAMPLER,
            SCHEDULER,
            self.encode(prompt.text),
            self.encode(""),
            torch.zeros_like(noise),
            disable_pbar=True,
        )
        return self.vae.decode(latent).float()

    def walks(self, prompts: list[Prompt], first_seed: int) -> dict[str, float]:
        """Mean scores of one walk for each prompt, and how many of their frames show what was asked for."""
        from smooth_lora.scores.smoothness import score

        walks = [self.frames(prompt, first_seed + place) for place, prompt in enumerate(prompts)]
        scores = [score(frames) for frames in walks]
        seen = judged(
            [frame for frames in walks for frame in frames], [prompt for prompt in prompts for _ in range(FRAMES)]
        )
        means = {
            name: statistics.fmean(getattr(found, name) for found in scores)
            for name in ("istd", "cv", "mean_distance", "max_over_mean")
        }
        return {**means, "both_colours": seen["both_colours"], "shape": seen["shape"]}

    def eps_loss(self, prompts: list[Prompt]) -> float:
        """Mean squared error of eps over pictures that no training has seen; the noises are always the same."""
        module = self.pack.module
        images, texts = pictures_of(prompts, PICTURES, PICTURES_SEED)
        latents = self.model.model.process_latent_in(torch.cat([self.vae.encode(image) for image in images])).clone()
        data = module("smooth_lora.training.loop").TrainingData(
            list(latents), self.model.get_model_object("model_sampling").sigmas.double().cpu()
        )
        found: list[float] = []

        def job(network: object) -> None:
            found.append(
                module("smooth_lora.training.held_out").held_out_loss(
                    network.denoiser_for, data, module("smooth_lora.sampling.scale").Scale()
                )
            )

        encoded = {text: self.encode(text) for text in texts}
        with torch.inference_mode(False):
            module("nodes.training.network").run_on_network(
                self.model,
                [encoded[text] for text in texts],
                {},
                job,
                empty=self.encode(""),
                shape=(16, 4, 8, 8),
                estimator="first_order",
                low_memory=False,
            )
        return found[0]

    def inversion_error(self, prompts: list[Prompt]) -> float:
        """Median relative latent error of DDIM inversion at cfg 1, replayed, over one picture of each prompt."""
        errors = []
        for prompt, image in zip(prompts, pictures_of(prompts, 1, PICTURES_SEED + 1)[0], strict=True):
            receipt = self.pack.run(
                "SmoothInvert",
                model=self.model,
                positive=self.encode(prompt.text),
                negative=self.encode(""),
                image=image,
                vae=self.vae,
                method="ddim",
                cfg=1.0,
                steps=STEPS,
                cache_gb=0.0,
            )[2]
            errors.append(float(LATENT_ERROR.search(receipt)[1]))
        return statistics.median(errors)


def measure(pack: object, strength: float, seeds: int) -> dict[str, float]:
    """Means over the seeds; name + "_spread": population standard deviation over them."""
    prompts, _ = held_out_and_trained()
    scene = Measured(pack, strength)
    rows = [scene.walks(prompts, first_seed=1000 * seed) for seed in range(seeds)]
    result = {"eps_loss": scene.eps_loss(prompts), "ddim_error": scene.inversion_error(prompts[:INVERTED])}
    for name in rows[0]:
        values = [row[name] for row in rows]
        result |= {name: statistics.fmean(values), f"{name}_spread": statistics.pstdev(values)}
    return result


@torch.inference_mode()
def main(seeds: int = 3) -> None:
    """Print the scores at strength 0 and 1, and what changed."""
    pack = HostPack()
    found = {}
    for strength in (0.0, 1.0):
        found[strength] = measure(pack, strength, seeds)
        print(
            json.dumps(
                {
                    "strength": strength,
                    "prompts": 24,
                    "frames": FRAMES,
                    "seeds": seeds,
                    **{name: round(value, 5) for name, value in found[strength].items()},
                }
            ),
            flush=True,
        )
    changes = {
        name: round(found[1.0][name] / found[0.0][name] - 1, 4)
        for name in ("istd", "cv", "mean_distance", "eps_loss", "ddim_error")
    }
    points = {name: round(100 * (found[1.0][name] - found[0.0][name]), 2) for name in ("both_colours", "shape")}
    print(json.dumps({"change": changes, "points": points}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The demo's walks without and with its Smooth-LoRA.")
    parser.add_argument("seeds", nargs="?", type=int, default=3, help="sets of walks, 3 if not given")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smooth-measure-") as base:
        use_host(Path(base))
        main(chosen.seeds)
