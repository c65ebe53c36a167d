"""The Attention Walk on walks between prompts: how even they become, and how the frames fare.

Each walk leads from one of the demo's prompts to another in one noise, 24 frames at the demo's standard sampling. Of
each: cv, ISTD and path of the pixel distances, and the share of frames whose picture shows the two colours of one of
its two prompts, which a frame that has fallen apart does not.

    .host/venv/bin/python -m benchmarks.attention [walks] [first walk] [interpolation ...]
"""

from __future__ import annotations

import json
import statistics
import sys

import torch

from ._bench import command_line, report
from ._demo import JudgedWalks

PLAIN = "none"
SCORES = ("cv", "istd", "max_over_mean", "path")


class PromptWalks(JudgedWalks):
    """Walks between prompts of the demo checkpoint, by number."""

    def measured(self, number: int, interpolation: str, warm_up: float = 0.5) -> dict:
        """One walk with an interpolation of the Attention Walk, or PLAIN."""
        from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

        pack, model = self.demo.pack, self.demo.model
        ends = [self.prompt(2 * number + end) for end in (0, 1)]
        if interpolation != PLAIN:
            (model,) = pack.run("SmoothAttentionWalk", model=model, interpolation=interpolation, warm_up=warm_up)
        (text,) = pack.run("SmoothPromptWalk", clip=self.demo.clip, prompts="\n".join(end.text for end in ends))
        images, _ = self.rendered(text, Noise_RandomNoise(number), model)
        found = self.score(images)
        seen = [self.judged([image], [end])["both_colours"] for image in images for end in ends]
        whole = statistics.fmean(max(pair) for pair in zip(seen[::2], seen[1::2], strict=True))
        return {
            "walk": number,
            "interpolation": interpolation,
            "whole": whole,
            **{name: getattr(found, name) for name in SCORES},
        }


@torch.inference_mode()
def main(walks: int = 24, first: int = 0, *interpolations: str) -> None:
    scene, rows = PromptWalks(), []
    interpolations = (PLAIN, *(interpolations or ("fused inner", "fused outer", "inner", "outer")))
    for number in range(first, first + walks):
        rows += [scene.measured(number, interpolation) for interpolation in interpolations]
        print(json.dumps(rows[-len(interpolations) :]), file=sys.stderr, flush=True)
    for interpolation in interpolations:
        of = [row for row in rows if row["interpolation"] == interpolation]
        report(
            {
                "benchmark": "attention",
                "interpolation": interpolation,
                "warm_up": 0.5,
                "walks": walks,
                **{f"median_{name}": round(statistics.median(row[name] for row in of), 4) for name in SCORES},
                "mean_whole": round(statistics.fmean(row["whole"] for row in of), 4),
            }
        )


if __name__ == "__main__":
    command_line(main, __doc__)
