"""Shared by the benchmarks on the demo checkpoint: the host in this process and a walk to render."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from devtools.in_process import HostPack, use_host

STEPS = 25
FRAMES = 24  # of a walk that is judged
CFG = 3.0
SEEDS = "12, 99, 7"
PROMPTS = "a red circle on a blue background\na green square on a white background"


class Demo:
    """The demo checkpoint in the real host, opened by the stock loader."""

    def __init__(self):
        self._base = tempfile.TemporaryDirectory(prefix="smooth-benchmark-")
        use_host(Path(self._base.name))
        import comfy.utils

        comfy.utils.set_progress_bar_enabled(False)
        self.pack = HostPack()
        loader = self.pack.node("CheckpointLoaderSimple")()
        self.model, self.clip, self.vae = loader.load_checkpoint("smooth_demo.safetensors")

    def guider(self, positive: list, model=None):
        """The stock guider at CFG with an empty negative prompt; model: another than the checkpoint's own."""
        import comfy.samplers

        guider = comfy.samplers.CFGGuider(model or self.model)
        guider.set_conds(positive, self.negative)
        guider.set_cfg(CFG)
        return guider

    @cached_property
    def negative(self) -> list:
        """The empty prompt, encoded once: guiders are made while times are taken."""
        return self.encode("")

    def encode(self, text: str) -> list:
        return self.pack.node("CLIPTextEncode")().encode(self.clip, text)[0]

    def sampling(self, steps: int) -> tuple:
        """SAMPLER and SIGMAS of the standard sampling."""
        import comfy.samplers

        sigmas = comfy.samplers.calculate_sigmas(self.model.get_model_object("model_sampling"), "normal", steps)
        return comfy.samplers.sampler_object("euler"), sigmas

    def walk(self, frames: int, steps: int = STEPS) -> Walked:
        """A seed and prompt walk of so many frames at the demo's standard sampling."""
        return Walked(self, frames, steps)


class JudgedWalks:
    """Walks of FRAMES frames at the standard sampling, whose pictures are scored and judged.

    prompts: the demo's 120 in one fixed order; score: of images; judged: (pictures, prompts) -> what they show
    """

    def __init__(self):
        self.demo = Demo()
        from demo import check

        self.prompts, self.judged = check.chosen_prompts(120), check.score
        self.score = self.demo.pack.module("smooth_lora.scores.smoothness").score
        self.sampler, self.sigmas = self.demo.sampling(STEPS)

    def prompt(self, number: int):
        return self.prompts[number % len(self.prompts)]

    def seed_walk(self, number: int):
        """The noise of walk `number`: from one seed to another, both its own."""
        return self.demo.pack.run("SmoothSeedWalk", seeds=f"{2 * number}, {2 * number + 1}")[0]

    def rendered(self, text: list, noise, model=None, **more) -> tuple[Tensor, str]:
        """Pictures and report of the Walk Sampler; more: of its inputs."""
        (walk,) = self.demo.pack.run("SmoothWalkSchedule", frames=FRAMES)
        _, images, said, *_ = self.demo.pack.run(
            "SmoothWalkSampler",
            guider=self.demo.guider(text, model),
            sampler=self.sampler,
            sigmas=self.sigmas,
            noise=noise,
            latent_image={"samples": torch.zeros(1, 4, 8, 8)},
            walk=walk,
            vae=self.demo.vae,
            **more,
        )
        return images, said


class Walked:
    """One walk, ready to be rendered by the Walk Sampler or, chunk by chunk, by the bare host."""

    def __init__(self, demo: Demo, frames: int, steps: int):
        self._demo = demo
        self.schedule = demo.pack.run("SmoothWalkSchedule", frames=frames)[0]
        self.noise = demo.pack.run("SmoothSeedWalk", seeds=SEEDS)[0]
        self.positive = demo.pack.run("SmoothPromptWalk", clip=demo.clip, prompts=PROMPTS)[0]
        self.sampler, self.sigmas = demo.sampling(steps)
        self._chunks: dict[int, tuple[Tensor, object]] = {}

    def rendered(self, batch: int, *, decode: bool = False):
        """The walk as the Walk Sampler's node renders it."""
        demo, module = self._demo, self._demo.pack.module
        wires = module("nodes.walks.walk_wires").WalkWires(
            guider=demo.guider(self.positive),
            sampler=self.sampler,
            sigmas=self.sigmas,
            noise=self.noise,
            latent={"samples": torch.zeros(1, 4, 8, 8)},
            walk=self.schedule,
            vae=demo.vae if decode else None,
            frames_per_batch=batch,
        )
        return module("nodes.walks.render").render_walk(wires)

    def lay_out(self, batch: int) -> None:
        """Prepare the noise and the guider of every chunk for `sampled`."""
        walk, path = self.schedule, self.positive[0][1]["smooth_walk"]
        noise = self.noise.path({"samples": torch.zeros(1, 4, 8, 8)})
        for start in range(0, len(walk), batch):
            chunk = walk.select(walk.numbers[start : start + batch])
            self._chunks[start] = noise.at(chunk), self._demo.guider([[path.at(chunk)["cross_attn"], {}]])

    def sampled(self, start: int, stop: int) -> Tensor:
        """Frames start..stop by the host alone: what SamplerCustomAdvanced calls."""
        import latent_preview

        noise, guider = self._chunks[start]
        callback = latent_preview.prepare_callback(self._demo.model, self.sigmas.shape[-1] - 1)
        return guider.sample(
            noise,
            torch.zeros(stop - start, 4, 8, 8),
            self.sampler,
            self.sigmas,
            callback=callback,
            disable_pbar=True,
            seed=12,
        )
