"""Shared by the inversion benchmarks: pictures that the demo model knows, and inversions by the nodes' own code."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from demo.pictures import PROMPTS, random_pictures

from ._demo import Demo

ORDER_SEED = 24  # which of the 120 prompts


class Bench:
    """The demo checkpoint, so many pictures (one per prompt), their texts, and the VAE's own round trip."""

    def __init__(self, pictures: int):
        self.demo = Demo()
        self.module = self.demo.pack.module
        encode = self.demo.pack.node("CLIPTextEncode")().encode
        order = torch.randperm(len(PROMPTS), generator=torch.Generator().manual_seed(ORDER_SEED))[:pictures].tolist()
        self.prompts = [PROMPTS[number] for number in order]
        self.images = torch.cat(
            [
                random_pictures(prompt, 1, torch.Generator().manual_seed(number))
                for prompt, number in zip(self.prompts, order, strict=True)
            ]
        )
        self.latents = torch.cat([self.demo.vae.encode(image[None]) for image in self.images])
        self.positives = [encode(self.demo.clip, prompt.text)[0] for prompt in self.prompts]
        self.negative = encode(self.demo.clip, "")[0]
        self.texts = [positive[0][0] for positive in self.positives]
        self.empty = self.negative[0][0]
        self.round_trips = torch.cat([self.demo.vae.decode(latent[None]) for latent in self.latents]).clamp(0, 1)
        self.ceilings = [psnr(a, b) for a, b in zip(self.round_trips, self.images, strict=True)]
        node = self.demo.pack.node("SmoothInvert")
        self.defaults = {given.id: given.default for given in node.GET_SCHEMA().inputs if hasattr(given, "default")}

    def invert(self, row: int, method: str, cfg: float, steps: int = 50, **settings):
        """The inversion of one picture as the node makes it, with its receipt."""
        return self.demo.pack.run(
            "SmoothInvert",
            model=self.demo.model,
            positive=self.positives[row],
            negative=self.negative,
            method=method,
            cfg=cfg,
            steps=steps,
            vae=self.demo.vae,
            image=self.images[row : row + 1],
            **{**settings, "cache_gb": 0.0},
        )[0]

    def all_inverted(self, method: str, cfg: float, steps: int, **settings) -> list:
        """Inversions of all pictures together, or of two at a time for the method that shares a text between two."""
        stacked = self.module("nodes.model.texts").stacked
        row = self.module("smooth_lora.inversion.methods").METHODS[method]
        size = row.needs.images or len(self.images)
        made = []
        for start in range(0, len(self.images) - size + 1, size):
            rows = slice(start, start + size)
            positive = stacked(self.positives[rows], [prompt.text for prompt in self.prompts[rows]])
            made.append(
                self.demo.pack.run(
                    "SmoothInvert",
                    model=self.demo.model,
                    positive=positive,
                    negative=self.negative,
                    method=method,
                    cfg=cfg,
                    steps=steps,
                    vae=self.demo.vae,
                    image=self.images[rows],
                    **settings,
                    cache_gb=0.0,
                )[0]
            )
        return made

    def pivot(self, row: int, cfg: float = 7.5):
        """The cfg-1 inversion that null-text starts from, marked as one."""
        made = self.invert(row, "ddim", 1.0)
        return replace(made, method="null_text", cfg=cfg)

    def nulls(self, inversion, row: int, inner_steps: int, tolerance: float, low_memory: bool) -> Tensor:
        """The texts that our optimiser finds for it."""
        import comfy.samplers

        made = replace(
            inversion, settings={"inner_steps": inner_steps, "tolerance": tolerance, "low_memory": low_memory}
        )

        def guider_for(rows: slice):
            guider = comfy.samplers.CFGGuider(self.demo.model)
            guider.set_conds(self.positives[row], self.negative)
            guider.set_cfg(made.cfg)
            return guider, self.latents[row : row + 1]

        progress = self.module("nodes.host.progress").WalkProgress(self.demo.model, 50 * inner_steps)
        return self.module("nodes.inversion.null_text").optimise(made, guider_for, progress).nulls

    def replayed_psnr(self, inversion, nulls: Tensor, row: int) -> float:
        """PSNR against the input of the picture that the replay nodes' sampler and guider make with these texts."""
        made = replace(inversion, nulls=nulls)
        sampler = self.module("nodes.inversion.sampler").ReplaySampler(made)
        guider = self.module("nodes.inversion.guider").ReplayGuider(self.demo.model, made)
        empty = torch.zeros_like(self.latents[row : row + 1])
        samples = guider.sample(made.noise, empty, sampler, sampler.sigmas, disable_pbar=True, seed=0)
        return psnr(self.demo.vae.decode(samples)[0].clamp(0, 1), self.images[row])

    def timestep(self, sigma: float) -> float:
        """The model's timestep at a noise level."""
        return float(self.demo.model.get_model_object("model_sampling").timestep(torch.tensor(sigma)))


def psnr(a: Tensor, b: Tensor) -> float:
    """In dB, range 1."""
    return -10 * math.log10(float(((a - b).double() ** 2).mean()))
