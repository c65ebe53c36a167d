"""Growth of a walk's cost: with its frames, its batch, the size of its pictures, and its keyframes.

Each point is a process of its own: Walk to Video on the demo checkpoint, one step of sampling and cfg 3, the whole of
it timed after a warm-up (two frames), and the peak of memory above the loaded model. Read the memory, and the seconds
per frame against those of the same run.

    .host/venv/bin/python -m benchmarks.growth [frames|batch|size|keyframes ...]
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from ._bars import bar
from ._bench import command_line, in_processes, process_bytes, report, seconds

BASE = {"frames": 48, "batch": 8, "size": 64, "keyframes": 3}
POINTS = {"frames": (24, 240, 2400), "batch": (1, 2, 4, 8, 16), "size": (64, 128, 256), "keyframes": (2, 10, 100)}
MOST_OVER_240 = 1.03


def measure(_: str, frames: int, batch: int, size: int, keyframes: int) -> dict[str, float]:
    """Seconds, peak bytes above the loaded model and of the whole process, in this process."""
    import torch

    from ._demo import Demo

    with torch.inference_mode(), tempfile.TemporaryDirectory(prefix="smooth-growth-") as folder:
        demo = Demo()
        peak_memory = demo.pack.module("nodes.host.memory_peak").PeakMemory
        walk_to_video = demo.pack.module("nodes.video.parts").walk_to_video
        walk_wires = demo.pack.module("nodes.walks.walk_wires").WalkWires
        settings = demo.pack.module("nodes.video.file").VideoSettings.of(fps=24, crf=18.0)
        prompts = ("a red circle on a blue background", "a green square on a white background")
        sampler, sigmas = demo.sampling(1)

        def render(count: int) -> None:
            text = "\n".join(prompts[place % 2] for place in range(keyframes))
            wires = walk_wires(
                sampler=sampler,
                sigmas=sigmas,
                vae=demo.vae,
                guider=demo.guider(demo.pack.run("SmoothPromptWalk", clip=demo.clip, prompts=text)[0]),
                noise=demo.pack.run("SmoothSeedWalk", seeds=", ".join(map(str, range(keyframes))))[0],
                latent={"samples": torch.zeros(1, 4, size // 8, size // 8)},
                frames_per_batch=batch,
                walk=demo.pack.run("SmoothWalkSchedule", frames=count)[0],
            )
            walk_to_video(wires, Path(folder) / "walk.mp4", settings)

        render(2)
        with peak_memory(torch.device("cpu")) as peak:
            taken = seconds(lambda: render(frames))
        return {"seconds": taken, "peak": peak.bytes, "whole": process_bytes("VmHWM")}


def ten_times(whole: dict[int, int]) -> dict[str, object]:
    """The bar of the process's memory at 2,400 frames over that at 240."""
    return {"bars": {"whole_over_240_frames": bar(round(whole[2400] / whole[240], 4), at_most=MOST_OVER_240)}}


def main(*names: str) -> None:
    for name in names or POINTS:
        whole: dict[int, int] = {}
        for value in POINTS[name]:
            point = {**BASE, name: value}
            found = in_processes("growth", ["growth"], 1, *point.values())["growth"][0]
            whole[value] = found["whole"]
            report(
                {
                    "benchmark": "growth",
                    "of": name,
                    **point,
                    "seconds_per_frame": round(found["seconds"] / point["frames"], 4),
                    "peak_mb": round(found["peak"] / 1e6, 1),
                    "whole_mb": round(found["whole"] / 1e6, 1),
                    "whole_over_first": round(found["whole"] / whole[POINTS[name][0]], 4),
                    **(ten_times(whole) if (name, value) == ("frames", 2400) else {}),
                }
            )


if __name__ == "__main__":
    command_line(main, __doc__, measure=measure)
