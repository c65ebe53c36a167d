"""A walk's video against the published recipe in diffusers: the same weights, shapes, steps and batch.

The recipe: all noises (slerp) and texts (lerp) of the walk laid out, then diffusers' own pipeline on batches of 8 with
its DDIM scheduler, its pictures kept and written as a video at the end. Ours is the node Walk to Video. SD1.5's full
shapes with random weights, 256 px, cfg, float32. "sdpa" is torch's attention on both sides, what diffusers has by
default; "best" is what each side does when it may choose: ours torch's attention and no batch size, the recipe a sliced
VAE; "plain" is ours as the host starts on a CPU, with the host's own attention, against the recipe's best. Each
measurement is a process of its own, in turn; time is of the walk alone after a warm-up, memory the peak above the
loaded model.

    .host/venv/bin/python -m benchmarks.recipe [frames] [steps] [rounds] [variant ...]

`--check` instead: whether both networks and both decoders give the same numbers.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch

from devtools.in_process import HostPack, use_host

from ._bars import bar
from ._bench import command_line, in_processes, report, seconds
from ._full_size import as_diffusers, full_size_autoencoder, full_size_model, full_size_vae

VARIANTS = ("recipe sdpa", "ours sdpa", "recipe best", "ours best", "ours plain")
SIDE, BATCH, CFG, FPS = 256, 8, 7.5, 24
MOST = {"seconds_over_recipe": 1.0, "peak_over_recipe": 0.5}
LATENT = (4, SIDE // 8, SIDE // 8)


def texts() -> list[torch.Tensor]:
    """[1, 77, 768] each: two prompts and the negative one."""
    return [torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2, 3)]


class Ours:
    """The node Walk to Video on the host."""

    def __init__(self, base: Path, best: bool):
        import comfy.samplers

        self.pack, self.base, self.batch = HostPack(), base, 0 if best else BATCH
        first, second, negative = ([[text, {}]] for text in texts())
        keyframes = {"keyframe_0": first, "keyframe_1": second}
        self.guider = comfy.samplers.CFGGuider(full_size_model(torch.float32, random=True))
        self.guider.set_conds(self.pack.run("SmoothConditioningWalk", keyframes=keyframes, path="lerp")[0], negative)
        self.guider.set_cfg(CFG)
        self.vae = full_size_vae(torch.float32)
        (self.noise,) = self.pack.run("SmoothSeedWalk", seeds="1, 2")

    def render(self, frames: int, steps: int) -> None:
        import comfy.samplers

        sampling = self.guider.model_patcher.get_model_object("model_sampling")
        wires = self.pack.module("nodes.walks.walk_wires").WalkWires(
            guider=self.guider,
            sampler=comfy.samplers.sampler_object("euler"),
            sigmas=comfy.samplers.calculate_sigmas(sampling, "ddim_uniform", steps)[-steps - 1 :],
            noise=self.noise,
            latent={"samples": torch.zeros(1, *LATENT)},
            walk=self.pack.run("SmoothWalkSchedule", frames=frames)[0],
            vae=self.vae,
            frames_per_batch=self.batch,
        )
        settings = self.pack.module("nodes.video.file").VideoSettings.of(fps=FPS, crf=18.0)
        self.pack.module("nodes.video.parts").walk_to_video(wires, self.base / "walk.mp4", settings)


class Recipe:
    """The published recipe, on diffusers' own pipeline."""

    def __init__(self, base: Path, best: bool):
        from diffusers import DDIMScheduler, StableDiffusionPipeline

        scheduler = DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        self.pipeline = StableDiffusionPipeline(
            vae=full_size_autoencoder(),
            text_encoder=None,
            tokenizer=None,
            scheduler=scheduler,
            safety_checker=None,
            unet=as_diffusers(full_size_model(torch.float32, random=True)),
            feature_extractor=None,
            requires_safety_checker=False,
        )
        self.pipeline.set_progress_bar_config(disable=True)
        if best:
            self.pipeline.vae.enable_slicing()
        self.base = base

    def render(self, frames: int, steps: int) -> None:
        import av

        shares = torch.linspace(0, 1, frames)
        noises = [torch.randn(1, *LATENT, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
        angle = torch.arccos((noises[0] * noises[1]).sum() / (noises[0].norm() * noises[1].norm()))
        latents = torch.cat(
            [
                (torch.sin((1 - t) * angle) * noises[0] + torch.sin(t * angle) * noises[1]) / torch.sin(angle)
                for t in shares
            ]
        )
        first, second, negative = texts()
        prompts = torch.cat([torch.lerp(first, second, t) for t in shares])
        negatives = negative.repeat(frames, 1, 1)
        pictures = []
        for start in range(0, frames, BATCH):
            rows = slice(start, start + BATCH)
            pictures += self.pipeline(
                prompt_embeds=prompts[rows],
                negative_prompt_embeds=negatives[rows],
                latents=latents[rows],
                num_inference_steps=steps,
                guidance_scale=CFG,
                height=SIDE,
                width=SIDE,
            ).images
        with av.open(str(self.base / "walk.mp4"), "w") as output:
            stream = output.add_stream("h264", rate=FPS)
            stream.width = stream.height = SIDE
            for picture in pictures:
                output.mux(stream.encode(av.VideoFrame.from_image(picture)))
            output.mux(stream.encode(None))


def measure(variant: str, frames: int, steps: int) -> dict[str, float]:
    """Seconds of the walk and peak bytes above the loaded model, in this process."""
    side, settings = variant.split()
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base, torch.inference_mode():
        use_host(Path(base), torch_attention=settings != "plain")
        import comfy.utils

        comfy.utils.set_progress_bar_enabled(False)
        peak_memory = HostPack().module("nodes.host.memory_peak").PeakMemory
        renderer = (Ours if side == "ours" else Recipe)(Path(base), settings != "sdpa")
        renderer.render(1, 1)
        with peak_memory(torch.device("cpu")) as peak:
            taken = seconds(lambda: renderer.render(frames, steps))
        return {"seconds": taken, "peak": peak.bytes}


def check() -> None:
    """Print how far the two sides' networks and decoders are apart on one input."""
    with tempfile.TemporaryDirectory(prefix="smooth-benchmark-") as base, torch.inference_mode():
        use_host(Path(base), torch_attention=True)
        model = full_size_model(torch.float32, random=True)
        x, t, text = torch.randn(2, *LATENT), torch.tensor([500.0, 500.0]), torch.cat(texts()[:2])
        own, other = model.model.diffusion_model(x, t, text), as_diffusers(model)(x, t, text).sample
        pictures = full_size_vae(torch.float32).decode(x[:1])
        decoded = full_size_autoencoder().decode(x[:1]).sample.movedim(1, -1)
        report(
            {
                "benchmark": "recipe --check",
                "unet": float((own - other).abs().max() / own.abs().max()),
                "vae": float((pictures - (decoded / 2 + 0.5).clamp(0, 1)).abs().max()),
            }
        )


def bars_of(ratios: dict[str, list[float]]) -> dict[str, dict]:
    """Bars with torch's attention on both sides: the median round is not slower, and its memory at most half."""
    return {
        "bars": {f"{name}, median": bar(statistics.median(ratios[name]), at_most=bound) for name, bound in MOST.items()}
    }


def main(frames: int = 8, steps: int = 2, rounds: int = 3, *variants: str) -> None:
    found = in_processes("recipe", variants or VARIANTS, rounds, frames, steps)
    for variant, measured in found.items():
        other = {"ours plain": "recipe best"}.get(variant, variant.replace("ours", "recipe"))
        ratios = [
            {key: one[key] / base[key] for key in one}
            for one, base in zip(measured, found.get(other, measured), strict=True)
        ]
        each = {f"{key}_over_recipe": [round(ratio[key], 3) for ratio in ratios] for key in ("seconds", "peak")}
        report(
            {
                "benchmark": "recipe",
                "variant": variant,
                "frames": frames,
                "steps": steps,
                "px": SIDE,
                "rounds": rounds,
                **{key: round(statistics.median(one[key] for one in measured), 2) for key in ("seconds", "peak")},
                **each,
                **(bars_of(each) if variant == "ours sdpa" else {}),
            }
        )


if __name__ == "__main__":
    command_line(main, __doc__, measure=measure, check=check)
