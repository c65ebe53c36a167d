"""A walk between two seeds against what people use without this pack: how even it is, and whether its frames are good.

24 frames between two seeds under one of the demo's prompts at its standard sampling, in four ways: "interpolate": the
stock node Latent Interpolate between the two finished latents; "lerp": straight lines between the noises, sampled by
the host alone; "slerp": Seed Walk and Walk Sampler; "even" the same with even pacing, which costs twice the renderings.
Of each: cv, ISTD and path of the pixel distances, and the share of frames that show what was asked for: both colours,
and the kind of shape.

    .host/venv/bin/python benchmarks/stock.py [walks] [first walk]
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch
from torch import Tensor

from benchmarks._bench import report
from benchmarks._demo import STEPS, Demo, judge

FRAMES, BATCH = 24, 8
SCORES, JUDGED = ("cv", "istd", "max_over_mean", "path"), ("both_colours", "shape")


class Ways:
    """The frames [24, H, W, 3] of a walk, by every way."""

    def __init__(self, demo: Demo):
        from smooth_lora.noise import seed_noise

        self._demo, self._noise = demo, seed_noise
        self._sampler, self._sigmas = demo.sampling(STEPS)

    def _sampled(self, noise: Tensor, text: list) -> Tensor:
        """Latents by the host alone."""
        guider = self._demo.guider(text)
        return torch.cat([guider.sample(part, torch.zeros_like(part), self._sampler, self._sigmas, disable_pbar=True)
                          for part in noise.split(BATCH)])

    def _ends(self, seeds: tuple[int, int]) -> list[Tensor]:
        return [self._noise(seed, (4, 8, 8)) for seed in seeds]

    def interpolate(self, seeds: tuple[int, int], text: list) -> Tensor:
        import comfy_extras.nodes_post_processing  # noqa: F401 - first: it and the next import each other
        from comfy_extras.nodes_latent import LatentInterpolate

        first, last = ({"samples": self._sampled(end, text)} for end in self._ends(seeds))
        latents = [LatentInterpolate.execute(last, first, float(t)).result[0]["samples"]
                   for t in torch.linspace(0, 1, FRAMES)]
        return self._demo.vae.decode(torch.cat(latents))

    def lerp(self, seeds: tuple[int, int], text: list) -> Tensor:
        first, last = self._ends(seeds)
        noise = torch.cat([torch.lerp(first, last, t) for t in torch.linspace(0, 1, FRAMES)])
        return self._demo.vae.decode(self._sampled(noise, text))

    def slerp(self, seeds: tuple[int, int], text: list, **more) -> Tensor:
        run = self._demo.pack.run
        return run("SmoothWalkSampler", guider=self._demo.guider(text), sampler=self._sampler, sigmas=self._sigmas,
                   noise=run("SmoothSeedWalk", seeds=f"{seeds[0]}, {seeds[1]}")[0],
                   latent_image={"samples": torch.zeros(1, 4, 8, 8)}, vae=self._demo.vae,
                   walk=run("SmoothWalkSchedule", frames=FRAMES)[0], **more)[1]

    def even(self, seeds: tuple[int, int], text: list) -> Tensor:
        return self.slerp(seeds, text, pacing="even")


@torch.inference_mode()
def main(walks: int = 12, first: int = 0) -> None:
    demo = Demo()
    prompts, judged = judge()
    score, ways = demo.pack.module("smooth_lora.smoothness").score, Ways(demo)
    rows: dict[str, list[dict]] = {way: [] for way in ("interpolate", "lerp", "slerp", "even")}
    for number in range(first, first + walks):
        prompt, seeds = prompts[number % len(prompts)], (2 * number, 2 * number + 1)
        text = demo.encode(prompt.text)
        for way, of in rows.items():
            images = getattr(ways, way)(seeds, text)
            found, seen = score(images), judged(list(images), [prompt] * len(images))
            of.append({"walk": number, "way": way, **{name: getattr(found, name) for name in SCORES},
                       **{name: seen[name] for name in JUDGED}})
        print(json.dumps([of[-1] for of in rows.values()]), file=sys.stderr, flush=True)
    for way, of in rows.items():
        report({"benchmark": "stock", "way": way, "walks": walks,
                **{f"median_{name}": round(statistics.median(row[name] for row in of), 4) for name in SCORES},
                **{f"mean_{name}": round(statistics.fmean(row[name] for row in of), 4) for name in JUDGED}})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
