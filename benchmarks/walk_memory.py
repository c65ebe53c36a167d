"""Peak memory of rendering a walk, beside the frames themselves: does it grow with their number?

Each length runs in a process of its own. After a warm-up the kernel's high-water mark is reset, the walk is
rendered and decoded, and the mark is read again; the finished latents and pictures are taken off. Linux only.

    .host/venv/bin/python benchmarks/walk_memory.py [few frames] [many frames]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks._bench import process_bytes, report

BATCH = 8
STEPS = 4  # memory does not depend on it


def peak_of(frames: int) -> dict[str, int]:
    """Bytes in a fresh process, both without the frames: `peak` of all of it, `above` the loaded model alone."""
    command = [sys.executable, __file__, "--measure", str(frames)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(frames: int) -> dict[str, int]:
    """The same in this process, which should have done nothing else."""
    import torch

    from benchmarks._demo import Demo

    with torch.inference_mode():
        demo = Demo()
        demo.walk(2 * BATCH, STEPS).rendered(BATCH, decode=True)
        walk = demo.walk(frames, STEPS)
        before = process_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        done = walk.rendered(BATCH, decode=True)
        peak = process_bytes("VmHWM")
    frame_bytes = sum(t.numel() * t.element_size() for t in (done.latent["samples"], done.images))
    return {"frames": frames, "peak": peak - frame_bytes, "above": peak - before - frame_bytes}


def main(few: int = 24, many: int = 240) -> None:
    small, large = peak_of(few), peak_of(many)
    report(
        {
            "benchmark": "walk_memory",
            "model": "demo checkpoint",
            "batch": BATCH,
            "few": small,
            "many": large,
            "peak_ratio": round(large["peak"] / small["peak"], 4),
        }
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(int(sys.argv[2]))))
    else:
        main(*map(int, sys.argv[1:]))
