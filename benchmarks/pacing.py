"""Even pacing on the demo checkpoint: how even its walks become, and what that costs.

Each walk is a slerp between two seeds under one of the demo's prompts, 24 frames at the demo's standard sampling. It is
rendered in even steps of the noise and then paced, through the Walk Sampler's own code, at several costs: renderings in
all over renderings of the plain walk. All walks count. Of each: cv and ISTD of the pixel distances, the largest step
over the mean, the length of the path, whether every frame shows the colours that were asked for, and the gaps.

    .host/venv/bin/python -m benchmarks.pacing [walks] [first walk] [strength of the demo's Smooth-LoRA ...]
    .host/venv/bin/python -m benchmarks.pacing --of FILE ... [strength]    walks measured in parts

Each walk's rows go to stderr as a line of their own; `--of` takes files of these.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import torch

from ._bars import bar
from ._bench import command_line, report
from ._demo import FRAMES, JudgedWalks

COSTS = (1.5, 2.0)
LEAST_GAIN = {1.5: 2, 2.0: 5}  # times lower cv, the median of all walks, by cost
SCORES = ("cv", "istd", "max_over_mean", "path", "colours")


class Walks(JudgedWalks):
    """Walks of the demo checkpoint, by number."""

    def model(self, strength: float):
        """The demo's, with its Smooth-LoRA at a strength."""
        return (
            self.demo.model
            if not strength
            else self.demo.pack.run(
                "SmoothLoRALoader", model=self.demo.model, strength=strength, lora_name="smooth_demo_lora.safetensors"
            )[0]
        )

    def measured(self, number: int, cost: float, strength: float = 0.0) -> dict:
        """One walk at so many times the renderings of the plain one; 1 is the plain one."""
        prompt = self.prompt(number)
        more = {} if cost == 1 else {"pacing": "even", "extra_frames": round((cost - 1) * FRAMES)}
        images, text = self.rendered(
            self.demo.encode(prompt.text), self.seed_walk(number), self.model(strength), **more
        )
        found, seen = self.score(images), self.judged(list(images), [prompt] * len(images))
        breaks = [line for line in text.splitlines() if line.startswith("The picture breaks")]
        return {
            "walk": number,
            "cost": cost,
            **{name: getattr(found, name) for name in SCORES[:-1]},
            "colours": seen["both_colours"],
            "gaps": int(breaks[0].split()[4]) if breaks else 0,
        }


@torch.inference_mode()
def main(walks: int = 50, first: int = 0, *strengths: float) -> None:
    scene = Walks()
    for strength in strengths or (0.0,):
        rows: list[dict] = []
        for number in range(first, first + walks):
            rows += [scene.measured(number, cost, strength) for cost in (1.0, *COSTS)]
            print(json.dumps(rows[-1 - len(COSTS) :]), file=sys.stderr, flush=True)
        summary(rows, strength)


def summary(rows: list[dict], strength: float = 0.0) -> None:
    """Print one line for each cost; each walk's gain is the cv of its plain rendering over its cv."""
    plain = {row["walk"]: row["cv"] for row in rows if row["cost"] == 1}
    for cost in sorted({row["cost"] for row in rows}):
        of = [row for row in rows if row["cost"] == cost]
        gains = [plain[row["walk"]] / row["cv"] for row in of]
        medians = {name: statistics.median(row[name] for row in of) for name in SCORES}
        worst = {f"worst_{name}": max(row[name] for row in of) for name in ("cv", "max_over_mean")}
        gain = round(statistics.median(gains), 2)
        held = {"bars": {"median_gain": bar(gain, at_least=LEAST_GAIN[cost])}} if cost in LEAST_GAIN else {}
        report(
            {
                "benchmark": "pacing",
                "strength": strength,
                "cost": cost,
                "walks": len(of),
                **{name: round(value, 4) for name, value in (medians | worst).items()},
                "median_gain": gain,
                "least_gain": round(min(gains), 2),
                "mean_colours": round(statistics.fmean(row["colours"] for row in of), 4),
                "walks_with_gaps": sum(row["gaps"] > 0 for row in of),
                **held,
            }
        )


def measured_in_parts(*given: str) -> None:
    """Summary of walks measured in parts; given: files of rows, and after them a strength if it is not 0."""
    files = [Path(one) for one in given if Path(one).is_file()]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    summary([row for line in lines for row in json.loads(line)], *map(float, given[len(files) :]))


if __name__ == "__main__":
    command_line(main, __doc__, of=measured_in_parts)
