"""A walk between two seeds against what people use without this pack: how even it is, and whether its frames are good.

24 frames between two seeds under one of the demo's prompts at its standard sampling, in four ways: "interpolate": the
stock node Latent Interpolate between the two finished latents; "lerp": straight lines between the noises, sampled by
the host alone; "slerp": Seed Walk and Walk Sampler; "even" the same with even pacing, which costs twice the renderings.
Of each: cv, ISTD and path of the pixel distances, and the share of frames that show what was asked for: both colours,
and the kind of shape.

    .host/venv/bin/python -m benchmarks.stock [walks] [first walk]
"""

from __future__ import annotations

import json
import statistics
import sys

import torch
from torch import Tensor

from ._bench import command_line, report
from ._demo import FRAMES, JudgedWalks

BATCH = 8
SCORES, JUDGED = ("cv", "istd", "max_over_mean", "path"), ("both_colours", "shape")


class Ways(JudgedWalks):
    """The frames [24, H, W, 3] of a walk, by every way; number: of the walk, text: of its prompt."""

    def _sampled(self, noise: Tensor, text: list) -> Tensor:
        """Latents by the host alone."""
        guider = self.demo.guider(text)
        return torch.cat(
            [
                guider.sample(part, torch.zeros_like(part), self.sampler, self.sigmas, disable_pbar=True)
                for part in noise.split(BATCH)
            ]
        )

    @staticmethod
    def _ends(number: int) -> list[Tensor]:
        from smooth_lora.walks.noise import seed_noise

        return [seed_noise(seed, (4, 8, 8)) for seed in (2 * number, 2 * number + 1)]

    def interpolate(self, number: int, text: list) -> Tensor:
        import comfy_extras.nodes_post_processing  # noqa: F401 - first: it and the next import each other
        from comfy_extras.nodes_latent import LatentInterpolate

        first, last = ({"samples": self._sampled(end, text)} for end in self._ends(number))
        latents = [
            LatentInterpolate.execute(last, first, float(t)).result[0]["samples"] for t in torch.linspace(0, 1, FRAMES)
        ]
        return self.demo.vae.decode(torch.cat(latents))

    def lerp(self, number: int, text: list) -> Tensor:
        first, last = self._ends(number)
        noise = torch.cat([torch.lerp(first, last, t) for t in torch.linspace(0, 1, FRAMES)])
        return self.demo.vae.decode(self._sampled(noise, text))

    def slerp(self, number: int, text: list, **more) -> Tensor:
        return self.rendered(text, self.seed_walk(number), **more)[0]

    def even(self, number: int, text: list) -> Tensor:
        return self.slerp(number, text, pacing="even")


@torch.inference_mode()
def main(walks: int = 12, first: int = 0) -> None:
    ways = Ways()
    rows: dict[str, list[dict]] = {way: [] for way in ("interpolate", "lerp", "slerp", "even")}
    for number in range(first, first + walks):
        prompt = ways.prompt(number)
        text = ways.demo.encode(prompt.text)
        for way, of in rows.items():
            images = getattr(ways, way)(number, text)
            found, seen = ways.score(images), ways.judged(list(images), [prompt] * len(images))
            of.append(
                {
                    "walk": number,
                    "way": way,
                    **{name: getattr(found, name) for name in SCORES},
                    **{name: seen[name] for name in JUDGED},
                }
            )
        print(json.dumps([of[-1] for of in rows.values()]), file=sys.stderr, flush=True)
    for way, of in rows.items():
        report(
            {
                "benchmark": "stock",
                "way": way,
                "walks": walks,
                **{f"median_{name}": round(statistics.median(row[name] for row in of), 4) for name in SCORES},
                **{f"mean_{name}": round(statistics.fmean(row[name] for row in of), 4) for name in JUDGED},
            }
        )


if __name__ == "__main__":
    command_line(main, __doc__)
