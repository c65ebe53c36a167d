"""What the benchmarks on the demo checkpoint share: the host in this process and a walk to render."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from devtools.in_process import HostPack, use_host

STEPS = 25
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

    def walk(self, frames: int, steps: int = STEPS) -> Walked:
        """A seed and prompt walk of so many frames at the demo's standard sampling."""
        return Walked(self, frames, steps)


class Walked:
    """One walk, ready to be rendered by the Walk Sampler or, chunk by chunk, by the bare host."""

    def __init__(self, demo: Demo, frames: int, steps: int):
        import comfy.samplers

        self._demo, self._samplers = demo, comfy.samplers
        self.schedule = demo.pack.run("SmoothWalkSchedule", frames=frames)[0]
        self.noise = demo.pack.run("SmoothSeedWalk", seeds=SEEDS)[0]
        self.positive = demo.pack.run("SmoothPromptWalk", clip=demo.clip, prompts=PROMPTS)[0]
        self.negative = demo.pack.node("CLIPTextEncode")().encode(demo.clip, "")[0]
        sampling = demo.model.get_model_object("model_sampling")
        self.sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", steps)
        self.sampler = comfy.samplers.sampler_object("euler")
        self._chunks: dict[int, tuple[Tensor, object]] = {}

    def rendered(self, batch: int, *, decode: bool = False):
        """The walk as the Walk Sampler's node renders it."""
        render = self._demo.pack.module("nodes.adapters.render").render_walk
        return render(guider=self._guider(self.positive), sampler=self.sampler, sigmas=self.sigmas, noise=self.noise,
                      latent={"samples": torch.zeros(1, 4, 8, 8)}, walk=self.schedule,
                      vae=self._demo.vae if decode else None, frames_per_batch=batch)

    def lay_out(self, batch: int) -> None:
        """Prepare the noise and the guider of every chunk for `sampled`."""
        walk, path = self.schedule, self.positive[0][1]["smooth_walk"]
        noise = self.noise.path({"samples": torch.zeros(1, 4, 8, 8)})
        for start in range(0, len(walk), batch):
            chunk = walk.select(walk.numbers[start:start + batch])
            self._chunks[start] = noise.at(chunk), self._guider([[path.at(chunk)["cross_attn"], {}]])

    def sampled(self, start: int, stop: int) -> Tensor:
        """Frames start..stop by the host alone: what SamplerCustomAdvanced calls."""
        import latent_preview

        noise, guider = self._chunks[start]
        callback = latent_preview.prepare_callback(self._demo.model, self.sigmas.shape[-1] - 1)
        return guider.sample(noise, torch.zeros(stop - start, 4, 8, 8), self.sampler, self.sigmas, callback=callback,
                             disable_pbar=True, seed=12)

    def _guider(self, positive):
        guider = self._samplers.CFGGuider(self._demo.model)
        guider.set_conds(positive, self.negative)
        guider.set_cfg(CFG)
        return guider
