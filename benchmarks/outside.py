"""Share of a walk's time that is spent outside the network and the VAE, against the bare host sampler.

SD1.5's full shapes with random weights: the Walk Sampler, and the host's guider on the same noise and texts with the
host's VAE after each batch. Every call of the network and of the VAE is timed; what is left of the whole is "outside".
Measured in turn in one process, so the rest of the machine weighs on both alike. On a GPU every call is waited for, and
the memory is that of the walk.

    .host/venv/bin/python -m benchmarks.outside [frames] [steps] [side of the latents] [pairs] [type] [batch ...]
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from devtools.in_process import HostPack, use_host

from ._bars import bar
from ._bench import command_line, report, seconds
from ._full_size import full_size_model, full_size_vae

CFG = 7.5
MOST_EXCESS = 0.02  # of the bare host's time


class Clock:
    """Sums the time of all calls of a function that it stands in for."""

    def __init__(self):
        self.inside = 0.0

    def timed(self, function: Callable) -> Callable:
        def run(*args, **kwargs):
            result = []
            self.inside += seconds(lambda: result.append(function(*args, **kwargs)))
            return result[0]

        return run

    def outside(self, work: Callable[[], object]) -> tuple[float, float]:
        """Seconds outside of those calls, and all seconds."""
        self.inside = 0.0
        whole = seconds(work)
        return whole - self.inside, whole


class Scene:
    """A walk at full size, for both sides."""

    def __init__(self, frames: int, steps: int, side: int, dtype: torch.dtype):
        import comfy.samplers

        self.pack, self.frames, self.batch, self.clock = HostPack(), frames, 1, Clock()
        self.model, self.vae = full_size_model(dtype, random=True), full_size_vae(dtype)
        network = self.model.model.diffusion_model
        network.forward = self.clock.timed(network.forward)
        self.vae.first_stage_model.decode = self.clock.timed(self.vae.first_stage_model.decode)
        self.texts = [
            [[torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(seed)), {}]] for seed in (1, 2, 3)
        ]
        self.shape = (4, side, side)
        (self.walk,) = self.pack.run("SmoothWalkSchedule", frames=frames)
        (self.noise,) = self.pack.run("SmoothSeedWalk", seeds="1, 2")
        keyframes = {"keyframe_0": self.texts[0], "keyframe_1": self.texts[1]}
        (self.positive,) = self.pack.run("SmoothConditioningWalk", keyframes=keyframes, path="lerp")
        self.sampler = comfy.samplers.sampler_object("euler")
        self.sigmas = comfy.samplers.calculate_sigmas(self.model.get_model_object("model_sampling"), "normal", steps)

    def guider(self, positive: list):
        import comfy.samplers

        guider = comfy.samplers.CFGGuider(self.model)
        guider.set_conds(positive, self.texts[2])
        guider.set_cfg(CFG)
        return guider

    def walked(self) -> torch.Tensor:
        latent = {"samples": torch.zeros(1, *self.shape)}
        return self.pack.run(
            "SmoothWalkSampler",
            guider=self.guider(self.positive),
            sampler=self.sampler,
            sigmas=self.sigmas,
            noise=self.noise,
            latent_image=latent,
            walk=self.walk,
            vae=self.vae,
            frames_per_batch=self.batch,
        )[1]

    def bare(self) -> torch.Tensor:
        """Each batch as SamplerCustomAdvanced and VAEDecode make it, noise and texts from the same nodes."""
        import latent_preview

        path, text = self.noise.path({"samples": torch.zeros(1, *self.shape)}), self.positive[0][1]["smooth_walk"]
        done = []
        for start in range(0, self.frames, self.batch):
            chunk = self.walk.select(self.walk.numbers[start : start + self.batch])
            guider = self.guider([[text.at(chunk)["cross_attn"], {}]])
            callback = latent_preview.prepare_callback(self.model, self.sigmas.shape[-1] - 1)
            latents = guider.sample(
                path.at(chunk),
                torch.zeros(len(chunk), *self.shape),
                self.sampler,
                self.sigmas,
                callback=callback,
                disable_pbar=True,
                seed=1,
            )
            done += [self.vae.decode(latents)]
        return torch.cat(done)


def measured(scene: Scene, pairs: int) -> dict[str, object]:
    """The fields that are reported of one batch size."""
    difference = float((scene.walked() - scene.bare()).abs().max())
    found: dict[str, list[tuple[float, float]]] = {"walked": [], "bare": []}
    with scene.pack.module("nodes.host.memory_peak").PeakMemory(scene.model.load_device) as peak:
        scene.walked()
    for number in range(pairs):
        sides = (("walked", scene.walked), ("bare", scene.bare))
        for name, work in sides if number % 2 else sides[::-1]:
            found[name].append(scene.clock.outside(work))
    excesses = [(ours[0] - theirs[0]) / theirs[1] for ours, theirs in zip(found["walked"], found["bare"], strict=True)]
    shares = {
        f"outside_share_{name}": round(statistics.median(outside / whole for outside, whole in each), 5)
        for name, each in found.items()
    }
    excess = round(statistics.median(excesses), 5)
    return {
        "pairs": pairs,
        "largest_difference": difference,
        **shares,
        "outside_seconds_walked": round(statistics.median(outside for outside, _ in found["walked"]), 3),
        "outside_seconds_bare": round(statistics.median(outside for outside, _ in found["bare"]), 3),
        "excess_over_bare_time": excess,
        "peak_mb": round(peak.bytes / 1e6),
        "frames_per_second": round(statistics.median(scene.frames / whole for _, whole in found["walked"]), 3),
        "bars": {"excess_over_bare_time": bar(excess, at_most=MOST_EXCESS)},
    }


def main(
    frames: int = 8, steps: int = 2, side: int = 32, pairs: int = 3, dtype: str = "float32", *batches: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base, torch.inference_mode():
        use_host(Path(base))
        import comfy.utils

        comfy.utils.set_progress_bar_enabled(False)
        scene = Scene(frames, steps, side, getattr(torch, dtype))
        for batch in map(int, batches or ("4",)):
            scene.batch = batch
            report(
                {
                    "benchmark": "outside",
                    "dtype": dtype,
                    "frames": frames,
                    "steps": steps,
                    "latent_side": side,
                    "batch": batch,
                    **measured(scene, pairs),
                }
            )


if __name__ == "__main__":
    command_line(main, __doc__)
